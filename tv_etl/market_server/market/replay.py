"""Bars from files, served as they are instead of the synthetic ones.

An interval without a file is made of the finest one that has a file, if that divides it.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tv_etl.market_server.market.expressions import computed_bars, legs_of
from tv_etl.market_server.market.listings import Listing, find_listing, plain_listing
from tv_etl.market_server.market.market import Bars, BarSource, Floats, Market, days_of
from tv_etl.market_server.market.replay_files import ReplayError, read_folder
from tv_etl.market_server.market.sessions import DAY_S, Integers, calendar_of
from tv_etl.tradingview.intervals import Interval

__all__ = ["ReplayError", "ReplayMarket", "ReplayedBars"]

_MAX_DECIMALS = 10
_KEPT_WIDTHS = 16


class ReplayMarket:
    """A market whose replayed symbols have the bars of their files and no others; the rest is synthetic."""

    def __init__(self, folder: Path, market: Market) -> None:
        self._market = market
        self.name = f"replayed, seed {market.seed}"
        self._sources = {symbol: ReplayedBars(symbol, rows) for symbol, rows in read_folder(folder).items()}

    @property
    def symbols(self) -> list[str]:
        """The replayed symbols."""
        return sorted(self._sources)

    def listed_symbols(self) -> list[str]:
        """Every symbol: the synthetic ones, then those that only a file has."""
        return list(dict.fromkeys([*self._market.listed_symbols(), *self.symbols]))

    def find(
        self,
        symbol: str,
        session: str = "regular",
        *,
        adjustment: str = "splits",
        currency: str = "",
        now: float = math.inf,
    ) -> BarSource | None:
        """The bars of a symbol, None if the symbol is unknown. Replayed bars have one session and one adjustment."""
        source = self._sources.get(symbol)
        if source is not None:
            return source if currency.removeprefix("XTVC") in ("", source.listing.currency) else None
        if currency == "" and not self._sources.keys().isdisjoint(legs_of(symbol)):
            return computed_bars(symbol, lambda leg: self.find(leg, session, adjustment=adjustment, now=now))
        return self._market.find(symbol, session, adjustment=adjustment, currency=currency, now=now)

    def listing(self, symbol: str) -> Listing | None:
        """The listing of a symbol, None if it has none."""
        return self._sources[symbol].listing if symbol in self._sources else self._market.listing(symbol)

    def newest_days(self, wanted: Sequence[Listing], now: float, back: Sequence[int] = (1, 0)) -> Floats:
        """See Market; what has no daily bars shows those of its narrowest interval."""
        found = self._market.newest_days(wanted, now, back)
        for place, listing in enumerate(wanted):
            if listing.symbol in self._sources:
                found[place] = days_of(self._sources[listing.symbol], now - listing.delay_s, back)
        return found

    def source_of(self, listing: Listing, session: str = "regular") -> BarSource:
        """The synthetic bars of a listing."""
        return self._market.source_of(listing, session)


class ReplayedBars:
    """The bars of one symbol, by interval."""

    def __init__(self, symbol: str, rows: dict[Interval, Floats]) -> None:
        self._rows = rows
        self._widths: dict[Interval, tuple[Integers, Integers]] = {}
        self.has_volume = any(each.shape[1] > 5 for each in rows.values())
        known = find_listing(symbol)
        if known is None:
            prices = np.concatenate([each[:, 1:5].ravel() for each in rows.values()])
            known = plain_listing(symbol, _pricescale(prices), has_volume=self.has_volume)
        first = int(min(each[0, 0] for each in rows.values())) // DAY_S
        # What the file has is what there is: no other session, no other adjustment, and no minute left out twice.
        self.listing = replace(
            known, symbol=symbol, extended=None, outside=(), splits=(), dividends=(), formerly=None, amendments=(),
            is_thin=False,
        )  # fmt: skip
        self.calendar = calendar_of(known.schedule, min(first, known.first_day_number))

    @property
    def intervals(self) -> list[Interval]:
        """The intervals that have files, the narrowest first."""
        return sorted(self._rows, key=lambda interval: interval.seconds)

    def supports(self, interval: Interval) -> bool:
        """True for the intervals that have files, and for those that the narrowest of them divides."""
        if interval in self._rows:
            return True
        finest = self.intervals[0]
        if not interval.is_time_based or interval.seconds <= finest.seconds:
            return False
        if not finest.is_intraday:
            return finest == Interval(1, "d") and not interval.is_intraday
        return not interval.is_intraday or interval.seconds % finest.seconds == 0

    def edition(self, now: float) -> int:
        """See BarSource: replayed bars stay as they are."""
        return 0

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        times = self._bar_opens(interval)[0]
        end = int(np.searchsorted(times, now, side="right"))
        return int(times[end - count]) if end >= count else None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        times, firsts = self._bar_opens(interval)
        source = self._rows[interval if interval in self._rows else self.intervals[0]]
        known = int(np.searchsorted(source[:, 0], now, side="right"))
        end = int(np.searchsorted(firsts, known))
        if before is not None:
            end = min(end, int(np.searchsorted(times, before)))
        if start is not None:
            first = int(np.searchsorted(times, start))
        else:
            assert count is not None
            first = max(end - count, 0)
        first = min(first, end)
        if interval in self._rows:
            return Bars(source[first:end], is_start=first == 0)
        stop = min(known, int(firsts[end])) if end < len(firsts) else known
        return Bars(_merged(source, firsts[first:end], stop, times[first:end]), is_start=first == 0)

    def _bar_opens(self, interval: Interval) -> tuple[Integers, Integers]:
        """When each bar of an interval opens, and with which row of its file it begins."""
        if interval not in self._widths:
            if len(self._widths) >= _KEPT_WIDTHS:
                self._widths.clear()
            if interval in self._rows:
                opens = self._rows[interval][:, 0].astype(np.int64)
                self._widths[interval] = opens, np.arange(len(opens))
            else:
                opens = self._opens_of(self._rows[self.intervals[0]][:, 0].astype(np.int64), interval)
                firsts = np.flatnonzero(np.diff(opens, prepend=-1))
                self._widths[interval] = opens[firsts], firsts
        return self._widths[interval]

    def _opens_of(self, times: Integers, interval: Interval) -> Integers:
        """The open of the wider bar that each time belongs to."""
        calendar = self.calendar
        days = np.maximum(np.searchsorted(calendar.opens, times, side="right") - 1, 0)
        is_inside = (calendar.opens[days] <= times) & (times < calendar.closes[days])
        if not interval.is_intraday:
            # What lies outside the hours belongs to the trading day of its date.
            dates = np.maximum(np.searchsorted(calendar.midnights, times, side="right") - 1, 0)
            groups = calendar.groups(interval)
            firsts = np.searchsorted(groups, groups[np.where(is_inside, days, dates)])
            return np.asarray(calendar.opens[firsts], np.int64)
        opens = times // interval.seconds * interval.seconds
        for kind, hours in enumerate(calendar.hours):
            here = np.flatnonzero(is_inside & (calendar.kinds[days] == kind))
            midnights, offsets = calendar.midnights[days[here]], hours.bar_offsets(interval)
            opens[here] = midnights + offsets[np.searchsorted(offsets, times[here] - midnights, side="right") - 1]
        return np.maximum.accumulate(opens)


def _merged(rows: Floats, firsts: Integers, stop: int, opens: Integers) -> Floats:
    """Wider bars: each of the rows from one of `firsts` to the next, the last up to `stop`."""
    if not len(firsts):
        return rows[:0]
    part, starts = rows[firsts[0] : stop], firsts - firsts[0]
    wide: Floats = part[starts]
    wide[:, 0] = opens
    wide[:, 2] = np.maximum.reduceat(part[:, 2], starts)
    wide[:, 3] = np.minimum.reduceat(part[:, 3], starts)
    wide[:, 4] = part[np.append(starts[1:], len(part)) - 1, 4]
    wide[:, 5:] = np.add.reduceat(part[:, 5:], starts, axis=0)
    return wide


def _pricescale(prices: Floats) -> int:
    for decimals in range(_MAX_DECIMALS):
        if np.allclose(prices, np.round(prices, decimals), rtol=0, atol=10.0 ** -(decimals + 4)):
            return int(10**decimals)
    return int(10**_MAX_DECIMALS)
