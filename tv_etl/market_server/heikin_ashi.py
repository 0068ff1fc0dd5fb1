"""Heikin Ashi bars, made of the bars of a market. Pure.

close = (open + high + low + close) / 4; open = the middle of the body of the bar before; high and low enclose both.
"""

import numpy as np

from tv_etl.market_server.market import Bars, BarSource, Floats
from tv_etl.tradingview.intervals import Interval

# A bar's open depends on all bars before it, but halves what it owes to each with every step: after so many nothing
# of a price is left, and bars are the same whichever page they are loaded with.
_LEAD = 64
_DECIMALS = 10


class HeikinAshiBars:
    """The Heikin Ashi bars of a source; equal to any others of the same source, by which texts of bars are kept."""

    def __init__(self, source: BarSource) -> None:
        self._source = source
        self.listing = source.listing
        self.calendar = source.calendar
        self.has_volume = source.has_volume

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeikinAshiBars) and other._source is self._source

    def __hash__(self) -> int:
        return hash((HeikinAshiBars, id(self._source)))

    def supports(self, interval: Interval) -> bool:
        """See BarSource."""
        return self._source.supports(interval)

    def edition(self, now: float) -> int:
        """See BarSource."""
        return self._source.edition(now)

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        return self._source.open_back(interval, now, count)

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        if start is None:
            wanted = count or 0
            bars = self._source.bars(interval, now, count=wanted + _LEAD, before=before)
            kept = max(len(bars) - wanted, 0)
            return Bars(_averaged(bars.rows)[kept:], bars.is_start and not kept)
        lead = self._source.bars(interval, now, count=_LEAD, before=start)
        bars = self._source.bars(interval, now, start=start, before=before)
        return Bars(_averaged(np.concatenate([lead.rows, bars.rows]))[len(lead) :], bars.is_start)


def _averaged(rows: Floats) -> Floats:
    averaged: Floats = rows.copy()
    closes = rows[:, 1:5].mean(axis=1)
    opens: list[float] = []
    # What stands before the first bar is as if it had been like the first.
    before = (rows[0, 1] + rows[0, 4]) / 2 if len(rows) else 0.0
    for close in closes.tolist():
        opens.append(before)
        before = (before + close) / 2
    averaged[:, 1] = opens
    averaged[:, 4] = closes
    averaged[:, 2] = np.maximum(rows[:, 2], np.maximum(averaged[:, 1], closes))
    averaged[:, 3] = np.minimum(rows[:, 3], np.minimum(averaged[:, 1], closes))
    averaged[:, 1:5] = np.round(averaged[:, 1:5], _DECIMALS)
    return averaged
