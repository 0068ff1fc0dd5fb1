"""The screener: which listings pass the filters of a scan, in which order, with which columns.

Speaks what `POST https://scanner.tradingview.com/{market}/scan` does, as public clients have it (TradingView-Screener,
tvkit): the request's keys, the operations, `{"totalCount", "data": [{"s", "d"}]}`, and HTTP 400 with
`{"totalCount": 0, "error", "data": null}`. Sans I/O; a listing's figures are those of its quote now.
"""

import math
import operator
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from tv_etl.market_server.market.listings import Listing
from tv_etl.market_server.sessions.world import World
from tv_etl.market_server.site.http import HttpRequest, HttpResponse
from tv_etl.market_server.site.screener_columns import EMPTY_MARKETS, MARKETS, Figures, Row, is_column, market_of

GLOBAL = "global"

# What the pages of TradingView's site call their selections.
_PRESETS: dict[str, Callable[[Listing], bool]] = {
    "all_stocks": lambda listing: (
        listing.kind in ("stock", "dr") or (listing.kind == "fund" and "etf" not in listing.typespecs)
    ),
}


class ScanRefused(Exception):
    """The scan asks for something that does not exist; the text is TradingView's if that is known."""


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


# Columns and conditions of one scan; each is worked out for every listing, while no other client is answered.
MAX_FIELDS = 1_000


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
    preset: str = ""
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
    except (msgspec.DecodeError, RecursionError) as error:
        raise ScanRefused(str(error)) from None
    _check(market, wanted)
    figures = Figures(world, _listed(world, market, wanted))
    places: Sequence[int] = range(len(figures.listings))
    for condition in wanted.filter:
        _prepare([condition], figures, places)
        places = [place for place in places if _holds(condition, Row(figures, place))]
    if wanted.filter2 is not None:
        _prepare(_leaves(wanted.filter2), figures, places)
        places = [place for place in places if _tree_holds(wanted.filter2, Row(figures, place))]
    if wanted.sort is not None:
        places = _sorted(places, figures, wanted.sort)
    first, end = wanted.range or (0, len(places))
    page = places[first:end]
    shown = [figures.column(name, page) if is_column(name) else [None] * len(page) for name in wanted.columns]
    data = [
        {"s": figures.listings[place].symbol, "d": [values[row] for values in shown]} for row, place in enumerate(page)
    ]
    return {"totalCount": len(places), "data": data}


def _listed(world: World, market: str, wanted: _Scan) -> list[Listing]:
    """The listings that the market, the preset, the types and the tickers of a scan leave."""
    tickers, types = frozenset(wanted.symbols.tickers), frozenset(wanted.symbols.query.types)
    symbols = [symbol for symbol in world.market.listed_symbols() if not tickers or symbol in tickers]
    listings = [listing for listing in map(world.market.listing, symbols) if listing is not None]
    return [
        listing
        for listing in listings
        if market in (GLOBAL, market_of(listing))
        and (not wanted.markets or not {GLOBAL, market_of(listing)}.isdisjoint(wanted.markets))
        and (not types or listing.kind in types)
        and (not wanted.preset or _PRESETS[wanted.preset](listing))
    ]


def _prepare(conditions: Sequence[_Filter], figures: Figures, places: Sequence[int]) -> None:
    """Work out the columns that conditions compare, for all listings at once."""
    for condition in conditions:
        bounds = condition.right if isinstance(condition.right, list) else [condition.right]
        for name in (condition.left, *bounds):
            if isinstance(name, str) and is_column(name):
                figures.column(name, places)
                if condition.operation in _CROSSINGS:
                    figures.before.column(name, places)


# --- what is asked --------------------------------------------------------------------------------------------


def _check(market: str, wanted: _Scan) -> None:
    for name in (market, *wanted.markets):
        if name not in (GLOBAL, *MARKETS, *EMPTY_MARKETS):
            raise ScanRefused(f'Unknown market "{name}"')
    if wanted.preset and wanted.preset not in _PRESETS:
        raise ScanRefused(f'Unknown preset "{wanted.preset}"')
    fields = [*_fields(wanted.filter), *([wanted.sort.sort_by] if wanted.sort else [])]
    if wanted.filter2 is not None:
        fields += _fields(_leaves(wanted.filter2))
    if len(fields) + len(wanted.columns) > MAX_FIELDS:
        raise ScanRefused(f"{len(fields) + len(wanted.columns):,} fields, more than {MAX_FIELDS:,}")
    if not wanted.ignore_unknown_fields:
        fields += wanted.columns
    for name in fields:
        if not is_column(name):
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
        if each.operation not in _OPERATIONS and each.operation not in _CROSSINGS:
            raise ScanRefused(f'Unknown operation "{each.operation}"')
    return [each.left for each in filters]


def _sorted(places: Sequence[int], figures: Figures, sort: _Sort) -> list[int]:
    values = dict(zip(places, figures.column(sort.sort_by, places), strict=True))
    known = [place for place in places if values[place] is not None]
    unknown = [place for place in places if values[place] is None]
    known.sort(key=lambda place: values[place], reverse=sort.sort_order == "desc")
    return [*unknown, *known] if sort.nulls_first else [*known, *unknown]


# --- filters --------------------------------------------------------------------------------------------------


def _tree_holds(tree: _Operands, row: Row) -> bool:
    results = [_holds(operand.expression, row) for operand in tree.operands if operand.expression]
    results += [_tree_holds(operand.operation, row) for operand in tree.operands if operand.operation]
    return all(results) if tree.operator == "and" else any(results)


def _holds(condition: _Filter, row: Row) -> bool:
    try:
        if condition.operation in _CROSSINGS:
            crosses = _CROSSINGS[condition.operation]
            return crosses(row[condition.left], condition.right, row, condition.left)
        return _OPERATIONS[condition.operation](row[condition.left], condition.right, row)
    except TypeError:
        raise ScanRefused(f'Cannot compare "{condition.left}" with {condition.right!r}') from None


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Row], bool]:
    def holds(left: Any, right: Any, row: Row) -> bool:
        bound = _operand(left, right, row)
        return left is not None and bound is not None and compare(left, bound)

    return holds


def _operand(left: Any, right: Any, row: Row) -> Any:
    """The right side of a comparison: a number is compared with the column that a text names."""
    names_column = isinstance(right, str) and isinstance(left, int | float) and not isinstance(left, bool)
    if not names_column:
        return right
    if not is_column(right):
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
    """The opposite, which an unknown value does not satisfy either."""
    return lambda left, right, row: left is not None and not holds(left, right, row)


def _crosses_above(left: Any, right: Any, row: Row, name: str) -> bool:
    """From at or below on the day before to above now; of what no bar tells, nothing is known of the day before."""
    was = row.before[name]
    return _IS_ABOVE(left, right, row) and was is not None and not _IS_ABOVE(was, right, row.before)


def _crosses_below(left: Any, right: Any, row: Row, name: str) -> bool:
    was = row.before[name]
    return _IS_BELOW(left, right, row) and was is not None and not _IS_BELOW(was, right, row.before)


def _in_per_cent(compare: Callable[[float, float, float, float], bool]) -> Callable[[Any, Any, Row], bool]:
    """Compares with so many times a column: `right` is [column, factor] or [column, least, most]."""

    def holds(left: Any, right: Any, row: Row) -> bool:
        match right:
            case [base, int() | float() as least] | [base, int() | float() as least, None]:
                most = math.inf
            case [base, int() | float() as least, int() | float() as most]:
                pass
            case _:
                raise ScanRefused(f"Per cent are asked for as [column, factor, factor], not {right!r}")
        known = _operand(left, base, row)
        return left is not None and known is not None and compare(left, known, least, most)

    return holds


def _within(number_of: Callable[[datetime], int]) -> Callable[[Any, Any, Row], bool]:
    """Compares how many days, weeks or months lie between today and a time: 0 is today, 1 the one to come."""

    def holds(left: Any, right: Any, row: Row) -> bool:
        if not isinstance(right, list) or len(right) != 2 or not all(isinstance(each, int) for each in right):
            raise ScanRefused(f"A range of dates is two whole numbers, not {right!r}")
        if left is None:
            return False
        if isinstance(left, str):
            raise TypeError
        now, then = (datetime.fromtimestamp(moment, timezone.utc) for moment in (row.now, left))
        return bool(right[0] <= number_of(then) - number_of(now) <= right[1])

    return holds


def _is_share(left: float, base: float, least: float, most: float) -> bool:
    return base * least <= left <= base * most


_IS_ABOVE, _IS_BELOW = _comparison(operator.gt), _comparison(operator.lt)
_CROSSINGS: dict[str, Callable[[Any, Any, Row, str], bool]] = {
    "crosses_above": _crosses_above,
    "crosses_below": _crosses_below,
    "crosses": lambda left, right, row, name: (
        _crosses_above(left, right, row, name) or _crosses_below(left, right, row, name)
    ),
}

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
    "smatch": _matches,
    "has": _has,
    "has_none_of": _unless(_has),
    "above%": _in_per_cent(lambda left, base, factor, _: left > base * factor),
    "below%": _in_per_cent(lambda left, base, factor, _: left * factor <= base),
    "in_range%": _in_per_cent(_is_share),
    "not_in_range%": _in_per_cent(lambda left, base, least, most: not _is_share(left, base, least, most)),
    "in_day_range": _within(lambda moment: moment.toordinal()),
    "in_week_range": _within(lambda moment: (moment.toordinal() - 1) // 7),
    "in_month_range": _within(lambda moment: 12 * moment.year + moment.month),
}
