"""Instruments made of two others, one divided by the other or multiplied by it."""

from dataclasses import replace

import numpy as np

from tv_etl.market_server.market.bar_source import Bars, BarSource
from tv_etl.tradingview.intervals import Interval

_ROUNDED = 10_000  # the price scale of what is divided or multiplied


class SpreadBars:
    """One instrument's prices divided or multiplied by another's, where both have a bar.

    As on TradingView, a bar is made of the legs' bars of the same interval: it does not show in which order they moved.
    """

    has_volume = False

    def __init__(self, symbol: str, first: BarSource, sign: str, second: BarSource) -> None:
        self._legs = (first, second)
        self._sign = sign
        self.calendar = first.calendar
        names = [leg.listing.symbol for leg in self._legs]
        self.listing = replace(
            first.listing, symbol=symbol, description=sign.join(names), kind="expression", typespecs=(),
            pricescale=_ROUNDED, minmov=1, daily_volume=None, extended=None, outside=(), local_description="",
            figure=None, splits=(), dividends=(), formerly=None, amendments=(), legs=tuple(names), extras={},
            delay_s=max(leg.listing.delay_s for leg in self._legs),
        )  # fmt: skip

    def supports(self, interval: Interval) -> bool:
        """True if both legs have bars of this interval."""
        return all(leg.supports(interval) for leg in self._legs)

    def edition(self, now: float) -> int:
        """See BarSource."""
        return sum(leg.edition(now) for leg in self._legs)

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        rows = self.bars(interval, now, count=count).rows
        return int(rows[0, 0]) if len(rows) == count else None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        if start is not None:
            return self._joined([leg.bars(interval, now, start=start, before=before) for leg in self._legs])
        assert count is not None
        asked = count
        while True:
            legs = [leg.bars(interval, now, count=asked, before=before) for leg in self._legs]
            both = self._joined(legs)
            if len(both) >= count or any(leg.is_start for leg in legs):
                return Bars(both.rows[len(both) - min(count, len(both)) :], both.is_start and len(both) <= count)
            asked *= 2

    def _joined(self, legs: list[Bars]) -> Bars:
        _, first, second = np.intersect1d(legs[0].rows[:, 0], legs[1].rows[:, 0], return_indices=True)
        left, right = legs[0].rows[first, :5], legs[1].rows[second, :5]
        rows = left.copy()
        rows[:, 1:] = left[:, 1:] / right[:, 1:] if self._sign == "/" else left[:, 1:] * right[:, 1:]
        rows[:, 1:] = np.maximum(np.rint(rows[:, 1:] * _ROUNDED), 1) / _ROUNDED
        rows[:, 2], rows[:, 3] = rows[:, 1:5].max(axis=1), rows[:, 1:5].min(axis=1)
        return Bars(rows, any(leg.is_start for leg in legs))
