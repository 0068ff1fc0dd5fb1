"""Names of files are read as whoever wrote them meant them, and no exchange is guessed."""

import pytest

from tv_etl.imports.names import Named, SymbolIndex, named_after, symbol_of
from tv_etl.tradingview.intervals import Interval


@pytest.mark.parametrize(
    ("stem", "symbol", "interval"),
    [
        ("NASDAQ_AAPL, 1D", "NASDAQ:AAPL", "1d"),
        ("BINANCE_BTCUSDT, 60_a1b2c", "BINANCE:BTCUSDT", "1h"),
        ("BINANCE_BTCUSDT.P, 1M (2)", "BINANCE:BTCUSDT.P", "1mo"),
        ("CME_MINI_ES1!, 5", "CME_MINI:ES1!", "5m"),
        ("FX_IDC_EURUSD, 1W", "FX_IDC:EURUSD", "1w"),
        ("NYSE_BRK.B, 1S", "NYSE:BRK.B", "1s"),
        ("NASDAQ%3AAAPL.1d", "NASDAQ:AAPL", "1d"),
        ("NSE%3AM%26M.1mo", "NSE:M&M", "1mo"),
        ("ohlcv_NASDAQ:AAPL_20260102-093000", "NASDAQ:AAPL", None),
        ("NASDAQ:AAPL", "NASDAQ:AAPL", None),
    ],
)
def test_names_of_files_tell_symbol_and_interval(stem: str, symbol: str, interval: str | None) -> None:
    named = named_after(stem)
    assert symbol_of(named, None) == symbol
    assert named.interval == (None if interval is None else Interval.parse(interval))


@pytest.mark.parametrize(
    ("stem", "exchange", "symbol", "interval"),
    [
        ("BTC_USDT-1h", "BINANCE", "BINANCE:BTCUSDT", "1h"),
        ("BTC_USDT-1Mo", "BINANCE", "BINANCE:BTCUSDT", "1mo"),
        ("BTC_USDT-1M", "BINANCE", "BINANCE:BTCUSDT", "1mo"),
        ("AAPL", "NASDAQ", "NASDAQ:AAPL", None),
        ("AAPL, 1D", "NASDAQ", "NASDAQ:AAPL", "1d"),
    ],
)
def test_an_exchange_that_is_said_goes_before_a_name(
    stem: str, exchange: str, symbol: str, interval: str | None
) -> None:
    named = named_after(stem)
    assert symbol_of(named, exchange) == symbol
    assert named.interval == (None if interval is None else Interval.parse(interval))
    assert symbol_of(named, None) is None, "and none is guessed"


@pytest.mark.parametrize("stem", ["NSE_M_M, 1D", "AAPL, 1D", "my bars", "BTC_USDT_USDT-1h-futures", "AAPL_daily"])
def test_a_name_that_may_be_another_symbol_is_none(stem: str) -> None:
    assert symbol_of(named_after(stem), None) is None


def test_the_exchange_in_the_name_of_a_chart_is_its_own() -> None:
    assert symbol_of(named_after("NYSE_IBM, 1D"), "NASDAQ") == "NYSE:IBM"


def test_what_is_not_an_interval_is_none() -> None:
    assert named_after("NASDAQ_AAPL, 12345") == Named("NASDAQ_AAPL", None, is_chart=True)


def test_perpetuals_of_freqtrade_are_named_by_hand() -> None:
    assert symbol_of(named_after("BTC_USDT_USDT-1h-futures"), "BINANCE") is None


LISTED = [
    "NASDAQ:AAPL",
    "NYSE:BRK.B",
    "BINANCE:BTCUSDT",
    "COINBASE:BTCUSDT",
    "BINANCE:ETHUSDT",
    "EX_CH:TICK",
    "NYSE:ABC",
]


@pytest.mark.parametrize(
    ("stem", "meant"),
    [
        ("AAPL", ["NASDAQ:AAPL"]),
        ("aapl", ["NASDAQ:AAPL"]),
        ("NASDAQ%3AAAPL.1d", ["NASDAQ:AAPL"]),
        ("NASDAQ_AAPL, 1D", ["NASDAQ:AAPL"]),
        ("BRK-B", ["NYSE:BRK.B"]),
        ("ETH_USDT-1h", ["BINANCE:ETHUSDT"]),
        ("BTC_USDT-1h", ["BINANCE:BTCUSDT", "COINBASE:BTCUSDT"]),
        ("EX_CH_TICK, 5", ["EX_CH:TICK"]),
        ("NASDAQ_ABC, 1D", []),
        ("AAPL_daily", []),
        ("MSFT", []),
    ],
)
def test_a_list_says_which_symbols_a_name_may_mean(stem: str, meant: list[str]) -> None:
    assert list(SymbolIndex([*LISTED, "NASDAQ:AAPL"]).meant_by(named_after(stem))) == meant
