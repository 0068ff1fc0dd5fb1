"""The client for TradingView's chart WebSocket, usable without Dagster and (except `fetch_history`) without pyarrow.

The documented names can be imported from here; each is loaded with its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tv_etl.tradingview.blocking import BlockingOHLCV as BlockingOHLCV
    from tv_etl.tradingview.export import DataExporter as DataExporter
    from tv_etl.tradingview.history import fetch_history as fetch_history
    from tv_etl.tradingview.messages import OHLCVResponse as OHLCVResponse
    from tv_etl.tradingview.messages import QuoteCompletedMessage as QuoteCompletedMessage
    from tv_etl.tradingview.messages import TimescaleUpdateResponse as TimescaleUpdateResponse
    from tv_etl.tradingview.messages import WebSocketMessage as WebSocketMessage
    from tv_etl.tradingview.models import HistoryRequest as HistoryRequest
    from tv_etl.tradingview.models import OHLCVBar as OHLCVBar
    from tv_etl.tradingview.models import QuoteSymbolData as QuoteSymbolData
    from tv_etl.tradingview.models import convert_timestamp_to_iso as convert_timestamp_to_iso
    from tv_etl.tradingview.ohlcv import OHLCV as OHLCV
    from tv_etl.tradingview.ohlcv import signal_handler as signal_handler
    from tv_etl.tradingview.ohlcv import validate_symbols as validate_symbols
    from tv_etl.tradingview.scanner import ScannerService as ScannerService
    from tv_etl.tradingview.series import Series as Series
    from tv_etl.tradingview.services import ConnectionService as ConnectionService
    from tv_etl.tradingview.services import MessageService as MessageService
    from tv_etl.tradingview.symbol_search import FoundSymbol as FoundSymbol
    from tv_etl.tradingview.symbol_search import search_symbols as search_symbols

_MODULES = {
    "blocking": ["BlockingOHLCV"],
    "export": ["DataExporter"],
    "history": ["fetch_history"],
    "messages": ["OHLCVResponse", "QuoteCompletedMessage", "TimescaleUpdateResponse", "WebSocketMessage"],
    "models": ["HistoryRequest", "OHLCVBar", "QuoteSymbolData", "convert_timestamp_to_iso"],
    "ohlcv": ["OHLCV", "signal_handler", "validate_symbols"],
    "scanner": ["ScannerService"],
    "series": ["Series"],
    "services": ["ConnectionService", "MessageService"],
    "symbol_search": ["FoundSymbol", "search_symbols"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
