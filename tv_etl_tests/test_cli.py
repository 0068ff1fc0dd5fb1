"""The tv-etl command as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tv_etl import __version__
from tv_etl.cli import main

TV_ETL = str(Path(sys.executable).with_name("tv-etl"))


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(command in result.output for command in ("demo", "status", "market"))


def test_the_version_is_the_packages() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_an_empty_lake_has_an_empty_status(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--lake", str(tmp_path)])
    assert result.exit_code == 0
    assert "symbol" in result.output


def test_the_demo_refuses_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "not from an earlier demo" in result.output
    assert (tmp_path / "precious.txt").exists()


@pytest.mark.parametrize("command", [[TV_ETL, "market"], [sys.executable, "-m", "tv_etl.market_server"]])
def test_the_market_says_its_address_and_stops_when_told(command: list[str]) -> None:
    with subprocess.Popen([*command, "--port", "0", "--seed", "7"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        process.terminate()
        assert address.startswith("ws://127.0.0.1:")
        assert address.endswith("/socket.io/websocket\n")
        assert process.wait(20) == 0


def test_the_demo_does_all_it_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [TV_ETL, "demo", "--dir", "demo"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    for words in ("COMEX:GC1!", "btc_above", "btc_crosses", "new bars", "dagster dev"):
        assert words in done.stdout
    query = next(line for line in done.stdout.splitlines() if "import duckdb" in line)
    pasted = subprocess.run(query.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "FX:EURUSD" in pasted.stdout, pasted.stderr
