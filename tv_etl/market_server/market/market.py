"""A synthetic market: the same seed and the same moment give the same bars, at any interval, in any order.

Pure: knows no clock, no file, no wire. What it remembers of its instruments is bounded, however many are asked for.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from tv_etl.market_server.market.bar_source import Bars, BarSource, Floats, days_of, quote_interval
from tv_etl.market_server.market.changing_bars import ChangingBars, version_at, versions_of
from tv_etl.market_server.market.expressions import computed_bars, legs_of
from tv_etl.market_server.market.figures import FigureBars
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.listings import Listing, find_listing, listings
from tv_etl.market_server.market.prices import PricePaths
from tv_etl.market_server.market.sessions import DAY_S, calendar_of
from tv_etl.market_server.market.synthetic_bars import DOLLARS, SyntheticBars, spans_of, traded_seconds

__all__ = ["BarSource", "Bars", "Floats", "Market", "days_of", "quote_interval"]

_CHUNK_LISTINGS = 1_024

# A source keeps some 50 KB of the day that is forming.
_KEPT_SOURCES = 1_024


class Market:
    """The instruments of one seed. The bars of up to `kept` of them are kept at hand."""

    def __init__(self, seed: int = 0, *, kept: int = _KEPT_SOURCES) -> None:
        self.seed, self._kept = seed, kept
        self.name = f"synthetic, seed {seed}"
        self._sources: OrderedDict[tuple[str, ...], BarSource] = OrderedDict()

    def listed_symbols(self) -> list[str]:
        """Every symbol, the named ones in the listings' order first."""
        return [*listings(), *rule_symbols()]

    def find(
        self,
        symbol: str,
        session: str = "regular",
        *,
        adjustment: str = "splits",
        currency: str = "",
        now: float = math.inf,
    ) -> BarSource | None:
        """The bars of a symbol in its regular or extended session, None if there are none.

        With `adjustment` "dividends" they are adjusted for dividends too. With a `currency` prices are converted. Their
        listing is what the symbol stands for at `now`; the bars are at any moment those of what it stands for then.
        """
        listing, currency = find_listing(symbol), currency.removeprefix("XTVC")
        if listing is None:
            computed = self._computed(symbol, session, adjustment, now)
            return computed if computed is not None and currency in ("", computed.listing.currency) else None
        is_convertible = listing.figure is None and {currency, listing.currency} <= set(DOLLARS)
        if currency not in ("", listing.currency) and not is_convertible:
            return None
        return self.source_of(listing, session, adjustment=adjustment, currency=currency, now=now)

    def source_of(
        self,
        listing: Listing,
        session: str = "regular",
        *,
        adjustment: str = "splits",
        currency: str = "",
        now: float = math.inf,
    ) -> BarSource:
        """The bars of a listing, even of one that the market does not list."""
        session = session if listing.extended is not None else "regular"
        adjustment = adjustment if listing.dividends else "splits"
        currency = currency or listing.currency
        since, versions = zip(*versions_of(listing), strict=True)
        shown = version_at(since, now)
        key = (listing.symbol, session, adjustment, currency, str(shown))
        known = self._known(key)
        if known is not None:
            return known
        if listing.figure is not None:
            return self._remember(key, FigureBars(listing, self.seed))
        sources = [
            SyntheticBars(
                version, self.seed, session if version.extended else "regular", adjustment=adjustment, currency=currency
            )
            for version in versions
        ]
        is_changing = len(sources) > 1 or listing.amendments
        return self._remember(key, ChangingBars(since, sources, shown) if is_changing else sources[0])

    def listing(self, symbol: str) -> Listing | None:
        """The listing of a symbol, None if it has none."""
        return find_listing(symbol)

    def newest_days(self, wanted: Sequence[Listing], now: float, back: Sequence[int] = (1, 0)) -> Floats:
        """The daily bars that are `back` trading days older than the newest that each listing's feed shows.

        An array `(listings, back, 6)`: NaN where there is no such bar, or no volume.
        """
        found = np.full((len(wanted), len(back), 6), np.nan)
        groups: dict[tuple[int, int], list[int]] = {}
        for place, listing in enumerate(wanted):
            if _is_plain(listing, now):
                groups.setdefault((id(listing.schedule), listing.delay_s), []).append(place)
            else:
                found[place] = days_of(self.source_of(listing), now - listing.delay_s, back)
        for (_, delay_s), places in groups.items():
            group = [wanted[place] for place in places]
            for begin in range(0, len(group), _CHUNK_LISTINGS):
                chunk = slice(begin, begin + _CHUNK_LISTINGS)
                found[places[chunk]] = self._newest_days_of(group[chunk], now - delay_s, back)
        return found

    def _newest_days_of(self, group: Sequence[Listing], now: float, back: Sequence[int]) -> Floats:
        """See `newest_days`, for plain listings of one schedule: all at once."""
        calendar = calendar_of(group[0].schedule, min(listing.first_day_number for listing in group))
        last = calendar.last_opened(now)
        days = last - np.array(back)
        rows = np.full((len(group), len(days), 6), np.nan)
        known = np.flatnonzero(days >= 0)
        if not len(known):
            return rows
        paths = PricePaths(group, self.seed, calendar)
        ticks = paths.days(days[known])
        is_today = days[known] == last
        if now < calendar.closes[last] and is_today.any():
            hours = calendar.hours[calendar.kinds[last]]
            segments = [60 * (end - start) for start, end in hours.segments]
            elapsed = traded_seconds(spans_of(hours), int(now - calendar.midnights[last]) + 1)
            today = paths.bar_so_far(paths.as_one_part(np.array([last]), "regular", sum(segments)), segments, elapsed)
            for column, new in zip(ticks, today, strict=True):
                column[:, is_today] = new[:, None]
        minmovs = np.array([listing.minmov for listing in group])[:, None]
        pricescales = np.array([listing.pricescale for listing in group])[:, None]
        decimals = np.array([listing.volume_decimals for listing in group])[:, None]
        rows[:, known, 0] = calendar.opens[days[known]]
        for column_number, values in enumerate(ticks[:4], start=1):
            rows[:, known, column_number] = values * minmovs / pricescales
        rows[:, known, 5] = ticks.volume / 10.0**decimals
        rows[[listing.daily_volume is None for listing in group], :, 5] = np.nan
        oldest = calendar.days[days[known].min()]
        for place, listing in enumerate(group):
            # The first day of a listing has no day before to open from, and there is nothing before it.
            if listing.first_day_number >= oldest:
                rows[place] = days_of(self.source_of(listing), now, back)
        return rows

    def _computed(self, symbol: str, session: str, adjustment: str, now: float) -> BarSource | None:
        key = (symbol, session, adjustment, *_versions_shown(legs_of(symbol), now))
        found = self._known(key) or computed_bars(
            symbol, lambda leg: self.find(leg, session, adjustment=adjustment, now=now)
        )
        return None if found is None else self._remember(key, found)

    def _known(self, key: tuple[str, ...]) -> BarSource | None:
        if key in self._sources:
            self._sources.move_to_end(key)
        return self._sources.get(key)

    def _remember(self, key: tuple[str, ...], source: BarSource) -> BarSource:
        self._sources[key] = source
        if len(self._sources) > self._kept:
            self._sources.popitem(last=False)
        return source


def _versions_shown(symbols: Sequence[str], now: float) -> list[str]:
    """Which version of each symbol it is at a moment."""
    known = [listing for listing in map(find_listing, symbols) if listing is not None]
    return [str(version_at([since for since, _ in versions_of(listing)], now)) for listing in known]


def _is_plain(listing: Listing, now: float) -> bool:
    is_as_traded = not (listing.splits or listing.dividends or listing.formerly or listing.amendments)
    is_over = listing.last_day_number is not None and listing.last_day_number * DAY_S <= now
    return is_as_traded and not (listing.is_thin or is_over or listing.figure)
