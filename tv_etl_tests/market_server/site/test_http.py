"""Plain requests on a real socket, sent by another HTTP library and by hand."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from tv_etl.market_server.site.http import MAX_BODY_BYTES, HttpRequest, HttpResponse, HttpServer, Route
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl_tests.patience import HANG_S


def echo(request: HttpRequest) -> HttpResponse:
    seen = {"arguments": dict(request.arguments), "query": dict(request.query), "body": request.body.decode()}
    return HttpResponse(HTTPStatus.OK, json.dumps(seen).encode())


@contextmanager
def serving(busy_answers: int = 0, retry_after_s: int = 1) -> Iterator[HttpServer]:
    routes = [Route("POST", "/(?P<name>[^/]+)/echo", echo), Route("GET", "/page", echo)]
    server = HttpServer(routes, busy_answers=busy_answers, retry_after_s=retry_after_s)
    with LoopThread() as loop:
        loop.run(server.start())
        yield server
        loop.run(server.stop())


def connection_to(server: HttpServer) -> HTTPConnection:
    return HTTPConnection(server.url.removeprefix("http://"), timeout=HANG_S)


def by_hand(server: HttpServer, text: bytes) -> str:
    """Everything that comes back for raw bytes until the server closes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=HANG_S) as raw:
        raw.sendall(text)
        return b"".join(iter(lambda: raw.recv(65_536), b"")).decode()


def test_a_route_gets_its_arguments_query_and_body_over_one_connection() -> None:
    with serving() as server:
        connection = connection_to(server)
        for body in ("first", "zweite Fünf"):
            connection.request("POST", "/a%20b/echo?x=1&y=", body.encode())
            found = json.loads(connection.getresponse().read())
            assert found == {"arguments": {"name": "a b"}, "query": {"x": "1", "y": ""}, "body": body}
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/a/echo", 405), ("POST", "/nowhere", 404), ("GET", "/page", 200)]
)
def test_what_no_route_answers_is_said(method: str, path: str, status: int) -> None:
    with serving() as server:
        connection = connection_to(server)
        connection.request(method, path)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
        assert response.getheader("Allow") == ("POST" if status == 405 else None)
        connection.close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nnocolon\r\n\r\n", 400),
        (b"GET /page HTTP/1.0\r\n\r\n", 400),
        (b"POST /a/echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /a/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /a/echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST /a/echo HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /page HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_a_request_that_cannot_be_read_is_answered_and_closed(text: bytes, status: int) -> None:
    with serving() as server:
        answer = by_hand(server, text)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "Connection: close" in answer


def test_the_first_requests_may_be_too_many() -> None:
    with serving(busy_answers=1, retry_after_s=7) as server:
        connection = connection_to(server)
        connection.request("GET", "/page")
        response = connection.getresponse()
        assert (response.status, response.getheader("Retry-After"), response.read() != b"") == (429, "7", True)
        connection.request("GET", "/page")
        assert connection.getresponse().read()
        connection.close()


def test_stopping_ends_connections_that_wait() -> None:
    server = HttpServer([])

    async def stop_with_an_open_connection() -> None:
        await server.start()
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n")
        await server.stop()
        # The half request was never read: some systems say so with a reset.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()

    async def within_a_deadline() -> None:
        await asyncio.wait_for(stop_with_an_open_connection(), HANG_S)

    asyncio.run(within_a_deadline())
