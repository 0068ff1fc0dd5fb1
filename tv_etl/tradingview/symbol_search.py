"""TradingView's symbol search: `GET {base}/symbol_search/v3/?text=…`.

    for found in await search_symbols("apple", type="stock"):
        print(found.symbol, found.description)

The search has no version beyond the path and promises nothing: the format is what its public clients use
(@mathieuc/tradingview, tradingview-sdk). Answers come in pages of 50.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import httpx
import msgspec

from tv_etl.tradingview.errors import SearchError
from tv_etl.tradingview.http_service import HttpQuestion, HttpService
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.symbols import is_symbol
from tv_etl.tradingview.websocket import loop_time

DEFAULT_BASE_URL = "https://symbol-search.tradingview.com"
BASE_URL_VARIABLE = "TV_ETL_SEARCH_URL"
PATH = "/symbol_search/v3/"

SearchType = Literal["stock", "fund", "futures", "forex", "crypto", "index", "bond", "economic", "option", "cfd"]
SEARCH_TYPES: tuple[SearchType, ...] = get_args(SearchType)

DEFAULT_LIMIT = 50
# A page of 50 futures, each with its contracts, takes some 500 KB.
MAX_BODY_BYTES = 4 * 1024 * 1024

# What the site itself sends for each; an unknown one is refused, and none is "undefined".
_WIRE_TYPES = {"stock": "stocks", "fund": "funds", "option": "options"}
# Without these it answers HTTP 403.
_HEADERS = {"Origin": "https://www.tradingview.com", "Referer": "https://www.tradingview.com/"}
_TAGS = re.compile(r"</?em>")
_WITH_EXCHANGE = re.compile(r"\s*(\w+):([^:]+)")


@dataclass(frozen=True)
class FoundSymbol:
    """One symbol that was found; None is what the search does not say.

    `symbol` is what to ask bars of, `exchange` the market's name as it is shown. `type` and `typespecs` are
    TradingView's, e.g. `fund` and `etf`, or `swap` and `perpetual`. A future comes once: as the contract that was
    searched for, else as the continuous one; all are in `contracts`.
    """

    symbol: str
    description: str
    type: str
    exchange: str
    typespecs: tuple[str, ...] = ()
    currency: str | None = None
    country: str | None = None
    isin: str | None = None
    contracts: tuple["FoundSymbol", ...] = ()

    @property
    def ticker(self) -> str:
        """The symbol without its exchange."""
        return self.symbol.partition(":")[2]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; contracts as their symbols."""
        return {**asdict(replace(self, contracts=())), "contracts": [each.symbol for each in self.contracts]}


class SymbolSearch(HttpService):
    """A client of the symbol search, with what HttpService takes; the variable of its address is TV_ETL_SEARCH_URL.

    A search, with all of its pages, ends after `timeout_s`. All errors are SearchErrors.
    """

    _name, _default_url, _url_variable, _error = "symbol search", DEFAULT_BASE_URL, BASE_URL_VARIABLE, SearchError

    async def search(
        self,
        text: str,
        *,
        type: SearchType | None = None,
        exchange: str | None = None,
        limit: int | None = DEFAULT_LIMIT,
    ) -> list[FoundSymbol]:
        """What is found, best first: by ticker, name, ISIN or CUSIP; at most `limit`, None for all.

        `NASDAQ:app` is `app` at the exchange NASDAQ. Raises SearchError for a refusal, with the server's reason, and if
        no complete answer came in time; ValueError for an unknown type.
        """
        if type is not None and type not in SEARCH_TYPES:
            raise ValueError(f"type {type!r}: expected {', '.join(SEARCH_TYPES)}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit {limit}: expected at least 1, or None for all")
        if exchange is None and (parts := _WITH_EXCHANGE.fullmatch(text)):
            exchange, text = parts.groups()
        query = {
            "text": text.strip(),
            "hl": "0",
            "exchange": (exchange or "").upper(),
            "lang": "en",
            "search_type": _WIRE_TYPES.get(type, type) if type else "undefined",
            "domain": "production",
            "sort_by_country": "US",
        }
        found: dict[str, FoundSymbol] = {}
        deadline = loop_time() + self._timeout_s
        async with self._client() as client:
            asked, remaining = 0, 1
            while remaining > 0 and (limit is None or len(found) < limit):
                page = await self._page(client, query, asked, deadline)
                asked, remaining = asked + len(page.symbols), page.symbols_remaining if page.symbols else 0
                for row in page.symbols:
                    if (symbol := _read_row(row, query["text"])) is not None:
                        found.setdefault(symbol.symbol, symbol)
        return list(found.values())[:limit]

    async def _page(self, client: httpx.AsyncClient, query: dict[str, str], start: int, deadline: float) -> "_Page":
        asked = {**query, "start": str(start)} if start else query
        question = HttpQuestion("GET", PATH, max_bytes=MAX_BODY_BYTES, query=asked, headers=_HEADERS)
        late = f"no complete search within {self._timeout_s:.0f} s"
        answer = await self._ask(client, question, deadline=deadline, late=late)
        try:
            return msgspec.json.decode(answer, type=_Page)
        except (msgspec.DecodeError, RecursionError) as error:
            what = f"{self.host}: the answer is not a search result: {printable(str(error))}"
            raise SearchError(what) from None


async def search_symbols(
    text: str,
    *,
    type: SearchType | None = None,
    exchange: str | None = None,
    limit: int | None = DEFAULT_LIMIT,
    **options: Any,
) -> list[FoundSymbol]:
    """One search; `options` are those of SymbolSearch, which is for many. Raises as its `search`."""
    return await SymbolSearch(**options).search(text, type=type, exchange=exchange, limit=limit)


# --- answers --------------------------------------------------------------------------------------------------


class _Contract(msgspec.Struct):
    symbol: str
    description: str | None = None
    prefix: str | None = None
    exchange: str | None = None
    typespecs: tuple[str, ...] | None = None


class _Row(msgspec.Struct):
    symbol: str
    description: str | None = None
    type: str | None = None
    exchange: str | None = None
    prefix: str | None = None
    currency_code: str | None = None
    country: str | None = None
    isin: str | None = None
    typespecs: tuple[str, ...] | None = None
    contracts: tuple[_Contract, ...] | None = None


class _Page(msgspec.Struct):
    symbols: list[_Row]
    symbols_remaining: int = 0


def _read_row(row: _Row, text: str) -> FoundSymbol | None:
    """The symbol of a row; None if it has none that a server could be asked for."""
    found = FoundSymbol(
        _name(row.prefix, row.exchange, row.symbol),
        _plain(row.description),
        row.type or "",
        row.exchange or "",
        row.typespecs or (),
        row.currency_code,
        row.country,
        _plain(row.isin) or None,
    )
    if row.contracts:
        # The root of a future is nobody's symbol, and its contracts may have another prefix than it has itself.
        contracts = tuple(_contracts(row, found))
        wanted = (each for each in contracts if each.ticker.upper() == text.upper())
        if chosen := next(wanted, contracts[0] if contracts else None):
            return replace(chosen, contracts=contracts)
    return found if is_symbol(found.symbol) else None


def _contracts(row: _Row, root: FoundSymbol) -> Iterator[FoundSymbol]:
    for each in row.contracts or ():
        symbol = _name(each.prefix or row.prefix, each.exchange or row.exchange, each.symbol)
        if is_symbol(symbol):
            description = _plain(each.description or row.description)
            yield replace(root, symbol=symbol, description=description, typespecs=each.typespecs or ())


def _name(prefix: str | None, exchange: str | None, ticker: str) -> str:
    """EXCHANGE:TICKER: an exchange that has no prefix of its own is one itself."""
    return f"{prefix or (exchange or '').upper()}:{_plain(ticker)}"


def _plain(text: str | None) -> str:
    return _TAGS.sub("", text or "")
