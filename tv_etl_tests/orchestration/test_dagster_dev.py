"""A backfill as people start one, in the `dagster dev` that they start: fifty symbols, two of which are refused."""

import json
from typing import Any

import pytest

from tv_etl.lake.store import BarStore
from tv_etl.orchestration.partitions import range_tags, series_of, series_partitions
from tv_etl.watchlist.model import load_watchlist
from tv_etl_tests.dagster_dev import (
    ENDED,
    INTERVALS,
    REFUSED,
    CountingMarket,
    DagsterDev,
    GridBackfill,
    grid_keys,
)
from tv_etl_tests.patience import HANG_S, wait_until

pytestmark = pytest.mark.slow

GRID = grid_keys()
BAD = {f"{interval}|{symbol}" for interval in INTERVALS for symbol in REFUSED}


def text_of(event: dict[str, Any], label: str) -> Any:
    [entry] = [entry for entry in event["metadataEntries"] if entry["label"] == label]
    [value] = [value for name, value in entry.items() if name not in ("label", "__typename")]
    return value


def of_series(event: dict[str, Any], fact: str) -> Any:
    return json.loads(text_of(event, "series"))[fact]


def test_a_backfill_is_a_run_for_each_interval(grid_backfill: GridBackfill) -> None:
    assert len(grid_backfill.runs) == 3
    assert set(grid_backfill.runs.values()) == {"FAILURE"}, "each has two series that failed"


def test_good_partitions_are_materialized_and_the_refused_ones_failed(
    dev: DagsterDev, grid_backfill: GridBackfill
) -> None:
    states = dev.partition_states()
    assert states == {"numPartitions": 150, "numMaterialized": 144, "numFailed": 6, "numMaterializing": 0}
    events = [event for run_id in grid_backfill.runs for event in dev.events(run_id, "MaterializationEvent")]
    assert sorted(event["partition"] for event in events) == sorted(set(GRID) - BAD)
    store = BarStore(dev.lake)
    stored = {f"{interval.token}|{symbol}": store.record(symbol, interval).rows for symbol, interval in store.series()}
    assert stored.keys() == set(GRID) - BAD
    assert {event["partition"]: of_series(event, "rows added") for event in events} == stored
    assert set(stored.values()) == {79}, "the newest of the eighty is forming"


def test_each_failed_partition_says_why(dev: DagsterDev, grid_backfill: GridBackfill) -> None:
    failures = [event for run_id in grid_backfill.runs for event in dev.events(run_id, "ObservationEvent")]
    assert sorted(event["partition"] for event in failures) == sorted(BAD), "once: a refusal is not asked for again"
    for event in failures:
        assert REFUSED[event["partition"].split("|")[1]] in text_of(event, "reason")
        assert text_of(event, "retryable") is False
        assert "a retry will not help until the cause is removed" in event["description"]


def test_the_log_of_a_run_can_be_followed(dev: DagsterDev, grid_backfill: GridBackfill) -> None:
    for run_id in grid_backfill.runs:
        lines = [event["message"] for event in dev.events(run_id, "LogMessageEvent")]
        assert lines[0].startswith("50 of 50 series to ask for"), lines
        assert lines[-1].startswith("48 of 50 series stored: 3,792 bars added, 0 revised"), lines


def test_the_backfill_ends_with_its_counts(dev: DagsterDev, grid_backfill: GridBackfill) -> None:
    def ended() -> dict[str, Any] | None:
        counts = dev.backfill_counts(grid_backfill.backfill_id)
        return counts if counts["status"].startswith("COMPLETED") else None

    assert wait_until(ended, "the backfill is at its end") == {
        "status": "COMPLETED_FAILED",
        "numPartitionsTargeted": 150,
        "numPartitionsMaterialized": 144,
        "numPartitionsFailed": 6,
    }


def test_re_execution_from_failure_fetches_only_what_failed(
    dev: DagsterDev, grid_backfill: GridBackfill, counting_market: CountingMarket
) -> None:
    before = counting_market.asked.copy()
    [again] = [dev.reexecute_from_failure(run_id) for run_id in list(grid_backfill.runs)[:1]]
    wait_until(lambda: dev.runs(root_run_id=next(iter(grid_backfill.runs))).get(again) in ENDED, "the run ends")
    asked = counting_market.asked - before
    assert set(asked) == set(REFUSED)
    events = dev.events(again, "MaterializationEvent")
    assert len(events) == 48
    assert {of_series(event, "requests") for event in events} == {0}
    assert len(dev.events(again, "ObservationEvent")) == 2
    # What this run planned, and did not fetch, is not taken for failed.
    assert dev.partition_states() == {
        "numPartitions": 150,
        "numMaterialized": 144,
        "numFailed": 6,
        "numMaterializing": 0,
    }


def test_the_grid_is_what_the_watchlist_says(dev: DagsterDev) -> None:
    [group] = load_watchlist(dev.directory / "watchlist.yaml").groups
    assert sorted(series_partitions(group).get_partition_keys()) == sorted(GRID)


def test_a_run_that_is_terminated_ends_at_once_and_keeps_what_it_stored(
    dev: DagsterDev, grid_backfill: GridBackfill, counting_market: CountingMarket
) -> None:
    minutes = [key for key in GRID if key.startswith("1m")]
    with counting_market.standing_still_after(24) as stands_still:
        run_id = dev.launch({**range_tags(minutes), "dagster/fate": "terminated"})
        assert stands_still.wait(HANG_S)
        wait_until(lambda: dev.events(run_id, "MaterializationEvent"), "something is stored")
        dev.terminate(run_id)
        status = wait_until(lambda: {*dev.runs(fate="terminated").values()} & ENDED, "the run ends")
    assert status == {"CANCELED"}
    stored = {event["partition"] for event in dev.events(run_id, "MaterializationEvent")}
    assert 0 < len(stored) <= 24
    store = BarStore(dev.lake)
    assert {store.read(*series_of(key)).num_rows for key in minutes if key not in BAD} == {79}, "nothing is half done"
