"""Symbols from a file or from stdin; `symbol_list` says how they may be written there."""

import sys
from pathlib import Path

from tv_etl.watchlist.symbol_list import read_symbol_list

STDIN = "-"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class SymbolFileError(ValueError):
    """The file cannot be read, or not all of it; each of the mistakes names the file, and its line and column."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def read_symbols(path: Path) -> list[str]:
    """The symbols of a file, each once, in its order. Raises SymbolFileError, which names every mistake."""
    try:
        return read_symbol_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise SymbolFileError([f"{path}: {error.strerror}"]) from None


def read_stdin_symbols() -> list[str]:
    """The symbols that another program writes, or a person. Raises SymbolFileError."""
    return read_symbol_bytes(sys.stdin.buffer.read(), "stdin")


def read_symbol_bytes(content: bytes, name: str) -> list[str]:
    """The symbols of a file's content. Raises SymbolFileError."""
    # What a spreadsheet calls Unicode text.
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        right = f"{name}:{line}: not {encoding.upper().removesuffix('-SIG')} at byte {error.start}; save it as UTF-8"
        raise SymbolFileError([right]) from None
    found = read_symbol_list(text)
    if found.mistakes:
        raise SymbolFileError([f"{name}:{at.place.line}:{at.place.column}: {at.text}" for at in found.mistakes])
    return found.symbols
