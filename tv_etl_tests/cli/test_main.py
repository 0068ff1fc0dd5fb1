"""The tv-etl command as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from tv_etl import __version__
from tv_etl.cli.main import main
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import leash

TV_ETL = str(Path(sys.executable).with_name("tv-etl"))


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(
        command in result.output
        for command in ("demo", "fetch", "watch", "export", "status", "rename", "remove", "market")
    )


def test_the_version_is_that_of_the_package() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_an_empty_lake_has_an_empty_status(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--lake", str(tmp_path)])
    assert result.exit_code == 0
    assert "symbol" in result.output


def test_a_lake_on_s3_has_a_status(s3_lake: str) -> None:
    columns = {"timestamp": [NOW], **{name: [1.0] for name in BAR_SCHEMA.names[1:]}}
    table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
    BarStore(s3_lake).upsert("NASDAQ:AAPL", "1d", table)
    result = CliRunner().invoke(main, ["status", "--json"], env={"TV_ETL_LAKE": s3_lake})
    assert result.exit_code == 0, result.output
    [status] = json.loads(result.output)
    assert (status["symbol"], status["bars"], status["error"]) == ("NASDAQ:AAPL", 1, None)


@pytest.mark.parametrize(
    ("lake", "reason"),
    [("s3://no-such-lakes/lake", "NoSuchBucket"), ("ftp://host/lake", "begins with file://, s3://, gs://, az://")],
)
@pytest.mark.usefixtures("s3_lake")
def test_a_lake_that_cannot_be_reached_is_reported_in_a_line(lake: str, reason: str) -> None:
    result = CliRunner().invoke(main, ["status", "--lake", lake])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith(f"Error: {lake}") and reason in result.output


def test_the_demo_refuses_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "not from an earlier demo" in result.output
    assert (tmp_path / "precious.txt").exists()


@pytest.mark.parametrize("command", [[TV_ETL, "market"], [sys.executable, "-m", "tv_etl.market_server"]])
def test_the_market_prints_its_address_and_stops_when_told(command: list[str]) -> None:
    command = [*command, "--port", "0", "--seed", "7"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process,
        leash(process.pid),
    ):
        assert process.stdout is not None
        address = process.stdout.readline()
        process.terminate()
        assert address.startswith("ws://127.0.0.1:")
        assert address.endswith("/socket.io/websocket\n")
        assert process.wait(HANG_S) == 0


@pytest.mark.slow
def test_the_demo_does_all_it_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [TV_ETL, "demo", "--dir", "demo"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    for words in ("COMEX:GC1!", "btc_above", "btc_volume", "new bars", "tv-etl demo --ui"):
        assert words in done.stdout
    query = next(line for line in done.stdout.splitlines() if "import duckdb" in line)
    pasted = subprocess.run(query.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S)
    assert "FX:EURUSD" in pasted.stdout, pasted.stderr
