"""What is deleted of a history takes nothing of what Dagster tells of a partition, whatever the history is."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dagster as dg
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
from dagster._core.test_utils import create_run_for_test
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.orchestration.pruning import prune
from tv_etl.orchestration.stored_history import StoredHistory
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
        data = StepMaterializationData(dg.AssetMaterialization(KEY, partition=partition, metadata={"number": number}))
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
    return run.run_id


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


@contextmanager
def history(told: Sequence[Told]) -> Iterator[tuple[dg.DagsterInstance, list[str]]]:
    with dg.DagsterInstance.ephemeral() as instance:
        ids = [tell(instance, each, number) for number, each in enumerate(told)]
        # The run that prunes has the newest number of all.
        tell(instance, Told((), "success"), 0)
        yield instance, ids


def soon() -> float:
    return time.monotonic() + 600


@settings(max_examples=150)
@given(st.lists(RUNS, max_size=9), st.lists(RUNS, max_size=3))
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
