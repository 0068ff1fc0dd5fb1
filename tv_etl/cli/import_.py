"""`tv-etl import`: bars of files into a lake."""

import sys
from pathlib import Path

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import lake_option, proxy_option, ws_url_option
from tv_etl.cli.symbol_arguments import listed_symbols, lists_option
from tv_etl.cli.writer import writer
from tv_etl.tradingview.errors import TradingViewError


@click.command("import", no_args_is_help=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--symbol", "symbols", multiple=True, metavar="SYMBOL|NAME=SYMBOL",
    help="The symbol of all files; or that of a NAME in files or of files, may be given several times.",
)  # fmt: skip
@lists_option("Names are those of symbols from a file, AAPL of NASDAQ:AAPL")
@click.option("--exchange", metavar="NAME", help="The exchange of names without one, e.g. BINANCE for BTC_USDT.")
@click.option(
    "--interval", help="Width of the bars: 1m 5m 1h 4h 1d 1w 1mo ...  [default: as the file or its name says]"
)
@click.option("--timezone", metavar="ZONE", help="The zone of times that have none: UTC, or e.g. America/New_York.")
@click.option(
    "--adjustment", type=click.Choice(["splits", "dividends", "none"]),
    help="What the prices of all files are adjusted for: splits only, or dividends as well.  [default: by form]",
)  # fmt: skip
@click.option(
    "--session", type=click.Choice(["regular", "extended"]), default="regular", show_default=True,
    help="Whether there are bars of the pre- and post-market as well.",
)  # fmt: skip
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=COLUMN",
    help="The column of time, open, high, low, close, volume, symbol or interval; may be given several times.",
)  # fmt: skip
@click.option("--decimal", type=click.Choice([".", ","]), help="The sign before decimals, where both are possible.")
@click.option(
    "--closed/--forming", default=None,
    help="The newest bar of each series had closed when its file was written, or may have been forming: it is left out."
    "  [default: by form]",
)  # fmt: skip
@click.option(
    "--sparse", is_flag=True, help="Bars may be further apart than their interval: a thin market, or figures."
)
@click.option(
    "--hours", metavar="HOURS[@ZONE]",
    help="Regular trading hours, e.g. 24x7 or 0930-1600@America/New_York, that tell when a date's bar opens."
    "  [default: as the lake or the server knows them]",
)  # fmt: skip
@lake_option()
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each series, and each refused file.")
@ws_url_option
@proxy_option
def import_(
    files: tuple[Path, ...],
    symbols: tuple[str, ...],
    lists: tuple[str, ...],
    interval: str | None,
    columns: tuple[str, ...],
    hours: str | None,
    lake: str,
    as_json: bool,
    ws_url: str | None,
    proxy: str | None,
    **others: "str | bool | None",
) -> None:
    """Bring bars of FILEs into a lake: exports of charts, of tv-etl and tvkit, tvDatafeed's, yfinance's, freqtrade's.

    CSV, JSON, Parquet and Arrow (feather); directories are searched. The files of a series are stored in one commit, or
    none is: what is wrong is named on stderr by file and row, other series are stored, and the exit code is 1. A server
    is asked only where dates need trading hours that the lake does not know.
    """
    from tv_etl.cli.import_files import asking, run_import
    from tv_etl.imports import ImportOptions
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.proxy import Proxy

    try:
        listed = listed_symbols((), lists) if lists else []
        options = ImportOptions.of_texts(symbols, interval, columns, hours, listed, **others)
        Proxy.of(proxy)
        account, store = Account.from_environment(), BarStore(lake, writer=writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(shown(error)) from None
    with asking(ws_url, account, proxy) as ask:
        refused = run_import(store, files, options, ask, as_json=as_json)
    sys.exit(1 if refused else 0)
