"""An honest way to an S3, until it is told to do something to a request."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

FORWARD, HANG_UP, LOSE_ANSWER, IGNORE_CONDITION = "forward", "hang up", "lose answer", "ignore condition"

# Method and path of a request -> one of the above, or the code of an error that S3 has.
Judge = Callable[[str, str], str]
STATUS = {"AccessDenied": 403, "PreconditionFailed": 412, "SlowDown": 503}


class S3Proxy:
    """`judge` is asked before each request is passed on; `requests` are those that were, in their order."""

    def __init__(self, target: str, judge: Judge = lambda method, path: FORWARD) -> None:
        self.judge = judge
        self.requests: list[tuple[str, str]] = []
        self._target = urlsplit(target).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:  # the client was killed
                    self.close_connection = True

            def do_GET(self) -> None:
                proxy._pass_on(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        decision = self.judge(request.command, unquote(request.path))
        if decision == HANG_UP:
            request.close_connection = True
            return
        if decision in STATUS:
            text = f"<Error><Code>{decision}</Code><Message>so it was decided</Message></Error>".encode()
            self._answer(request, STATUS[decision], {"Content-Type": "application/xml"}, text)
            return
        self.requests.append((request.command, unquote(request.path)))
        headers = dict(request.headers)
        if decision == IGNORE_CONDITION:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
        connection = http.client.HTTPConnection(self._target)
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if decision == LOSE_ANSWER:
            request.close_connection = True
            return
        self._answer(request, answer.status, dict(answer.getheaders()), content)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                request.send_header(name, value)
        size = headers.get("Content-Length", "0") if request.command == "HEAD" else str(len(content))
        request.send_header("Content-Length", size)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)


@contextmanager
def s3_proxy(target: str) -> Iterator[S3Proxy]:
    proxy = S3Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
