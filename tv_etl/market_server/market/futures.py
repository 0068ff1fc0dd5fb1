"""Futures of the synthetic market: a table of facts, and the contracts that follow from it by rule.

`CME_MINI:ES1!` is the continuous future, `CME_MINI:ESZ2026` its contract of December 2026. The contract that is next to
end in late 2026 has the prices of the continuous one; those after it cost more, the later the more.
"""

from collections.abc import Iterator
from datetime import date
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from tv_etl.market_server.market import holidays, venues
from tv_etl.market_server.market.listing import Listing, Source
from tv_etl.market_server.market.sessions import Schedule

MONTHS = "FGHJKMNQUVXZ"  # January to December, as contracts are named
LISTED_FROM, LISTED_UNTIL = date(2026, 11, 20), 2027  # of the contracts that a screener finds

_FIRST_YEAR, _LAST_YEAR = 2005, 2030
_CARRY = 0.03  # a year
_TRADED_YEARS = 2
_QUARTERS, _ALL = "HMUZ", MONTHS
_CME = ("https://www.cmegroup.com", "US", "cme")
_ICE = ("https://www.ice.com", "GB", "ice")


class LastDay(NamedTuple):
    """When a contract ends: `back` business days before a day of its delivery month, or of one `months` away.

    With a `weekday` (`Fri`) that day is the first such weekday from it on.
    """

    months: int
    day: int
    back: int
    weekday: str = ""

    def of(self, year: int, month: int) -> date:
        """The last trading day of the contract of a month."""
        first = np.datetime64(f"{year}-{month:02}") + self.months
        anchor = first.astype("datetime64[D]") + (self.day - 1)
        if self.weekday:
            anchor = np.busday_offset(anchor, 0, roll="forward", weekmask=self.weekday)
        roll: Literal["forward", "backward"] = "forward" if self.back else "backward"
        last = np.busday_offset(anchor, -self.back, roll=roll, holidays=_closed_days())
        return date.fromisoformat(str(last))


THIRD_FRIDAY = LastDay(0, 15, 0, "Fri")
THIRD_LAST_OF_MONTH = LastDay(1, 1, 3)


class Future(NamedTuple):
    """A future's facts. `price` is the level in late 2026, `daily_volume` counts contracts."""

    symbol: str
    name: str
    price: float
    pricescale: int
    minmov: int
    pointvalue: float
    daily_volume: int
    hours: Schedule
    months: str
    last_day: LastDay
    volatility: float = 0.014
    minmove2: int = 0
    is_fractional: bool = False
    currency: str = "USD"
    house: tuple[str, str, str] = _CME

    @property
    def exchange(self) -> str:
        """The prefix of its symbols."""
        return self.symbol.partition(":")[0]

    @property
    def root(self) -> str:
        """What its tickers begin with."""
        return self.symbol.partition(":")[2].removesuffix("1!")


FUTURES = MappingProxyType(
    {
        future.symbol: future
        for future in (
            Future("COMEX:GC1!", "Gold Futures", 3_400.0, 10, 1, 100, 190_000, venues.US_FUTURES, "GJMQVZ",
                   THIRD_LAST_OF_MONTH),
            Future("COMEX:SI1!", "Silver Futures", 42.0, 1_000, 5, 5_000, 80_000, venues.US_FUTURES, "HKNUZ",
                   THIRD_LAST_OF_MONTH),
            Future("NYMEX:CL1!", "Light Crude Oil Futures", 68.0, 100, 1, 1_000, 320_000, venues.US_FUTURES, _ALL,
                   LastDay(-1, 26, 4)),
            Future("ICEEUR:BRN1!", "Brent Crude Futures", 72.0, 100, 1, 1_000, 290_000, venues.BRENT, _ALL,
                   LastDay(-1, 1, 1), house=_ICE),
            Future("NYMEX:NG1!", "Henry Hub Natural Gas Futures", 4.3, 1_000, 1, 10_000, 180_000, venues.US_FUTURES,
                   _ALL, LastDay(0, 1, 3), 0.035),
            Future("COMEX:HG1!", "Copper Futures", 5.1, 10_000, 5, 25_000, 70_000, venues.US_FUTURES, "HKNUZ",
                   THIRD_LAST_OF_MONTH),
            Future("CME_MINI:ES1!", "S&P 500 E-mini Futures", 6_910.0, 100, 25, 50, 1_400_000, venues.CHICAGO,
                   _QUARTERS, THIRD_FRIDAY, 0.010),
            Future("CME_MINI:NQ1!", "Nasdaq-100 E-mini Futures", 25_560.0, 100, 25, 20, 560_000, venues.CHICAGO,
                   _QUARTERS, THIRD_FRIDAY, 0.013),
            Future("CME_MINI:RTY1!", "E-mini Russell 2000 Index Futures", 2_480.0, 10, 1, 50, 170_000, venues.CHICAGO,
                   _QUARTERS, THIRD_FRIDAY),
            Future("CBOT_MINI:YM1!", "E-mini Dow Jones ($5) Futures", 47_900.0, 1, 1, 5, 110_000, venues.CHICAGO,
                   _QUARTERS, THIRD_FRIDAY, 0.009),
            Future("CME:6E1!", "Euro FX Futures", 1.134, 100_000, 5, 125_000, 190_000, venues.CHICAGO, _QUARTERS,
                   LastDay(0, 15, 2, "Wed"), 0.0045),
            Future("CBOT:ZN1!", "10 Year T-Note Futures", 112.5, 64, 1, 1_000, 1_800_000, venues.CHICAGO, _QUARTERS,
                   LastDay(1, 1, 8), 0.0035, minmove2=2, is_fractional=True),
            Future("CBOT:ZB1!", "U.S. Treasury Bond Futures", 117.2, 32, 1, 1_000, 420_000, venues.CHICAGO, _QUARTERS,
                   LastDay(1, 1, 8), 0.006, is_fractional=True),
            Future("CBOT:ZC1!", "Corn Futures", 438.0, 8, 2, 50, 290_000, venues.CHICAGO_GRAIN, "HKNUZ",
                   LastDay(0, 15, 1), is_fractional=True, currency="USX"),
        )
    }
)  # fmt: skip


def continuous_futures() -> list[Listing]:
    """Every continuous future."""
    return [_continuous(future) for future in FUTURES.values()]


def contract_symbols() -> Iterator[str]:
    """The contracts that have not ended in late 2026, as far as they are listed."""
    for future in FUTURES.values():
        for year, code in (
            (year, code) for year in range(LISTED_FROM.year, LISTED_UNTIL + 1) for code in future.months
        ):
            if future.last_day.of(year, MONTHS.index(code) + 1) >= LISTED_FROM:
                yield f"{future.exchange}:{future.root}{code}{year}"


def contract(symbol: str) -> Listing | None:
    """The contract that a symbol such as `CME_MINI:ESZ2026` stands for, None if it stands for none."""
    exchange, _, ticker = symbol.partition(":")
    root, code, year = ticker[:-5], ticker[-5:-4], ticker[-4:]
    future = FUTURES.get(f"{exchange}:{root}1!")
    if future is None or code not in future.months or not (year.isascii() and year.isdigit()):
        return None
    return _contract(future, int(year), code) if code and _FIRST_YEAR <= int(year) <= _LAST_YEAR else None


def _contract(future: Future, year: int, code: str) -> Listing:
    month = MONTHS.index(code) + 1
    last_day = future.last_day.of(year, month)
    years_to_come = (last_day - _front_day(future)).days / 365.25
    extras = {"root": future.root, "expiration": int(last_day.strftime("%Y%m%d"))}
    return _listing(
        future,
        symbol=f"{future.exchange}:{future.root}{code}{year}",
        description=f"{future.name} ({date(year, month, 1):%b %Y})",
        typespecs=(),
        price=future.price * (1 + _CARRY * max(years_to_come, 0.0)),
        first_day=date(last_day.year - _TRADED_YEARS, last_day.month, 1),
        last_day=last_day,
        drawn_as=future.symbol,
        extras=MappingProxyType(extras),
    )


def _continuous(future: Future) -> Listing:
    extras = {"root": future.root, "is_continuous": True}
    return _listing(
        future,
        symbol=future.symbol,
        description=future.name,
        typespecs=("continuous", "synthetic"),
        price=future.price,
        extras=MappingProxyType(extras),
    )


def _listing(future: Future, **of_its_own: Any) -> Listing:
    url, country, provider = future.house
    name = "ICE Futures Europe" if future.house is _ICE else future.exchange.removesuffix("_MINI")
    return Listing(
        kind="futures",
        currency=future.currency,
        source=Source(f"{future.exchange}_DLY", name, country, url, provider),
        schedule=future.hours,
        volatility=future.volatility,
        pricescale=future.pricescale,
        minmov=future.minmov,
        minmove2=future.minmove2,
        is_fractional=future.is_fractional,
        pointvalue=float(future.pointvalue),
        daily_volume=future.daily_volume,
        yearly_growth=0.03,
        swing_octaves=10,
        **of_its_own,
    )


@cache
def _front_day(future: Future) -> date:
    """When the contract ends that is next to end in late 2026."""
    ends = (
        future.last_day.of(year, MONTHS.index(code) + 1)
        for year in range(LISTED_FROM.year, LISTED_UNTIL + 1)
        for code in future.months
    )
    return min(end for end in ends if end >= LISTED_FROM)


@cache
def _closed_days() -> list[str]:
    texts = (*holidays.us_equity_holidays(), *holidays.us_equity_days_off())
    return [f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in texts]
