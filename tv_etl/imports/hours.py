"""When the trading days of a symbol open: by what a lake knows of it, by what was declared, or by the server."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from tv_etl.imports.errors import HoursError
from tv_etl.imports.times import Seconds
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import IntervalError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError

Ask = Callable[[str], Mapping[str, str]]  # the server, for the facts of a symbol; raises TradingViewError

NO_OPEN = -(1 << 62)

_RIGHT = (
    "let a server be asked, fetch bars of the symbol into the lake first, or say --hours 0930-1600@America/New_York"
)
_MONDAY = 3  # days after 1970 began, less a week


@dataclass(frozen=True)
class KnownHours:
    """The regular hours of a symbol, and the facts that told them where these are news to the lake."""

    hours: TradingHours
    facts: Mapping[str, str]


class HoursBook:
    """The regular trading hours of symbols, each looked up once."""

    def __init__(self, store: BarStore, declared: TradingHours | None, ask: Ask | None) -> None:
        self._store = store
        self._declared = declared
        self._ask = ask
        self._known = dict[str, KnownHours]()
        self._stored: dict[str, list[Interval]] | None = None

    def of(self, symbol: str) -> KnownHours:
        """Look the hours up. Raises HoursError, which says what would be right, and as `BarStore.record` does."""
        if symbol not in self._known:
            self._known[symbol] = self._find(symbol)
        return self._known[symbol]

    def stored(self, symbol: str, session: str) -> TradingHours | None:
        """The hours of a session as the lake knows them, or those declared; nobody is asked."""
        for interval in self._intervals(symbol):
            told = self._store.facts(symbol, interval).get("trading_hours")
            if told:
                with suppress(TradingHoursError, ValueError):
                    return TradingHours.of_symbol(json.loads(told), session)
        return self._declared

    def _find(self, symbol: str) -> KnownHours:
        if self._declared is not None:
            return KnownHours(self._declared, {})
        for interval in self._intervals(symbol):
            hours = self._store.record(symbol, interval).regular_hours
            if hours is not None:
                return KnownHours(hours, {})
        if self._ask is None:
            raise HoursError(symbol, f"the lake has no trading hours of it to tell when its days open: {_RIGHT}")
        try:
            facts = self._ask(symbol)
            return KnownHours(TradingHours.of_symbol(json.loads(facts["trading_hours"])), facts)
        except (TradingViewError, OSError, TradingHoursError) as error:
            told = f"its trading hours, which tell when its days open, cannot be had: {printable(str(error))}"
            raise HoursError(symbol, f"{told}; {_RIGHT}") from error

    def _intervals(self, symbol: str) -> list[Interval]:
        if self._stored is None:
            self._stored = {}
            for series in self._store.series():
                self._stored.setdefault(series.symbol, []).append(series.interval)
        return self._stored.get(symbol, [])


def opens_of_days(hours: TradingHours, interval: Interval, dates: Seconds) -> Seconds:
    """When the bars that are named after dates (days since 1970, ascending) open; NO_OPEN where there is none.

    A bar of a week or month may be named after any day up to its first session: its Monday, or the first of the month.
    Raises IntervalError for groups whose first day is not known, as `TradingHours.expected` does.
    """
    if not len(dates):
        return np.empty(0, np.int64)
    reach = interval.seconds + 40 * 86_400
    opens = hours.expected_between(interval, int(dates[0]) * 86_400 - reach, int(dates[-1]) * 86_400 + reach)
    if not len(opens):
        return np.full(len(dates), NO_OPEN)
    labels = hours.trading_days(interval, opens)
    places = np.searchsorted(labels, dates)
    inside = places < len(labels)
    places[~inside] = 0
    found = labels[places]
    if interval.unit == "d":
        inside &= found == dates
    elif interval.unit == "w":
        inside &= (found == dates) | (_weeks(found) == _weeks(dates))
    else:
        inside &= _months(found) == _months(dates)
    return np.where(inside, opens[places], NO_OPEN)


def require_known_groups(interval: Interval) -> None:
    """Raise IntervalError for bars of several days or weeks, of which no date tells the first."""
    if interval.unit in ("d", "w") and interval.count > 1:
        raise IntervalError(interval.token, "nobody knows which day such bars begin with: their times must be moments")


def _weeks(days: Seconds) -> Seconds:
    return (days + _MONDAY) // 7


def _months(days: Seconds) -> Seconds:
    return np.asarray(days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))
