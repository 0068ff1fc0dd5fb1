"""`tv-etl fetch`: bars into files, a pipe or a lake."""

import sys
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tv_etl.cli.errors import shown, suggesting
from tv_etl.cli.options import (
    chosen_range,
    days_option,
    end_option,
    format_option,
    parse_time,
    proxy_option,
    start_option,
    ws_url_option,
)
from tv_etl.cli.symbol_arguments import listed_symbols, symbol_arguments
from tv_etl.cli.writer import writer
from tv_etl.tradingview.errors import TradingViewError

if TYPE_CHECKING:
    from tv_etl.cli.files import FileFormat
    from tv_etl.tradingview.symbols import Adjustment, SessionKind


@click.command(no_args_is_help=True)
@symbol_arguments
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    default=["1d"],
    show_default=True,
    help="Width of the bars: 1m 5m 1h 4h 1d 1w 1mo ...; may be given several times.",
)
@click.option("--bars", type=click.IntRange(min=1), help="Number of newest bars.  [default: 300]")
@days_option
@start_option
@click.option("--all", "is_all", is_flag=True, help="All bars that the server has.")
@end_option
@click.option(
    "--adjustment",
    type=click.Choice(["splits", "dividends"]),
    default="splits",
    show_default=True,
    help="What prices are adjusted for: splits only, or dividends as well.",
)
@click.option(
    "--session",
    type=click.Choice(["regular", "extended"]),
    default="regular",
    show_default=True,
    help="Regular trading hours only, or pre- and post-market as well.",
)
@click.option("--currency", metavar="CODE", help="Convert prices to this currency, e.g. EUR.")
@click.option(
    "--dry-run", is_flag=True, help="Only show what would be asked for: pages, bars, bytes and time. Sends nothing."
)
@click.option(
    "--quiet", "-q", is_flag=True, help="No progress and no summary; what fails or falls short is still told."
)
@click.option(
    "--update", "updates", is_flag=True,
    help="Bring the file of --out up to date: of all its series, or of those named. Its bars stay; what is new has to "
    "join them.",
)  # fmt: skip
@click.option("--forming", is_flag=True, help="Include the newest bar even if it has not closed yet.")
@format_option
@click.option(
    "--out",
    metavar="FILE|DIR|-",
    help="One file for all series; a directory (existing, or with a trailing /) for a file per series; - for stdout."
    "  [default: -, or none with --lake]",
)
@click.option(
    "--lake", metavar="DIR", help="Store the bars in this lake: a directory, or an address such as s3://bucket/prefix."
)
@ws_url_option
@proxy_option
def fetch(
    symbols: tuple[str, ...],
    lists: tuple[str, ...],
    intervals: tuple[str, ...],
    bars: int | None,
    days: float | None,
    start: str | None,
    is_all: bool,
    end: str | None,
    adjustment: "Adjustment",
    session: "SessionKind",
    currency: str | None,
    dry_run: bool,
    quiet: bool,
    updates: bool,
    forming: bool,
    form: "FileFormat | None",
    out: str | None,
    lake: str | None,
    ws_url: str | None,
    proxy: str | None,
) -> None:
    """Fetch closed bars of EXCHANGE:TICKER symbols into files, a pipe or a lake.

    A symbol that fails is named on stderr, the others are still written, and the exit code is 1. Files appear complete
    or not at all. TV_ETL_AUTH_TOKEN or TV_ETL_SESSION_ID selects an account; without either, access is anonymous.
    """
    from dataclasses import replace

    from tv_etl.cli.files import destination
    from tv_etl.cli.import_files import asking
    from tv_etl.cli.progress import show_progress
    from tv_etl.cli.series_fetch import FetchOptions, SeriesFetch
    from tv_etl.cli.suggestions import suggest
    from tv_etl.cli.update import UpdateError, update
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.intervals import Interval
    from tv_etl.tradingview.proxy import Proxy
    from tv_etl.tradingview.symbols import SeriesSettings, is_symbol

    if out is None and lake is None:
        out = "-"
    try:
        settings = SeriesSettings(adjustment, session, currency)
        count, since = chosen_range(bars, days, parse_time("--start", start), is_all, datetime.now(timezone.utc))
        options = FetchOptions(count, since, parse_time("--end", end), forming, settings)
        widths = [Interval.parse(interval) for interval in intervals]
        Proxy.of(proxy)
        account = Account.from_environment()
        old = Path(out) if updates and out and out != "-" and Path(out).exists() else None
        if updates and (out in (None, "-") or lake is not None or dry_run or forming or start or end or days or is_all):
            raise ValueError("--update takes a file, --out FILE, and of the options of how much --bars for new series")
        wanted = [] if old and not (symbols or lists) else listed_symbols(symbols, lists)
        fetching = SeriesFetch(wanted, widths, options, ws_url=ws_url, account=account, proxy=proxy)
        target = destination(out, form)
        store = None
        if lake is not None:
            from tv_etl.lake.store import BarStore

            store = BarStore(lake, writer=writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(shown(error) if dry_run else suggesting(error, ws_url, proxy)) from None
    if dry_run:
        from tv_etl.cli.dry_run import show_plan

        sys.exit(1 if show_plan(fetching, store, is_anonymous=account.is_anonymous) else 0)
    suggestions = suggest((each for each in wanted if not is_symbol(each)), ws_url=ws_url, proxy=proxy)
    try:
        with ExitStack() as stack:
            put = stack.enter_context(target)
            has_bar = not (out == "-" and sys.stdout.isatty())
            if old is not None and put is not None:
                ask = stack.enter_context(asking(ws_url, account, proxy))
                found = update(old, fetching.series, settings, bars, fetching.fetch, ask, put, time.time())
            else:
                found = fetching.run(put, store)
            outcomes = (
                replace(each, error=suggestions.completed(each.error)) if each.error else each for each in found
            )
            failed = show_progress(outcomes, len(fetching), has_bar=has_bar, is_quiet=quiet)
    except UpdateError as error:
        raise click.ClickException(shown(error)) from None
    sys.exit(1 if failed else 0)
