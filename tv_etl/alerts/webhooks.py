"""Delivery of alerts to webhooks, at least once.

An alert counts as sent only when a destination answered 2xx; until then it waits in the outbox, which survives
the death of the process at any instant. A destination is hostile until proven otherwise: it may hang, drip,
redirect inwards or answer without end, and its URL is a secret. A crash between the answer and its record sends
an alert again, under the same `Idempotency-Key`.
"""

import asyncio
import contextvars
import hashlib
import html
import ipaddress
import json
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, field_validator, model_validator

from tv_etl.alerts.outbox import Delivery, Outbox, OutboxError, read_body
from tv_etl.alerts.outbox import OutboxBusy as OutboxBusy

CALL_DEADLINE_S = 5.0  # for one call as a whole, however slowly its bytes arrive
MAX_RESPONSE_BYTES = 64 * 1024
GROUP_ABOVE = 5  # more alerts than this for one destination become one message
MAX_GROUP_LINES = 50

_CONNECT_TIMEOUT_S = 3.0
_DRAIN_TIMEOUT_S = 0.5
_FIRST_BACKOFF_S = 5.0
_MAX_BACKOFF_S = 300.0
_DEAD_AFTER_S = 24 * 3600.0
_MAX_RETRY_AFTER_S = 3600.0
_RETRYABLE_STATUS = frozenset({408, 425, 429})
_MAX_ADDRESSES = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of local use, though some versions of Python count them as global.
_LOCAL = [ipaddress.ip_network(each) for each in ("fec0::/10", "64:ff9b:1::/48", "192.0.0.0/24", "192.88.99.0/24")]

_is_delivering = contextvars.ContextVar("_is_delivering", default=False)


class _DropWhileDelivering(logging.Filter):
    # httpx logs whole URLs at INFO and httpcore headers at DEBUG; other users of the libraries keep their logs.
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_delivering.get()


for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_DropWhileDelivering())


class Webhook(BaseModel):
    """A destination; its URL may hold a token and is never shown.

    `json` posts the alert's fields, `slack` a text; many alerts at once become one post, in `json` as
    `{event_id, text, alerts: [...]}`. Only public https addresses are called unless
    `allow_private` (plain http, and hosts on the local network).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    kind: Literal["json", "slack"] = "json"
    allow_private: bool = False

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
        """Identifies this destination in the outbox."""
        text = f"{self.kind} {self.url.get_secret_value()}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class DeliveryReport:
    """What one call of `deliver` did, counted in alerts; `errors` name hosts, never URLs."""

    sent: int = 0
    retried: int = 0
    dead: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Verdict:
    """The outcome of one call."""

    is_sent: bool = False
    is_dead: bool = False
    retry_after_s: float | None = None
    error: str = ""


@dataclass
class _Tally:
    sent: int = 0
    retried: int = 0
    dead: int = 0
    errors: list[str] = field(default_factory=list)


def deliver(
    outbox: Outbox,
    destinations: Sequence[Webhook],
    now: float,
    budget_s: float = 5.0,
    jitter: Callable[[], float] = random.random,
) -> DeliveryReport:
    """Send what is due to each destination, all of them in parallel, and return within about `budget_s`.

    Retries are scheduled from `now`. What is not reached stays due. What is refused for good (most 4xx) is dead
    at once; any other failure is retried, after 5 minutes at most, and dead after 24 hours. Safe to call where
    an event loop is running.
    """
    ends_at = time.monotonic() + budget_s
    by_key = {destination.key: destination for destination in destinations}
    tally = _Tally(dead=outbox.start_clock(now, tuple(by_key), _DEAD_AFTER_S))
    due_keys = {delivery.destination for delivery in outbox.pending(now)} & set(by_key)
    due = [destination for key, destination in by_key.items() if key in due_keys]
    if due:
        courier = _Courier(outbox, now, ends_at, jitter, tally)
        # A thread of its own: asyncio.run is impossible inside a running loop. Daemon: a stuck one blocks nobody.
        thread = threading.Thread(target=courier.run, args=(due,), name="tv_etl-deliver", daemon=True)
        thread.start()
        thread.join(budget_s + 2.0)
        if courier.failure is not None:
            raise courier.failure
    return DeliveryReport(tally.sent, tally.retried, tally.dead, tuple(dict.fromkeys(tally.errors)))


class _Courier:
    """Carries the due alerts of several destinations, one call at a time for each."""

    def __init__(self, outbox: Outbox, now: float, ends_at: float, jitter: Callable[[], float], tally: _Tally) -> None:
        self._outbox = outbox
        self._now = now
        self._ends_at = ends_at
        self._jitter = jitter
        self._tally = tally
        self.failure: OutboxError | None = None

    def run(self, destinations: Sequence[Webhook]) -> None:
        _is_delivering.set(True)
        try:
            asyncio.run(self._serve_all(destinations))
        except OutboxError as error:
            self.failure = error
        except Exception as error:  # a bug, but its text and its chain may hold the URL
            self.failure = OutboxError(f"delivery was cut short by {type(error).__name__}")

    async def _serve_all(self, destinations: Sequence[Webhook]) -> None:
        limits = httpx.Limits(max_keepalive_connections=len(destinations))
        async with httpx.AsyncClient(
            verify=_tls_context(), trust_env=False, follow_redirects=False, timeout=CALL_DEADLINE_S, limits=limits
        ) as client:
            await asyncio.gather(*(self._serve(client, one) for one in destinations))

    async def _serve(self, client: httpx.AsyncClient, destination: Webhook) -> None:
        found = await _resolve_soon(destination, min(self._ends_at - time.monotonic(), _CONNECT_TIMEOUT_S))
        while (left_s := self._ends_at - time.monotonic()) > 0:
            taken = self._outbox.take_group(self._now, destination.key, GROUP_ABOVE)
            if not taken:
                return
            group = [delivery for delivery in taken if delivery.is_readable]
            if len(group) < len(taken):
                self._bury(destination, [delivery for delivery in taken if not delivery.is_readable])
            if not group:
                continue
            if isinstance(found, str):
                verdict = _Verdict(error=found)
            else:
                verdict = await _post(client, destination, found, group, min(left_s, CALL_DEADLINE_S))
            self._record(destination, group, verdict)
            if not verdict.is_sent and not verdict.is_dead:
                return  # the next call would most likely fail as well, and the budget is short

    def _bury(self, destination: Webhook, unreadable: Sequence[Delivery]) -> None:
        error = f"{destination.host}: what the outbox holds is no alert: something else wrote or damaged it"
        self._outbox.mark_dead(unreadable, self._now, error)
        self._tally.errors.append(error)
        self._tally.dead += len(unreadable)

    def _record(self, destination: Webhook, group: Sequence[Delivery], verdict: _Verdict) -> None:
        tally, error = self._tally, f"{destination.host}: {verdict.error}"
        if verdict.is_sent:
            self._outbox.mark_sent(group, self._now)
            tally.sent += len(group)
            return
        tally.errors.append(error)
        first = group[0]
        if verdict.is_dead or self._now - (first.first_at or self._now) >= _DEAD_AFTER_S:
            self._outbox.mark_dead(group, self._now, error)
            tally.dead += len(group)
            return
        tally.retried += len(group)
        if verdict.retry_after_s is not None:
            self._outbox.hold(destination.key, self._now + verdict.retry_after_s)
        longest = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(first.attempts, 10))
        next_at = self._now + longest * (0.5 + 0.5 * self._jitter())
        self._outbox.mark_retry(group, next_at, error)


async def _post(
    client: httpx.AsyncClient,
    destination: Webhook,
    addresses: Sequence[str],
    group: Sequence[Delivery],
    deadline_s: float,
) -> _Verdict:
    """One call under one deadline: per-read time-outs would let a dripping server go on for ever."""
    answers: list[_Verdict] = []
    try:
        await asyncio.wait_for(_post_to_first(client, destination, addresses, group, answers), deadline_s)
    except (asyncio.TimeoutError, httpx.TimeoutException):
        answers.append(_Verdict(error="no answer in time"))
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        answers.append(_Verdict(error=type(error).__name__))  # its text may quote the URL
    return answers[0]  # the status counts, whatever becomes of the rest


async def _post_to_first(
    client: httpx.AsyncClient,
    destination: Webhook,
    addresses: Sequence[str],
    group: Sequence[Delivery],
    answers: list[_Verdict],
) -> None:
    for address in addresses[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _post_to(client, destination, address, group, answers)
    await _post_to(client, destination, addresses[-1], group, answers)


async def _post_to(
    client: httpx.AsyncClient,
    destination: Webhook,
    address: str,
    group: Sequence[Delivery],
    answers: list[_Verdict],
) -> None:
    url = destination.parsed_url
    # The address that was checked is the one that is called: a second look-up could give another.
    request = client.build_request(
        "POST",
        url.copy_with(host=address),
        content=_body(destination.kind, group),
        headers={
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Idempotency-Key": _group_id(group),
            "User-Agent": "tv-etl",
        },
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
        timeout=httpx.Timeout(CALL_DEADLINE_S, connect=_CONNECT_TIMEOUT_S),
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


def _judge(response: httpx.Response) -> _Verdict:
    status = response.status_code
    if 200 <= status < 300:
        return _Verdict(is_sent=True)
    is_dead = 400 <= status < 500 and status not in _RETRYABLE_STATUS
    retry_after_s = _read_retry_after(response.headers) if status in (429, 503) else None
    if status == 429 and retry_after_s is None:
        retry_after_s = _FIRST_BACKOFF_S
    return _Verdict(is_dead=is_dead, retry_after_s=retry_after_s, error=f"HTTP {status}")


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


# --- what is sent ---------------------------------------------------------------------------------------------


def _group_id(group: Sequence[Delivery]) -> str:
    return group[0].group_id or group[0].event_id


def _body(kind: str, group: Sequence[Delivery]) -> bytes:
    alerts = [found for delivery in group if (found := read_body(delivery.body)) is not None]
    if kind == "slack":
        return _dump({"text": _slack_text(alerts)})
    if group[0].group_id is None:
        return _dump(alerts[0])
    return _dump({"event_id": _group_id(group), "text": f"{len(alerts)} alerts", "alerts": alerts})


def _slack_text(alerts: Sequence[Mapping[str, Any]]) -> str:
    # Slack has no idempotency keys: the id lets people see that a message came twice.
    lines = [f"{_escape(alert['text'])} [{alert['event_id']}]" for alert in alerts[:MAX_GROUP_LINES]]
    if len(alerts) > 1:
        lines.insert(0, f"{len(alerts)} alerts")
    if len(alerts) > MAX_GROUP_LINES:
        lines.append(f"... and {len(alerts) - MAX_GROUP_LINES} more")
    return "\n".join(lines)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _dump(document: object) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


# --- where it may go ------------------------------------------------------------------------------------------


def _tls_context() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)  # with authorities: a slim container has none
    context.load_default_certs()  # the system's, a company's own included
    return context


async def _resolve_soon(destination: Webhook, deadline_s: float) -> "Sequence[str] | str":
    """Addresses of the destination, or why there are none.

    In a thread that nobody has to wait for: a look-up cannot be cancelled, and may take half a minute.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str] | str] = loop.create_future()

    def settle(result: "Sequence[str] | str") -> None:
        if not found.done():
            found.set_result(result)

    def resolve() -> None:
        result = _resolve(destination)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=resolve, name="tv_etl-resolve", daemon=True).start()
    try:
        return await asyncio.wait_for(found, deadline_s)
    except asyncio.TimeoutError:
        return "no address found in time"


def _resolve(destination: Webhook) -> "Sequence[str] | str":
    url = destination.parsed_url
    try:
        answers = socket.getaddrinfo(url.raw_host.decode("ascii"), url.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return "the host name has no address"
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not destination.allow_private and not all(_is_public(address) for address in addresses):
        return "refused: the address is not public (allow_private permits it)"
    return addresses[:_MAX_ADDRESSES] or "the host name has no address"


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            address = embedded
    if any(address in network for network in _LOCAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
