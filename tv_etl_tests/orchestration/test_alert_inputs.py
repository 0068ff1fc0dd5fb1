"""What the alert sensor sees of a market; whose clock it believes is in test_quote_alerts."""

from datetime import timedelta

from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory
from tv_etl_tests.conftest import NOW


def test_alert_inputs_hold_quotes_minutes_and_the_servers_clock(market_url: str) -> None:
    since = int((NOW - timedelta(minutes=3)).timestamp()) // 60 * 60
    inputs = TradingViewResource(ws_url=market_url).alert_inputs(
        {"BINANCE:BTCUSDT": since, "FX:EURUSD": None, "NASDAQ:NOPE": None}
    )
    assert abs(inputs.now - NOW.timestamp()) < 30
    assert isinstance(inputs.quotes["BINANCE:BTCUSDT"], QuoteSymbolData)
    assert isinstance(inputs.quotes["NASDAQ:NOPE"], SymbolError)
    minutes = inputs.minutes["BINANCE:BTCUSDT"]
    assert isinstance(minutes, SeriesHistory)
    assert [row[0] for row in minutes.rows] == [since, since + 60, since + 120, since + 180]
    assert isinstance(inputs.minutes["FX:EURUSD"], SeriesHistory)
    assert isinstance(inputs.minutes["NASDAQ:NOPE"], SymbolError)
