"""The market's HTTP side: a small HTTP/1.1 server and its table of routes.

For what the chart protocol leaves to plain requests. It knows no market: routes carry the handlers. Bodies are read by
Content-Length and connections are kept alive; that is all of HTTP that clients of TradingView use.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024  # the largest scan that a screener page sends is a few kilobytes
IDLE_S = 60.0


@dataclass(frozen=True)
class HttpRequest:
    """A request that a route matched: `arguments` are the groups of its pattern, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpResponse:
    """An answer, sent after `delay_s`; its length is added then."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    delay_s: float = 0.0


@dataclass(frozen=True)
class Route:
    """Who answers which path: a pattern for the whole of it, with named groups."""

    method: str
    pattern: str
    answer: Callable[[HttpRequest], HttpResponse]


class HttpServer:
    """Serves a table of routes on a loopback address.

    `port` 0 takes a free one; `url` names it. The first `busy_answers` requests are answered with HTTP 429 and
    `Retry-After: retry_after_s`, whatever they ask. With `tls` it speaks HTTPS.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        latency_s: float = 0.0,
        busy_answers: int = 0,
        retry_after_s: int = 1,
    ) -> None:
        self._routes = routes
        self._host, self._port, self._tls = host, port, tls
        self._latency_s = latency_s
        self._busy_answers, self._retry_after_s = busy_answers, retry_after_s
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address for clients, once the server listens."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, limit=MAX_HEAD_BYTES, ssl=self._tls
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Cancelled by stop: ended here, since asyncio would report a cancelled connection as an error.
            with suppress(asyncio.CancelledError, asyncio.TimeoutError, OSError, asyncio.IncompleteReadError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(asyncio.CancelledError, OSError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False if it was the connection's last."""
        received = await _read_request(reader)
        if isinstance(received, HttpResponse):
            is_last, method, response = True, "", received
        else:
            is_last = received.headers.get("connection", "").lower() == "close"
            method, response = received.method, self._respond(received)
        await asyncio.sleep(self._latency_s + response.delay_s)
        headers = {"Content-Length": str(len(response.body)), "Server": "tv", **response.headers}
        if is_last:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else response.body))
        await writer.drain()
        return not is_last

    def _respond(self, request: HttpRequest) -> HttpResponse:
        if self._busy_answers > 0:
            self._busy_answers -= 1
            return plain(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(self._retry_after_s)})
        allowed = []
        for route in self._routes:
            match = re.fullmatch(route.pattern, request.path)
            if match is None:
                continue
            if route.method == request.method or (route.method, request.method) == ("GET", "HEAD"):
                return route.answer(replace(request, arguments=match.groupdict()))
            allowed.append(route.method)
        if allowed:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(allowed)})
        return plain(HTTPStatus.NOT_FOUND)


def plain(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer that only says its status."""
    return HttpResponse(status, f"{status.phrase}\n".encode(), {"Content-Type": "text/plain", **(headers or {})})


async def _read_request(reader: asyncio.StreamReader) -> HttpRequest | HttpResponse:
    """The next request, or the answer to a malformed one. Raises IncompleteReadError at the end of the connection."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_S)
    except asyncio.LimitOverrunError:
        return plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    match = re.fullmatch(r"([A-Z]+) (/[^ ?]*)(?:\?([^ ]*))? HTTP/1\.1", first)
    fields = [line.partition(":") for line in lines]
    if match is None or not all(name and colon for name, colon, _ in fields):
        return plain(HTTPStatus.BAD_REQUEST)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if "transfer-encoding" in headers:
        return plain(HTTPStatus.LENGTH_REQUIRED)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return plain(HTTPStatus.BAD_REQUEST)
    if len(length) > 9 or int(length) > MAX_BODY_BYTES:
        return plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = await asyncio.wait_for(reader.readexactly(int(length)), IDLE_S)
    method, path, query = match.groups(default="")
    return HttpRequest(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, body)
