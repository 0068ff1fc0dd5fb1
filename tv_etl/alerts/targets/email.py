"""Email, by SMTP: the message, and the conversation with the server that takes it.

RFC 5322 has the message and its Message-ID, which is the alert's, so that one that comes twice is shown once; RFC 3834
Auto-Submitted, so that nothing automatic answers; RFC 6409 submission on port 587 with STARTTLS, RFC 8314 TLS from the
start on port 465; RFC 5321 the replies. Servers limit rates as they like, and say so in a reply.
"""

import base64
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from tv_etl.alerts.messages import by_severity, linked, title
from tv_etl.alerts.targets.target import MAX_REASON, Envelope, Place, Secrets, TargetSpec, VariableName, Verdict, failed
from tv_etl.tradingview.printable import printable

Security = Literal["starttls", "tls", "none"]
Connect = Callable[[float], socket.socket]

MAX_SUBJECT = 200
_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_HOST = r"^[A-Za-z0-9._-]{1,253}$|^[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$"
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def _check_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no address; write name@example.com")
    return address


Address = Annotated[str, AfterValidator(_check_address)]


class EmailTarget(TargetSpec):
    """Mailboxes, by a server that takes mail."""

    type: Literal["email"] = Field(description="email")
    host: str = Field(pattern=_HOST, description="Name of the server, e.g. smtp.example.com.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Its port; by default 587 for starttls, 465 for tls, 25 for none."
    )
    security: Security = Field(
        default="starttls", description="starttls; tls from the start; or none, in a network of your own."
    )
    user: str = Field(default="", description="Login at the server; without one, none is tried.")
    password_env: VariableName | None = Field(
        default=None, description="Name of the environment variable that holds the login's password."
    )
    sender: Address = Field(description="Address that the mail is from.")
    to: Annotated[list[Address], Field(min_length=1)] = Field(description="Addresses that the mail is for.")

    kind: ClassVar[str] = "email"

    @model_validator(mode="after")
    def _check_login(self) -> "EmailTarget":
        if bool(self.user) != (self.password_env is not None):
            raise ValueError("user and password_env belong together")
        if self.user and self.security == "none":
            raise ValueError("a password needs security: starttls or tls")
        return self

    @property
    def default_name(self) -> str:
        return self.to[0]

    def mistake(self, secrets: Mapping[str, str]) -> str:
        return ""

    def place(self, secrets: Mapping[str, str]) -> Place:
        return Place(self.host, self.port or _PORTS[self.security], self.allow_private)

    def shown(self, secrets: Mapping[str, str], envelope: Envelope) -> str:
        place = self.place(secrets)
        message = self.compose(envelope)
        heads = [f"{name}: {value}" for name, value in message.items()]
        return "\n".join([f"SMTP to {place.host}:{place.port}", *heads, "", message.get_content()])

    def compose(self, envelope: Envelope) -> EmailMessage:
        """The mail. A subject of more than one event counts them; the body has all of them."""
        events, domain = by_severity(envelope.events), self.sender.partition("@")[2]
        message = EmailMessage(policy=SMTP)
        message["Subject"] = printable(title(events), MAX_SUBJECT)
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Date"] = format_datetime(datetime.fromtimestamp(envelope.now, timezone.utc))
        message["Message-ID"] = f"<{envelope.message_id}@{domain}>"
        if len(events) == 1 and events[0].incident != events[0].event_id:
            message["References"] = f"<{_local(events[0].incident)}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        if events[0].severity == "critical":
            message["Importance"] = "high"
        lines = [linked(each) for each in events]
        details = [f"{name}: {value}" for name, value in _details(envelope)] if len(events) == 1 else []
        message.set_content("\n".join([*lines, *(["", *details] if details else [])]) + "\n", charset="utf-8")
        return message

    def send(
        self,
        secrets: Secrets,
        envelope: Envelope,
        connect: Connect,
        tls: ssl.SSLContext,
        left_s: float,
        opened: "list[Conversation]",
    ) -> Verdict:
        """One conversation over what `connect` gives; it is put into `opened` so that another thread can abort it."""
        try:
            with Conversation(self.host, connect, tls if self.security == "tls" else None, left_s, opened) as server:
                server.ehlo_or_helo_if_needed()
                if self.security == "starttls":
                    if not server.has_extn("starttls"):
                        return failed("the server offers no STARTTLS")
                    server.starttls(context=tls)
                    server.ehlo()
                if self.password_env:
                    if not server.has_extn("auth"):
                        return failed("the server offers no login")
                    server.login(self.user, secrets[self.password_env])
                refused = server.send_message(self.compose(envelope))
                said = "accepted by the server"
                if refused:
                    # Whoever got it is not to get it again and again.
                    said = f"refused for {', '.join(refused)}: {_said(*next(iter(refused.values())))}"
                    return Verdict(is_sent=True, error=said, answer=said)
                return Verdict(is_sent=True, answer=said)
        except smtplib.SMTPRecipientsRefused as error:
            return failed(f"refused for every address: {_said(*next(iter(error.recipients.values())))}")
        except smtplib.SMTPResponseException as error:
            return failed(_said(error.smtp_code, error.smtp_error))
        except ssl.SSLError as error:
            return failed(f"{type(error).__name__}: {printable(error.reason or '', MAX_REASON)}")
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return failed(type(error).__name__)


class Conversation(smtplib.SMTP):
    """A conversation over a connection that is made elsewhere, where it was checked to which address."""

    def __init__(
        self, host: str, connect: Connect, tls: ssl.SSLContext | None, left_s: float, opened: "list[Conversation]"
    ) -> None:
        self._connect, self._tls = connect, tls
        name = socket.gethostname()  # not its full name, which may take a look-up
        super().__init__(local_hostname=name if "." in name else "[127.0.0.1]", timeout=left_s)
        self._host = host  # what a certificate must be for
        opened.append(self)
        code, text = self.connect(host)
        if code != 220:
            self.close()
            raise smtplib.SMTPConnectError(code, text)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        raw = self._connect(timeout)
        if self._tls is None:
            return raw
        try:
            return self._tls.wrap_socket(raw, server_hostname=host)
        except (OSError, ValueError):
            raw.close()
            raise

    def abort(self) -> None:
        """End it from another thread, whatever it waits for."""
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *args: object) -> None:
        # Accepted is accepted, whatever becomes of the good-bye.
        with suppress(smtplib.SMTPException, OSError):
            if self.sock is not None:
                self.docmd("QUIT")
        self.close()


def _details(envelope: Envelope) -> list[tuple[str, str]]:
    known = envelope.events[0].values()
    names = ("rule", "symbol", "kind", "level", "price", "severity", "tags", "groups", "status", "time", "event_id")
    shown = [(name, ", ".join(known[name]) if isinstance(known[name], list) else known[name]) for name in names]
    return [(name, printable(str(value))) for name, value in shown if value not in (None, "")]


def _local(message_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "", message_id)


def _said(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"SMTP {code}: {printable(' '.join(shown.split()), MAX_REASON)}"


# --- through a proxy


def tunnel(proxy: socket.socket, host: str, port: int, login: str) -> None:
    """Have an HTTP proxy connect to a server. Raises OSError where it does not."""
    authorization = f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n" if login else ""
    name = f"[{host}]" if ":" in host else host
    proxy.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{authorization}\r\n".encode("ascii"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = proxy.recv(1)  # the server speaks first, and what it says is not the proxy's
        if not byte or len(head) > 8192:
            raise ConnectionError("the proxy gave no answer")
        head += byte
    if not re.match(rb"HTTP/1\.[01] 2\d\d ", head):
        raise ConnectionError("the proxy refused")
