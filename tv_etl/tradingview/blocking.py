"""The client without `await`: for scripts, and for notebooks, whose own event loop is already running."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.ohlcv import OHLCV

if TYPE_CHECKING:
    from tv_etl.tradingview.history import HistoryResult
    from tv_etl.tradingview.symbol_search import FoundSymbol

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[OHLCV, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingOHLCV, P], T]":
    """The method of the same name that waits for its result."""

    @wraps(method)
    def call(self: "BlockingOHLCV", /, *args: P.args, **options: P.kwargs) -> T:
        return self._loop.run(method(self._client, *args, **options))

    return call


def _generator(
    method: Callable[Concatenate[OHLCV, P], AsyncGenerator[T, None]],
) -> "Callable[Concatenate[BlockingOHLCV, P], Generator[T, None, None]]":
    """The method of the same name as a plain generator."""

    @wraps(method)
    def call(self: "BlockingOHLCV", /, *args: P.args, **options: P.kwargs) -> Generator[T, None, None]:
        return self._loop.iterate(method(self._client, *args, **options))

    return call


class BlockingOHLCV:
    """`OHLCV` with the same methods and arguments, as a context manager whose calls wait for their result.

    Streams are generators: leaving one early, closing it or leaving the context closes its session on the server.
    """

    def __init__(self, ws_url: str | None = None, **options: Any) -> None:
        self._client = OHLCV(ws_url, **options)
        self._loop = LoopThread()

    def __enter__(self) -> "BlockingOHLCV":
        self._loop.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._loop.close_iterations()
            self._loop.run(self._client.__aexit__(exc_type, exc, traceback), is_closing=True)
        finally:
            self._loop.__exit__(exc_type, exc, traceback)

    connect = _blocking(OHLCV.connect)
    get_historical_ohlcv = _blocking(OHLCV.get_historical_ohlcv)
    fetch_each = _blocking(OHLCV.fetch_each)
    get_quotes = _blocking(OHLCV.get_quotes)
    get_quotes_in_time = _blocking(OHLCV.get_quotes_in_time)
    symbol_info = _blocking(OHLCV.symbol_info)
    validate_symbols = _blocking(OHLCV.validate_symbols)
    get_ohlcv = _generator(OHLCV.get_ohlcv)
    get_ohlcv_raw = _generator(OHLCV.get_ohlcv_raw)
    get_quote_data = _generator(OHLCV.get_quote_data)
    get_latest_trade_info = _generator(OHLCV.get_latest_trade_info)
    stream_closed_bars = _generator(OHLCV.stream_closed_bars)

    def server_now(self) -> float:
        """The server's time in UTC seconds; this machine's before the first connection."""
        return self._client.server_now()


def fetch_history(requests: Iterable[HistoryRequest], **options: Any) -> "Generator[HistoryResult, None, None]":
    """`history.fetch_history` as a plain generator; the next series are fetched while one is being used."""
    from tv_etl.tradingview import history

    with LoopThread() as loop:
        yield from loop.iterate(history.fetch_history(requests, **options))


def search_symbols(text: str, **options: Any) -> "list[FoundSymbol]":
    """`symbol_search.search_symbols` that waits for its result."""
    from tv_etl.tradingview import symbol_search

    with LoopThread() as loop:
        return loop.run(symbol_search.search_symbols(text, **options))
