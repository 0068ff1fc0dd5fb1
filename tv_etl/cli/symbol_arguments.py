"""Symbols as a command takes them: written out, and from lists in files or from another program."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


_FORMS = (
    "one a line, TradingView's export of a watchlist, or a CSV with a column Symbol, or Ticker and Exchange; may be "
    "given several times."
)


def lists_option(use: str) -> Callable[[Command], Command]:
    """The option `lists` for `listed_symbols`; `use` is what becomes of the symbols."""
    return click.option("--symbols", "lists", multiple=True, metavar="FILE|-", help=f"{use}, - for stdin: {_FORMS}")


def symbol_arguments(command: Command) -> Command:
    """Give a command the arguments `symbols`, and `lists` for `listed_symbols`."""
    lists = lists_option("Read symbols from a file")
    return click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")(lists(command))


def listed_symbols(symbols: Sequence[str], lists: Sequence[str]) -> list[str]:
    """All symbols that were given, each once. Raises SymbolFileError, and UsageError if there are none."""
    from tv_etl.watchlist.symbol_file import STDIN, read_stdin_symbols, read_symbols

    found = list(symbols)
    for each in lists:
        found += read_stdin_symbols() if each == STDIN else read_symbols(Path(each))
    if not found:
        raise click.UsageError("no symbol: write e.g. NASDAQ:AAPL, or name a file of symbols with --symbols")
    return list(dict.fromkeys(found))
