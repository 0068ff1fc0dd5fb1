"""Alerts as materializations of the external asset."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from tv_etl.alerts.database import StoreBusy
from tv_etl.alerts.dataset import AlertDataset
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.state import AlertState
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.stored_events import KEPT, REPORTING, ids_of
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.alert_events import EVENT_ID, build_alerts_asset, report_alerts
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.bar_schema import table_of_bars
from tv_etl_tests.patience import HANG_S

ASSET = dg.AssetKey("alerts")
TOUCHED_AT = int(datetime(2026, 11, 27, 15, tzinfo=timezone.utc).timestamp())


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as temporary:
        yield temporary


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def find(store: AlertStore, count: int, first: int = 0) -> list[str]:
    """A tick that finds alerts; their ids."""
    memory = store.load()
    alerts = [
        Alert(f"{n:032x}", "breakout", "NASDAQ:AAPL", "above", 1.5, 2.0 + n, TOUCHED_AT + n, TOUCHED_AT + 40.0 + n)
        for n in range(first, first + count)
    ]
    store.commit(memory, [], memory.registry, AlertState(), alerts, [], TOUCHED_AT + 40.0, {}, {})
    return [each.event_id for each in alerts]


def told(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    """The materializations of the asset, the oldest first."""
    found, cursor = list[dg.AssetMaterialization](), None
    while True:
        page = instance.fetch_materializations(ASSET, limit=1_000, cursor=cursor, ascending=True)
        found += [each.asset_materialization for each in page.records if each.asset_materialization is not None]
        if not page.has_more:
            return found
        cursor = page.cursor


def told_ids(instance: dg.DagsterInstance) -> list[str]:
    return [str(each.metadata[EVENT_ID].value) for each in told(instance)]


def test_every_event_is_a_materialization_with_its_fields_once(instance: dg.DagsterInstance, store: AlertStore) -> None:
    ids = find(store, 3)
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 3
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 0
    assert told_ids(instance) == ids
    first = told(instance)[0]
    assert first.description == "NASDAQ:AAPL is above 1.5 at 2, 2026-11-27 15:00:00 UTC (rule breakout)"
    values = {name: each.value for name, each in first.metadata.items()}
    assert values == {
        EVENT_ID: ids[0],
        "rule": "breakout",
        "symbol": "NASDAQ:AAPL",
        "kind": "above",
        "level": 1.5,
        "price": 2.0,
        "touched_at": TOUCHED_AT,
        "detected_at": TOUCHED_AT + 40.0,
        "severity": "warning",
        "status": "firing",
        "incident": ids[0],
    }


def test_the_price_around_the_touch_is_shown_where_the_lake_has_it(
    instance: dg.DagsterInstance, store: AlertStore, tmp_path: Path
) -> None:
    lake = BarStore(tmp_path / "lake")
    times = (TOUCHED_AT + 60 * np.arange(-60, 10)) * 1_000_000
    lake.upsert("NASDAQ:AAPL", "1m", table_of_bars(times, np.ones((5, 70)), np.ones(70, np.bool_)))
    find(store, 1)
    report_alerts(instance, store, ASSET, lake, budget_s=HANG_S)
    [materialization] = told(instance)
    assert "2026-11-27 14:22Z to 2026-11-27 15:09Z" in str(materialization.metadata["price around it"].value)


def test_an_event_with_an_odd_time_and_text_holds_up_no_other(
    instance: dg.DagsterInstance, store: AlertStore, tmp_path: Path
) -> None:
    memory = store.load()
    odd = Alert("a" * 32, "rule \ud83d", "NASDAQ:AAPL", "above", 1.5, 2.0, 10**17, TOUCHED_AT)
    store.commit(memory, [], memory.registry, AlertState(), [odd], [], TOUCHED_AT, {}, {})
    ids = find(store, 1)
    assert report_alerts(instance, store, ASSET, BarStore(tmp_path / "lake"), budget_s=HANG_S) == 2
    assert told_ids(instance) == ["a" * 32, *ids]
    assert (told(instance)[0].metadata["touched_at"].value, told(instance)[0].metadata["rule"].value) == (
        10**17,
        "rule \ufffd",
    )


def test_what_the_budget_leaves_is_told_next_time(instance: dg.DagsterInstance, store: AlertStore) -> None:
    ids = find(store, 30)
    assert report_alerts(instance, store, ASSET, budget_s=0.0) == 0
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 30
    assert told_ids(instance) == ids


def test_while_a_tick_runs_nothing_is_told(instance: dg.DagsterInstance, store: AlertStore) -> None:
    find(store, 1)
    with store.exclusive(), pytest.raises(StoreBusy):
        report_alerts(instance, store, ASSET, budget_s=HANG_S)


def test_what_was_begun_is_looked_for_before_it_is_told_again(instance: dg.DagsterInstance, store: AlertStore) -> None:
    """As a process leaves it that was killed after the second of four reports."""
    ids = find(store, 4)
    report_alerts(instance, store, ASSET, budget_s=HANG_S)
    assert told_ids(instance) == ids
    later = find(store, 4, first=4)
    store.mark(REPORTING, later, TOUCHED_AT)
    for event_id in later[:2]:
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, metadata={EVENT_ID: event_id}))
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 4
    assert told_ids(instance) == [*ids, *later]


def test_an_external_asset_stands_for_them() -> None:
    spec = build_alerts_asset(LakeResources("coins"))
    definitions = dg.Definitions(assets=[spec])
    assert spec.key == dg.AssetKey("coins_alerts")
    assert not definitions.resolve_asset_graph().get(spec.key).is_executable


def _report_until_killed(home: str, place: str) -> None:
    with dg.DagsterInstance.local_temp(home) as instance:
        report_alerts(instance, AlertStore(place), ASSET, budget_s=HANG_S)


@pytest.mark.slow
def test_the_dataset_the_asset_and_the_store_agree_one_by_one_after_kills(tmp_path: Path) -> None:
    store, home, count = AlertStore(tmp_path / "alerts.sqlite"), str(tmp_path), 1_000
    ids = find(store, count)
    spawn = multiprocessing.get_context("spawn")
    with dg.DagsterInstance.local_temp(home) as instance:
        for kill in range(5):
            process = spawn.Process(target=_report_until_killed, args=(home, str(tmp_path / "alerts.sqlite")))
            process.start()
            while len(told_ids(instance)) < 90 * (kill + 1) and process.is_alive():
                pass
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        while report_alerts(instance, store, ASSET, budget_s=HANG_S):
            pass
        assert told_ids(instance) == ids
    dataset = AlertDataset(tmp_path / "lake")
    while events := store.to_keep(300):
        dataset.put(events)
        store.mark(KEPT, ids_of(events), TOUCHED_AT)
    assert dataset.read().column("event_id").to_pylist() == ids
