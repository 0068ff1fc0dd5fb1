"""The errors of the connection and of what came over it: those of the tree in `errors` that are websockets' as well.

Apart, since only they need websockets; a watchlist is read without it.
"""

from websockets.exceptions import WebSocketException

from tv_etl.tradingview.errors import TradingViewError


class ProtocolError(TradingViewError, WebSocketException):
    """The server sent something that its protocol does not allow."""


class FrameError(ProtocolError):
    """The text cannot be cut into `~m~LENGTH~m~payload` packets."""


class DamagedAnswerError(ProtocolError):
    """Rows of an answer were no bars, so that nobody knows what is missing in it.

    Asked again, a server most likely says the same: not retryable. `count` is the number of rows, `where` says at which
    times they lie, or beside which bars. `OHLCV.get_historical_ohlcv` goes without them if `damaged="drop"`.
    """

    def __init__(self, symbol: str, interval: str, count: int, where: str = "") -> None:
        super().__init__(f"{symbol} {interval}: {count:,} rows of the answer were not bars{where and f', {where}'}")
        self.symbol = symbol
        self.interval = interval
        self.count = count
        self.where = where


class ConnectionFailedError(TradingViewError, WebSocketException):
    """The connection could not be opened, or was lost.

    `retry_after_s` is how long the server asks to be left alone (HTTP 429), None if it does not say.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
