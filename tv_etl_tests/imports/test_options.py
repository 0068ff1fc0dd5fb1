"""What is said of files is read as a person types it, and checked before any file is."""

from typing import Any

import pytest

from tv_etl.imports.options import ImportOptions, parse_hours
from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError


def test_options_are_read_as_they_are_typed() -> None:
    symbols = ["AAPL=NASDAQ:AAPL", "EURUSD=X=FX:EURUSD"]
    options = ImportOptions.of_texts(symbols, "60", ["close=Adj=Close"], "0930-1600@America/New_York", timezone="UTC")
    assert options.symbols == {"AAPL": "NASDAQ:AAPL", "EURUSD=X": "FX:EURUSD"}
    assert (options.symbol, options.interval, options.columns) == (None, Interval.parse("1h"), {"close": "Adj=Close"})
    assert options.hours == TradingHours("0930-1600", "America/New_York")
    assert options.zone is not None and options.zone.key == "UTC"
    assert ImportOptions.of_texts(["NASDAQ:AAPL"]).symbol == "NASDAQ:AAPL"
    assert ImportOptions().zone is None


def test_hours_are_in_utc_unless_a_zone_is_named() -> None:
    assert parse_hours("24x7") == TradingHours("24x7", "Etc/UTC")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"symbols": ["AAPL"]}, "expected EXCHANGE:TICKER"),
        ({"symbols": ["AAPL=AAPL"]}, "expected EXCHANGE:TICKER"),
        ({"symbols": ["NASDAQ:A", "NASDAQ:B"]}, "one symbol is that of all files; else give NAME=SYMBOL for each"),
        ({"symbols": ["NASDAQ:A", "B=NASDAQ:B"]}, "one symbol for all files, or symbols by name, not both"),
        ({"interval": "1x"}, "expected e.g. 1m 5m"),
        ({"columns": ["close"]}, "expected FIELD=COLUMN, e.g. close=last"),
        ({"columns": ["last=close"]}, "expected time, open, high, low, close, volume, symbol, interval"),
        ({"hours": "9-16"}, "trading hours"),
        ({"hours": "24x7@Mars"}, "Mars"),
        ({"exchange": "nasdaq"}, "the exchange in capitals"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not known: expected UTC or e.g. America/New_York"),
        ({"adjustment": "none"}, "adjust them for splits first, and give splits"),
        ({"adjustment": "raw"}, "expected 'splits' or 'dividends'"),
        ({"session": "night"}, "expected 'regular' or 'extended'"),
        ({"decimal": "'"}, "expected '.' or ','"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, SymbolError, IntervalError, TradingHoursError), match=message):
        ImportOptions.of_texts(**given)
