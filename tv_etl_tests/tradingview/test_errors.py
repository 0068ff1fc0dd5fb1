"""The error tree is the documented one."""

import pytest
from websockets.exceptions import WebSocketException

from tv_etl.tradingview import errors, wire_errors

pytestmark = pytest.mark.pure

TREE = {
    "ProtocolError": ("TradingViewError", None, False),
    "FrameError": ("ProtocolError", None, False),
    "DamagedAnswerError": ("ProtocolError", WebSocketException, False),
    "SymbolError": ("TradingViewError", ValueError, False),
    "IntervalError": ("TradingViewError", ValueError, False),
    "SeriesError": ("TradingViewError", ValueError, False),
    "EntitlementError": ("SeriesError", ValueError, False),
    "PaceError": ("TradingViewError", RuntimeError, True),
    "AuthError": ("TradingViewError", None, False),
    "ConnectionFailedError": ("TradingViewError", WebSocketException, True),
    "NoBarsError": ("TradingViewError", RuntimeError, True),
    "StaleStreamError": ("NoBarsError", RuntimeError, True),
    "UnvouchedAnswerError": ("TradingViewError", ValueError, False),
    "HttpError": ("TradingViewError", None, False),
    "ScannerError": ("HttpError", None, False),
    "SearchError": ("HttpError", None, False),
    "ExportError": ("TradingViewError", None, False),
    "MissingExtraError": ("TradingViewError", ImportError, False),
}


@pytest.mark.parametrize("name", TREE)
def test_each_error_has_its_place(name: str) -> None:
    parent, builtin, retryable = TREE[name]
    error = getattr(errors, name)
    assert issubclass(error, getattr(errors, parent))
    assert builtin is None or issubclass(error, builtin)
    assert error.retryable is retryable
    assert name in (errors.__doc__ or "")


def test_no_error_stands_outside_the_tree() -> None:
    defined = {
        name
        for module in (errors, wire_errors)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    assert defined == {*TREE, "TradingViewError"}
