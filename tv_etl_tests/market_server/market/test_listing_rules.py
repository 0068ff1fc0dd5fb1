import sys

import pytest

from tv_etl.market_server.market.futures import FUTURES
from tv_etl.market_server.market.listing_rules import rule_listing, rule_symbols
from tv_etl.market_server.market.listings import find_listing, listings
from tv_etl.market_server.market.market import Market
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import check_symbol
from tv_etl_tests.market_server.talk import FRIDAY_NOON

SYMBOLS = list(rule_symbols())


def test_there_are_thousands_on_several_exchanges() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) > 5_000
    assert {symbol.partition(":")[0] for symbol in SYMBOLS} == {
        "NASDAQ", "NYSE", "TSE", "KUCOIN", "OPRA", *(symbol.partition(":")[0] for symbol in FUTURES),
    }  # fmt: skip
    assert not set(SYMBOLS) & set(listings())


def test_every_symbol_stands_for_an_instrument_of_its_name() -> None:
    for symbol in SYMBOLS:
        listing = rule_listing(check_symbol(symbol))
        assert listing is not None and listing.symbol == symbol


def test_the_same_symbol_is_always_the_same_instrument() -> None:
    assert find_listing("NYSE:JAAA") == rule_listing("NYSE:JAAA")
    prices = {listing.price for symbol in SYMBOLS[:200] if (listing := rule_listing(symbol)) is not None}
    assert len(prices) > 190


@pytest.mark.parametrize(
    "symbol",
    ["NASDAQ:QZZZZ", "NASDAQ:QJJJ", "NASDAQ:ZAAA", "NASDAQ:Q", "NYSE:QAAA", "TSE:9999", "TSE:\uff13\uff10\uff10\uff10",
     "TSE:30000", "KUCOIN:XAAAUSD", "KUCOIN:AAA", "MOON:JAAA", "", "CME_MINI:ESF2027", "CME_MINI:ESZ", "CME_MINI:ESZ26",
     "CME_MINI:2026", "CME_MINI:ESZ1999", "OPRA:AAPL261318C310.0", "OPRA:AAPL261218C310", "OPRA:AAPL261218X310.0",
     "OPRA:ZZZZ261218C310.0"],
)  # fmt: skip
def test_what_no_rule_lists_is_unknown(symbol: str) -> None:
    assert rule_listing(symbol) is None


def test_the_rules_list_no_more_than_they_say() -> None:
    letters = "ABCDEFGHIKLMNOPRSTUVWXYZ"
    found = [f"NASDAQ:Q{a}{b}{c}" for a in letters for b in letters for c in letters]
    assert sum(rule_listing(symbol) is not None for symbol in found) == 3_000


def test_many_symbols_take_no_more_room_than_a_few() -> None:
    market, day = Market(7, kept=256), Interval.parse("1D")
    for symbol in SYMBOLS[:300]:
        source = market.find(symbol)
        assert source is not None and len(source.bars(day, FRIDAY_NOON, count=2)) == 2
    assert len(market._sources) <= 256
    assert sys.getsizeof(market._sources) < 100_000
