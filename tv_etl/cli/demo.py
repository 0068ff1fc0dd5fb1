"""`tv-etl demo`: the main job end to end, without the internet."""

from pathlib import Path

import click

from tv_etl.cli.errors import shown


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
    help="Where the demo's lake and Dagster instance go; an earlier demo there is replaced.",
)  # fmt: skip
def demo(directory: Path) -> None:
    """Run the main job end to end, offline, on the embedded market server."""
    from rich.console import Console

    from tv_etl.cli.demo_run import DemoError, run_demo

    try:
        run_demo(directory, Console())
    except DemoError as error:
        raise click.ClickException(shown(error)) from None
