"""The lake at a glance in Dagster: by hand and by the sensor it is the same, and a quiet lake says nothing twice."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.lake.glance import COLUMNS, glances, total
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.asset_data import AssetData
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.lake_changes import SHOWN_EVERY_S, Cursor
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.moments import utc
from tv_etl.watchlist.model import Group, Watchlist, WatchlistError, read_watchlist
from tv_etl_tests.lake_runs import QUIET
from tv_etl_tests.orchestration.test_lake_changes import put_recent, tick
from tv_etl_tests.orchestration.test_unreported import GROUP, home

LAKE = dg.AssetKey("lake")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(home(tmp_path, "dagster")) as temporary:
        yield temporary


def observe(instance: dg.DagsterInstance, lake: Path, *groups: Group, **options: Any) -> dg.ExecuteInProcessResult:
    """As the button does."""
    definitions = build_definitions(Watchlist(groups=list(groups or [GROUP])), lake, **options)
    job = definitions.resolve_implicit_global_asset_job_def()
    prefix = options.get("key_prefix", "")
    key = LakeResources("", (prefix,) if prefix else ()).lake_key
    return job.execute_in_process(instance=instance, asset_selection=[key], run_config=QUIET)


def shown(instance: dg.DagsterInstance, key: dg.AssetKey = LAKE) -> list[dict[str, Any]]:
    """The metadata of every observation, the oldest first."""
    records = instance.fetch_observations(key, limit=100, ascending=True).records
    return [
        {
            name: each if isinstance(each, dg.TableMetadataValue) else each.value
            for name, each in record.asset_observation.metadata.items()
        }
        for record in records
        if record.asset_observation is not None
    ]


def rows(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    return [record.data for record in metadata["at a glance"].records]


def aged(cursor: str | None) -> str:
    """When it is time to show it again."""
    known = Cursor.read(cursor)
    return known._replace(shown_at=known.shown_at - SHOWN_EVERY_S).text


def test_the_page_shows_what_status_counts(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put_recent(tmp_path, "NASDAQ:AAPL")
    put_recent(tmp_path, "NASDAQ:ELSE", 7_200)
    assert observe(instance, tmp_path).success
    [metadata] = shown(instance)
    now = utc(time.time())
    counted = total(glances(lake_status(BarStore(tmp_path), now), now))
    # Status knows no watchlist, so of nothing that is missing.
    numbers = {name: value for name, value in counted.values.items() if isinstance(value, int)} | {"never stored": 3}
    assert {name: metadata[name] for name in numbers} == numbers
    assert [(each["group"], each["interval"], each["series"], each["trouble"]) for each in rows(metadata)] == [
        ("bars", "1m", 1, "1 never stored"),
        ("bars", "1d", 0, "2 never stored"),
        ("on no watchlist", "1m", 1, "1 overdue"),
        ("all", "", 2, "1 overdue, 3 never stored"),
    ]
    assert rows(metadata)[0]["bars"] == "1"


def test_the_sensor_shows_what_has_changed_now_and_then_and_a_quiet_lake_once(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    store = BarStore(tmp_path)
    put_recent(tmp_path, "NASDAQ:AAPL")
    put_recent(tmp_path, "NASDAQ:ELSE", 7_200)
    store.refuse("NASDAQ:MSFT", "1m", "SymbolError: unknown", time.time())
    observe(instance, tmp_path)
    cursor = tick(instance, tmp_path).cursor
    by_hand, by_sensor = shown(instance)
    assert by_sensor == by_hand
    assert rows(by_sensor)[0]["trouble"] == "1 refused"
    cursor = tick(instance, tmp_path, cursor=aged(cursor)).cursor
    assert len(shown(instance)) == 2, "nothing has changed"
    put_recent(tmp_path, "NASDAQ:MSFT")
    cursor = tick(instance, tmp_path, cursor=cursor).cursor
    assert len(shown(instance)) == 2, "a moment ago"
    tick(instance, tmp_path, cursor=aged(cursor))
    *_, newest = shown(instance)
    assert (newest["series"], newest["refused"]) == (3, 0)


def test_what_cannot_be_read_is_counted_as_damaged(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put_recent(tmp_path, "NASDAQ:AAPL")
    (tmp_path / ".tv_etl" / "1m" / "NASDAQ%3AAAPL" / "series.json").write_text("{}", encoding="utf-8")
    observe(instance, tmp_path)
    tick(instance, tmp_path)
    by_hand, by_sensor = shown(instance)
    assert by_hand == by_sensor
    assert rows(by_sensor)[0]["trouble"] == "1 damaged, 1 never stored"


def test_an_empty_lake_has_only_what_is_missing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    observe(instance, tmp_path / "lake")
    [metadata] = shown(instance)
    assert (metadata["series"], metadata["never stored"]) == (0, 4)
    assert set(metadata) <= {"at a glance", *COLUMNS}


def test_two_lakes_have_a_page_each_and_a_project_its_say(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put_recent(tmp_path / "us", "NASDAQ:AAPL")
    for name in ("us", "eu"):
        assert observe(instance, tmp_path / name, key_prefix=name).success
    assert [shown(instance, dg.AssetKey([name, "lake"]))[0]["series"] for name in ("us", "eu")] == [1, 0]

    def translated(data: AssetData) -> dg.AssetSpec:
        return data.spec.replace_attributes(key="overview", owners=["team:x"]) if data.kind == "lake" else data.spec

    definitions = build_definitions(Watchlist(groups=[GROUP]), tmp_path / "us", get_asset_spec=translated)
    repository = definitions.get_repository_def()
    [spec] = [each for each in repository.asset_graph.asset_nodes if each.key == dg.AssetKey("overview")]
    assert list(spec.owners) == ["team:x"]
    sensor = definitions.resolve_sensor_def("lake_changes")
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources=definitions.resources
    ) as context:
        sensor.evaluate_tick(context)
    assert len(shown(instance, dg.AssetKey("overview"))) == 1


def test_no_group_takes_its_name(tmp_path: Path) -> None:
    content = {"groups": [{"name": "lake", "symbols": ["A:B"], "intervals": ["1d"]}]}
    with pytest.raises(WatchlistError, match="lake is the lake at a glance; choose another name"):
        read_watchlist(Watchlist, content, tmp_path / "watchlist.yaml")
