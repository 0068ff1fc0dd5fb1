"""One WebSocket, opened safely and watched: all that the client knows of the websockets library.

Every foreign exception becomes one of `errors` here, naming the host and never a query, a payload or a token. Knows
nothing of packets and sessions; `services` uses it.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.frames import Frame
from websockets.protocol import State
from websockets.typing import Origin

from tv_etl.tradingview.errors import AuthError, ConnectionFailedError, ProtocolError, TradingViewError
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.protocol import MARKET_HEADER
from tv_etl.tradingview.proxy import CERTIFICATE_ADVICE, Proxy
from tv_etl.tradingview.retry_after import read_retry_after

# The server refuses connections without an origin of its own (PROTOCOL.md §1.1).
ORIGIN = Origin("https://www.tradingview.com")

# A line slower than this would need an hour for one long answer: it is broken, or holds us up on purpose.
MIN_BYTES_PER_S = 1_000

# A refusal may come with a page; the library reads 1 MB of it, and discards the rest until the deadline.
MAX_MARKET_NAME = 100
MAX_HANDSHAKE_BYTES = 2 * 1024 * 1024

_CLOSE_LIMIT_S = 2.0
_TICKS = 5
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})

# RFC 6455 §7.4.1, the codes with which we end a connection because of what the other end sent.
_OUR_COMPLAINTS = {1002: "it broke the WebSocket protocol", 1007: "text is not UTF-8", 1009: "a message is too long"}


class _HidePayloads(logging.Filter):
    """websockets writes payloads (a token among them), cookies and queries to its log at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        if any(isinstance(arg, Frame) for arg in args):
            record.args = tuple(_outline(arg) if isinstance(arg, Frame) else arg for arg in args)
        elif len(args) == 2 and str(args[0]).lower() in _SECRET_HEADERS:
            record.args = (args[0], "[hidden]")
        elif "GET" in str(record.msg) and args:
            record.args = (str(args[0]).partition("?")[0], *args[1:])
        return True


# A logger of our own below the library's: its level and handlers hold, its other users keep their logs.
_wire_log = logging.getLogger("websockets.client.tv_etl")
_wire_log.addFilter(_HidePayloads())


class LineWatch:
    """Judges every `tick_s` whether a line is alive.

    Signs of life are a message, the answer to a ping, and bytes at MIN_BYTES_PER_S: on a slow line one long message
    holds up the answers to pings for minutes. Ticks are counted, not time: when this process itself stood still
    (a laptop asleep, a busy event loop), one tick went by for the line.
    """

    def __init__(self, alive_s: float, silence_s: float) -> None:
        self.tick_s = min(alive_s, silence_s) / _TICKS
        self.wants_ping = False
        self.is_receiving = False
        self._alive_s = alive_s
        self._silence_s = silence_s
        # The line may have died right after a tick.
        self._max_lifeless = max(round(alive_s / self.tick_s) - 1, 1)
        self._max_silent = max(round(silence_s / self.tick_s), 1)
        self._lifeless = self._silent = 0
        self._bytes = self._messages = 0

    def tick(self, received_bytes: int, received_messages: int, *, has_pong: bool) -> str | None:
        """Take the totals received so far and whether a ping was answered; return what the line died of, or None."""
        is_flowing = received_bytes - self._bytes >= MIN_BYTES_PER_S * self.tick_s
        has_message = received_messages > self._messages
        self._bytes, self._messages = received_bytes, received_messages
        # One message has been on its way for the whole tick.
        self.is_receiving = is_flowing and not has_message
        self._lifeless = 0 if is_flowing or has_message or has_pong else self._lifeless + 1
        self._silent = 0 if is_flowing or has_message else self._silent + 1
        self.wants_ping = self._lifeless > 0
        if self._lifeless >= self._max_lifeless:
            return f"no sign of life for {self._alive_s:g} s"
        if self._silent >= self._max_silent:
            return f"no message for {self._silence_s:g} s"
        return None


class WebSocket:
    """An open WebSocket under watch; use `open_websocket`.

    `receiving_at` is when a long message was last seen coming in, by `loop_time`; -inf if never. `market` is what the
    server says of the market that it has; empty for TradingView, which says nothing.
    """

    def __init__(self, connection: "_CountingConnection", host: str, watch: LineWatch) -> None:
        self.host = host
        named = [] if connection.response is None else connection.response.headers.get_all(MARKET_HEADER)
        self.market = printable(named[0], MAX_MARKET_NAME) if named else ""
        self.opened_at = loop_time()
        self.receiving_at = float("-inf")
        self._connection = connection
        self._watch = watch
        self._messages = 0
        self._death: ConnectionFailedError | None = None
        self._watcher = asyncio.create_task(self._keep_watch())

    async def receive(self) -> str:
        """The next message. Raises ConnectionFailedError or ProtocolError."""
        try:
            message = await self._connection.recv()
            self._messages += 1
            return message if isinstance(message, str) else message.decode()
        except ConnectionClosed as closed:
            raise self._loss(closed) from None
        except UnicodeDecodeError:
            raise ProtocolError(f"{self.host}: a binary message is not UTF-8") from None

    async def send(self, text: str) -> None:
        """Send one message. Raises ConnectionFailedError."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise self._loss(closed) from None

    async def close(self) -> None:
        """Close the connection; a server that does not answer holds nobody up."""
        self._watcher.cancel()
        await asyncio.gather(self._watcher, return_exceptions=True)
        await self._connection.close()

    def _loss(self, closed: ConnectionClosed) -> TradingViewError:
        if self._death is not None:
            return self._death
        if closed.sent is not None and closed.sent.code in _OUR_COMPLAINTS and not closed.rcvd_then_sent:
            return ProtocolError(f"{self.host}: {_OUR_COMPLAINTS[closed.sent.code]} (code {closed.sent.code})")
        how = f"code {closed.rcvd.code}" if closed.rcvd else "no close frame"
        return ConnectionFailedError(f"{self.host}: the connection was lost ({how})")

    async def _keep_watch(self) -> None:
        pong: Awaitable[float] | None = None
        while True:
            await asyncio.sleep(self._watch.tick_s)
            has_pong = isinstance(pong, asyncio.Future) and pong.done()
            if has_pong:
                pong = None
            death = self._watch.tick(self._connection.received_bytes, self._messages, has_pong=has_pong)
            if death is not None:
                self._death = ConnectionFailedError(f"{self.host}: {death}")
                self._connection.transport.abort()
                return
            if self._watch.is_receiving:
                self.receiving_at = loop_time()
            if self._watch.wants_ping and pong is None:
                pong = await self._ping()

    async def _ping(self) -> Awaitable[float] | None:
        try:
            return await asyncio.wait_for(self._connection.ping(), self._watch.tick_s)
        except (asyncio.TimeoutError, ConnectionClosed):
            return None  # nothing goes out any more: the watch ends it, or the reader has noticed


class _CountingConnection(ClientConnection):
    received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)
        if self.state is State.CONNECTING and self.received_bytes > MAX_HANDSHAKE_BYTES:
            self.transport.abort()


class _ConnectWithoutRedirects(connect):
    # The library follows ten; whoever can redirect us must not learn a token.
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(
    url: str, *, open_s: float, alive_s: float, silence_s: float, proxy: Proxy | None = None
) -> WebSocket:
    """Open a WebSocket within `open_s`, through a proxy only if one is given, and refusing redirects.

    The connection is ended after `alive_s` without a sign of life, or `silence_s` without a message.
    """
    try:
        connection = await _open(url, open_s, proxy)
    except TradingViewError as error:
        error.__context__ = None  # the library's error, which may quote the address and what was sent
        raise
    connection.received_bytes = 0  # the handshake is no message
    return WebSocket(connection, host_of(url), LineWatch(alive_s, silence_s))


def loop_time() -> float:
    """Seconds by the clock of the running loop: the one that its timers go by, so that every wait has one clock."""
    return asyncio.get_running_loop().time()


def host_of(url: str) -> str:
    """The part of an address that may be shown."""
    try:
        authority = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        authority = ""
    return authority or _without_secrets(url)


def final_failure(message: str) -> ConnectionFailedError:
    """A failed connection for which trying again is no use."""
    error = ConnectionFailedError(message)
    error.retryable = False
    return error


async def _open(url: str, open_s: float, proxy: Proxy | None) -> _CountingConnection:
    host = host_of(url)
    # What fails before there is a connection fails on the way to the proxy.
    reached = host if proxy is None else f"proxy {proxy.host}"
    try:
        connection = await _ConnectWithoutRedirects(
            url,
            origin=ORIGIN,
            max_size=MAX_MESSAGE_LENGTH,
            open_timeout=open_s,
            close_timeout=_CLOSE_LIMIT_S,
            ping_interval=None,
            proxy=None if proxy is None else proxy.reveal(),
            logger=_wire_log,
            create_connection=_CountingConnection,
        )
    except InvalidStatus as refusal:
        raise _bad_status(host, refusal) from None
    except ssl.SSLEOFError:
        raise ConnectionFailedError(f"{host}: the connection was closed during the TLS handshake") from None
    except ssl.SSLCertVerificationError as error:
        raise final_failure(f"{host}: TLS failed: {error.verify_message}{CERTIFICATE_ADVICE}") from None
    except ssl.SSLError as error:
        raise final_failure(f"{host}: TLS failed: {error.reason}") from None
    except (asyncio.TimeoutError, TimeoutError):
        raise ConnectionFailedError(f"{host}: no WebSocket within {open_s:g} s") from None
    except OSError as error:
        raise ConnectionFailedError(f"{reached}: {error.strerror or str(error) or type(error).__name__}") from None
    except InvalidProxyStatus as refusal:
        raise _bad_proxy_status(reached, host, refusal.response.status_code) from None
    except ProxyError as error:
        # What a library of SOCKS says names neither the login nor the address.
        why = printable(str(error.__cause__ or error))
        raise ConnectionFailedError(f"{reached}: no way to {host}: {why}") from None
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError):
            raise ConnectionFailedError(f"{host}: the connection was closed during the handshake") from None
        raise final_failure(f"{host}: no WebSocket handshake: the answer is not HTTP") from None
    except (InvalidURI, ValueError):
        # ValueError: a port or a name that no address can have.
        raise final_failure(f"ws_url {_without_secrets(url)!r}: expected ws://host/path or wss://host/path") from None
    except WebSocketException as error:
        raise final_failure(f"{host}: no WebSocket handshake: {type(error).__name__}") from None
    assert isinstance(connection, _CountingConnection)
    return connection


def _bad_proxy_status(proxy: str, host: str, status: int) -> ConnectionFailedError:
    if status in (401, 407):  # some answer a wrong login as a site would
        return final_failure(f"{proxy}: refused the login, or wants one (HTTP {status})")
    refused = f"{proxy}: HTTP {status} instead of a way to {host}"
    return ConnectionFailedError(refused) if status == 429 or status >= 500 else final_failure(refused)


def _bad_status(host: str, refusal: InvalidStatus) -> TradingViewError:
    status, headers = refusal.response.status_code, refusal.response.headers
    if status in (401, 403):
        return AuthError(f"{host}: refused the connection with HTTP {status} (origin {ORIGIN})")
    if status == 429 or status >= 500:
        wish_s = read_retry_after(_first(headers.get_all("Retry-After")), _first(headers.get_all("Date")))
        return ConnectionFailedError(f"{host}: HTTP {status} instead of a WebSocket", retry_after_s=wish_s)
    if 300 <= status < 400:
        return final_failure(f"{host}: HTTP {status} instead of a WebSocket: redirects are refused")
    return final_failure(f"{host}: HTTP {status} instead of a WebSocket")


def _first(values: list[str]) -> str:
    return values[0] if values else ""


def _outline(frame: Frame) -> str:
    return f"{frame.opcode.name} [{len(frame.data)} bytes]"


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("?")[0].rpartition("//")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
