"""TradingView's HTTP screener as a source of symbols: `POST {base}/{market}/scan`.

    request = ScanRequest(market="america", columns=("close", "volume"), sort=ScanSort(by="volume", order="desc"))
    async for row in ScannerService().scan(request):
        print(row.symbol, row.values["close"])

Asks page by page, so that any number of rows costs the memory of one page. The screener has no version and promises
nothing: the format is what its public clients use (TradingView-Screener, tvkit).
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from tv_etl.tradingview.errors import ScannerError
from tv_etl.tradingview.http_service import HttpQuestion, HttpService
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.scan_request import ScanFilter as ScanFilter
from tv_etl.tradingview.scan_request import ScanRequest as ScanRequest
from tv_etl.tradingview.scan_request import ScanSort as ScanSort
from tv_etl.tradingview.stream import Stream
from tv_etl.tradingview.websocket import loop_time

DEFAULT_BASE_URL = "https://scanner.tradingview.com"
BASE_URL_VARIABLE = "TV_ETL_SCANNER_URL"

# The answer with all of America's 20,000 listings and ten columns is about 3 MB.
MAX_BODY_BYTES = 16 * 1024 * 1024
# On average; a description takes a few hundred bytes. An answer much longer than what was asked for is not read.
MAX_CELL_BYTES = 1_024
PAGE_ROWS = 1_000


@dataclass(frozen=True)
class ScanRow:
    """One symbol that was found, with the value of each requested column."""

    symbol: str
    values: Mapping[str, Any]


class ScannerService(HttpService):
    """A client of the screener; its `options` are those of HttpService, the variable of its address TV_ETL_SCANNER_URL.

    A scan waits for its answers, a page each, `timeout_s` in all, not counting the time that its consumer takes. All
    errors are ScannerErrors.
    """

    _name, _default_url, _url_variable, _error = "scanner", DEFAULT_BASE_URL, BASE_URL_VARIABLE, ScannerError

    def __init__(self, base_url: str | None = None, *, page_rows: int = PAGE_ROWS, **options: Any) -> None:
        super().__init__(base_url, **options)
        self._page_rows = page_rows

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
                    raise ScannerError(f"{self.host}: no new row after {asked} of {page.total_count}")
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

    async def _page(
        self, client: httpx.AsyncClient, request: ScanRequest, first: int, end: int, deadline: float
    ) -> "_Page":
        rows, columns = end - first, len(request.columns)
        question = HttpQuestion(
            "POST",
            f"/{request.market}/scan",
            max_bytes=min(MAX_BODY_BYTES, 65_536 + rows * (columns + 1) * MAX_CELL_BYTES),
            body=scan_body(request, first, end),
            headers={"Content-Type": "application/json"},
        )
        late = f"no complete scan within {self._timeout_s:.0f} s"
        answer = await self._ask(client, question, deadline=deadline, late=late)
        return _read_page(self.host, answer, columns)


# --- answers --------------------------------------------------------------------------------------------------


class _Row(msgspec.Struct):
    s: str
    d: list[Any]


class _Page(msgspec.Struct, rename="camel"):
    total_count: int
    data: list[_Row] | None = None
    error: str | None = None


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
