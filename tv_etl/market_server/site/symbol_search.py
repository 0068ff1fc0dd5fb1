"""The symbol search: which listings a text finds, best first, in pages of 50.

Speaks what `GET https://symbol-search.tradingview.com/symbol_search/v3/` does, as public clients have it
(@mathieuc/tradingview 3.5.2, tradingview-sdk 0.5.0): no answer without an Origin, `<em>` around what was found if `hl`
is 1, and a future as its root, with its contracts below it under a prefix of their own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from tv_etl.market_server.market.listings import Listing
from tv_etl.market_server.sessions.world import World
from tv_etl.market_server.site.http import HttpRequest, HttpResponse, plain

PATH = "/symbol_search/v3/?"
PAGE_ROWS = 50
SLOW_S = 3.0

_KINDS = {
    "stocks": ("stock", "dr"), "funds": ("fund",), "futures": ("futures",), "forex": ("forex",),
    "crypto": ("spot", "swap"), "index": ("index",), "bond": ("bond",), "economic": ("economic",),
    "options": ("option",), "cfd": ("commodity",),
}  # fmt: skip
_ALIASES = {"stock": "stocks", "fund": "funds", "indices": "index", "bonds": "bond", "option": "options"}
_ANY = ("", "undefined")


@dataclass(frozen=True)
class _Entry:
    """What one row is found by, and the row. `tickers` are its own and those of its contracts."""

    tickers: tuple[str, ...]
    description: str
    isin: str
    kind: str
    exchanges: frozenset[str]
    country: str
    row: Mapping[str, Any]

    def rank(self, text: str) -> int | None:
        """How well the text (in capitals) fits, 0 best; None if it does not."""
        if text in (*self.tickers, self.isin):
            return 0
        if any(ticker.startswith(text) for ticker in self.tickers):
            return 1
        words = self.description.upper().split()
        if all(any(each.startswith(word) for each in words) for word in text.split()):
            return 2
        return 3 if any(text in ticker for ticker in self.tickers) else None


def search_route(world: World) -> Callable[[HttpRequest], HttpResponse]:
    """The handler of `GET /symbol_search/v3/`."""
    entries: list[_Entry] = []

    def answer(request: HttpRequest) -> HttpResponse:
        if not request.headers.get("origin"):
            return plain(HTTPStatus.FORBIDDEN)
        query = request.query
        if query.get("exchange", "").upper() == "FAULT" and (fault := _FAULTS.get(query.get("text", "").upper())):
            return fault
        search_type = query.get("search_type", "")
        if search_type not in (*_ANY, *_KINDS, *_ALIASES):
            return _json({"error": f'Unknown search_type "{search_type}"'}, HTTPStatus.BAD_REQUEST)
        start = query.get("start") or "0"
        if not (start.isascii() and start.isdigit() and len(start) < 10):
            return _json({"error": f'Wrong start "{start}"'}, HTTPStatus.BAD_REQUEST)
        if not entries:
            entries.extend(_entries(world))
        found = _found(entries, query)
        page = found[int(start) : int(start) + PAGE_ROWS]
        text = query.get("text", "").strip() if query.get("hl") == "1" else ""
        rows = [_highlighted(each.row, text) for each in page]
        return _json({"symbols_remaining": max(len(found) - int(start) - len(page), 0), "symbols": rows})

    return answer


def _found(entries: list[_Entry], query: Mapping[str, str]) -> list[_Entry]:
    search_type = query.get("search_type", "")
    kinds = () if search_type in _ANY else _KINDS[_ALIASES.get(search_type, search_type)]
    exchange, country = query.get("exchange", "").upper(), query.get("sort_by_country", "").upper()
    text = query.get("text", "").strip().upper()
    ranked = []
    for number, entry in enumerate(entries):
        # Options are found by those alone who ask for options: a share has thousands.
        is_wanted = entry.kind in kinds if kinds else entry.kind != "option"
        if is_wanted and (not exchange or exchange in entry.exchanges) and (rank := entry.rank(text)) is not None:
            ranked.append((rank, entry.country != country, number))
    return [entries[number] for _, _, number in sorted(ranked)]


def _entries(world: World) -> Iterator[_Entry]:
    """Every row that there can be, futures by their roots."""
    roots: dict[tuple[str, str], list[Listing]] = {}
    for symbol in world.market.listed_symbols():
        listing = world.market.listing(symbol)
        if listing is None:
            continue
        if listing.kind == "futures" and "root" in listing.extras:
            roots.setdefault((listing.exchange, str(listing.extras["root"])), []).append(listing)
        else:
            yield _entry(listing, (listing.ticker,), _row(listing, listing.ticker))
    for (_, root), contracts in roots.items():
        yield _entry(contracts[0], (root, *(each.ticker for each in contracts)), _root_row(root, contracts))


def _entry(listing: Listing, tickers: tuple[str, ...], row: Mapping[str, Any]) -> _Entry:
    isin = str(listing.extras.get("isin", ""))
    exchanges = frozenset({listing.exchange, str(row["exchange"]).upper()})
    return _Entry(tickers, listing.description, isin, listing.kind, exchanges, listing.source.country, row)


def _row(listing: Listing, ticker: str) -> dict[str, Any]:
    source, is_share = listing.source, listing.kind in ("stock", "fund", "dr")
    # A share's exchange is its prefix, whoever sends its prices; elsewhere the name and the prefix are two things.
    is_prefix = is_share and source.id != listing.exchange
    exchange = listing.exchange if is_prefix else source.name
    isin = listing.extras.get("isin")
    return {
        "symbol": ticker,
        "description": listing.description,
        "type": listing.kind,
        "exchange": exchange,
        "found_by_isin": False,
        "found_by_cusip": False,
        **({"isin": isin} if isin else {}),
        "currency_code": listing.currency,
        "provider_id": source.provider,
        "source2": {"id": source.id, "name": source.name, "description": source.name},
        "source_id": source.id,
        **({"country": source.country} if source.country else {}),
        **({"is_primary_listing": True} if is_share else {}),
        "typespecs": list(listing.typespecs),
        **({"prefix": listing.exchange} if exchange != listing.exchange else {}),
    }


def _root_row(root: str, contracts: list[Listing]) -> dict[str, Any]:
    """A future, whose contracts have the prefix; it is not one itself, and has only the name of its exchange."""
    row = _row(contracts[0], root)
    prefix = row.pop("prefix", None)
    below = [
        {
            "symbol": each.ticker,
            "description": each.description,
            "typespecs": list(each.typespecs),
            **({"prefix": prefix} if prefix else {}),
        }
        for each in contracts
    ]
    return {**row, "typespecs": [], "contracts": below}


def _highlighted(row: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    if not text:
        return row
    marked = re.sub(re.escape(text), r"<em>\g<0></em>", row["symbol"], count=1, flags=re.IGNORECASE)
    if marked != row["symbol"]:
        return {**row, "symbol": marked}
    if str(row.get("isin", "")).upper() == text.upper():
        return {**row, "isin": f"<em>{row['isin']}</em>", "found_by_isin": True}
    words = "|".join(re.escape(word) for word in text.split())
    described = re.sub(rf"\b(?:{words})", r"<em>\g<0></em>", row["description"], flags=re.IGNORECASE)
    return {**row, "description": described}


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, delay_s: float = 0.0) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(value), delay_s=delay_s)


_FAULTS = {
    "SLOW": _json({"symbols_remaining": 0, "symbols": []}, delay_s=SLOW_S),
    "BAD_JSON": HttpResponse(HTTPStatus.OK, b'{"symbols":['),
}
