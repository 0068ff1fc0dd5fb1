"""The points of an economic figure: one a week or a month, each published some time after the time that it is of.

A point is a bar of one value, stamped with the first day of its time. Nothing tells when the next one comes: trading
hours say that the market never closes.
"""

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from tv_etl.market_server.market.bar_source import Bars
from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.prices import PricePaths, day_number
from tv_etl.market_server.market.sessions import Integers, calendar_of
from tv_etl.tradingview.intervals import Interval

_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()
_NEW_YORK = ZoneInfo("America/New_York")


class FigureBars:
    """At each moment the points published by then, at intervals of a day and more."""

    has_volume = False

    def __init__(self, listing: Listing, seed: int) -> None:
        assert listing.figure is not None
        self.listing = listing
        self.calendar = calendar_of(listing.schedule, listing.first_day_number, listing.last_day_number)
        opened = np.isin(self.calendar.days, [day_number(day) for day in listing.figure.never], invert=True)
        starts = np.flatnonzero(np.diff(self.calendar.groups(Interval.parse(listing.figure.every)), prepend=-1))
        self._index: Integers = starts[opened[starts]]
        ends = np.append(starts[1:], len(self.calendar.days))[opened[starts]]
        self._published = _publications(tuple(self.calendar.days[ends - 1].tolist()), listing.figure.lag_days)
        days = PricePaths([listing], seed, self.calendar).days(self._index).reshape(-1)
        self._values = days.close
        self._first_values = (days.open + days.close) // 2 if listing.figure.is_revised else days.close

    def supports(self, interval: Interval) -> bool:
        """True for days and what is wider."""
        return interval.unit in ("d", "w", "mo")

    def edition(self, now: float) -> int:
        """See BarSource."""
        return int(np.searchsorted(self._published, now, side="right"))

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        return None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        known = self.edition(now)
        values = np.append(self._values[: max(known - 1, 0)], self._first_values[max(known - 1, 0) : known])
        groups = self.calendar.groups(interval)
        mine = groups[self._index[:known]]
        starts = np.flatnonzero(np.diff(mine, prepend=-1))
        rows = np.empty((len(starts), 5))
        if len(starts):
            rows[:, 0] = self.calendar.opens[np.searchsorted(groups, mine[starts])]
            rows[:, 1], rows[:, 4] = values[starts], values[np.append(starts[1:], known) - 1]
            rows[:, 2], rows[:, 3] = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
            rows[:, 1:] *= self.listing.minmov
            rows[:, 1:] /= self.listing.pricescale
        end = len(rows) if before is None else int(np.searchsorted(rows[:, 0], before))
        first = 0 if start is None else int(np.searchsorted(rows[:, 0], start))
        if count is not None:
            first = max(first, end - count)
        return Bars(rows[first:end], is_start=first == 0)


@lru_cache(maxsize=16)
def _publications(days: tuple[int, ...], lag_days: int) -> Integers:
    """When points are published whose times end with some days: at half past eight in New York, UTC seconds."""
    moments = (datetime.fromordinal(day + lag_days + _EPOCH_ORDINAL).replace(hour=8, minute=30) for day in days)
    return np.array([int(moment.replace(tzinfo=_NEW_YORK).timestamp()) for moment in moments], np.int64)
