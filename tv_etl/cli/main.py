"""The `tv-etl` command: each of its commands is in the file of its name."""

import os
import sys
from importlib import import_module
from typing import Any

import click

from tv_etl import __version__
from tv_etl.cli.errors import shown

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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong at a server, in a lake or in a file is told in a line."""
        from tv_etl.lake.errors import BarStoreError
        from tv_etl.tradingview.errors import TradingViewError

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output is gone: what is still buffered has nowhere to go, and that is not an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (BarStoreError, TradingViewError, OSError) as error:
            raise click.ClickException(shown(error)) from None


@click.group(cls=_Commands, help="Your own market-data lake on Dagster.")
@click.version_option(__version__)
def main() -> None:
    pass
