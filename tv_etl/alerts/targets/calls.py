"""How a message gets to its target: where it may go, and one call.

The other side is hostile until proven otherwise: it may hang, drip, redirect inwards or answer without end, and the
address is a secret.
"""

import asyncio
import contextvars
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from tv_etl.alerts.targets.addresses import is_literal, refusal
from tv_etl.alerts.targets.apprise import AppriseTarget
from tv_etl.alerts.targets.email import Conversation, EmailTarget, tunnel
from tv_etl.alerts.targets.ping import ReadyPing
from tv_etl.alerts.targets.target import (
    Answer,
    Envelope,
    HttpSpec,
    Place,
    ReadyTarget,
    Request,
    Secrets,
    Verdict,
    failed,
    http_verdict,
)
from tv_etl.tradingview.tls import tls_context

CALL_DEADLINE_S = 5.0  # for one call as a whole, however slowly its bytes arrive
CONNECT_TIMEOUT_S = 3.0
MAX_RESPONSE_BYTES = 64 * 1024
PROXY_VARIABLE = "TV_ETL_PROXY"
Judge = Callable[[Answer], Verdict]
LATE = failed("no answer in time")
_DRAIN_TIMEOUT_S = 0.5
_MAX_ADDRESSES = 3

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


async def locate(target: ReadyTarget, deadline_s: float) -> Sequence[str] | str:
    """The addresses at which a target may be called, or why there are none."""
    if isinstance(target.spec, AppriseTarget):
        return []  # its process looks them up, and guards its own connections
    place = target.spec.place(target.secrets)
    return await in_thread(lambda: _resolve(place), deadline_s) or "no address found in time"


async def call(
    client: httpx.AsyncClient, target: ReadyTarget, found: Sequence[str] | str, envelope: Envelope, deadline_s: float
) -> Verdict:
    """Send a message once to where the target was located; whatever happens is a verdict, without a secret in it."""
    spec, secrets = target.spec, target.secrets
    if isinstance(found, str):
        verdict = Verdict(error=found, answer=found)
    elif isinstance(spec, HttpSpec):
        verdict = await _send(client, spec.request(secrets, envelope), spec.judge, found, deadline_s)
    elif isinstance(spec, EmailTarget):
        verdict = await _mail(spec, secrets, envelope, found, deadline_s)
    elif isinstance(spec, AppriseTarget):
        proxy = os.environ.get(PROXY_VARIABLE, "")
        verdict = await in_thread(lambda: spec.send(secrets, envelope, proxy, deadline_s), deadline_s + 1.0) or LATE
    else:
        raise TypeError(f"no way to call a {type(spec).__name__}")
    return replace(verdict, error=secrets.redact(verdict.error), answer=secrets.redact(verdict.answer))


async def call_once(target: ReadyTarget, envelope: Envelope, deadline_s: float = CALL_DEADLINE_S) -> Verdict:
    """The same by itself, for whoever tries a target by hand. Raises ValueError for a proxy that is none."""
    with quietly():
        async with http_client(1) as client:
            found = await locate(target, min(deadline_s, CONNECT_TIMEOUT_S))
            return await call(client, target, found, envelope, deadline_s)


# --- HTTP


async def ping(target: ReadyPing, deadline_s: float = CALL_DEADLINE_S) -> str:
    """Call a dead man's switch once; empty if it took that, else why not, without its address."""
    if target.mistake:
        return target.mistake
    try:
        with quietly():
            async with http_client(1) as client:
                found = await in_thread(lambda: _resolve(target.place), min(deadline_s, CONNECT_TIMEOUT_S))
                if found is None or isinstance(found, str):
                    return found or "no address found in time"
                request = Request(target.url, b"", method="GET")
                verdict = await _send(client, request, http_verdict, found, deadline_s)
    except ValueError as error:
        return str(error)
    return verdict.error if not verdict.is_sent else ""


async def _send(
    client: httpx.AsyncClient, request: Request, judge: Judge, addresses: Sequence[str], deadline_s: float
) -> Verdict:
    answers: list[Verdict] = []
    try:
        await asyncio.wait_for(_send_to_first(client, request, judge, addresses, answers), deadline_s)
    except (asyncio.TimeoutError, httpx.TimeoutException):
        answers.append(LATE)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        answers.append(failed(type(error).__name__))  # its text may quote the URL
    return answers[0]  # the status counts, whatever becomes of the rest


async def _send_to_first(
    client: httpx.AsyncClient, request: Request, judge: Judge, addresses: Sequence[str], answers: list[Verdict]
) -> None:
    for address in addresses[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _send_to(client, request, judge, address, answers)
    await _send_to(client, request, judge, addresses[-1], answers)


async def _send_to(
    client: httpx.AsyncClient, request: Request, judge: Judge, address: str, answers: list[Verdict]
) -> None:
    url = httpx.URL(request.url)
    headers = {"User-Agent": "tv-etl", **request.headers}
    # The address that was checked is the one that is called: a second look-up could give another.
    built = client.build_request(
        request.method,
        url.copy_with(host=address),
        content=request.content,
        headers={**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
        timeout=httpx.Timeout(CALL_DEADLINE_S, connect=CONNECT_TIMEOUT_S),
    )
    response = await client.send(built, stream=True)
    try:
        head = Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()})
        answers.append(judge(head))
        body = bytearray()
        # It may say why, and for how long; and a connection can be reused only after the end of an answer.
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_read(response, body), _DRAIN_TIMEOUT_S)
        answers[0] = judge(replace(head, body=bytes(body)))
    finally:
        await response.aclose()


async def _read(response: httpx.Response, body: bytearray) -> None:
    async for chunk in response.aiter_raw():  # raw: a compressed bomb stays compressed
        body += chunk[: MAX_RESPONSE_BYTES - len(body)]
        if len(body) >= MAX_RESPONSE_BYTES:
            return


# --- mail


async def _mail(
    spec: EmailTarget,
    secrets: Secrets,
    envelope: Envelope,
    addresses: Sequence[str],
    deadline_s: float,
) -> Verdict:
    port = spec.place(secrets).port
    opened: list[Conversation] = []

    def connect(timeout_s: float) -> socket.socket:
        proxy = os.environ.get(PROXY_VARIABLE)
        if proxy:
            return _through(proxy, addresses[0], port, timeout_s)
        for address in addresses[:-1]:
            with suppress(OSError):
                return socket.create_connection((address, port), min(timeout_s, CONNECT_TIMEOUT_S))
        return socket.create_connection((addresses[-1], port), min(timeout_s, CONNECT_TIMEOUT_S))

    def send() -> Verdict:
        return spec.send(secrets, envelope, connect, tls_context(), max(deadline_s, 0.1), opened)

    verdict = await in_thread(send, deadline_s)
    if verdict is None:
        for conversation in opened:
            conversation.abort()
    return verdict or LATE


def _through(proxy: str, host: str, port: int, timeout_s: float) -> socket.socket:
    parts = urlsplit(proxy)
    if parts.scheme in ("socks5", "socks5h"):
        return _through_socks(proxy, host, port, timeout_s)
    if parts.scheme != "http" or not parts.hostname:
        raise ConnectionError("mail goes through proxies of http:// and socks5h://")
    connection = socket.create_connection((parts.hostname, parts.port or 80), timeout_s)
    try:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        tunnel(connection, host, port, login)
    except BaseException:
        connection.close()
        raise
    return connection


def _through_socks(proxy: str, host: str, port: int, timeout_s: float) -> socket.socket:
    from python_socks import ProxyError, ProxyTimeoutError
    from python_socks.sync import Proxy

    parts = urlsplit(proxy)
    plain = urlunsplit(parts._replace(scheme="socks5"))
    try:
        return Proxy.from_url(plain, rdns=parts.scheme == "socks5h").connect(host, port, timeout=timeout_s)
    except (ProxyError, ProxyTimeoutError) as error:
        raise ConnectionError(type(error).__name__) from None


Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], deadline_s: float) -> Result | None:
    """What the work gives; None if that takes too long. In a thread that nobody has to wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(Result, result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="tv_etl-target", daemon=True).start()
    try:
        return await asyncio.wait_for(done, deadline_s)
    except asyncio.TimeoutError:
        return None


# --- where it may go ------------------------------------------------------------------------------------------


def _resolve(place: Place) -> Sequence[str] | str:
    host = place.host
    if os.environ.get(PROXY_VARIABLE) and not is_literal(host):
        return [host]  # behind a proxy, only that may know the names
    try:
        name = host if host.isascii() else httpx.URL(scheme="https", host=host).raw_host.decode("ascii")
        answers = socket.getaddrinfo(name, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, httpx.InvalidURL):
        return "the host name has no address"
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    return refusal(addresses, place.allow_private) or addresses[:_MAX_ADDRESSES] or "the host name has no address"
