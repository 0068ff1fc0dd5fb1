"""The status of a lake as a table."""

import io
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from tv_etl.cli.status_table import chronicle_table, status_table
from tv_etl.lake.chronicle import KINDS, Chronicle, Entry
from tv_etl.lake.status import SeriesStatus, lake_status
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.collect.served_market import SERIES
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake.test_status import stored


def printed(statuses: list[SeriesStatus], now: datetime) -> list[str]:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(status_table(statuses, now))
    return captured.get().splitlines()


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


def test_all_that_is_known_of_a_series_can_be_shown() -> None:
    moment = datetime(2026, 11, 2, tzinfo=timezone.utc)
    entries = [Entry(kind, moment, moment, None, "") for kind in KINDS]
    console = Console(file=io.StringIO(), width=120)
    console.print(chronicle_table(Chronicle(SERIES, entries), 0))
    assert isinstance(console.file, io.StringIO)
    assert all(kind in console.file.getvalue() for kind in KINDS)


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
