"""How splits and dividends change the bars before them."""

import numpy as np

from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.prices import PricePaths, Ticks, day_number
from tv_etl.market_server.market.sessions import Calendar, Integers


class Adjustments:
    """The splits and dividends of a listing, and how they change earlier bars."""

    def __init__(self, listing: Listing, calendar: Calendar, adjustment: str, path: PricePaths) -> None:
        self._calendar = calendar
        self._events: list[tuple[int, float, float]] = []  # index of the ex-day, factor of prices, factor of volume
        for ex_date, ratio in listing.splits:
            self._events.append((self._index(ex_date), 1 / ratio, ratio))
        for ex_date, amount in listing.dividends if adjustment == "dividends" else ():
            index = self._index(ex_date)
            if 0 < index < len(calendar.days):
                close = path.days(np.array([index - 1])).close[0, 0] * listing.minmov / listing.pricescale
                self._events.append((index, 1 - amount / float(close), 1.0))

    def edition(self, now: float) -> int:
        """How many are in force."""
        return sum(self._is_past(index, now) for index, _, _ in self._events)

    def adjust(self, ticks: Ticks, days: Integers, now: float) -> Ticks:
        """Bars of trading days (indices; the first axis), adjusted as of a moment."""
        prices, volumes = np.ones(len(days)), np.ones(len(days))
        for index, price_factor, volume_factor in self._events:
            if self._is_past(index, now):
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
