"""The panel equals the lake after each refresh, whatever was committed, killed or removed between."""

import json
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tv_etl
from tv_etl.lake.derived.panel import PANEL_SCHEMA, read_panel, refresh_panel
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.scan import SCAN_SCHEMA
from tv_etl.lake.sealed import encode_sealed
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import IntervalError

UTC = timezone.utc
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SYMBOLS = ["KRX:005930", "NASDAQ:AAPL", "NSE:M&M"]


def bars(start: datetime, count: int, step: timedelta = MINUTE, close: float = 10.0) -> pa.Table:
    columns: dict[str, list[object]] = {"timestamp": [start + step * number for number in range(count)]}
    columns |= {name: [close] * count for name in ("open", "high", "low", "close")}
    columns["volume"] = [None] * count
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    store = BarStore(tmp_path)
    for number, symbol in enumerate(SYMBOLS):
        store.upsert(symbol, "1m", bars(NOVEMBER - 2 * MINUTE, 4 + number, close=1.0 + number))
    return store


def tell_hours(store: BarStore, symbol: str, interval: str, **fields: str) -> None:
    """The server tells the hours of gold, with corrections and holidays."""
    hours = {"session": "1800-1700", "timezone": "America/New_York", **fields}
    facts = {"tv_etl.forming_from": "", "tv_etl.trading_hours": json.dumps(hours)}
    store.upsert(symbol, interval, BAR_SCHEMA.with_metadata(facts).empty_table())


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def panel_of(store: BarStore, interval: str) -> pa.Table:
    files = sorted((Path(store.base) / "panel" / f"interval={interval}").iterdir())
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in files])


def assert_equal_to_lake(store: BarStore, interval: str) -> None:
    order = [("symbol", "ascending"), ("timestamp", "ascending")]
    lake = store.scan(intervals=interval).read_all().drop_columns("interval")
    assert panel_of(store, interval).sort_by(order).equals(lake.sort_by(order))


@pytest.mark.parametrize(
    ("interval", "step", "files"),
    [
        ("10s", timedelta(seconds=10), ["2026-10", "2026-11"]),
        ("1m", MINUTE, ["2026-10", "2026-11"]),
        ("1h", timedelta(hours=1), ["2026-10", "2026-11"]),
        ("1d", timedelta(days=1), ["2026"]),
        ("1mo", timedelta(days=30), ["2026", "2027"]),
    ],
)
def test_a_panel_holds_the_bars_of_all_symbols(
    tmp_path: Path, interval: str, step: timedelta, files: list[str]
) -> None:
    store = BarStore(tmp_path)
    for symbol in SYMBOLS:
        store.upsert(symbol, interval, bars(NOVEMBER - 2 * step, 6, step))
    store.upsert("X:OTHER", "5m", bars(NOVEMBER, 1))
    written = refresh_panel(store, interval).written
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        f"panel/interval={interval}/{file}.parquet" for file in files
    ]
    assert_equal_to_lake(store, interval)
    for path in written:
        table = pq.read_table(path, partitioning=None)
        assert table.schema.equals(PANEL_SCHEMA)
        rows = [(row["timestamp"].date(), row["symbol"], row["timestamp"]) for row in table.to_pylist()]
        assert rows == sorted(rows)


def test_a_day_is_in_few_row_groups(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for number in range(10):
        store.upsert(f"X:{number}", "1m", bars(NOVEMBER, 20 * 1440))
    [path] = refresh_panel(store, "1m").written
    metadata = pq.read_metadata(path)
    days = [
        [metadata.row_group(index).column(1).statistics.min, metadata.row_group(index).column(1).statistics.max]
        for index in range(metadata.num_row_groups)
    ]
    assert metadata.num_row_groups == 4
    assert all(last < first for (_, last), (first, _) in pairwise(days))
    assert_equal_to_lake(store, "1m")


def test_only_what_changed_is_made_again(store: BarStore) -> None:
    assert names(refresh_panel(store, "1m").written) == ["2026-10.parquet", "2026-11.parquet"]
    refresh = refresh_panel(store, "1m")
    assert (refresh.written, refresh.unchanged) == ((), 2)
    store.upsert(SYMBOLS[0], "1m", bars(NOVEMBER + 60 * MINUTE, 1))
    refresh = refresh_panel(store, "1m")
    assert (names(refresh.written), refresh.unchanged) == (["2026-11.parquet"], 1)
    store.upsert(SYMBOLS[2], "1m", bars(NOVEMBER - 2 * MINUTE, 1, close=7.0))
    assert names(refresh_panel(store, "1m").written) == ["2026-10.parquet"]
    store.upsert("X:NEW", "1m", bars(NOVEMBER + 43_200 * MINUTE, 1))
    assert names(refresh_panel(store, "1m").written) == ["2026-12.parquet"]
    assert_equal_to_lake(store, "1m")


@pytest.mark.parametrize(
    ("interval", "files", "corrected"),
    [
        ("10s", ["2026-10", "2026-11"], ["2026-11"]),
        ("1m", ["2026-10", "2026-11"], ["2026-11"]),
        ("1h", ["2026-10", "2026-11"], ["2026-11"]),
        ("1d", ["2026"], []),  # a day still overlaps the session of Monday, if that opens in the morning
    ],
)
def test_new_trading_hours_make_again_the_files_whose_days_they_change(
    tmp_path: Path, interval: str, files: list[str], corrected: list[str]
) -> None:
    store = BarStore(tmp_path)

    def made() -> list[str]:
        written = [path.stem for path in refresh_panel(store, interval).written]
        assert_equal_to_lake(store, interval)
        return written

    def days() -> set[date | None]:
        return {row["trading_day"] for row in panel_of(store, interval).to_pylist() if row["symbol"] == "COMEX:GC1!"}

    friday, sunday = datetime(2026, 10, 30, 12, tzinfo=UTC), datetime(2026, 11, 1, 23, tzinfo=UTC)
    for symbol in ("COMEX:GC1!", "NASDAQ:AAPL"):
        for start in (friday, sunday):
            store.upsert(symbol, interval, bars(start, 1))
    assert (made(), days()) == (files, {None})
    tell_hours(store, "COMEX:GC1!", interval)
    assert (made(), days()) == (files, {date(2026, 10, 30), date(2026, 11, 2)})
    tell_hours(store, "COMEX:GC1!", interval, session_holidays="20261102,20271224")
    assert made() == [], "a holiday changes no day of a stored bar"
    tell_hours(store, "COMEX:GC1!", interval, session="1800-1700#20261102/0930-1700")
    assert made() == corrected
    assert days() == {date(2026, 10, 30), date(2026, 11, 1 if corrected else 2)}
    assert made() == []


def test_a_panel_from_before_there_were_trading_days_is_made_again(store: BarStore) -> None:
    written = refresh_panel(store, "1m").written
    for path in written:
        pq.write_table(pq.read_table(path, partitioning=None).drop_columns("trading_day"), path)
    record = Path(store.base) / ".tv_etl/panel/1m/sources.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "version": 1}))
    assert refresh_panel(store, "1m").written == written
    assert_equal_to_lake(store, "1m")


def test_years_that_share_a_file_of_the_lake_are_made_again_one_by_one(tmp_path: Path) -> None:
    store, day = BarStore(tmp_path), timedelta(days=1)
    for symbol in SYMBOLS:
        store.upsert(symbol, "1d", bars(datetime(2024, 12, 30, tzinfo=UTC), 400, day))
    assert names(refresh_panel(store, "1d").written) == ["2024.parquet", "2025.parquet", "2026.parquet"]
    store.upsert(SYMBOLS[1], "1d", bars(datetime(2026, 2, 3, tzinfo=UTC), 3, day))
    assert names(refresh_panel(store, "1d").written) == ["2026.parquet"]
    assert_equal_to_lake(store, "1d")


def test_what_the_lake_lost_the_panel_loses(store: BarStore) -> None:
    refresh_panel(store, "1m")
    for symbol in SYMBOLS:
        (Path(store.uri(symbol, "1m")) / "2026-10.parquet").unlink()
    assert names(refresh_panel(store, "1m").written) == ["2026-10.parquet"]
    assert_equal_to_lake(store, "1m")
    (Path(store.base) / "panel/interval=1m/2026-11.parquet").unlink()
    assert names(refresh_panel(store, "1m").written) == ["2026-11.parquet"]
    (Path(store.base) / ".tv_etl/panel/1m/sources.json").write_text("{}")
    assert names(refresh_panel(store, "1m").written) == ["2026-10.parquet", "2026-11.parquet"]
    assert_equal_to_lake(store, "1m")
    assert refresh_panel(store, "1m").written == ()


def test_an_interval_without_series_has_no_panel(store: BarStore) -> None:
    assert refresh_panel(store, "1h").written == ()
    assert not (Path(store.base) / "panel").exists()
    assert read_panel(store, "1h") == SCAN_SCHEMA.empty_table()
    for call in (refresh_panel, read_panel):
        with pytest.raises(IntervalError):
            call(store, "100t")


def test_a_panel_of_some_symbols_has_a_name_and_files_of_its_own(store: BarStore) -> None:
    whole = refresh_panel(store, "1m")
    few = refresh_panel(store, "1m", symbols=SYMBOLS[:2], name="us_panel")
    assert (whole.symbols, few.symbols) == (tuple(SYMBOLS), tuple(SYMBOLS[:2]))
    assert [path.parent.parent.name for path in few.written] == ["us_panel", "us_panel"]
    assert refresh_panel(store, "1m").written == (), "the other one is as it was"
    assert_equal_to_lake(store, "1m")
    rows = pq.read_table(Path(store.base) / "us_panel")
    assert set(rows["symbol"].to_pylist()) == set(SYMBOLS[:2])
    left = refresh_panel(store, "1m", symbols=SYMBOLS[:1], name="us_panel")
    assert (names(left.written), left.symbols) == (["2026-10.parquet", "2026-11.parquet"], (SYMBOLS[0],))
    assert set(pq.read_table(Path(store.base) / "us_panel")["symbol"].to_pylist()) == {SYMBOLS[0]}


@pytest.mark.parametrize("name", ["ohlcv", "", "..", "us/panel", "daily_from_1m"])
def test_a_panel_takes_the_place_of_nothing_else(store: BarStore, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is no name of a panel"):
        refresh_panel(store, "1m", name=name)
    with pytest.raises(ValueError, match=f"'{name}' is no name of a panel"):
        read_panel(store, "1m", name=name)


def test_a_panel_is_read_with_the_columns_of_a_scan(store: BarStore) -> None:
    refresh_panel(store, "1m")
    panel = read_panel(store, "1m")
    assert panel.schema == SCAN_SCHEMA
    assert panel.drop_columns("interval").equals(panel_of(store, "1m"))
    assert panel.sort_by([("symbol", "ascending"), ("timestamp", "ascending")]) == store.scan().read_all()


def test_a_panel_that_is_damaged_or_from_before_trading_days_is_named(store: BarStore) -> None:
    path = refresh_panel(store, "1m").written[0]
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" + content[101:])
    with pytest.raises(DamagedFileError, match=f"{path}.*checksum"):
        read_panel(store, "1m")
    old = PANEL_SCHEMA.remove(PANEL_SCHEMA.get_field_index("trading_day")).empty_table()
    path.write_bytes(encode_sealed(old))
    with pytest.raises(DamagedFileError, match=r"its columns are (?s:.*); refresh the panel"):
        read_panel(store, "1m")


def test_damage_in_the_lake_leaves_the_panel_as_it_was(store: BarStore) -> None:
    refresh_panel(store, "1m")
    before = panel_of(store, "1m")
    path = Path(store.uri(SYMBOLS[1], "1m")) / "2026-11.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=str(path)):
        refresh_panel(store, "1m")
    assert panel_of(store, "1m").equals(before)


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tv_etl.lake.store import BarStore
from tv_etl.lake.storage.journal import StagedFiles
from tv_etl.lake.derived.panel import refresh_panel

class Killed(StagedFiles):
    def publish(self):
        publish(self)
        os.kill(os.getpid(), 9)

publish, StagedFiles.publish = StagedFiles.publish, Killed.publish
refresh_panel(BarStore(sys.argv[2]), "1m")
"""


def test_a_refresh_that_was_killed_goes_on_where_it_was(store: BarStore) -> None:
    command = [sys.executable, "-c", KILLED, str(Path(tv_etl.__file__).parents[1]), str(store.base)]
    assert subprocess.run(command, check=False).returncode == -9
    assert names(refresh_panel(store, "1m").written) == ["2026-11.parquet"]
    assert_equal_to_lake(store, "1m")


def test_duckdb_and_polars_read_the_panel(store: BarStore) -> None:
    refresh_panel(store, "1m")
    with duckdb.connect() as connection:
        query = "select symbol, interval, count(*) from read_parquet(?, hive_partitioning=true) group by all order by 1"
        found = connection.execute(query, [f"{store.base}/panel/**/*.parquet"]).fetchall()
    assert found == [(symbol, "1m", 4 + number) for number, symbol in enumerate(SYMBOLS)]
    frame = pl.scan_parquet(f"{store.base}/panel", hive_partitioning=True).collect()
    assert frame.height == sum(count for _, _, count in found)
    assert frame.columns == [*PANEL_SCHEMA.names, "interval"]
