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
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

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

__all__ = [
    "ALREADY_REPORTED",
    "DAGSTER_VERSION",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetJob",
    "JobsSensor",
    "ProcessRole",
    "ResolutionException",
    "add_step_tags",
    "is_first_load",
    "partition_filter",
    "process_role",
    "report_planned",
    "resolve_fields",
    "reverse_cron_string_iterator",
    "running_schedules",
]

DAGSTER_VERSION = "1.13.27"

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
