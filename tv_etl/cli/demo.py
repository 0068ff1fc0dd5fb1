"""`tv-etl demo`: the main job end to end, without the internet."""

from pathlib import Path

import click

from tv_etl.cli.errors import shown


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
    help="Where the demo's lake and Dagster instance go; an earlier demo there is replaced.",
)  # fmt: skip
@click.option(
    "--ui", "with_ui", is_flag=True,
    help="Then serve Dagster's web interface on it until Ctrl-C; at once, on what an earlier demo of today has made.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=3000, show_default=True,
    help="Where --ui serves, on this machine.",
)  # fmt: skip
def demo(directory: Path, with_ui: bool, port: int) -> None:
    """Run the main job end to end, offline, on the embedded market server."""
    from rich.console import Console

    from tv_etl.cli.demo_run import DemoError, run_demo, serve_demo

    try:
        if with_ui:
            serve_demo(directory, Console(), port)
        else:
            run_demo(directory, Console())
    except DemoError as error:
        raise click.ClickException(shown(error)) from None
