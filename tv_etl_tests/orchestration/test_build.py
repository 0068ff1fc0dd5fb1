"""Everything that a watchlist and a lake have in Dagster."""

from pathlib import Path

import dagster as dg
import pytest

from tv_etl.orchestration.build import build_definitions
from tv_etl.watchlist.model import load_watchlist

CHECKOUT = Path(__file__).parents[2]


def test_everything_in_the_default_watchlist_is_defined(tmp_path: Path) -> None:
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), tmp_path)
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {"alerts", "bars", "lake"}
    assert {each.name for each in repository.schedule_defs} == {
        "alerts_checks",
        "bars_1d",
        "bars_1h",
        "bars_1m",
        "bars_checks",
        "bars_refused",
        "prune_history",
    }
    assert {each.name for each in repository.sensor_defs} == {"lost_runs", "quote_alerts", "lake_changes"}


@pytest.mark.parametrize(
    ("lake", "state", "store"),
    [
        ("lake", "", "lake/.tv_etl/alerts.sqlite"),
        ("file:///srv/a%20lake", "", "/srv/a lake/.tv_etl/alerts.sqlite"),
        ("s3://bucket/lake", "", "tv_etl_state/alerts.sqlite"),
        ("s3://bucket/lake", "/srv/state", "/srv/state/alerts.sqlite"),
    ],
)
def test_alerts_wait_in_a_local_directory_wherever_the_lake_is(lake: str, state: str, store: str) -> None:
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), lake, state=state)
    resources = definitions.resources or {}
    assert resources["notifier"].store_path == store
    assert resources["bar_store"].base == lake


def test_no_resource_is_configurable_and_none_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TV_ETL_AUTH_TOKEN", "TV_ETL_SESSION_ID", "TV_ETL_SESSION_ID_SIGN", "TV_ETL_WS_URL"):
        monkeypatch.setenv(name, "CANARY")
    definitions = build_definitions(load_watchlist(CHECKOUT / "watchlist.yaml"), tmp_path)
    resources = definitions.resources or {}
    assert set(resources) == {"tradingview", "scanner", "bar_store", "bars_io_manager", "notifier"}
    assert not any(isinstance(each, dg.ResourceDefinition | dg.ConfigurableResource) for each in resources.values())
    assert "CANARY" not in str([vars(each) for each in resources.values()])
