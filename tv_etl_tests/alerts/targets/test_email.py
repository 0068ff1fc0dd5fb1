"""Mail to a server on loopback that takes it, refuses it, hangs or breaks."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets import calls
from tv_etl.alerts.targets.email import EmailTarget
from tv_etl.alerts.targets.target import ReadyTarget, ready
from tv_etl_tests.alerts.targets.services import NOW, SECRET, MailServer, serve
from tv_etl_tests.alerts.targets.setups import make_alert
from tv_etl_tests.patience import HANG_S

USUAL = {"type": "email", "host": "localhost", "sender": "tv-etl@lake.example", "to": ["ops@desk.example"]}


@contextmanager
def running(*arguments: Any) -> Iterator[MailServer]:
    server = MailServer(*arguments)
    thread = serve(server)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[MailServer]:
    """One in a network of one's own: without TLS and without a login."""
    with running() as found:
        yield found


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for localhost, by an authority that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def alert_store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def target(server: MailServer, **settings: Any) -> ReadyTarget:
    usual = {**USUAL, "port": server.port, "security": "none", "allow_private": True}
    found = ready(EmailTarget.model_validate({**usual, **settings}), {"PASSWORD": SECRET})
    assert isinstance(found, ReadyTarget)
    return found


def send(
    store: AlertStore, to: ReadyTarget, *alerts: Alert, now: float = NOW, budget_s: float = HANG_S
) -> DeliveryReport:
    store.add(alerts, [to.key])
    return deliver(store, [to], now, budget_s, jitter=lambda: 1.0)


def mail(server: MailServer, number: int = 0) -> EmailMessage:
    found = message_from_bytes(server.mails[number][1], policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def text_of(server: MailServer) -> str:
    return str(mail(server).get_content()).replace("\r\n", "\n")


def test_an_alert_is_a_mail_with_its_id_in_the_message_id(alert_store: AlertStore, server: MailServer) -> None:
    to = target(server, to=["ops@desk.example", "night@desk.example"])
    alert = make_alert(7, severity="critical", tags=("fx",))
    assert send(alert_store, to, alert) == DeliveryReport(sent=1)
    [(recipients, _, _)] = server.mails
    assert recipients == ["ops@desk.example", "night@desk.example"]
    message = mail(server)
    assert message["Message-ID"] == f"<{alert.event_id}@lake.example>"
    assert message["Subject"].startswith("CRITICAL: NASDAQ:AAPL crossed above 10 at 10.5")
    assert (message["From"], message["To"]) == ("tv-etl@lake.example", "ops@desk.example, night@desk.example")
    assert (message["Auto-Submitted"], message["Importance"]) == ("auto-generated", "high")
    assert message["Date"].datetime.timestamp() == NOW
    text = text_of(server)
    assert "rule: rule-7\n" in text and "tags: fx\n" in text and "price: 10.5\n" in text


def test_what_is_over_refers_to_what_began(alert_store: AlertStore, server: MailServer) -> None:
    began = make_alert(1)
    send(alert_store, target(server), began, make_alert(2, ends=began.event_id))
    send(alert_store, target(server), make_alert(3, ends=began.event_id), now=NOW + 1)
    assert mail(server, 1)["References"] == f"<{began.event_id}@lake.example>"


def test_several_alerts_are_one_mail_with_all_of_them(alert_store: AlertStore, server: MailServer) -> None:
    alerts = [make_alert(number, f"X:S{number}") for number in range(1000)]
    assert send(alert_store, target(server), *alerts).sent == 1000
    assert mail(server)["Subject"] == "1,000 alerts"
    assert mail(server).get_content().count(" crossed above ") == 1000


def test_odd_characters_make_no_header_and_no_end_of_a_mail(alert_store: AlertStore, server: MailServer) -> None:
    message = "Z\u00fc\u6771\U0001f680\r\nBcc: evil@x.example\r\n.\r\nQUIT"
    assert send(alert_store, target(server), make_alert(message=message)).sent == 1
    found = mail(server)
    assert found["Bcc"] is None
    assert found["Subject"] == "Z\u00fc\u6771\U0001f680 Bcc: evil@x.example . QUIT"
    assert text_of(server).startswith("Z\u00fc\u6771\U0001f680 Bcc: evil@x.example . QUIT\n")


def test_a_very_long_message_is_cut_where_it_shows(alert_store: AlertStore, server: MailServer) -> None:
    assert send(alert_store, target(server), make_alert(message="\u6771" * 30_000)).sent == 1
    assert "… (500 characters)" not in mail(server)["Subject"]
    assert text_of(server).startswith("\u6771" * 500 + "… (30,000 characters)\n")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_password_goes_over_tls(alert_store: AlertStore, certificate: ssl.SSLContext, security: str) -> None:
    with running(certificate, security == "tls", SECRET) as server:
        to = target(server, security=security, user="ops", password_env="PASSWORD")
        assert send(alert_store, to, make_alert()) == DeliveryReport(sent=1)
        assert [is_safe for *_, is_safe in server.mails] == [True]


def test_a_password_that_is_refused_is_told_and_not_shown(alert_store: AlertStore, certificate: ssl.SSLContext) -> None:
    with running(certificate, False, "another") as server:
        to = target(server, security="starttls", user="ops", password_env="PASSWORD")
        report = send(alert_store, to, make_alert())
        assert report.errors == ("ops@desk.example (localhost): SMTP 535: 5.7.8 *** is not the password of ops",)
        server.password = SECRET
        assert send(alert_store, to, now=NOW + 60).sent == 1


def test_a_server_without_tls_gets_no_password(alert_store: AlertStore, server: MailServer) -> None:
    to = target(server, security="starttls", user="ops", password_env="PASSWORD")
    report = send(alert_store, to, make_alert())
    assert report.errors == ("ops@desk.example (localhost): the server offers no STARTTLS",)
    assert server.mails == []


def test_a_server_without_a_login_is_told(alert_store: AlertStore, certificate: ssl.SSLContext) -> None:
    with running(certificate, True) as server:
        to = target(server, security="tls", user="ops", password_env="PASSWORD")
        assert send(alert_store, to, make_alert()).errors == (
            "ops@desk.example (localhost): the server offers no login",
        )


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_signed_is_refused(
    alert_store: AlertStore, certificate: ssl.SSLContext, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with running(certificate, security == "tls") as server:
        report = send(alert_store, target(server, security=security), make_alert())
        assert (report.retried, server.mails) == (1, [])
        assert "CERTIFICATE_VERIFY_FAILED" in report.errors[0]


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        ({"greeting": "421 4.3.2 shutting down"}, "SMTP 421: 4.3.2 shutting down"),
        ({"MAIL": "451 4.7.1 greylisted"}, "SMTP 451: 4.7.1 greylisted"),
        ({"ops@desk.example": "550 5.1.1 unknown"}, "refused for every address: SMTP 550: 5.1.1 unknown"),
        ({"DATA": "452 4.2.2 full"}, "SMTP 452: 4.2.2 full"),
    ],
)
def test_a_refusal_is_told_and_tried_again(
    alert_store: AlertStore, server: MailServer, refused: dict[str, str], error: str
) -> None:
    server.refused = refused
    report = send(alert_store, target(server), make_alert())
    assert report == DeliveryReport(retried=1, errors=(f"ops@desk.example (localhost): {error}",))
    server.refused = {}
    assert send(alert_store, target(server), now=NOW + 60).sent == 1


def test_who_got_it_does_not_get_it_again_for_who_did_not(alert_store: AlertStore, server: MailServer) -> None:
    server.refused = {"night@desk.example": "550 5.1.1 unknown"}
    report = send(alert_store, target(server, to=["ops@desk.example", "night@desk.example"]), make_alert())
    assert report.sent == 1
    assert report.errors == ("ops@desk.example (localhost): refused for night@desk.example: SMTP 550: 5.1.1 unknown",)


def test_a_server_that_breaks_off_is_tried_again_with_the_same_id(alert_store: AlertStore, server: MailServer) -> None:
    server.fault = "drop"
    report = send(alert_store, target(server), make_alert())
    assert report.errors == ("ops@desk.example (localhost): SMTPServerDisconnected",)
    server.fault = ""
    assert send(alert_store, target(server), now=NOW + 60).sent == 1
    assert mail(server)["Message-ID"] == f"<{make_alert().event_id}@lake.example>"


def test_a_silent_server_ends_at_the_deadline_and_its_conversation_as_well(
    alert_store: AlertStore, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CALL_DEADLINE_S", HANG_S)
    server.fault = "silent"
    report = send(alert_store, target(server), make_alert(), budget_s=1.0)
    assert report.errors == ("ops@desk.example (localhost): no answer in time",)


def test_addresses_that_are_not_public_are_refused(alert_store: AlertStore, server: MailServer) -> None:
    private = send(alert_store, target(server, allow_private=False), make_alert())
    assert private.errors == (
        "ops@desk.example (localhost): refused: the address is not public (allow_private permits it)",
    )
    link = target(server, host="169.254.169.254", name="link")
    assert "one of the link" in send(alert_store, link, make_alert(1)).errors[0]
    assert server.mails == []


# --- through a proxy


class Proxy(threading.Thread):
    """An HTTP proxy for one connection after the other; keeps what it was asked."""

    def __init__(self, reply: bytes, port: int) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.reply, self.port, self.asked = reply, port, list[bytes]()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        with self.listener, self.listener.accept()[0] as client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.asked.append(head)
            client.sendall(self.reply)
            if b" 200 " in self.reply:
                self.join_to_server(client)

    def join_to_server(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65_536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def test_with_a_proxy_mail_goes_through_it_and_only_it_knows_the_name(
    alert_store: AlertStore, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", server.port)
    proxy.start()
    monkeypatch.setenv("TV_ETL_PROXY", f"http://me:p%40ss@{proxy.address}")
    assert send(alert_store, target(server, host="mail.invalid"), make_alert()).sent == 1
    proxy.join()
    assert proxy.asked[0].startswith(b"CONNECT mail.invalid:%d HTTP/1.1\r\n" % server.port)
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in proxy.asked[0]
    assert len(server.mails) == 1


def test_a_proxy_that_refuses_is_a_failure_of_this_call(
    alert_store: AlertStore, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n", server.port)
    proxy.start()
    monkeypatch.setenv("TV_ETL_PROXY", f"http://{proxy.address}")
    report = send(alert_store, target(server, host="mail.invalid"), make_alert())
    proxy.join()
    assert (report.retried, report.errors) == (1, ("ops@desk.example (mail.invalid): ConnectionError",))


# --- how it is written down


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"to": []}, "at least 1 item"),
        ({"to": ["ops"]}, "'ops' is no address; write name@example.com"),
        ({"sender": "a@b\nBcc: c@d"}, "is no address"),
        ({"host": "smtp.example:25"}, "host"),
        ({"port": 0}, "port"),
        ({"user": "ops"}, "user and password_env belong together"),
        ({"password_env": "PASSWORD"}, "user and password_env belong together"),
        ({"user": "ops", "password_env": "PASSWORD", "security": "none"}, "a password needs security: starttls or tls"),
    ],
)
def test_a_mistake_says_what_would_be_right(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EmailTarget.model_validate({**USUAL, **settings})
    assert words in str(caught.value)


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_follows_from_the_security(security: Any, port: int) -> None:
    assert EmailTarget.model_validate({**USUAL, "security": security}).place({}).port == port
