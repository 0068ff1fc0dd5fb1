"""Symbols (`EXCHANGE:TICKER`, or expressions of them) and the spec that asks the server for one with given settings.

Checks form only; whether a symbol exists is for the server to say.
"""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

from tv_etl.tradingview.currencies import check_currency
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.printable import is_printable

Adjustment = Literal["splits", "dividends"]
SessionKind = Literal["regular", "extended"]
_CHOICES: dict[str, tuple[object, ...]] = {
    "adjustment": get_args(Adjustment),
    "session": get_args(SessionKind),
    "backadjustment": (False, True),
}

# A symbol becomes one path segment `symbol=<percent-encoded>`; file systems stop at 255 bytes.
MAX_ENCODED_LENGTH = 200

# Dagster forbids `| [ ] ,` in partition keys; quotes and backslashes would need escaping in every spec.
_SYMBOL = re.compile(r"""[A-Z0-9_]+:[^\s|\[\],"'\\<>\x00-\x1f\x7f]+""")


_RIGHT = "expected EXCHANGE:TICKER, the exchange in capitals, e.g. NASDAQ:AAPL"
_TOLD = re.compile(rf"""symbol (?P<symbol>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"): (?P<right>{re.escape(_RIGHT)})""")

# Of an expression. In a ticker a sign may stand as well (`BTC-PERPETUAL`), but not before what it could be applied to.
_EXCHANGE, _NUMBER = r"[A-Z0-9_]+:", r"[0-9]+(?:\.[0-9]+)?"
_TICKER = rf"(?:[^\s|\[\],\"'\\<>\x00-\x1f\x7f()+*/^-]|[-+*/^](?!\(|{_EXCHANGE}|{_NUMBER}(?:[-+*/^)]|$)))+"
_LEG, _CONSTANT = re.compile(rf"{_EXCHANGE}{_TICKER}"), re.compile(_NUMBER)
_VALUE = "\0"  # which no symbol contains
_COMPUTED = re.compile(rf"{_VALUE}[-+*/^]{_VALUE}|\({_VALUE}\)")


def check_symbol(text: str) -> str:
    """Return the symbol unchanged if its form is `EXCHANGE:TICKER`, or that of an expression of such.

    Tickers may be futures (`GC1!`), perpetuals (`BTCUSDT.P`), numbers (`005930`), and contain `& . - !` or letters of
    any script. Expressions are what TradingView computes: symbols and numbers, joined by `+ - * / ^` and parentheses
    without spaces, such as `1/BINANCE:BTCUSDT` or `(NASDAQ:AAPL+NASDAQ:MSFT)/2`.

    Raises SymbolError, which says what would be right.
    """
    # Dagster reads `a...b` in a set of partitions as a range.
    if not isinstance(text, str) or "..." in text or not is_printable(text):
        raise SymbolError(str(text), _RIGHT)
    if not _SYMBOL.fullmatch(text) and not _is_expression(text):
        joined = "".join(text.split())
        is_spaced = joined != text and _is_expression(joined) and not _LEG.fullmatch(joined)
        raise SymbolError(text, f"expected an expression without spaces: {joined}" if is_spaced else _RIGHT)
    if len(quote(text, safe="")) > MAX_ENCODED_LENGTH:
        raise SymbolError(text, f"longer than {MAX_ENCODED_LENGTH} bytes when percent-encoded")
    return text


def check_symbols(symbols: Sequence[str]) -> Sequence[str]:
    """Return a list of symbols unchanged. Raises ValueError for none, or for a text where a list is meant."""
    if isinstance(symbols, str):
        raise ValueError(f"symbols {symbols!r}: expected a list, e.g. [{symbols!r}]")
    if not symbols:
        raise ValueError("symbols: expected at least one, got none")
    for symbol in symbols:
        check_symbol(symbol)
    return symbols


def told_malformed(message: str) -> list[tuple[str, int, int]]:
    """The symbols that an error's message tells as malformed, each with the span that says what would be right."""
    return [(ast.literal_eval(each["symbol"]), *each.span("right")) for each in _TOLD.finditer(message)]


def is_symbol(text: str) -> bool:
    """True for what `check_symbol` takes."""
    try:
        check_symbol(text)
    except SymbolError:
        return False
    return True


def _is_expression(text: str) -> bool:
    """True if symbols, numbers, signs and parentheses make one value, whatever is worked out first."""
    if len(text) > MAX_ENCODED_LENGTH:
        return False
    symbolic, legs = _LEG.subn(_VALUE, text)
    rest = _CONSTANT.sub(_VALUE, symbolic)
    while (shorter := _COMPUTED.sub(_VALUE, rest)) != rest:
        rest = shorter
    return legs > 0 and rest == _VALUE


@dataclass(frozen=True)
class SeriesSettings:
    """What changes the bars of a series: two series with different settings are different data.

    `adjustment` for splits only, or for dividends too; `session` with or without pre- and post-market;
    `currency` a code to convert to (`currencies`); `backadjustment` joins the contracts of a continuous future. Raises
    ValueError for anything else: the server would answer with other data, without a word.
    """

    adjustment: Adjustment = "splits"
    session: SessionKind = "regular"
    currency: str | None = None
    backadjustment: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} {value!r}: expected {' or '.join(map(repr, choices))}")
        if self.currency is not None:
            check_currency(self.currency)


def encode_spec(symbol: str, settings: SeriesSettings) -> str:
    """The `=` + JSON form that `resolve_symbol` and `quote_add_symbols` take."""
    spec: dict[str, Any] = {
        "symbol": symbol,
        "adjustment": settings.adjustment,
        "session": settings.session,
    }
    if settings.currency:
        spec["currency-id"] = settings.currency
    if settings.backadjustment:
        spec["backadjustment"] = "default"
    return "=" + json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def decode_spec(text: str) -> dict[str, Any]:
    """Read either form of a spec into a dict with at least `symbol`.

    A chart type wraps the symbol once more (`{"symbol": {...}, "type": "BarSetRenko@..."}`): the inner spec is
    returned. Raises SymbolError.
    """
    if not text.startswith("="):
        return {"symbol": text}
    try:
        spec = json.loads(text[1:])
    except (ValueError, RecursionError):
        raise SymbolError(text, "what follows '=' is not JSON") from None
    while isinstance(spec, dict) and isinstance(spec.get("symbol"), dict):
        spec = spec["symbol"]
    if not isinstance(spec, dict) or not isinstance(spec.get("symbol"), str):
        raise SymbolError(text, "the spec names no symbol")
    return spec
