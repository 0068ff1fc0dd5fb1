"""A series is a value: equal series are equal, and a list of them has one order."""

import pytest

from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series


def test_equal_series_are_equal_however_they_are_spelled() -> None:
    assert Series.of("NASDAQ:AAPL", "60") == Series("NASDAQ:AAPL", Interval.parse("1h"))
    assert len({Series.of("NASDAQ:AAPL", text) for text in ("1D", "1d", "D")}) == 1
    assert str(Series.of("NASDAQ:AAPL", "1")) == "NASDAQ:AAPL 1m"
    symbol, interval = Series.of("X", "1w")
    assert (symbol, interval.wire) == ("X", "1W")


def test_series_are_ordered_by_symbol_and_width() -> None:
    tokens = ["1s", "1m", "1h", "1d", "1w", "1mo", "100t"]
    series = [Series.of(symbol, token) for symbol in ("X:A", "X:B") for token in tokens]
    assert sorted(reversed(series), key=lambda each: each.order) == series


def test_an_interval_of_no_form_is_refused() -> None:
    with pytest.raises(IntervalError, match="interval 'soon'"):
        Series.of("NASDAQ:AAPL", "soon")
