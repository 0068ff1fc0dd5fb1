"""Declarative automation asks for a listed series once, and the schedules do not ask for it as well."""

from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from tv_etl.orchestration.automation import SENSOR
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.schedules import partitions_under_way
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import run

GROUP = Group(symbols=["NASDAQ:AAPL", "NSE:M&M"], intervals=["1d", "1m"], initial_bars=50, automation=True)
BARS = dg.AssetKey("bars")


def asked(
    group: Group, instance: dg.DagsterInstance, cursor: AssetDaemonCursor | None = None
) -> tuple[set[str], AssetDaemonCursor]:
    """Partitions that an evaluation asks for, and where the next one goes on."""
    definitions = build_definitions(Watchlist(groups=[group]), "nowhere")
    result = dg.evaluate_automation_conditions(
        definitions, instance=instance, asset_selection=dg.AssetSelection.assets(BARS), cursor=cursor
    )
    return {str(key) for key in result.get_requested_partitions(BARS)}, result.cursor


def test_what_was_never_stored_is_asked_for_once(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    found, first = asked(GROUP, instance)
    assert found == set(series_partitions(GROUP).get_partition_keys())
    found, second = asked(GROUP, instance, first)
    assert found == set(), "handed over already"
    assert run(instance, tmp_path, market_url, GROUP).success
    found, third = asked(GROUP, instance, second)
    assert found == set()
    longer = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NSE:M&M", "NASDAQ:NDX"]})
    found, _ = asked(longer, instance, third)
    assert found == {"1d|NASDAQ:NDX", "1m|NASDAQ:NDX"}


def test_what_a_run_is_about_to_store_is_not_asked_for(instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(Watchlist(groups=[GROUP]), "nowhere")
    job = definitions.resolve_job_def("bars_job")
    keys = series_partitions(GROUP).get_partition_keys()
    instance.create_run_for_job(
        job,
        tags=range_tags(keys[:2]),
        status=dg.DagsterRunStatus.STARTED,
    )
    assert partitions_under_way(GROUP, instance) == set(keys[:2])
    found, _ = asked(GROUP, instance)
    assert found == set(keys[2:])


def test_only_a_group_that_wants_it_is_automated_by_a_running_sensor() -> None:
    plain = Group(name="plain", symbols=["NASDAQ:MSFT"], intervals=["1d"])
    definitions = build_definitions(Watchlist(groups=[GROUP, plain]), "nowhere")
    sensor = definitions.resolve_sensor_def(SENSOR)
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    graph = definitions.resolve_asset_graph()
    assert sensor.asset_selection.resolve(graph) == {BARS}
    assert graph.get(dg.AssetKey("plain")).automation_condition is None
    sensors = build_definitions(Watchlist(groups=[plain]), "nowhere").sensors or []
    assert [each.name for each in sensors] == ["lost_runs"]
