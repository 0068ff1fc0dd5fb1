"""Which columns of a file are those of bars, by their names, and what is known of whoever writes them so; pure.

| form | time | beside the prices | newest bar | adjusted for |
|---|---|---|---|---|
| a chart's export | `time` | `Volume`, indicators | may be forming | splits |
| tv-etl fetch | `timestamp` | `symbol`, `interval` first | has closed | splits |
| tvkit | `timestamp` | maybe `symbol`, `interval` | may be forming | splits |
| tvDatafeed | `datetime` | `symbol` | may be forming | splits |
| yfinance | `Date`, `Datetime` | maybe `Adj Close` | may be forming | splits with `Adj Close`, else it has to be said |
| freqtrade | `date`, or rows without names | `volume` | has closed | splits: what it trades has none |
| named columns | any | any | has closed | has to be said |
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tv_etl.imports.errors import FormError
from tv_etl.imports.options import FIELDS, NEEDED

_TIMES = ("time", "timestamp", "datetime", "date")
_PAIR = re.compile(r"\('([^']*)', '([^']*)'\)")
_ADJUSTED_CLOSE = "adj close"
FREQTRADE_COLUMNS = ("date", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Form:
    """The places of a series' columns in its file; `adjustment` is empty where it has to be said.

    A `ticker` is in the names of the columns, where a file has several series side by side. The newest bar `may_form`.
    """

    name: str
    places: Mapping[str, int]
    may_form: bool
    adjustment: str
    ticker: str = ""

    @property
    def is_labelled(self) -> bool:
        """True where rows say of which symbol or interval they are."""
        return "symbol" in self.places or "interval" in self.places


def forms_of(path: Path, names: Sequence[str], columns: Mapping[str, str], tickers: Sequence[str] = ()) -> list[Form]:
    """The form of each series whose bars stand side by side in a file; `tickers` are those of the columns.

    Raises FormError where a column is missing, or a name given twice.
    """
    names = [name.strip() for name in names]
    if not tickers and any(name.startswith("(") for name in names):
        names, tickers = _of_pairs(names)
    distinct = dict.fromkeys(each.strip() for each in tickers if each.strip())
    return [_form(path, names, columns, tickers, ticker) for ticker in distinct or [""]]


def _form(path: Path, names: Sequence[str], columns: Mapping[str, str], tickers: Sequence[str], ticker: str) -> Form:
    mine = {
        place: name
        for place, name in enumerate(names)
        if not ticker or not tickers[place].strip() or tickers[place].strip() == ticker
    }
    places = dict[str, int]()
    for field in FIELDS:
        wanted = columns.get(field)
        found = [place for place, name in mine.items() if name == wanted] if wanted is not None else _usual(mine, field)
        if wanted is not None and not found:
            raise FormError(path, f"it has no column {wanted!r}; its columns are {_shown(names)}")
        # A chart's indicators may be named as its volume is: that comes first.
        if len(found) > 1 and field != "volume":
            raise FormError(
                path, f"two columns are named {names[found[0]]!r}: name the one to take, by a name of its own"
            )
        if found:
            places[field] = found[0]
    missing = [field for field in NEEDED if field not in places]
    if missing:
        told = f"--column {missing[0]}=NAME says which"
        raise FormError(path, f"no column is named {', '.join(missing)}: {told} of {_shown(names)}")
    return Form(*_written_by(names, places, columns), ticker=ticker)


def _usual(mine: Mapping[int, str], field: str) -> list[int]:
    if field != "time":
        return [place for place, name in mine.items() if name.lower() == field]
    for usual in _TIMES:
        found = [place for place, name in mine.items() if name.lower() == usual]
        if found:
            return found
    return []


def _written_by(
    names: Sequence[str], places: Mapping[str, int], columns: Mapping[str, str]
) -> tuple[str, Mapping[str, int], bool, str]:
    time = names[places["time"]]
    if columns:
        return "named columns", places, False, ""
    if time == "timestamp":
        is_ours = list(names[:3]) == ["symbol", "interval", "timestamp"]
        return "tv-etl" if is_ours else "tvkit", places, not is_ours, "splits"
    if time == "datetime":
        return "tvDatafeed", places, True, "splits"
    if time == "time":
        return "a chart's export", places, True, "splits"
    if time == "date":
        return "freqtrade", places, False, "splits"
    has_adjusted = any(name.lower() == _ADJUSTED_CLOSE for name in names)
    return "yfinance", places, True, "splits" if has_adjusted else ""


def _of_pairs(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names such as `('Close', 'AAPL')`, as pandas writes those of two levels: the names and the tickers."""
    pairs = []
    for name in names:
        found = _PAIR.fullmatch(name)
        pairs.append((found[1], found[2]) if found else (name, ""))
    return [first for first, _ in pairs], [second for _, second in pairs]


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20:,} more" if len(names) > 20 else shown
