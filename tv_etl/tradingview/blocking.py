"""The client without `await`: for scripts, and for notebooks, whose own event loop is already running."""

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest, OHLCVBar, QuoteSymbolData, SymbolInfo
from tv_etl.tradingview.ohlcv import OHLCV

if TYPE_CHECKING:
    from tv_etl.tradingview.history import HistoryResult


class BlockingOHLCV:
    """`OHLCV` with the same methods and arguments, as a context manager whose calls wait for their result.

    Streams are generators; leave one early, or close it, and its session on the server is closed.
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
            self._loop.run(self._client.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop.__exit__(exc_type, exc, traceback)

    def get_historical_ohlcv(self, exchange_symbol: str, interval: str = "1", **options: Any) -> list[OHLCVBar]:
        return self._loop.run(self._client.get_historical_ohlcv(exchange_symbol, interval, **options))

    def get_quotes(self, exchange_symbol: Sequence[str]) -> dict[str, QuoteSymbolData | SymbolError]:
        return self._loop.run(self._client.get_quotes(exchange_symbol))

    def symbol_info(self, exchange_symbol: str) -> SymbolInfo:
        return self._loop.run(self._client.symbol_info(exchange_symbol))

    def validate_symbols(self, exchange_symbol: str | Sequence[str]) -> bool:
        return self._loop.run(self._client.validate_symbols(exchange_symbol))

    def get_ohlcv(self, exchange_symbol: str, interval: str = "1", **options: Any) -> Generator[OHLCVBar, None, None]:
        return self._loop.iterate(self._client.get_ohlcv(exchange_symbol, interval, **options))

    def get_quote_data(self, exchange_symbol: str) -> Generator[QuoteSymbolData, None, None]:
        return self._loop.iterate(self._client.get_quote_data(exchange_symbol))

    def get_latest_trade_info(self, exchange_symbol: list[str]) -> Generator[dict[str, Any], None, None]:
        return self._loop.iterate(self._client.get_latest_trade_info(exchange_symbol))


def fetch_history(requests: Iterable[HistoryRequest], **options: Any) -> "Generator[HistoryResult, None, None]":
    """`history.fetch_history` as a plain generator; the next series are fetched while one is being used."""
    from tv_etl.tradingview import history

    with LoopThread() as loop:
        yield from loop.iterate(history.fetch_history(requests, **options))
