"""The screener: which listings pass the filters of a scan, in which order, with which columns.

Speaks what `POST https://scanner.tradingview.com/{market}/scan` does, as public clients have it (TradingView-Screener,
tvkit): the request's keys, the operations, `{"totalCount", "data": [{"s", "d"}]}`, and HTTP 400 with
`{"totalCount": 0, "error", "data": null}`. Sans I/O; a listing's figures are those of its quote now.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from tv_etl.market_server.http import HttpRequest, HttpResponse
from tv_etl.market_server.listings import Listing
from tv_etl.market_server.market import BarSource
from tv_etl.market_server.quote_fields import moving_values
from tv_etl.market_server.world import World

GLOBAL = "global"

_STOCK_MARKETS = {"US": "america", "KR": "korea", "IN": "india"}
_KIND_MARKETS = {
    "spot": "crypto", "forex": "forex", "futures": "futures", "index": "cfd", "commodity": "cfd",
}  # fmt: skip
MARKETS = frozenset({GLOBAL, *_STOCK_MARKETS.values(), *_KIND_MARKETS.values()})

Row = Mapping[str, Any]


class ScanRefused(Exception):
    """The scan asks for something that there is not; the text is TradingView's where that is known."""


class _Filter(msgspec.Struct):
    left: str
    operation: str
    right: Any = None


class _Operands(msgspec.Struct):
    operator: Literal["and", "or"]
    operands: "list[_Operand]"


class _Operand(msgspec.Struct):
    expression: _Filter | None = None
    operation: _Operands | None = None


class _Sort(msgspec.Struct, rename="camel"):
    sort_by: str
    sort_order: Literal["asc", "desc"] = "asc"
    nulls_first: bool = False


class _Types(msgspec.Struct):
    types: list[str] = []


class _Symbols(msgspec.Struct):
    query: _Types = msgspec.field(default_factory=_Types)
    tickers: list[str] = []


class _Scan(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a scan. An unknown key is refused: what is ignored would look like an answer to it."""

    columns: list[str] = []
    filter: list[_Filter] = []
    filter2: _Operands | None = None
    sort: _Sort | None = None
    range: tuple[int, int] | None = None
    markets: list[str] = []
    symbols: _Symbols = msgspec.field(default_factory=_Symbols)
    options: dict[str, Any] = {}
    ignore_unknown_fields: bool = False


def scan_route(world: World) -> Callable[[HttpRequest], HttpResponse]:
    """The handler of `POST /{market}/scan`."""

    def answer(request: HttpRequest) -> HttpResponse:
        try:
            body = scan(world, request.arguments["market"], request.body)
        except ScanRefused as refusal:
            body = {"totalCount": 0, "error": str(refusal), "data": None}
            return HttpResponse(HTTPStatus.BAD_REQUEST, msgspec.json.encode(body))
        return HttpResponse(HTTPStatus.OK, msgspec.json.encode(body))

    return answer


def scan(world: World, market: str, body: bytes) -> dict[str, Any]:
    """The answer to a scan. Raises ScanRefused."""
    try:
        wanted = msgspec.json.decode(body or b"{}", type=_Scan)
    except msgspec.DecodeError as error:
        raise ScanRefused(str(error)) from None
    _check(market, wanted)
    rows = [row for row in _rows(world) if _is_wanted(row, market, wanted)]
    if wanted.sort is not None:
        rows = _sorted(rows, wanted.sort)
    first, end = wanted.range or (0, len(rows))
    data = [{"s": row["s"], "d": [row.get(column) for column in wanted.columns]} for row in rows[first:end]]
    return {"totalCount": len(rows), "data": data}


def market_of(listing: Listing) -> str:
    """The screener's name for the part of the market that a listing belongs to."""
    if listing.kind in ("stock", "fund"):
        return _STOCK_MARKETS[listing.source.country]
    return _KIND_MARKETS[listing.kind]


# --- figures --------------------------------------------------------------------------------------------------


def _rows(world: World) -> list[Row]:
    now = world.clock.now()
    sources = (world.market.find(symbol) for symbol in world.market.listed())
    return [_row(source, now) for source in sources if source is not None]


def _row(source: BarSource, now: float) -> Row:
    listing, moving = source.listing, moving_values(source, now)
    return {
        "s": listing.symbol,
        "name": listing.ticker,
        "description": listing.description,
        "type": listing.kind,
        "typespecs": list(listing.typespecs),
        "exchange": listing.exchange,
        "currency": listing.currency,
        "country": listing.source.country or None,
        "market": market_of(listing),
        "is_primary": True,
        "open": moving.get("open_price"),
        "high": moving.get("high_price"),
        "low": moving.get("low_price"),
        "close": moving.get("lp"),
        "change": moving.get("chp"),
        "change_abs": moving.get("ch"),
        "volume": moving.get("volume") if source.has_volume else None,
        "market_cap_basic": None,  # nobody has counted the shares of a synthetic company
        "pricescale": listing.pricescale,
        "minmov": listing.minmov,
        "minmove2": 0,
        "fractional": "false",
        "update_mode": "streaming",
    }


COLUMNS = frozenset({
    "name", "description", "type", "typespecs", "exchange", "currency", "country", "market", "is_primary", "open",
    "high", "low", "close", "change", "change_abs", "volume", "market_cap_basic", "pricescale", "minmov", "minmove2",
    "fractional", "update_mode",
})  # fmt: skip


# --- what is asked --------------------------------------------------------------------------------------------


def _check(market: str, wanted: _Scan) -> None:
    for name in (market, *wanted.markets):
        if name not in MARKETS:
            raise ScanRefused(f'Unknown market "{name}"')
    fields = [*_fields(wanted.filter), *([wanted.sort.sort_by] if wanted.sort else [])]
    if wanted.filter2 is not None:
        fields += _fields(_leaves(wanted.filter2))
    if not wanted.ignore_unknown_fields:
        fields += wanted.columns
    for name in fields:
        if name not in COLUMNS:
            raise ScanRefused(f'Unknown field "{name}"')
    first, end = wanted.range or (0, 0)
    if not 0 <= first <= end:
        raise ScanRefused(f"Wrong range [{first}, {end}]")


def _leaves(tree: _Operands) -> list[_Filter]:
    leaves = []
    for operand in tree.operands:
        leaves += [operand.expression] if operand.expression else []
        leaves += _leaves(operand.operation) if operand.operation else []
    return leaves


def _fields(filters: Sequence[_Filter]) -> list[str]:
    for each in filters:
        if each.operation not in _OPERATIONS:
            raise ScanRefused(f'Unknown operation "{each.operation}"')
    return [each.left for each in filters]


def _is_wanted(row: Row, market: str, wanted: _Scan) -> bool:
    symbols = wanted.symbols
    return (
        market in (GLOBAL, row["market"])
        and (not wanted.markets or bool({GLOBAL, row["market"]} & set(wanted.markets)))
        and (not symbols.tickers or row["s"] in symbols.tickers)
        and (not symbols.query.types or row["type"] in symbols.query.types)
        and all(_holds(each, row) for each in wanted.filter)
        and (wanted.filter2 is None or _tree_holds(wanted.filter2, row))
    )


def _sorted(rows: Sequence[Row], sort: _Sort) -> list[Row]:
    known = [row for row in rows if row[sort.sort_by] is not None]
    unknown = [row for row in rows if row[sort.sort_by] is None]
    known.sort(key=lambda row: row[sort.sort_by], reverse=sort.sort_order == "desc")
    return [*unknown, *known] if sort.nulls_first else [*known, *unknown]


# --- filters --------------------------------------------------------------------------------------------------


def _tree_holds(tree: _Operands, row: Row) -> bool:
    results = [_holds(operand.expression, row) for operand in tree.operands if operand.expression]
    results += [_tree_holds(operand.operation, row) for operand in tree.operands if operand.operation]
    return all(results) if tree.operator == "and" else any(results)


def _holds(condition: _Filter, row: Row) -> bool:
    try:
        return _OPERATIONS[condition.operation](row[condition.left], condition.right, row)
    except TypeError:
        raise ScanRefused(f'Cannot compare "{condition.left}" with {condition.right!r}') from None


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Row], bool]:
    def holds(left: Any, right: Any, row: Row) -> bool:
        bound = _operand(left, right, row)
        return left is not None and bound is not None and compare(left, bound)

    return holds


def _operand(left: Any, right: Any, row: Row) -> Any:
    """What stands right of a comparison: a number is compared with the column that a text names."""
    is_column = isinstance(right, str) and isinstance(left, int | float) and not isinstance(left, bool)
    if not is_column:
        return right
    if right not in COLUMNS:
        raise ScanRefused(f'Unknown field "{right}"')
    return row[right]


def _is_in_range(left: Any, right: Any, row: Row) -> bool:
    if not isinstance(right, list):
        raise ScanRefused(f"A range is a list, not {right!r}")
    if isinstance(left, int | float) and not isinstance(left, bool) and len(right) == 2:
        return _comparison(operator.ge)(left, right[0], row) and _comparison(operator.le)(left, right[1], row)
    return left in right


def _matches(left: Any, right: Any, row: Row) -> bool:
    return isinstance(left, str) and str(right).casefold() in left.casefold()


def _has(left: Any, right: Any, row: Row) -> bool:
    return bool(set(left or []) & set(right if isinstance(right, list) else [right]))


def _unless(holds: Callable[[Any, Any, Row], bool]) -> Callable[[Any, Any, Row], bool]:
    """The opposite, which an unknown value does not fulfil either."""
    return lambda left, right, row: left is not None and not holds(left, right, row)


_OPERATIONS: dict[str, Callable[[Any, Any, Row], bool]] = {
    "greater": _comparison(operator.gt),
    "egreater": _comparison(operator.ge),
    "less": _comparison(operator.lt),
    "eless": _comparison(operator.le),
    "equal": _comparison(operator.eq),
    "nequal": _comparison(operator.ne),
    "in_range": _is_in_range,
    "not_in_range": _unless(_is_in_range),
    "empty": lambda left, right, row: left is None,
    "nempty": lambda left, right, row: left is not None,
    "match": _matches,
    "nmatch": _unless(_matches),
    "has": _has,
    "has_none_of": _unless(_has),
}
