"""The bars that a lake has, as a replay of rules asks for them."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.alerts.stored_history import StoredHistory
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA

BEGIN = datetime(2026, 11, 18, 15, 0, tzinfo=timezone.utc)


def stored(store: BarStore, symbol: str, interval: str, times: list[datetime]) -> None:
    prices = [float(number) for number in range(1, len(times) + 1)]
    columns = [pa.array(times, pa.timestamp("us", "UTC")), *[pa.array(prices)] * 5]
    store.upsert(symbol, interval, pa.table(columns, schema=BAR_SCHEMA))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    """Minutes from half an hour before to half an hour after, and days of the same symbol; another has days only."""
    store = BarStore(tmp_path / "lake")
    stored(store, "NASDAQ:AAPL", "1m", [BEGIN + timedelta(minutes=number) for number in range(-30, 30)])
    for symbol in ("NASDAQ:AAPL", "FX:EURUSD"):
        stored(store, symbol, "1d", [datetime(2026, 11, day, tzinfo=timezone.utc) for day in (16, 17)])
    return store


def test_bars_end_with_the_span_and_begin_before_it(store: BarStore) -> None:
    history = StoredHistory(store, BEGIN, BEGIN + timedelta(minutes=10))
    rows = history("NASDAQ:AAPL", "1m").rows
    assert (rows[0][0], rows[-1][0]) == tuple((BEGIN + timedelta(minutes=each)).timestamp() for each in (-30, 9))


def test_a_series_is_read_once(store: BarStore) -> None:
    history = StoredHistory(store, BEGIN, BEGIN + timedelta(minutes=10))
    assert history("NASDAQ:AAPL", "1m") is history("NASDAQ:AAPL", "1m")


def test_symbols_are_those_that_are_stored_at_one_of_the_intervals(store: BarStore) -> None:
    history = StoredHistory(store, BEGIN, BEGIN + timedelta(minutes=10))
    assert history.symbols(["1m"]) == ["NASDAQ:AAPL"]
    assert history.symbols(["1m", "1d"]) == ["FX:EURUSD", "NASDAQ:AAPL"]


def test_candles_are_of_the_finest_interval_with_a_few_before_the_span(store: BarStore) -> None:
    history = StoredHistory(store, BEGIN, BEGIN + timedelta(minutes=10))
    candles = history.candles("NASDAQ:AAPL")
    assert (candles[0].second, len(candles)) == (int(BEGIN.timestamp()) - 20 * 60, 30)
    assert [candle.close for candle in history.candles("FX:EURUSD")] == [1.0, 2.0]
    assert history.candles("X:NONE") == []
