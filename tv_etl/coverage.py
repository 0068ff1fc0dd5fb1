"""How much of what the trading hours promise a stored series holds, and where bars are missing."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.bar_store import BarStore
from tv_etl.trading_hours import GapRun, TradingHours, TradingHoursError, gap_runs
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval


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
    facts = store.facts(symbol, interval)
    stored = _seconds(store.read(symbol, interval, start, end))
    if not facts.get("trading_hours") or len(stored) == 0:
        return None
    width = Interval.parse(interval)
    # A day is the regular session's whatever hours the series was asked for.
    session = facts.get("session", "regular") if width.is_intraday else "regular"
    first = datetime.fromtimestamp(int(stored[0]), tz=timezone.utc)
    last = datetime.fromtimestamp(int(stored[-1]), tz=timezone.utc)
    try:
        hours = TradingHours.of_symbol(json.loads(facts["trading_hours"]), session)
        expected = hours.expected(width, first, last + timedelta(seconds=1))
    except (TradingHoursError, IntervalError):
        return None
    gaps = gap_runs(expected, stored)
    return Completeness(expected=len(expected), missing=sum(gap.bars for gap in gaps), gaps=gaps)


def _seconds(bars: pa.Table) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    seconds = pc.divide(bars["timestamp"].cast(pa.int64()), 1_000_000)
    return np.asarray(seconds.combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int64)
