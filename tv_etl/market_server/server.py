"""The market behind a WebSocket, and behind the HTTP server that goes with it."""

import asyncio
import logging
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from tv_etl.market_server.accounts.accounts import Accounts
from tv_etl.market_server.accounts.admission import Admission
from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.certificates import ThrowAwayCertificate
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.sessions.conversation import Conversation
from tv_etl.market_server.sessions.send_queue import Ending, Hangup
from tv_etl.market_server.sessions.world import AnyMarket, World
from tv_etl.market_server.site.http import HttpServer, Route
from tv_etl.market_server.site.pages import page_routes
from tv_etl.market_server.site.screener import scan_route
from tv_etl.market_server.site.symbol_search import PATH as SEARCH_PATH
from tv_etl.market_server.site.symbol_search import search_route
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH
from tv_etl.tradingview.protocol import MARKET_HEADER

logger = logging.getLogger(__name__)

PATH = "/socket.io/websocket"
CLOSE_LIMIT_S = 1.0  # a client that does not answer a closing handshake holds nobody up
STILL_S = 60.0  # after which a connection that stands still is given up: its end would not be noticed
DRIP_S = 0.25  # between two bytes of a message that never ends

_ORIGIN = re.compile(r"https://([a-z0-9-]+\.)*tradingview\.com", re.IGNORECASE)


class MarketServer:
    """A market that listens while its context is open: on `url` for clients, on `http_url` for plain requests.

    With `tls`, clients are to trust the authority in the file `ca_path`.
    """

    def __init__(self, market: AnyMarket | None = None, options: ServerOptions | None = None) -> None:
        self._options = options = options or ServerOptions()
        self.clock = options.clock or MarketClock()
        self._market = market or Market()
        self.accounts = Accounts(
            PLANS[options.account_plan],
            lifetime_s=options.token_lifetime_s,
            connections=options.account_connections,
            ban=options.ban,
        )
        self._admission = Admission(options.max_connections, options.rate_limit)
        self._certificate: ThrowAwayCertificate | None = None
        self._port = options.port
        self._http: HttpServer | None = None
        self._server: Server | None = None
        self._world: World | None = None
        self._connections = 0
        self._still: set[ServerConnection] = set()
        self._open: dict[str, set[ServerConnection]] = {}

    @property
    def url(self) -> str:
        """The address for clients, once the server listens."""
        return f"{'wss' if self._options.tls else 'ws'}://{self._options.host}:{self._port}{PATH}"

    @property
    def http_url(self) -> str:
        """The address for plain requests, once the server listens."""
        assert self._http is not None
        return self._http.url

    @property
    def ca_path(self) -> Path | None:
        """The file with the authority to trust, None without TLS."""
        return self._certificate.ca_path if self._certificate else None

    async def start(self) -> None:
        """Listen. Raises OSError if an address is taken, MissingExtraError for TLS without its extra."""
        options = self._options
        self._world = World(
            self._market,
            self.clock,
            asyncio.get_running_loop().time,
            PLANS[options.plan],
            latency_s=options.latency_ms / 1_000,
            jitter_s=options.jitter_ms / 1_000,
            session_rate=options.session_rate,
            accounts=self.accounts,
        )
        if options.tls:
            self._certificate = ThrowAwayCertificate(options.host, "127.0.0.1", "localhost")
        try:
            await self._listen(self._world, self._certificate.context if self._certificate else None)
        except OSError:
            await self.stop()
            raise

    async def _listen(self, world: World, context: ssl.SSLContext | None) -> None:
        options = self._options
        self._server = await serve(
            self._serve,
            options.host,
            self._port,
            ssl=context,
            process_request=self._check_request,
            process_response=self._name_market,
            compression=None,  # the live server declines permessage-deflate
            max_size=MAX_MESSAGE_LENGTH,
            ping_interval=None,  # it has its own heartbeats
            close_timeout=CLOSE_LIMIT_S,
            server_header="tv",
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._http = HttpServer(
            _routes(world),
            host=options.host,
            port=options.http_port,
            tls=context,
            latency_s=world.latency_s,
            busy_answers=options.http_busy,
            retry_after_s=options.http_retry_after_s,
        )
        await self._http.start()

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._http is not None:
            await self._http.stop()
        if self._server is not None:
            for connection in self._still:
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        if self._certificate is not None:
            self._certificate.delete()
            self._certificate = None

    async def __aenter__(self) -> "MarketServer":
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def _name_market(self, connection: ServerConnection, request: Request, response: Response) -> None:
        assert self._world is not None
        response.headers[MARKET_HEADER] = self._world.market.name

    async def _serve(self, connection: ServerConnection) -> None:
        assert self._world is not None
        self._connections += 1
        conversation = Conversation(
            self._world,
            self._connections,
            heartbeat_s=self._options.heartbeat_s,
            update_s=self._options.update_ms / 1_000,
        )
        wake, closed = asyncio.Event(), asyncio.Event()
        writer = asyncio.create_task(self._write(connection, conversation, wake, closed))
        try:
            with suppress(ConnectionClosed):
                async for message in connection:
                    # Some clients send binary messages (PROTOCOL.md §1.3).
                    conversation.receive_text(
                        message if isinstance(message, str) else message.decode("utf-8", "replace")
                    )
                    wake.set()
        finally:
            # Not cancelled: before Python 3.12 wait_for loses a cancellation that comes together with a wake-up.
            closed.set()
            wake.set()
            conversation.close()
            self._still.discard(connection)
            with suppress(ConnectionClosed):
                await writer

    async def _write(
        self, connection: ServerConnection, conversation: Conversation, wake: asyncio.Event, closed: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        while not closed.is_set():
            wake.clear()
            conversation.advance()
            for message in conversation.take_due():
                if isinstance(message, Hangup):
                    await self._hang_up(connection, message, closed)
                    return
                await connection.send(message)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wake.wait(), max(conversation.next_due() - loop.time(), 0.0))

    async def _hang_up(self, connection: ServerConnection, how: Hangup, closed: asyncio.Event) -> None:
        transport = connection.transport
        frame = Frame(Opcode.TEXT, how.cut.encode()).serialize(mask=False) if how.cut else b""
        if how.ending is not None:
            # Nothing is read, so that no pong comes in between, and the end is not noticed either.
            self._still.add(connection)
            transport.pause_reading()
            for byte in frame if how.ending is Ending.DRIP else b"":
                transport.write(bytes([byte]))
                if await _is_set(closed, DRIP_S):
                    return
            await _is_set(closed, STILL_S)
            transport.abort()
        elif how.is_abrupt:
            if frame:
                transport.write(frame[: max(len(frame) // 2, 1)])
                _reset_on_close(transport)
            transport.abort()
        else:
            await connection.close(how.code)

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0] != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "Not Found\n")
        origins = request.headers.get_all("Origin")
        if len(origins) != 1 or not (_ORIGIN.fullmatch(origins[0]) or _is_own(origins[0], request)):
            return connection.respond(HTTPStatus.FORBIDDEN, "Forbidden\n")
        address = str(connection.remote_address[0])
        still_open = {each for each in self._open.pop(address, set()) if each.state is not State.CLOSED}
        retry_after_s = self._admission.admit(address, time.monotonic(), len(still_open))
        if retry_after_s is None:
            self._open[address] = still_open | {connection}
            return None
        self._open[address] = still_open
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests\n")
        response.headers["Retry-After"] = str(retry_after_s)
        return response


def _routes(world: World) -> list[Route]:
    """Every path that is answered over plain HTTP."""
    return [
        Route("POST", "/(?P<market>[^/]+)/scan", scan_route(world)),
        Route("GET", SEARCH_PATH, search_route(world)),
        *page_routes(world),
    ]


async def _is_set(event: asyncio.Event, limit_s: float) -> bool:
    """True as soon as the event is set, False if it is not within the limit."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), limit_s)
    return event.is_set()


def _is_own(origin: str, request: Request) -> bool:
    """True for the address that the client itself connected to, which some libraries send as the origin."""
    hosts = request.headers.get_all("Host")
    return len(hosts) == 1 and origin in (f"http://{hosts[0]}", f"https://{hosts[0]}")


def _reset_on_close(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def serve_in_thread(market: AnyMarket | None = None, options: ServerOptions | None = None) -> Iterator[MarketServer]:
    """A MarketServer for code that is not asynchronous."""
    server = MarketServer(market, options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tv_etl market server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
