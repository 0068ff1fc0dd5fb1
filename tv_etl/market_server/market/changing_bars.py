"""The bars of a listing that is not always what it was: of another instrument once, of other hours, or amended."""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from tv_etl.market_server.market.bar_source import Bars, BarSource, Floats
from tv_etl.market_server.market.listing import Amendment, Listing
from tv_etl.market_server.market.sessions import Integers
from tv_etl.tradingview.intervals import Interval

_SECOND, _MINUTE, _DAY = Interval(1, "s"), Interval(1, "m"), Interval(1, "d")
_MANY = 1_000  # more than any listing has splits and dividends


class ChangingBars:
    """At each moment the bars of the newest version of a listing; `listing` and `calendar` are those of one version."""

    def __init__(self, since: Sequence[float], versions: Sequence[BarSource], shown: int) -> None:
        self._since, self._versions = since, versions
        self.listing, self.calendar = versions[shown].listing, versions[shown].calendar
        self.has_volume = versions[shown].has_volume

    def supports(self, interval: Interval) -> bool:
        """See BarSource."""
        return all(version.supports(interval) for version in self._versions)

    def edition(self, now: float) -> int:
        """See BarSource."""
        return self._place(now) * _MANY + self._version(now).edition(now)

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        version = self._version(now)
        if not version.listing.amendments:
            return version.open_back(interval, now, count)
        rows = self.bars(interval, now, count=count).rows
        return int(rows[0, 0]) if len(rows) == count else None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        version, asked = self._version(now), count
        while True:
            found = version.bars(interval, now, count=asked, start=start, before=before)
            rows = found.rows
            for amendment in version.listing.amendments:
                rows = self._amended(version, rows, amendment, interval, now)
            if count is None or asked is None or len(rows) >= count or found.is_start:
                first = 0 if count is None else max(len(rows) - count, 0)
                return Bars(rows[first:], found.is_start and not first)
            asked += count - len(rows)  # some are not served any more

    def _place(self, now: float) -> int:
        return version_at(self._since, now)

    def _version(self, now: float) -> BarSource:
        return self._versions[self._place(now)]

    def _amended(
        self, version: BarSource, rows: Floats, amendment: Amendment, interval: Interval, now: float
    ) -> Floats:
        """The bars after an amendment; those that it touches are made anew of narrower ones."""
        start, end = int(amendment.start.timestamp()), int(amendment.end.timestamp())
        times = rows[:, 0].astype(np.int64)
        last = int(np.searchsorted(times, end))
        if not last:
            return rows
        if interval in (_SECOND, _MINUTE):
            first = int(np.searchsorted(times, start))
            touched = _amend(rows[first:last], amendment, version.listing)
        else:
            first = max(int(np.searchsorted(times, start, side="right")) - 1, 0)
            closes = version.calendar.opens_after(interval, int(times[last - 1]), 1)
            if closes and closes[0] <= start:
                return rows
            narrow = self.bars(
                _made_of(interval), now, start=int(times[first]), before=closes[0] if closes else None
            ).rows
            touched = _merged(narrow, times[first:last])
        return np.concatenate([rows[:first], touched, rows[last:]])


def versions_of(listing: Listing) -> list[tuple[float, Listing]]:
    """What a symbol stands for and since when (UTC seconds), the oldest first."""
    if listing.formerly is None:
        return [(-math.inf, listing)]
    moment, former = listing.formerly
    return [*versions_of(former), (moment.timestamp(), listing)]


def version_at(since: Sequence[float], now: float) -> int:
    """Which version it is at a moment."""
    return max(bisect_right(since, now) - 1, 0)


def _made_of(interval: Interval) -> Interval:
    if interval.unit == "s":
        return _SECOND
    return _MINUTE if interval.is_intraday or interval == _DAY else _DAY


def _amend(rows: Floats, amendment: Amendment, listing: Listing) -> Floats:
    """What is left of bars that lie inside an amendment."""
    if not amendment.volume:
        return rows[:0]
    rows = rows.copy()
    ticks = np.rint(rows[:, 1:5] * (amendment.price * listing.pricescale / listing.minmov))
    rows[:, 1:5] = np.maximum(ticks, 1) * listing.minmov / listing.pricescale
    rows[:, 5:] *= amendment.volume
    return rows


def _merged(narrow: Floats, opens: Integers) -> Floats:
    """The wider bars that open at `opens`; none where nothing is left to make one of."""
    slots = np.searchsorted(opens, narrow[:, 0], side="right") - 1
    starts = np.flatnonzero(np.diff(slots, prepend=-1))
    if not len(starts):
        return narrow[:0]
    wide: Floats = narrow[starts]
    wide[:, 0] = opens[slots[starts]]
    wide[:, 2] = np.maximum.reduceat(narrow[:, 2], starts)
    wide[:, 3] = np.minimum.reduceat(narrow[:, 3], starts)
    wide[:, 4] = narrow[np.append(starts[1:], len(narrow)) - 1, 4]
    wide[:, 5:] = np.add.reduceat(narrow[:, 5:], starts, axis=0)
    return wide
