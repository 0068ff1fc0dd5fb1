"""What every peer must get: the bars and quotes that our own client gets from the same market."""

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.models import OHLCVBar, QuoteSymbolData

# name: symbol, interval, how many
HISTORY = {
    "minutes": ("BINANCE:BTCUSDT", "1", 5_000),
    "five minutes without volume": ("TVC:NDX", "5", 300),
    "hours": ("NASDAQ:MSFT", "60", 400),
    "weeks": ("FX:EURUSD", "1W", 200),
    "months": ("BITSTAMP:BTCUSD", "1M", 60),
    "Korean days": ("KRX:005930", "1D", 300),
    "a futures' hours": ("COMEX:GC1!", "240", 200),
    "an ampersand": ("NSE:M&M", "15", 200),
    "a dot": ("NYSE:BRK.B", "1D", 200),
    "a perpetual swap": ("BINANCE:BTCUSDT.P", "15", 200),
    "a Thai name": ("SET:PTT", "30", 200),
    "a break at noon": ("HKEX:700", "60", 200),
    "a delayed feed": ("LSE:VOD", "5", 200),
    "missing minutes": ("AMEX:THIN", "1", 300),
    "a split": ("NASDAQ:SPLT", "1D", 300),
    "a delisted stock": ("NASDAQ:GONE", "1D", 100),
}
BEYOND_5000 = ("NASDAQ:AAPL", "1D", 6_500)
# name: symbol, interval, from, to; UTC
RANGES = {
    "days": ("NASDAQ:AAPL", "1D", datetime(2003, 1, 2), datetime(2026, 11, 20)),
    "minutes": ("BINANCE:BTCUSDT", "1", datetime(2026, 11, 18, 6), datetime(2026, 11, 19, 18)),
}
LIVE = ("BINANCE:BTCUSDT", "1", 2_000)
UNKNOWN, DENIED = "NASDAQ:NOSUCH", "ECONOMICS:USM2"
SESSION = "premium-peer"  # as a cookie: an account on the plan premium, which sees more than 5,000 minutes


def our_bars(ws_url: str, later_ws_url: str) -> dict[str, Any]:
    """JSON for the peers to compare with; a bar is [timestamp, open, high, low, close, volume or None].

    `later_ws_url` is the same market some time later: what a stream brought by then is closed history there.
    """
    with BlockingOHLCV(ws_url) as client:
        expected = {
            "history": {name: _by_count(client, *case) for name, case in HISTORY.items()},
            "beyond_5000": _by_count(client, *BEYOND_5000),
            "ranges": {name: _by_range(client, *case) for name, case in RANGES.items()},
            "unknown": UNKNOWN,
            "denied": DENIED,
            "session": SESSION,
        }
        symbols = [symbol for symbol, _, _ in (*HISTORY.values(), BEYOND_5000)]
        expected["quotes"] = {symbol: _price(quote) for symbol, quote in client.get_quotes(symbols).items()}
    with BlockingOHLCV(later_ws_url) as client:
        expected["live"] = _by_count(client, *LIVE)
    return expected


def _by_count(client: BlockingOHLCV, symbol: str, interval: str, count: int) -> dict[str, Any]:
    bars = client.get_historical_ohlcv(symbol, interval, bars_count=count)
    return {"symbol": symbol, "interval": interval, "count": count, "bars": _rows(bars)}


def _by_range(client: BlockingOHLCV, symbol: str, interval: str, start: datetime, end: datetime) -> dict[str, Any]:
    start, end = start.replace(tzinfo=timezone.utc), end.replace(tzinfo=timezone.utc)
    bars = client.get_historical_ohlcv(symbol, interval, start=start, end=end)
    span = {"start": int(start.timestamp()), "end": int(end.timestamp())}
    return {"symbol": symbol, "interval": interval, **span, "bars": _rows(bars)}


def _price(quote: QuoteSymbolData | SymbolError) -> float | None:
    if isinstance(quote, SymbolError):
        raise quote
    return quote.current_price


def _rows(bars: Iterable[OHLCVBar]) -> list[list[float | None]]:
    return [[bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars]
