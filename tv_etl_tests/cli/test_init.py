"""`tv-etl init` writes what works, and only where nothing is."""

import shlex
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result

from tv_etl.cli.main import main
from tv_etl.watchlist.model import load_watchlist
from tv_etl_tests.patience import HANG_S

WRITTEN = ["watchlist.yaml", "workspace.yaml", ".dagster/dagster.yaml"]


def init(directory: Path) -> Result:
    return CliRunner().invoke(main, ["init", str(directory)])


def commands(result: Result) -> list[str]:
    return [line.strip() for line in result.output.splitlines() if line.startswith("  ")]


def test_it_writes_a_watchlist_and_what_dagster_needs(tmp_path: Path) -> None:
    directory = tmp_path / "my prices"
    result = init(directory)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.startswith("wrote")] == [
        f"wrote {directory / name}" for name in WRITTEN
    ]
    assert [group.name for group in load_watchlist(directory / "watchlist.yaml").groups] == ["bars"]
    assert yaml.safe_load((directory / "workspace.yaml").read_text())["load_from"]
    instance = dg.DagsterInstance.from_config(str(directory / ".dagster"))
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    instance.dispose()


def test_what_is_commented_out_may_be_switched_on(tmp_path: Path) -> None:
    init(tmp_path)
    file = tmp_path / "watchlist.yaml"
    (tmp_path / "symbols.txt").write_text("NYSE:JNJ\n", encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if line.startswith("    # ") and not line.startswith("    # symbols: {file")]
    assert len(keys) >= 6
    text = "\n".join(line.replace("    # ", "    ", 1) if line in keys else line for line in lines)
    text = "\n".join(
        line.removeprefix("# ") if line.startswith(("# alerts:", "#   ")) else line for line in text.splitlines()
    )
    file.write_text(text, encoding="utf-8")
    watchlist = load_watchlist(file)
    assert watchlist.groups[0].panel and watchlist.groups[0].schedules and watchlist.alerts.rules


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("mine", encoding="utf-8")
    result = init(tmp_path)
    assert result.exit_code == 1
    assert result.output == f"Error: already there: {tmp_path / 'workspace.yaml'}; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["workspace.yaml"]
    assert (tmp_path / "workspace.yaml").read_text(encoding="utf-8") == "mine"


def test_the_commands_that_it_prints_lead_to_a_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, check, start = commands(CliRunner().invoke(main, ["init"]))
    directory = shlex.quote(str(tmp_path))
    assert first == f"cd {directory} && export DAGSTER_HOME={directory}/.dagster"
    bin_directory = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-ec", f"{first}; {bin_directory}/{check}"], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    assert done.stdout.startswith("bars: 2 symbols at 1d, 1h: 4 series\n")
    assert start == "dagster dev -w workspace.yaml"
