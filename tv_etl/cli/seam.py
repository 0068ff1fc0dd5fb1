"""`tv-etl seam`: a join without proof, shown and resolved."""

import sys

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import lake_option
from tv_etl.cli.writer import writer
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import MissingExtraError, TradingViewError


@click.command(no_args_is_help=True)
@click.argument("symbol")
@click.argument("interval")
@click.argument("action", nargs=-1, metavar="[scale RATIO [VOLUME_RATIO] | cut | accept]")
@lake_option()
def seam(symbol: str, interval: str, action: tuple[str, ...], lake: str) -> None:
    """Show the newest open seam of a series, where nothing proves that the bars before join those after, or resolve it.

    `scale RATIO` multiplies the older prices by the ratio and divides the older volumes by it (or multiplies them by
    VOLUME_RATIO); `cut` moves the older bars out of the dataset, and keeps them; `accept` joins them as they are.
    """
    from tv_etl.lake.resolution import Resolution
    from tv_etl.lake.store import BarStore

    try:
        resolution = Resolution.parse(" ".join(action)) if action else None
        store = BarStore.existing(lake, writer=writer())
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
        raise click.ClickException(shown(error)) from None
