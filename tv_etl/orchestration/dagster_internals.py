"""What is used of Dagster beyond its public interface, as of DAGSTER_VERSION: look here first when Dagster changes.

The target of an asset check's evaluation ties what is judged after a run to the materialization that it judges; the
public `AssetCheckEvaluation` has a field for it, but no public type. The ticks of a cron string, backwards, are what
Dagster's own freshness checks count. A run that is not launched for partitions has planned none, and Dagster takes a
partition for failed only if it was planned by a run that failed. A sensor may start several jobs, but takes the name
of one only. What fills in the fields of a component, and what `translation` is made of, Dagster's own integrations take
from where it is defined. A code server is a process `dagster api grpc`, whether `dagster dev` or `dagster code-server`
starts it; a run is one that it forks off, or another `dagster api`. Validation, which may start such a server as well,
says so in the environment.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from enum import Enum

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.target import AutomationTarget
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster.components.resolved.base import resolve_fields

__all__ = [
    "DAGSTER_VERSION",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetJob",
    "ProcessRole",
    "process_role",
    "report_planned",
    "resolve_fields",
    "reverse_cron_string_iterator",
    "target_jobs",
]

DAGSTER_VERSION = "1.13.27"


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


def report_planned(context: dg.AssetExecutionContext, asset_key: dg.AssetKey, partition: str) -> None:
    """Record that a run meant to materialize a partition."""
    step = context.op_execution_context.get_step_execution_context().step.key
    planned = AssetMaterializationPlannedData(asset_key, partition=partition)
    event = DagsterEvent.build_asset_materialization_planned_event(context.run.job_name, step, planned)
    context.instance.report_dagster_event(event, run_id=context.run.run_id, log_level="DEBUG")


def target_jobs(sensor: dg.SensorDefinition, jobs: Sequence[str | AssetJob]) -> None:
    """Let a sensor start these jobs, some of which are known by name alone."""
    sensor._targets = [AutomationTarget(resolvable_to_job=each) for each in jobs]
