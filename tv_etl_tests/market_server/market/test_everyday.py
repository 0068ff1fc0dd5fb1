import re

from tv_etl.market_server.market import everyday
from tv_etl.tradingview.symbols import check_symbol


def test_no_symbol_is_in_two_tables() -> None:
    tables = (everyday.STOCKS, everyday.FUNDS, everyday.COINS, everyday.PAIRS)
    symbols = [check_symbol(each.symbol) for table in tables for each in table]
    assert len(set(symbols)) == len(symbols)


def test_an_isin_has_its_check_digit() -> None:
    for share in (*everyday.STOCKS, *everyday.FUNDS):
        assert re.fullmatch(r"US[0-9A-Z]{9}[0-9]", share.isin), share.symbol
        digits = "".join(str(int(letter, 36)) for letter in share.isin)
        doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
        assert sum(each // 10 + each % 10 for each in doubled) % 10 == 0, share.symbol
