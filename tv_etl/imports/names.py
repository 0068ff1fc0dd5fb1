"""What the name of a file says of its bars, and which symbol is meant by a name; pure.

NASDAQ_AAPL, 1D.csv              a chart's export; BINANCE_BTCUSDT, 60_a1b2c.csv and CME_MINI_ES1!, 5 (1).csv as well
NASDAQ%3AAAPL.1d.parquet         tv-etl fetch
ohlcv_NASDAQ:AAPL_20260102-093000.csv     tvkit
BTC_USDT-1h.feather              freqtrade
AAPL.csv                         a name, and no interval
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import is_symbol

_CHART = re.compile(r"(?P<name>.+), (?P<interval>[0-9]*[A-Za-z]{0,2})(?:_[0-9a-f]{5,})?(?: ?\([0-9]+\))?")
_OURS = re.compile(r"(?P<name>[A-Z0-9_]+%3A.+)\.(?P<interval>[0-9]+[a-z]{1,2})")
_TVKIT = re.compile(r"ohlcv_(?P<name>.+)_[0-9]{8}-[0-9]{6}")
_FREQTRADE = re.compile(
    r"(?P<name>[A-Z0-9]+_[A-Z0-9]+(?:_[A-Z0-9]+)?)-(?P<interval>[0-9]+(?:[smhdwM]|Mo))(?:-spot|-futures)?"
)

# Of those that TradingView has, the exchanges with a line in their names: there are others, so no more is guessed.
_UNDERSCORED = ("CBOT_MINI", "CME_MINI", "COMEX_MINI", "FX_IDC", "NYMEX_MINI")


class Named(NamedTuple):
    """What a file is named after; `is_chart` where the exchange stands before a line in place of a colon."""

    name: str
    interval: Interval | None = None
    is_chart: bool = False


def named_after(stem: str) -> Named:
    """What the name of a file without its extensions says."""
    if found := _CHART.fullmatch(stem):
        return Named(found["name"], _interval(found["interval"]), is_chart=True)
    if found := _OURS.fullmatch(stem):
        return Named(unquote(found["name"]), _interval(found["interval"]))
    if found := _TVKIT.fullmatch(stem):
        return Named(found["name"])
    if found := _FREQTRADE.fullmatch(stem):
        text = found["interval"]
        return Named(found["name"], _interval(f"{text[:-2]}mo" if text.endswith("Mo") else text))
    return Named(unquote(stem))


def symbol_of(named: Named, exchange: str | None) -> str | None:
    """The symbol that a name stands for; None where it may be another one, or is none."""
    name = named.name
    if is_symbol(name):
        return name
    if named.is_chart and "_" in name:
        known = next((each for each in _UNDERSCORED if name.startswith(f"{each}_")), None)
        first, _, ticker = (known, "", name[len(known) + 1 :]) if known else name.partition("_")
    elif exchange is not None:
        first, parts = exchange, name.split("_")
        ticker = "".join(parts) if len(parts) == 2 else name
    else:
        return None
    symbol = f"{first}:{ticker}"
    return symbol if "_" not in ticker and is_symbol(symbol) else None


class SymbolIndex:
    """Symbols of a list, found by what files are named after."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = frozenset(symbols)
        self._by_chart, self._by_ticker, self._by_bare = (defaultdict[str, list[str]](list) for _ in range(3))
        for symbol in dict.fromkeys(symbols):
            ticker = symbol.partition(":")[2]
            self._by_chart[symbol.replace(":", "_")].append(symbol)
            self._by_ticker[ticker.casefold()].append(symbol)
            self._by_bare[_bare(ticker)].append(symbol)

    def meant_by(self, named: Named) -> Sequence[str]:
        """All symbols that may be meant: AAPL, BTC-USDT or BTC_USDT, and what a chart's export calls NYSE_IBM."""
        name = named.name
        own = symbol_of(named, None)
        if own is not None:
            return [own] if own in self._symbols else []
        by_chart = self._by_chart.get(name) if named.is_chart else None
        return by_chart or self._by_ticker.get(name.casefold()) or self._by_bare.get(_bare(name)) or []


def _bare(ticker: str) -> str:
    return re.sub("[-_./]", "", ticker).casefold()


def _interval(text: str) -> Interval | None:
    try:
        return Interval.parse(text)
    except IntervalError:
        return None
