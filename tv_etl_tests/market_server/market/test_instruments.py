from datetime import date
from pathlib import Path

from tv_etl.market_server.market.instruments import instruments
from tv_etl.market_server.market.listing import Listing

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


def test_all_that_change_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "market_server.md").read_text(encoding="utf-8")
    changing = [
        symbol
        for symbol, each in BY_SYMBOL.items()
        if each.splits or each.dividends or each.formerly or each.amendments
    ]
    assert len(changing) > 9
    assert [symbol for symbol in changing if f"| `{symbol}` |" not in page] == []
