"""The market behind a WebSocket, and behind the HTTP server that goes with it."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.conversation import Conversation
from tv_etl.market_server.http import HttpServer, Route
from tv_etl.market_server.market import Market
from tv_etl.market_server.outbox import Hangup
from tv_etl.market_server.plans import ANONYMOUS, Plan
from tv_etl.market_server.screener import scan_route
from tv_etl.market_server.world import AnyMarket, World
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH

logger = logging.getLogger(__name__)

PATH = "/socket.io/websocket"

_ORIGIN = re.compile(r"https://([a-z0-9-]+\.)*tradingview\.com", re.IGNORECASE)


class MarketServer:
    """A market that listens on a loopback address while its context is open.

    `port` 0 takes a free one; `url` names it. `update_ms` is how often live series and quotes are looked at, in real
    time; everything else follows `clock`. `http_port` and `http_url` are the same for plain requests (the screener),
    the first `http_busy` of which are answered with HTTP 429 and `Retry-After: http_retry_after_s`.
    """

    def __init__(
        self,
        market: AnyMarket | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: MarketClock | None = None,
        plan: Plan = ANONYMOUS,
        latency_ms: float = 0.0,
        heartbeat_s: float = 10.0,
        update_ms: float = 1_000.0,
        http_port: int = 0,
        http_busy: int = 0,
        http_retry_after_s: int = 1,
    ) -> None:
        self.clock = clock or MarketClock()
        self._market = market or Market()
        self._plan = plan
        self._latency_s = latency_ms / 1_000
        self._heartbeat_s, self._update_s = heartbeat_s, update_ms / 1_000
        self._host, self._port = host, port
        self._http_port, self._http_busy, self._http_retry_after_s = http_port, http_busy, http_retry_after_s
        self._http: HttpServer | None = None
        self._server: Server | None = None
        self._world: World | None = None
        self._connections = 0

    @property
    def url(self) -> str:
        """The address for clients, once the server listens."""
        return f"ws://{self._host}:{self._port}{PATH}"

    @property
    def http_url(self) -> str:
        """The address for plain requests, once the server listens."""
        assert self._http is not None
        return self._http.url

    async def start(self) -> None:
        """Listen. Raises OSError where an address is taken."""
        loop = asyncio.get_running_loop()
        self._world = World(self._market, self.clock, loop.time, self._plan, self._latency_s)
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=_check_request,
            compression=None,  # the live server declines permessage-deflate
            max_size=MAX_MESSAGE_LENGTH,
            ping_interval=None,  # it has its own heartbeats
            server_header="tv",
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._http = HttpServer(
            _routes(self._world),
            host=self._host,
            port=self._http_port,
            latency_s=self._latency_s,
            busy_answers=self._http_busy,
            retry_after_s=self._http_retry_after_s,
        )
        try:
            await self._http.start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all connections and listen no more."""
        if self._http is not None:
            await self._http.stop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> "MarketServer":
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, connection: ServerConnection) -> None:
        assert self._world is not None
        self._connections += 1
        conversation = Conversation(
            self._world, self._connections, heartbeat_s=self._heartbeat_s, update_s=self._update_s
        )
        wake, closed = asyncio.Event(), asyncio.Event()
        writer = asyncio.create_task(_write(connection, conversation, wake, closed))
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
            with suppress(ConnectionClosed):
                await writer


def _routes(world: World) -> list[Route]:
    """Every path that is answered over plain HTTP."""
    return [Route("POST", "/(?P<market>[^/]+)/scan", scan_route(world))]


async def _write(
    connection: ServerConnection, conversation: Conversation, wake: asyncio.Event, closed: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    while not closed.is_set():
        wake.clear()
        conversation.advance()
        for message in conversation.take_due():
            if not isinstance(message, Hangup):
                await connection.send(message)
            elif message.is_abrupt:
                connection.transport.abort()
                return
            else:
                await connection.close()
                return
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(wake.wait(), max(conversation.next_due() - loop.time(), 0.0))


def _check_request(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] != PATH:
        return connection.respond(HTTPStatus.NOT_FOUND, "Not Found\n")
    origins = request.headers.get_all("Origin")
    if len(origins) != 1 or not _ORIGIN.fullmatch(origins[0]):
        return connection.respond(HTTPStatus.FORBIDDEN, "Forbidden\n")
    return None


@contextmanager
def serve_in_thread(market: AnyMarket | None = None, **options: Any) -> Iterator[MarketServer]:
    """A MarketServer for code that is not asynchronous; it takes the same options."""
    server = MarketServer(market, **options)
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
