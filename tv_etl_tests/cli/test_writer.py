"""Who goes on record with what a command changes."""

import socket

import click
from click.testing import CliRunner

from tv_etl.cli.writer import writer


@click.command("fetch")
def fetch() -> None:
    click.echo(str(writer()))


def test_the_command_that_runs_is_who_writes() -> None:
    assert CliRunner().invoke(fetch).output == f"tv-etl fetch on {socket.gethostname()}\n"
