"""`tv-etl init`: the files of a lake of one's own, and what to do next."""

import shlex
from pathlib import Path

import click

from tv_etl.cli.errors import shown

_TEMPLATES = Path(__file__).parent.parent / "templates"
_HOME = ".dagster"
# Where each template goes.
FILES = {
    "watchlist.yaml": "watchlist.yaml",
    "workspace.yaml": "workspace.yaml",
    "dagster.yaml": f"{_HOME}/dagster.yaml",
}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[DIR]")
def init(directory: Path) -> None:
    """Write a watchlist to fill in, and what Dagster needs, into DIR; nothing is overwritten."""
    try:
        for path in write_files(directory):
            click.echo(f"wrote {path}")
    except (AlreadyThereError, OSError) as error:
        raise click.ClickException(shown(error)) from None
    click.echo("\nNext, after an edit of the watchlist:\n")
    for command in next_commands(directory):
        click.echo(f"  {command}")
    click.echo(
        "\nthen open http://127.0.0.1:3000: the schedules fetch by themselves; materialize bars to begin at once."
    )


class AlreadyThereError(Exception):
    """Files of these names are there, and nothing was written."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"already there: {', '.join(names)}; nothing was written")


def write_files(directory: Path) -> list[Path]:
    """Write the files into a directory, which need not exist; return them. Raises AlreadyThereError and OSError."""
    paths = {name: directory / place for name, place in FILES.items()}
    if there := [str(path) for path in paths.values() if path.exists()]:
        raise AlreadyThereError(there)
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write((_TEMPLATES / name).read_text(encoding="utf-8"))
    return list(paths.values())


def next_commands(directory: Path) -> list[str]:
    """What to run next, one after the other."""
    home = shlex.quote(str(directory.absolute() / _HOME))
    return [
        f"cd {shlex.quote(str(directory.absolute()))} && export DAGSTER_HOME={home}",
        "tv-etl check watchlist.yaml",
        "dagster dev -w workspace.yaml",
    ]
