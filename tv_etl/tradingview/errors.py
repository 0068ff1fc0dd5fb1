"""Every error that leaves the client, in one tree.

    TradingViewError
    ├── ProtocolError (WebSocketException)           the bytes were wrong
    │   ├── FrameError                   ... in their very framing
    │   └── DamagedAnswerError           ... in rows that should be bars
    ├── SymbolError (ValueError)         bad form, or unknown to the server
    ├── IntervalError (ValueError)       bad form, or unknown to the server
    ├── SeriesError (ValueError)         the server refused the series
    │   └── EntitlementError             ... because the account's plan lacks it
    ├── PaceError (RuntimeError)         the server wants sessions to be opened more slowly; retryable
    ├── AuthError (RuntimeError)         the token or the connection's origin was rejected
    ├── ConnectionFailedError (WebSocketException)   retryable
    ├── NoBarsError (RuntimeError)       nothing came before the deadline; retryable
    │   └── StaleStreamError             ... in a live series whose own hours and rhythm say that something should
    ├── UnvouchedAnswerError (ValueError)   a table that does not say whether it is a whole answer
    ├── HttpError                        a server asked over HTTP refused, or did not answer; `retryable` or not
    │   ├── ScannerError                 ... the screener
    │   └── SearchError                  ... the symbol search
    ├── ExportError                      bars could not be written
    └── MissingExtraError (ImportError)  a library that tv_etl does not install by default

The second bases are those that the documented examples catch: `except ValueError`, `except WebSocketException` (the
connection or what came over it) and `except RuntimeError` (nothing to work with). `retryable` says whether the same
call may succeed later.

Those that are a WebSocketException are loaded on first use: websockets takes a while to import.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tv_etl.tradingview.wire_errors import ConnectionFailedError as ConnectionFailedError
    from tv_etl.tradingview.wire_errors import DamagedAnswerError as DamagedAnswerError
    from tv_etl.tradingview.wire_errors import FrameError as FrameError
    from tv_etl.tradingview.wire_errors import ProtocolError as ProtocolError

_OF_THE_WIRE = ("ConnectionFailedError", "DamagedAnswerError", "FrameError", "ProtocolError")


class TradingViewError(Exception):
    """Anything that went wrong between the caller and TradingView."""

    retryable = False


class SymbolError(TradingViewError, ValueError):
    """The symbol is malformed, or the server does not know it.

    `symbol` is the offending text, `reason` says what is wrong with it.
    """

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"symbol {symbol!r}: {reason}")
        self.symbol = symbol
        self.reason = reason


class IntervalError(TradingViewError, ValueError):
    """The interval is malformed, or the server does not know it.

    `interval` is the offending text, `reason` says what is wrong with it.
    """

    def __init__(self, interval: str, reason: str) -> None:
        super().__init__(f"interval {interval!r}: {reason}")
        self.interval = interval
        self.reason = reason


class SeriesError(TradingViewError, ValueError):
    """The server refused the series; `reason` holds its words verbatim."""

    def __init__(self, symbol: str, interval: str, reason: str, *, retryable: bool = False) -> None:
        super().__init__(f"{symbol} {interval}: the server refused: {reason}")
        self.symbol = symbol
        self.interval = interval
        self.reason = reason
        self.retryable = retryable


class EntitlementError(SeriesError):
    """The account's plan does not include this symbol or interval."""


class PaceError(TradingViewError, RuntimeError):
    """The server wants sessions to be opened more slowly, and so for longer than is worth waiting for.

    It says nothing of the series: the same call may succeed later. `reason` holds the server's words verbatim.
    """

    retryable = True

    def __init__(self, symbol: str, interval: str, reason: str) -> None:
        super().__init__(f"{symbol} {interval}: the server is busy: {reason}")
        self.symbol = symbol
        self.interval = interval
        self.reason = reason


class AuthError(TradingViewError, RuntimeError):
    """The server rejected the token, the session or the origin of the connection."""


class NoBarsError(TradingViewError, RuntimeError):
    """The server sent no bars, or did not finish its answer, before the deadline.

    `is_empty_answer` is True if it did finish, and the requested range holds no bar.
    """

    retryable = True

    def __init__(self, message: str, *, is_empty_answer: bool = False) -> None:
        super().__init__(message)
        self.is_empty_answer = is_empty_answer


class StaleStreamError(NoBarsError):
    """A live series is silent, although its market trades, and opening it again has not helped.

    Retryable: the server may have lost the series. A halt that no trading hours tell of looks the same.
    """

    def __init__(self, symbol: str, interval: str, silence_s: float) -> None:
        super().__init__(f"{symbol} {interval}: nothing came for {silence_s:.0f} s of its own trading hours")
        self.symbol = symbol
        self.interval = interval
        self.silence_s = silence_s


class UnvouchedAnswerError(TradingViewError, ValueError):
    """A table was given for an answer that does not say whether rows are missing in it; what it lacks is `fact`.

    An answer of `fetch_history` says so in its schema metadata.
    """

    def __init__(self, symbol: str, interval: str, fact: str) -> None:
        super().__init__(
            f"{symbol} {interval}: the table does not say whether it is a whole answer (no {fact!r} in its schema "
            "metadata); in a test, make it by tv_etl.testing.whole_answer"
        )
        self.symbol = symbol
        self.interval = interval
        self.fact = fact


class HttpError(TradingViewError):
    """A server that was asked over HTTP refused, did not answer in time, or answered something else.

    `status` is the HTTP status of a refusal; `retry_after_s` is how long the server asks to be left alone, None if it
    does not say.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ScannerError(HttpError):
    """The screener did not answer a scan."""


class SearchError(HttpError):
    """The symbol search did not answer."""


class ExportError(TradingViewError):
    """Bars could not be exported; the message names the file, or says what is wrong with the bars."""


class MissingExtraError(TradingViewError, ImportError):
    """A library of one of tv-etl's extras is missing; the message says how to install it."""


def __getattr__(name: str) -> type[TradingViewError]:
    if name not in _OF_THE_WIRE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tv_etl.tradingview import wire_errors

    found: type[TradingViewError] = getattr(wire_errors, name)
    globals()[name] = found
    return found
