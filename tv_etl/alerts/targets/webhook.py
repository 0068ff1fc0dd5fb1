"""A webhook: where it may lead, and one call of it.

It is hostile until proven otherwise: it may hang, drip, redirect inwards or answer without end, and its URL is a
secret.
"""

import asyncio
import contextvars
import hashlib
import ipaddress
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator, model_validator

from tv_etl.alerts.messages import json_message, slack_message

CALL_DEADLINE_S = 5.0  # for one call as a whole, however slowly its bytes arrive
CONNECT_TIMEOUT_S = 3.0
MAX_RESPONSE_BYTES = 64 * 1024
FIRST_WAIT_S = 5.0
GONE = 410  # the only answer that says: never again
PROXY_VARIABLE = "TV_ETL_PROXY"

_DRAIN_TIMEOUT_S = 0.5
_MAX_RETRY_AFTER_S = 3600.0
_MAX_ADDRESSES = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of local use, though some versions of Python count them as global.
_LOCAL = [ipaddress.ip_network(each) for each in ("fec0::/10", "64:ff9b:1::/48", "192.0.0.0/24", "192.88.99.0/24")]
# Where clouds answer a machine with its own credentials, beside the addresses of the link.
_METADATA = [ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")]

_is_delivering = contextvars.ContextVar("_is_delivering", default=False)


class _DropWhileDelivering(logging.Filter):
    # httpx logs whole URLs at INFO and httpcore headers at DEBUG; other users of the libraries keep their logs.
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_delivering.get()


for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_DropWhileDelivering())


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the libraries below from logging addresses."""
    token = _is_delivering.set(True)
    try:
        yield
    finally:
        _is_delivering.reset(token)


class Webhook(BaseModel):
    """A destination; its URL may hold a token and is never shown.

    `json` posts the alert's fields, `slack` a text; many alerts at once become one post, in `json` as
    `{event_id, text, alerts: [...]}`. Only public https addresses are called unless `allow_private` (plain http, and
    hosts on the local network); those of a link, where clouds keep their machines' secrets, never. `name` is what the
    target is called in the store and in messages, such as its variable: its address may then change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    kind: Literal["json", "slack"] = "json"
    allow_private: bool = False
    name: str = ""

    @field_validator("url")
    @classmethod
    def _check_url(cls, secret: SecretStr) -> SecretStr:
        try:
            url = httpx.URL(secret.get_secret_value())
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise ValueError("not a URL") from None
        if url.scheme not in ("https", "http") or not url.host:
            raise ValueError("expected https://host/...")
        return secret

    @model_validator(mode="after")
    def _check_scheme(self) -> "Webhook":
        if self.parsed_url.scheme != "https" and not self.allow_private:
            raise ValueError("expected https:// (or allow_private, on your own network)")
        return self

    @property
    def parsed_url(self) -> httpx.URL:
        return httpx.URL(self.url.get_secret_value())

    @property
    def host(self) -> str:
        """The only part of the URL that may be shown."""
        return self.parsed_url.host

    @property
    def key(self) -> str:
        """Identifies this target in the store."""
        return f"{self.kind} {self.name}" if self.name else self.former_key

    @property
    def former_key(self) -> str:
        """Identified this target in the outbox that was before the store."""
        text = f"{self.kind} {self.url.get_secret_value()}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def label(self) -> str:
        """What the target is called where people read it."""
        return f"{self.name} ({self.host})" if self.name else self.host

    def message(self, message_id: str, alerts: Sequence[Mapping[str, Any]], is_group: bool) -> bytes:
        """What is posted."""
        return slack_message(alerts) if self.kind == "slack" else json_message(message_id, alerts, is_group)


@dataclass(frozen=True)
class UnusableTarget:
    """A target that cannot be called as it is configured; what waits for it goes on waiting."""

    key: str
    label: str
    reason: str


def read_webhook(
    variable: str, url: str, kind: Literal["json", "slack"] = "json", allow_private: bool = False
) -> Webhook | UnusableTarget:
    """The webhook whose address an environment variable holds; without one, or with a malformed one, what is wrong."""
    unusable = UnusableTarget(f"{kind} {variable}", variable, "")
    if not url:
        return replace(unusable, reason=f"environment variable {variable} is not set; it must hold the address")
    try:
        return Webhook(url=SecretStr(url), kind=kind, allow_private=allow_private, name=variable)
    except ValidationError as error:
        reasons = ", ".join(each["msg"] for each in error.errors(include_input=False, include_url=False))
        return replace(unusable, reason=f"environment variable {variable}: {reasons}")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one call."""

    is_sent: bool = False
    is_dead: bool = False
    retry_after_s: float | None = None
    error: str = ""


def http_client(connections: int) -> httpx.AsyncClient:
    """What calls are made with; through the proxy of TV_ETL_PROXY if that is set.

    Other proxies of the environment are not used. Raises ValueError, without the address, for one that is none.
    """
    proxy = os.environ.get(PROXY_VARIABLE) or None
    try:
        return httpx.AsyncClient(
            verify=tls_context(),
            trust_env=False,
            proxy=proxy,
            follow_redirects=False,
            timeout=CALL_DEADLINE_S,
            limits=httpx.Limits(max_keepalive_connections=connections),
        )
    except (ValueError, httpx.InvalidURL, ImportError):
        raise ValueError(f"{PROXY_VARIABLE}: expected the address of a proxy, e.g. http://proxy:3128") from None


async def post(
    client: httpx.AsyncClient,
    webhook: Webhook,
    addresses: Sequence[str],
    message_id: str,
    content: bytes,
    deadline_s: float,
) -> Verdict:
    """One call under one deadline: per-read time-outs would let a dripping server go on for ever."""
    answers: list[Verdict] = []
    try:
        await asyncio.wait_for(_post_to_first(client, webhook, addresses, message_id, content, answers), deadline_s)
    except (asyncio.TimeoutError, httpx.TimeoutException):
        answers.append(Verdict(error="no answer in time"))
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        answers.append(Verdict(error=type(error).__name__))  # its text may quote the URL
    return answers[0]  # the status counts, whatever becomes of the rest


async def _post_to_first(
    client: httpx.AsyncClient,
    webhook: Webhook,
    addresses: Sequence[str],
    message_id: str,
    content: bytes,
    answers: list[Verdict],
) -> None:
    for address in addresses[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _post_to(client, webhook, address, message_id, content, answers)
    await _post_to(client, webhook, addresses[-1], message_id, content, answers)


async def _post_to(
    client: httpx.AsyncClient,
    webhook: Webhook,
    address: str,
    message_id: str,
    content: bytes,
    answers: list[Verdict],
) -> None:
    url = webhook.parsed_url
    # The address that was checked is the one that is called: a second look-up could give another.
    request = client.build_request(
        "POST",
        url.copy_with(host=address),
        content=content,
        headers={
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Idempotency-Key": message_id,
            "User-Agent": "tv-etl",
        },
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
        timeout=httpx.Timeout(CALL_DEADLINE_S, connect=CONNECT_TIMEOUT_S),
    )
    response = await client.send(request, stream=True)
    try:
        answers.append(_judge(response))
        # Only so that the connection can be reused: for that the answer must be read to its end.
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(response), _DRAIN_TIMEOUT_S)
    finally:
        await response.aclose()


async def _drain(response: httpx.Response) -> None:
    received = 0
    async for chunk in response.aiter_raw():  # raw: a compressed bomb stays compressed
        received += len(chunk)
        if received >= MAX_RESPONSE_BYTES:
            return


def _judge(response: httpx.Response) -> Verdict:
    status = response.status_code
    if 200 <= status < 300:
        return Verdict(is_sent=True)
    retry_after_s = _read_retry_after(response.headers) if status in (429, 503) else None
    if status == 429 and retry_after_s is None:
        retry_after_s = FIRST_WAIT_S
    return Verdict(is_dead=status == GONE, retry_after_s=retry_after_s, error=f"HTTP {status}")


def _read_retry_after(headers: httpx.Headers) -> float | None:
    """Seconds from Retry-After, which is a number or a date; a date counts from the answer's own."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_AFTER_S)
    try:
        until, date = (parsedate_to_datetime(value) for value in (text, headers.get("Date", "")))
    except (TypeError, ValueError):
        return None
    aware = [moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc) for moment in (until, date)]
    return min(max((aware[0] - aware[1]).total_seconds(), 0.0), _MAX_RETRY_AFTER_S)


# --- where it may go ------------------------------------------------------------------------------------------


def tls_context() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)  # with authorities: a slim container has none
    context.load_default_certs()  # the system's, a company's own included
    return context


async def resolve_soon(webhook: Webhook, deadline_s: float) -> Sequence[str] | str:
    """Addresses of the webhook, or why there are none.

    In a thread that nobody has to wait for: a look-up cannot be cancelled, and may take half a minute.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str] | str] = loop.create_future()

    def settle(result: Sequence[str] | str) -> None:
        if not found.done():
            found.set_result(result)

    def resolve() -> None:
        result = _resolve(webhook)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=resolve, name="tv_etl-resolve", daemon=True).start()
    try:
        return await asyncio.wait_for(found, deadline_s)
    except asyncio.TimeoutError:
        return "no address found in time"


def _resolve(webhook: Webhook) -> Sequence[str] | str:
    url = webhook.parsed_url
    if os.environ.get(PROXY_VARIABLE) and not _is_literal(url.host):
        return [url.host]  # behind a proxy, only that may know the names
    try:
        answers = socket.getaddrinfo(url.raw_host.decode("ascii"), url.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return "the host name has no address"
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if any(_is_of_the_link(address) for address in addresses):
        return "refused: the address is one of the link, or of a cloud's metadata"
    if not webhook.allow_private and not all(_is_public(address) for address in addresses):
        return "refused: the address is not public (allow_private permits it)"
    return addresses[:_MAX_ADDRESSES] or "the host name has no address"


def _is_public(text: str) -> bool:
    address = _address(text)
    if any(address in network for network in _LOCAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _is_literal(host: str) -> bool:
    try:
        _address(host)
    except ValueError:
        return False
    return True


def _is_of_the_link(text: str) -> bool:
    address = _address(text)
    return address.is_link_local or any(address == each for each in _METADATA)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address, or the one of version 4 that is embedded in it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return embedded
    return address
