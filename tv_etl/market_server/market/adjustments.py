"""How splits and dividends change the bars before them."""

import numpy as np

from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.prices import PricePaths, Ticks, day_number
from tv_etl.market_server.market.sessions import Calendar, Integers


class Adjustments:
    """The splits and dividends of a listing, and how they change earlier bars."""

    def __init__(self, listing: Listing, calendar: Calendar, adjustment: str, path: PricePaths) -> None:
        self._calendar = calendar
        # Index of the ex-day and of the day on which it is in force, factor of prices, factor of volume.
        self._events: list[tuple[int, int, float, float]] = []
        for ex_date, ratio in listing.splits:
            index = self._index(ex_date)
            self._events.append((index, index + listing.splits_late, 1 / ratio, ratio))
        for ex_date, amount in listing.dividends if adjustment == "dividends" else ():
            index = self._index(ex_date)
            if 0 < index < len(calendar.days):
                close = path.days(np.array([index - 1])).close[0, 0] * listing.minmov / listing.pricescale
                self._events.append((index, index, 1 - amount / float(close), 1.0))

    def edition(self, now: float) -> int:
        """How many are in force."""
        return sum(self._is_past(in_force, now) for _, in_force, _, _ in self._events)

    def adjust(self, ticks: Ticks, days: Integers, now: float) -> Ticks:
        """Bars of trading days (indices; the first axis), adjusted as of a moment."""
        prices, volumes = np.ones(len(days)), np.ones(len(days))
        for index, in_force, price_factor, volume_factor in self._events:
            if self._is_past(in_force, now):
                prices[days < index] *= price_factor
                volumes[days < index] *= volume_factor
        if (prices == 1).all() and (volumes == 1).all():
            return ticks
        shape = (-1,) + (1,) * (ticks.open.ndim - 1)
        # Rounding keeps the order of prices, so that wide bars stay made of the narrow ones.
        scaled = [np.maximum(np.rint(column * prices.reshape(shape)), 1).astype(np.int64) for column in ticks]
        return Ticks(*scaled)._replace(volume=ticks.volume * volumes.reshape(shape))

    def _index(self, ex_date: object) -> int:
        return int(np.searchsorted(self._calendar.days, day_number(ex_date)))

    def _is_past(self, index: int, now: float) -> bool:
        return index < len(self._calendar.days) and bool(self._calendar.midnights[index] <= now)
