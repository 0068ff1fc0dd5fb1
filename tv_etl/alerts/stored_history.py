"""The bars that a lake has, for a replay of rules and for pictures of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tv_etl.alerts.replay import TOUCH_INTERVALS, Row, StoredBars
from tv_etl.lake.picture import Candle
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval

# How many bars before the span are read: what levels may look back at, with nights and weekends.
_BARS_BEFORE = 2_000
_CANDLES_BEFORE = 20


class StoredHistory:
    """The bars of a lake up to a moment, each series read once."""

    def __init__(self, store: BarStore, start: datetime, end: datetime) -> None:
        self._store, self._start, self._end = store, start, end
        self._read: dict[tuple[str, str], StoredBars] = {}

    def __call__(self, symbol: str, interval: str) -> StoredBars:
        key = (symbol, interval)
        if key not in self._read:
            self._read[key] = self._bars(symbol, interval)
        return self._read[key]

    def _bars(self, symbol: str, interval: str) -> StoredBars:
        since = self._start - timedelta(seconds=_BARS_BEFORE * Interval.parse(interval).seconds, days=10)
        table = self._store.read(symbol, interval, start=since, end=self._end)
        columns = table.to_pydict()
        seconds = [moment.timestamp() for moment in columns["timestamp"]]
        prices = (columns[name] for name in ("open", "high", "low", "close", "volume"))
        hours = self._store.record(symbol, interval).regular_hours if seconds else None
        return StoredBars(list(zip(seconds, *prices, strict=True)), hours)

    def symbols(self, intervals: Sequence[str]) -> list[str]:
        """The symbols that are stored at one of these intervals."""
        return sorted({each.symbol for each in self._store.series() if each.interval.token in intervals})

    def candles(self, symbol: str) -> list[Candle]:
        """The span's bars at the finest interval that is stored, and a few before."""
        for interval in TOUCH_INTERVALS:
            rows = self(symbol, interval).rows
            if rows:
                first = sum((row[0] or 0) < self._start.timestamp() for row in rows)
                shown = rows[max(0, first - _CANDLES_BEFORE) :]
                return [_candle(row) for row in shown]
        return []


def _candle(row: Row) -> Candle:
    time, open_, high, low, close = (float(value or 0.0) for value in row[:5])
    return Candle(int(time), open_, high, low, close, None)
