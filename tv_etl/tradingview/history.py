"""Many series at once over one connection, each as an Arrow table.

A table's columns are `timestamp` (bar open, microseconds UTC), `open high low close volume` (float64, volume null
where the instrument has none). Its schema metadata holds the facts of the series under `tv_etl.` keys: source, market
(tradingview, or the one that a market server says it has), symbol, resolved_as (the symbol that the instrument has now:
another one where it was renamed or moved to another exchange), interval, adjustment, session, backadjustment,
currency, kind (TradingView's type: stock, economic, ...), data_frequency (how often new data come, if it says so),
time_zone, trading_hours (JSON of the server's own session fields), forming_from (UTC seconds of the first bar that is
not closed, or empty), asked_from and asked_until (UTC seconds; no closed bar of that span is missing),
feed_delay_s (how late the feed is, if it says so), window_bars and window_from (how many bars the server still had, and
the open of the oldest, if it had no older ones to give); and what is true of this one answer under `fetch.` keys: reach
(complete | exhausted | limited), requests, rejected (how many rows were not bars), rejected_where (for people), ahead
(how many bars were left out because they open later than the server's clock), update_mode, server_time (UTC seconds),
seconds (how long it took, including the wait for a turn and for a connection).
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator

import numpy as np
import pyarrow as pa

from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.bar_rows import BarRows
from tv_etl.tradingview.bar_schema import table_of_bars
from tv_etl.tradingview.damage import where
from tv_etl.tradingview.errors import AuthError, ConnectionFailedError, ProtocolError, TradingViewError
from tv_etl.tradingview.models import NO_VALUE, HistoryRequest, SeriesHistory, SymbolInfo, feed_delay_s
from tv_etl.tradingview.pace import FIRST_WINDOW, WINDOW
from tv_etl.tradingview.paging import SeriesPager
from tv_etl.tradingview.services import TRADINGVIEW, Backoff, ConnectionService, Limits, MessageService
from tv_etl.tradingview.stream import Stream

# A series may need many pages; each must make progress, and the whole must end.
SERIES_LIMIT_S = 300.0

_TRADING_HOURS_KEYS = ("session", "timezone", "session_holidays", "subsessions")

HistoryResult = tuple[HistoryRequest, "pa.Table | TradingViewError"]


def fetch_history(
    requests: Iterable[HistoryRequest],
    *,
    ws_url: str | None = None,
    auth_token: str | None = None,
    account: Account | None = None,
    limits: Limits | None = None,
    proxy: str | None = None,
) -> Stream[HistoryResult]:
    """Fetch many series over one connection and yield `(request, table or error)` in the order they finish.

    Some series are in flight at a time, 8 at first; how many, and how fast they follow each other, is learned from the
    server. A series that fails yields its error; the others are not affected. After a lost connection the series that
    were in flight are requested again, at the end and one by one; if no connection opens for `limits.retry_s`, every
    remaining series yields the same error. A request is taken from the iterable only when it can be sent, and a
    finished series is handed over and not kept.
    """
    connection = ConnectionService(ws_url, auth_token=auth_token, account=account, limits=limits, proxy=proxy)
    return Stream(_results(connection, iter(requests)))


async def _results(
    connection: ConnectionService, requests: Iterator[HistoryRequest]
) -> AsyncGenerator[list[HistoryResult], None]:
    results: asyncio.Queue[HistoryResult | None] = asyncio.Queue(maxsize=FIRST_WINDOW)
    async with _Batch(connection, requests, results) as batch:
        while (result := await results.get()) is not None:
            yield [result]
        await batch.join()


class _Batch:
    """The workers of one `fetch_history` call; they share the connection, its pace and its fate."""

    def __init__(
        self,
        connection: ConnectionService,
        requests: Iterator[HistoryRequest],
        results: "asyncio.Queue[HistoryResult | None]",
    ) -> None:
        self._service = MessageService(connection)
        self._requests = requests
        self._results = results
        self._suspects: list[SeriesPager] = []
        self._opening = asyncio.Lock()
        self._gave_up: TradingViewError | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "_Batch":
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        await self._service.connection.close()

    async def join(self) -> None:
        """Wait for the workers; raise what is not one series' error, such as the caller's iterable failing."""
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(WINDOW)]
        try:
            await asyncio.gather(*workers)
            while self._suspects:
                await self._deliver(self._suspects.pop(0), is_alone=True)
        except asyncio.CancelledError:
            raise  # the consumer left: nobody waits for the end
        except Exception:
            await self._results.put(None)
            raise
        else:
            await self._results.put(None)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            async with self._service.connection.pace.place():
                request = next(self._requests, None)
                if request is None:
                    return
                await self._deliver(self._service.pager(request), is_alone=False)

    async def _deliver(self, pager: SeriesPager, *, is_alone: bool) -> None:
        """Fetch one series and hand it over, keeping nothing of it, or keep it to be tried alone."""
        result = await self._fetch(pager, is_alone=is_alone)
        if result is None:
            self._suspects.append(pager)
        else:
            await self._results.put((pager.request, result))

    async def _fetch(self, pager: SeriesPager, *, is_alone: bool) -> "pa.Table | TradingViewError | None":
        """Fetch one series; None if the connection broke while others were in flight.

        What broke it may be any of them: each goes on when it is alone, from its last whole page, so that the guilty
        one gets its own error and the innocent ones their bars.
        """
        backoff = Backoff(self._service.connection.limits.retry_s)
        started = time.monotonic()
        while True:
            try:
                await self._open()
                history = await self._service.fetch_in_place(pager, timeout_s=SERIES_LIMIT_S)
                market = self._service.connection.market
                return to_table(history, seconds=time.monotonic() - started, market=market)
            except TradingViewError as error:
                if error is self._gave_up:
                    return error
                is_connection = isinstance(error, ConnectionFailedError)
                if isinstance(error, AuthError) or (is_connection and not error.retryable):
                    self._gave_up = error  # the same would await every other series
                    return error
                if not (is_connection or isinstance(error, ProtocolError)):
                    return error
                if not is_alone:
                    return None
                delay_s = backoff.next_delay_s()
                if delay_s is None or isinstance(error, ProtocolError):
                    return error
                await asyncio.sleep(delay_s)

    async def _open(self) -> None:
        """Open the connection for all workers; what one learned about a dead server holds for the others."""
        async with self._opening:
            backoff = Backoff(self._service.connection.limits.retry_s)
            while not self._service.connection.is_open:
                if self._gave_up is not None:
                    raise self._gave_up
                try:
                    await self._service.connection.connect()
                except TradingViewError as error:
                    wish_s = error.retry_after_s if isinstance(error, ConnectionFailedError) else None
                    delay_s = backoff.next_delay_s(wish_s or 0.0) if error.retryable else None
                    if delay_s is None:
                        self._gave_up = error
                    else:
                        await asyncio.sleep(delay_s)


def to_table(history: SeriesHistory, *, seconds: float = 0.0, market: str = TRADINGVIEW) -> pa.Table:
    """Turn an answer into a table of BAR_SCHEMA; its provenance and how long it took are in the schema metadata."""
    columns = np.ascontiguousarray(BarRows.of(history.rows).values.T)
    times = (columns[0] * 1_000_000).astype(np.int64)
    # False where the wire wrote none, and where it wrote its "no value".
    has_volume = columns[5] < NO_VALUE
    table = table_of_bars(times, columns[1:], has_volume)
    return table.replace_schema_metadata(_metadata(history, seconds, market))


def _metadata(history: SeriesHistory, seconds: float, market: str) -> dict[str, str]:
    request, settings, info = history.request, history.request.settings, history.info
    facts = {
        "tv_etl.source": "tradingview",
        "tv_etl.market": market,
        "tv_etl.symbol": request.symbol,
        "tv_etl.interval": request.width.token,
        "tv_etl.adjustment": settings.adjustment,
        "tv_etl.session": settings.session,
        "tv_etl.backadjustment": str(settings.backadjustment).lower(),
        "tv_etl.forming_from": "" if history.forming_from is None else str(history.forming_from),
        "fetch.reach": history.reach,
        "fetch.requests": str(history.requests),
        "fetch.rejected": str(history.rejected),
        "fetch.rejected_where": where(history.damage),
        "fetch.ahead": str(len(history.ahead)),
        "fetch.update_mode": history.update_mode,
        "fetch.server_time": f"{history.server_time:.3f}",
        "fetch.seconds": f"{seconds:.3f}",
    }
    delay_s = feed_delay_s(history.update_mode)
    if delay_s is not None:
        facts["tv_etl.feed_delay_s"] = f"{delay_s:g}"
    if history.asked is not None:
        facts["tv_etl.asked_from"], facts["tv_etl.asked_until"] = map(str, history.asked)
    if history.window is not None:
        facts["tv_etl.window_bars"], facts["tv_etl.window_from"] = map(str, history.window)
    if settings.currency or info.currency:  # a description may leave it out
        facts["tv_etl.currency"] = settings.currency or info.currency
    if info.raw:  # else the server never described the symbol, and its hours are unknown
        facts |= {f"tv_etl.{name}": text for name, text in symbol_facts(info, request.symbol).items()}
    return facts


def symbol_facts(info: SymbolInfo, asked: str) -> dict[str, str]:
    """The facts of a series that are its symbol's, without their prefix; `asked` is the symbol that was asked for."""
    facts = {"time_zone": info.time_zone, "trading_hours": _trading_hours(info), "resolved_as": info.name_of(asked)}
    told = {"kind": info.kind, "data_frequency": info.data_frequency}
    return {**facts, **{name: text for name, text in told.items() if text}}


def _trading_hours(info: SymbolInfo) -> str:
    fields = {key: info.raw[key] for key in _TRADING_HOURS_KEYS if key in info.raw}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
