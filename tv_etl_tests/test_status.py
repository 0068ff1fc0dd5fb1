"""What people read of the lake, and what machines do."""

import io
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from tv_etl.bar_store import BarStore
from tv_etl.resources import TradingViewResource
from tv_etl.status import SeriesStatus, lake_status, status_table
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.conftest import NOW

HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})


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
    for request, table in TradingViewResource(ws_url=market_url).fetch(requests):
        assert isinstance(table, pa.Table)
        store.upsert(request.symbol, request.interval, table)
    lines = printed(lake_status(store, NOW), NOW)
    assert len(lines) == 2 + len(requests)
    row = next(line for line in lines if "BINANCE:BTCUSDT" in line and " 1m " in line)
    times = ["2026-11-17", "14:01", "2026-11-18", "14:59"]
    # 5,000 minutes after the next one to close: 3 days, 11 hours and 20 minutes.
    assert row.split() == ["BINANCE:BTCUSDT", "1m", "1,499", *times, "100.00%", "0", "0", "in", "3", "d", "11", "h"]
    assert all("never" in line for line in lines if " 1d " in line)


def stored(store: BarStore, symbol: str, opens: list[datetime], asked_until: datetime) -> None:
    facts = {
        "forming_from": "",
        "trading_hours": HOURS,
        "asked_from": f"{opens[0].timestamp():.0f}",
        "asked_until": f"{asked_until.timestamp():.0f}",
        "window_bars": "3000",
        "window_from": f"{opens[0].timestamp():.0f}",
    }
    columns = [pa.array(opens, BAR_SCHEMA.field(0).type), *[pa.array([1.0] * len(opens))] * 5]
    schema = BAR_SCHEMA.with_metadata({f"tv_etl.{key}": value for key, value in facts.items()})
    store.upsert(symbol, "1m", pa.Table.from_arrays(columns, schema=schema))


def test_the_most_urgent_series_come_first_and_damage_before_all(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for symbol, hours in (("X:CALM", 1), ("X:NEAR", 40), ("X:LOST", 60), ("X:BAD", 1)):
        stored(store, symbol, [NOW - timedelta(hours=hours, minutes=1)], NOW - timedelta(hours=hours))
    (tmp_path / ".tv_etl" / "1m" / "X%3ABAD" / "series.json").write_text("{}", encoding="utf-8")
    statuses = lake_status(store, NOW)
    assert [status.symbol for status in statuses] == ["X:BAD", "X:LOST", "X:NEAR", "X:CALM"]
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


def test_machines_get_the_same_as_json(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    stored(store, "X:Y", [NOW], NOW + timedelta(minutes=1))
    [status] = lake_status(store, NOW)
    open_minute = NOW.replace(microsecond=0)
    assert status.to_dict() == {
        "symbol": "X:Y",
        "interval": "1m",
        "bars": 1,
        "bytes": next(Path(store.uri("X:Y", "1m")).iterdir()).stat().st_size,
        "first": open_minute.isoformat(),
        "last": open_minute.isoformat(),
        "completeness": 1.0,
        "gaps": 0,
        "missing_sessions": 0,
        "revisions": 0,
        "readjustments": 0,
        "quarantined": 0,
        "loss_deadline": datetime(2026, 11, 20, 17, 2, tzinfo=timezone.utc).isoformat(),
        "error": None,
    }


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
