"""How much of what the trading hours promise a stored series holds, and where bars are missing."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.bar_store import BarStore
from tv_etl.trading_hours import GapRun, TradingHours, TradingHoursError, gap_runs
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval

_LONGEST_CLOSURE = timedelta(days=14)
_MOST_COMPARED = 1_500  # bars; more than a long trading day of minutes


@dataclass(frozen=True)
class Completeness:
    """Bars that the trading hours promise against bars that are stored, over one span of time.

    `gaps` are runs of promised bars that are not stored, oldest first. A single missing minute usually means that
    nobody traded; a missing session does not.
    """

    expected: int
    missing: int
    gaps: list[GapRun]

    @property
    def ratio(self) -> float:
        """Share of the promised bars that is stored; 1 where none was promised."""
        return 1.0 - self.missing / self.expected if self.expected else 1.0


def completeness(
    store: BarStore, symbol: str, interval: str | Interval, start: datetime | None = None, end: datetime | None = None
) -> Completeness | None:
    """Measure a series from its first to its last stored bar, or between `start` and `end` within that.

    None where it cannot be known: nothing is stored there, the server never told the trading hours of the symbol or
    told them in a form that nobody knows, or the width has no fixed place in time (two days, five months).
    """
    stored = _seconds(store.read(symbol, interval, start, end))
    hours = trading_hours(store, symbol, interval)
    if hours is None or len(stored) == 0:
        return None
    first, last = _moment(int(stored[0])), _moment(int(stored[-1]))
    try:
        expected = hours.expected(Interval.parse(interval), first, last + timedelta(seconds=1))
    except IntervalError:
        return None
    gaps = gap_runs(expected, stored)
    return Completeness(expected=len(expected), missing=sum(gap.bars for gap in gaps), gaps=gaps)


def trading_hours(store: BarStore, symbol: str, interval: str | Interval) -> TradingHours | None:
    """The hours that the bars of a stored series follow; None if the server never told them readably."""
    facts = store.facts(symbol, interval)
    if not facts.get("trading_hours"):
        return None
    # A day is the regular session's whatever hours the series was asked for.
    session = facts.get("session", "regular") if Interval.parse(interval).is_intraday else "regular"
    try:
        return TradingHours.of_symbol(json.loads(facts["trading_hours"]), session)
    except TradingHoursError:
        return None


def overlap_start(store: BarStore, symbol: str, interval: Interval, watermark: datetime, bars: int) -> datetime:
    """From when on an increment asks for stored bars again: so many before the watermark, and the day before.

    A split or a dividend re-adjusts what was traded before its day; without a bar of the day before, an increment
    later on that day would not see it. Where days follow each other without a break nothing is ever split.
    """
    start = watermark - bars * timedelta(seconds=interval.seconds)
    hours = trading_hours(store, symbol, interval)
    if hours is None or not interval.is_intraday:
        return start
    zone = ZoneInfo(hours.timezone)
    today = watermark.astimezone(zone).date()
    spans = hours.spans(watermark - _LONGEST_CLOSURE, watermark)
    closes = [close for _, close in spans if _moment(close).astimezone(zone).date() < today]
    if not closes:
        return start
    day_before = _moment(closes[-1] - interval.seconds)
    is_too_far = len(hours.expected(interval, day_before, watermark)) > _MOST_COMPARED
    return start if is_too_far else min(start, day_before)


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=timezone.utc)


def _seconds(bars: pa.Table) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    seconds = pc.divide(bars["timestamp"].cast(pa.int64()), 1_000_000)
    return np.asarray(seconds.combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int64)
