"""Where the bars of an instrument come from, whether synthetic, replayed or computed from others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.sessions import Calendar, Integers
from tv_etl.tradingview.intervals import Interval, Unit

Floats = npt.NDArray[np.float64]

_WIDE_UNITS: tuple[Unit, ...] = ("d", "w", "mo")
# A replay may have no days; then the narrowest it has.
_QUOTED = [
    Interval(1, "d"),
    *(Interval(seconds, "s") for seconds in range(1, 60)),
    *(Interval(minutes, "m") for minutes in range(1, 1_441)),
    *(Interval(count, unit) for unit in _WIDE_UNITS for count in range(1, 366)),
]


@dataclass(frozen=True)
class Bars:
    """Bars as the wire has them: rows `[time, open, high, low, close]` or with volume, ascending in time.

    `is_start` is true if no bar lies before the first.
    """

    rows: Floats
    is_start: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def times(self) -> Integers:
        """The bars' opens, UTC seconds."""
        return self.rows[:, 0].astype(np.int64)


class BarSource(Protocol):
    """Where the bars of one instrument in one session come from."""

    listing: Listing
    calendar: Calendar
    has_volume: bool

    def supports(self, interval: Interval) -> bool:
        """True if there are bars of this interval."""

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """The bars opened at or before `now`: of those before `before` (all if None) the newest `count`, or
        those from `start` on."""

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """The open of the `count`th newest intraday bar, None if there are fewer."""

    def edition(self, now: float) -> int:
        """A number that changes whenever closed bars do, as with every split and dividend they are adjusted for."""


def days_of(source: BarSource, now: float, back: Sequence[int]) -> Floats:
    """The bars of a source that are `back` days older than the newest: `(back, 6)`, NaN where there is none."""
    rows = source.bars(quote_interval(source), now, count=max(back) + 1).rows
    found = np.full((len(back), 6), np.nan)
    for place, age in enumerate(back):
        if age < len(rows):
            found[place, : rows.shape[1]] = rows[-1 - age]
    return found


def quote_interval(source: BarSource) -> Interval:
    """The interval whose newest bar a quote shows: a day, or the narrowest there is if there are no days."""
    return next(interval for interval in _QUOTED if source.supports(interval))
