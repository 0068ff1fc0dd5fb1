"""The `tv-etl` command: a thin layer over the package."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from tv_etl import __version__
from tv_etl.cli.symbol_arguments import listed_symbols, symbol_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from tv_etl.cli.files import FileFormat
    from tv_etl.lake.written import Writer
    from tv_etl.tradingview.symbol_search import SearchType
    from tv_etl.tradingview.symbols import Adjustment, SessionKind

# Dagster takes a second to import: each command imports what it needs.

# Options of several commands.
_lake_option = click.option(
    "--lake", default=lambda: os.environ.get("TV_ETL_LAKE") or "lake", show_default="$TV_ETL_LAKE or lake",
    help="Directory of the lake, or its address in an object store.",
)  # fmt: skip
_proxy_option = click.option(
    "--proxy", metavar="URL", help="Go through this proxy, e.g. http://host:8080.  [default: $TV_ETL_PROXY or none]"
)
_ws_url_option = click.option(
    "--ws-url", metavar="URL", help="WebSocket address of the server.  [default: $TV_ETL_WS_URL or TradingView]"
)
_start_option = click.option(
    "--start",
    "--since",
    metavar="TIME",
    help="Bars that open at or after this ISO 8601 time, e.g. 2024-01; UTC unless an offset is given.",
)
_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "json"]),
    help="[default: by the file's extension; parquet in a directory, csv on stdout]",
)


@click.group(help="Your own market-data lake on Dagster.")
@click.version_option(__version__)
def main() -> None:
    pass


@main.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where the demo's lake and Dagster instance go; an earlier demo there is replaced.",
)
@click.option(
    "--ui",
    "with_ui",
    is_flag=True,
    help="Then serve Dagster's web interface on it until Ctrl-C; at once, on what an earlier demo of today has made.",
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=3000, show_default=True,
    help="Where --ui serves, on this machine.",
)  # fmt: skip
def demo(directory: Path, with_ui: bool, port: int) -> None:
    """Run the main job end to end, offline, on the embedded market server."""
    from rich.console import Console

    from tv_etl.cli.demo import DemoError, run_demo, serve_demo

    try:
        if with_ui:
            serve_demo(directory, Console(), port)
        else:
            run_demo(directory, Console())
    except DemoError as error:
        raise click.ClickException(_shown(error)) from None


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[DIR]")
def init(directory: Path) -> None:
    """Write a watchlist to fill in, and what Dagster needs, into DIR; nothing is overwritten."""
    from tv_etl.cli.init import AlreadyThereError, next_commands, write_files

    try:
        for path in write_files(directory):
            click.echo(f"wrote {path}")
    except (AlreadyThereError, OSError) as error:
        raise click.ClickException(_shown(error)) from None
    click.echo("\nNext, after an edit of the watchlist:\n")
    for command in next_commands(directory):
        click.echo(f"  {command}")
    click.echo(
        "\nthen open http://127.0.0.1:3000: the schedules fetch by themselves; materialize bars to begin at once."
    )


@main.command(no_args_is_help=True)
@click.argument("watchlist", type=click.Path(path_type=Path))
def check(watchlist: Path) -> None:
    """Name every mistake in WATCHLIST, as file:line:column: message, or say what it holds: series, requests, schedules.

    Exits 1 if there is a mistake. What a malformed symbol may be meant to be is asked of the symbol search; whether the
    server knows one that is well formed, only a fetch shows.
    """
    from tv_etl.cli.check import checked

    is_right, lines = checked(watchlist)
    if is_right:
        text = "\n".join(lines)
    else:
        from tv_etl.cli.suggestions import completed

        text = completed("\n".join(lines))
    click.echo(text)
    sys.exit(0 if is_right else 1)


@main.command(no_args_is_help=True)
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
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="The bars of so many days up to now.")
@_start_option
@click.option("--all", "is_all", is_flag=True, help="All bars that the server has.")
@click.option("--end", "--until", metavar="TIME", help="Bars that open before this time.")
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
@_format_option
@click.option(
    "--out",
    metavar="FILE|DIR|-",
    help="One file for all series; a directory (existing, or with a trailing /) for a file per series; - for stdout."
    "  [default: -, or none with --lake]",
)
@click.option(
    "--lake", metavar="DIR", help="Store the bars in this lake: a directory, or an address such as s3://bucket/prefix."
)
@_ws_url_option
@_proxy_option
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
    import time
    from contextlib import ExitStack
    from dataclasses import replace
    from datetime import datetime, timezone

    from tv_etl.cli.fetch import FetchOptions, SeriesFetch, chosen_range, parse_time
    from tv_etl.cli.files import destination
    from tv_etl.cli.import_files import asking
    from tv_etl.cli.progress import show_progress
    from tv_etl.cli.suggestions import suggest
    from tv_etl.cli.update import UpdateError, update
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.errors import TradingViewError
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

            store = BarStore(lake, writer=_writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(_shown(error) if dry_run else _suggesting(error, ws_url, proxy)) from None
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
    except BrokenPipeError:
        _exit_on_closed_pipe()
    except (TradingViewError, UpdateError, OSError) as error:
        raise click.ClickException(_shown(error)) from None
    sys.exit(1 if failed else 0)


@main.command(no_args_is_help=True)
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
@_ws_url_option
@_proxy_option
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
    from functools import partial

    from tv_etl.cli.watch import print_once, watch_quotes
    from tv_etl.cli.watch_bars import watch_bars
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.errors import TradingViewError
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

            store = BarStore(lake, writer=_writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(_suggesting(error, ws_url, proxy)) from None
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
    except BrokenPipeError:
        _exit_on_closed_pipe()
    except (TradingViewError, OSError) as error:
        raise click.ClickException(_shown(error)) from None
    sys.exit(0 if succeeded else 1)


@main.command(no_args_is_help=True)
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
@_proxy_option
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

    from tv_etl.cli.search import print_found
    from tv_etl.tradingview.errors import SearchError
    from tv_etl.tradingview.symbol_search import SymbolSearch

    try:
        service = SymbolSearch(search_url, retry_s=5.0, proxy=proxy)
        found = asyncio.run(service.search(text, type=kind, exchange=exchange, limit=limit))
    except SearchError as error:
        raise click.ClickException(_shown(error)) from None
    except ValueError as error:
        raise click.UsageError(_shown(error)) from None
    try:
        print_found(found, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        _exit_on_closed_pipe()
    if not found:
        click.echo("nothing was found", err=True)
    sys.exit(0 if found else 1)


def _writer() -> "Writer":
    """Who goes on record with what is changed in a lake: the command."""
    from tv_etl.lake.written import Writer

    return Writer.here(f"tv-etl {click.get_current_context().info_name}")


def _shown(error: Exception) -> str:
    return _printable(str(error))


def _printable(text: str) -> str:
    from tv_etl.tradingview.printable import printable

    return "\n".join(printable(line, 2_000) for line in text.split("\n")[:50])


def _suggesting(error: Exception, ws_url: str | None = None, proxy: str | None = None) -> str:
    """An error as it is shown, with what symbols that it tells as malformed may be meant to be."""
    from tv_etl.cli.suggestions import completed

    return _printable(completed(str(error), ws_url=ws_url, proxy=proxy))


def _checked(symbols: list[str]) -> list[str]:
    """The symbols, unchanged. Raises ValueError, which names all that are malformed."""
    from tv_etl.tradingview.errors import SymbolError
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


def _exit_on_closed_pipe() -> NoReturn:
    # The reader of our output is gone: what is still buffered has nowhere to go, and that is not an error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


@main.command("import", no_args_is_help=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--symbol", "symbols", multiple=True, metavar="SYMBOL|NAME=SYMBOL",
    help="The symbol of all files; or that of a NAME in files or of files, may be given several times.",
)  # fmt: skip
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
@_lake_option
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each series, and each refused file.")
@_ws_url_option
@_proxy_option
def import_(
    files: tuple[Path, ...],
    symbols: tuple[str, ...],
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
    from tv_etl.tradingview.errors import TradingViewError
    from tv_etl.tradingview.proxy import Proxy

    try:
        options = ImportOptions.of_texts(symbols, interval, columns, hours, **others)
        Proxy.of(proxy)
        account, store = Account.from_environment(), BarStore(lake, writer=_writer())
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(_shown(error)) from None
    try:
        with asking(ws_url, account, proxy) as ask:
            refused = run_import(store, files, options, ask, as_json=as_json)
    except BrokenPipeError:
        _exit_on_closed_pipe()
    except (TradingViewError, OSError) as error:
        raise click.ClickException(_shown(error)) from None
    sys.exit(1 if refused else 0)


@main.command()
@symbol_arguments
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    help="Width of the bars: 1m 5m 1h 4h 1d 1w 1mo ...; may be given several times.  [default: all that are stored]",
)
@_start_option
@click.option("--end", "--until", metavar="TIME", help="Bars that open before this time.")
@click.option(
    "--quiet", "-q", is_flag=True, help="No progress and no summary; what fails or is not stored is still told."
)
@_format_option
@click.option(
    "--out",
    metavar="FILE|DIR|-",
    default="-",
    help="One file for all series; a directory (existing, or with a trailing /) for a file per series; - for stdout."
    "  [default: -]",
)
@_lake_option
def export(
    symbols: tuple[str, ...],
    lists: tuple[str, ...],
    intervals: tuple[str, ...],
    start: str | None,
    end: str | None,
    quiet: bool,
    form: "FileFormat | None",
    out: str,
    lake: str,
) -> None:
    """Write stored bars of a lake to files or a pipe, in the form of `tv-etl fetch`; no server is asked.

    Of no SYMBOL, all of the lake. A series that is not stored is named on stderr, the others are still written, and
    the exit code is 1. Files appear complete or not at all.
    """
    from tv_etl.cli.export import SeriesExport
    from tv_etl.cli.fetch import parse_time
    from tv_etl.cli.files import destination
    from tv_etl.cli.progress import show_progress
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import TradingViewError
    from tv_etl.tradingview.intervals import Interval

    try:
        widths = list(dict.fromkeys(map(Interval.parse, intervals)))
        since, until = parse_time("--start", start), parse_time("--end", end)
        wanted = listed_symbols(symbols, lists) if symbols or lists else ()
        target = destination(out, form)
        exporting = SeriesExport(BarStore.existing(lake), wanted, widths, since, until)
    except BarStoreError as error:
        raise click.ClickException(_shown(error)) from None
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(_shown(error)) from None
    for each in exporting.missing:
        click.echo(f"Error: {_shown(each)}", err=True)
    if not wanted and not exporting.series:
        raise click.ClickException(_printable(f"{lake}: nothing is stored{' at that interval' if widths else ''}"))
    try:
        with target as put:
            assert put is not None
            has_bar = not (out == "-" and sys.stdout.isatty())
            failed = show_progress(exporting.run(put), len(exporting), has_bar=has_bar, is_quiet=quiet)
    except BrokenPipeError:
        _exit_on_closed_pipe()
    except (TradingViewError, BarStoreError, OSError) as error:
        raise click.ClickException(_shown(error)) from None
    sys.exit(1 if failed or exporting.missing else 0)


@main.command()
@click.argument("symbol", required=False)
@click.argument("interval", required=False)
@click.option(
    "--lake", default=lambda: os.environ.get("TV_ETL_LAKE") or "lake", show_default="$TV_ETL_LAKE or lake",
    help="Directory of the lake, or its address in an object store: s3://bucket/prefix, gs:// or az://.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects instead of a table.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True,
    help="With a SYMBOL: show so many entries of each series, the newest; 0 for all. JSON has all.",
)  # fmt: skip
def status(symbol: str | None, interval: str | None, lake: str, as_json: bool, limit: int) -> None:
    """Show what the lake holds, lacks and is about to lose, the most urgent series first.

    Then the same counted by interval, where overdue is what nobody has asked for since a bar closed over an hour ago;
    which symbols were renamed, and what the server refuses.

    With a SYMBOL, all that is known of it by time, at one INTERVAL or each: spans asked for, gaps, revisions,
    re-adjustments, bars in quarantine.
    """
    from datetime import datetime, timezone

    from rich.console import Console

    from tv_etl.cli.plain import json_text
    from tv_etl.cli.status import chronicle_table, glance_table, refusal_lines, rename_lines, status_table
    from tv_etl.lake.chronicle import chronicle
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.status import lake_status
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import MissingExtraError
    from tv_etl.tradingview.intervals import Interval

    now = datetime.now(timezone.utc)
    try:
        store = BarStore.existing(lake)
        statuses = lake_status(store, now, symbol, None if interval is None else Interval.parse(interval))
    except (BarStoreError, MissingExtraError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    known = [] if symbol is None else [chronicle(store, each.series, now) for each in statuses]
    if as_json:
        entries = {each.series: [entry.to_dict() for entry in each.entries] for each in known}
        details = [{} if symbol is None else {"entries": entries[each.series]} for each in statuses]
        content = [{**each.to_dict(), **detail} for each, detail in zip(statuses, details, strict=True)]
        click.echo(json_text(content, indent=1))
        return
    console = Console()
    console.print(status_table(statuses, now, console.width))
    if len(statuses) > 1 and symbol is None:
        console.print()
        console.print(glance_table(statuses, now, console.width))
    for line in refusal_lines(statuses):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    for line in rename_lines(statuses):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for each in sorted(known, key=lambda each: each.series.order):
        console.print()
        console.print(chronicle_table(each, limit))


@main.command(no_args_is_help=True)
@click.argument("old")
@click.argument("new")
@_lake_option
def rename(old: str, new: str, lake: str) -> None:
    """Move all series of the symbol OLD to NEW, the name that its instrument has now.

    Where NEW has bars already, both must prove to join: a series that does not is named on stderr and stays as it was,
    the others move, and the exit code is 1. After a kill, run it again.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.collect.renaming import Moved, rename_symbol
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import MissingExtraError, SymbolError

    moved = failed = 0
    try:
        for each in rename_symbol(BarStore.existing(lake, writer=_writer()), old, new):
            if isinstance(each, Moved):
                moved += 1
                click.echo(f"{each.old} is {each.new} now: {each.rows:,} bars, {each.added:,} of them from {old}")
            else:
                failed += 1
                click.echo(f"Error: {each.old} was not moved: {json_text(str(each.error))[1:-1]}", err=True)
    except (BarStoreError, MissingExtraError, SymbolError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    if not moved and not failed:
        click.echo(f"all series of {old} are those of {new} already")
    if moved:
        click.echo(f"Write {new} in place of {old} in your watchlist, or {old} will be collected again.")
    sys.exit(1 if failed else 0)


@main.command(no_args_is_help=True)
@click.argument("symbol")
@click.argument("interval", required=False)
@click.option(
    "--lake", default=lambda: os.environ.get("TV_ETL_LAKE") or "lake", show_default="$TV_ETL_LAKE or lake",
    help="Directory of the lake.",
)  # fmt: skip
@click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where stdin is no terminal.")
def remove(symbol: str, interval: str | None, lake: str, yes: bool) -> None:
    """Delete what a lake has of SYMBOL, at one INTERVAL or each, with its logs. It cannot be undone.

    Each series is removed at once or not at all, and that it was is on record. A series that cannot be is named on
    stderr, the others are removed, and the exit code is 1. After a kill, run it again.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.cli.remove import chosen, described
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import TradingViewError
    from tv_etl.tradingview.intervals import Interval

    failed = 0
    try:
        store = BarStore.existing(lake, writer=_writer())
        wanted = chosen(store, symbol, None if interval is None else Interval.parse(interval))
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"stdin is no terminal to ask on: add --yes to remove {_printable(symbol)}")
            for series in wanted:
                click.echo(_printable(described(store, series)))
            click.confirm(f"Remove this from {_printable(store.base)} for good?", abort=True, err=True)
        for series in wanted:
            try:
                removal = store.remove(*series)
            except BarStoreError as error:
                failed += 1
                click.echo(f"Error: {series} was not removed: {json_text(str(error))[1:-1]}", err=True)
                continue
            if removal is not None:
                count = "bars that no record counted" if removal.bars is None else f"{removal.bars:,} bars"
                click.echo(f"removed {series}: {count}")
    except (BarStoreError, TradingViewError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    if failed < len(wanted):
        click.echo(f"Take {_printable(symbol)} out of your watchlist, or it will be collected again.")
    sys.exit(1 if failed else 0)


@main.command()
@_lake_option
def verify(lake: str) -> None:
    """Read every byte of a lake and say what is wrong with it and what to do; nothing is changed.

    Files against their checksums, their places and the records; logs against what the records count; open seams. The
    exit code is 1 if anything is wrong. Needs neither Dagster nor a server.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.store import BarStore
    from tv_etl.lake.verify import verify as verified
    from tv_etl.lake.verify import verify_place
    from tv_etl.tradingview.errors import MissingExtraError

    series = rows = size = wrong = 0
    try:
        store = BarStore.existing(lake)
        if problem := verify_place(store):
            wrong += 1
            click.echo(f"Error: {problem}", err=True)
        for each in verified(store):
            series, rows, size = series + 1, rows + each.rows, size + each.bytes
            for finding in each.findings:
                wrong += 1
                click.echo(f"Error: {json_text(str(finding))[1:-1]}", err=True)
    except (BarStoreError, MissingExtraError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    found = f"{wrong:,} things are wrong" if wrong else "nothing is wrong"
    click.echo(f"{store.base}: {series:,} series, {rows:,} bars, {size:,} bytes read; {found}")
    sys.exit(1 if wrong else 0)


@main.command(no_args_is_help=True)
@click.argument("symbol")
@click.argument("interval")
@click.argument("action", nargs=-1, metavar="[scale RATIO [VOLUME_RATIO] | cut | accept]")
@_lake_option
def seam(symbol: str, interval: str, action: tuple[str, ...], lake: str) -> None:
    """Show the newest open seam of a series, where nothing proves that the bars before join those after, or resolve it.

    `scale RATIO` multiplies the older prices by the ratio and divides the older volumes by it (or multiplies them by
    VOLUME_RATIO); `cut` moves the older bars out of the dataset, and keeps them; `accept` joins them as they are.
    """
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.resolution import Resolution
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import MissingExtraError, TradingViewError

    try:
        resolution = Resolution.parse(" ".join(action)) if action else None
        store = BarStore.existing(lake, writer=_writer())
        record = store.record(symbol, interval)
        found = record.open_seam
        if found is None:
            click.echo(f"{record.series} has no open seam")
            sys.exit(0 if resolution is None else 1)
        click.echo(f"{record.series} {found}; {found.reason}")
        if resolution is not None:
            store.resolve_seam(symbol, interval, resolution)
            click.echo(f"resolved: {resolution}")
    except (BarStoreError, MissingExtraError, TradingViewError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None


@main.group()
def alerts() -> None:
    """Try by hand what alerts do."""


_lake_of_alerts = click.option(
    "--lake", default=lambda: os.environ.get("TV_ETL_LAKE") or "lake", show_default="$TV_ETL_LAKE or lake",
    help="Directory of the lake that the alerts are beside, or its address in an object store.",
)  # fmt: skip


@alerts.command("list")
@_lake_of_alerts
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The newest so many.")
def list_alerts(lake: str, limit: int) -> None:
    """List the newest alerts, how many targets have each, and what is muted."""
    import time

    from rich.console import Console

    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts as by_hand

    try:
        store = by_hand.open_store(lake, os.environ)
        events, muted = store.newest(limit), by_hand.mute_lines(store, time.time())
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    Console(highlight=False).print(by_hand.events_table(events))
    for line in muted:
        click.echo(line)


@alerts.command("dead")
@_lake_of_alerts
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="The newest so many.")
def dead_alerts(lake: str, limit: int) -> None:
    """List what was given up, to whom it was to go and why. The exit code is 1 if there is any."""
    from rich.console import Console

    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts as by_hand

    try:
        letters = by_hand.open_store(lake, os.environ).dead_letters(limit)
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    if letters:
        Console(highlight=False).print(by_hand.letters_table(letters))
    click.echo(f"{len(letters):,} deliveries were given up", err=True)
    sys.exit(1 if letters else 0)


@alerts.command("resend")
@click.argument("events", metavar="[EVENT]...", nargs=-1)
@_lake_of_alerts
def resend_alerts(events: tuple[str, ...], lake: str) -> None:
    """Send again what was given up: all of it, or the events that are named. The next tick delivers it."""
    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts as by_hand

    try:
        count = by_hand.open_store(lake, os.environ).resend(events or None)
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    if events and not count:
        raise click.ClickException(f"nothing of {', '.join(map(repr, events))} was given up")
    click.echo(f"{count:,} deliveries wait to be sent again")


@alerts.command("mute", no_args_is_help=True)
@click.argument("rule")
@click.option("--for", "duration", required=True, metavar="TIME", help="For how long: 30m, 2h, 3d; 0 ends a mute.")
@click.option("--symbol", default="", metavar="SYMBOL", help="Only this one of the rule's symbols.")
@_lake_of_alerts
def mute_rule(rule: str, duration: str, symbol: str, lake: str) -> None:
    """Mute RULE, from the next tick on: it is judged as ever, and what it finds is kept and told nobody.

    A mute that lasts is made longer, or shorter.
    """
    from tv_etl.cli import alerts as by_hand

    _by_hand(lambda: by_hand.mute(lake, os.environ, rule, symbol, by_hand.seconds_of(duration)))


@alerts.command("unmute", no_args_is_help=True)
@click.argument("rule")
@click.option("--symbol", default="", metavar="SYMBOL", help="Only this one of the rule's symbols.")
@_lake_of_alerts
def unmute_rule(rule: str, symbol: str, lake: str) -> None:
    """End the mutes of RULE that were made by hand. Those of the cap end by themselves."""
    from tv_etl.cli import alerts as by_hand

    _by_hand(lambda: by_hand.mute(lake, os.environ, rule, symbol, 0))


@alerts.command("ack", no_args_is_help=True)
@click.argument("event")
@_lake_of_alerts
def acknowledge(event: str, lake: str) -> None:
    """Acknowledge EVENT, an alert by its id or the first characters of it: no reminder of it comes any more.

    The next tick tells it to targets that have the notion, such as PagerDuty.
    """
    from tv_etl.cli import alerts as by_hand

    _by_hand(lambda: by_hand.acknowledge(lake, os.environ, event))


def _by_hand(work: "Callable[[], list[str]]") -> None:
    from tv_etl.alerts.by_hand import ByHandError
    from tv_etl.alerts.database import StoreError
    from tv_etl.cli.alerts import AlertsError

    try:
        lines = work()
    except (StoreError, ByHandError, AlertsError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None
    for line in lines:
        click.echo(line)


@alerts.command("send-test", no_args_is_help=True)
@click.argument("target", required=False)
@click.option(
    "--watchlist", default=lambda: os.environ.get("TV_ETL_WATCHLIST") or "watchlist.yaml",
    show_default="$TV_ETL_WATCHLIST or watchlist.yaml", help="The watchlist file that has the target.",
)  # fmt: skip
@click.option(
    "--notify",
    is_flag=True,
    help="Send what is told when collecting fails, and when it works again: to TARGET, or to all that are told of it.",
)
def send_test(target: str | None, watchlist: str, notify: bool) -> None:
    """Send a test to TARGET, a target's name or else its variable, and show what was sent and answered.

    Its secrets are read from the environment and shown as ***. The exit code is 1 if it was not delivered.
    """
    from tv_etl.cli import alerts as by_hand
    from tv_etl.tradingview.printable import printable
    from tv_etl.watchlist.model import WatchlistError, load_watchlist

    if target is None and not notify:
        raise click.UsageError("name a TARGET, or add --notify for all that are told when collecting fails")
    is_sent = True
    try:
        found = load_watchlist(watchlist)
        if notify:
            tries = by_hand.send_notices(found, target, os.environ)
        else:
            tries = iter([by_hand.send_test(by_hand.find_target(found.alerts.all_targets, target or ""), os.environ)])
        for tried in tries:
            for line in tried.sent.splitlines():
                click.echo(f"> {printable(line, 2_000)}")
            click.echo(f"< {tried.verdict.answer or tried.verdict.error}")
            outcome = "delivered to" if tried.verdict.is_sent else "not delivered to"
            click.echo(f"{outcome} {tried.label}")
            is_sent = is_sent and tried.verdict.is_sent
    except WatchlistError as error:
        raise click.ClickException(_suggesting(error)) from None
    except by_hand.AlertsError as error:
        raise click.ClickException(_shown(error)) from None
    sys.exit(0 if is_sent else 1)


@alerts.command("test", no_args_is_help=True)
@click.argument("watchlist", type=click.Path(path_type=Path))
@_lake_option
@click.option(
    "--from", "start", metavar="TIME", help="ISO 8601, UTC unless it says otherwise.  [default: 30 days before]"
)
@click.option("--to", "end", metavar="TIME", help="ISO 8601.  [default: now]")
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule; may be given several times.")
@click.option(
    "--pictures", type=click.Path(path_type=Path), metavar="DIR",
    help="Write a picture of the price for each rule and symbol, with its alerts on it.",
)  # fmt: skip
def test_rules(
    watchlist: Path, lake: str, start: str | None, end: str | None, names: tuple[str, ...], pictures: Path | None
) -> None:
    """Replay stored bars through the rules of a watchlist: what would have been told, and when.

    Nothing is sent, and nothing remembered: the rules begin at --from. Touches are looked for in the finest bars that
    are stored. What cannot be judged is named on stderr.
    """
    from rich.console import Console

    from tv_etl.cli.fetch import parse_time
    from tv_etl.cli.plain import json_text
    from tv_etl.cli.rehearsal import (
        RehearsalError,
        StoredHistory,
        alerts_table,
        chosen_rules,
        now_utc,
        rehearse,
        span_of,
        write_pictures,
    )
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.errors import MissingExtraError
    from tv_etl.watchlist.model import WatchlistError, load_watchlist

    try:
        listed = load_watchlist(watchlist)
        rules = chosen_rules(listed, names)
        since, until = span_of(parse_time("--from", start), parse_time("--to", end), now_utc())
        history = StoredHistory(BarStore.existing(lake), since, until)
        replayed = rehearse(listed, rules, history, since, until)
        Console(highlight=False).print(alerts_table(replayed.alerts, since, until))
        for note in replayed.notes:
            click.echo(json_text(note)[1:-1], err=True)
        click.echo(f"{len(replayed.alerts):,} alerts of {len(rules):,} rules")
        for path in write_pictures(pictures, rules, replayed.alerts, history) if pictures is not None else ():
            click.echo(str(path))
    except WatchlistError as error:
        raise click.ClickException(_suggesting(error)) from None
    except (BarStoreError, MissingExtraError, OSError, RehearsalError, ValueError) as error:
        raise click.ClickException(_shown(error)) from None


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def market(arguments: tuple[str, ...]) -> None:
    """Run the market server; `tv-etl market --help` lists its options."""
    # No shell: the arguments are the user's own.
    os.execv(sys.executable, [sys.executable, "-m", "tv_etl.market_server", *arguments])  # nosec B606
