"""What is used of Dagster beyond its public interface, as of DAGSTER_VERSION: look here first when Dagster changes.

The target of an asset check's evaluation ties what is judged after a run to the materialization that it judges; the
public `AssetCheckEvaluation` has a field for it, but no public type. The ticks of a cron string, backwards, are what
Dagster's own freshness checks count. A run that is not launched for partitions has planned none, and Dagster takes a
partition for failed only if it was planned by a run that failed. A sensor may start several jobs, but takes the name of
one only. Code servers load definitions, and so does every run, which is told apart. Whether a schedule is on is kept by
the instance, and where nobody has switched it, by what the code says. The evaluations of a check on one partition are
asked for with a filter that has no public name.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = [
    "DAGSTER_VERSION",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetJob",
    "is_first_load",
    "partition_filter",
    "report_planned",
    "reverse_cron_string_iterator",
    "running_schedules",
    "target_jobs",
]

DAGSTER_VERSION = "1.13.27"


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


def target_jobs(sensor: dg.SensorDefinition, jobs: Sequence[str | AssetJob]) -> None:
    """Let a sensor start these jobs, some of which are known by name alone."""
    sensor._targets = [AutomationTarget(resolvable_to_job=each) for each in jobs]


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
