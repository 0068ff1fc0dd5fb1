"""Files come into a lake whole, series by series: joined by proof, with their origin on record, or not at all."""

import gzip
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.imports import ImportOptions, import_files
from tv_etl.imports.importing import files_in
from tv_etl.lake.chronicle import IMPORTED, chronicle
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.moments import utc
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SPLIT, Rows, second, table
from tv_etl_tests.imports.imported import imported, reason, stored
from tv_etl_tests.imports.samples import (
    APPLE,
    DAYS,
    HOURS,
    INDEX,
    MINUTES,
    NEW_YORK,
    SAMPLES,
    frame,
    lines,
    moments,
)
from tv_etl_tests.patience import HANG_S

MINUTE = "NASDAQ_SPLT, 1.csv"
ROWS = {
    "header": "time,open,high,low,close,Volume",
    "first": "2024-01-02T14:30:00Z,162.83,163,162.4,162.9,81000",
    "second": "2024-01-02T14:35:00Z,162.9,163.1,162.8,163,21500",
    "third": "2024-01-02T14:40:00Z,163,163.2,162.9,163.1,18250",
}
CHART = "NYSE_IBM, 5.csv"


def chart(directory: Path, rows: Rows, name: str = MINUTE) -> Path:
    """The rows as a chart would export them."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    written = "".join(f"{int(row[0])},{','.join(map(repr, row[1:]))}\n" for row in rows)
    path.write_text(f"time,open,high,low,close,Volume\n{written}", encoding="utf-8")
    return path


def broken(directory: Path, *rows: str, name: str = CHART) -> Path:
    path = directory / name
    path.write_text("\n".join([ROWS["header"], *rows, ""]), encoding="utf-8")
    return path


# --- what is wrong with a file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "row", "message"),
    [
        (["first", "third", "second"], 4, "comes after 2024-01-02 14:40:00Z; rows must ascend in time: sort the file"),
        (["third", "second", "first"], 3, "all rows descend; rows must ascend in time: sort the file by it"),
        (["first", "second", "second", "third"], 4, "2024-01-02 14:35:00Z is there twice: keep one of the rows"),
        (["first", "2024-01-02T14:35:00Z,162.9,NaN,162.8,163,21500", "third"], 3, "high is empty or no number"),
        (["first", "2024-01-02T14:35:00Z,162.9,163.1,,163,21500", "third"], 3, "low is empty or no number"),
        (["first", "2024-01-02T14:35:00Z,162.9,163.1,inf,163,1"], 3, "low is inf; expected a number"),
        (
            ["first", "2024-01-02T14:35:00Z,162.9,163.1,n.a.,163,1"],
            3,
            "low 'n.a.' is not a number; expected e.g. 101.25",
        ),
        (
            ["first", '2024-01-02T14:35:00Z,162.9,163.1,"162,8",163,1'],
            3,
            "if all decimals have a comma, --decimal , says so",
        ),
        (["first", "second,7", "third"], 3, "7 columns, expected 6"),
        (["first", "2024-01-02T14:35:00Z,162,9,163,1,162,8,163,0,1"], 3, "columns have to be parted by ;"),
        (
            ["first", "second", "2024-01-02T14:40:00Z,163,16"],
            4,
            "3 columns, expected 6: the row is not whole; was the file",
        ),
        (
            ["first", "2024-01-02T14:35:00,162.9,163.1,162.8,163,1"],
            3,
            "has no zone, and the rows before have one: write",
        ),
        (
            ["2024-01-02T14:30:00,162,163,162,163,1", "second"],
            3,
            "has a zone, and the rows before have none: write all",
        ),
        (["first", "02/01/2024 14:35,162.9,163.1,162.8,163,1"], 3, "cannot be read; expected ISO 8601 such as"),
        (["2024-01-02T14:30:00,162,163,162,163,1"], 2, "has no zone: --timezone says which it is in, UTC or e.g."),
        (
            ["first", "2024-01-02T14:35:00Z;162.9;163.1;162.8;163;1"],
            3,
            "it is parted by ';', and the first line by ','",
        ),
        (["first", "2024-01"], 3, "1 column, expected 6: the row is not whole; was the file written to its end?"),
        (["first", "2024-01-02T14:35:00Z,162.9,163.1,162.8,163,-1"], 3, "volume is -1; expected 0 or more, or nothing"),
        (
            ["1704205800,162,163,162,163,1", "1704206100000,162,163,162,163,1"],
            2,
            "the time is not a whole second, read in ms as 1704206100000 is: write all alike",
        ),
        (["first", "", "", "2024-01-02T14:35:00Z,162.9,163.1,x,163,1"], 5, "low 'x' is not a number"),
    ],
)
def test_a_broken_file_is_refused_with_its_row(tmp_path: Path, rows: list[str], row: int, message: str) -> None:
    texts = [ROWS["second"] + ",7" if each == "second,7" else ROWS.get(each, each) for each in rows]
    path = broken(tmp_path, *texts)
    told = reason(BarStore(tmp_path / "lake"), path)
    assert told.startswith(f"{path}, row {row}: ")
    assert message in told


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CHART, b"", "it is empty; expected a line with the names of columns"),
        (CHART, b"time,open,high,low,close\n", "it has no rows"),
        (CHART, ROWS["first"].replace("2024-01-02T14:30:00Z", "1704205800").encode(), "its first line is a row"),
        (CHART, "time,open".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        (CHART, b"time;open;high;low;close\n1704205800;1,234;1,235;1,233;1,234\n", "--decimal , says the former"),
        (CHART, b"when,open,high,low,close\n1,1,1,1,1\n", "no column is named time: --column time=NAME says which of"),
        (
            CHART,
            "\n".join(ROWS.values()).encode() + b"\n\xfc,1,1,1,1,1\n",
            "row 5: its byte 0xfc is no UTF-8: save the",
        ),
        ("a.pkl", b"\x80\x04K\x01.", "a pickle is a program that is run by reading it: write the frame with to_csv"),
        ("a.xlsx", b"PK", "not a file of bars by its name; known are .csv"),
        ("NYSE%3AIBM.5m.parquet", b"PAR1 and then no more", "cannot be read as Parquet; was it written to its end?"),
        ("a.feather", b"", "cannot be read as Arrow; was it written to its end?"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00", "it cannot be read: "),
        (
            "a.json",
            b"[[1704205800000,1,1,1,1,1],[17042061000",
            "row 2: the file ends within it: was it written to its end?",
        ),
        ("a.json", b'[{"timestamp":1,"open":1,"high":1,"low":1,"close":1},{"tim', "row 2: the file ends within it"),
        ("a.json", b"[[1704205800000,1,1,1,1,1],[1704206100000,1,1,1,1]]", "row 2: expected 6 numbers, date, open"),
        ("a.json", b'[[1704205800000,1,1,1,"1",1]]', "row 1: close '1' is not a number"),
        ("a.json", b'{"bars": 7}', "it holds no bars: expected a list of objects or of rows"),
        ("a.json", b"nonsense", "no JSON: "),
    ],
)
def test_what_is_no_file_of_bars_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    told = reason(BarStore(tmp_path / "lake"), path, symbol="NYSE:IBM", interval="5m")
    assert told.startswith(str(path))
    assert message in told


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    whole = frame(MINUTES, moments(MINUTES)).to_parquet()
    path = tmp_path / "bars.parquet"
    path.write_bytes(whole[: len(whole) // 2])
    told = reason(BarStore(tmp_path / "lake"), path, symbol="NYSE:IBM", interval="5m")
    assert f"{path}: it cannot be read as Parquet; was it written to its end?" in told


def test_a_truncated_archive_is_refused_whatever_its_length(tmp_path: Path) -> None:
    rows = "".join(f"{1704205800 + 300 * row},1,2,1,{1 + row % 97 / 100},5\n" for row in range(40_000))
    whole = gzip.compress(f"time,open,high,low,close,Volume\n{rows}".encode())
    path = tmp_path / "NYSE_IBM, 5.csv.gz"
    path.write_bytes(whole[: len(whole) * 9 // 10])
    assert f"{path}: it cannot be read: " in reason(BarStore(tmp_path / "lake"), path)


def test_a_file_that_vanishes_is_the_fault_of_its_series(tmp_path: Path) -> None:
    paths = [chart(tmp_path, PLAIN[:9], f"NASDAQ_{name}, 1.csv") for name in "AB"]
    store, taken = BarStore(tmp_path / "lake"), paths[0].unlink
    outcomes = list(import_files(store, paths, opened=lambda done, series: taken() if done == 2 else None))
    assert [None if each.error is None else str(each.error) for each in outcomes] == [
        f"{paths[0]}: it cannot be read: No such file or directory",
        None,
    ]


def test_text_in_place_of_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    frame(MINUTES, moments(MINUTES)).assign(close="dear").to_parquet(path)
    told = reason(BarStore(tmp_path / "lake"), path, symbol="NYSE:IBM", interval="5m")
    assert told == f"{path}: column 'close' is of type {pa.large_string()}; expected numbers"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "IBM.csv",
            {},
            "'IBM' may be a symbol of many exchanges: --symbol IBM=EXCHANGE:TICKER says which, or --exchange",
        ),
        ("IBM.csv", {"exchange": "NYSE"}, "nothing says how wide its bars are: --interval does, e.g. --interval 1d"),
        (CHART, {"interval": "1m"}, "by its rows or its name it is of 5m, and not of 1m"),
        (CHART, {"symbol": "NYSE:GE"}, "it is of NYSE:IBM, and not of NYSE:GE; --symbol NYSE_IBM=NYSE:GE renames"),
        ("NYSE_IBM, 5R.csv", {}, "bars of ticks and ranges are not stored"),
        ("NYSE_IBM, 1.csv", {}, "rows are 5 minutes apart, wider than 1m; --interval says what is right"),
        ("NYSE_IBM, 60.csv", {}, "most rows are 5 minutes apart, closer than 1h; --interval says what is right"),
        (CHART, {"columns": ["volume=Volume"]}, "nothing says of what scale its prices are: --adjustment splits does"),
        (
            CHART,
            {"hours": "1000-1001@America/New_York"},
            "67% of its rows are outside the regular trading hours of NYSE:IBM",
        ),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(
    tmp_path: Path, name: str, given: Mapping[str, Any], message: str
) -> None:
    texts = [
        ROWS["first"].replace("14:30", "15:00"),
        ROWS["second"].replace("14:35", "15:05"),
        ROWS["third"].replace("14:40", "15:10"),
    ]
    assert message in reason(BarStore(tmp_path / "lake"), broken(tmp_path, *texts, name=name), **given)


def test_a_day_without_a_session_is_told(tmp_path: Path) -> None:
    path = tmp_path / "NASDAQ_AAPL, 1D.csv"
    path.write_text(lines("time,open,high,low,close,Volume", DAYS, ["2024-01-04", "2024-01-05", "2024-01-06"]))
    told = reason(BarStore(tmp_path / "lake"), path, hours=NEW_YORK)
    right = "2024-01-06 is no trading day of NASDAQ:AAPL by its trading hours: remove the row, or say --hours"
    assert told == f"{path}, row 4: {right}"


def test_days_that_are_twice_or_out_of_order_are_told(tmp_path: Path) -> None:
    for dates, message in (
        (["2024-01-02", "2024-01-03", "2024-01-03"], "row 4: 2024-01-03 is there twice: keep one of the rows"),
        (["2024-01-03", "2024-01-04", "2024-01-02"], "row 4: 2024-01-02 comes after 2024-01-04; rows must ascend"),
    ):
        path = tmp_path / "NASDAQ_AAPL, 1D.csv"
        path.write_text(lines("time,open,high,low,close,Volume", DAYS, dates))
        assert message in reason(BarStore(tmp_path / "lake"), path, hours=NEW_YORK)


def test_days_in_the_wrong_zone_are_told(tmp_path: Path) -> None:
    path = tmp_path / "hist.csv"
    path.write_text(
        lines(
            "datetime,symbol,open,high,low,close,volume",
            DAYS,
            [f"2024-01-0{d} 15:30:00,NASDAQ:AAPL" for d in (2, 3, 4)],
        )
    )
    told = reason(BarStore(tmp_path / "lake"), path, interval="1d", timezone="UTC", hours=NEW_YORK)
    assert "row 2: 2024-01-02 15:30Z: 100% of its rows are no opens of 1d of NASDAQ:AAPL by its trading hours" in told


# --- how a series enters ----------------------------------------------------------------------------------------


def test_many_files_of_a_series_are_one_commit_with_their_origins(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake", clock=lambda: 2e9)
    parts = [PLAIN[:300], PLAIN[300:700], PLAIN[600:1_000]]
    paths = [chart(tmp_path, part, f"{number}/{MINUTE}") for number, part in enumerate(parts)]
    (series,), refused = imported(store, *reversed(paths))
    assert (refused, series.error, series.files) == (
        [],
        None,
        {path: len(part) for path, part in zip(paths[::-1], parts[::-1], strict=True)},
    )
    assert series.left_out == second(999)
    assert stored(store, *map(str, SERIES)) == PLAIN[:999]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    told = [f"{MINUTE}, a chart's export, adjusted for splits, sha256 {digest}" for digest in digests]
    spans = [(0, 300), (300, 700), (700, 999)]
    found = store.record(*SERIES).imported
    assert [(each.start, each.provenance, each.entered_at) for each in found] == [
        (second(first), text, 2e9) for (first, _), text in zip(spans, told, strict=True)
    ]
    entries = [each for each in chronicle(store, SERIES, utc(2e9)).entries if each.kind == IMPORTED]
    assert [each.text for each in entries] == [f"from {text}" for text in told]
    assert store.facts(*SERIES) == {"adjustment": "splits", "session": "regular"}


def test_an_import_again_changes_nothing(tmp_path: Path) -> None:
    moments = iter(range(1_900_000_000, 2_000_000_000))
    store = BarStore(tmp_path / "lake", clock=lambda: float(next(moments)))
    path = chart(tmp_path, PLAIN[:500])
    imported(store, path)
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "lake").rglob("*") if each.is_file()}
    record = store.record(*SERIES)
    (series,), _ = imported(store, path)
    assert series.commit is not None
    assert (series.commit.added, series.commit.changed, series.commit.paths) == (0, 0, ())
    assert store.record(*SERIES) == record
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "lake").rglob("*") if each.is_file()} == before


@pytest.mark.parametrize("given", [PLAIN, SPLIT], ids=["same scale", "other scale"])
def test_files_join_served_bars_by_proof_and_replace_none(tmp_path: Path, given: Rows) -> None:
    store = BarStore(tmp_path / "lake")
    store.upsert(*SERIES, table(PLAIN[400:600]))
    (series,), _ = imported(store, chart(tmp_path, given[100:800]), closed=True)
    assert (series.error, stored(store, *map(str, SERIES))) == (None, PLAIN[100:800])
    assert [each.span for each in store.record(*SERIES).imported] == [
        (second(100), second(400)),
        (second(600), second(799) + 1),
    ]


def test_files_that_do_not_join_are_refused_and_others_stored(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    store.upsert(*SERIES, table(PLAIN[400:600]))
    outcomes, _ = imported(store, chart(tmp_path, PLAIN[:100]), chart(tmp_path, PLAIN[:100], "NASDAQ_NEW, 1.csv"))
    assert [str(each.series) for each in outcomes if each.error is None] == ["NASDAQ:NEW 1m"]
    assert "do not join the stored ones; they would have to overlap those" in str(outcomes[0].error)
    assert stored(store, *map(str, SERIES)) == PLAIN[400:600]


def test_bars_of_another_adjustment_are_refused(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    store.upsert(*SERIES, table(PLAIN[:100], adjustment="splits"))
    (series,), _ = imported(store, chart(tmp_path, PLAIN[50:200]), adjustment="dividends")
    assert "is stored with adjustment 'splits'; bars with adjustment 'dividends'" in str(series.error)


def test_one_broken_file_keeps_its_series_out(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    good = chart(tmp_path, PLAIN[:500], f"1/{MINUTE}")
    bad = chart(tmp_path, [*PLAIN[500:600], *PLAIN[599:700]], f"2/{MINUTE}")
    assert f"{bad}, row 102: " in reason(store, good, bad)
    unreadable = tmp_path / "3" / MINUTE
    unreadable.parent.mkdir()
    unreadable.write_text("")
    assert f"{unreadable}: it is empty" in reason(store, good, unreadable)


def test_files_that_disagree_are_told_with_both(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    other = (PLAIN[299][0], *(price + 1 for price in PLAIN[299][1:5]), 7.0)
    older = chart(tmp_path, [*PLAIN[:299], other], f"older/{MINUTE}")
    newer = chart(tmp_path, PLAIN[290:500], f"newer/{MINUTE}")
    told = reason(store, newer, older)
    assert told.startswith(f"{newer}, row 11: the bar of {utc(second(299)):%Y-%m-%d %H:%M}Z closes at ")
    assert str(older) in told and "import the older file first, in a call of its own" in told
    imported(store, older)
    imported(store, newer, closed=True)
    assert stored(store, *map(str, SERIES)) == PLAIN[:500]


@pytest.mark.parametrize(
    ("name", "closed", "kept"),
    [(CHART, None, 2), (CHART, True, 3), (CHART, False, 2), ("BTC_USDT-5m.parquet", None, 3)],
)
def test_the_newest_bar_may_have_been_forming(tmp_path: Path, name: str, closed: bool | None, kept: int) -> None:
    store, path = BarStore(tmp_path / "lake"), tmp_path / name
    if name == CHART:
        broken(tmp_path, ROWS["first"], ROWS["second"], ROWS["third"])
    else:
        frame(MINUTES, moments(MINUTES)).to_parquet(path)
    (series,), _ = imported(store, path, closed=closed, **({} if name == CHART else {"exchange": "BINANCE"}))
    assert series.left_out == (None if kept == 3 else MINUTES[-1][0])
    assert [row[:5] for row in stored(store, series.series.symbol, "5m")] == [row[:5] for row in MINUTES[:kept]]


def test_bars_that_have_not_closed_are_left_out(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake", clock=lambda: float(MINUTES[1][0] + 299))
    (series,), _ = imported(store, broken(tmp_path, ROWS["first"], ROWS["second"], ROWS["third"]), closed=True)
    assert series.commit is not None and series.commit.forming == 2
    assert stored(store, "NYSE:IBM", "5m") == MINUTES[:1]


def test_a_volume_that_is_always_0_is_none(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    rows = [ROWS[name].rpartition(",")[0] + ",0" for name in ("first", "second", "third")]
    (series,), _ = imported(store, broken(tmp_path, *rows), closed=True)
    assert series.notes == ("every volume is 0: taken for none",)
    assert stored(store, "NYSE:IBM", "5m") == INDEX


def test_prices_that_do_not_enclose_each_other_go_into_quarantine(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    high = ROWS["second"].replace(",163.1,", ",162.85,")
    (series,), _ = imported(store, broken(tmp_path, ROWS["first"], high, ROWS["third"]), closed=True)
    assert series.commit is not None and series.commit.quarantined == 1
    assert stored(store, "NYSE:IBM", "5m") == [MINUTES[0], MINUTES[2]]


def test_a_file_of_many_series_is_read_in_one_pass_and_stored_by_series(tmp_path: Path) -> None:
    symbols = [f"BINANCE:C{number}USDT" for number in range(40)]
    rows = pd.concat([frame(HOURS, moments(HOURS), "timestamp").assign(symbol=each, interval="1h") for each in symbols])
    path = tmp_path / "all.parquet"
    pq.write_table(pa.Table.from_pandas(rows.sort_values("timestamp"), preserve_index=False), path, row_group_size=50)
    store = BarStore(tmp_path / "lake")
    series, _ = imported(store, path, closed=True)
    assert sorted(each.series.symbol for each in series) == sorted(symbols)
    assert all(stored(store, each, "1h") == HOURS for each in symbols)


def test_a_row_of_a_file_of_many_series_is_told_as_it_stands_there(tmp_path: Path) -> None:
    rows = ["symbol,interval,timestamp,open,high,low,close,volume"]
    rows += [
        f"X:{name},1h,2024-01-01T0{hour}:00:00Z,1,1,1,{1 if hour or name == 'A' else ''},1"
        for hour in (1, 0)
        for name in "AB"
    ]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(rows))
    series, _ = imported(BarStore(tmp_path / "lake"), path)
    assert [str(each.error).partition(": ")[0] for each in series] == [f"{path}, row 4", f"{path}, row 5"]


def test_a_symbol_for_all_is_none_for_a_file_of_many(tmp_path: Path) -> None:
    two = next(each for each in SAMPLES if each.name == "two.csv").write(tmp_path)
    series, refused = imported(BarStore(tmp_path / "lake"), two, symbol="NASDAQ:AAPL", interval="1d")
    assert series == [] and "it has several series: --symbol AAPL=SYMBOL says whose is 'AAPL'" in str(refused[0].error)


def test_directories_are_searched_for_files_of_bars(tmp_path: Path) -> None:
    names = ["b/x.csv", "a.parquet", "b/c/y.json.gz"]
    for name in [*names, "notes.md", "b/x.metadata.txt.bak", "b/program.pkl"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert sorted(files_in([tmp_path, tmp_path / "a.parquet"])) == sorted(tmp_path / name for name in names)
    assert files_in([tmp_path / "notes.md"]) == [tmp_path / "notes.md"], "a file that is named is taken at its word"


def test_the_hours_of_a_server_become_facts_of_the_series(tmp_path: Path) -> None:
    told = {"trading_hours": json.dumps({"session": "0930-1600", "timezone": "America/New_York"}), "kind": "stock"}
    path = tmp_path / "NASDAQ_AAPL, 1D.csv"
    path.write_text(lines("time,open,high,low,close,Volume", DAYS, ["2024-01-02", "2024-01-03", "2024-01-04"]))
    store = BarStore(tmp_path / "lake")
    list(import_files(store, [path], ImportOptions(closed=True), ask=lambda symbol: told))
    assert stored(store, "NASDAQ:AAPL", "1d") == APPLE["NASDAQ:AAPL 1d"]
    record = store.record("NASDAQ:AAPL", "1d")
    assert record.ratio == 1.0 and record.facts["kind"] == "stock"


def test_what_is_open_is_told_as_it_goes(tmp_path: Path) -> None:
    paths = [chart(tmp_path, PLAIN[:9], f"NASDAQ_{name}, 1.csv") for name in "ABC"]
    seen: list[tuple[int, int]] = []
    list(import_files(BarStore(tmp_path / "lake"), paths, opened=lambda done, series: seen.append((done, series))))
    assert seen == [(1, 1), (2, 2), (3, 3)]


# --- kills ------------------------------------------------------------------------------------------------------

IMPORT = """
import sys
from tv_etl.imports import import_files
from tv_etl.lake.store import BarStore
for outcome in import_files(BarStore(sys.argv[1]), sys.argv[2:]):
    print(outcome.series, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stored_before", range(0, 8, 2))
def test_a_kill_leaves_whole_series_and_running_again_finishes(tmp_path: Path, stored_before: int) -> None:
    names = [f"S{number}" for number in range(8)]
    for name in names:
        for part in range(4):
            chart(tmp_path, PLAIN[part * 240 : part * 240 + 250], f"{part}/NASDAQ_{name}, 1.csv")
    paths = sorted(tmp_path.rglob("*.csv"))
    lake = tmp_path / "lake"
    with subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(lake), *map(str, paths)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(stored_before):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(HANG_S)
    store = BarStore(lake)
    for name in names:
        bars = stored(store, f"NASDAQ:{name}", "1m")
        assert bars in ([], PLAIN[:969])
    assert sum(len(stored(store, f"NASDAQ:{name}", "1m")) > 0 for name in names) >= stored_before
    series, refused = imported(store, *paths)
    assert refused == [] and all(each.error is None for each in series)
    assert all(stored(store, f"NASDAQ:{name}", "1m") == PLAIN[:969] for name in names)
