"""The store as its users see it: real files, other readers, real processes that are killed."""

import fcntl
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.dataset import dataset
from pyarrow.fs import S3FileSystem

import tv_etl
from tv_etl.lake import scan
from tv_etl.lake.errors import (
    BadBarsError,
    DamagedFileError,
    NewerFormatError,
    ReadjustedError,
    SettingsError,
    StoreBusyError,
    StoreReadError,
    StoreWriteError,
)
from tv_etl.lake.overlap import LOOKS_AT_ONCE
from tv_etl.lake.record import Refusal, Window
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.scan import SCAN_SCHEMA
from tv_etl.lake.sealed import encode_sealed
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SPLIT, Rows, second, stored
from tv_etl_tests.lake_files import files_of

REPOSITORY = Path(tv_etl.__file__).parents[1]
UTC = timezone.utc
AAPL = "NASDAQ:AAPL"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLOSED = {"forming_from": ""}
ENDS_OF_THE_CALENDAR = [
    datetime(year, month, day, hour, tzinfo=UTC)
    for year, month, day, hour in ((1, 1, 1, 0), (1, 1, 2, 12), (9999, 12, 1, 0), (9999, 12, 31, 0), (9999, 12, 31, 23))
]
OCTOBER, NOVEMBER = (f"ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-{month}.parquet" for month in (10, 11))
RECORD = ".tv_etl/1m/NASDAQ%3AAAPL/series.json"


def bars(
    start: datetime,
    count: int = 3,
    *,
    step: timedelta = MINUTE,
    close: float = 10.0,
    volume: float | None = 5.0,
    facts: Mapping[str, str] = CLOSED,
) -> pa.Table:
    columns: dict[str, list[Any]] = {"timestamp": [start + step * number for number in range(count)]}
    columns |= {name: [close] * count for name in ("open", "high", "low", "close")}
    columns["volume"] = [volume] * count
    metadata = {f"tv_etl.{key}": value for key, value in facts.items()}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata(metadata))


def tree(store: BarStore) -> dict[str, object]:
    """The version of every file: a rewritten file differs."""
    return files_of(store).versions()


@pytest.fixture
def store(base: str) -> BarStore:
    return BarStore(base, clock=lambda: NOON.timestamp())


def test_a_store_shows_where_it_is(store: BarStore) -> None:
    assert repr(store) == f"BarStore({store.base!r})"


def test_the_layout_is_as_documented(store: BarStore) -> None:
    commit = store.upsert(AAPL, "1", bars(MIDNIGHT - MINUTE))
    store.upsert(AAPL, "60", bars(NOON - timedelta(days=9), step=timedelta(hours=1)))
    store.upsert(AAPL, "1D", bars(NOON - timedelta(days=9), step=timedelta(days=1)))
    store.upsert(AAPL, "10S", bars(NOON - timedelta(days=9), step=timedelta(seconds=10)))
    data = "ohlcv/interval={}/symbol=NASDAQ%3AAAPL/{}.parquet"
    meta = ".tv_etl/{}/NASDAQ%3AAAPL/{}"
    assert sorted(tree(store)) == sorted(
        [data.format("1m", "2026-10"), data.format("1m", "2026-11"), data.format("1h", "2026")]
        + [data.format("1d", "all"), data.format("10s", "2026-11-11")]
        + [meta.format(token, "series.json") for token in ("1m", "1h", "1d", "10s")]
    )
    assert commit.paths == (data.format("1m", "2026-10"), data.format("1m", "2026-11"))
    tokens = ["10s", "1m", "1h", "1d"]
    assert store.series() == [(AAPL, Interval.parse(token)) for token in tokens]


def test_nothing_is_created_before_the_first_upsert(store: BarStore) -> None:
    assert store.read(AAPL, "1m").equals(BAR_SCHEMA.empty_table())
    assert store.watermark(AAPL, "1m") is None
    assert store.summary(AAPL, "1m").rows == 0
    assert (store.series(), store.facts(AAPL, "1m")) == ([], {})
    assert store.upsert(AAPL, "1m", bars(NOON, 0)).rows == 0
    assert files_of(store).names() == []


def test_what_was_stored_is_read_back(store: BarStore) -> None:
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE, volume=None))
    assert (commit.added, commit.changed, commit.unchanged, commit.forming, commit.rows) == (3, 0, 0, 0, 3)
    assert (commit.first, commit.last) == (MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    table = store.read(AAPL, "1")
    assert table.equals(bars(MIDNIGHT - MINUTE, volume=None))
    assert table.schema.equals(BAR_SCHEMA)
    assert store.watermark(AAPL, "1m") == MIDNIGHT + MINUTE
    summary = store.summary(AAPL, "1m")
    assert (summary.rows, summary.first, summary.last) == (3, MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    assert summary.bytes == sum(len(files_of(store).read(name)) for name in commit.paths)


def test_an_upsert_that_changes_nothing_writes_nothing(store: BarStore) -> None:
    table = bars(MIDNIGHT - MINUTE, facts={"source": "tradingview", **CLOSED})
    store.upsert(AAPL, "1m", table)
    before = tree(store)
    commit = store.upsert(AAPL, "1m", table)
    assert (commit.unchanged, commit.added, commit.changed, commit.paths) == (3, 0, 0, ())
    assert (commit.rows, commit.first, commit.last) == (3, MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    assert tree(store) == before


def test_only_the_periods_that_differ_are_rewritten(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT - 2 * MINUTE, 4))
    before = tree(store)
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT - 2 * MINUTE, 5))
    assert commit.paths == (NOVEMBER,)
    assert (commit.added, commit.unchanged, commit.rows) == (1, 4, 5)
    assert {name for name, state in tree(store).items() if before[name] != state} == {
        NOVEMBER,
        RECORD,
    }


@pytest.mark.parametrize("later", [{"close": 10.000000000000002}, {"volume": None}, {"volume": 0.0}])
def test_a_closed_bar_that_differs_is_replaced_and_counted(store: BarStore, later: dict[str, Any]) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, 4, volume=5.0))
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE, 1, **later))
    assert (commit.added, commit.changed, commit.unchanged) == (0, 1, 0)
    assert store.read(AAPL, "1m").slice(1, 1).equals(bars(MIDNIGHT + MINUTE, 1, **later))


def test_older_bars_go_before_newer_ones(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT + 10 * MINUTE))
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT - 10 * MINUTE, 21))
    assert (commit.added, commit.unchanged, commit.rows) == (20, 1, 23)
    assert store.read(AAPL, "1m").equals(bars(MIDNIGHT - 10 * MINUTE, 23))


def test_reading_is_half_open_to_the_microsecond(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT - 5 * MINUTE, 10))
    read = store.read(AAPL, "1m", MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    assert read.equals(bars(MIDNIGHT - MINUTE, 2))
    instant = timedelta(microseconds=1)
    read = store.read(AAPL, "1m", MIDNIGHT - MINUTE + instant, MIDNIGHT + MINUTE + instant)
    assert read.equals(bars(MIDNIGHT, 2))
    assert store.read(AAPL, "1m", MIDNIGHT + MINUTE, MIDNIGHT).num_rows == 0
    tokyo = timezone(timedelta(hours=9))
    assert store.read(AAPL, "1m", MIDNIGHT.astimezone(tokyo)).equals(bars(MIDNIGHT, 5))
    with pytest.raises(ValueError, match="has no time zone"):
        store.read(AAPL, "1m", datetime(2026, 11, 1))


def test_bars_from_forming_from_on_are_refused(store: BarStore) -> None:
    stated = {"forming_from": str(int((MIDNIGHT + 2 * MINUTE).timestamp()))}
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 4, facts=stated))
    assert (commit.added, commit.forming, commit.last) == (2, 2, MIDNIGHT + MINUTE)
    assert store.facts(AAPL, "1m") == {}
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT + 2 * MINUTE, 2, facts=stated))
    assert (commit.added, commit.forming, commit.rows, commit.paths) == (0, 2, 2, ())


@pytest.mark.parametrize(
    ("interval", "width"), [("1m", MINUTE), ("4h", timedelta(hours=4)), ("1mo", timedelta(days=31))]
)
def test_without_a_word_the_clock_says_what_is_closed(store: BarStore, interval: str, width: timedelta) -> None:
    commit = store.upsert(AAPL, interval, bars(NOON - width, 2, step=timedelta(seconds=1), facts={}))
    assert (commit.added, commit.forming, commit.last) == (1, 1, NOON - width)


def test_a_forming_from_that_is_no_time_is_refused(store: BarStore) -> None:
    with pytest.raises(BadBarsError, match="forming_from 'soon'"):
        store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={"forming_from": "soon"}))


def test_one_bad_bar_keeps_all_out(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    before = tree(store)
    with pytest.raises(BadBarsError, match="column 'open', row 3: not a finite number"):
        table = pa.concat_tables([bars(MIDNIGHT), bars(NOON, close=float("nan"))])
        store.upsert(AAPL, "1m", table)
    assert tree(store) == before


def test_facts_are_kept_with_the_series_and_in_each_file(store: BarStore) -> None:
    hours = json.dumps({"session": "24x7"})
    facts = {"source": "tradingview", "adjustment": "splits", "session": "regular", "trading_hours": hours}
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts=facts))
    assert store.facts(AAPL, "1m") == facts
    metadata = pq.read_schema(pa.BufferReader(files_of(store).read(NOVEMBER))).metadata
    assert int(metadata.pop(b"tv_etl.arrivals")) > 0
    assert {key: value for key, value in metadata.items() if key.startswith(b"tv_etl.")} == {
        b"tv_etl.source": b"tradingview",
        b"tv_etl.adjustment": b"splits",
        b"tv_etl.session": b"regular",
        b"tv_etl.market": b"unspecified",
        b"tv_etl.currency": b"unspecified",
        b"tv_etl.backadjustment": b"unspecified",
        b"tv_etl.time_zone": b"unspecified",
        b"tv_etl.schema_version": b"1",
        b"tv_etl.symbol": b"NASDAQ:AAPL",
        b"tv_etl.interval": b"1m",
    }


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Etc/UTC"])
@pytest.mark.parametrize("interval", ["1m", "1h", "1d", "1w", "1mo"])
@pytest.mark.parametrize("moment", ENDS_OF_THE_CALENDAR, ids=str)
def test_bars_at_the_ends_of_the_calendar_are_bars(tmp_path: Path, moment: datetime, interval: str, zone: str) -> None:
    """Their sessions, and the windows that they leave, reach beyond what a datetime can hold."""
    asked = {"asked_from": str(int(moment.timestamp())), "asked_until": str(int(moment.timestamp()) + 1)}
    hours = {"trading_hours": json.dumps({"session": "0930-1600", "timezone": zone}), "time_zone": zone}
    store = BarStore(tmp_path, clock=lambda: NOON.timestamp())
    assert store.upsert(AAPL, interval, bars(moment, 1, facts={**CLOSED, **asked, **hours})).added == 1
    [status] = lake_status(store, NOON)
    assert status.error == ""
    assert store.read(AAPL, interval)["timestamp"].to_pylist() == [moment]


def test_facts_that_are_not_given_stay_and_new_ones_join(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={"currency": "USD", "source": "a"}))
    before = tree(store)
    assert store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={})).paths == ()
    assert tree(store) == before
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 0, facts={"source": "b", "time_zone": "Asia/Tokyo"}))
    assert (commit.rows, commit.paths) == (3, ())
    assert store.facts(AAPL, "1m") == {"currency": "USD", "source": "b", "time_zone": "Asia/Tokyo"}


@pytest.mark.parametrize("setting", ["adjustment", "session", "currency", "backadjustment"])
def test_other_settings_are_never_mixed_into_a_series(store: BarStore, setting: str) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={setting: "this"}))
    before = tree(store)
    with pytest.raises(SettingsError, match=f"{AAPL} 1m is stored with {setting} 'this'.* 'that'"):
        store.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE, facts={setting: "that"}))
    assert tree(store) == before
    files_of(store).remove(RECORD)
    with pytest.raises(SettingsError):
        store.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE, facts={setting: "that"}))


def test_a_tree_copied_without_our_directory_is_whole(store: BarStore) -> None:
    facts = {"source": "tradingview", "adjustment": "splits"}
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts=facts))
    for name in files_of(store).names():
        if not name.startswith("ohlcv/"):
            files_of(store).remove(name)
    copy = BarStore(store.base)
    assert copy.read(AAPL, "1m").equals(bars(MIDNIGHT))
    assert copy.facts(AAPL, "1m") == facts
    assert copy.series() == [(AAPL, Interval.parse("1m"))]
    assert files_of(copy).names() == [NOVEMBER]
    assert copy.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE)).rows == 4
    assert copy.facts(AAPL, "1m") == facts


def test_data_removed_by_hand_leave_no_settings_behind(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={"adjustment": "splits"}))
    files_of(store).remove(NOVEMBER)
    assert store.series() == []
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={"adjustment": "dividends"}))
    assert store.facts(AAPL, "1m") == {"adjustment": "dividends"}


def test_a_refusal_stands_until_the_server_gives_an_answer(store: BarStore) -> None:
    store.refuse(AAPL, "1m", "SymbolError: unknown", 100.5)
    store.refuse(AAPL, "1m", "SymbolError: still unknown", 200.0)
    assert store.record(AAPL, "1m").refusal == Refusal("SymbolError: still unknown", since=100.5, at=200.0)
    assert (store.series(), [each.symbol for each in store.refused()]) == ([], [AAPL])
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    before = store.record(AAPL, "1m")
    assert before.refusal is None
    assert ([each.symbol for each in store.series()], store.refused()) == ([AAPL], [])
    # As if it had never been refused: it is known what came when.
    assert store.read(AAPL, "1m", as_of=MIDNIGHT).num_rows == 0
    store.refuse(AAPL, "1m", "EntitlementError: not yours", 300.0)
    assert replace(store.record(AAPL, "1m"), refusal=None) == before
    assert store.read(AAPL, "1m").num_rows == 3
    assert not any(each.findings for each in verify(store))
    # An answer that brings nothing new lifts it as well.
    assert store.upsert(AAPL, "1m", bars(MIDNIGHT)).record == before == store.record(AAPL, "1m")


def test_a_refusal_gives_bars_without_a_record_none(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    files_of(store).remove(RECORD)
    store.refuse(AAPL, "1m", "SymbolError: unknown", 100.0)
    assert store.record(AAPL, "1m").refusal is None
    assert RECORD not in tree(store)


@pytest.mark.parametrize("symbol", ["", "..", "A\x00B", "A\nB", "X:" + "A" * 300])
def test_a_symbol_that_cannot_be_a_directory_is_refused(store: BarStore, symbol: str) -> None:
    with pytest.raises(SymbolError):
        store.upsert(symbol, "1m", bars(MIDNIGHT))
    with pytest.raises(SymbolError):
        store.read(symbol, "1m")
    assert files_of(store).names() == []


def test_symbols_that_differ_in_case_only_are_refused_in_a_directory(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    with pytest.raises(SymbolError, match=r"nasdaq:aapl.* is already stored as 'NASDAQ:AAPL'"):
        store.upsert("nasdaq:aapl", "1m", bars(MIDNIGHT))
    assert store.series() == [(AAPL, Interval.parse("1m"))]


@pytest.mark.parametrize("interval", ["100T", "10R", "1x"])
def test_tick_and_range_bars_are_refused(store: BarStore, interval: str) -> None:
    with pytest.raises(IntervalError):
        store.upsert(AAPL, interval, bars(MIDNIGHT))


@pytest.mark.parametrize("address", ["ftp://host/lake", "s3://", "s3:///lake", "https://bucket/lake", "://x"])
def test_a_base_that_nobody_knows_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"begins with file://, s3://, gs://, az://"):
        BarStore(address)


def test_a_file_address_is_a_directory(tmp_path: Path) -> None:
    store = BarStore(f"file://{tmp_path}/a%20lake")
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    assert store.base == f"{tmp_path}/a lake"
    assert BarStore(tmp_path / "a lake").read(AAPL, "1m").equals(bars(MIDNIGHT))


def test_somebody_elses_directories_are_no_series(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    for name in ("interval=60", "interval=100t", "interval=x", "interval=1m/symbol=", "interval=1m/symbol=a%2fb"):
        files_of(store).write(f"ohlcv/{name}/all.parquet", b"")
    files_of(store).write("ohlcv/interval=1m/symbol=EMPTY/_SUCCESS", b"")
    assert store.series() == [(AAPL, Interval.parse("1m"))]


def test_damage_is_an_error_and_never_no_bars(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE))
    files = files_of(store)
    whole = files.read(NOVEMBER)
    for content in (b"", whole[: len(whole) // 2], whole[:-1], whole[:100] + b"\xff\xff" + whole[102:]):
        files.write(NOVEMBER, content)
        with pytest.raises(DamagedFileError, match=f"{store.base}/{NOVEMBER}"):
            store.read(AAPL, "1m")
        with pytest.raises(DamagedFileError, match=f"{store.base}/{NOVEMBER}"):
            store.upsert(AAPL, "1m", bars(MIDNIGHT, close=11.0))
        assert files.read(NOVEMBER) == content
    assert store.read(AAPL, "1m", end=MIDNIGHT).num_rows == 1, "the other month is whole"
    files.write(NOVEMBER, b"")
    for ask in (store.watermark, store.summary):
        with pytest.raises(DamagedFileError):
            ask(AAPL, "1m")


def test_files_in_the_wrong_place_are_damage(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    files = files_of(store)
    files.write(OCTOBER, files.read(NOVEMBER))
    with pytest.raises(DamagedFileError, match="holds bars outside 2026-10"):
        store.read(AAPL, "1m")
    files.write(NOVEMBER.replace("2026-11", "part-0"), files.read(NOVEMBER))
    with pytest.raises(DamagedFileError, match="part-0"):
        store.read(AAPL, "1m")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", DamagedFileError),
        ("{}", DamagedFileError),
        ('{"schema_version": 1, "symbol": "X:Y", "interval": "1m", "facts": {}}', DamagedFileError),
        ('{"schema_version": 3, "symbol": "NASDAQ:AAPL", "interval": "1m", "facts": {}}', NewerFormatError),
    ],
)
def test_facts_that_cannot_be_read_are_an_error(store: BarStore, content: str, error: type) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    files_of(store).write(RECORD, content.encode())
    with pytest.raises(error, match=r"series\.json"):
        store.facts(AAPL, "1m")
    with pytest.raises(error, match=r"series\.json"):
        store.upsert(AAPL, "1m", bars(NOON))


def test_what_the_system_refuses_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = BarStore(tmp_path / "file")
    with pytest.raises(StoreReadError, match="Not a directory"):
        store.read(AAPL, "1m")
    with pytest.raises(StoreReadError, match="Not a directory"):
        store.series()


def test_a_busy_series_is_an_error_and_others_go_on(tmp_path: Path) -> None:
    BarStore(tmp_path).upsert(AAPL, "1m", bars(MIDNIGHT))
    hasty = BarStore(tmp_path, lock_timeout_s=0.02)
    with (tmp_path / ".tv_etl/1m/NASDAQ%3AAAPL/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreBusyError):
            hasty.upsert(AAPL, "1m", bars(NOON))
        with pytest.raises(StoreBusyError):
            hasty.read(AAPL, "1m")
        assert hasty.upsert("NASDAQ:MSFT", "1m", bars(NOON)).rows == 3


SYMBOLS = [AAPL, "KRX:005930", "NSE:M&M", "A:B/C:D", "BME:ÉÑ", "COMEX:GC1!", "X:a=b c%3A", "TSE:日本"]


def fill(base: str) -> list[tuple[Any, ...]]:
    """Store every symbol at a minute and at a day; the rows that a reader must find."""
    store = BarStore(base)
    rows = []
    for number, symbol in enumerate(SYMBOLS):
        volume = None if number % 2 else 0.1 * number
        for interval, start in (("1m", MIDNIGHT - MINUTE), ("1d", NOON)):
            table = bars(start, close=0.1 + number, volume=volume)
            store.upsert(symbol, interval, table)
            rows += [(symbol, interval, *row.values()) for row in table.to_pylist()]
    return sorted(rows, key=lambda row: row[:3])


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Any, ...]]]:
    base = tmp_path_factory.mktemp("lake")
    return base, fill(str(base))


def duckdb_rows(connection: duckdb.DuckDBPyConnection, base: object) -> list[tuple[Any, ...]]:
    columns = "epoch_us(timestamp), open, high, low, close, volume"
    query = f"select symbol, interval, {columns} from read_parquet(?, hive_partitioning=true) order by 1, 2, 3"
    return connection.execute(query, [f"{base}/ohlcv/**/*.parquet"]).fetchall()


def with_microseconds(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((*row[:2], round(row[2].timestamp() * 1e6), *row[3:]) for row in rows)


def ordered_rows(frame: pl.LazyFrame) -> list[tuple[Any, ...]]:
    columns = frame.select("symbol", "interval", *BAR_SCHEMA.names)
    return columns.collect().sort("symbol", "interval", "timestamp").rows()


def test_duckdb_reads_the_tree(shared_lake: tuple[Path, list[tuple[Any, ...]]]) -> None:
    base, rows = shared_lake
    with duckdb.connect() as connection:
        assert sorted(duckdb_rows(connection, base)) == with_microseconds(rows)


@pytest.mark.parametrize("source", ["ohlcv", "ohlcv/**/*.parquet"])
def test_polars_reads_the_tree(shared_lake: tuple[Path, list[tuple[Any, ...]]], source: str) -> None:
    base, rows = shared_lake
    assert ordered_rows(pl.scan_parquet(base / source, hive_partitioning=True)) == rows


def test_pyarrow_reads_the_tree(shared_lake: tuple[Path, list[tuple[Any, ...]]]) -> None:
    base, rows = shared_lake
    assert arrow_rows(dataset(base / "ohlcv", partitioning="hive").to_table()) == rows


def arrow_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    found = [(row["symbol"], row["interval"], *list(row.values())[:6]) for row in table.to_pylist()]
    return sorted(found, key=lambda row: row[:3])


@pytest.mark.parametrize("source", ["ohlcv/", "ohlcv/**/*.parquet"])
def test_polars_reads_the_same_over_s3(s3_lake: str, source: str) -> None:
    rows = fill(s3_lake)
    names = ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    options = {name.lower(): os.environ[name] for name in names}
    assert ordered_rows(pl.scan_parquet(f"{s3_lake}/{source}", hive_partitioning=True, storage_options=options)) == rows


def test_pyarrow_reads_the_same_over_s3(s3_lake: str, s3_endpoint: str) -> None:
    rows = fill(s3_lake)
    s3 = S3FileSystem(endpoint_override=s3_endpoint.removeprefix("http://"), scheme="http")
    source = f"{s3_lake.removeprefix('s3://')}/ohlcv"
    assert arrow_rows(dataset(source, filesystem=s3, partitioning="hive").to_table()) == rows


def test_duckdb_reads_the_same_over_s3(s3_lake: str, s3_endpoint: str) -> None:
    with duckdb.connect() as connection:
        try:
            connection.execute("load httpfs")
        except duckdb.Error as error:
            pytest.skip(f"DuckDB has no extension httpfs here: {str(error).splitlines()[0]}")
        rows = fill(s3_lake)
        host = s3_endpoint.removeprefix("http://")
        connection.execute(
            f"create secret (type s3, key_id 'x', secret 'y', endpoint '{host}', use_ssl false, url_style 'path')"
        )
        assert sorted(duckdb_rows(connection, s3_lake)) == with_microseconds(rows)


def test_symbols_that_differ_in_case_only_are_two_in_an_object_store(s3_lake: str) -> None:
    store = BarStore(s3_lake)
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    store.upsert("nasdaq:aapl", "1m", bars(MIDNIGHT, close=11.0))
    assert [symbol for symbol, _ in store.series()] == [AAPL, "nasdaq:aapl"]
    assert store.read(AAPL, "1m").equals(bars(MIDNIGHT))


def test_a_lake_copied_from_a_directory_to_s3_is_the_same_lake(tmp_path: Path, s3_lake: str) -> None:
    local, remote = BarStore(tmp_path), BarStore(s3_lake)
    local.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE, facts={**CLOSED, "trading_hours": "?"}))
    for name in files_of(local).names():
        files_of(remote).write(name, files_of(local).read(name))
    assert remote.record(AAPL, "1m") == local.record(AAPL, "1m")
    assert remote.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE, 4)).rows == 4
    for name in files_of(remote).names():
        files_of(local).write(name, files_of(remote).read(name))
    assert local.record(AAPL, "1m") == remote.record(AAPL, "1m")
    assert local.read(AAPL, "1m").equals(bars(MIDNIGHT - MINUTE, 4))


@pytest.mark.parametrize("name", [NOVEMBER, RECORD])
def test_what_is_damaged_is_set_aside_and_kept(store: BarStore, name: str) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE))
    assert store.set_aside_damaged(AAPL, "1m") == []
    files_of(store).write(name, b"damaged")
    [aside] = store.set_aside_damaged(AAPL, "1m")
    assert files_of(store).read(aside.removeprefix(f"{store.base}/")) == b"damaged"
    assert store.read(AAPL, "1m").num_rows == (1 if name == NOVEMBER else 3)
    assert store.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE)).rows == 3
    assert list(store.record(AAPL, "1m").periods) == ["2026-10", "2026-11"]
    assert store.set_aside_damaged("X:NEVER", "1m") == []


def test_a_scan_reads_many_series_by_symbol_width_and_time(shared_lake: tuple[Path, list[tuple[Any, ...]]]) -> None:
    base, rows = shared_lake
    reader = BarStore(base).scan()
    assert reader.schema == SCAN_SCHEMA
    found = [tuple(row.values()) for row in reader.read_all().to_pylist()]
    assert found == [(*row, None) for row in sorted(rows, key=lambda row: (row[0], row[1] == "1d", row[2]))]


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"symbols": AAPL}, lambda symbol, interval, time: symbol == AAPL),
        ({"symbols": [AAPL, AAPL, "X:NEVER"], "intervals": ["1", "1d", "1w"]}, lambda symbol, *_: symbol == AAPL),
        ({"symbols": []}, lambda *_: False),
        ({"intervals": "1D"}, lambda symbol, interval, time: interval == "1d"),
        ({"start": MIDNIGHT}, lambda symbol, interval, time: time >= MIDNIGHT),
        ({"start": MIDNIGHT, "end": NOON}, lambda symbol, interval, time: MIDNIGHT <= time < NOON),
    ],
)
def test_a_scan_holds_what_was_asked_and_nothing_else(
    shared_lake: tuple[Path, list[tuple[Any, ...]]], asked: dict[str, Any], holds: Callable[[str, str, datetime], bool]
) -> None:
    base, rows = shared_lake
    table = BarStore(base).scan(**asked).read_all().drop_columns("trading_day")
    found = [tuple(row.values()) for row in table.to_pylist()]
    assert sorted(found, key=lambda row: row[:3]) == [row for row in rows if holds(*row[:3])]


def test_a_scan_reads_a_series_soon_before_its_turn_comes(store: BarStore) -> None:
    symbols = [f"X:{number:02}" for number in range(LOOKS_AT_ONCE + 1)]
    for symbol in symbols:
        store.upsert(symbol, "1m", bars(MIDNIGHT))
    reader = store.scan(intervals="1m")
    assert reader.read_next_batch().column("symbol").to_pylist() == [symbols[0]] * 3
    # Those that follow may have been read ahead.
    store.upsert(symbols[-1], "1m", bars(MIDNIGHT + 3 * MINUTE))
    assert reader.read_all().num_rows == 3 * LOOKS_AT_ONCE + 3


def test_a_scan_reads_a_large_series_when_its_turn_comes(store: BarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_SMALL_BYTES", 0)
    for symbol in ("X:A", "X:B"):
        store.upsert(symbol, "1m", bars(MIDNIGHT))
    reader = store.scan(intervals="1m")
    assert reader.read_next_batch().column("symbol").to_pylist() == ["X:A"] * 3
    store.upsert("X:B", "1m", bars(MIDNIGHT + 3 * MINUTE))
    assert reader.read_all().num_rows == 6


@pytest.mark.parametrize(
    ("hours", "day"),
    [
        ({"session": "24x7", "timezone": "Etc/UTC"}, date(2026, 11, 16)),
        ({"session": "1800-1700", "timezone": "America/New_York"}, date(2026, 11, 17)),
        ({"session": "1800-1700Z1200", "timezone": "America/New_York"}, None),
        (None, None),
    ],
    ids=["a coin", "gold", "unreadable", "unknown"],
)
@pytest.mark.parametrize("interval", ["1m", "1d"])
def test_a_scan_has_the_trading_day_by_the_hours_of_the_symbol(
    store: BarStore, interval: str, hours: dict[str, str] | None, day: date | None
) -> None:
    facts = CLOSED if hours is None else {**CLOSED, "trading_hours": json.dumps(hours)}
    evening = datetime(2026, 11, 16, 23, tzinfo=UTC)
    store.upsert("COMEX:GC1!", interval, bars(evening, 1, facts=facts))
    store.upsert("X:UNKNOWN", interval, bars(evening, 1))
    days = store.scan(intervals=interval).read_all()["trading_day"]
    assert (days.type, days.to_pylist()) == (pa.date32(), [day, None])


def test_hours_that_are_told_or_corrected_later_hold_for_the_bars_stored_before(store: BarStore) -> None:
    def days() -> list[date]:
        return [row["trading_day"] for row in store.scan().read_all().to_pylist()]

    def told(session: str) -> dict[str, str]:
        return {**CLOSED, "trading_hours": json.dumps({"session": session, "timezone": "America/New_York"})}

    evening = datetime(2026, 11, 16, 23, tzinfo=UTC)
    files = store.upsert(AAPL, "1m", bars(evening, 2)).paths
    content = [files_of(store).read(name) for name in files]
    assert days() == [None, None]
    store.upsert(AAPL, "1m", bars(evening, 0, facts=told("0930-2000")))
    assert days() == [date(2026, 11, 16)] * 2
    store.upsert(AAPL, "1m", bars(evening, 0, facts=told("0930-2000#20261116/1800-1700")))
    assert days() == [date(2026, 11, 17)] * 2
    assert [files_of(store).read(name) for name in files] == content, "it costs no file"


def test_the_trading_days_of_minutes_are_those_of_the_session_they_were_asked_for(store: BarStore) -> None:
    part = {"id": "extended", "session": "1900-1800", "session-correction": ""}
    hours = {"session": "0930-1600", "timezone": "America/New_York", "subsessions": [part]}
    evening = datetime(2026, 11, 17, 0, 30, tzinfo=UTC)
    for symbol, session in (("X:A", "regular"), ("X:B", "extended")):
        facts = {**CLOSED, "session": session, "trading_hours": json.dumps(hours)}
        store.upsert(symbol, "1m", bars(evening, 1, facts=facts))
    assert [str(day) for day in store.scan().read_all()["trading_day"].to_pylist()] == ["2026-11-16", "2026-11-17"]


def test_a_scan_of_a_damaged_file_ends_with_its_name(store: BarStore) -> None:
    [name] = store.upsert(AAPL, "1m", bars(MIDNIGHT)).paths
    for damaged in (name, RECORD):  # the trading hours are in the record
        content = files_of(store).read(damaged)
        files_of(store).write(damaged, content[:-1])
        with pytest.raises(DamagedFileError, match=damaged):
            store.scan().read_all()
        with pytest.raises(DamagedFileError, match=damaged):
            store.scan(start=MIDNIGHT).read_next_batch()
        files_of(store).write(damaged, content)
    assert store.scan().read_all().num_rows == 3


def test_a_scan_refuses_wrong_arguments_at_once(store: BarStore) -> None:
    with pytest.raises(IntervalError):
        store.scan(intervals=["1m", "100t"], symbols=AAPL)
    with pytest.raises(SymbolError):
        store.scan([AAPL, ""], "1m")
    with pytest.raises(ValueError, match="has no time zone"):
        store.scan(end=datetime(2026, 11, 1))
    assert store.scan().read_all().equals(SCAN_SCHEMA.empty_table()), "nothing is stored"


def test_other_libraries_take_a_scan_as_it_is(shared_lake: tuple[Path, list[tuple[Any, ...]]]) -> None:
    base, rows = shared_lake
    frame = pl.DataFrame(BarStore(base).scan(intervals="1m"))
    assert frame.height == len(rows) / 2
    with duckdb.connect() as connection:
        connection.register("stored", BarStore(base).scan(intervals="1d"))
        counted = connection.sql("select symbol, count(*) from stored group by 1 order by 1").fetchall()
    assert counted == [(symbol, 3) for symbol in sorted(SYMBOLS)]


TIMES = st.integers(-4, 4).map(lambda number: MIDNIGHT + number * timedelta(seconds=30))
# Prices of which no two are of a ratio with two others: four bars of coarse ones would be re-adjusted by chance.
BAR = st.tuples(TIMES, st.sampled_from([101.37, 97.21, 113.03]), st.sampled_from([None, 0.0, 7.0]))


@settings(max_examples=30, deadline=None)
@given(
    upserts=st.lists(st.lists(BAR, max_size=8), max_size=4),
    interval=st.sampled_from(["1s", "1m", "1h", "1d"]),
    forming_from=st.none() | TIMES,
)
def test_any_upserts_are_what_a_dict_does(
    upserts: list[list[Any]], interval: str, forming_from: datetime | None
) -> None:
    oracle: dict[datetime, tuple[float, float | None]] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = BarStore(directory)
        for rows in upserts:
            stated = "" if forming_from is None else str(int(forming_from.timestamp()))
            given = {time: (price, volume) for time, price, volume in rows}
            closed = {time: bar for time, bar in given.items() if forming_from is None or time < forming_from}
            parts = [bars(time, 1, close=price, volume=volume) for time, price, volume in rows]
            table = pa.concat_tables([bars(NOON, 0), *parts])
            commit = store.upsert(AAPL, interval, table.replace_schema_metadata({"tv_etl.forming_from": stated}))
            assert commit.added == len(closed.keys() - oracle.keys())
            assert commit.unchanged == sum(oracle.get(time) == bar for time, bar in closed.items())
            assert commit.added + commit.changed + commit.unchanged + commit.forming == len(given)
            oracle |= closed
            assert bool(commit.paths) == bool(commit.added + commit.changed)
            assert (commit.rows, commit.last) == (len(oracle), max(oracle, default=None))
            assert (commit.first, commit.last) == (min(oracle, default=None), store.watermark(AAPL, interval))
        stored = store.read(AAPL, interval).to_pylist()
    assert [(row["timestamp"], (row["close"], row["volume"])) for row in stored] == sorted(oracle.items())


PROCESS = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from datetime import datetime, timedelta, timezone
import pyarrow as pa
from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl.tradingview.bar_schema import BAR_SCHEMA

MIDNIGHT = datetime(2026, 11, 1, tzinfo=timezone.utc)
store = BarStore(sys.argv[2])

def bars(first, count, value):
    times = [MIDNIGHT + timedelta(minutes=first + number) for number in range(count)]
    columns = {"timestamp": times, **{name: [float(value)] * count for name in BAR_SCHEMA.names[1:]}}
    metadata = {"tv_etl.forming_from": "", "tv_etl.trading_hours": str(value)}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata(metadata))
"""
# Each commit changes both months and series.json; forked, because starting pyarrow takes longer than the test.
ENDLESS_WRITER = """
for line in sys.stdin:
    symbol, value = line.split()
    child = os.fork()
    if not child:
        store = BarStore(sys.argv[2])
        os.write(1, f"{os.getpid()}\\n".encode())
        while True:
            value = int(value) + 1
            store.upsert(symbol, "1m", bars(-500, 1000, value))
            os.write(1, f"{value}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""
ONE_BAR_WRITER = """
worker = int(sys.argv[3])
for number in range(50):
    store.upsert("X:ONE", "1m", bars(4 * number + worker - 100, 1, worker))
"""
# SIGXFSZ is ignored by Python, so that a file beyond the limit is EFBIG: a full disk as far as we are concerned.
FULL_DISK_WRITER = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.upsert("X:FULL", "1m", bars(-500, 1000, 2))
except Exception as error:
    print(type(error).__name__, error)
"""


def process(program: str, *arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", PROCESS + program, str(REPOSITORY), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def lines_of(writer: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    assert writer.stdout is not None
    return iter(writer.stdout.readline, b"")


def kill_while_writing(
    writer: "subprocess.Popen[bytes]", order: str, dice: random.Random, longest_s: float
) -> int | None:
    """Kill a writer at a random moment; the last commit it acknowledged."""
    assert writer.stdin is not None and writer.stdout is not None
    writer.stdin.write(order.encode())
    lines = lines_of(writer)
    child = int(next(lines))
    acknowledged = [int(next(lines)) for _ in range(dice.randrange(2))]
    select.select([writer.stdout], [], [], dice.uniform(0, longest_s))
    os.kill(child, signal.SIGKILL)
    acknowledged += [int(line) for line in iter(lambda: next(lines), b"dead\n")]
    return acknowledged[-1] if acknowledged else None


@pytest.mark.slow
def test_a_writer_killed_at_random_moments_loses_and_breaks_nothing(base: str) -> None:
    """`TV_ETL_KILLS=1000 pytest --timeout 0 -s -k killed_at_random` says what so many kills met."""
    rounds = int(os.environ.get("TV_ETL_KILLS", 10 if "://" in base else 20))
    dice = random.Random(20261122)
    commits, half_done = 0, 0
    store = BarStore(base)
    files = files_of(store)
    commit_s = 0.1 if "://" in base else 0.02  # about
    known = dict.fromkeys(("X:A", "X:B", "X:C", "X:D"), 0)
    with process(ENDLESS_WRITER, base) as writer:
        for round_number in range(rounds):
            symbol = list(known)[round_number % 4]
            acknowledged = kill_while_writing(writer, f"{symbol} {known[symbol]}\n", dice, commit_s)
            half_done += sum(name.endswith("journal.json") for name in files.names())
            for name in files.names():
                if name.startswith("ohlcv/"):
                    pq.read_table(pa.BufferReader(files.read(name)))
            table = store.read(symbol, "1m")
            values = {value for name in BAR_SCHEMA.names[1:] for value in table.column(name).to_pylist()}
            last = acknowledged or known[symbol]
            commits += last - known[symbol]
            if not values:
                assert last == 0, "an acknowledged commit is lost"
                continue
            [value] = values  # both months are of one commit
            assert table.num_rows == 1000
            assert value >= last
            assert store.facts(symbol, "1m") == {"trading_hours": str(int(value))}
            known[symbol] = int(value)
        assert writer.stdin is not None
        writer.stdin.close()
        assert writer.wait() == 0
    assert all(known.values())
    print(f"{rounds} kills: {commits} commits acknowledged, none lost; {half_done} half done, and completed")
    assert all(name.endswith(".parquet") for name in files.names() if name.startswith("ohlcv"))


@pytest.mark.slow
def test_writers_of_one_series_do_not_lose_each_others_bars(base: str) -> None:
    writers = [process(ONE_BAR_WRITER, base, worker) for worker in range(4)]
    for writer in writers:
        with writer:
            assert writer.wait() == 0
    store = BarStore(base)
    table = store.read("X:ONE", "1m")
    assert table.num_rows == 200
    assert sorted(table.column("close").to_pylist()) == sorted([0.0, 1.0, 2.0, 3.0] * 50)
    left = [name for name in files_of(store).names() if name.startswith(".tv_etl")]
    assert left == [".tv_etl/1m/X%3AONE/series.json"]


def test_a_full_disk_is_a_typed_error_and_the_old_bars_stay(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert("X:FULL", "1m", bars(MIDNIGHT - 500 * MINUTE, 1000, close=1.0))
    before = tree(store)
    with process(FULL_DISK_WRITER, tmp_path) as writer:
        answer = b"".join(lines_of(writer)).decode()
    assert answer.startswith("StoreWriteError")
    assert "File too large" in answer
    assert tree(store) == before
    assert store.read("X:FULL", "1m").equals(bars(MIDNIGHT - 500 * MINUTE, 1000, close=1.0))


def test_a_base_below_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / ".tv_etl").write_bytes(b"")
    with pytest.raises(StoreWriteError, match=r"\.tv_etl"):
        BarStore(tmp_path / "lake").upsert(AAPL, "1m", bars(MIDNIGHT))


def wave(start: datetime, count: int, *, step: timedelta = MINUTE, ratio: float = 1.0, until: int = 0) -> pa.Table:
    """Bars of which no two are alike; prices before the bar number `until` are re-adjusted by the ratio."""
    table = bars(start, count, step=step, facts={**CLOSED, "adjustment": "splits"})
    factors = [ratio if number < until else 1.0 for number in range(count)]
    closes = [round((100 + (number * 7 % 41)) * factor, 6) for number, factor in enumerate(factors)]
    opens = [closes[0], *closes[:-1]]
    volumes = [1000.0 * (number + 1) / factor for number, factor in enumerate(factors)]
    highs, lows = (
        [max(pair) for pair in zip(opens, closes, strict=True)],
        [min(pair) for pair in zip(opens, closes, strict=True)],
    )
    for name, column in (("open", opens), ("high", highs), ("low", lows), ("close", closes), ("volume", volumes)):
        table = table.set_column(table.schema.get_field_index(name), BAR_SCHEMA.field(name), [column])
    return table


def test_a_month_is_written_for_its_size_once_it_is_over(store: BarStore) -> None:
    october, november = (wave(MIDNIGHT + MINUTE * first, 5_000) for first in (-5_000, 0))

    def codecs(name: str) -> set[str]:
        group = pq.read_metadata(pa.BufferReader(files_of(store).read(name))).row_group(0)
        return {group.column(index).compression for index in range(5)}

    store.upsert(AAPL, "1m", october)
    assert codecs(OCTOBER) == {"LZ4"}
    assert store.upsert(AAPL, "1m", november.slice(0, 1)).paths == (OCTOBER, NOVEMBER)
    store.upsert(AAPL, "1m", november)
    assert (codecs(OCTOBER), codecs(NOVEMBER)) == ({"ZSTD"}, {"LZ4"})
    assert store.read(AAPL, "1m").equals(pa.concat_tables([october, november]))
    assert store.summary(AAPL, "1m").bytes == sum(len(files_of(store).read(name)) for name in (OCTOBER, NOVEMBER))


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_a_file_that_is_not_soon_over_is_written_for_its_size(store: BarStore, interval: str) -> None:
    table = wave(datetime(2005, 1, 1, tzinfo=UTC), 6_000, step=timedelta(seconds=Interval.parse(interval).seconds))
    for name in store.upsert(AAPL, interval, table).paths:
        codec = pq.read_metadata(pa.BufferReader(files_of(store).read(name))).row_group(0).column(1).compression
        assert codec == "ZSTD"


def test_a_month_that_is_filled_from_behind_is_written_for_its_size(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT))
    assert store.upsert(AAPL, "1m", wave(MIDNIGHT - MINUTE * 5_000, 5_000)).paths == (OCTOBER,)
    assert pq.read_metadata(pa.BufferReader(files_of(store).read(OCTOBER))).row_group(0).column(1).compression == "ZSTD"


def test_a_broken_bar_is_kept_out_and_kept(store: BarStore) -> None:
    table = bars(MIDNIGHT, 3)
    broken = pa.concat_tables([table, bars(MIDNIGHT + 3 * MINUTE, 1).set_column(2, BAR_SCHEMA.field("high"), [[9.0]])])
    commit = store.upsert(AAPL, "1m", broken)
    assert (commit.added, commit.rows, commit.quarantined) == (3, 3, 1)
    assert store.read(AAPL, "1m").equals(table)
    kept = store.quarantine(AAPL, "1m").to_pylist()
    assert [(row["timestamp"], row["high"], row["close"], row["found_at"]) for row in kept] == [
        (MIDNIGHT + 3 * MINUTE, 9.0, 10.0, NOON)
    ]
    before = tree(store)
    assert store.upsert(AAPL, "1m", broken).quarantined == 1
    assert tree(store) == before
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 4))
    assert (commit.added, commit.quarantined, store.quarantine(AAPL, "1m").num_rows) == (1, 0, 0)


def test_a_broken_version_does_not_replace_a_sound_bar(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, 3))
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 1).set_column(2, BAR_SCHEMA.field("high"), [[9.0]]))
    assert (commit.changed, commit.quarantined) == (0, 1)
    assert store.read(AAPL, "1m").equals(bars(MIDNIGHT, 3))


def test_a_series_of_broken_bars_only_is_not_lost(store: BarStore) -> None:
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 2).set_column(2, BAR_SCHEMA.field("high"), [[9.0, 9.0]]))
    assert (commit.rows, commit.first, commit.quarantined) == (0, None, 2)
    assert store.quarantine(AAPL, "1m").num_rows == 2
    assert store.series() == []


def test_a_revision_is_written_down_with_both_versions(store: BarStore) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, 4))
    assert store.revisions(AAPL, "1m").num_rows == 0
    store.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE, 1, close=11.0))
    store.upsert(AAPL, "1m", bars(MIDNIGHT + 2 * MINUTE, 1, volume=None))
    rows = store.revisions(AAPL, "1m").to_pylist()
    assert [(row["timestamp"], row["found_at"]) for row in rows] == [
        (MIDNIGHT + MINUTE, NOON),
        (MIDNIGHT + 2 * MINUTE, NOON),
    ]
    assert [(row["old_close"], row["close"]) for row in rows] == [(10.0, 11.0), (10.0, 10.0)]
    assert [(row["old_volume"], row["volume"]) for row in rows] == [(5.0, 5.0), (5.0, None)]


def test_a_split_rescales_what_is_older_than_the_window(store: BarStore) -> None:
    """Over months: three files change together, one of them beyond all that was fetched."""
    start = datetime(2026, 9, 10, tzinfo=UTC)
    count = 60 * 24 * 70
    store.upsert(AAPL, "1m", wave(start, count))
    window = wave(start, count + 5, ratio=0.25, until=count).slice(60 * 24 * 30)
    commit = store.upsert(AAPL, "1m", window)
    assert commit.readjustment is not None
    assert (commit.readjustment.ratio, commit.readjustment.volume_ratio) == (0.25, 4.0)
    assert (commit.added, commit.changed, len(commit.paths)) == (5, 0, 3)
    assert store.read(AAPL, "1m").equals(wave(start, count + 5, ratio=0.25, until=count).replace_schema_metadata(None))
    [found] = store.record(AAPL, "1m").readjustments
    assert (found.found_at, found.readjustment) == (NOON.timestamp(), commit.readjustment)
    assert store.facts(AAPL, "1m") == {"adjustment": "splits"}
    assert store.upsert(AAPL, "1m", window).readjustment is None
    assert store.upsert(AAPL, "1m", wave(start, count + 6, ratio=0.25, until=count).slice(count)).added == 1
    assert len(store.record(AAPL, "1m").readjustments) == 1, "a later commit keeps the record"


def test_the_quarantine_outlives_the_files_that_somebody_took_away(tmp_path: Path) -> None:
    store = BarStore(tmp_path, clock=lambda: NOON.timestamp())
    broken = bars(MIDNIGHT + MINUTE, 1).set_column(2, BAR_SCHEMA.field("high"), [[9.0]])
    assert store.upsert(AAPL, "1m", pa.concat_tables([bars(MIDNIGHT, 1), broken])).quarantined == 1
    shutil.rmtree(tmp_path / "ohlcv")
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT, 1))
    assert (commit.quarantined, commit.record.quarantined) == (1, 1)


def test_the_next_contract_moves_what_is_older_than_the_window(store: BarStore) -> None:
    def contracts(count: int, shift: float, until: int, first: int = 0) -> pa.Table:
        table = wave(MIDNIGHT, count).replace_schema_metadata(
            {f"tv_etl.{key}": text for key, text in {**CLOSED, "backadjustment": "true"}.items()}
        )
        for index, name in enumerate(("open", "high", "low", "close"), start=1):
            prices = [price + (shift if row < until else 0.0) for row, price in enumerate(table[name].to_pylist())]
            table = table.set_column(index, BAR_SCHEMA.field(name), [prices])
        return table.slice(first)

    store.upsert(AAPL, "1m", contracts(60, 0.0, 0))
    commit = store.upsert(AAPL, "1m", contracts(70, -7.5, 50, first=30))
    assert commit.readjustment is not None
    assert (commit.readjustment.ratio, commit.readjustment.shift) == (1.0, -7.5)
    assert (commit.added, commit.changed) == (10, 0)
    assert store.read(AAPL, "1m").equals(contracts(70, -7.5, 50).replace_schema_metadata(None))
    [found] = store.record(AAPL, "1m").readjustments
    assert found.readjustment == commit.readjustment


def test_a_readjusted_part_that_ends_early_is_refused(store: BarStore) -> None:
    store.upsert(AAPL, "1m", wave(MIDNIGHT, 100))
    before = tree(store)
    with pytest.raises(ReadjustedError, match=r"NASDAQ:AAPL 1m was re-adjusted, × 0\.5 .*; .* fetch up to now"):
        store.upsert(AAPL, "1m", wave(MIDNIGHT, 100, ratio=0.5, until=100).slice(10, 40))
    assert tree(store) == before
    commit = store.upsert(AAPL, "1m", wave(MIDNIGHT, 100, ratio=0.5, until=40).slice(10, 40))
    assert commit.readjustment is not None, "where its newest bars agree, the newer ones are not concerned"
    assert store.read(AAPL, "1m").equals(wave(MIDNIGHT, 100, ratio=0.5, until=40).replace_schema_metadata(None))


@pytest.mark.parametrize("unknown", [{}, {"currency": ""}, {"currency": "unspecified"}])
def test_a_setting_that_is_not_known_is_no_other_setting(store: BarStore, unknown: dict[str, str]) -> None:
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={**CLOSED, **unknown}))
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={**CLOSED, "currency": "USD"}))
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts={**CLOSED, **unknown}))
    assert store.facts(AAPL, "1m") == {"currency": "USD"}


def asked(start: datetime, end: datetime, **facts: str) -> dict[str, str]:
    return {**CLOSED, "asked_from": f"{start.timestamp():.0f}", "asked_until": f"{end.timestamp():.0f}", **facts}


def seconds(*moments: datetime) -> tuple[int, ...]:
    return tuple(int(moment.timestamp()) for moment in moments)


def test_what_was_asked_for_is_kept_with_the_bars(store: BarStore) -> None:
    hour = timedelta(hours=1)
    store.upsert(AAPL, "1m", bars(MIDNIGHT, facts=asked(MIDNIGHT, MIDNIGHT + hour)))
    store.upsert(AAPL, "1m", bars(MIDNIGHT + 5 * hour, facts=asked(MIDNIGHT + 5 * hour, MIDNIGHT + 6 * hour)))
    assert store.record(AAPL, "1m").asked == (
        seconds(MIDNIGHT, MIDNIGHT + hour),
        seconds(MIDNIGHT + 5 * hour, MIDNIGHT + 6 * hour),
    )
    paths = store.upsert(AAPL, "1m", bars(MIDNIGHT, 0, facts=asked(MIDNIGHT + hour, MIDNIGHT + 5 * hour))).paths
    assert paths == (), "an answer without bars is remembered, too"
    record = store.record(AAPL, "1m")
    assert record.asked == (seconds(MIDNIGHT, MIDNIGHT + 6 * hour),)
    assert record.window is None
    store.upsert(AAPL, "1m", bars(MIDNIGHT, 0, facts={"window_bars": "5000", "window_from": "1790000000"}))
    assert store.record(AAPL, "1m").window == Window(5000, 1_790_000_000)
    with pytest.raises(BadBarsError, match="asked_from 'now' is not a whole number"):
        store.upsert(AAPL, "1m", bars(MIDNIGHT, 0, facts={"asked_from": "now"}))


def test_the_record_describes_every_period_as_its_file_is(store: BarStore) -> None:
    hours = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})
    facts = {**CLOSED, "trading_hours": hours}
    store.upsert(AAPL, "1m", bars(MIDNIGHT - 10 * MINUTE, 4, facts=facts))
    store.upsert(AAPL, "1m", bars(MIDNIGHT - 4 * MINUTE, 2, facts=facts))
    store.upsert(AAPL, "1m", bars(MIDNIGHT + 5 * MINUTE, 3, facts=facts))
    store.upsert(AAPL, "1m", bars(MIDNIGHT + timedelta(days=2), 1, facts=facts))
    record = store.record(AAPL, "1m")
    october, november = record.periods["2026-10"], record.periods["2026-11"]
    # October to its end, of which the last two minutes are missing as well; November from its first minute on.
    assert (october.rows, october.expected, october.missing, october.gaps, october.sessions) == (6, 10, 4, 2, 0)
    assert (november.rows, november.expected, november.missing, november.gaps) == (4, 2881, 2877, 2)
    assert november.sessions == 1, "the second of November is missing whole"
    for name, period in record.periods.items():
        assert period.bytes == len(files_of(store).read(NOVEMBER.replace("2026-11", name)))
    fresh = BarStore(f"{store.base}-fresh", clock=lambda: NOON.timestamp())
    fresh.upsert(
        AAPL, "1m", store.read(AAPL, "1m").replace_schema_metadata({f"tv_etl.{k}": v for k, v in facts.items()})
    )
    assert fresh.record(AAPL, "1m").periods == record.periods, "the order of commits leaves no trace"


def test_new_trading_hours_judge_every_period_anew(store: BarStore) -> None:
    def facts(session: str) -> dict[str, str]:
        return {**CLOSED, "trading_hours": json.dumps({"session": session, "timezone": "Etc/UTC"})}

    store.upsert(AAPL, "1m", bars(MIDNIGHT - 5 * MINUTE, 2, facts=facts("24x7")))
    store.upsert(AAPL, "1m", bars(MIDNIGHT + MINUTE, 1, facts=facts("24x7")))
    assert [each.missing for each in store.record(AAPL, "1m").periods.values()] == [3, 1]
    store.upsert(AAPL, "1m", bars(MIDNIGHT + 2 * MINUTE, 1, facts=facts("0000-2358:1234567")))
    assert [each.missing for each in store.record(AAPL, "1m").periods.values()] == [1, 1]


def test_a_file_that_was_taken_away_was_not_asked_for(store: BarStore) -> None:
    start, end = MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(days=1)
    store.upsert(AAPL, "1m", bars(MIDNIGHT - MINUTE, facts=asked(start, end)))
    files_of(store).remove(NOVEMBER)
    record = store.record(AAPL, "1m")
    assert record.asked == (seconds(start, MIDNIGHT),)
    assert list(record.periods) == ["2026-10"]


def test_a_lake_of_the_first_version_is_read_for_ever(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "recordings" / "lake-v1", tmp_path / "lake")
    store = BarStore(tmp_path / "lake", clock=lambda: NOON.timestamp())
    expected = bars(MIDNIGHT, 4).to_pylist()
    changed = {"open": 11.5, "low": 11.5, "close": 11.5, "volume": None}
    expected[1] |= {**changed, "high": 11.5}
    expected[2] |= {**changed, "high": 12.0}
    assert (
        store.read(AAPL, "1m").to_pylist() == store.scan().read_all().select(BAR_SCHEMA.names).to_pylist() == expected
    )
    assert store.scan().read_all()["trading_day"].to_pylist() == [None] * 4, "its trading hours were not known"
    assert store.facts(AAPL, "1m") == {"source": "tradingview", "adjustment": "splits", "currency": "USD"}
    assert [row["old_close"] for row in store.revisions(AAPL, "1m").to_pylist()] == [10.0, 10.0]
    assert [row["timestamp"] for row in store.quarantine(AAPL, "1m").to_pylist()] == [MIDNIGHT + 3 * MINUTE]
    assert (store.record(AAPL, "1m").revisions, store.summary(AAPL, "1m").rows) == (2, 4)
    commit = store.upsert(AAPL, "1m", bars(MIDNIGHT + 3 * MINUTE, 2))
    assert (commit.added, commit.rows, commit.quarantined) == (1, 5, 0)


def test_a_lake_of_the_second_version_is_read_for_ever(tmp_path: Path) -> None:
    """A split, a withdrawn bar, imported ones and a seam, as they were first written."""
    shutil.copytree(Path(__file__).parents[1] / "recordings" / "lake-v2", tmp_path / "lake")
    store = BarStore(tmp_path / "lake", clock=lambda: float(second(400)))
    other = [row[0] for row in PLAIN[200:210]]
    assert [row for row in stored(store) if row[0] not in other] == SPLIT[90:140]
    assert [row[0] for row in stored(store)][-10:] == other
    record = store.record(*SERIES)
    assert record.asked == ((second(100), second(140)), (second(200), second(210)))
    assert [str(each.readjustment)[:20] for each in record.readjustments] == ["× 0.25 (volume × 4) "]
    assert [(seam.at, seam.is_open) for seam in record.seams] == [(second(200), True)]
    assert [(each.start, each.provenance) for each in record.imported] == [(second(90), "chart.csv")]
    withdrawn = store.withdrawn(*SERIES)["timestamp"].to_pylist()
    assert [moment.timestamp() for moment in withdrawn] == [second(120)]
    assert stored_as_of(store, second(301)) == PLAIN[100:130], "as it was known after the first commit"
    days = store.scan().read_all()["trading_day"]
    assert len(days) == days.null_count == 60, "its trading hours were not known"
    hours = json.dumps({"session": "0930-1600", "timezone": "America/New_York"})
    copy = BarStore(shutil.copytree(tmp_path / "lake", tmp_path / "copy"), clock=lambda: float(second(400)))
    copy.upsert(*SERIES, bars(MIDNIGHT, 0, facts={**CLOSED, "trading_hours": hours}))
    assert set(copy.scan().read_all()["trading_day"].to_pylist()) == {date(2026, 11, 12)}
    [found] = verify(store)
    assert [finding.advice for finding in found.findings] == [
        "tv-etl seam NASDAQ:SPLT 1m shows both sides, and resolves it"
    ]
    store.resolve_seam(*SERIES, Resolution.parse("cut"))
    assert [row[0] for row in stored(store)] == other


def test_a_lake_of_a_later_version_is_refused_and_left_alone(store: BarStore) -> None:
    [name] = store.upsert(AAPL, "1m", bars(MIDNIGHT)).paths
    table = pq.read_table(pa.BufferReader(files_of(store).read(name)))
    metadata = {**table.schema.metadata, b"tv_etl.schema_version": b"2"}
    files_of(store).write(name, bytes(encode_sealed(table.replace_schema_metadata(metadata))))
    before = tree(store)
    for ask in (
        lambda: store.read(AAPL, "1m"),
        lambda: store.scan().read_all(),
        lambda: store.watermark(AAPL, "1m"),
        lambda: store.upsert(AAPL, "1m", bars(MIDNIGHT)),
    ):
        with pytest.raises(NewerFormatError, match=r"2026-11\.parquet: schema version 2, known is 1; upgrade tv_etl"):
            ask()
    assert tree(store) == before


def stored_as_of(store: BarStore, moment_s: int) -> Rows:
    rows = store.read(*SERIES, as_of=datetime.fromtimestamp(moment_s, timezone.utc)).to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]
