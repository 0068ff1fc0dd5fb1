"""The two services under the client: one WebSocket, and the sessions that live on it.

`ConnectionService` owns the socket: it answers heartbeats, notices a dead line and routes events by session.
`MessageService` opens sessions on a connection, runs history requests and keeps live subscriptions going over
reconnects. Both translate every foreign exception into the tree of `errors`, once, here.
"""

import asyncio
import logging
import os
import random
import secrets
import ssl
import string
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Origin

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    NoBarsError,
    ProtocolError,
    TradingViewError,
)
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH
from tv_etl.tradingview.models import ANSWER_LIMIT_S, HistoryRequest, SeriesHistory
from tv_etl.tradingview.paging import SeriesPager

DEFAULT_WS_URL = "wss://data.tradingview.com/socket.io/websocket?from=screener%2F"
WS_URL_VARIABLE = "TV_ETL_WS_URL"

# The server refuses connections without an origin of its own (PROTOCOL.md §1.1).
ORIGIN = Origin("https://www.tradingview.com")

# Events kept for a consumer that is slower than the market: an hour of updates, once a second.
INBOX_EVENTS = 4_096

_CLOSE_LIMIT_S = 2.0
_BACKOFF_FIRST_S = 0.5
_BACKOFF_LAST_S = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long is waited for what, in seconds; the defaults suit TradingView over an ordinary line.

    `open_s` for a connection. `silence_s` without any message ends a connection: the official client gives up after
    20 s, and the server sends a heartbeat every 10. `progress_s` without an event of its own ends a request:
    heartbeats prove a line, not an answer. `retry_s` of delays in all are spent on a connection that cannot be opened
    or breaks, `reconnect_s` on restoring a live subscription.
    """

    open_s: float = 5.0
    silence_s: float = 20.0
    progress_s: float = 10.0
    retry_s: float = 20.0
    reconnect_s: float = 120.0


class Inbox:
    """The events of one session, in order, until the connection fails."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[protocol.Event | TradingViewError] = asyncio.Queue(INBOX_EVENTS)
        self._failure: TradingViewError | None = None

    def put(self, event: protocol.Event) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.fail(ConnectionFailedError(f"the consumer is {INBOX_EVENTS} events behind"))

    def fail(self, error: TradingViewError) -> None:
        """End the inbox: what is queued is still delivered, then the error is raised for ever."""
        if self._failure is None:
            self._failure = error
            with suppress(asyncio.QueueFull):
                self._queue.put_nowait(error)

    async def next(self, timeout_s: float | None = None) -> protocol.Event:
        """The next event. Raises asyncio.TimeoutError, or the error that ended the connection."""
        if self._failure is not None and self._queue.empty():
            raise self._failure
        item = await asyncio.wait_for(self._queue.get(), timeout_s)
        if isinstance(item, TradingViewError):
            raise item
        return item


class ConnectionService:
    """One WebSocket to TradingView, or to anything that speaks its protocol.

    The address is `ws_url`, else the environment's TV_ETL_WS_URL, else TradingView's. Without a token the
    connection is anonymous. Use it as an async context manager, or call `connect` and `close`.
    """

    def __init__(
        self, ws_url: str | None = None, *, auth_token: str | None = None, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.ws_url = ws_url or os.environ.get(WS_URL_VARIABLE) or DEFAULT_WS_URL
        self._auth_token = auth_token or protocol.ANONYMOUS_TOKEN
        self._protocol = protocol.ClientProtocol()
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._inboxes: dict[str, Inbox] = {}
        self._opening = asyncio.Lock()
        self._clock_read_at = 0.0

    async def __aenter__(self) -> "ConnectionService":
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def server_now(self) -> float:
        """The server's time in UTC seconds; this machine's until the server has told its own."""
        if self._protocol.server_time_ms is None:
            return time.time()
        return self._protocol.server_time_ms / 1000 + time.monotonic() - self._clock_read_at

    async def connect(self) -> None:
        """Open the connection unless it is open. Raises ConnectionFailedError or AuthError."""
        async with self._opening:
            if self._socket is not None:
                return
            await self._stop_reader()
            socket = await _open_socket(self.ws_url, self.limits.open_s)
            self._protocol = protocol.ClientProtocol()
            self._socket = socket
            self._reader = asyncio.create_task(self._read(socket))
        await self.send(protocol.set_auth_token(self._auth_token), protocol.set_locale())

    async def close(self) -> None:
        """Close the connection; open inboxes end with ConnectionFailedError."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        await self._stop_reader()

    async def send(self, *commands: protocol.Command) -> None:
        """Send commands. Raises ConnectionFailedError if the connection is not open or just broke."""
        if self._socket is None:
            raise ConnectionFailedError(f"{_host(self.ws_url)}: the connection is not open")
        self._protocol.send(*commands)
        await self._flush(self._socket)

    @contextmanager
    def inbox(self, session: str) -> Iterator[Inbox]:
        """Receive the events of a session while the context lasts."""
        inbox = self._inboxes[session] = Inbox()
        try:
            yield inbox
        finally:
            del self._inboxes[session]

    async def _stop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _flush(self, socket: ClientConnection) -> None:
        try:
            for text in self._protocol.text_to_send():
                await socket.send(text)
        except ConnectionClosed as closed:
            raise _lost(self.ws_url, closed) from None

    async def _read(self, socket: ClientConnection) -> None:
        failure: TradingViewError = ConnectionFailedError(f"{_host(self.ws_url)}: the connection was closed")
        try:
            while True:
                message = await asyncio.wait_for(socket.recv(), self.limits.silence_s)
                self._receive(message if isinstance(message, str) else message.decode())
                await self._flush(socket)
        except asyncio.TimeoutError:
            failure = ConnectionFailedError(f"{_host(self.ws_url)}: no message for {self.limits.silence_s:.0f} s")
        except ConnectionClosed as closed:
            failure = _lost(self.ws_url, closed)
        except UnicodeDecodeError:
            failure = ProtocolError(f"{_host(self.ws_url)}: a binary message is not UTF-8")
        except TradingViewError as error:
            failure = error
        finally:
            if self._socket is socket:
                self._socket = None
            for inbox in self._inboxes.values():
                inbox.fail(failure)
            # Also on cancellation; a server that does not answer the close must not hold us up.
            await socket.close()

    def _receive(self, text: str) -> None:
        self._protocol.receive_text(text)
        self._clock_read_at = time.monotonic()
        for event in self._protocol.events_received():
            if isinstance(event, protocol.ConnectionRefused):
                raise _refused(self.ws_url, event.reason)
            inbox = self._inboxes.get(event.session)
            if inbox is not None:
                inbox.put(event)


class MessageService:
    """Sessions on one connection: history requests, and live subscriptions that survive a reconnect."""

    def __init__(self, connection: ConnectionService) -> None:
        self.connection = connection

    async def fetch(self, request: HistoryRequest, *, timeout_s: float = ANSWER_LIMIT_S) -> SeriesHistory:
        """Fetch one series over a chart session of its own, paging as deep as the request wants.

        Raises NoBarsError if the answer makes no progress for `limits.progress_s` or is not whole after `timeout_s`,
        and whatever the server refuses.
        """
        deadline = time.monotonic() + timeout_s
        limit_s = self.connection.limits.progress_s
        await self.connection.connect()
        async with self._session("cs", protocol.chart_delete_session) as (session, inbox):
            pager = SeriesPager(request, session, now_s=self.connection.server_now())
            await self.connection.send(*pager.start())
            progressed_at, progress = time.monotonic(), pager.progress
            while not pager.is_done:
                try:
                    event = await inbox.next(min(progressed_at + limit_s, deadline) - time.monotonic())
                except asyncio.TimeoutError:
                    waited_s = time.monotonic() - progressed_at if time.monotonic() < deadline else timeout_s
                    raise NoBarsError(f"{request}: no whole answer from the server within {waited_s:.1f} s") from None
                commands = pager.receive(event)
                if pager.progress != progress:
                    progressed_at, progress = time.monotonic(), pager.progress
                if commands:
                    await self.connection.send(*commands)
        if pager.history is None:
            raise pager.error or NoBarsError(f"{request}: no answer")
        return pager.history

    async def subscribe(
        self,
        name: str,
        kind: str,
        open_commands: Callable[[str], Sequence[protocol.Command]],
        close_command: Callable[[str], protocol.Command],
    ) -> AsyncGenerator[protocol.Event, None]:
        """Yield the events of one session for as long as the caller listens.

        After a lost connection the same commands are sent again in a new session, with jittered exponential
        backoff, until `limits.reconnect_s` went by without data; the consumer sees the server's fresh snapshot
        then. `name` stands in errors. Raises NoBarsError if the first answer is late.
        """
        backoff = Backoff(self.connection.limits.reconnect_s)
        has_data = False
        while True:
            try:
                await self.connection.connect()
                async with self._session(kind, close_command) as (session, inbox):
                    await self.connection.send(*open_commands(session))
                    limit_s: float | None = self.connection.limits.progress_s
                    while True:
                        event = await _next_event(inbox, limit_s, name)
                        if isinstance(event, protocol.BarsReceived | protocol.QuoteReceived):
                            has_data, limit_s = True, None
                            backoff.reset()
                        yield event
            except ConnectionFailedError as error:
                delay_s = backoff.next_delay_s() if has_data and error.retryable else None
                if delay_s is None:
                    raise
                _log.warning("%s: %s; reconnecting in %.1f s", name, error, delay_s)
                await asyncio.sleep(delay_s)

    @asynccontextmanager
    async def _session(
        self, kind: str, close_command: Callable[[str], protocol.Command]
    ) -> AsyncIterator[tuple[str, Inbox]]:
        session = f"{kind}_{_random_name(12)}"
        with self.connection.inbox(session) as inbox:
            try:
                yield session, inbox
            finally:
                # Best effort: with the connection gone the server has dropped the session itself.
                with suppress(ConnectionFailedError):
                    await self.connection.send(close_command(session))


class Backoff:
    """Delays before the next try: exponential, fully jittered, until a budget of seconds is spent."""

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self.reset()

    def reset(self) -> None:
        """Start over: the last try brought data."""
        self._left_s = self._budget_s
        self._ceiling_s = _BACKOFF_FIRST_S

    def next_delay_s(self, at_least_s: float = 0.0) -> float | None:
        """How long to wait now, or None if the budget is spent."""
        delay_s = max(random.uniform(self._ceiling_s / 2, self._ceiling_s), at_least_s)
        self._ceiling_s = min(self._ceiling_s * 2, _BACKOFF_LAST_S)
        self._left_s -= delay_s
        return delay_s if self._left_s >= 0 else None


async def _next_event(inbox: Inbox, limit_s: float | None, name: str) -> protocol.Event:
    try:
        return await inbox.next(limit_s)
    except asyncio.TimeoutError:
        raise NoBarsError(f"{name}: no answer from the server within {max(limit_s or 0.0, 0.0):.1f} s") from None


async def _open_socket(ws_url: str, open_limit_s: float) -> ClientConnection:
    """Open the WebSocket; every failure becomes one of ours, naming the host and never the query or a token."""
    host = _host(ws_url)
    try:
        return await connect(
            ws_url,
            origin=ORIGIN,
            max_size=MAX_MESSAGE_LENGTH,
            open_timeout=open_limit_s,
            close_timeout=_CLOSE_LIMIT_S,
            proxy=None,
        )
    except InvalidURI:
        raise _final(f"ws_url {ws_url.split('?')[0]!r}: expected ws://host/path or wss://host/path") from None
    except InvalidStatus as refusal:
        raise _bad_status(host, refusal) from None
    except ssl.SSLError as error:
        raise _final(f"{host}: TLS failed: {error.reason}") from None
    except (asyncio.TimeoutError, TimeoutError):
        raise ConnectionFailedError(f"{host}: no WebSocket within {open_limit_s:.0f} s") from None
    except OSError as error:
        raise ConnectionFailedError(f"{host}: {error.strerror or error}") from None
    except (WebSocketException, ValueError, EOFError) as error:
        raise _final(f"{host}: no WebSocket handshake: {error}") from None


def _bad_status(host: str, refusal: InvalidStatus) -> TradingViewError:
    status = refusal.response.status_code
    if status in (401, 403):
        return AuthError(f"{host}: refused the connection with HTTP {status} (origin {ORIGIN})")
    if status == 429 or status >= 500:
        wish = refusal.response.headers.get("Retry-After", "")
        retry_after_s = float(wish) if wish.isdigit() else None
        return ConnectionFailedError(f"{host}: HTTP {status} instead of a WebSocket", retry_after_s=retry_after_s)
    return _final(f"{host}: HTTP {status} instead of a WebSocket")


def _refused(ws_url: str, reason: str) -> TradingViewError:
    if "auth token" in reason:
        return AuthError(f"{_host(ws_url)}: {reason}")
    if "connections limit" in reason:
        return ConnectionFailedError(f"{_host(ws_url)}: {reason}")
    return _final(f"{_host(ws_url)}: {reason}")


def _lost(ws_url: str, closed: ConnectionClosed) -> ConnectionFailedError:
    how = f"code {closed.rcvd.code}" if closed.rcvd else "no close frame"
    return ConnectionFailedError(f"{_host(ws_url)}: the connection was lost ({how})")


def _final(message: str) -> ConnectionFailedError:
    error = ConnectionFailedError(message)
    error.retryable = False
    return error


def _host(ws_url: str) -> str:
    parts = urlsplit(ws_url)
    return f"{parts.hostname or ws_url}{f':{parts.port}' if parts.port else ''}"


def _random_name(length: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
