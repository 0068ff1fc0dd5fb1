"""`tv-etl search`: what the symbol search finds, as a table, as CSV or as JSON."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import proxy_option
from tv_etl.tradingview.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tv_etl.tradingview.symbol_search import FoundSymbol, SearchType

COLUMNS = ("symbol", "description", "type", "exchange", "currency", "country")


@click.command(no_args_is_help=True)
@click.argument("text")
@click.option(
    "--type", "kind", metavar="TYPE",
    help="Only this type: stock, fund, futures, forex, crypto, index, bond, economic, option or cfd.",
)  # fmt: skip
@click.option("--exchange", metavar="NAME", help="Only this exchange, e.g. BINANCE.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects, of futures with all contracts.")
@click.option(
    "--search-url", metavar="URL", help="Address of the symbol search.  [default: $TV_ETL_SEARCH_URL or TradingView]"
)
@proxy_option
def search(
    text: str,
    kind: "SearchType | None",
    exchange: str | None,
    limit: int,
    as_json: bool,
    search_url: str | None,
    proxy: str | None,
) -> None:
    """Find the symbols of TEXT, a ticker, a name or an ISIN: what the other commands and a watchlist take.

    In a pipe it prints CSV. The exit code is 1 if nothing is found.
    """
    import asyncio

    from tv_etl.tradingview.symbol_search import SymbolSearch

    try:
        service = SymbolSearch(search_url, retry_s=5.0, proxy=proxy)
        found = asyncio.run(service.search(text, type=kind, exchange=exchange, limit=limit))
    except ValueError as error:
        raise click.UsageError(shown(error)) from None
    print_found(found, as_json=as_json)
    sys.stdout.flush()
    if not found:
        click.echo("nothing was found", err=True)
    sys.exit(0 if found else 1)


def print_found(found: "Sequence[FoundSymbol]", *, as_json: bool) -> None:
    """Print a table on a terminal, CSV in a pipe or a file."""
    from tv_etl.cli.plain import json_text

    if as_json:
        print(json_text([each.to_dict() for each in found], indent=1))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(found_table(found))
    else:
        import csv

        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([printable(getattr(each, name) or "") for name in COLUMNS] for each in found)


def found_table(found: "Sequence[FoundSymbol]") -> "Table":
    """One row per symbol; of a future one for all of its contracts, with their number."""
    from rich.table import Table
    from rich.text import Text

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
