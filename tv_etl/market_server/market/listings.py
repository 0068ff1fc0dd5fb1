"""Which instrument a symbol stands for: a named one or one by rule."""

from collections.abc import Mapping
from datetime import date
from functools import cache
from types import MappingProxyType

from tv_etl.market_server.market import venues
from tv_etl.market_server.market.instruments import instruments
from tv_etl.market_server.market.listing import Listing, Source, denied_name, symbol_info, update_mode
from tv_etl.market_server.market.listing_rules import rule_listing

__all__ = [
    "Listing", "Source", "denied_name", "find_listing", "listings", "plain_listing", "symbol_info", "update_mode",
]  # fmt: skip


@cache
def listings() -> Mapping[str, Listing]:
    """Every named instrument by its symbol."""
    return MappingProxyType({listing.symbol: listing for listing in instruments()})


@cache
def _renamed() -> Mapping[str, Listing]:
    """Every named instrument by each symbol that it had before."""
    return MappingProxyType({symbol: listing for listing in listings().values() for symbol in listing.former})


def find_listing(symbol: str) -> Listing | None:
    """The named instrument of a symbol that it has or had, or the one by rule; None if the symbol is unknown."""
    return listings().get(symbol) or _renamed().get(symbol) or rule_listing(symbol)


def plain_listing(symbol: str, pricescale: int = 100, *, has_volume: bool = True) -> Listing:
    """An instrument nobody described: traded round the clock, in UTC."""
    exchange, _, ticker = symbol.partition(":")
    return Listing(
        symbol, ticker, "spot", ("crypto",), "USD", Source(exchange, exchange, provider=exchange.lower()),
        venues.CRYPTO, 100.0, 0.02, pricescale=pricescale, daily_volume=10**9 if has_volume else None,
        volume_decimals=2, first_day=date(2020, 1, 1),
    )  # fmt: skip
