"""The code location loads from the checkout as `dagster dev -w workspace.yaml` would load it."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tv_etl.definitions import build_definitions
from tv_etl.watchlist import load_watchlist
from tv_etl_tests.patience import HANG_S

CHECKOUT = Path(__file__).parent.parent


def test_everything_in_the_default_watchlist_is_defined(tmp_path: Path) -> None:
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), tmp_path)
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {"bars"}
    assert {each.name for each in repository.schedule_defs} == {"bars_1d", "bars_1h", "bars_1m", "bars_checks"}
    assert {each.name for each in repository.sensor_defs} == {"quote_alerts"}


@pytest.mark.parametrize(
    ("lake", "state", "outbox"),
    [
        ("lake", "", "lake/.tv_etl/outbox.sqlite"),
        ("file:///srv/a%20lake", "", "/srv/a lake/.tv_etl/outbox.sqlite"),
        ("s3://bucket/lake", "", "tv_etl_state/outbox.sqlite"),
        ("s3://bucket/lake", "/srv/state", "/srv/state/outbox.sqlite"),
    ],
)
def test_alerts_wait_in_a_local_directory_wherever_the_lake_is(lake: str, state: str, outbox: str) -> None:
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), lake, state=state)
    resources = definitions.resources or {}
    assert resources["notifier"].outbox_path == outbox
    assert resources["bar_store"].base == lake


@pytest.mark.slow
def test_the_workspace_validates(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-w", "workspace.yaml"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr


def test_a_token_stays_out_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_AUTH_TOKEN", "CANARY")
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), tmp_path)
    resource = (definitions.resources or {})["tradingview"]
    assert "CANARY" not in repr(resource)
    initialized = resource.process_config_and_initialize()
    assert initialized.auth_token == "CANARY"
    assert "CANARY" not in f"{initialized!r} {initialized}"
