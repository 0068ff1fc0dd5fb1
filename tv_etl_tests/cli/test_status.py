"""The status of a lake as people read it."""

import io
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from tv_etl.cli.status import chronicle_table, status_table
from tv_etl.lake.chronicle import KINDS, Chronicle, Entry
from tv_etl.lake.status import SeriesStatus, lake_status
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.collect.served_market import PLAIN, SERIES, enter, table
from tv_etl_tests.command import call
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake.test_status import stored
from tv_etl_tests.lake_runs import UNSEEN_PROBLEM, UNSEEN_SESSION


def printed(statuses: list[SeriesStatus], now: datetime) -> list[str]:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(status_table(statuses, now))
    return captured.get().splitlines()


def test_each_series_is_one_row(tmp_path: Path, market_url: str) -> None:
    store = BarStore(tmp_path)
    requests = [
        HistoryRequest(symbol, interval, bars_count=1_500)
        for symbol in ("BINANCE:BTCUSDT", "NASDAQ:AAPL")
        for interval in ("1d", "1m")
    ]
    for request, answer in TradingViewResource(ws_url=market_url).fetch(requests):
        assert isinstance(answer, pa.Table)
        store.upsert(request.symbol, request.interval, answer)
    lines = printed(lake_status(store, NOW), NOW)
    assert len(lines) == 2 + len(requests)
    row = next(line for line in lines if "BINANCE:BTCUSDT" in line and " 1m " in line)
    times = ["2026-11-17", "14:01", "2026-11-18", "14:59"]
    # 5,000 minutes after the next one to close: 3 days, 11 hours and 20 minutes.
    assert row.split() == ["BINANCE:BTCUSDT", "1m", "1,499", *times, "100.00%", "0", "0", "in", "3", "d", "11", "h"]
    assert all("never" in line for line in lines if " 1d " in line)


def test_the_most_urgent_series_come_first_and_damage_before_all(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for symbol, hours in (("X:CALM", 1), ("X:NEAR", 40), ("X:LOST", 60), ("X:BAD", 1)):
        stored(store, symbol, [NOW - timedelta(hours=hours, minutes=1)], NOW - timedelta(hours=hours))
    (tmp_path / ".tv_etl" / "1m" / "X%3ABAD" / "series.json").write_text("{}", encoding="utf-8")
    statuses = lake_status(store, NOW)
    assert [status.series.symbol for status in statuses] == ["X:BAD", "X:LOST", "X:NEAR", "X:CALM"]
    bad, lost, near, calm = printed(statuses, NOW)[2:]
    assert "DamagedFileError" in bad
    assert lost.rstrip().endswith("in 0 h 00 min")
    assert near.rstrip().endswith("in 10 h 00 min")
    assert calm.rstrip().endswith("in 2 d 1 h")


def test_gaps_are_counted_and_missing_sessions_among_them(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute, days = NOW.replace(second=0), timedelta(days=2)
    stored(store, "X:Y", [minute, minute + timedelta(minutes=1), minute + days], minute + days)
    row = printed(lake_status(store, NOW + days), NOW + days)[2]
    assert "0.10%" in row
    assert "1 (1 session)" in row


def test_a_symbol_shows_which_gaps_and_what_else_by_time(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute = NOW.replace(second=0)
    for start in (60, 30):
        begins = minute - timedelta(minutes=start)
        stored(store, "X:Y", [begins, begins + timedelta(minutes=5)], begins + timedelta(minutes=6))
    stored(store, "X:Z", [minute], minute)
    done = call("status", "X:Y", "1m", "--lake", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert not any("X:Z" in line for line in lines)
    assert "gap 2026-11-18 14:01 2026-11-18 14:05 4 the server had none" in lines
    assert any(line.startswith("gap 2026-11-18 14:06 2026-11-18 14:30 24 not wholly asked for") for line in lines)
    told = [line.partition(" 2026")[0] for line in lines if line.startswith(("asked", "gap", "never"))]
    assert told == ["asked", "gap", "gap", "never asked", "asked", "gap", "never asked"]
    few = call("status", "X:Y", "--limit", "2", "--lake", str(tmp_path)).stdout
    assert "5 older ones are not shown; --limit 0 shows all" in few
    [series] = json.loads(call("status", "X:Y", "--json", "--lake", str(tmp_path)).stdout)
    assert [entry["kind"] for entry in series["entries"]] == told
    assert "entries" not in json.loads(call("status", "--json", "--lake", str(tmp_path)).stdout)[0]


def test_trading_hours_that_cannot_be_read_are_told_with_their_text(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    hours = json.dumps({"session": UNSEEN_SESSION, "timezone": "Asia/Hong_Kong"})
    for symbol in ("HKEX:9", "HKEX:8"):
        for interval in ("1m", "1d"):
            store.upsert(symbol, interval, table(PLAIN[:3], trading_hours=hours))
    stored(store, "X:Y", [NOW], NOW)
    listed = printed(lake_status(store, NOW), NOW)
    assert ["no hours" in line for line in listed if "HKEX:" in line and "never" in line] == [True] * 4
    told = f"HKEX:8, HKEX:9: no calendar, so gaps are not known: {UNSEEN_PROBLEM}"
    assert " ".join(" ".join(listed).split()).endswith(told)
    one = " ".join(call("status", "HKEX:9", "1m", "--lake", str(tmp_path)).stdout.split())
    assert "not judged 2026-11-12 09:00 2026-11-12 09:03 3 no calendar says which bars are missing:" in one
    assert UNSEEN_SESSION in one
    [series] = json.loads(call("status", "HKEX:9", "1m", "--json", "--lake", str(tmp_path)).stdout)
    assert (series["unreadable_hours"], series["completeness"], series["gaps"]) == (UNSEEN_PROBLEM, None, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("X:A",), "'X:A' is not stored in "),
        (("X:Y", "1d"), "'X:Y' is not stored at 1d, but at 1m"),
        (("X:Y", "soon"), "interval 'soon': expected e.g. 1m"),
    ],
)
def test_a_series_that_is_not_there_is_named(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    stored(BarStore(tmp_path), "X:Y", [NOW], NOW)
    done = call("status", *arguments, "--lake", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_a_damaged_series_says_so_in_place_of_its_entries(tmp_path: Path) -> None:
    stored(BarStore(tmp_path), "X:Y", [NOW], NOW)
    (tmp_path / ".tv_etl" / "1m" / "X%3AY" / "series.json").write_text("{}", encoding="utf-8")
    done = call("status", "X:Y", "--lake", str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("DamagedFileError") == 2


def test_a_seam_is_shown_and_resolved_by_a_command(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for start in (0, 500):
        update = store.update_of(SERIES, table(PLAIN[start : start + 100]))
        enter(store, update)
    arguments = ("seam", SERIES.symbol, "1m", "--lake", str(tmp_path))
    assert "seam" in next(line for line in printed(lake_status(store, NOW), NOW) if SERIES.symbol in line)
    assert "not proven to join: no bar is both" in " ".join(
        call("status", SERIES.symbol, *arguments[3:]).stdout.split()
    )
    shown = call(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{PLAIN[99][4]:.10g} before" in shown.stdout and f"{PLAIN[500][4]:.10g} after" in shown.stdout
    wrong = call(*arguments, "mend")
    assert wrong.returncode == 1 and "'mend' resolves no seam" in wrong.stderr
    assert "resolved: scale 0.5 (volume × 2)" in call(*arguments, "scale", "0.5").stdout
    assert store.read(*SERIES)["close"][0].as_py() == PLAIN[0][4] / 2
    again = call(*arguments, "accept")
    assert (again.returncode, again.stdout) == (1, "NASDAQ:SPLT 1m has no open seam\n")


def test_a_renamed_symbol_is_told_and_moved_by_a_command(tmp_path: Path, market_url: str) -> None:
    lake = ("--lake", str(tmp_path))
    intervals = ("--interval", "1d", "--interval", "1h")
    fetched = call("fetch", "NASDAQ:OLDN", "NASDAQ:AAPL", *intervals, "--bars", "20", *lake, url=market_url)
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stderr.count("it is named NASDAQ:NEWN now: tv-etl rename NASDAQ:OLDN NASDAQ:NEWN") == 2
    told = call("status", *lake).stdout
    assert told.count("is named") == 1
    assert "NASDAQ:OLDN is named NASDAQ:NEWN now: tv-etl rename NASDAQ:OLDN NASDAQ:NEWN\n" in told
    names = {each["symbol"]: each["renamed_to"] for each in json.loads(call("status", "--json", *lake).stdout)}
    assert names == {"NASDAQ:AAPL": None, "NASDAQ:OLDN": "NASDAQ:NEWN"}
    done = call("rename", "NASDAQ:OLDN", "NASDAQ:NEWN", *lake)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "NASDAQ:OLDN 1h is NASDAQ:NEWN 1h now: 20 bars, 20 of them from NASDAQ:OLDN",
        "NASDAQ:OLDN 1d is NASDAQ:NEWN 1d now: 20 bars, 20 of them from NASDAQ:OLDN",
        "Write NASDAQ:NEWN in place of NASDAQ:OLDN in your watchlist, or NASDAQ:OLDN will be collected again.",
    ]
    again = call("rename", "NASDAQ:OLDN", "NASDAQ:NEWN", *lake)
    assert (again.returncode, again.stdout) == (0, "all series of NASDAQ:OLDN are those of NASDAQ:NEWN already\n")
    assert "is named" not in call("status", *lake).stdout
    assert "NASDAQ:OLDN to NASDAQ:NEWN" in call("status", "NASDAQ:NEWN", *lake).stdout
    gone = call("status", "NASDAQ:OLDN", *lake)
    assert gone.returncode == 1 and "it was renamed: NASDAQ:OLDN to NASDAQ:NEWN, 20" in gone.stderr
    assert call("verify", *lake).returncode == 0


def test_what_cannot_be_renamed_is_named(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert("X:OLD", "1m", table(PLAIN[:100]))
    store.upsert("X:NEW", "1m", table(PLAIN[500:600]))
    done = call("rename", "X:OLD", "X:NEW", "--lake", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: X:OLD 1m was not moved: ") and "do not join the stored ones" in done.stderr
    for names, reason in (
        (("X:NO", "X:NEW"), "'X:NO' is not stored in "),
        (("X:OLD", "X:OLD"), "'X:OLD': is the name"),
    ):
        refused = call("rename", *names, "--lake", str(tmp_path))
        assert refused.returncode == 1 and reason in refused.stderr


def test_all_that_is_known_of_a_series_can_be_shown() -> None:
    moment = datetime(2026, 11, 2, tzinfo=timezone.utc)
    entries = [Entry(kind, moment, moment, None, "") for kind in KINDS]
    console = Console(file=io.StringIO(), width=120)
    console.print(chronicle_table(Chronicle(SERIES, entries), 0))
    assert isinstance(console.file, io.StringIO)
    assert all(kind in console.file.getvalue() for kind in KINDS)


def test_what_the_server_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    store, now = BarStore(tmp_path), datetime.now(timezone.utc)
    for interval in ("1d", "1h"):
        store.refuse("NASDAQ:NOPE", interval, "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol", now.timestamp())
    lines = [" ".join(line.split()) for line in call("status", "--lake", str(tmp_path)).stdout.splitlines()]
    assert "NASDAQ:NOPE 1d 0 refused never" in lines
    reason = "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol"
    assert f"NASDAQ:NOPE 1h, NASDAQ:NOPE 1d: refused by the server since {now:%Y-%m-%d %H:%M}Z: {reason}" in lines


def test_an_empty_lake_has_no_rows(tmp_path: Path) -> None:
    assert lake_status(BarStore(tmp_path), NOW) == []


def test_a_series_without_trading_hours_is_unknown(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    columns = [pa.array([NOW], BAR_SCHEMA.field(0).type), *[pa.array([1.0])] * 5]
    schema = BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""})
    store.upsert("X:Y", "1m", pa.Table.from_arrays(columns, schema=schema))
    [status] = lake_status(store, NOW)
    assert status.to_dict()["completeness"] is None
    assert "unknown" in printed([status], NOW)[2]


def test_eighty_characters_are_enough(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute = NOW.replace(second=0)
    for symbol in ("BINANCE:BTCUSDT", "NASDAQ:AAPL"):
        stored(store, symbol, [minute, minute + timedelta(minutes=5)], minute + timedelta(minutes=6))
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(status_table(lake_status(store, NOW), NOW, console.width))
    lines = captured.get().splitlines()
    assert "…" not in captured.get()
    assert lines[2].split() == [
        "BINANCE:BTCUSDT", "1m", "2", "2026-11-18", "15:05", "33.33%", "1", "in", "2", "d", "2", "h",
    ]  # fmt: skip


def test_names_are_no_markup_and_no_commands(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute = NOW.replace(second=0)
    for name in ("X:[red]A[/red]", "X::smile:", "X:a\u202eb"):
        stored(store, name, [minute], minute)
    statuses = lake_status(store, NOW)
    text = "\n".join(printed(statuses, NOW))
    assert "X:[red]A[/red]" in text and "X::smile:" in text and "X:a\ufffdb" in text


def test_figures_have_no_cadence_and_no_gaps(tmp_path: Path, market_url: str) -> None:
    lake, symbol = str(tmp_path / "lake"), "ECONOMICS:USCPI"
    arguments = ("--interval", "1d", "--start", "1960-01-01", "--out", str(tmp_path / "out.csv"), "--lake", lake)
    assert call("fetch", symbol, *arguments, url=market_url).returncode == 0
    [row] = [line for line in printed(lake_status(BarStore(lake), NOW), NOW) if symbol in line]
    times = ["1960-03-01", "00:00", "2026-10-01", "00:00"]
    assert row.split() == [symbol, "1d", "799", *times, "no", "cadence", "0", "never"]
    [series] = json.loads(call("status", symbol, "1d", "--json", "--lake", lake).stdout)
    assert (series["has_cadence"], series["completeness"], series["gaps"]) == (False, None, None)
    assert (series["missing_sessions"], series["unreadable_hours"], series["loss_deadline"]) == (None, None, None)
    told = {entry["kind"]: entry for entry in series["entries"]}
    assert sorted(told) == ["asked", "no cadence"]
    assert (told["no cadence"]["bars"], told["no cadence"]["start"][:10]) == (799, "1960-03-01")
    one = " ".join(call("status", symbol, "1d", "--lake", lake).stdout.split())
    assert "no cadence 1960-03-01 00:00 2026-10-02 00:00 799 the newest are 31 days apart as a rule" in one


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("verify",),
        ("export",),
        ("seam", "A:B", "1d"),
        ("rename", "A:B", "A:C"),
        ("remove", "A:B", "--yes"),
    ],
)
def test_a_path_without_a_lake_is_told_and_makes_none(arguments: list[str], tmp_path: Path) -> None:
    done = call(*arguments, "--lake", str(tmp_path / "typo"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: no lake at {tmp_path}/typo: there is no such directory; is the path right")
    assert list(tmp_path.iterdir()) == []
