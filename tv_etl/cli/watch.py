"""`tv-etl watch`: live quotes, or bars as they close."""

import sys
from functools import partial

import click

from tv_etl.cli.errors import suggesting
from tv_etl.cli.options import proxy_option, ws_url_option
from tv_etl.cli.symbol_arguments import listed_symbols, symbol_arguments
from tv_etl.cli.writer import writer
from tv_etl.tradingview.errors import SymbolError, TradingViewError


@click.command(no_args_is_help=True)
@symbol_arguments
@click.option("--once", is_flag=True, help="Print the current quotes and exit.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For pipes: print each change as a line of JSON, once a price is known.",
)
@click.option("--bars", "interval", metavar="INTERVAL", help="Show bars of this width as they close, e.g. 1m.")
@click.option(
    "--lake", metavar="DIR", help="With --bars: join each into this lake, a directory or an address in an object store."
)
@ws_url_option
@proxy_option
def watch(
    symbols: tuple[str, ...],
    lists: tuple[str, ...],
    once: bool,
    as_json: bool,
    interval: str | None,
    lake: str | None,
    ws_url: str | None,
    proxy: str | None,
) -> None:
    """Show live quotes of EXCHANGE:TICKER symbols, or their bars as they close, until Ctrl-C.

    Survives lost connections, and says when nothing was seen. TV_ETL_AUTH_TOKEN or TV_ETL_SESSION_ID selects an
    account; without either, access is anonymous and many exchanges are delayed.
    """
    import asyncio
    import signal

    from tv_etl.cli.watch_bars import watch_bars
    from tv_etl.cli.watch_quotes import print_once, watch_quotes
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.intervals import Interval
    from tv_etl.tradingview.ohlcv import signal_handler
    from tv_etl.tradingview.proxy import Proxy

    try:
        wanted = _checked(listed_symbols(symbols, lists))
        width = None if interval is None else Interval.parse(interval)
        account = Account.from_environment()
        Proxy.of(proxy)
        store = None
        if lake is not None:
            from tv_etl.lake.store import BarStore

            store = BarStore(lake, writer=writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(suggesting(error, ws_url, proxy)) from None
    if width is None and lake is not None:
        raise click.UsageError("--lake takes bars: say of which width, e.g. --bars 1m")
    if width is not None and once:
        raise click.UsageError("--once prints quotes; for closed bars up to now use tv-etl fetch")
    if width is None and not (once or as_json or sys.stdout.isatty()):
        raise click.UsageError("a live table needs a terminal: use --json in a pipe, or --once")
    # SIGTERM as well: the terminal must get its cursor back.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal_handler)
    show = partial(print_once if once else watch_quotes, wanted)
    if width is not None:
        show = partial(watch_bars, wanted, width, store=store)
    try:
        succeeded = asyncio.run(show(as_json=as_json, ws_url=ws_url, account=account, proxy=proxy))
    except KeyboardInterrupt:
        succeeded = True
    sys.exit(0 if succeeded else 1)


def _checked(symbols: list[str]) -> list[str]:
    """The symbols, unchanged. Raises ValueError, which names all that are malformed."""
    from tv_etl.tradingview.symbols import check_symbol

    wrong = []
    for each in symbols:
        try:
            check_symbol(each)
        except SymbolError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("\n".join(wrong))
    return symbols
