"""The `tv-etl` command: each of its commands is in the file of its name."""

from importlib import import_module

import click

from tv_etl import __version__

_FILES = (
    "alerts", "check", "demo", "export", "fetch", "import_", "init", "market", "remove", "rename", "seam", "search",
    "status", "verify", "watch",
)  # fmt: skip
_COMMANDS = {file.removesuffix("_"): file for file in _FILES}


class _Commands(click.Group):
    """Imports a command when it is asked for. What takes long, as Dagster and pyarrow do, it imports when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        file = _COMMANDS.get(cmd_name)
        if file is None:
            return None
        command: click.Command = getattr(import_module(f"tv_etl.cli.{file}"), file)
        return command


@click.group(cls=_Commands, help="Your own market-data lake on Dagster.")
@click.version_option(__version__)
def main() -> None:
    pass
