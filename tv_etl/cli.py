"""The `tv-etl` command: thin faces on the package."""

import os
import sys
from pathlib import Path

import click

from tv_etl import __version__

# Dagster takes a second to import: each command imports what it needs.


@click.group(help="Your own market-data lake on Dagster.")
@click.version_option(__version__)
def main() -> None:
    pass


@main.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
    help="Where the demo's lake and Dagster instance go; an earlier demo there is replaced.",
)  # fmt: skip
def demo(directory: Path) -> None:
    """Run the main job end to end, offline, on the embedded market server."""
    from rich.console import Console

    from tv_etl.demo import DemoError, run_demo

    try:
        run_demo(directory, Console())
    except DemoError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--lake", default=lambda: os.environ.get("TV_ETL_LAKE") or "lake", show_default="$TV_ETL_LAKE or lake",
    help="Directory of the lake, or its address in an object store: s3://bucket/prefix, gs:// or az://.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects instead of a table.")
def status(lake: str, as_json: bool) -> None:
    """Show what the lake holds, lacks and is about to lose, the most urgent series first."""
    import json
    from datetime import datetime, timezone

    from rich.console import Console

    from tv_etl.bar_store import BarStore, BarStoreError
    from tv_etl.status import lake_status, status_table
    from tv_etl.tradingview.errors import MissingExtraError

    now = datetime.now(timezone.utc)
    try:
        statuses = lake_status(BarStore(lake), now)
    except (BarStoreError, MissingExtraError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in statuses], indent=1, ensure_ascii=False))
    else:
        console = Console()
        console.print(status_table(statuses, now, console.width))


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def market(arguments: tuple[str, ...]) -> None:
    """Run the market server; options as of `python -m tv_etl.market_server --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "tv_etl.market_server", *arguments])
