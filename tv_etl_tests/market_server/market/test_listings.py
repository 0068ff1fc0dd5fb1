import pytest

from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.listings import find_listing, listings, symbol_info
from tv_etl.tradingview.symbols import check_symbol


@pytest.mark.parametrize("symbol", sorted(listings()))
def test_every_listing_has_a_symbol_and_a_tick(symbol: str) -> None:
    info = symbol_info(listings()[check_symbol(symbol)])
    assert info["pro_name"] == symbol
    assert info["pricescale"] >= info["minmov"] >= 1 or symbol in ("KRX:005930", "ECONOMICS:USIJC")


def test_the_promised_instruments_exist() -> None:
    promised = """NASDAQ:AAPL NASDAQ:GOOGL NASDAQ:MSFT NYSE:JNJ NASDAQ:TSLA AMEX:SPY BINANCE:BTCUSDT BINANCE:ETHUSDT
        BITSTAMP:BTCUSD FX:EURUSD FOREX:EURUSD FX_IDC:USDCAD OANDA:XAUUSD SP:SPX TVC:NDX NASDAQ:NDX COMEX:GC1!
        NYMEX:CL1! KRX:005930 NSE:M&M"""
    assert set(promised.split()) <= set(listings())
    assert symbol_info(listings()["KRX:005930"])["local_description"] == "삼성전자"


def test_named_ones_are_found_before_those_by_rule() -> None:
    assert find_listing("TSE:7203") is listings()["TSE:7203"]
    assert find_listing("NYSE:JAAA") is not None
    assert find_listing("NYSE:NOPE") is None


def test_a_former_symbol_stands_for_the_instrument_that_had_it() -> None:
    assert find_listing("NASDAQ:OLDN") is listings()["NASDAQ:NEWN"]
    former = {symbol for listing in listings().values() for symbol in listing.former}
    assert former.isdisjoint(listings()) and former.isdisjoint(rule_symbols())
