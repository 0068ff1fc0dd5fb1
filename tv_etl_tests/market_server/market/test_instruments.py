from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tv_etl.market_server.market.instruments import instruments
from tv_etl.market_server.market.listing import Listing, symbol_info
from tv_etl_tests.market_server.seeded_market import bars

BY_SYMBOL: dict[str, Listing] = {listing.symbol: listing for listing in instruments()}


def test_no_symbol_is_used_twice() -> None:
    assert len(BY_SYMBOL) == len(instruments())


def test_symbols_hold_every_character_that_symbols_hold() -> None:
    tickers = "".join(listing.ticker for listing in instruments())
    assert set("!.&-") <= set(tickers) and any(not letter.isascii() for letter in tickers)


def test_the_special_ones_are_what_they_are_for() -> None:
    assert BY_SYMBOL["NASDAQ:SPLT"].splits == ((date(2026, 11, 16), 4.0),)
    assert date(2026, 11, 13) in dict(BY_SYMBOL["NYSE:DIVI"].dividends)
    assert BY_SYMBOL["AMEX:THIN"].is_thin
    assert BY_SYMBOL["NASDAQ:IPOX"].first_day == date(2026, 10, 26)
    assert BY_SYMBOL["NASDAQ:GONE"].last_day == date(2025, 6, 30)
    assert BY_SYMBOL["NYSE:NICK"].minmov == 5 and BY_SYMBOL["NYSE:NICK"].splits == ((date(2026, 11, 16), 2.0),)
    assert BY_SYMBOL["LSE:VOD"].delay_s == BY_SYMBOL["XETR:SAP"].delay_s == 900
    assert BY_SYMBOL["ECONOMICS:USM2"].denial == "group"


DOCUMENT = [
    "NASDAQ:AAPL", "NYSE:MSFT", "LSE:VODL", "TSE:7203", "BINANCE:BTCUSDT", "COINBASE:ETHUSD", "KRAKEN:XRPEUR",
    "BITFINEX:LTCBTC", "FOREX:EURUSD", "OANDA:GBPJPY", "FX_IDC:USDCAD", "FOREX:AUDUSD", "COMEX:GC1!", "NYMEX:CL1!",
    "COMEX:SI1!", "NYMEX:NG1!",
]  # fmt: skip
EVERYDAY = [
    "NASDAQ:NVDA", "NASDAQ:AMZN", "NASDAQ:META", "NASDAQ:TSLA", "NASDAQ:GOOG", "NASDAQ:QQQ", "AMEX:SPY", "AMEX:IWM",
    "NYSE:JPM", "NYSE:V", "COINBASE:BTCUSD", "BINANCE:SOLUSDT", "BINANCE:XRPUSDT", "BITSTAMP:ETHUSD", "FX:GBPUSD",
    "FX:USDJPY", "OANDA:EURUSD", "CBOE:VIX", "DJ:DJI", "TVC:DXY", "SP:SPX", "NASDAQ:IXIC", "CME_MINI:ES1!",
    "CME_MINI:NQ1!", "CBOT:ZN1!",
]  # fmt: skip


def test_the_symbols_of_the_document_and_of_every_watchlist_are_listed() -> None:
    assert len(DOCUMENT) == 16
    assert [symbol for symbol in (*DOCUMENT, *EVERYDAY) if symbol not in BY_SYMBOL] == []


@pytest.mark.parametrize(
    ("symbol", "facts"),
    [
        ("NASDAQ:NVDA", ("stock", "USD", 100, 1, 0, "0930-1600", "America/New_York")),
        ("LSE:VODL", ("stock", "GBX", 100, 1, 0, "0800-1630", "Europe/London")),
        ("KRAKEN:XRPEUR", ("spot", "EUR", 100_000, 1, 0, "24x7", "Etc/UTC")),
        ("BITFINEX:LTCBTC", ("spot", "BTC", 10_000_000, 1, 0, "24x7", "Etc/UTC")),
        ("OKX:PEPEUSDT", ("spot", "USDT", 10**9, 1, 0, "24x7", "Etc/UTC")),
        ("OANDA:GBPJPY", ("forex", "JPY", 1_000, 1, 10, "1700-1700", "America/New_York")),
        ("FOREX:AUDUSD", ("forex", "USD", 100_000, 1, 10, "1700-1700", "America/New_York")),
        ("NYMEX:NG1!", ("futures", "USD", 1_000, 1, 0, "1800-1700", "America/New_York")),
        ("CME_MINI:ES1!", ("futures", "USD", 100, 25, 0, "1700-1600", "America/Chicago")),
        ("CBOT:ZN1!", ("futures", "USD", 64, 1, 2, "1700-1600", "America/Chicago")),
        ("CBOE:VIX", ("index", "USD", 100, 1, 0, "0215-0826,0830-1516", "America/Chicago")),
    ],
)
def test_their_facts_are_true(symbol: str, facts: tuple[object, ...]) -> None:
    info = symbol_info(BY_SYMBOL[symbol])
    names = ("type", "currency_code", "pricescale", "minmov", "minmove2", "session", "timezone")
    assert tuple(info[name] for name in names) == facts
    assert info["fractional"] is (symbol == "CBOT:ZN1!")


def test_what_the_document_calls_otherwise_costs_the_same() -> None:
    for name, other in (("NYSE:MSFT", "NASDAQ:MSFT"), ("LSE:VODL", "LSE:VOD")):
        assert np.array_equal(bars(name, "1D", 50), bars(other, "1D", 50))


def test_all_that_change_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "market_server.md").read_text(encoding="utf-8")
    changing = [
        symbol
        for symbol, each in BY_SYMBOL.items()
        if each.splits or each.dividends or each.formerly or each.amendments
    ]
    assert len(changing) > 9
    assert [symbol for symbol in changing if f"| `{symbol}` |" not in page] == []
