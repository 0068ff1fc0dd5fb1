from datetime import date

import pytest

from tv_etl.market_server.market.listing import symbol_info
from tv_etl.market_server.market.options import option, option_symbols
from tv_etl_tests.market_server.seeded_market import bars


def test_an_option_is_what_its_symbol_says() -> None:
    listing = option("OPRA:AAPL261218C310.0")
    assert listing is not None and listing.last_day == date(2026, 12, 18)
    info = symbol_info(listing)
    assert (info["type"], info["root"], info["underlying-symbol"]) == ("option", "AAPL", "NASDAQ:AAPL")
    assert (info["strike"], info["option-type"], info["expiration"]) == (310.0, "call", 20261218)
    assert len(bars("OPRA:AAPL261218C310.0", "1", 50)) == 50


def test_the_deeper_in_the_money_the_dearer() -> None:
    calls = [listing.price for strike in (290, 300, 310, 320) if (listing := option(f"OPRA:AAPL261218C{strike}.0"))]
    puts = [listing.price for strike in (290, 300, 310, 320) if (listing := option(f"OPRA:AAPL261218P{strike}.0"))]
    assert calls == sorted(calls, reverse=True) and puts == sorted(puts)
    assert len(calls) == len(puts) == 4


def test_those_listed_exist() -> None:
    listed = list(option_symbols())
    assert len(set(listed)) == len(listed) > 50
    assert all(option(symbol) is not None for symbol in listed)


@pytest.mark.parametrize(
    "symbol", ["OPRA:AAPL261318C310.0", "OPRA:AAPL261218C310", "OPRA:AAPL261218X310.0", "OPRA:", ""]
)
def test_what_is_no_option_is_unknown(symbol: str) -> None:
    assert option(symbol) is None
