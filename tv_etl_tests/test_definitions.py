"""The code location loads from the checkout as `dagster dev -w workspace.yaml` would load it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tv_etl.definitions import defs
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.test_structure import loaded_by

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_workspace_validates(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-w", "workspace.yaml"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr


def test_the_environment_says_what_is_defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watchlist = tmp_path / "list.yaml"
    watchlist.write_text("groups: [{name: few, symbols: ['NASDAQ:AAPL'], intervals: [1d]}]", encoding="utf-8")
    monkeypatch.setenv("TV_ETL_WATCHLIST", str(watchlist))
    monkeypatch.setenv("TV_ETL_LAKE", str(tmp_path / "here"))
    definitions = defs()
    assert {key.to_user_string() for key in definitions.get_repository_def().assets_defs_by_key} == {"few", "lake"}
    assert (definitions.resources or {})["bar_store"].base == str(tmp_path / "here")


EVERYTHING = """
groups:
  - {name: minutes, symbols: [NASDAQ:AAPL], intervals: [1m, 1d], automation: true, panel: true, daily_from: 1m}
  - {name: liquid, symbols: {scanner: {market: america, limit: 5}, interval_s: 3600}, intervals: [1d]}
alerts:
  rules: [{name: high, symbol: BINANCE:BTCUSDT, kind: cross_up, level: 100000}]
  webhooks: [{url_env: TV_ETL_WEBHOOK_URL}]
"""


def test_definitions_load_without_what_only_runs_and_ticks_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run, tick and code server loads them first."""
    watchlist = tmp_path / "list.yaml"
    watchlist.write_text(EVERYTHING, encoding="utf-8")
    monkeypatch.setenv("TV_ETL_WATCHLIST", str(watchlist))
    heavy = (
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "httpx",
        "websockets",
        "msgspec",
        "obstore",
        "rich",
        "tv_etl.orchestration.event_history",
    )
    code = "import tv_etl.definitions as here; assert len(here.defs().get_repository_def().schedule_defs) == 9"
    assert loaded_by(code, *heavy) == []


ALERTS = """
alerts:
  rules: [{name: high, symbol: BINANCE:BTCUSDT, kind: cross_up, level: 100000}]
  targets: [{type: slack, url_env: TV_ETL_SLACK_URL}]
"""
OF_ALERTS = (
    "tv_etl.alerts.conditions",
    "tv_etl.alerts.rules",
    "tv_etl.alerts.targets.slack",
    "tv_etl.alerts.targets.email",
)


@pytest.mark.parametrize(("alerts", "loaded"), [("", []), (ALERTS, [*OF_ALERTS])])
def test_kinds_of_rules_and_targets_load_where_there_are_any(
    alerts: str, loaded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watchlist = tmp_path / "list.yaml"
    watchlist.write_text(f"groups: [{{name: few, symbols: ['NASDAQ:AAPL'], intervals: [1d]}}]{alerts}", "utf-8")
    monkeypatch.setenv("TV_ETL_WATCHLIST", str(watchlist))
    importing = "import tv_etl.definitions as here"
    assert loaded_by(importing, *OF_ALERTS) == []
    assert loaded_by(f"{importing}; here.defs().get_repository_def()", *OF_ALERTS) == loaded


def test_the_collector_leaves_alone_what_is_loaded() -> None:
    code = "import gc; import tv_etl.definitions; assert gc.isenabled(); assert gc.get_freeze_count() > 10_000"
    assert loaded_by(code, "dagster") == ["dagster"]
