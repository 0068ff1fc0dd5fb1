"""TradingView's HTTP screener as a source of symbols: `POST {base}/{market}/scan`.

    request = ScanRequest(market="america", columns=("close", "volume"), sort=ScanSort(by="volume", order="desc"))
    async for row in ScannerService().scan(request):
        print(row.symbol, row.values["close"])

Asks page by page, so that any number of rows costs the memory of one page. The screener has no version and promises
nothing: the format is what its public clients use (TradingView-Screener, tvkit).
"""

import asyncio
import logging
import os
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from tv_etl.tradingview.errors import ScannerError
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.proxy import CERTIFICATE_ADVICE, Proxy
from tv_etl.tradingview.retry_after import read_retry_after
from tv_etl.tradingview.scan_request import ScanFilter as ScanFilter
from tv_etl.tradingview.scan_request import ScanRequest as ScanRequest
from tv_etl.tradingview.scan_request import ScanSort as ScanSort
from tv_etl.tradingview.services import Backoff
from tv_etl.tradingview.stream import Stream
from tv_etl.tradingview.tls import tls_context
from tv_etl.tradingview.websocket import loop_time

DEFAULT_BASE_URL = "https://scanner.tradingview.com"
BASE_URL_VARIABLE = "TV_ETL_SCANNER_URL"

# The answer with all of America's 20,000 listings and ten columns is about 3 MB.
MAX_BODY_BYTES = 16 * 1024 * 1024
# On average; a description takes a few hundred bytes. An answer much longer than what was asked for is not read.
MAX_CELL_BYTES = 1_024
PAGE_ROWS = 1_000

_GZIP = 31  # zlib's window bits that mean a gzip header

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanRow:
    """One symbol that was found, with the value of each requested column."""

    symbol: str
    values: Mapping[str, Any]


class ScannerService:
    """A client of the screener.

    The address is `base_url`, else the environment's TV_ETL_SCANNER_URL, else TradingView's. Each attempt at a page
    ends after `try_s`. A failure worth it is tried again, after the delay that the server asks for or a growing one,
    until a page has cost `retry_s` of delays. A scan waits for its answers `timeout_s` in all, not counting the time
    that its consumer takes. All goes through `proxy`, by default that of TV_ETL_PROXY, none if it is empty. Raises
    ScannerError for a malformed address, ValueError for a malformed proxy.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        page_rows: int = PAGE_ROWS,
        try_s: float = 10.0,
        retry_s: float = 20.0,
        timeout_s: float = 60.0,
        proxy: str | None = None,
    ) -> None:
        self.base_url = _checked(base_url or os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL)
        self._proxy = Proxy.of(proxy)
        self._page_rows = page_rows
        self._try_s, self._retry_s, self._timeout_s = try_s, retry_s, timeout_s

    def scan(self, request: ScanRequest) -> Stream[ScanRow]:
        """Yield each symbol that is found once, in the server's order.

        The server sorts anew for every page: a symbol that moves between pages meanwhile is not yielded twice, but
        may be missed. Raises ScannerError: for a refusal, with the server's reason; if no complete answer came in time;
        and if the pages end before they have brought as many rows as they announce.
        """
        return Stream(self._pages(request))

    async def _pages(self, request: ScanRequest) -> AsyncGenerator[list[ScanRow], None]:
        asked, seen, left_s = 0, set[str](), self._timeout_s
        async with self._client() as client:
            while request.limit is None or len(seen) < request.limit:
                rows = self._page_rows if request.limit is None else min(self._page_rows, request.limit - len(seen))
                started = loop_time()
                page = await self._page(client, request, asked, asked + rows, started + left_s)
                left_s -= loop_time() - started
                asked += len(page.data or ())
                found = [row for row in page.data or () if row.s not in seen]
                if asked < page.total_count and not found:
                    raise ScannerError(f"{self._host}: no new row after {asked} of {page.total_count}")
                new: dict[str, ScanRow] = {}
                for row in found[:rows]:
                    new.setdefault(row.s, ScanRow(row.s, dict(zip(request.columns, row.d, strict=True))))
                seen.update(new)
                yield list(new.values())
                if asked >= page.total_count:
                    return

    async def symbols(self, request: ScanRequest) -> list[str]:
        """The symbols that are found, in the server's order. Raises the same errors as `scan`."""
        async with aclosing(self.scan(request.model_copy(update={"columns": ("name",)}))) as rows:
            return [row.symbol async for row in rows]

    @property
    def _host(self) -> str:
        host = httpx.URL(self.base_url).netloc.decode()
        return host if self._proxy is None else f"{host} through proxy {self._proxy.host}"

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=tls_context() if self.base_url.startswith("https:") else False,
            trust_env=False,
            proxy=None if self._proxy is None else self._proxy.reveal(),
            follow_redirects=False,
        )

    def _broken(self, error: httpx.TransportError) -> ScannerError:
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
        what = f"{self._host}: {type(error).__name__}: {printable(str(error))}{CERTIFICATE_ADVICE * is_untrusted}"
        return ScannerError(what, retryable=not (is_untrusted or str(error).startswith(("401", "407"))))

    async def _page(
        self, client: httpx.AsyncClient, request: ScanRequest, first: int, end: int, deadline: float
    ) -> "_Page":
        backoff = Backoff(self._retry_s)
        while True:
            try:
                try_s = min(self._try_s, deadline - loop_time())
                if try_s <= 0:
                    raise ScannerError(f"{self._host}: no complete scan within {self._timeout_s:.0f} s", retryable=True)
                return await self._try(client, request, first, end, try_s)
            except ScannerError as error:
                delay_s = backoff.next_delay_s(error.retry_after_s or 0.0) if error.retryable else None
                if delay_s is None or loop_time() + delay_s >= deadline:
                    raise
                _log.warning("%s; trying again in %.1f s", error, delay_s)
            await asyncio.sleep(delay_s)

    async def _try(
        self, client: httpx.AsyncClient, request: ScanRequest, first: int, end: int, try_s: float
    ) -> "_Page":
        rows, columns = end - first, len(request.columns)
        max_bytes = min(MAX_BODY_BYTES, 65_536 + rows * (columns + 1) * MAX_CELL_BYTES)
        url = f"{self.base_url}/{request.market}/scan"
        # httpx asks for brotli and zstd too where they are installed; what is unpacked here is bounded.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip", "User-Agent": "tv-etl"}
        body = scan_body(request, first, end)
        wanted = client.build_request("POST", url, content=body, headers=headers, timeout=try_s)
        try:
            # One deadline for the whole: per-read time-outs would let a dripping server go on for ever.
            status, answer_headers, answer = await asyncio.wait_for(_exchange(client, wanted, max_bytes), try_s)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise ScannerError(f"{self._host}: no complete answer within {try_s:.1f} s", retryable=True) from None
        except httpx.TransportError as error:
            raise self._broken(error) from None
        if status != httpx.codes.OK:
            raise _refusal(self._host, status, answer_headers, answer)
        return _read_page(self._host, answer, columns)


# --- answers --------------------------------------------------------------------------------------------------


class _Row(msgspec.Struct):
    s: str
    d: list[Any]


class _Page(msgspec.Struct, rename="camel"):
    total_count: int
    data: list[_Row] | None = None
    error: str | None = None


class _Refusal(msgspec.Struct):
    error: str


def _read_page(host: str, answer: bytes, columns: int) -> _Page:
    try:
        page = msgspec.json.decode(answer, type=_Page)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ScannerError(f"{host}: the answer is not a scan result: {printable(str(error))}") from None
    if page.error is not None:
        raise ScannerError(f"{host}: the screener refused: {printable(page.error)}")
    if any(len(row.d) != columns for row in page.data or ()):
        raise ScannerError(f"{host}: a row of the answer has other than {columns} columns")
    return page


def _refusal(host: str, status: int, headers: httpx.Headers, answer: bytes) -> ScannerError:
    try:
        reason = msgspec.json.decode(answer, type=_Refusal).error
    except (msgspec.DecodeError, RecursionError):
        reason = ""
    return ScannerError(
        f"{host}: HTTP {status}{': ' if reason else ''}{printable(reason)}",
        status=status,
        retryable=status == httpx.codes.TOO_MANY_REQUESTS or status >= 500,
        retry_after_s=read_retry_after(headers.get("Retry-After", ""), headers.get("Date", "")),
    )


# --- the wire -------------------------------------------------------------------------------------------------


async def _exchange(
    client: httpx.AsyncClient, request: httpx.Request, max_bytes: int
) -> tuple[int, httpx.Headers, bytes]:
    """Status, headers and the decompressed body. Raises ScannerError if that is too long or cannot be decompressed."""
    host = request.url.netloc.decode()
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > max_bytes:
                raise _too_long(host, max_bytes)
    finally:
        await response.aclose()
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return response.status_code, response.headers, bytes(body)
    if encoding != "gzip":
        raise ScannerError(f"{host}: the answer is compressed with {encoding!r}: expected gzip")
    return response.status_code, response.headers, _unpack(host, bytes(body), max_bytes)


def _unpack(host: str, body: bytes, max_bytes: int) -> bytes:
    # A few kilobytes of gzip can unpack to gigabytes: never more than the limit is unpacked.
    packer = zlib.decompressobj(_GZIP)
    try:
        unpacked = packer.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ScannerError(f"{host}: the answer cannot be decompressed: {error}") from None
    if len(unpacked) > max_bytes:
        raise _too_long(host, max_bytes)
    if not packer.eof:
        raise ScannerError(f"{host}: the compressed answer is cut off", retryable=True)
    return unpacked


def _too_long(host: str, max_bytes: int) -> ScannerError:
    return ScannerError(f"{host}: the answer is longer than {max_bytes:,} bytes, too long for what was asked for")


def _checked(text: str) -> str:
    """The base address without a trailing slash. Raises ScannerError for one with a secret: it would be logged."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise ScannerError("the scanner's address is not a URL") from None
    if url.scheme not in ("https", "http") or not url.host:
        raise ScannerError("the scanner's address: expected https://host")
    if url.userinfo or url.query or url.fragment:
        raise ScannerError(f"the scanner's address: expected https://{url.host} without password, query or fragment")
    return text.rstrip("/")


def scan_body(request: ScanRequest, first: int, end: int) -> bytes:
    """The JSON that asks for the rows from `first` up to `end`."""
    sort = {} if request.sort is None else {"sort": {"sortBy": request.sort.by, "sortOrder": request.sort.order}}
    wanted = {
        "filter": [each.model_dump() for each in request.filters],
        "options": {"lang": "en"},
        "markets": [request.market],
        "symbols": {"query": {"types": []}, "tickers": []},
        "columns": request.columns,
        **sort,
        "range": [first, end],
    }
    return msgspec.json.encode(wanted)
