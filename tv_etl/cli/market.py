"""`tv-etl market`: the market server."""

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def market(arguments: tuple[str, ...]) -> None:
    """Run the market server; `tv-etl market --help` lists its options."""
    # No shell: the arguments are the user's own.
    os.execv(sys.executable, [sys.executable, "-m", "tv_etl.market_server", *arguments])  # nosec B606
