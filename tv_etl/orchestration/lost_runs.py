"""Runs whose process has died: a sensor that gives them up, and the sign of life by which it knows the living ones.

Dagster's own run monitoring asks the run launcher, and the default launcher knows nothing: the code server that started
a process reports its end, but that may have died with it. Such a run stays started for ever, holds its place in the
pool, and is taken to be fetching its series.

A step that beats reports every half a minute that its process is alive, to the instance's own storage: whoever sees the
run sees that, on whatever host. The sensor counts its own looks at which nothing new was there. So neither a clock that
jumps nor a machine that sleeps with all that is on it makes a run look dead, and a slow run is never taken for one.
"""

import json
import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.printable import counted, described

# The tag of a step that beats, and how often it does.
BEATS_TAG = {"tv_etl/beats": "true"}
BEAT_S = 30.0
# Looks without a new event, after which a run is lost whose steps under way beat: three minutes.
LOOK_S = 30
SILENT_LOOKS = 6
# Where no step is under way, none beats: a run that starts, ends, or waits in a pool, of which Dagster tells every five
# minutes.
IDLE_LOOKS = 24

ALIVE = "The process of this run is alive."

_STARTED = dg.DagsterRunStatus.STARTED
# To be launched, or to be stopped: run monitoring has limits of its own for those, where it is enabled.
_BETWEEN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]

_log = logging.getLogger(__name__)


@contextmanager
def beating(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext,
) -> Iterator[None]:
    """While the context lasts, the run shows that its process is alive."""
    instance, run, step_key = context.instance, context.run, str(context.op_execution_context.op_handle)
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            try:
                instance.report_engine_event(ALIVE, run, step_key=step_key)
            except Exception:  # whatever keeps it from being stored, the run itself meets as well
                _log.warning("run %s cannot report that it is alive", run.run_id, exc_info=True)

    thread = threading.Thread(target=beat, name="tv_etl-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def build_lost_runs(lake: LakeResources | None = None) -> dg.SensorDefinition:
    """The sensor, which runs from the start: nobody who needs it would look for it."""

    @dg.sensor(
        name=(lake or LakeResources()).only("lost_runs"),
        minimum_interval_seconds=LOOK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Marks runs as failed whose process has died, after {SILENT_LOOKS * LOOK_S // 60} minutes without a sign "
            "of life: their series are fetched again, and their places in pools are free."
        ),
    )
    def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = context.instance
        before, looks = _looks_in(context.cursor), dict[str, tuple[str, int]]()
        lost: list[str] = []
        watched = [_STARTED] if instance.run_monitoring_enabled else [_STARTED, *_BETWEEN]
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=watched)):
            newest = _newest_event(instance, run.run_id)
            event, silent = before.get(run.run_id, (newest, -1))
            silent = silent + 1 if event == newest else 0
            if silent >= SILENT_LOOKS and silent >= _patience(context, run):
                _give_up(instance, run.run_id, silent)
                lost.append(run.run_id)
            else:
                looks[run.run_id] = newest, silent
        context.update_cursor(json.dumps(looks))
        if lost:
            return dg.SkipReason(f"marked as failed, since no process executes them any more: {', '.join(lost)}")
        return dg.SkipReason(f"{counted(len(looks), 'run')} under way, none of them lost")

    return lost_runs


def _looks_in(cursor: str | None) -> dict[str, tuple[str, int]]:
    """By run, the newest event at the last look, and how many looks it had been that before."""
    return {run_id: (str(event), int(silent)) for run_id, (event, silent) in json.loads(cursor or "{}").items()}


def _newest_event(instance: dg.DagsterInstance, run_id: str) -> str:
    found = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return str(found[0].storage_id) if found else ""


def _patience(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> float:
    """How many silent looks prove that the run is lost; inf where a step of somebody else's may be silent and alive."""
    instance, snapshot_id = context.instance, run.execution_plan_snapshot_id
    if snapshot_id is None:
        return math.inf
    try:
        plan = instance.get_execution_plan_snapshot(snapshot_id)
    except Exception as error:  # of whatever run of whatever version: the others are judged
        context.log.warning(f"run {run.run_id} cannot be judged: {described(error)}")
        return math.inf
    steps = {step.key for step in plan.steps if step.key in plan.step_keys_to_execute}
    beating_steps = {step.key for step in plan.steps if step.tags and BEATS_TAG.items() <= dict(step.tags).items()}
    stats = {each.step_key: each for each in instance.get_run_step_stats(run.run_id)}
    under_way = {key for key, each in stats.items() if each.start_time is not None and each.end_time is None}
    left = {key for key in steps if key not in stats or stats[key].end_time is None}
    if under_way:
        return SILENT_LOOKS if under_way <= beating_steps else math.inf
    return IDLE_LOOKS if beating_steps & steps and left <= beating_steps else math.inf


def _give_up(instance: dg.DagsterInstance, run_id: str, looks: int) -> None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.report_run_failed(
        run,
        f"No sign of life for {looks * LOOK_S / 60:.0f} minutes: the process of this run has died, of a kill, a crash, "
        "want of memory or a restart of its machine. What it stored stays stored; the rest is fetched by the next tick "
        "of the schedule, or by a re-execution from failure.",
    )
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(run_id)
