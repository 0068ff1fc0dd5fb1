"""A WebSocket server that says exactly what a test tells it to: the wire, without our market server's habits."""

import asyncio
import base64
import hashlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tv_etl.tradingview.frames import PacketDecoder, encode_packet

Message = dict[str, Any]

# What the other end writes to its log is not what a test of the client looks at.
_log = logging.getLogger("tv_etl_tests.scripted_server")
_log.setLevel(logging.CRITICAL)

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
NOW_MS = 1_787_292_487_429
NOW = NOW_MS // 1000


class Line:
    """The server's end of one connection, with what the client has sent on it."""

    def __init__(self, socket: ServerConnection, server: "Script") -> None:
        self._socket = socket
        self.server = server
        self.received: list[Message] = []
        self.heartbeats: list[str] = []

    async def say(self, *messages: Message | str) -> None:
        """Send messages as packets of one WebSocket message; a text is a payload such as a heartbeat."""
        await self.say_text("".join(encode_packet(m if isinstance(m, str) else json.dumps(m)) for m in messages))

    async def say_text(self, text: str) -> None:
        await self._socket.send(text)

    async def close(self, code: int) -> None:
        """End the connection politely."""
        await self._socket.close(code)

    async def hang_up(self) -> None:
        """Drop the TCP connection without a closing handshake."""
        self._socket.transport.abort()


Answer = Callable[[Line, str, list[Any]], Awaitable[None]]


class Script:
    """What the server does with each command, and what it has seen."""

    def __init__(self, answer: Answer, status: HTTPStatus | None, headers: dict[str, str]) -> None:
        self._answer = answer
        self._status = status
        self._headers = headers
        self.url = ""
        self.lines: list[Line] = []
        self.requests: list[Request] = []

    def methods(self) -> list[str]:
        return [message["m"] for line in self.lines for message in line.received]

    def refuse(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        """Answer every further connection with an HTTP status."""
        self._status, self._headers = status, headers

    def process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self._status is None:
            return None
        response = socket.respond(self._status, "no\n")
        response.headers.update(self._headers)
        return response

    async def handle(self, socket: ServerConnection) -> None:
        line = Line(socket, self)
        self.lines.append(line)
        decoder = PacketDecoder()
        try:
            async for text in socket:
                assert isinstance(text, str)
                for payload in decoder.feed(text):
                    if payload.startswith("~h~"):
                        line.heartbeats.append(payload)
                        continue
                    message = json.loads(payload)
                    line.received.append(message)
                    await self._answer(line, message["m"], message["p"])
        except ConnectionClosed:
            pass


@asynccontextmanager
async def scripted_server(
    answer: Answer,
    *,
    status: HTTPStatus | None = None,
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Script]:
    """Serve on a free port of the loopback."""
    script = Script(answer, status, headers or {})
    async with serve(
        script.handle, "127.0.0.1", 0, process_request=script.process_request, ssl=tls, logger=_log
    ) as server:
        port = server.sockets[0].getsockname()[1]
        script.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/socket.io/websocket"
        yield script


@asynccontextmanager
async def raw_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve bare TCP, for what no WebSocket server would do."""
    handlers: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            with suppress(asyncio.CancelledError, OSError):  # the test is over, or the client has gone
                await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    async with server:
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/socket.io/websocket"
        finally:
            for task in handlers:
                task.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)


@asynccontextmanager
async def slow_line(url: str, bytes_per_s: float) -> AsyncIterator[str]:
    """The address of a line to the server at `url` that carries its answers no faster."""
    parts = urlsplit(url)
    piece = max(int(bytes_per_s / 100), 1)

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, pause_s: float) -> None:
        with suppress(OSError):
            while data := await source.read(piece):
                sink.write(data)
                await sink.drain()
                await asyncio.sleep(pause_s)
        sink.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            await asyncio.gather(carry(reader, commands, 0.0), carry(answers, writer, piece / bytes_per_s))
        finally:
            commands.close()

    async with raw_server(connect) as slow_url:
        yield slow_url


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a WebSocket on bare TCP; from then on the test writes the frames, or does not."""
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = request.lower().index("sec-websocket-key: ") + len("sec-websocket-key: ")
    digest = hashlib.sha1((request[key : request.index("\r\n", key)] + _GUID).encode()).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    await writer.drain()


def text_frame(payload: bytes) -> bytes:
    """A whole text message as the bytes of one unmasked frame."""
    return b"\x81\x7f" + len(payload).to_bytes(8, "big") + payload


# --- the live server's messages, as recorded --------------------------------------------------------------------


def series_loading(session: str) -> Message:
    return {"m": "series_loading", "p": [session, "sds_1", "s1"], "t": NOW, "t_ms": NOW_MS}


def symbol_resolved(session: str, /, **info: Any) -> Message:
    return {"m": "symbol_resolved", "p": [session, "sds_sym_1", info], "t": NOW, "t_ms": NOW_MS}


def bars(
    session: str, *rows: list[float], first: int = 0, method: str = "timescale_update", close: int = NOW
) -> Message:
    points = [{"i": index, "v": row} for index, row in enumerate(rows, start=first)]
    series = {"node": "n", "s": points, "ns": {"d": "", "indexes": []}, "t": "s1", "lbs": {"bar_close_time": close}}
    changes = {"index": first, "zoffset": 0, "changes": [row[0] for row in rows], "marks": [], "index_diff": []}
    if method == "du":
        return {"m": "du", "p": [session, {"sds_1": series}]}
    return {"m": method, "p": [session, {"sds_1": series}, changes], "t": NOW, "t_ms": NOW_MS}


def series_completed(session: str, /, **extra: Any) -> Message:
    info = {"rt_update_period": 5, **extra}
    return {"m": "series_completed", "p": [session, "sds_1", "streaming", "s1", info], "t": NOW, "t_ms": NOW_MS}


def qsd(session: str, symbol: str, status: str = "ok", errmsg: str = "", /, **fields: Any) -> Message:
    quote = {"n": symbol, "s": status, "v": fields}
    return {"m": "qsd", "p": [session, {**quote, "errmsg": errmsg} if errmsg else quote]}


def quote_completed(session: str, symbol: str) -> Message:
    return {"m": "quote_completed", "p": [session, symbol]}
