"""What is deleted of a history takes nothing of what Dagster tells of a partition, whatever the history is."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.loader import LoadingContextForTest
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.test_utils import create_run_for_test
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.orchestration.event_history import EventHistory, delete_tick_logs
from tv_etl.orchestration.pruning import prune
from tv_etl.orchestration.watched import Watched

KEY, CHECK = dg.AssetKey("bars"), dg.AssetCheckKey(dg.AssetKey("bars"), "gap_free")
PARTITIONS = dg.StaticPartitionsDefinition(["a", "b"])
OURS = Watched((), frozenset({"bars_job"}), frozenset({KEY}), frozenset({CHECK}))
RUNLESS_KINDS = ("materialized", "observed")


@dataclass(frozen=True)
class Told:
    """What a run tells, and how it ends; one without an end is still going on."""

    events: tuple[tuple[str, str | None], ...]
    end: str


KINDS = ("planned", "materialized", "observed", "to be checked", "good", "bad")
EVENTS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", None])), max_size=4, unique_by=lambda each: each
)
RUNS = st.builds(
    Told,
    EVENTS.map(lambda events: tuple(sorted(events, key=lambda each: KINDS.index(each[0])))),
    st.sampled_from(["success", "success", "failure", "canceled", "", "without a run"]),
)


def event_of(kind: str, partition: str | None, number: int) -> DagsterEvent:
    data: Any
    if kind == "planned":
        planned = AssetMaterializationPlannedData(KEY, partition=partition)
        return DagsterEvent.build_asset_materialization_planned_event("bars_job", "bars", planned)
    if kind == "materialized":
        tags = {"dagster/data_version": str(number)}
        data = StepMaterializationData(
            dg.AssetMaterialization(KEY, partition=partition, metadata={"number": number}, tags=tags)
        )
        type_of = dg.DagsterEventType.ASSET_MATERIALIZATION
    elif kind == "observed":
        data = AssetObservationData(dg.AssetObservation(KEY, partition=partition, metadata={"number": number}))
        type_of = dg.DagsterEventType.ASSET_OBSERVATION
    elif kind == "to be checked":
        subset = None if partition is None else PARTITIONS.subset_with_partition_keys([partition])
        data = AssetCheckEvaluationPlanned(asset_key=KEY, check_name=CHECK.name, partitions_subset=subset)
        type_of = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    else:
        data = AssetCheckEvaluation(
            asset_key=KEY,
            check_name=CHECK.name,
            passed=kind == "good",
            metadata={"number": dg.MetadataValue.int(number)},
            partition=partition,
        )
        type_of = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    return DagsterEvent(type_of.value, "bars_job", step_key="bars", event_specific_data=data)


def tell(instance: dg.DagsterInstance, told: Told, number: int) -> str:
    """Do what a run does; return its id."""
    if told.end == "without a run":
        for kind, partition in told.events:
            if kind in RUNLESS_KINDS:
                of = dg.AssetMaterialization if kind == "materialized" else dg.AssetObservation
                instance.report_runless_asset_event(of(KEY, partition=partition, metadata={"number": number}))
        return ""
    run = create_run_for_test(instance, job_name="bars_job", status=dg.DagsterRunStatus.STARTED)
    for kind, partition in told.events:
        instance.report_dagster_event(event_of(kind, partition, number), run.run_id)
    if told.end == "success":
        instance.report_dagster_event(DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "bars_job"), run.run_id)
    elif told.end == "failure":
        instance.report_run_failed(run)
    elif told.end == "canceled":
        instance.report_run_canceled(run)
    return str(run.run_id)


def standing(instance: dg.DagsterInstance) -> dict[str, Any]:
    """All that Dagster tells of the asset: rebuilt from its events, and as it has it in its cache."""
    storage, found = instance.event_log_storage, dict[str, Any]()
    found["cached"] = instance.get_status_by_partition(KEY, PARTITIONS.get_partition_keys(), PARTITIONS)
    storage.wipe_asset_cached_status(KEY)
    found["status"] = instance.get_status_by_partition(KEY, PARTITIONS.get_partition_keys(), PARTITIONS)
    for partition in (*PARTITIONS.get_partition_keys(), None):
        wanted = dg.AssetRecordsFilter(KEY, asset_partitions=None if partition is None else [partition])
        records = instance.fetch_materializations(wanted, limit=1).records
        found[f"materialization of {partition}"] = [(each.storage_id, each.asset_materialization) for each in records]
        since = records[0].storage_id if records else 0
        observed = [each for each in instance.fetch_observations(wanted, limit=1).records if each.storage_id > since]
        found[f"observation of {partition}"] = [(each.storage_id, each.event_log_entry) for each in observed]
    infos = storage.get_asset_check_partition_info([CHECK])
    found["verdicts"] = sorted(infos, key=lambda each: str(each.partition_key))
    summary = storage.get_asset_check_summary_records([CHECK])[CHECK]
    found["newest verdicts"] = (summary.last_check_execution_record, summary.last_completed_check_execution_record)
    if summary.last_check_execution_record is not None:
        found["newest verdict"] = asyncio.run(
            summary.last_check_execution_record.resolve_status(LoadingContextForTest(instance))
        )
    found["asset"] = [each.asset_entry.last_materialization_record for each in instance.get_asset_records([KEY])]
    found["numbers"] = storage.get_maximum_record_id()
    return found


def soon() -> float:
    return time.monotonic() + 600


@settings(max_examples=25)
@given(st.lists(RUNS, max_size=6), st.lists(RUNS, max_size=2))
def test_whatever_happened_dagster_tells_the_same_of_every_partition(old: list[Told], new: list[Told]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        older = [tell(instance, each, number) for number, each in enumerate(old)]
        before = datetime.now(timezone.utc)
        newer = [tell(instance, each, len(old) + number) for number, each in enumerate(new)]
        tell(instance, Told((), "success"), 0)
        known = standing(instance)
        pruned = prune(instance, OURS, before, until=soon())
        assert standing(instance) == known
        left = {run.run_id for run in instance.get_runs()}
        assert {each for each in newer if each} <= left
        assert {run_id for run_id, each in zip(older, old, strict=True) if run_id and not each.end} <= left
        assert pruned.runs == len({each for each in older if each} - left)
        # Each partition, and none, has its newest of four kinds of events, and of two kinds of verdicts.
        assert pruned.kept <= 3 * (4 + 2)
        again = prune(instance, OURS, before, until=soon())
        assert (again.runs, again.events, again.kept) == (0, 0, pruned.kept)


SUCCESS, FAILURE = "success", "failure"


@pytest.mark.parametrize(
    ("told", "needed"),
    [
        ([], []),
        ([Told((), SUCCESS), Told((), FAILURE)], []),
        ([Told((("materialized", "a"),), SUCCESS)] * 2, [1]),
        ([Told((("materialized", "a"),), SUCCESS), Told((("materialized", "b"),), SUCCESS)], [0, 1]),
        # It failed, and is shown as failed: until it succeeds.
        ([Told((("materialized", "a"),), SUCCESS), Told((("planned", "a"),), FAILURE)], [0, 1]),
        ([Told((("planned", "a"),), FAILURE), Told((("planned", "a"), ("materialized", "a")), SUCCESS)], [1]),
        # Why it failed, day after day.
        (
            [Told((("materialized", "a"),), SUCCESS), *[Told((("planned", "a"), ("observed", "a")), FAILURE)] * 3],
            [0, 3],
        ),
        ([Told((("observed", "a"),), FAILURE), Told((("materialized", "a"),), SUCCESS)], [1]),
        # What is said of it once, and not again as long as it is so.
        ([Told((("materialized", "a"), ("bad", "a")), SUCCESS), Told((("materialized", "a"),), SUCCESS)], [0, 1]),
        ([Told((("bad", "a"),), SUCCESS), Told((("good", "a"),), SUCCESS), Told((("good", "b"),), SUCCESS)], [1, 2]),
        ([Told((("good", "a"),), SUCCESS), *[Told((("to be checked", "a"),), FAILURE)] * 2], [0, 2]),
        # The newest of all runs that plan no partition.
        ([Told((("planned", None),), SUCCESS)] * 3, [2]),
        # What is reported without a run takes the place of what runs told.
        ([Told((("materialized", "a"),), SUCCESS), Told((("materialized", "a"),), "without a run")], []),
    ],
)
def test_the_runs_are_needed_that_tell_the_newest_of_a_partition(told: list[Told], needed: list[int]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ids = [tell(instance, each, number) for number, each in enumerate(told)]
        history = EventHistory.of(instance, [KEY])
        assert history is not None
        assert history.needed_runs() - {""} == {ids[number] for number in needed}


def test_a_run_with_events_of_other_assets_is_somebody_elses() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        [both, ours, checked] = [
            create_run_for_test(instance, job_name="bars_job", status=dg.DagsterRunStatus.STARTED).run_id
            for _ in range(3)
        ]
        theirs = StepMaterializationData(dg.AssetMaterialization("theirs"))
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION.value
        instance.report_dagster_event(DagsterEvent(kind, "bars_job", event_specific_data=theirs), both)
        instance.report_dagster_event(event_of("materialized", "a", 0), both)
        instance.report_dagster_event(event_of("materialized", "a", 0), ours)
        evaluation = AssetCheckEvaluation(asset_key=dg.AssetKey("theirs"), check_name="any", passed=True, metadata={})
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
        instance.report_dagster_event(DagsterEvent(kind, "bars_job", event_specific_data=evaluation), checked)
        history = EventHistory.of(instance, [KEY])
        assert history is not None
        assert history.runs_of_others([both, ours, checked]) == {both, checked}
        assert history.needed_runs() == {ours}


def rows_of(instance: dg.DagsterInstance, table: str) -> int:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as db:
        return int(db.execute(sa.text(f"select count(*) from {table}")).scalar() or 0)


def test_nothing_of_a_deleted_run_is_left(instance: dg.DagsterInstance) -> None:
    """In files, where each run has its own."""
    events = tuple((kind, "a") for kind in KINDS)
    first, second = (tell(instance, Told(events, SUCCESS), number) for number in range(2))
    folder = Path(instance.root_directory)
    for run_id in (first, second):
        with instance.compute_log_manager.open_log_stream([run_id, "compute_logs", "x"], ComputeIOType.STDERR):
            pass
    history = EventHistory.of(instance, [KEY])
    assert history is not None
    assert [path for path in folder.rglob("*") if first in path.name]
    counted = [rows_of(instance, name) for name in ("event_logs", "asset_event_tags", "asset_check_executions")]
    history.delete_runs([first])
    assert not [path for path in folder.rglob("*") if first in path.name]
    assert [path.name for path in folder.rglob("*") if second in path.name] == [f"{second}.db", second]
    after = [rows_of(instance, name) for name in ("event_logs", "asset_event_tags", "asset_check_executions")]
    assert all(after)
    assert after == [number // 2 for number in counted]
    assert [run.run_id for run in instance.get_runs()] == [second]
    # Killed after the last file and before the run: it is found by its run, and goes.
    history.delete_runs([first])


def test_older_events_without_a_run_go_and_the_newest_stay(instance: dg.DagsterInstance) -> None:
    for number in range(5):
        tell(instance, Told((("materialized", "a"), ("materialized", None)), "without a run"), number)
    before = datetime.now(timezone.utc)
    instance.report_runless_asset_event(dg.AssetMaterialization("theirs"))
    instance.report_runless_asset_event(dg.AssetMaterialization("theirs"))
    known = standing(instance)
    history = EventHistory.of(instance, [KEY])
    assert history is not None
    assert history.delete_runless(datetime.fromtimestamp(0, timezone.utc), 100) == 0
    assert history.delete_runless(before, 3) == 3
    assert history.delete_runless(before, 100) == 5
    assert history.delete_runless(before, 100) == 0
    assert standing(instance) == known
    assert rows_of(instance, "event_logs") == 4
    file = sqlite3.connect(Path(instance.root_directory) / "history" / "runs" / ".db")
    with closing(file):
        assert file.execute("select count(*) from event_logs").fetchone() == (4,)


def test_the_logs_of_ticks_go_with_the_ticks(instance: dg.DagsterInstance) -> None:
    logs = instance.compute_log_manager

    def tick(name: str) -> list[str]:
        data = TickData("origin", name, InstigatorType.SENSOR, TickStatus.SKIPPED, time.time(), selector_id=name)
        key = ["repository", name, str(instance.create_tick(data).tick_id)]
        with logs.open_log_stream(key, ComputeIOType.STDERR) as stream:
            assert stream is not None
            stream.write("{}")  # type: ignore[call-overload]  # Dagster says neither text nor bytes
        return key

    def is_there(key: list[str]) -> bool:
        return logs.get_log_data(key).stderr is not None

    gone, theirs = [tick("ours") for _ in range(3)], tick("theirs")
    tick("newest")  # in SQLite the next would have its number
    instance.purge_ticks("origin", "ours", before=time.time() + 1, tick_statuses=[TickStatus.SKIPPED])
    instance.purge_ticks("origin", "theirs", before=time.time() + 1, tick_statuses=[TickStatus.SKIPPED])
    kept = tick("ours")
    assert delete_tick_logs(instance, "", ["ours"], 100) == 0
    assert delete_tick_logs(instance, "repository", ["never_ticked", "ours"], 2) == 2
    assert [is_there(key) for key in gone] == [False, False, True]
    assert delete_tick_logs(instance, "repository", ["ours"], 100) == 1
    assert (is_there(gone[2]), is_there(kept), is_there(theirs)) == (False, True, True)
