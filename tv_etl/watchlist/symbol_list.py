"""Symbols in a text, in whatever form people have them.

    NASDAQ:AAPL                                 one a line, or several with commas between
    NASDAQ:MSFT  # Microsoft                    what follows a `#` is a comment
    ###TECH,NASDAQ:AAPL,###CRYPTO,BINANCE:BTCUSDT     TradingView's own export of a watchlist, with its sections
    name;Ticker;Exchange                        a table with a column Symbol or Ticker, and perhaps Exchange
    Apple;AAPL;NASDAQ

The text says which: a table begins with the names of its columns, separated by `,`, `;` or tabs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.symbols import check_symbol
from tv_etl.watchlist.yaml_places import Mistake, Place

NOTHING = "no symbols; write one per line, e.g. NASDAQ:AAPL"

# In the order in which they are looked for.
_SYMBOL_COLUMNS, _EXCHANGE_COLUMN = ("symbol", "ticker"), "exchange"
_NAMED = "a column Symbol, or Ticker and Exchange"
_DELIMITERS = ",;\t"

_COMMENT = re.compile(r"(?:^|\s)#.*")  # a ticker may hold a `#`
_SECTION = re.compile(r"###(?=[^\s#])[^,]*")  # `### so` and `####` are comments, as any other `#`
# A `;` stands in no ticker of today's, but may; one before what is an exchange ends a symbol.
_ITEM = re.compile(r"(?:[^,;]|;(?!\s*(?:[A-Z0-9_]+:|###|$)))*")

_TEXT = re.compile(r"\S")

_Cell = tuple[int, str]  # the column of the line at which it begins, and its text


@dataclass(frozen=True)
class SymbolList:
    """What a text lists: each symbol once, in its order, and everything that is none."""

    symbols: list[str]
    mistakes: list[Mistake]


def read_symbol_list(text: str) -> SymbolList:
    """The symbols of a text. A text without any is one mistake."""
    lines = text.removeprefix("\ufeff").splitlines()
    found, mistakes = dict[str, None](), list[Mistake]()
    for place, item in _items(lines):
        if isinstance(item, _Wrong):
            mistakes.append(Mistake(place, item.text))
            continue
        try:
            found[check_symbol(item)] = None
        except SymbolError as error:
            mistakes.append(Mistake(place, str(error)))
    if not found and not mistakes:
        mistakes.append(Mistake(Place(1, 1), NOTHING))
    return SymbolList(list(found), mistakes)


@dataclass(frozen=True)
class _Wrong:
    """What is no symbol, and why."""

    text: str


def _items(lines: Sequence[str]) -> Iterator[tuple[Place, "str | _Wrong"]]:
    """What should be symbols, each with its place."""
    first = next((number for number, line in enumerate(lines) if line.strip() and not _is_comment(line)), None)
    if first is None:
        return
    header, rest = lines[first], lines[first + 1 :]
    for delimiter in _DELIMITERS:
        names = [name.strip().casefold() for _, name in _cells(header, delimiter) or ()]
        if any(each in names for each in _SYMBOL_COLUMNS):
            yield from _table(lines, first, delimiter, names)
            return
    if delimiter_of_unknown := _unknown_table(header, rest):
        names = [name.strip() for _, name in _cells(header, delimiter_of_unknown) or ()]
        yield Place(first + 1, 1), _Wrong(f"expected {_NAMED}; the columns are: {', '.join(names)}")
        return
    for number, line in enumerate(lines, start=1):
        for column, item in _line_items(line):
            yield Place(number, column), item


def _is_comment(line: str) -> bool:
    stripped = line.lstrip()
    return stripped.startswith("#") and not _SECTION.match(stripped)


# --- lists ----------------------------------------------------------------------------------------------------


def _line_items(line: str) -> Iterator[_Cell]:
    """What is between the commas of a line, without sections and comments."""
    at = 0
    while at < len(line):
        start = len(line) if (text_from := _TEXT.search(line, at)) is None else text_from.start()
        if section := _SECTION.match(line, start):
            at = section.end() + 1
            continue
        item = _ITEM.match(line, at)
        assert item is not None  # it matches nothing as well
        # The section after a comma and a space is none of the item's comments: items end at commas.
        comment = _COMMENT.search(item[0])
        text = item[0][: comment.start()] if comment else item[0]
        if stripped := text.strip().strip('"'):
            yield start + 1, stripped
        if comment:
            return
        at = item.end() + 1


# --- tables ---------------------------------------------------------------------------------------------------


def _table(
    lines: Sequence[str], header: int, delimiter: str, names: Sequence[str]
) -> Iterator[tuple[Place, "str | _Wrong"]]:
    symbol_at = next(names.index(each) for each in _SYMBOL_COLUMNS if each in names)
    exchange_at = names.index(_EXCHANGE_COLUMN) if _EXCHANGE_COLUMN in names else None
    for number, line in enumerate(lines[header + 1 :], start=header + 2):
        if not line.strip() or _is_comment(line):
            continue
        cells = _cells(line, delimiter)
        if cells is None:
            yield Place(number, 1), _Wrong('a " is not closed on its line')
        elif len(cells) <= max(symbol_at, exchange_at or 0):
            columns = f"{len(cells)} column{'s' * (len(cells) > 1)}"
            yield Place(number, 1), _Wrong(f"the row has {columns}: expected {len(names)}, as the first line has")
        else:
            column, ticker = cells[symbol_at]
            exchange = cells[exchange_at][1].strip() if exchange_at is not None else ""
            if ticker.strip():
                is_whole = ":" in ticker or not exchange
                yield Place(number, column), ticker.strip() if is_whole else f"{exchange}:{ticker.strip()}"


def _cells(line: str, delimiter: str) -> list[_Cell] | None:
    """The cells of a row, with `"` around a cell that holds the delimiter; None where one is not closed."""
    cells, at = list[_Cell](), 0
    cell = _CELL_OF[delimiter]
    while match := cell.match(line, at):
        quoted = match["quoted"]
        cells.append((match.start("body") + 1, match["plain"] if quoted is None else quoted.replace('""', '"')))
        at = match.end()
        if not match["end"]:
            return cells
    return None


def _cell(delimiter: str) -> re.Pattern[str]:
    # A quote inside a cell that does not begin with one is a character like any other.
    quoted, plain = r'"(?P<quoted>(?:[^"]|"")*)"\s*?', rf'(?P<plain>(?!")[^{delimiter}]*)'
    return re.compile(rf" *(?P<body>{quoted}|{plain})(?P<end>{delimiter}|$)")


_CELL_OF = {delimiter: _cell(delimiter) for delimiter in _DELIMITERS}


def _unknown_table(header: str, rest: Sequence[str]) -> str | None:
    """The delimiter of a table that names none of the columns; None where the text is no table at all.

    A line with nothing of a symbol in it, and below it rows of as many cells.
    """
    if ":" in header or "###" in header:
        return None
    below = next((line for line in rest if line.strip()), "")
    for delimiter in _DELIMITERS:
        counts = {len(_cells(line, delimiter) or ()) for line in (header, below)}
        if len(counts) == 1 and max(counts) > 1:
            return delimiter
    return None
