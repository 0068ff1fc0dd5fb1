"""Delivery against real servers on loopback that misbehave, one address for each way."""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from tv_etl.alerts import courier as courier_module
from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.addresses import OF_THE_LINK
from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.target import ReadyTarget, Secrets
from tv_etl.alerts.targets.webhook import WebhookTarget
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import free_port

NOW = 1_790_000_000.0
SECRET = "CANARY5f3a"
COURIER = "tv_etl-deliver"


class Post(NamedTuple):
    path: str
    key: str
    body: dict[str, Any]
    host: str


class HookServer(ThreadingHTTPServer):
    """Answers by path: `/204`, `/302`, `/429?7`, `/drip`, `/bomb`, `/lost`, ...; keeps what was posted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.posts: list[Post] = []
        self.gets = 0
        self.stopping = threading.Event()
        self.has_answered = threading.Event()
        self.couriers: list[bool] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are the point

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}/{SECRET}"

    @property
    def keys(self) -> list[str]:
        return [post.key for post in self.posts]


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HookServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.gets += 1
        self.answer(200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append(Post(self.path, self.headers["Idempotency-Key"], body, self.headers["Host"]))
        fault = self.path.split("/")[1]
        if fault.isdigit():
            self.answer(int(fault))
        else:
            getattr(self, fault)()

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"ok") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(0 if status == 204 else len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)
        self.server.has_answered.set()

    def limit(self) -> None:
        self.answer(429, {"Retry-After": "120"})

    def limit_until(self) -> None:
        self.send_response_only(429)
        self.send_header("Date", "Sun, 22 Nov 2026 10:00:00 GMT")
        self.send_header("Retry-After", "Sun, 22 Nov 2026 10:02:00 GMT")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def threads(self) -> None:
        self.server.couriers = [each.daemon for each in threading.enumerate() if each.name == COURIER]
        self.answer(200)

    def redirect(self) -> None:
        self.answer(302, {"Location": self.server.url("/200")})

    def lost(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def after_another(self) -> None:
        if self.server.has_answered.wait(HANG_S):
            self.answer(200)

    def drip(self) -> None:
        self.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Slow: " + b"x" * 1000)

    def drip_body(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        self.trickle(b"x" * 100_000)

    def trickle(self, data: bytes) -> None:
        for byte in data:
            if self.server.stopping.wait(0.05):
                return
            self.wfile.write(bytes([byte]))

    def bomb(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n")
        piece = b"100000\r\n" + b"\0" * 0x100000 + b"\r\n"
        for _ in range(400):
            self.wfile.write(piece)

    def garbage(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[HookServer]:
    hooks = HookServer()
    thread = threading.Thread(target=hooks.serve_forever, args=(0.01,))
    thread.start()
    yield hooks
    hooks.stopping.set()
    hooks.shutdown()
    hooks.server_close()
    thread.join()


@pytest.fixture
def alert_store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def make_alert(number: int = 0, symbol: str = "NASDAQ:AAPL") -> Alert:
    return Alert(f"{number:032x}", f"rule-{number}", symbol, "cross_up", 10.0, 10.5, 1_789_999_980, NOW)


def local(url: str, kind: str = "json", allow_private: bool = True) -> ReadyTarget:
    """A target at an address, called by what is no secret of it."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", url.replace(SECRET, ""))
    settings = {"url_env": "HOOK", "name": name, "allow_private": allow_private}
    is_slack = kind == "slack"
    spec = (SlackTarget if is_slack else WebhookTarget).model_validate(
        {"type": "slack" if is_slack else "webhook", **settings}
    )
    return ReadyTarget(spec, Secrets({"HOOK": url}))


def send(
    alert_store: AlertStore, *hooks: ReadyTarget, count: int = 1, now: float = NOW, budget_s: float = HANG_S
) -> DeliveryReport:
    alert_store.add([make_alert(number) for number in range(count)], [hook.key for hook in hooks])
    return deliver(alert_store, hooks, now, budget_s, jitter=lambda: 1.0)


def test_an_alert_is_posted_with_its_id_as_idempotency_key(alert_store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/200"))
    assert send(alert_store, hook) == DeliveryReport(sent=1)
    assert server.posts[0].key == server.posts[0].body["event_id"] == make_alert().event_id
    assert server.posts[0].body == {
        "event_id": "0" * 32, "rule": "rule-0", "symbol": "NASDAQ:AAPL", "kind": "cross_up", "level": 10.0,
        "price": 10.5, "touched_at": 1_789_999_980, "detected_at": NOW, "text": make_alert().text,
        "severity": "warning", "tags": [], "groups": [], "message": "", "status": "firing", "incident": "0" * 32,
        "link": "",
    }  # fmt: skip
    assert send(alert_store, hook) == DeliveryReport()
    assert alert_store.stats == DeliveryStats(pending=0, delivered=1, dead=0)


def test_slack_gets_escaped_text_with_the_id(alert_store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/200"), "slack")
    alert_store.add([make_alert(7, "X:<!channel>&")], [hook.key])
    assert deliver(alert_store, [hook], NOW).sent == 1
    text = server.posts[0].body["text"]
    assert "X:&lt;!channel&gt;&amp; crossed above 10" in text
    assert make_alert(7).event_id in text


def test_a_webhook_that_is_down_gets_the_alert_when_it_is_up(alert_store: AlertStore) -> None:
    port = free_port()
    hook = local(f"http://127.0.0.1:{port}/200/{SECRET}")
    report = send(alert_store, hook)
    assert (report.retried, report.errors) == (1, (f"{hook.label}: ConnectError",))
    assert send(alert_store, hook, now=NOW + 4.9) == DeliveryReport()  # backs off
    hooks = HookServer()
    hooks.server_close()
    hooks.socket = socket.create_server(("127.0.0.1", port))
    hooks.server_port = port
    thread = threading.Thread(target=hooks.serve_forever, args=(0.01,))
    thread.start()
    assert send(alert_store, hook, now=NOW + 5.0).sent == 1
    hooks.shutdown()
    hooks.server_close()
    thread.join()


def test_failures_back_off_to_five_minutes_and_are_dead_after_a_day(alert_store: AlertStore) -> None:
    hook = local(f"http://127.0.0.1:{free_port()}/")
    alert_store.add([make_alert()], [hook.key])
    tried: list[float] = []
    now = NOW
    while alert_store.stats.pending and len(tried) < 400:
        if deliver(alert_store, [hook], now, jitter=lambda: 1.0).errors:
            tried.append(now - NOW)
        [wait] = [due for due in (5, 10, 20, 40, 80, 160, 300) if alert_store.pending(now + due)][:1] or [0]
        now += wait
        if len(tried) == 9:
            now += 24 * 3600
    assert tried[:9] == [0, 5, 15, 35, 75, 155, 315, 615, 915]
    assert len(tried) == 10
    assert alert_store.stats.dead == 1


def test_the_clock_set_back_does_not_stop_delivery(alert_store: AlertStore, server: HookServer) -> None:
    down, up = local(server.url("/503")), local(server.url("/200"))
    send(alert_store, down, now=NOW)
    assert alert_store.pending(NOW) == []
    assert len(alert_store.pending(NOW - 7200)) == 1
    assert send(alert_store, up, now=NOW - 7200).sent == 1


def test_what_is_gone_for_good_is_dead_at_once(alert_store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/410"))
    assert send(alert_store, hook) == DeliveryReport(dead=1, errors=(f"{hook.label}: HTTP 410",))
    [letter] = alert_store.dead_letters(10)
    assert (letter.rule, letter.error) == ("rule-0", f"{hook.label}: HTTP 410")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 425, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(alert_store: AlertStore, server: HookServer, status: int) -> None:
    hook = local(server.url(f"/{status}"))
    assert send(alert_store, hook) == DeliveryReport(retried=1, errors=(f"{hook.label}: HTTP {status}",))


@pytest.mark.parametrize("path", ["/limit", "/limit_until"])
def test_retry_after_is_obeyed_per_destination(alert_store: AlertStore, server: HookServer, path: str) -> None:
    limited, free = local(server.url(path)), local(server.url("/200"))
    report = send(alert_store, limited, free, count=3)
    assert (report.sent, report.retried) == (3, 1)
    assert send(alert_store, limited, free, count=4, now=NOW + 119).sent == 1
    assert [post.path for post in server.posts].count(f"{path}/{SECRET}") == 1
    assert send(alert_store, limited, free, count=4, now=NOW + 120).retried == 1


def test_a_redirect_is_not_followed(alert_store: AlertStore, server: HookServer) -> None:
    report = send(alert_store, local(server.url("/redirect")))
    assert (report.retried, len(server.posts), server.gets) == (1, 1, 0)


def test_a_lost_answer_sends_the_same_key_again(alert_store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/lost"))
    assert send(alert_store, hook).retried == 1
    assert send(alert_store, hook, now=NOW + 60).retried == 1
    assert server.keys == [make_alert().event_id] * 2


def in_vain(hook: ReadyTarget) -> DeliveryReport:
    return DeliveryReport(retried=1, errors=(f"{hook.label}: no answer in time",))


@pytest.mark.parametrize("is_the_budget", [True, False], ids=["the budget", "the limit of a call"])
def test_a_dripping_answer_ends_at_the_deadline(
    alert_store: AlertStore, server: HookServer, monkeypatch: pytest.MonkeyPatch, is_the_budget: bool
) -> None:
    monkeypatch.setattr(courier_module, "CALL_DEADLINE_S", HANG_S if is_the_budget else 1.0)
    hook = local(server.url("/drip"))
    assert send(alert_store, hook, budget_s=1.0 if is_the_budget else HANG_S) == in_vain(hook)


def test_a_silent_server_ends_at_the_deadline(alert_store: AlertStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "CALL_DEADLINE_S", HANG_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = local(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert send(alert_store, hook, budget_s=1.0) == in_vain(hook)


def test_a_server_that_waits_holds_up_no_other(
    alert_store: AlertStore, server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answers only after the second has got its alert."""
    monkeypatch.setattr(courier_module, "CALL_DEADLINE_S", HANG_S)
    assert send(alert_store, local(server.url("/after_another")), local(server.url("/200"))).sent == 2


def test_an_accepted_alert_is_sent_although_the_body_drips(
    alert_store: AlertStore, server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "CALL_DEADLINE_S", 3.0)
    assert send(alert_store, local(server.url("/drip_body"))).sent == 1


def test_an_endless_body_is_not_read(alert_store: AlertStore, server: HookServer) -> None:
    before = resident_bytes()
    assert send(alert_store, local(server.url("/bomb"))).sent == 1
    assert resident_bytes() - before < 64 * 1024 * 1024


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_what_is_not_http_is_tried_again(alert_store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/garbage"))
    assert send(alert_store, hook).errors == (f"{hook.label}: RemoteProtocolError",)


def test_a_thousand_alerts_are_one_message_and_stay_one(alert_store: AlertStore, server: HookServer) -> None:
    slack, plain = local(server.url("/lost"), "slack"), local(server.url("/200"))
    report = send(alert_store, slack, plain, count=1000)
    assert (report.sent, report.retried) == (1000, 1000)
    [message] = [post for post in server.posts if post.path.startswith("/200")]
    assert [alert["event_id"] for alert in message.body["alerts"]] == [make_alert(n).event_id for n in range(1000)]
    send(alert_store, slack, plain, count=1001, now=NOW + 60)
    messages = [post for post in server.posts if post.path.startswith("/lost")]
    lines = messages[0].body["text"].splitlines()
    assert lines[0] == "1,000 alerts"
    assert lines[-2] == f"and {1000 - (len(lines) - 3)} more, see the alerts in Dagster"
    # The new one goes first, by itself; the group is what it was.
    assert [post.key for post in messages].count(messages[0].key) == 1
    send(alert_store, slack, now=NOW + 120)
    again = [post for post in server.posts if post.key == messages[0].key and post.path.startswith("/lost")]
    assert len(again) == 2 and again[0] == again[1]


def test_a_few_alerts_are_a_message_each(alert_store: AlertStore, server: HookServer) -> None:
    assert send(alert_store, local(server.url("/200")), count=5).sent == 5
    assert server.keys == [make_alert(n).event_id for n in range(5)]


def test_delivery_works_inside_a_running_event_loop(alert_store: AlertStore, server: HookServer) -> None:
    async def run() -> DeliveryReport:
        return send(alert_store, local(server.url("/204")))

    assert asyncio.run(run()).sent == 1


def test_delivery_that_is_stuck_keeps_no_process_from_its_end(alert_store: AlertStore, server: HookServer) -> None:
    send(alert_store, local(server.url("/threads")))
    assert server.couriers == [True]


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that does not answer as long as the test lasts."""
    is_over = threading.Event()

    def wait(*_: object, **__: object) -> None:
        is_over.wait(HANG_S)
        raise socket.gaierror("over")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    yield
    is_over.set()


def test_a_name_that_is_not_found_in_time_is_tried_again(
    alert_store: AlertStore, no_names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "CONNECT_TIMEOUT_S", 0.1)
    report = send(alert_store, local("http://hooks.example/x"), budget_s=HANG_S)
    assert (report.retried, report.errors) == (1, ("http---hooks.example-x (hooks.example): no address found in time",))


def test_a_name_is_looked_for_no_longer_than_delivery_may_take(alert_store: AlertStore, no_names: None) -> None:
    report = send(alert_store, local("http://hooks.example/x"), budget_s=0.1)
    assert report == DeliveryReport()
    assert COURIER not in [each.name for each in threading.enumerate()]


def test_proxies_of_the_environment_are_not_used(
    alert_store: AlertStore, server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert send(alert_store, local(server.url("/200"))).sent == 1


class Proxy(BaseHTTPRequestHandler):
    """Keeps what it is asked to reach, and answers in its place."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_proxy_that_is_named_is_used_and_knows_the_names(
    alert_store: AlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("TV_ETL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        report = send(alert_store, local("http://hook.invalid/x"), local("http://169.254.169.254/x"))
        proxy.shutdown()
        thread.join()
    assert (report.sent, report.retried) == (1, 1)
    assert Proxy.asked == ["http://hook.invalid/x"]


def test_a_proxy_that_is_none_is_named_and_the_alerts_wait(
    alert_store: AlertStore, server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TV_ETL_PROXY", f"ftp://{SECRET}/")
    report = send(alert_store, local(server.url("/200")))
    assert report.errors == ("TV_ETL_PROXY: expected the address of a proxy, e.g. http://proxy:3128",)
    assert (alert_store.stats.pending, server.posts) == (1, [])


def test_a_destination_that_is_gone_gives_up_its_alerts_after_a_day(alert_store: AlertStore) -> None:
    alert_store.add([make_alert()], [local("http://127.0.0.1:9/").key])
    assert deliver(alert_store, [], NOW) == DeliveryReport()
    assert deliver(alert_store, [], NOW + 24 * 3600).dead == 1
    assert alert_store.dead_letters(10)[0].error == "the target is no longer configured"


# --- where it may go ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "2130706433", "127.1", "[fec0::1]", "192.0.0.8", "192.0.0.9", "[64:ff9b:1::1]", "[::ffff:192.0.0.8]",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(alert_store: AlertStore, host: str) -> None:
    report = send(alert_store, local(f"https://{host}/{SECRET}", allow_private=False))
    assert report.retried == 1
    assert "refused: the address is" in report.errors[0] or "no address" in report.errors[0]


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"])
def test_a_clouds_metadata_is_never_called_whatever_is_allowed(alert_store: AlertStore, host: str) -> None:
    hook = local(f"http://{host}/latest/meta-data")
    assert hook.host == host.strip("[]")
    assert send(alert_store, hook).errors == (f"{hook.label}: {OF_THE_LINK}",)


@pytest.fixture
def tls_server(server: HookServer, tmp_path: Path) -> HookServer:
    """The server with a certificate for `localhost` that nobody signed; `certificate.pem` in tmp_path."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    try:
        subprocess.run([*command, *files, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_a_certificate_that_nobody_signed_is_refused(alert_store: AlertStore, tls_server: HookServer) -> None:
    hook = local(f"https://localhost:{tls_server.server_port}/200/{SECRET}")
    report = send(alert_store, hook)
    assert (report.retried, report.errors, tls_server.posts) == (1, (f"{hook.label}: ConnectError",), [])


def test_the_certificate_is_checked_against_the_name_not_the_address(
    alert_store: AlertStore, tls_server: HookServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    port = tls_server.server_port
    report = send(alert_store, local(f"https://localhost:{port}/200/{SECRET}"), local(f"https://127.0.0.1:{port}/200/"))
    assert (report.sent, report.retried) == (1, 1)
    assert [post.host for post in tls_server.posts] == [f"localhost:{port}"]


# --- the secret -----------------------------------------------------------------------------------------------


def test_the_secret_is_nowhere(
    alert_store: AlertStore,
    server: HookServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, logger=name)
    paths = ["/200", "/404", "/500", "/limit", "/redirect", "/lost", "/garbage", "/drip"]
    hooks = [local(server.url(path)) for path in paths]
    hooks += [local(server.url("/200"), "slack"), local(f"http://127.0.0.1:{free_port()}/{SECRET}")]
    hooks += [local(f"https://user:{SECRET}@127.0.0.1:{server.server_port}/"), local(f"http://no.invalid/{SECRET}")]
    report = send(alert_store, *hooks, budget_s=2.5)
    assert (report.sent, report.dead, report.retried) == (2, 0, 10)
    output = capfd.readouterr()
    shown = [caplog.text, output.out, output.err, repr(report), repr(hooks), str(alert_store.dead_letters(10))]
    shown += [hooks[0].spec.model_dump_json(), repr(alert_store.pending(NOW + 3600))]
    assert not [text for text in shown if SECRET in text]
    assert not [file for file in tmp_path.rglob("*") if SECRET.encode() in file.read_bytes()]


def test_others_keep_their_httpx_logs(server: HookServer, caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    caplog.set_level(logging.INFO, logger="httpx")
    httpx.get(server.url("/200"), trust_env=False)
    assert "HTTP Request" in caplog.text


# --- death ----------------------------------------------------------------------------------------------------

SENDER = """
import sys
from pathlib import Path
from tv_etl.alerts.courier import deliver
from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.target import ReadyTarget, Secrets
from tv_etl.alerts.targets.webhook import WebhookTarget

store = AlertStore(Path(sys.argv[1]))
spec = WebhookTarget(type="webhook", url_env="HOOK", name=sys.argv[4], allow_private=True)
hook = ReadyTarget(spec, Secrets({"HOOK": sys.argv[2]}))
for number in range(int(sys.argv[3]), 10_000_000):
    alert = Alert(f"{number:032x}", "r", "X:Y", "above", 1.0, 1.0, None, 1.0)
    store.add([alert], [hook.key])
    print(alert.event_id, flush=True)
    deliver(store, [hook], 1790000000.0)
"""


@pytest.mark.slow
def test_kills_in_the_middle_of_adding_and_delivering_lose_nothing(tmp_path: Path, server: HookServer) -> None:
    path, url = tmp_path / "alerts.sqlite", server.url("/200")
    acknowledged: list[str] = []
    for kill in range(3):
        command = [sys.executable, "-c", SENDER, str(path), url, str(kill * 1_000_000), local(url).spec.called]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as sender:
            assert sender.stdout is not None
            for _ in range(3 + kill):
                acknowledged.append(sender.stdout.readline().strip())
            sender.send_signal(signal.SIGKILL)
            acknowledged += sender.stdout.read().split()
    alert_store = AlertStore(path)
    deliver(alert_store, [local(url)], NOW + 60)
    assert alert_store.stats.pending == alert_store.stats.dead == 0
    assert set(acknowledged) <= set(server.keys)
    assert len(set(server.keys)) == alert_store.stats.delivered
    assert len(server.keys) - len(set(server.keys)) <= 3  # at most the one that was on its way, per kill


BAD_ROWS = {
    "no JSON": "not JSON",
    "empty": "",
    "bytes": b"\xff\xfe",
    "deep": "[" * 100_000 + "]" * 100_000,
    "list": "[]",
    "no keys": '{"rule": "r"}',
    "other types": '{"event_id": 1, "rule": [], "text": {}}',
    "no number": '{"event_id": "a", "rule": "r", "text": "t", "price": NaN}',
    "half a character": '{"event_id": "a", "rule": "r", "text": "\\ud800", "price": 1e999}',
}


@pytest.mark.parametrize("kind", ["json", "slack"])
@pytest.mark.parametrize("count", [2, 7], ids=["one by one", "grouped"])
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_dead_and_the_others_go_out(
    bad: str, count: int, kind: str, alert_store: AlertStore, server: HookServer, tmp_path: Path
) -> None:
    hook = local(server.url("/200"), kind)
    alert_store.add([make_alert(number) for number in range(count)], [hook.key])
    with closing(sqlite3.connect(tmp_path / "alerts.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE event SET body = ? WHERE rowid = 1", (BAD_ROWS[bad],))
        db.execute("UPDATE delivery SET event_id = 'caf\u00e9\nX: y' WHERE id = 2")
    report = deliver(alert_store, [hook], NOW, HANG_S)
    assert (report.sent, report.dead) == (count - 2, 2)
    assert alert_store.stats == DeliveryStats(pending=0, delivered=count - 2, dead=2)
    assert len(server.posts) == (1 if count > 2 else 0)
    letters = alert_store.dead_letters(10)
    assert len(letters) == 2
    assert all("what the store holds is no alert" in letter.error for letter in letters)
