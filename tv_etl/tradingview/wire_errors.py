"""The errors of the connection and of what came over it: those of the tree in `errors` that are websockets' as well.

Apart, since only they need websockets; a watchlist is read without it.
"""

from websockets.exceptions import WebSocketException

from tv_etl.tradingview.errors import TradingViewError


class ProtocolError(TradingViewError, WebSocketException):
    """The server sent something that its protocol does not allow."""


class FrameError(ProtocolError):
    """The text cannot be cut into `~m~LENGTH~m~payload` packets."""


class ConnectionFailedError(TradingViewError, WebSocketException):
    """The connection could not be opened, or was lost.

    `retry_after_s` is how long the server asks to be left alone (HTTP 429), None if it does not say.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
