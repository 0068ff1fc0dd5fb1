"""`tv-etl demo`: all that it promises, and nothing of others touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tv_etl.cli.main import main
from tv_etl_tests.patience import HANG_S

TV_ETL = str(Path(sys.executable).with_name("tv-etl"))


def test_the_demo_refuses_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "not from an earlier demo" in result.output
    assert (tmp_path / "precious.txt").exists()


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
