"""The two services under the client: one WebSocket, and the sessions that live on it.

`ConnectionService` owns the connection: it signs in, answers heartbeats and routes events by session. Its `pace` is
that of all who use it.
`MessageService` opens sessions on a connection, runs history requests and keeps live subscriptions going across
reconnects. Below them, in `websocket`, whatever a network can do wrong has become one of `errors`.
"""

import asyncio
import logging
import os
import random
import secrets
import string
import time
import warnings
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from tv_etl.tradingview import protocol
from tv_etl.tradingview.accounts import Account, AuthToken, account_of, is_private
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    NoBarsError,
    ProtocolError,
    StaleStreamError,
    TradingViewError,
)
from tv_etl.tradingview.inbox import Inbox
from tv_etl.tradingview.live_bars import Silence
from tv_etl.tradingview.models import ANSWER_LIMIT_S, HistoryRequest, SeriesHistory
from tv_etl.tradingview.pace import Pace
from tv_etl.tradingview.paging import SeriesPager, is_pace_reason, is_pace_refusal
from tv_etl.tradingview.proxy import Proxy
from tv_etl.tradingview.stream import SlowConsumerWarning
from tv_etl.tradingview.websocket import WebSocket, final_failure, host_of, loop_time, open_websocket

DEFAULT_WS_URL = "wss://data.tradingview.com/socket.io/websocket?from=screener%2F"
# Serves what a paid plan includes (PROTOCOL.md §1.8).
PAID_WS_URL = DEFAULT_WS_URL.replace("//data.", "//prodata.")
TRADINGVIEW = "tradingview"  # the market of a server that names none
WS_URL_VARIABLE = "TV_ETL_WS_URL"

_METHODS = 100  # counted by name; a server has some thirty

_SILENCE_S = 2.0  # after which a follower is told of it
_BACKOFF_FIRST_S = 0.5
_BACKOFF_LAST_S = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long to wait for what, in seconds; the defaults suit TradingView over an ordinary line.

    `open_s` for a connection, and for the token of a session. `alive_s` without a sign of life ends a connection: no
    message, no answer to a ping, and less of a long message than 1,000 bytes a second. `silence_s` without any message
    ends it as well: the official client gives up after 20 s, and the server sends a heartbeat every 10. `progress_s`
    without an event of its own ends a request: heartbeats prove a line, not an answer; a long message coming in stops
    this clock. `retry_s` of delays in all are spent on a connection that cannot be opened or breaks, `reconnect_s` on
    restoring live subscriptions.
    """

    open_s: float = 5.0
    alive_s: float = 10.0
    silence_s: float = 20.0
    progress_s: float = 10.0
    retry_s: float = 20.0
    reconnect_s: float = 120.0


class ConnectionService:
    """One WebSocket to TradingView, or to anything that speaks its protocol.

    The address is `ws_url`, else the environment's TV_ETL_WS_URL, else TradingView's (paid plans have one of their
    own). The `proxy` is that of TV_ETL_PROXY if none is given, none at all if it is empty. The connection is anonymous
    without an `auth_token` or an `account`. Use it as an async context manager, or call `connect` and `close`.
    """

    def __init__(
        self,
        ws_url: str | None = None,
        *,
        auth_token: str | None = None,
        account: Account | None = None,
        limits: Limits | None = None,
        proxy: str | None = None,
    ) -> None:
        self._proxy = Proxy.of(proxy)
        self.limits = limits or Limits()
        self.pace = Pace()
        self.ws_url = ws_url or os.environ.get(WS_URL_VARIABLE) or DEFAULT_WS_URL
        self._account = account_of(auth_token, account)
        self._token = AuthToken(protocol.ANONYMOUS_TOKEN)
        self._protocol = protocol.ClientProtocol()
        self._socket: WebSocket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._loss: TradingViewError | None = None
        self._inboxes: dict[str, Inbox] = {}
        self._opening = asyncio.Lock()
        # Of this machine's monotonic clock; what one connection told of it holds for the next.
        self._server_ahead_s: float | None = None
        # When the last message came in, by the server's clock: all that it had sent before has come as well.
        self.heard_at = float("-inf")
        self._refused_at = float("-inf")
        # How often each method came that the client does not use: a new one may mean that the protocol has changed.
        self.ignored: Counter[str] = Counter()

    async def __aenter__(self) -> "ConnectionService":
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    @property
    def market(self) -> str:
        """Where the bars come from: TradingView, or the market that a market server says it has."""
        return (self._socket.market if self._socket else "") or TRADINGVIEW

    @property
    def receiving_at(self) -> float:
        """When a long message was last seen coming in, by `loop_time`; -inf if not open."""
        return self._socket.receiving_at if self._socket else float("-inf")

    @property
    def age_s(self) -> float:
        """Seconds since the connection was opened; 0 if it is not open."""
        return loop_time() - self._socket.opened_at if self._socket else 0.0

    def server_now(self) -> float:
        """The server's time in UTC seconds; this machine's until the server has told its own."""
        return time.time() if self._server_ahead_s is None else time.monotonic() + self._server_ahead_s

    async def connect(self) -> None:
        """Open the connection unless it is open. Raises ConnectionFailedError or AuthError."""
        async with self._opening:
            if self._socket is not None:
                return
            if self._reader is not None:
                await asyncio.wait({self._reader})  # it closes the connection that was lost
            self._token = await self._account.token(self.limits.open_s, self._proxy)
            if self._token.has_plan and self.ws_url == DEFAULT_WS_URL:
                self.ws_url = PAID_WS_URL
            if not self._token.is_anonymous and not is_private(self.ws_url, "wss"):
                raise AuthError(f"{host_of(self.ws_url)}: an account's token is only sent over wss://")
            limits = self.limits
            socket = await open_websocket(
                self.ws_url,
                open_s=limits.open_s,
                alive_s=limits.alive_s,
                silence_s=limits.silence_s,
                proxy=self._proxy,
            )
            self._protocol = protocol.ClientProtocol(keeps_raw=self._wants_raw)
            self._socket = socket
            self._reader = asyncio.create_task(self._read(socket))
            await self.send(protocol.set_auth_token(self._token.reveal()), protocol.set_locale())

    async def close(self) -> None:
        """Close the connection; open inboxes end with ConnectionFailedError."""
        async with self._opening:
            socket = self._socket
            if socket is not None:
                # Nobody may take this for a loss and connect again.
                self._lose(socket, final_failure(f"{socket.host}: the connection was closed"))
                await self._stop_reader()
                await socket.close()
            elif self._reader is not None:
                await asyncio.wait({self._reader})  # it closes the connection that was lost

    async def send(self, *commands: protocol.Command) -> None:
        """Send commands. Raises what ended the connection, or ConnectionFailedError if it was never open."""
        socket, reader = self._socket, self._reader
        if socket is None or reader is None:
            raise self._last_word()
        self._protocol.send(*commands)
        try:
            await self._flush(socket)
        except ConnectionFailedError:
            # What arrived before the loss may say why, such as a rejected token.
            await asyncio.wait({reader})
            raise self._last_word() from None

    @contextmanager
    def inbox(self, session: str, raw_sessions: Collection[str] = ()) -> Iterator[Inbox]:
        """Receive the events of a session while the context lasts, and the payloads of `raw_sessions` as they are."""
        inbox = self._inboxes[session] = Inbox(raw_sessions)
        self._protocol.keeps_raw = self._wants_raw
        try:
            yield inbox
        finally:
            del self._inboxes[session]
            self._protocol.keeps_raw = self._wants_raw

    @property
    def _wants_raw(self) -> bool:
        return any(inbox.raw_sessions for inbox in self._inboxes.values())

    async def _stop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _flush(self, socket: WebSocket) -> None:
        for text in self._protocol.text_to_send():
            await socket.send(text)

    def _last_word(self) -> TradingViewError:
        if self._loss is None:
            return ConnectionFailedError(f"{host_of(self.ws_url)}: the connection is not open")
        return self._loss.with_traceback(None)

    async def _read(self, socket: WebSocket) -> None:
        failure: TradingViewError = final_failure(f"{socket.host}: the connection was closed")
        try:
            while True:
                self._receive(await socket.receive())
                with suppress(ConnectionFailedError):  # reading on shows how the connection ended
                    await self._flush(socket)
                await asyncio.sleep(0)  # a burst of messages must not fill an inbox before its consumer has a turn
        except TradingViewError as error:
            failure = error
        except Exception as bug:
            # A message that broke our decoding: whoever waits for an answer must hear of it.
            failure = ProtocolError(f"{socket.host}: a message could not be read: {type(bug).__name__}")
            failure.__cause__ = bug
        finally:
            self._lose(socket, failure)
            await socket.close()

    def _lose(self, socket: WebSocket, failure: TradingViewError) -> None:
        if self._socket is socket:
            self._socket, self._loss = None, failure
            for inbox in self._inboxes.values():
                inbox.fail(failure)

    def _receive(self, text: str) -> None:
        if not self._token.is_anonymous:
            # A server that quotes our token must not get it into our errors.
            text = self._token.hide_in(text)
        known_ms = self._protocol.server_time_ms
        self._protocol.receive_text(text)
        if self._protocol.server_time_ms != known_ms and self._protocol.server_time_ms is not None:
            self._server_ahead_s = self._protocol.server_time_ms / 1000 - time.monotonic()
        self.heard_at = self.server_now()
        events = self._protocol.events_received()
        characters = len(text) // max(len(events), 1)
        for event in events:
            if isinstance(event, protocol.ConnectionRefused):
                raise self._refused(event.reason)
            if isinstance(event, protocol.RawReceived):
                for each in self._inboxes.values():
                    if event.session in each.raw_sessions:
                        each.put(event, characters, self.heard_at)
                continue
            if isinstance(event, protocol.Ignored) and (event.method in self.ignored or len(self.ignored) < _METHODS):
                self.ignored[event.method] += 1
            inbox = self._inboxes.get(event.session)
            if inbox is not None:
                inbox.put(event, characters, self.heard_at)

    def _refused(self, reason: str) -> TradingViewError:
        host = host_of(self.ws_url)
        if "auth token" in reason:
            self._account.reject(self._token)
            return AuthError(f"{host}: {reason}")
        if "banned" in reason or (
            "connections limit" not in reason and loop_time() - self._refused_at < self.limits.reconnect_s
        ):
            return final_failure(f"{host}: {reason}")
        self._refused_at = loop_time()  # once it may have been bad luck; again soon it is what we ask
        return ConnectionFailedError(f"{host}: {reason}")


class Follower(Protocol):
    """What follows a subscription, and decides on the way what is sent. A NoBarsError opens the session again."""

    @property
    def is_owed(self) -> bool:
        """True while an answer is not complete: it must make progress as any request must."""

    def receive(self, event: protocol.Event, heard_at: float) -> Sequence[protocol.Command]:
        """Take an event before the consumer does, `Silence` among them; return what to send.

        `heard_at` is when it came in by the server's clock; with `Silence`, when anything did.
        """


class MessageService:
    """Sessions on one connection: history requests, and live subscriptions that survive a reconnect."""

    def __init__(self, connection: ConnectionService) -> None:
        self.connection = connection
        self._backoff = Backoff(connection.limits.reconnect_s)
        self._restoring = asyncio.Lock()

    def pager(self, request: HistoryRequest) -> SeriesPager:
        """What `fetch` keeps of a request between two tries."""
        return SeriesPager(request, "", now_s=self.connection.server_now())

    async def fetch(
        self, request: HistoryRequest, *, timeout_s: float = ANSWER_LIMIT_S, pager: SeriesPager | None = None
    ) -> SeriesHistory:
        """Fetch one series over a chart session of its own, paging as deep as the request needs.

        A `pager` that an earlier try left unfinished continues from its last whole page. It waits for a place among
        what is in flight. Raises NoBarsError if the answer makes no progress for `limits.progress_s` or is incomplete
        after `timeout_s`, PaceError if the server takes no session for `limits.retry_s`, and other errors for what it
        refuses.
        """
        deadline = loop_time() + timeout_s
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.connection.pace.place(deadline))
            except asyncio.TimeoutError:
                raise _late(request, timeout_s) from None
            await self.connection.connect()
            return await self.fetch_in_place(pager or self.pager(request), timeout_s=deadline - loop_time())

    async def fetch_in_place(self, pager: SeriesPager, *, timeout_s: float) -> SeriesHistory:
        """`fetch` for a caller who has a place, and keeps it."""
        request, limits, pace = pager.request, self.connection.limits, self.connection.pace
        deadline = loop_time() + timeout_s
        while True:
            try:
                opened_at = await pace.turn(deadline)
                async with self._session("cs", close_chart) as (session, inbox):
                    await self.connection.send(*pager.resume(session, now_s=self.connection.server_now()))
                    await self._run(pager, inbox, deadline)
            except asyncio.TimeoutError:
                if loop_time() < deadline and pager.retry_after_silence():
                    continue
                raise _late(request, timeout_s if loop_time() >= deadline else limits.progress_s) from None
            if pager.history is not None:
                return pager.history
            if pager.error is None:
                continue  # it wants one more session
            if not is_pace_refusal(pager.error) or not pace.refused(opened_at, limits.retry_s):
                raise pager.error

    async def fetch_with_recovery(self, request: HistoryRequest, *, timeout_s: float = ANSWER_LIMIT_S) -> SeriesHistory:
        """`fetch` for a caller who waits: recovers from what it can within `timeout_s`, and prefers a part to nothing.

        It continues on a new connection if one is lost after a whole page. If older bars stop coming, the history is
        `limited` to those that came.
        """
        deadline = loop_time() + timeout_s
        backoff = Backoff(self.connection.limits.retry_s)
        pager = self.pager(request)
        while True:
            try:
                return await self.fetch(request, timeout_s=deadline - loop_time(), pager=pager)
            except NoBarsError as error:
                history = pager.cut_short()
                if history is None:
                    raise
                _log.warning("%s; the %d bars that came before are kept", error, len(history.rows))
                return history
            except ConnectionFailedError as error:
                can_go_on = error.retryable and pager.has_pages
                delay_s = backoff.next_delay_s(error.retry_after_s or 0.0) if can_go_on else None
                if delay_s is None or loop_time() + delay_s >= deadline:
                    raise
                await asyncio.sleep(delay_s)

    async def _run(self, pager: SeriesPager, inbox: Inbox, deadline: float) -> None:
        """Feed the pager from its session. Raises asyncio.TimeoutError if it gets nowhere."""
        progressed_at, progress, longest_wait_s = loop_time(), pager.progress, 0.0
        while not pager.is_done and not pager.wants_session:
            event = await self._next_event(inbox, progressed_at, deadline)
            commands = pager.receive(event)
            if pager.progress != progress:
                self.connection.pace.accepted()
                longest_wait_s = max(longest_wait_s, loop_time() - progressed_at)
                progressed_at, progress = loop_time(), pager.progress
            if commands:
                await self.connection.send(*commands)
        if pager.history is not None:
            self.connection.pace.served(longest_wait_s)

    async def subscribe(
        self,
        name: str,
        kind: str,
        open_commands: Callable[[str], Sequence[protocol.Command]],
        close_commands: Callable[[str], Sequence[protocol.Command]],
        *,
        raw_sessions: Callable[[str], Collection[str]] = lambda session: (),
        follower: Follower | None = None,
        is_patient: bool = False,
    ) -> AsyncGenerator[protocol.Event, None]:
        """Yield the events of one session for as long as the caller listens.

        After a lost connection the same commands are sent again in a new session, and the consumer sees the server's
        fresh snapshot. The delays are a jittered exponential backoff that all subscriptions of this service share,
        until `limits.reconnect_s` of them have brought no data. A session that the server ends with an error is opened
        again too, once in `limits.reconnect_s`. Errors begin with `name`; `raw_sessions` says whose payloads are
        yielded as well. A `follower` sees each event first, and `Silence` where none came for a while. Unless it
        `is_patient`, a connection that is lost before the first answer ends it, and NoBarsError a late one.
        """
        limits, pace = self.connection.limits, self.connection.pace
        has_data, is_refused = is_patient, False
        failed_at = float("-inf")
        while True:
            try:
                await self.connection.connect()
                # Nobody has seen a server count quote sessions; one that does will say so.
                opened_at = await pace.turn() if kind == "cs" or is_refused else loop_time()
                async with self._session(kind, close_commands, raw_sessions) as (session, inbox):
                    await self.connection.send(*open_commands(session))
                    is_answered = False
                    asked_at = loop_time()
                    while True:
                        is_owed = not is_answered or (follower is not None and follower.is_owed)
                        event = await self._listen(inbox, asked_at if is_owed else None, follower)
                        if event is None and (follower is None or not is_answered):
                            raise NoBarsError(f"{name}: no answer from the server within {limits.progress_s:.1f} s")
                        if (lag := inbox.take_lag()) is not None:
                            warnings.warn(SlowConsumerWarning(name, *lag), stacklevel=1)
                        heard_at = self.connection.heard_at if event is None else inbox.heard_at
                        commands = () if follower is None else follower.receive(event or Silence(session), heard_at)
                        if isinstance(event, protocol.SessionFailed) and is_pace_reason(event.reason):
                            is_refused = True
                            if pace.refused(opened_at, limits.retry_s):
                                break
                        elif event is not None and event.session and not isinstance(event, protocol.RawReceived):
                            pace.accepted()
                        if isinstance(event, protocol.BarsReceived | protocol.QuoteReceived):
                            has_data = is_answered = True
                            # Data of a connection that does not last are no reason to hurry again.
                            self._backoff.reset(keep_pace=self.connection.age_s < limits.alive_s)
                        elif isinstance(event, protocol.SessionFailed) and has_data:
                            # Once the session is opened again; the consumer hears of a second time.
                            was_soon = loop_time() - failed_at < limits.reconnect_s
                            failed_at = loop_time()
                            if not was_soon:
                                raise NoBarsError(f"{name}: the server ended the session: {event.reason}")
                        elif isinstance(event, protocol.RawReceived):
                            is_answered = is_answered or event.session != ""
                        if commands:
                            await self.connection.send(*commands)
                            asked_at = loop_time()
                        yield event or Silence(session)
            except (ConnectionFailedError, NoBarsError) as error:
                if not has_data or not error.retryable:
                    raise
                await self._restore(name, error)

    async def _listen(self, inbox: Inbox, asked_at: float | None, follower: Follower | None) -> protocol.Event | None:
        """The next event; None if what was asked for then makes no progress, or a follower hears none for a while."""
        try:
            if asked_at is not None:
                return await self._next_event(inbox, asked_at)
            return await inbox.next(None if follower is None else min(_SILENCE_S, self.connection.limits.progress_s))
        except asyncio.TimeoutError:
            return None

    async def _restore(self, name: str, error: ConnectionFailedError | NoBarsError) -> None:
        """Wait, and open the connection unless another subscription has; raise the error if that took too long."""
        async with self._restoring:
            while isinstance(error, NoBarsError) or not self.connection.is_open:
                wish_s = error.retry_after_s if isinstance(error, ConnectionFailedError) else None
                delay_s = self._backoff.next_delay_s(wish_s or 0.0)
                if delay_s is None:
                    raise error
                # That a series is silent may be its own way: it is told once another session is as silent.
                level = logging.INFO if isinstance(error, StaleStreamError) else logging.WARNING
                _log.log(level, "%s: %s; trying again in %.1f s", name, error, delay_s)
                await asyncio.sleep(delay_s)
                if isinstance(error, NoBarsError):
                    return
                try:
                    await self.connection.connect()
                except ConnectionFailedError as failure:
                    if not failure.retryable:
                        raise
                    error = failure

    async def _next_event(self, inbox: Inbox, progressed_at: float, deadline: float = float("inf")) -> protocol.Event:
        """The next event, waited for until the deadline, or until nothing came in for `limits.progress_s`."""
        limit_s = self.connection.limits.progress_s
        while True:
            ends_at = min(max(progressed_at, self.connection.receiving_at) + limit_s, deadline)
            try:
                return await inbox.next(ends_at - loop_time())
            except asyncio.TimeoutError:
                if ends_at >= min(self.connection.receiving_at + limit_s, deadline):
                    raise

    @asynccontextmanager
    async def _session(
        self,
        kind: str,
        close_commands: Callable[[str], Sequence[protocol.Command]],
        raw_sessions: Callable[[str], Collection[str]] = lambda session: (),
    ) -> AsyncIterator[tuple[str, Inbox]]:
        session = f"{kind}_{_random_name(12)}"
        with self.connection.inbox(session, raw_sessions(session)) as inbox:
            try:
                yield session, inbox
            finally:
                # Best effort: with the connection gone the server has dropped the session itself.
                with suppress(ConnectionFailedError):
                    await self.connection.send(*close_commands(session))


class Backoff:
    """Delays before the next try: exponential, fully jittered, until a budget of seconds is spent."""

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self.reset()

    def reset(self, *, keep_pace: bool = False) -> None:
        """Start over: the last try brought data. With `keep_pace` the delays stay as long as they are."""
        self._left_s = self._budget_s
        if not keep_pace:
            self._ceiling_s = _BACKOFF_FIRST_S

    def next_delay_s(self, at_least_s: float = 0.0) -> float | None:
        """How long to wait now, or None if the budget is spent."""
        delay_s = max(random.uniform(self._ceiling_s / 2, self._ceiling_s), at_least_s)
        self._ceiling_s = min(self._ceiling_s * 2, _BACKOFF_LAST_S)
        self._left_s -= delay_s
        return delay_s if self._left_s >= 0 else None


def _late(request: HistoryRequest, limit_s: float) -> NoBarsError:
    return NoBarsError(f"{request}: no complete answer from the server within {limit_s:.1f} s")


def close_chart(session: str) -> list[protocol.Command]:
    """The commands that close a chart session."""
    return [protocol.chart_delete_session(session)]


def _random_name(length: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
