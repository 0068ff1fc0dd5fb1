"""`tv-etl search`: what the symbol search finds, as a table, as CSV or as JSON."""

import csv
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tv_etl.cli.plain import json_text
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.symbol_search import FoundSymbol

COLUMNS = ("symbol", "description", "type", "exchange", "currency", "country")


def print_found(found: Sequence[FoundSymbol], *, as_json: bool) -> None:
    """Print a table on a terminal, CSV in a pipe or a file."""
    if as_json:
        print(json_text([each.to_dict() for each in found], indent=1))
    elif sys.stdout.isatty():
        Console(highlight=False).print(found_table(found))
    else:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([printable(getattr(each, name) or "") for name in COLUMNS] for each in found)


def found_table(found: Sequence[FoundSymbol]) -> Table:
    """One row per symbol; of a future one for all of its contracts, with their number."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name == "symbol")
    if any(each.contracts for each in found):
        table.add_column("contracts", justify="right")
    for each in found:
        texts = [getattr(each, name) or "" for name in COLUMNS]
        count = str(len(each.contracts)) if each.contracts else ""
        table.add_row(*(Text(printable(text)) for text in texts), *([count] if len(table.columns) > len(texts) else []))
    return table
