"""The other ends of targets: servers on loopback that take only what their service documents.

Each enforces form, lengths, rates and tokens, and answers with the service's codes. Time is the test's: `now` of a
service moves only when a test moves it.
"""

import base64
import html
import json
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

NOW = 1_790_000_000.0
SECRET = "CANARY5f3aQ"


class Reply(NamedTuple):
    status: int
    body: Any = b""
    headers: Mapping[str, str] = {}


class Service:
    """What all of them have. `fault` is what it does in place of its work: drop, or a status."""

    secret_path = ""

    def __init__(self) -> None:
        self.now = NOW
        self.taken: list[dict[str, Any]] = []  # messages that were accepted
        self.replies: list[Reply] = []
        self.times: list[float] = []
        self.fault = ""

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        reply = Reply(int(self.fault), b"no") if self.fault.isdigit() else self.answer(path, headers, body)
        self.replies.append(reply)
        return reply

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        raise NotImplementedError

    def is_too_often(self, number: int, seconds: float) -> bool:
        """Counts this call; True if there were already so many in the last seconds."""
        recent = [each for each in self.times if each > self.now - seconds]
        if len(recent) >= number:
            return True
        self.times.append(self.now)
        return False

    @property
    def statuses(self) -> list[int]:
        return [each.status for each in self.replies]


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class Slack(Service):
    secret_path = f"/services/T0/B0/{SECRET}"

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if path != self.secret_path:
            return Reply(403, b"invalid_token")
        try:
            message = json.loads(body)
            text = message["text"]
        except (ValueError, KeyError):
            return Reply(400, b"invalid_payload")
        if not text or headers["content-type"] != "application/json":
            return Reply(400, b"no_text")
        is_markup = re.search(r"[<>]|&(?!amp;|lt;|gt;)", text) or message.get("mrkdwn") is not False
        if len(text) > 4000 or is_markup:
            return Reply(400, b"invalid_payload")
        if self.is_too_often(1, 1.0):
            return Reply(429, b"rate_limited", {"Retry-After": "30"})
        self.taken.append(message)
        return Reply(200, b"ok")

    def text(self, message: dict[str, Any]) -> str:
        return html.unescape(message["text"])


class Discord(Service):
    secret_path = f"/api/webhooks/1234/{SECRET}"
    is_deleted = False

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        url = urlsplit(path)
        if self.is_deleted:
            return Reply(404, {"message": "Unknown Webhook", "code": 10015})
        if url.path != self.secret_path:
            return Reply(401, {"message": "Invalid Webhook Token", "code": 50027})
        if parse_qs(url.query).get("wait") != ["true"]:
            return Reply(204)
        message = json.loads(body)
        embeds = message.get("embeds", [])
        lengths = [utf16(each["description"]) for each in embeds]
        is_valid = utf16(message["content"]) <= 2000 and len(embeds) <= 10 and max(lengths, default=0) <= 4096
        if not is_valid or sum(lengths) > 6000 or message["allowed_mentions"] != {"parse": []}:
            return Reply(400, {"message": "Invalid Form Body", "code": 50035})
        if self.is_too_often(5, 2.0):
            body_of_429 = {"message": "You are being rate limited.", "retry_after": 64.57, "global": False}
            return Reply(429, body_of_429, {"Retry-After": "65"})
        left = 5 - len([each for each in self.times if each > self.now - 2.0])
        self.taken.append(message)
        return Reply(200, {"id": "1"}, {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset-After": "2.0"})

    def text(self, message: dict[str, Any]) -> str:
        whole = "\n".join([message["content"], *(each["description"] for each in message.get("embeds", []))])
        return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", whole)


class _Entities(HTMLParser):
    """Text of Telegram's HTML; raises ValueError for what it would not parse."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("b", "i", "u", "s", "code", "pre", "a"):
            raise ValueError(tag)

    def handle_data(self, data: str) -> None:
        if "<" in data or "&" in data:
            raise ValueError(data)
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += html.unescape(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text += html.unescape(f"&#{name};")


class Telegram(Service):
    token = f"123456:{SECRET}-ABCDEFGHIJKLMNO"
    secret_path = ""
    chats = ("-100200300", "42")
    moved_to = 0

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if path != f"/bot{self.token}/sendMessage":
            return self._refused(401, "Unauthorized")
        message = json.loads(body)
        if self.moved_to:
            moved = "Bad Request: group chat was upgraded to a supergroup chat"
            return self._refused(400, moved, migrate_to_chat_id=self.moved_to)
        if message["chat_id"] not in self.chats:
            return self._refused(400, "Bad Request: chat not found")
        parser = _Entities()
        try:
            parser.feed(message["text"])
            parser.close()
        except ValueError:
            return self._refused(400, "Bad Request: can't parse entities")
        if utf16(parser.text) > 4096:
            return self._refused(400, "Bad Request: message is too long")
        is_group = message["chat_id"].startswith("-")
        recent = [each for each in self.times if each > self.now - 60.0]
        if (is_group and len(recent) >= 20) or self.is_too_often(1, 1.0):
            return self._refused(429, "Too Many Requests: retry after 34", retry_after=34)
        self.taken.append({**message, "parsed": parser.text})
        return Reply(200, {"ok": True, "result": {"message_id": len(self.taken)}})

    def _refused(self, code: int, description: str, **parameters: int) -> Reply:
        more = {"parameters": parameters} if parameters else {}
        return Reply(code, {"ok": False, "error_code": code, "description": description, **more})

    def text(self, message: dict[str, Any]) -> str:
        return str(message["parsed"])


class Ntfy(Service):
    topic, token = f"alerts-{SECRET}", f"tk_{SECRET}"

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if len(body) > 8192:
            return self._refused(413, 41303, "JSON body too large")
        message = json.loads(body)
        if headers.get("authorization") != f"Bearer {self.token}":
            return self._refused(401, 40101, "unauthorized")
        if message["topic"] != self.topic:
            return self._refused(403, 40301, "forbidden")
        is_typed = message["priority"] in range(1, 6) and all(isinstance(each, str) for each in message["tags"])
        if len(message["message"].encode()) > 4096 or not is_typed or path != "/":
            return self._refused(400, 40014, "attachments are disabled")
        if self.is_too_often(60, 300.0):
            return self._refused(429, 42901, "limit reached: too many requests")
        self.taken.append(message)
        return Reply(200, {"id": "x", "event": "message", **message})

    def _refused(self, status: int, code: int, error: str) -> Reply:
        return Reply(status, {"code": code, "http": status, "error": error, "link": "https://ntfy.sh/docs"})

    def text(self, message: dict[str, Any]) -> str:
        return f"{message['title']}\n{message['message']}"


class PagerDuty(Service):
    key = f"{SECRET}R" + "0" * (31 - len(SECRET))

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, dict[str, Any]] = {}
        self.acknowledged: set[str] = set()

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        message = json.loads(body)
        payload, errors = message["payload"], []
        if message["routing_key"] != self.key:
            errors.append(f"Invalid routing key {message['routing_key']}")
        if message["event_action"] not in ("trigger", "acknowledge", "resolve"):
            errors.append("event_action")
        if not 0 < len(message["dedup_key"]) <= 255 or not 0 < len(payload["summary"]) <= 1024 or not payload["source"]:
            errors.append("length")
        if payload["severity"] not in ("critical", "error", "warning", "info") or path != "/v2/enqueue":
            errors.append("severity")
        if errors or len(body) > 512 * 1024:
            return Reply(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        if self.is_too_often(120, 60.0):
            return Reply(429, {"status": "throttle exceeded", "message": "Requests for this service are too frequent"})
        self.taken.append(message)
        if message["event_action"] == "trigger":
            self.open[message["dedup_key"]] = message
        elif message["event_action"] == "acknowledge":
            self.acknowledged |= {message["dedup_key"]} & self.open.keys()
        else:
            self.open.pop(message["dedup_key"], None)
        return Reply(202, {"status": "success", "message": "Event processed", "dedup_key": message["dedup_key"]})

    def text(self, message: dict[str, Any]) -> str:
        return str(message["payload"]["summary"])


class Anything(Service):
    """Takes whatever is posted."""

    secret_path = f"/hook/{SECRET}"

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.taken.append({"headers": dict(headers), "body": body})
        return Reply(200, {"ok": True})

    def text(self, message: dict[str, Any]) -> str:
        return str(message["body"].decode())


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.service.fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, content, more = self.server.service.post(self.path, headers, body)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)


# --- mail


class MailServer(socketserver.ThreadingTCPServer):
    """A server that takes mail: with STARTTLS or TLS and a login, if it has a certificate and a password."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None, is_tls_at_once: bool = False, password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.tls, self.is_tls_at_once, self.password = tls, is_tls_at_once, password
        self.mails: list[tuple[list[str], bytes, bool]] = []  # recipients, message, whether over TLS
        self.refused: dict[str, str] = {}  # replies by what is said: an address, or a command
        self.fault = ""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Mail(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.is_safe = self.is_known = False
        if self.server.fault == "silent":
            self.rfile.readline()
            return
        if self.server.is_tls_at_once:
            self.secure()
        if "greeting" in self.server.refused:
            return self.say(self.server.refused["greeting"])
        self.say("220 mail.example ESMTP")
        recipients: list[str] = []
        while words := self.rfile.readline().decode("utf-8", "replace").strip():
            command = words.upper().partition(" ")[0]
            if command in self.server.refused:
                self.say(self.server.refused[command])
            elif command == "EHLO":
                has_tls = self.server.tls is not None and not self.is_safe
                features = ["mail.example", "8BITMIME", *(["STARTTLS"] if has_tls else [])]
                features += ["AUTH PLAIN"] if self.server.password and self.is_safe else []
                last = len(features) - 1
                for number, each in enumerate(features):
                    self.say(f"250{' ' if number == last else '-'}{each}")
            elif command == "STARTTLS":
                self.say("220 go ahead")
                self.secure()
            elif command == "AUTH":
                _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
                self.is_known = (user, password) == ("ops", self.server.password)
                self.say("235 welcome" if self.is_known else f"535 5.7.8 {password} is not the password of {user}")
            elif command == "MAIL":
                needs_login = bool(self.server.password) and not self.is_known
                self.say("530 5.7.0 authentication required" if needs_login else "250 ok")
            elif command == "RCPT":
                address = words.partition("<")[2].partition(">")[0]
                if address in self.server.refused:
                    self.say(self.server.refused[address])
                else:
                    recipients.append(address)
                    self.say("250 ok")
            elif command == "DATA":
                self.take(recipients)
            elif command == "QUIT":
                return self.say("221 bye")
            else:
                self.say("250 ok")

    def take(self, recipients: list[str]) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            assert line.endswith(b"\r\n") and len(line) <= 1000, line
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.server.fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.server.mails.append((list(recipients), b"".join(lines), self.is_safe))
        self.say("250 2.0.0 queued")

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def secure(self) -> None:
        assert self.server.tls is not None
        self.connection = self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.is_safe = True

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()


def serve(server: socketserver.BaseServer) -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    return thread
