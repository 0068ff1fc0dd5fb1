"""`tv-etl remove`: which series of a lake go, how they are shown before that, and what became of them."""

import sys
from typing import TYPE_CHECKING

import click

from tv_etl.cli.errors import printable_lines, shown
from tv_etl.cli.export import meant
from tv_etl.cli.options import lake_option
from tv_etl.cli.writer import writer
from tv_etl.lake.errors import BarStoreError, NoSeriesError
from tv_etl.tradingview.errors import TradingViewError

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.intervals import Interval
    from tv_etl.tradingview.series import Series


@click.command(no_args_is_help=True)
@click.argument("symbol")
@click.argument("interval", required=False)
@lake_option("Directory of the lake.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where stdin is no terminal.")
def remove(symbol: str, interval: str | None, lake: str, yes: bool) -> None:
    """Delete what a lake has of SYMBOL, at one INTERVAL or each, with its logs. It cannot be undone.

    Each series is removed at once or not at all, and that it was is on record. A series that cannot be is named on
    stderr, the others are removed, and the exit code is 1. After a kill, run it again.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.intervals import Interval

    failed = 0
    try:
        store = BarStore.existing(lake, writer=writer())
        wanted = chosen(store, symbol, None if interval is None else Interval.parse(interval))
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"stdin is no terminal to ask on: add --yes to remove {printable_lines(symbol)}")
            for series in wanted:
                click.echo(printable_lines(described(store, series)))
            click.confirm(f"Remove this from {printable_lines(store.base)} for good?", abort=True, err=True)
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
        raise click.ClickException(shown(error)) from None
    if failed < len(wanted):
        click.echo(f"Take {printable_lines(symbol)} out of your watchlist, or it will be collected again.")
    sys.exit(1 if failed else 0)


def chosen(store: "BarStore", symbol: str, interval: "Interval | None") -> "list[Series]":
    """The series of a symbol, or the one of an interval. Raises NoSeriesError for none, and as `BarStore.read` does."""
    from tv_etl.tradingview.series import Series

    stored = store.removable(symbol)
    wanted = [each for each in stored if interval in (None, each.interval)]
    if not wanted:
        others = dict.fromkeys(each.symbol for each in store.series())
        widths = " ".join(each.interval.token for each in stored)
        known = f"of that symbol it has {widths}" if stored else meant(symbol, others)
        name = symbol if interval is None else str(Series(symbol, interval))
        raise NoSeriesError(name, store.base, known)
    return wanted


def described(store: "BarStore", series: "Series") -> str:
    """The extent of a series for whoever is to decide; of a damaged one that it is."""
    try:
        found = store.summary(*series)
    except BarStoreError as error:
        return f"{series}: {error}"
    if found.first is None or found.last is None:
        return f"{series}: what a removal left that was cut short"
    return f"{series}: {found.rows:,} bars, {found.first:%Y-%m-%d %H:%M}Z to {found.last:%Y-%m-%d %H:%M}Z"
