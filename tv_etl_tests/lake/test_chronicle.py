"""Everything about a series by time: which gaps, which revisions, which bars are kept out, and when that was found."""

import json
from datetime import timedelta
from pathlib import Path

from tv_etl.collect.entry import enter_table
from tv_etl.collect.renaming import rename_symbol
from tv_etl.lake.chronicle import chronicle
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import COUNT, PLAIN, SERIES, SPLIT, Rows, at, second, table
from tv_etl_tests.lake_files import files_of

NOW = at(COUNT) + timedelta(minutes=30)
HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})


def store_rows(store: BarStore, rows: Rows, start: int, end: int) -> None:
    asked = {"asked_from": second(start), "asked_until": second(end)}
    store.upsert(*SERIES, table(rows, trading_hours=HOURS, **asked))


def test_all_that_happened_to_a_series_is_told_by_time(tmp_path: Path) -> None:
    found = at(COUNT) + timedelta(minutes=10)
    store = BarStore(tmp_path, clock=lambda: found.timestamp())
    store_rows(store, [*PLAIN[100:110], *PLAIN[113:200]], 100, 200)
    store_rows(store, PLAIN[260:400], 260, 400)
    broken = (second(150), 100.0, 1.0, 99.0, 100.0, 5.0)
    opened, high, low, close = PLAIN[300][1:5]
    revised = (second(300), opened, high, low, close + 0.25, 7.0)
    store_rows(store, [*PLAIN[100:110], *PLAIN[113:150], broken, *PLAIN[151:200], revised], 100, 200)
    rows = [*SPLIT[100:110], *SPLIT[113:150], *SPLIT[151:200], *SPLIT[260:300], *SPLIT[301:COUNT]]
    store_rows(store, rows, 390, COUNT)
    known = chronicle(store, SERIES, NOW)
    told = [(each.kind, each.start, each.end, each.bars) for each in known.entries]
    assert told == [
        ("asked", at(100), at(200), None),
        ("re-adjusted", at(100), at(400), None),
        ("gap", at(110), at(113), 3),
        ("quarantined", at(150), at(151), 1),
        ("gap", at(200), at(260), 60),
        ("never asked", at(200), at(260), None),
        ("asked", at(260), at(COUNT), None),
        ("revised", at(300), at(301), 1),
        ("never asked", at(COUNT), at(COUNT + 29) + timedelta(seconds=1), None),
    ]
    texts = {each.kind: each.text for each in known.entries}
    assert f"close {close:.12g} to {close + 0.25:.12g}, volume {PLAIN[300][5]:.12g} to 7" in texts["revised"]
    assert "× 0.25 (volume × 4)" in texts["re-adjusted"]
    assert "low and high do not enclose open and close: open 100, high 1" in texts["quarantined"]
    gaps = {each.start: each.text for each in known.entries if each.kind == "gap"}
    assert gaps == {at(110): "the server had none", at(200): "not wholly asked for"}
    assert {each.found_at for each in known.entries if each.found_at} == {found}
    as_json = [each.to_dict() for each in known.entries]
    assert json.loads(json.dumps(as_json)) == as_json


def test_what_was_imported_is_told_with_where_from(tmp_path: Path) -> None:
    store = BarStore(tmp_path, clock=NOW.timestamp)
    store_rows(store, PLAIN[200:300], 200, 300)
    enter_table(store, SERIES, table(SPLIT[100:250]), provenance="chart.csv")
    [told] = [each for each in chronicle(store, SERIES, NOW).entries if each.kind == "imported"]
    assert (told.start, told.end, told.found_at) == (at(100), at(199) + timedelta(seconds=1), NOW)
    assert told.text.startswith("from chart.csv; prices × 4 (volume × 0.25) before ")


def test_without_a_calendar_the_whole_series_is_not_judged_and_why(tmp_path: Path) -> None:
    asked = {"asked_from": second(100), "asked_until": second(200)}
    for place, (facts, why) in enumerate((
        ({}, "the server told no trading hours"),
        ({"trading_hours": '{"session": "0930-1200Q1300-1600"}'},
         "trading hours '0930-1200Q1300-1600': it is not known what the letter 'Q' in it means"),
    )):  # fmt: skip
        store = BarStore(tmp_path / str(place))
        store.upsert(*SERIES, table(PLAIN[100:200], **asked, **facts))
        [entry] = [each for each in chronicle(store, SERIES, NOW).entries if each.kind == "not judged"]
        assert (entry.start, entry.end, entry.bars) == (at(100), at(200), 100)
        assert entry.text == f"no calendar says which bars are missing: {why}"


def test_a_rename_is_told_with_its_moment(tmp_path: Path) -> None:
    store, new = BarStore(tmp_path), Series.of("NASDAQ:NEWN", "1m")
    store_rows(store, PLAIN[:10], 0, 10)
    assert list(rename_symbol(store, SERIES.symbol, new.symbol, clock=lambda: at(20).timestamp()))
    [renamed] = [each for each in chronicle(store, new, NOW).entries if each.kind == "renamed"]
    assert (renamed.start, renamed.text) == (at(20), "NASDAQ:SPLT to NASDAQ:NEWN")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store_rows(store, PLAIN[:10], 0, 10)
    files_of(store).write(".tv_etl/1m/NASDAQ%3ASPLT/revisions.parquet", b"?")
    assert chronicle(store, SERIES, NOW).error.startswith("DamagedFileError: ")
    assert chronicle(store, Series.of("X:Y", "1m"), NOW).entries == []


def test_a_refusal_is_told_from_the_first_to_the_last_of_its_kind(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for moment in (at(0), at(60)):
        store.refuse(*SERIES, "SymbolError: unknown", moment.timestamp())
    [told] = chronicle(store, SERIES, NOW).entries
    assert (told.kind, told.start, told.end, told.text) == ("refused", at(0), at(60), "SymbolError: unknown")
