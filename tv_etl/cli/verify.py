"""`tv-etl verify`: what is wrong with a lake."""

import sys

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import lake_option
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import MissingExtraError


@click.command()
@lake_option()
def verify(lake: str) -> None:
    """Read every byte of a lake and say what is wrong with it and what to do; nothing is changed.

    Files against their checksums, their places and the records; logs against what the records count; open seams. The
    exit code is 1 if anything is wrong. Needs neither Dagster nor a server.
    """
    from tv_etl.cli.plain import json_text
    from tv_etl.lake.store import BarStore
    from tv_etl.lake.verify import verify as verified
    from tv_etl.lake.verify import verify_place

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
        raise click.ClickException(shown(error)) from None
    found = f"{wrong:,} things are wrong" if wrong else "nothing is wrong"
    click.echo(f"{store.base}: {series:,} series, {rows:,} bars, {size:,} bytes read; {found}")
    sys.exit(1 if wrong else 0)
