"""Who goes on record with what a command changes in a lake: the command."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tv_etl.lake.written import Writer


def writer() -> "Writer":
    """The command that runs now."""
    from tv_etl.lake.written import Writer

    return Writer.here(f"tv-etl {click.get_current_context().info_name}")
