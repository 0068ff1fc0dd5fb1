"""Data frames and DuckDB's view of a lake, beside what a scan finds."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tv_etl.lake.frames import frame_maker
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA, LABELLED_SCHEMA
from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl_tests.lake_files import files_of
from tv_etl_tests.test_structure import loaded_by

START = datetime(2026, 10, 31, 12, tzinfo=timezone.utc)
SERIES = [("X:A", "1h"), ("X:A", "1d"), ("X:NO/VOLUME", "1h")]
ROWS = "SELECT * FROM bars ORDER BY symbol, interval, timestamp"


def bars(width: timedelta, has_volume: bool, count: int = 3) -> pa.Table:
    columns: dict[str, list[object]] = {"timestamp": [START + number * width for number in range(count)]}
    columns |= {name: [1.0 + number for number in range(count)] for name in BAR_SCHEMA.names[1:5]}
    columns["volume"] = [0.1 + number if has_volume else None for number in range(count)]
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


def fill(store: BarStore) -> BarStore:
    for symbol, interval in SERIES:
        width = timedelta(hours=1) if interval == "1h" else timedelta(days=1)
        store.upsert(symbol, interval, bars(width, symbol == "X:A"))
    return store


def rows_of(store: BarStore, *selection: object) -> list[tuple[object, ...]]:
    """What a scan finds, in the order of ROWS."""
    found = store.scan(*selection).read_all().select(LABELLED_SCHEMA.names).to_pylist()  # type: ignore[arg-type]
    return sorted((tuple(row.values()) for row in found), key=lambda row: row[:3])


SELECTIONS = [
    (),
    ("X:A",),
    (["X:NO/VOLUME", "X:UNKNOWN"], ["1h"]),
    (None, "60"),
    (None, None, START + timedelta(hours=1)),
    ("X:A", "1h", START, START + timedelta(hours=2)),
    ([], None),
    ("X:A", []),
]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_duckdb_finds_in_its_view_what_a_scan_finds(base: str, selection: tuple[object, ...]) -> None:
    store = fill(BarStore(base))
    wanted = rows_of(store, *selection)
    assert bool(wanted) == (selection not in SELECTIONS[-2:])
    with store.to_duckdb(*selection) as connection:  # type: ignore[arg-type]
        assert connection.execute(ROWS).fetchall() == wanted
        types = {row[0]: row[1] for row in connection.execute("DESCRIBE bars").fetchall()}
    assert list(types) == LABELLED_SCHEMA.names
    assert set(types.values()) == {"VARCHAR", "TIMESTAMP WITH TIME ZONE", "DOUBLE"}


def test_the_view_of_a_directory_reads_the_files_as_they_are_when_it_is_asked(tmp_path: Path) -> None:
    store = fill(BarStore(tmp_path))
    with store.to_duckdb(intervals="1d") as connection:
        assert len(connection.execute(ROWS).fetchall()) == 3
        store.upsert("X:B", "1d", bars(timedelta(days=1), True))
        store.upsert("X:A", "1d", bars(timedelta(days=1), True, count=5))
        assert connection.execute(ROWS).fetchall() == rows_of(store, None, "1d")
    # Of the hours not even the footers are read.
    for name in files_of(store).names():
        if name.startswith("ohlcv/interval=1h"):
            files_of(store).write(name, b"damaged")
    with store.to_duckdb(intervals="1d") as connection:
        assert len(connection.execute(ROWS).fetchall()) == 8


def test_the_view_has_the_dataset_and_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    base = tmp_path / "it's [1] *lake?"
    store = fill(BarStore(base))
    content = files_of(store).read("ohlcv/interval=1d/symbol=X%3AA/all.parquet")
    for name in (".tv_etl/1d/X%3AA/quarantine", "panel/interval=1d/2026", "daily_from_1m/ohlcv/interval=1d/symbol=X/a"):
        files_of(store).write(f"{name}.parquet", content)
    with store.to_duckdb() as connection:
        assert connection.execute(ROWS).fetchall() == rows_of(store)


def test_an_empty_lake_has_an_empty_view_and_empty_frames(base: str) -> None:
    store = BarStore(base)
    with store.to_duckdb() as connection:
        assert connection.execute("SELECT count(*), max(timestamp) FROM bars").fetchall() == [(0, None)]
    assert store.to_polars().columns == list(store.to_pandas().columns) == [*LABELLED_SCHEMA.names, "trading_day"]
    assert len(store.to_pandas()) == store.to_polars().height == 0


def test_days_of_duckdb_are_those_of_utc(tmp_path: Path) -> None:
    """Wherever the machine is."""
    fill(BarStore(tmp_path))
    code = (
        f"from tv_etl.lake import BarStore; bars = BarStore({str(tmp_path)!r}).to_duckdb('X:A', '1d')\n"
        "print(bars.sql('SELECT min(timestamp)::DATE::VARCHAR, min(timestamp)::VARCHAR FROM bars').fetchall())"
    )
    environment = {"TZ": "Pacific/Auckland"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[('2026-10-31', '2026-10-31 12:00:00+00')]", done.stderr


def test_frames_have_the_rows_of_a_scan_in_types_to_work_with(base: str) -> None:
    store = fill(BarStore(base))
    frame = store.to_polars("X:NO/VOLUME", start=START + timedelta(hours=1))
    types = [pl.String, pl.String, pl.Datetime("us", "UTC"), *[pl.Float64] * 5, pl.Date]
    assert frame.schema == dict(zip([*LABELLED_SCHEMA.names, "trading_day"], types, strict=True))
    assert frame["timestamp"].to_list() == [START + timedelta(hours=number) for number in (1, 2)]
    assert frame["volume"].to_list() == [None, None]
    table = store.to_pandas(["X:A", "X:NO/VOLUME"], "1h")
    assert list(table.columns) == frame.columns
    assert (str(table["timestamp"].dtype), table["trading_day"].dtype.kind) == ("datetime64[us, UTC]", "M")
    assert list(table["timestamp"][:3]) == [pd.Timestamp(START) + pd.Timedelta(hours=number) for number in range(3)]
    assert list(table["symbol"]) == ["X:A"] * 3 + ["X:NO/VOLUME"] * 3
    assert table["volume"].isna().tolist() == [False] * 3 + [True] * 3
    assert [list(map(str, table.dtypes))[index] for index in (3, 7)] == ["float64", "float64"]


def test_frames_know_trading_days(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    hours = {"tv_etl.trading_hours": '{"session": "24x7", "timezone": "Etc/UTC"}'}
    table = bars(timedelta(days=1), True)
    store.upsert("X:A", "1d", table.replace_schema_metadata({**(table.schema.metadata or {}), **hours}))
    days = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2)]
    assert store.scan().read_all()["trading_day"].to_pylist() == days
    assert store.to_polars()["trading_day"].to_list() == days
    assert store.to_pandas()["trading_day"].tolist() == list(map(pd.Timestamp, days))


WAYS: list[Callable[[BarStore], Callable[..., object]]] = [
    lambda store: store.to_polars,
    lambda store: store.to_pandas,
    lambda store: store.to_duckdb,
]


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_asked_for_is_told(way: Callable[[BarStore], Callable[..., object]], tmp_path: Path) -> None:
    ask = way(fill(BarStore(tmp_path)))
    with pytest.raises(SymbolError, match="empty"):
        ask("")
    with pytest.raises(IntervalError, match="9x"):
        ask("X:A", "9x")
    with pytest.raises(IntervalError, match="tick and range bars are not stored"):
        ask("X:A", "1T")
    with pytest.raises(ValueError, match="2026-11-01T00:00:00 has no time zone"):
        ask("X:A", "1h", datetime(2026, 11, 1))


@pytest.mark.parametrize("library", ["Polars", "pandas", "DuckDB"])
def test_a_library_that_is_missing_is_named_with_what_brings_it(library: str, tmp_path: Path) -> None:
    name = library.lower()
    code = f"""
import sys
sys.modules[{name!r}] = None
from tv_etl.lake import BarStore
from tv_etl.tradingview.errors import MissingExtraError
try:
    BarStore({str(tmp_path)!r}).to_{name}()
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{library} is not installed: pip install 'tv-etl[frames]'\n", done.stderr


@pytest.mark.parametrize("kind", [pa.Table, pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_a_table_is_made_into_the_frame_that_is_named(tmp_path: Path, kind: type) -> None:
    table = fill(BarStore(tmp_path)).scan().read_all()
    make = frame_maker(kind)
    assert make is not None
    frame = make(table)
    assert isinstance(frame, kind)
    shown = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    assert pa.table(shown)["close"].to_pylist() == table["close"].to_pylist()


def test_any_is_a_table_and_what_is_no_frame_is_nothing() -> None:
    table = BAR_SCHEMA.empty_table()
    make = frame_maker(Any)
    assert make is not None and make(table) is table
    assert [frame_maker(kind) for kind in (list, dict[str, pd.DataFrame], pd.Series, pl.Series, pa.RecordBatch)] == (
        [None] * 5
    )


def test_the_libraries_of_frames_are_not_imported_to_tell_which_is_meant() -> None:
    code = "from typing import Any; from tv_etl.lake.frames import frame_maker; frame_maker(Any), frame_maker(int)"
    assert loaded_by(code, "pyarrow", "pandas", "polars") == ["pyarrow"]
