"""`tv-etl rename`: the series of a symbol under the name that its instrument has now."""

import sys

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import lake_option
from tv_etl.cli.writer import writer
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import MissingExtraError, SymbolError


@click.command(no_args_is_help=True)
@click.argument("old")
@click.argument("new")
@lake_option()
def rename(old: str, new: str, lake: str) -> None:
    """Move all series of the symbol OLD to NEW, the name that its instrument has now.

    Where NEW has bars already, both must prove to join: a series that does not is named on stderr and stays as it was,
    the others move, and the exit code is 1. After a kill, run it again.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.collect.renaming import Moved, rename_symbol
    from tv_etl.lake.store import BarStore

    moved = failed = 0
    try:
        for each in rename_symbol(BarStore.existing(lake, writer=writer()), old, new):
            if isinstance(each, Moved):
                moved += 1
                click.echo(f"{each.old} is {each.new} now: {each.rows:,} bars, {each.added:,} of them from {old}")
            else:
                failed += 1
                click.echo(f"Error: {each.old} was not moved: {json_text(str(each.error))[1:-1]}", err=True)
    except (BarStoreError, MissingExtraError, SymbolError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    if not moved and not failed:
        click.echo(f"all series of {old} are those of {new} already")
    if moved:
        click.echo(f"Write {new} in place of {old} in your watchlist, or {old} will be collected again.")
    sys.exit(1 if failed else 0)
