"""What the README shows is executed: it cannot lie."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from tv_etl.bar_store import BarStore
from tv_etl.resources import ScannerResource, TradingViewResource
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist import Group

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, market_url: str) -> Path:
    """A working directory with a lake in it, as the README's reader has one."""
    path = tmp_path_factory.mktemp("reader")
    for request, table in TradingViewResource(ws_url=market_url).fetch([HistoryRequest("NASDAQ:AAPL", "1d")]):
        BarStore(path / "lake").upsert(request.symbol, request.interval, table)
    return path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str, directory: Path, market_url: str, scanner_url: str) -> None:
    environment = {**os.environ, "TV_ETL_WS_URL": market_url, "TV_ETL_SCANNER_URL": scanner_url}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_blocks_are_part_of_a_group(text: str, scanner_url: str) -> None:
    group = Group.model_validate({**yaml.safe_load(text), "intervals": ["1d"]})
    assert group.scanner is not None
    assert ScannerResource(base_url=scanner_url).symbols(group.scanner)


@pytest.mark.parametrize("query", blocks("sql"))
def test_sql_blocks_run(query: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    assert rows[0][:2] == ("NASDAQ:AAPL", "1d")


def test_the_commands_exist() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[0].startswith(".venv/bin/"):
            tool = Path(sys.executable).with_name(Path(words[0]).name)
            done = subprocess.run([tool, words[1], "--help"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            options = [word for word in words[2:] if word.startswith("-")]
            assert all(option in done.stdout for option in options), line
        else:
            assert words[0] == "export", line


def test_every_variable_and_file_that_is_named_exists() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tv_etl").rglob("*.py"))
    for name in set(re.findall(r"TV_ETL_[A-Z_]+", README)):
        assert name in sources or name in (CHECKOUT / "watchlist.yaml").read_text(encoding="utf-8")
    for path in set(re.findall(r"`(tv_etl/[\w/.]*)`", README)) | set(re.findall(r"\]\((?!http)([^)]+)\)", README)):
        assert (CHECKOUT / path).exists(), path
