"""The tv-etl command as a user calls it."""

import click
import pytest
from click.testing import CliRunner

from tv_etl import __version__
from tv_etl.cli.main import main
from tv_etl_tests.test_structure import loaded_by


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(
        command in result.output
        for command in ("demo", "fetch", "watch", "export", "status", "rename", "remove", "market")
    )


def test_the_version_is_that_of_the_package() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_a_command_is_called_as_its_file(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name


def test_a_command_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(main, ["fetsch"])
    assert (result.exit_code, "No such command 'fetsch'" in result.output) == (2, True)


def test_help_imports_nothing_that_takes_long() -> None:
    code = "from click.testing import CliRunner; from tv_etl.cli.main import main; CliRunner().invoke(main, ['--help'])"
    assert loaded_by(code, "dagster", "numpy", "pyarrow", "rich", "yaml") == []
