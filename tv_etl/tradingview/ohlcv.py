"""The documented client: live bars, history, quotes and trades, all over one connection.

Needs neither Dagster nor pyarrow. For many series at once use `history.fetch_history`.
"""

import asyncio
import logging
import signal
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, TypeVar

from tv_etl.tradingview import protocol
from tv_etl.tradingview.accounts import Account, account_of
from tv_etl.tradingview.closed_bars import ClosedBars
from tv_etl.tradingview.damage import Damaged, DamageWarning, check_damaged, where
from tv_etl.tradingview.errors import (
    DamagedAnswerError,
    NoBarsError,
    PaceError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.live_bars import LiveBars
from tv_etl.tradingview.models import (
    ANSWER_LIMIT_S,
    NO_VALUE,
    HistoryRequest,
    OHLCVBar,
    QuoteSymbolData,
    SeriesHistory,
    StreamGap,
    SymbolInfo,
    bars_of,
)
from tv_etl.tradingview.paging import SERIES_ID, SYMBOL_ID, failure_of, is_pace_reason, open_series
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService, close_chart
from tv_etl.tradingview.stream import Stream
from tv_etl.tradingview.symbols import Adjustment, SeriesSettings, SessionKind, check_symbols, encode_spec
from tv_etl.tradingview.websocket import final_failure, host_of, loop_time

# What the documented models and a trade monitor read; without a list the server sends 80 KB per symbol.
QUOTE_FIELDS = (
    "lp", "lp_time", "ch", "chp", "volume", "bid", "ask", "bid_size", "ask_size", "open_price", "high_price",
    "low_price", "prev_close_price", "current_session", "update_mode", "description", "short_name", "pro_name",
    "original_name", "exchange", "listed_exchange", "type", "typespecs", "currency_code", "pricescale", "minmov",
    "minmove2", "fractional", "format", "timezone",
)  # fmt: skip

T = TypeVar("T")

# A bar that has closed, or what its series failed of.
ClosedBar = tuple[Series, OHLCVBar | TradingViewError]

_log = logging.getLogger(__name__)


class OHLCV:
    """A client for TradingView's chart WebSocket, as an async context manager.

    The connection is opened by the first call, shared by all calls, and closed on exit. `ws_url` defaults to the
    environment's TV_ETL_WS_URL, then to TradingView; without an `auth_token` or an `account` it is anonymous. All goes
    through `proxy`, by default that of TV_ETL_PROXY, none if it is empty. Symbols are `EXCHANGE:TICKER`; intervals
    either TradingView's ("1", "60", "1D") or ours ("1m", "1h", "1d"). A malformed one raises SymbolError or
    IntervalError (both ValueError) before anything is sent. `timeout_s` limits one whole answer, `limits` the waits
    within it. All calls share one pace, which follows the server, however many there are at once; what it goes on
    refusing raises PaceError. A stream has one consumer, whose `anext` may be cancelled, as `asyncio.wait_for` does
    after a quiet spell: the next one goes on. `on_gap` is told what a stream missed while its connection was down;
    without it a gap is logged as a warning.
    """

    def __init__(
        self,
        ws_url: str | None = None,
        *,
        auth_token: str | None = None,
        account: Account | None = None,
        timeout_s: float = ANSWER_LIMIT_S,
        limits: Limits | None = None,
        proxy: str | None = None,
        on_gap: Callable[[StreamGap], None] | None = None,
    ) -> None:
        self._on_gap = on_gap or _log_gap
        self._limits = limits
        self._proxy = proxy
        self._account = account_of(auth_token, account)
        self._timeout_s = timeout_s
        self.connection_service: ConnectionService | None = None
        self.message_service: MessageService | None = None
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self.ws_url = ConnectionService(ws_url, proxy=proxy).ws_url

    async def __aenter__(self) -> "OHLCV":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for stream in list(self._streams):
            # One that was reconnecting would go on.
            await stream.end(final_failure(f"{host_of(self.ws_url)}: the connection was closed"))
        if self.connection_service is not None:
            await self.connection_service.close()
        self.connection_service = self.message_service = None

    async def get_historical_ohlcv(
        self,
        exchange_symbol: str,
        interval: str = "1",
        bars_count: int | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        adjustment: Adjustment = "splits",
        session: SessionKind = "regular",
        currency: str | None = None,
        backadjustment: bool = False,
        damaged: Damaged = "raise",
    ) -> list[OHLCVBar]:
        """Fetch history, oldest first: the newest `bars_count` bars (default 10), or those with start <= open < end.

        The newest bar may still be forming, no other. If rows of the answer are no bars, it raises DamagedAnswerError
        (a WebSocketException); with `damaged="drop"` they are missing from the list, which may then be shorter than
        `bars_count`, and a DamageWarning says how many. So does one if bars have a low and high that do not enclose
        open and close, which are returned as served, or open later than the server's clock, which are not.

        Raises NoBarsError (a RuntimeError) if the answer is not complete within the client's time limit (30 s) or holds
        no bar, ValueError for what the server refuses, WebSocketException if the connection fails.
        """
        if bars_count is None and start is None:
            bars_count = 10
        settings = SeriesSettings(adjustment, session, currency, backadjustment)
        request = HistoryRequest(exchange_symbol, interval, start, end, bars_count, settings)
        check_damaged(damaged)
        service = await self._setup_services()
        history = await service.fetch_with_recovery(request, timeout_s=self._timeout_s)
        if history.damage and damaged == "raise":
            raise DamagedAnswerError(request.symbol, str(request.width), history.rejected, where(history.damage))
        for remark in history.remarks():
            warnings.warn(f"{request}: {remark}", DamageWarning, stacklevel=2)
        if bars_count is not None and history.reach == "limited":
            _log.warning("%s: the server gave %d of %d bars", request, len(history.rows), bars_count)
        if not history.rows:
            raise NoBarsError(f"{request}: the server has no bars in the requested range", is_empty_answer=True)
        return bars_of(history.rows)

    async def fetch_each(
        self, requests: Sequence[HistoryRequest], *, timeout_s: float | None = None
    ) -> dict[HistoryRequest, SeriesHistory | Exception]:
        """The answers to many requests over the client's own connection, some at a time and in their order.

        An answer's `damage` has the rows of it that were no bars. In place of an answer is the error of a request that
        failed, or that was not answered within `timeout_s`, which all share (default: the client's limit). Raises
        WebSocketException if there is no connection.
        """
        ends_at = loop_time() + (self._timeout_s if timeout_s is None else timeout_s)
        service = await self._setup_services()

        async def fetch(request: HistoryRequest) -> SeriesHistory | Exception:
            try:
                return await service.fetch(request, timeout_s=ends_at - loop_time())
            except Exception as error:  # whatever it is, it is this request's alone
                return error

        return dict(zip(requests, await asyncio.gather(*map(fetch, requests)), strict=True))

    def get_ohlcv(
        self,
        exchange_symbol: str,
        interval: str = "1",
        bars_count: int = 10,
        *,
        adjustment: Adjustment = "splits",
        session: SessionKind = "regular",
        currency: str | None = None,
        backadjustment: bool = False,
    ) -> Stream[OHLCVBar]:
        """Stream bars: the newest `bars_count` first, then each one again whenever it changes.

        The last bar is forming and comes again with every trade, and once more if its final values arrive late; a
        bar is new if its timestamp is later than all before. After a reconnect the stream continues where it was:
        missed bars are fetched, each once and in order, and `on_gap` is told of those that cannot be. Leaving the
        loop closes the session on the server.

        A series may be silent for five times as long as any two of its own bars were apart within its trading hours,
        and no less than five bars or a minute. Then it is opened again once; if nothing comes for as long again,
        StaleStreamError (retryable) ends the stream, heartbeats or not. A feed that does not say how late it is, or
        hours that cannot be read, are not judged. A consumer that is far behind gets a SlowConsumerWarning.
        """
        settings = SeriesSettings(adjustment, session, currency, backadjustment)
        request = HistoryRequest(exchange_symbol, interval, bars_count=bars_count, settings=settings)
        return self._stream(self._live_bars(request))

    def stream_closed_bars(
        self,
        exchange_symbol: Sequence[str],
        interval: str = "1",
        *,
        adjustment: Adjustment = "splits",
        session: SessionKind = "regular",
        currency: str | None = None,
        backadjustment: bool = False,
    ) -> Stream[ClosedBar]:
        """Stream the bars of many symbols as they close, each once with its final values: `(series, bar)`.

        It begins with the bars that form now. A bar comes seconds after it has closed: once a newer one has come, or
        the server is heard when its end is past. What closed while the connection was down follows in its place, and
        `on_gap` is told of what cannot be had any more. A series that fails yields `(series, error)` and ends, the
        others go on; one that is silent (see `get_ohlcv`) yields StaleStreamError, once, and goes on too.
        """
        settings = SeriesSettings(adjustment, session, currency, backadjustment)
        symbols = dict.fromkeys(check_symbols(exchange_symbol))
        requests = [HistoryRequest(symbol, interval, bars_count=1, settings=settings) for symbol in symbols]
        return self._stream(self._closed_bars(requests))

    async def _closed_bars(self, requests: Sequence[HistoryRequest]) -> AsyncGenerator[list[ClosedBar], None]:
        service = await self._setup_services()
        closed: asyncio.Queue[list[ClosedBar] | Exception | None] = asyncio.Queue(maxsize=1)

        async def follow(request: HistoryRequest) -> None:
            try:
                async with aclosing(self._closed_bars_of(request, service)) as batches:
                    async for batch in batches:
                        await closed.put(batch)
            except TradingViewError as error:
                await closed.put([(request.series, error)])
            except Exception as bug:
                await closed.put(bug)
            await closed.put(None)

        tasks = [asyncio.ensure_future(follow(request)) for request in requests]
        try:
            left = len(tasks)
            while left:
                batch = await closed.get()
                if batch is None:
                    left -= 1
                elif isinstance(batch, Exception):
                    raise batch
                else:
                    yield batch
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _closed_bars_of(
        self, request: HistoryRequest, service: MessageService
    ) -> AsyncGenerator[list[ClosedBar], None]:
        live, closed = LiveBars(request, self.server_now), ClosedBars()
        # There was a connection: one that is lost while the first answers are on their way is opened again.
        async with aclosing(self._rows(request, live, service, is_patient=True)) as changes:
            async for changed in changes:
                closed.add(changed, live.newest_end, live.heard_at)
                if rows := closed.take(live.complete_to):
                    yield [(request.series, OHLCVBar.from_row(row)) for row in rows]
                if live.failure is not None:
                    yield [(request.series, live.failure)]
                    live.failure = None

    async def _live_bars(self, request: HistoryRequest) -> AsyncGenerator[list[OHLCVBar], None]:
        live = LiveBars(request, self.server_now)
        async with aclosing(self._rows(request, live, await self._setup_services())) as changes:
            async for rows in changes:
                if rows:
                    yield [OHLCVBar.from_row(row) for row in rows]
                if live.failure is not None:
                    raise live.failure

    async def _rows(
        self, request: HistoryRequest, live: LiveBars, service: MessageService, *, is_patient: bool = False
    ) -> AsyncGenerator[list[list[float]], None]:
        """What `live` shows of a series after each event, which may be nothing."""
        events = service.subscribe(str(request), "cs", live.open, close_chart, follower=live, is_patient=is_patient)
        async with aclosing(events):
            async for event in events:
                error = failure_of(request, event)
                if error is not None:
                    raise error
                if isinstance(event, protocol.SeriesCompleted) and event.data_completed and not live.has_bars:
                    raise NoBarsError(f"{request}: the server has no bars", is_empty_answer=True)
                if isinstance(event, protocol.BarsReceived) and event.series == SERIES_ID and event.rejected:
                    _log.warning("%s: %d rows of a message were not bars", request, event.rejected)
                rows, gaps = live.take()
                for gap in gaps:
                    self._on_gap(gap)
                yield rows

    def get_quote_data(
        self, exchange_symbol: str, interval: str = "1", bars_count: int = 10
    ) -> Stream[QuoteSymbolData]:
        """Stream the quote of one symbol: its whole known state after every change.

        A consumer that takes longer than a second gets the newest state, and none that has passed meanwhile. Silence
        is not judged: a quote has no history that would tell how long it may be quiet. `interval` and `bars_count` are
        part of the documented signature; a quote needs neither. Raises SymbolError if the server does not know the
        symbol.
        """
        HistoryRequest(exchange_symbol, interval, bars_count=bars_count)
        return self._stream(self._quotes_of(exchange_symbol))

    async def _quotes_of(self, symbol: str) -> AsyncGenerator[list[QuoteSymbolData], None]:
        async with aclosing(self._quotes([symbol])) as quotes:
            async for event, fields in quotes:
                if event.status != "ok":
                    raise SymbolError(event.symbol, event.reason or event.status)
                yield [QuoteSymbolData.from_fields(event.symbol, fields)]

    def get_ohlcv_raw(self, exchange_symbol: str, interval: str = "1", bars_count: int = 10) -> Stream[dict[str, Any]]:
        """Stream what the server sends for one symbol, chart and quote, as decoded JSON and otherwise unchanged.

        Also what concerns the whole connection: heartbeats as `{"m": "~h~", "p": ["7"]}`, and a late hello, without
        `m`. Errors are yielded like any message and do not end the stream. `messages` has typed views of all of them.
        """
        return self._stream(self._raw(HistoryRequest(exchange_symbol, interval, bars_count=bars_count)))

    async def _raw(self, request: HistoryRequest) -> AsyncGenerator[list[dict[str, Any]], None]:
        service = await self._setup_services()
        spec = encode_spec(request.symbol, request.settings)

        def open_commands(session: str) -> list[protocol.Command]:
            chart = open_series(session, spec, request.width.wire, request.bars_count or 1)
            return [*chart, *_open_quotes(_quote_twin(session), [request.symbol])]

        def close_commands(session: str) -> list[protocol.Command]:
            return [*close_chart(session), protocol.quote_delete_session(_quote_twin(session))]

        events = service.subscribe(
            str(request),
            "cs",
            open_commands,
            close_commands,
            raw_sessions=lambda session: ("", session, _quote_twin(session)),
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, protocol.RawReceived):
                    yield [protocol.decode_payload(event.payload)]

    def get_latest_trade_info(self, exchange_symbol: list[str]) -> Stream[dict[str, Any]]:
        """Stream the quotes of many symbols over one session as messages `{"m": "qsd", "p": [session, quote]}`.

        The quote holds what the wire sent (`n` symbol, `s` status, `v` changed fields) and, where the documented
        examples read them, all values known so far (`lp`, `ch`, `chp`, `volume`, ...) except those that the server
        declares absent. The examples read the volume from `v`: formatted as a number, `v` is the volume. A refused
        symbol comes with `s` "error" or "permission_denied" and `errmsg`; the others continue. What a consumer has
        left waiting for a second is one message of each symbol, with all that has changed.
        """
        check_symbols(exchange_symbol)
        return self._stream(self._trades(exchange_symbol))

    async def _trades(self, symbols: Sequence[str]) -> AsyncGenerator[list[dict[str, Any]], None]:
        async with aclosing(self._quotes(symbols)) as quotes:
            async for event, fields in quotes:
                values = {name: value for name, value in fields.items() if value not in (None, NO_VALUE)}
                changed = _ChangedFields(event.fields, volume=values.get("volume", 0))
                quote = {**values, "n": event.symbol, "s": event.status, "v": changed}
                if event.reason:
                    quote["errmsg"] = event.reason
                yield [{"m": "qsd", "p": [event.session, quote]}]

    async def get_quotes(self, exchange_symbol: Sequence[str]) -> dict[str, QuoteSymbolData | SymbolError]:
        """The current quote of each symbol, once; a SymbolError in place of each that the server refused.

        Raises NoBarsError if the server has not completed every quote within the client's time limit (30 s).
        """
        check_symbols(exchange_symbol)
        quotes: dict[str, QuoteSymbolData | SymbolError] = {}
        try:
            await asyncio.wait_for(self._collect_quotes(exchange_symbol, quotes), self._timeout_s)
        except asyncio.TimeoutError:
            raise _no_quotes(exchange_symbol, self._timeout_s) from None
        return quotes

    async def get_quotes_in_time(
        self,
        exchange_symbol: Sequence[str],
        *,
        timeout_s: float | None = None,
        on_quote: Callable[[str, QuoteSymbolData | SymbolError], None] | None = None,
    ) -> dict[str, QuoteSymbolData | TradingViewError]:
        """The current quote of each symbol as far as it came in time, and an error in place of each that did not.

        A quote that was not completed has the fields that came. `timeout_s` is by default the client's limit.
        `on_quote` is told each symbol and its quote, or why it was refused, as soon as that is complete.
        """
        check_symbols(exchange_symbol)
        quotes: dict[str, QuoteSymbolData | SymbolError] = {}
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        error: TradingViewError | None = None
        try:
            await asyncio.wait_for(self._collect_quotes(exchange_symbol, quotes, on_quote), limit_s)
        except asyncio.TimeoutError:
            error = None
        except TradingViewError as failure:
            error = failure
        return {symbol: quotes.get(symbol) or error or _no_quotes([symbol], limit_s) for symbol in exchange_symbol}

    async def _collect_quotes(
        self,
        symbols: Sequence[str],
        quotes: dict[str, QuoteSymbolData | SymbolError],
        on_quote: Callable[[str, QuoteSymbolData | SymbolError], None] | None = None,
    ) -> None:
        """Put in what comes, until every symbol is complete."""
        known: dict[str, dict[str, Any]] = {}
        waiting = set(symbols)
        async with aclosing(await self._quote_events(symbols)) as events:
            async for event in events:
                _raise_quote_failure(symbols, event)
                if isinstance(event, protocol.QuoteReceived) and event.status != "ok":
                    quotes[event.symbol] = SymbolError(event.symbol, event.reason or event.status)
                elif isinstance(event, protocol.QuoteReceived):
                    fields = known.setdefault(event.symbol, {})
                    protocol.merge_fields(fields, event.fields)
                    quotes[event.symbol] = QuoteSymbolData.from_fields(event.symbol, fields)
                elif isinstance(event, protocol.QuoteCompleted):
                    waiting.discard(event.symbol)
                    if on_quote is not None and event.symbol in quotes:
                        on_quote(event.symbol, quotes[event.symbol])
                if not waiting:
                    return

    async def symbol_info(self, exchange_symbol: str) -> SymbolInfo:
        """What the server says about an instrument: trading hours, time zone, price scale, currency, type, delay.

        Raises SymbolError if it does not know the symbol, EntitlementError if the account may not have it.
        """
        asking = asyncio.ensure_future(self.get_quotes([exchange_symbol]))
        try:
            resolved = await self._resolve(exchange_symbol)
            quote = (await asking).get(exchange_symbol)
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        update_mode = "" if quote is None or isinstance(quote, SymbolError) else quote.symbol_info.get("update_mode")
        return SymbolInfo(resolved.raw, str(update_mode or ""))

    async def validate_symbols(self, exchange_symbol: str | Sequence[str]) -> bool:
        """True if every symbol has the right form and exists, by asking the server on the open connection.

        Raises SymbolError (a ValueError) naming the first that does not.
        """
        symbols = check_symbols([exchange_symbol] if isinstance(exchange_symbol, str) else list(exchange_symbol))
        for symbol in symbols:
            await self._resolve(symbol)
        return True

    async def _resolve(self, symbol: str) -> SymbolInfo:
        request = HistoryRequest(symbol, "1D", bars_count=1)
        service = await self._setup_services()
        events = service.subscribe(
            symbol,
            "cs",
            lambda session: [
                protocol.chart_create_session(session),
                protocol.resolve_symbol(session, SYMBOL_ID, encode_spec(symbol, request.settings)),
            ],
            close_chart,
        )
        async with aclosing(events):
            async for event in events:
                error = failure_of(request, event)
                if error is not None:
                    raise error
                if isinstance(event, protocol.SymbolResolved):
                    return event.info
        raise NoBarsError(f"{symbol}: the server did not resolve it")

    async def connect(self) -> None:
        """Open the connection now rather than by the first call. Raises WebSocketException or AuthError."""
        await self._setup_services()

    def server_now(self) -> float:
        """The server's time in UTC seconds; this machine's before the first connection."""
        return self.connection_service.server_now() if self.connection_service else time.time()

    def _stream(self, batches: AsyncGenerator[Sequence[T], None]) -> Stream[T]:
        stream = Stream(batches)
        self._streams.add(stream)
        return stream

    async def _setup_services(self) -> MessageService:
        """Open the connection unless it is open; once per client."""
        if self.connection_service is None or self.message_service is None:
            self.connection_service = ConnectionService(
                self.ws_url, account=self._account, limits=self._limits, proxy=self._proxy
            )
            self.message_service = MessageService(self.connection_service)
        await self.connection_service.connect()
        return self.message_service

    async def _quotes(
        self, symbols: Sequence[str]
    ) -> AsyncGenerator[tuple[protocol.QuoteReceived, dict[str, Any]], None]:
        """Every quote delta together with all fields of its symbol seen so far."""
        known: dict[str, dict[str, Any]] = {}
        session, seen_at = "", 0.0
        async with aclosing(await self._quote_events(symbols)) as events:
            async for event in events:
                _raise_quote_failure(symbols, event)
                if isinstance(event, protocol.QuoteReceived):
                    if session and event.session != session:
                        for symbol in symbols:
                            self._on_gap(StreamGap(symbol, "", seen_at, self.server_now()))
                    session, seen_at = event.session, self.server_now()
                    fields = known.setdefault(event.symbol, {})
                    protocol.merge_fields(fields, event.fields)
                    yield event, fields

    async def _quote_events(self, symbols: Sequence[str]) -> AsyncGenerator[protocol.Event, None]:
        service = await self._setup_services()
        return service.subscribe(
            ", ".join(symbols),
            "qs",
            lambda session: _open_quotes(session, symbols),
            lambda session: [protocol.quote_delete_session(session)],
        )


class _ChangedFields(dict[str, Any]):
    """The fields of a quote delta; formatted as a number, the volume: so documented examples print it."""

    def __init__(self, fields: Mapping[str, Any], volume: float) -> None:
        super().__init__(fields)
        self._volume = volume

    def __format__(self, spec: str) -> str:
        return format(self._volume, spec) if spec else str(dict(self))


def _open_quotes(session: str, symbols: Sequence[str]) -> list[protocol.Command]:
    return [
        protocol.quote_create_session(session),
        protocol.quote_set_fields(session, *QUOTE_FIELDS),
        protocol.quote_add_symbols(session, *symbols),
    ]


def _quote_twin(chart_session: str) -> str:
    """The quote session that goes with a chart session."""
    return f"qs_{chart_session[3:]}"


def _raise_quote_failure(symbols: Sequence[str], event: protocol.Event) -> None:
    if isinstance(event, protocol.SessionFailed):
        if is_pace_reason(event.reason):
            raise PaceError(", ".join(symbols), "quotes", event.reason)
        raise SeriesError(", ".join(symbols), "quotes", f"{event.reason}, {event.info}")


def _no_quotes(symbols: Sequence[str], limit_s: float) -> NoBarsError:
    return NoBarsError(f"{', '.join(symbols)}: no quotes within {limit_s:.0f} s")


async def validate_symbols(
    exchange_symbol: str | Sequence[str],
    *,
    ws_url: str | None = None,
    auth_token: str | None = None,
    proxy: str | None = None,
) -> bool:
    """`OHLCV.validate_symbols` over a connection of its own."""
    async with OHLCV(ws_url, auth_token=auth_token, proxy=proxy) as client:
        return await client.validate_symbols(exchange_symbol)


def _log_gap(gap: StreamGap) -> None:
    _log.warning("%s", gap)


def signal_handler(signum: int, frame: FrameType | None) -> None:
    """Stop a stream cleanly on Ctrl-C: install with `signal.signal(signal.SIGINT, signal_handler)`.

    `asyncio.run` ends with KeyboardInterrupt, once every `async with OHLCV()` has closed its connection.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        signal.default_int_handler(signum, frame)
        return
    # From a callback of its own: in the middle of a task it could break what the task must do on its way out.
    loop.call_soon_threadsafe(signal.default_int_handler, signum, frame)
