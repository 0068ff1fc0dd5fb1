"""Requests are checked before anything is sent; the models read the wire's values."""

from datetime import datetime, timezone
from typing import Any

import pytest

from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.models import (
    HistoryRequest,
    OHLCVBar,
    QuoteSymbolData,
    SymbolInfo,
    convert_timestamp_to_iso,
    feed_delay_s,
)

pytestmark = pytest.mark.pure

NOON = datetime(2026, 11, 18, 12, tzinfo=timezone.utc)


def test_a_bar_without_volume_has_none() -> None:
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5]).volume is None
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5, 1e100]).volume is None
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5, 0.25]).volume == 0.25


@pytest.mark.parametrize(
    ("request_fields", "error", "words"),
    [
        ({"symbol": "AAPL"}, SymbolError, "'AAPL'"),
        ({"interval": "xx"}, IntervalError, "'xx'"),
        ({"start": datetime(2026, 1, 1)}, ValueError, "time zone"),
        ({"start": NOON, "end": NOON}, ValueError, "not before"),
        ({"bars_count": 0}, ValueError, "less than 1"),
        ({"bars_count": 5, "start": NOON}, ValueError, "not both"),
    ],
)
def test_a_bad_request_is_refused_by_name(request_fields: dict[str, Any], error: type[ValueError], words: str) -> None:
    with pytest.raises(error, match=words):
        HistoryRequest(**{"symbol": "NASDAQ:AAPL", "interval": "1m", **request_fields})


def test_a_quote_field_never_seen_is_none() -> None:
    quote = QuoteSymbolData.from_fields("SP:SPX", {"lp": 5000, "volume": 1e100, "ch": None})
    assert (quote.current_price, quote.volume, quote.change, quote.change_percent) == (5000.0, None, None, None)


def test_a_symbol_info_stands_without_any_key() -> None:
    info = SymbolInfo({})
    assert (info.session, info.time_zone, info.has_volume, info.tick) == ("24x7", "Etc/UTC", True, None)


@pytest.mark.parametrize(
    ("update_mode", "delay_s"),
    [
        ("streaming", 0.0),
        ("delayed_streaming_900", 900.0),
        ("delayed_1200", 1_200.0),
        ("endofday", None),
        ("delayed_streaming", None),
        ("", None),
    ],
)
def test_a_feed_says_how_late_it_is_or_nothing(update_mode: str, delay_s: float | None) -> None:
    assert feed_delay_s(update_mode) == delay_s


def test_timestamps_read_as_iso() -> None:
    assert convert_timestamp_to_iso(1_787_232_600) == "2026-08-20T13:30:00+00:00"
