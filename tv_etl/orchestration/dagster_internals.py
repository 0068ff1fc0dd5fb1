"""What is used of Dagster beyond its public interface, as of DAGSTER_VERSION: look here first when Dagster changes.

The target of an asset check's evaluation ties what is judged after a run to the materialization that it judges; the
public `AssetCheckEvaluation` has a field for it, but no public type. The ticks of a cron string, backwards, are what
Dagster's own freshness checks count. A run that is not launched for partitions has planned none, and Dagster takes a
partition for failed only if it was planned by a run that failed. A sensor may start several jobs, but takes the name of
one only. Code servers load definitions, and so does every run, which is told apart. Whether a schedule is on is kept by
the instance, and where nobody has switched it, by what the code says. The evaluations of a check on one partition are
asked for with a filter that has no public name. What fills in the fields of a component, and what `translation` is made
of, Dagster's own integrations take from where it is defined. A code server is a process `dagster api grpc`, whether
`dagster dev` or `dagster code-server` starts it; a run is one that it forks off, or another `dagster api`. Validation,
which may start such a server as well, says so in the environment. To an output with a certain mark Dagster adds no
event of its asset, which has reported them itself: the mark is meant for what Dagster wraps as an observable source.
What observes an asset takes no tags for its step.

Deleting a run leaves its file of events in SQLite, and the evaluations of its checks. What of the events of an asset is
the newest of each partition, of a whole history at once, only its tables tell; and those of ticks, which tick is left.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster.components.resolved.base import resolve_fields
from dagster.components.resolved.errors import ResolutionException

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage as SqlEventLogStorage
    from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
    from sqlalchemy import Table

__all__ = [
    "ALREADY_REPORTED",
    "ASSET_JOB",
    "DAGSTER_VERSION",
    "RUNLESS",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetJob",
    "HistoryTables",
    "JobsSensor",
    "ProcessRole",
    "ResolutionException",
    "add_step_tags",
    "event_files",
    "event_storage",
    "history_tables",
    "is_first_load",
    "partition_filter",
    "process_role",
    "report_planned",
    "resolve_fields",
    "reverse_cron_string_iterator",
    "running_schedules",
    "tick_log_keys",
    "tick_storage",
]

DAGSTER_VERSION = "1.13.27"
# The job of the runs that are started of assets, and the run of events that are of none.
ASSET_JOB = "__ASSET_JOB"
RUNLESS = ""

# Metadata of an output to which Dagster adds no materialization.
ALREADY_REPORTED = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


def add_step_tags(asset: dg.AssetsDefinition, tags: Mapping[str, str]) -> dg.AssetsDefinition:
    """The asset, whose step has the tags as well."""
    asset.op._tags = {**asset.op.tags, **tags}
    return asset


class ProcessRole(Enum):
    """What this process loads definitions for."""

    SERVER = "server"
    RUN = "run"
    OTHER = "other"


def process_role() -> ProcessRole:
    """What Dagster has started this process for; OTHER if somebody else has, or to see whether definitions load."""
    if sys.argv[1:2] != ["api"] or os.environ.get("DAGSTER_IS_DEFS_VALIDATION_CLI"):
        return ProcessRole.OTHER
    # A process that Python's multiprocessing starts has the arguments of its parent.
    is_server = sys.argv[2:3] == ["grpc"] and multiprocessing.parent_process() is None
    return ProcessRole.SERVER if is_server else ProcessRole.RUN


def is_first_load() -> bool:
    """True while Dagster loads definitions to show and schedule them; False in a run, or where others build them."""
    return (
        DefinitionsLoadContext.is_set() and DefinitionsLoadContext.get().load_type == DefinitionsLoadType.INITIALIZATION
    )


def partition_filter(key: str) -> PartitionKeyFilter:
    """Selects what is of a partition; "" for what has none."""
    return PartitionKeyFilter(key=key or None)


def report_planned(context: dg.AssetExecutionContext, asset_key: dg.AssetKey, partition: str) -> None:
    """Record that a run meant to materialize a partition."""
    step = context.op_execution_context.get_step_execution_context().step.key
    planned = AssetMaterializationPlannedData(asset_key, partition=partition)
    event = DagsterEvent.build_asset_materialization_planned_event(context.run.job_name, step, planned)
    context.instance.report_dagster_event(event, run_id=context.run.run_id, log_level="DEBUG")


class JobsSensor(dg.SensorDefinition):
    """A sensor that may start several jobs, all known by name; the copies that components make keep them."""

    def __init__(self, *, jobs: Sequence[str], **rest: Any) -> None:
        super().__init__(job_name=jobs[0], **rest)
        self._targets = [AutomationTarget(resolvable_to_job=each) for each in jobs]

    def with_attributes(self, *, jobs: object = None, metadata: Mapping[str, Any] | None = None) -> "JobsSensor":
        return JobsSensor(
            jobs=[each.job_name for each in self._targets],
            name=self.name,
            evaluation_fn=self._raw_fn,
            minimum_interval_seconds=self.minimum_interval_seconds,
            description=self.description,
            default_status=self.default_status,
            required_resource_keys=self._raw_required_resource_keys,
            tags=self._tags,
            metadata=self._metadata if metadata is None else metadata,
            owners=self._owners,
        )


def running_schedules(context: dg.SensorEvaluationContext, defaults: Mapping[str, bool]) -> dict[str, bool]:
    """Which schedules of the sensor's code location are on; `defaults` tells of each whether it is without a switch."""
    on = dict(defaults)
    origin = context.code_location_origin
    for state in context.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        location = state.origin.repository_origin.code_location_origin.location_name
        is_ours = origin is None or location == origin.location_name
        if is_ours and state.instigator_name in on and state.status != InstigatorStatus.DECLARED_IN_CODE:
            on[state.instigator_name] = state.status == InstigatorStatus.RUNNING
    return on


class HistoryTables(NamedTuple):
    """The tables of events, of the tags of those of assets, of the evaluations of checks, and of ticks."""

    events: "Table"
    tags: "Table"
    checks: "Table"
    ticks: "Table"


def history_tables() -> HistoryTables:
    """The tables in which Dagster's SQL storages keep what happened."""
    # Only who prunes loads them: a definition need not.
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        AssetEventTagsTable,
        SqlEventLogStorageTable,
    )
    from dagster._core.storage.schedules.schema import JobTickTable

    return HistoryTables(SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable, JobTickTable)


def event_storage(instance: dg.DagsterInstance) -> "SqlEventLogStorage | None":
    """Where an instance keeps its events, if that is in these tables."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    found = instance.event_log_storage
    return found if isinstance(found, SqlEventLogStorage) else None


def tick_storage(instance: dg.DagsterInstance) -> "SqlScheduleStorage | None":
    """Where an instance keeps its ticks, if that is in these tables."""
    from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage

    found = instance.schedule_storage
    return found if isinstance(found, SqlScheduleStorage) else None


def event_files(storage: "SqlEventLogStorage", run_id: str) -> list[Path]:
    """The files that hold the events of a run alone; none where all runs share a database."""
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

    if not isinstance(storage, SqliteEventLogStorage):
        return []
    path = storage.path_for_shard(run_id)
    return [Path(path + suffix) for suffix in ("-wal", "-shm", "")]


def tick_log_keys(instance: dg.DagsterInstance, repository: str, name: str) -> list[list[str]]:
    """The keys of the logs of a sensor's or schedule's ticks, each ending in the tick's id, if they are local files."""
    from dagster._core.storage.compute_log_manager import ComputeIOType
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    logs = instance.compute_log_manager
    if not isinstance(logs, LocalComputeLogManager):
        return []
    try:
        return [list(key) for key in logs.get_log_keys_for_log_key_prefix([repository, name], ComputeIOType.STDERR)]
    except FileNotFoundError:  # none was ever written
        return []
