"""Symbols from a file: one per line, or the column `symbol` of a CSV file."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.symbols import check_symbol

COLUMN = "symbol"

_COMMENT = re.compile(r"(?:^|\s)#.*")  # a ticker may hold a `#`


class SymbolFileError(ValueError):
    """The file cannot be read, or not all of it; the message names every wrong line."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def read_symbols(path: Path) -> list[str]:
    """The symbols of a file, in its order. Raises SymbolFileError.

    A name that ends in `.csv` is a table with a column `symbol`; in any other file each line is a symbol, and what
    follows a `#` at its beginning or after a space is a comment.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SymbolFileError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise SymbolFileError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    lines, mistakes = dict[str, int](), list[str]()
    for number, symbol in _rows(path, text):
        try:
            check_symbol(symbol)
        except SymbolError as error:
            mistakes.append(f"{path}:{number}: {error}")
            continue
        if symbol in lines:
            mistakes.append(f"{path}:{number}: {symbol} is already listed on line {lines[symbol]}")
        lines.setdefault(symbol, number)
    if not lines and not mistakes:
        mistakes.append(f"{path}: no symbols; write one per line, e.g. NASDAQ:AAPL")
    if mistakes:
        raise SymbolFileError(mistakes)
    return list(lines)


def _rows(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(line, symbol) of every line that has one."""
    if path.suffix.lower() != ".csv":
        for number, line in enumerate(text.splitlines(), start=1):
            if symbol := _COMMENT.sub("", line).strip():
                yield number, symbol
        return
    reader = csv.DictReader(text.splitlines())
    if COLUMN not in (reader.fieldnames or []):
        found = ", ".join(reader.fieldnames or []) or "none"
        raise SymbolFileError([f"{path}:1: expected a column named {COLUMN}; the columns are: {found}"])
    for row in reader:
        if symbol := (row[COLUMN] or "").strip():
            yield reader.line_num, symbol
