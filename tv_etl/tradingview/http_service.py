"""A server that is asked over plain HTTP: retries, a deadline for each answer, and bounds on what is read of it."""

import asyncio
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import httpx
import msgspec

from tv_etl.tradingview.errors import HttpError
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.proxy import CERTIFICATE_ADVICE, Proxy
from tv_etl.tradingview.retry_after import read_retry_after
from tv_etl.tradingview.services import Backoff
from tv_etl.tradingview.tls import tls_context
from tv_etl.tradingview.websocket import loop_time

_GZIP = 31  # zlib's window bits that mean a gzip header

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HttpQuestion:
    """One request, and how long its answer may be once unpacked."""

    method: str
    path: str
    max_bytes: int
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpService:
    """What clients of services over HTTP share.

    The address is `base_url`, else that of the environment's variable, else TradingView's. Each attempt at an answer
    ends after `try_s`. A failure worth it is tried again, after the delay that the server asks for or a growing one,
    until an answer has cost `retry_s` of delays. What is wanted of the service has to be there within `timeout_s`. All
    goes through `proxy`, by default that of TV_ETL_PROXY, none if it is empty. Raises an HttpError for a malformed
    address, ValueError for a malformed proxy.
    """

    _name: ClassVar[str]  # what messages call the server
    _default_url: ClassVar[str]
    _url_variable: ClassVar[str]
    _error: ClassVar[type[HttpError]]  # the class of all errors

    def __init__(
        self,
        base_url: str | None = None,
        *,
        try_s: float = 10.0,
        retry_s: float = 20.0,
        timeout_s: float = 60.0,
        proxy: str | None = None,
    ) -> None:
        self.base_url = self._checked(base_url or os.environ.get(self._url_variable) or self._default_url)
        self._proxy = Proxy.of(proxy)
        self._try_s, self._retry_s, self._timeout_s = try_s, retry_s, timeout_s

    @property
    def host(self) -> str:
        """Who is asked, for messages."""
        host = httpx.URL(self.base_url).netloc.decode()
        return host if self._proxy is None else f"{host} through proxy {self._proxy.host}"

    def _client(self) -> httpx.AsyncClient:
        """Connections for some questions; an async context manager."""
        return httpx.AsyncClient(
            verify=tls_context() if self.base_url.startswith("https:") else False,
            trust_env=False,
            proxy=None if self._proxy is None else self._proxy.reveal(),
            follow_redirects=False,
        )

    async def _ask(self, client: httpx.AsyncClient, question: HttpQuestion, *, deadline: float, late: str) -> bytes:
        """The body of the answer. After the deadline of the loop's clock the error says what is `late`."""
        backoff = Backoff(self._retry_s)
        while True:
            try:
                try_s = min(self._try_s, deadline - loop_time())
                if try_s <= 0:
                    raise self._error(f"{self.host}: {late}", retryable=True)
                return await self._try(client, question, try_s)
            except HttpError as error:
                delay_s = backoff.next_delay_s(error.retry_after_s or 0.0) if error.retryable else None
                if delay_s is None or loop_time() + delay_s >= deadline:
                    raise
                _log.warning("%s; trying again in %.1f s", error, delay_s)
            await asyncio.sleep(delay_s)

    async def _try(self, client: httpx.AsyncClient, question: HttpQuestion, try_s: float) -> bytes:
        # httpx asks for brotli and zstd too where they are installed; what is unpacked here is bounded.
        headers = {"Accept-Encoding": "gzip", "User-Agent": "tv-etl", **question.headers}
        wanted = client.build_request(
            question.method,
            f"{self.base_url}{question.path}",
            content=question.body,
            params=question.query or None,
            headers=headers,
            timeout=try_s,
        )
        try:
            # One deadline for the whole: per-read time-outs would let a dripping server go on for ever.
            status, answer_headers, answer = await asyncio.wait_for(
                self._exchange(client, wanted, question.max_bytes), try_s
            )
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise self._error(f"{self.host}: no complete answer within {try_s:.1f} s", retryable=True) from None
        except httpx.TransportError as error:
            raise self._broken(error) from None
        if status != httpx.codes.OK:
            raise self._refusal(status, answer_headers, answer)
        return answer

    async def _exchange(
        self, client: httpx.AsyncClient, request: httpx.Request, max_bytes: int
    ) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and the decompressed body."""
        host = request.url.netloc.decode()
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > max_bytes:
                    raise self._too_long(host, max_bytes)
        finally:
            await response.aclose()
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            return response.status_code, response.headers, bytes(body)
        if encoding != "gzip":
            raise self._error(f"{host}: the answer is compressed with {encoding!r}: expected gzip")
        return response.status_code, response.headers, self._unpack(host, bytes(body), max_bytes)

    def _unpack(self, host: str, body: bytes, max_bytes: int) -> bytes:
        # A few kilobytes of gzip can unpack to gigabytes: never more than the limit is unpacked.
        packer = zlib.decompressobj(_GZIP)
        try:
            unpacked = packer.decompress(body, max_bytes + 1)
        except zlib.error as error:
            raise self._error(f"{host}: the answer cannot be decompressed: {error}") from None
        if len(unpacked) > max_bytes:
            raise self._too_long(host, max_bytes)
        if not packer.eof:
            raise self._error(f"{host}: the compressed answer is cut off", retryable=True)
        return unpacked

    # --- what goes wrong --------------------------------------------------------------------------------------

    def _too_long(self, host: str, max_bytes: int) -> HttpError:
        return self._error(f"{host}: the answer is longer than {max_bytes:,} bytes, too long for what was asked for")

    def _broken(self, error: httpx.TransportError) -> HttpError:
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
        what = f"{self.host}: {type(error).__name__}: {printable(str(error))}{CERTIFICATE_ADVICE * is_untrusted}"
        return self._error(what, retryable=not (is_untrusted or str(error).startswith(("401", "407"))))

    def _refusal(self, status: int, headers: httpx.Headers, answer: bytes) -> HttpError:
        try:
            reason = msgspec.json.decode(answer, type=_Refusal).error
        except (msgspec.DecodeError, RecursionError):
            reason = ""
        return self._error(
            f"{self.host}: HTTP {status}{': ' if reason else ''}{printable(reason)}",
            status=status,
            retryable=status == httpx.codes.TOO_MANY_REQUESTS or status >= 500,
            retry_after_s=read_retry_after(headers.get("Retry-After", ""), headers.get("Date", "")),
        )

    def _checked(self, text: str) -> str:
        """The base address without a trailing slash. Raises for one with a secret: it would be logged."""
        what = f"the {self._name}'s address"
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise self._error(f"{what} is not a URL") from None
        if url.scheme not in ("https", "http") or not url.host:
            raise self._error(f"{what}: expected https://host")
        if url.userinfo or url.query or url.fragment:
            raise self._error(f"{what}: expected https://{url.host} without password, query or fragment")
        return text.rstrip("/")


class _Refusal(msgspec.Struct):
    error: str
