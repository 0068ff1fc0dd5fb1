"""What all connections of a server share: the market, its clock, the account's plan, the texts of closed bars."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tv_etl.market_server.accounts.accounts import Accounts
from tv_etl.market_server.accounts.plans import ANONYMOUS, Plan
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import Listing, plain_listing
from tv_etl.market_server.market.market import BarSource, Floats
from tv_etl.market_server.market.timescale import BarsTexts
from tv_etl.market_server.sessions.faults import FAULTS


class AnyMarket(Protocol):
    """A synthetic or a replayed market; by its name a lake tells it from any other."""

    name: str

    def listed_symbols(self) -> list[str]:
        """Every symbol that a screener finds; no faults."""

    def find(
        self,
        symbol: str,
        session: str = "regular",
        *,
        adjustment: str = "splits",
        currency: str = "",
        now: float = math.inf,
    ) -> BarSource | None:
        """The bars of a symbol, None if the symbol is unknown or cannot be had in the currency.

        Their listing is what the symbol stands for at `now`.
        """

    def listing(self, symbol: str) -> Listing | None:
        """The listing of a symbol, None if it has none."""

    def newest_days(self, wanted: Sequence[Listing], now: float, back: Sequence[int] = (1, 0)) -> Floats:
        """The daily bars `back` trading days older than the newest: `(listings, back, 6)`, NaN where there is none."""

    def source_of(self, listing: Listing, session: str = "regular") -> BarSource:
        """The bars of a listing, even of one that the market does not list."""


@dataclass
class World:
    """The server's side of every conversation; `wall` reads the clock that delays are measured by.

    `plan` is that of a connection without an account. `session_rate` is how many chart sessions per second a connection
    may create, None for any number.
    """

    market: AnyMarket
    clock: MarketClock
    wall: Callable[[], float]
    plan: Plan = ANONYMOUS
    latency_s: float = 0.0
    jitter_s: float = 0.0
    session_rate: float | None = None
    accounts: Accounts = field(default_factory=Accounts)
    node_name: str = "tvetl-charts-free-1-series-1"
    texts: BarsTexts = field(default_factory=BarsTexts)

    def find(
        self, symbol: str, session: str = "regular", *, adjustment: str = "splits", currency: str = ""
    ) -> BarSource | None:
        """The bars of a symbol; a fault's are those of a plain instrument."""
        if symbol in FAULTS:
            return self.market.source_of(plain_listing(symbol))
        now = self.clock.now()
        return self.market.find(symbol, session, adjustment=adjustment, currency=currency, now=now)

    def time_ms(self) -> int:
        """The market's time in milliseconds."""
        return int(self.clock.now() * 1000)
