"""What an instance keeps of the past: a job that deletes the runs and events that nothing depends on any more.

A run of bars that comes every few minutes leaves a file of events, three files of logs and rows in several tables. The
lake has what it stored; of the run itself there is nothing left to know after some weeks. Only runs of what this code
location defines of its lake are deleted, and none of which anything still depends: that tells how a partition stands
or what a check says of it, that has not ended, that was retried by a run which is kept, or belongs to a backfill which
goes on.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.dagster_internals import ASSET_JOB
from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.watched import Watched

if TYPE_CHECKING:
    from tv_etl.orchestration.event_history import EventHistory

NAME = "prune_history"
CRON = "50 3 * * *"
# Of each kind in one run of the job; what is left follows in the next.
MOST = 50_000
# And for so long at most.
UNTIL_S = 1_800.0
_PAGE = 200
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_ROOT, _BACKFILL = "dagster/root_run_id", "dagster/backfill"
_BACKFILL_GOES_ON = ("REQUESTED", "CANCELING", "FAILING")


def build_pruning(keep_days: int, defined: Watched, lake: LakeResources, *, is_on: bool) -> dg.ScheduleDefinition:
    """The schedule, with its job, that prunes what was `defined`: every day, if it `is_on` or somebody switches it on.

    `defined` need not have the job itself.
    """
    name = lake.only(NAME)
    prunable = replace(defined, jobs=defined.jobs | {name}, schedules=defined.schedules | {name})
    about = (
        f"Deletes the runs of this lake's assets that are older than {keep_days} days, with their events and logs, but "
        "for those that tell how a partition stands, and the logs of ticks that are not kept any more."
    )

    @dg.op(name=lake.only("delete_old_history"), out=dg.Out(dg.Nothing), tags=BEATS_TAG, description=about)
    def delete_old_history(context: dg.OpExecutionContext) -> None:
        origin = context.run.remote_job_origin
        here = prunable
        if origin is not None:
            repository = origin.repository_origin
            here = replace(
                prunable,
                repository=repository.repository_name,
                location=repository.code_location_origin.location_name,
            )
        with beating(context):
            before = datetime.now(timezone.utc) - timedelta(days=keep_days)
            pruned = prune(context.instance, here, before, until=time.monotonic() + UNTIL_S)
        context.log.info(str(pruned))
        context.add_output_metadata(pruned.metadata)

    @dg.job(name=name, executor_def=dg.in_process_executor, description=about)
    def job() -> None:
        delete_old_history()

    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED,
        description=about,
    )


@dataclass(frozen=True)
class Pruned:
    """What was deleted: runs, events that were of no run, logs of ticks; and what of the runs looked at is kept.

    `is_all` is False where more is left to the next run of the job; `storage` names one that cannot be pruned.
    """

    before: datetime
    runs: int = 0
    kept: int = 0
    events: int = 0
    tick_logs: int = 0
    is_all: bool = True
    storage: str = ""

    def __str__(self) -> str:
        if self.storage:
            return f"nothing deleted: {self.storage} keeps no history in tables that can be read here"
        rest = "" if self.is_all else "; the rest follows in the next run of this job"
        return (
            f"{self.runs:,} runs deleted that ended before {self.before:%Y-%m-%d %H:%M}Z, and {self.kept:,} of that "
            f"time kept, on which something still depends; {self.events:,} older events without a run and the logs of "
            f"{self.tick_logs:,} ticks deleted{rest}"
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """The same as fields."""
        return {
            "before": dg.MetadataValue.timestamp(self.before),
            "runs deleted": self.runs,
            "older runs kept": self.kept,
            "events without a run deleted": self.events,
            "logs of ticks deleted": self.tick_logs,
            "all": self.is_all,
        }


def prune(
    instance: dg.DagsterInstance, defined: Watched, before: datetime, *, until: float, most: int = MOST
) -> Pruned:
    """Delete what of the `defined` is older and not needed, `most` of each kind, `until` a monotonic time.

    The oldest runs of each job go first. Killed at any moment, it leaves nothing that the next call does not find.
    """
    # A run of this job needs it, a definition does not.
    from tv_etl.orchestration.event_history import RUNS_AT_ONCE, EventHistory, delete_tick_logs

    history = EventHistory.of(instance, defined.assets)
    if history is None:
        return Pruned(before, storage=type(instance.event_log_storage).__name__)
    old = _OldRuns(instance, history, defined, before)
    deleted, seen = 0, 0
    for page in old.pages():
        wanted = page.deletable[: most - deleted]
        for start in range(0, len(wanted), RUNS_AT_ONCE):
            if time.monotonic() >= until:
                break
            part = wanted[start : start + RUNS_AT_ONCE]
            history.delete_runs(part)
            deleted += len(part)
        seen += page.kept
        if time.monotonic() >= until or deleted >= most:
            return Pruned(before, deleted, seen, is_all=False)
    events = history.delete_runless(before, most)
    instigators = defined.sensors | defined.schedules
    logs = delete_tick_logs(instance, defined.repository, instigators, most)
    return Pruned(before, deleted, seen, events, logs, is_all=max(events, logs) < most)


@dataclass(frozen=True)
class _Page:
    """Some old runs: which may go, and how many are kept."""

    deletable: Sequence[str]
    kept: int


class _OldRuns:
    """The runs of what was defined that ended before a time."""

    def __init__(
        self, instance: dg.DagsterInstance, history: "EventHistory", defined: Watched, before: datetime
    ) -> None:
        self._instance, self._history, self._defined, self._before = instance, history, defined, before
        # Asked first: what comes later only takes the place of what is needed now.
        self._needed = history.needed_runs()
        self._backfills: dict[str, bool] = {}

    def pages(self) -> Iterator[_Page]:
        """All of them, the oldest of each job first."""
        for job in sorted({*self._defined.jobs, ASSET_JOB}):
            wanted = dg.RunsFilter(job_name=job, statuses=_ENDED, updated_before=self._before)
            records = self._instance.get_run_records(wanted, limit=_PAGE, ascending=True)
            while records:
                # Read before these are deleted, of which the last is the place where it begins.
                following = self._instance.get_run_records(
                    wanted, limit=_PAGE, ascending=True, cursor=records[-1].dagster_run.run_id
                )
                yield self._page(records)
                records = following

    def _page(self, records: Sequence[dg.RunRecord]) -> _Page:
        ours = [each for each in records if self._defined.is_only(each.dagster_run)]
        free = [each.dagster_run for each in ours if self._is_free(each)]
        kept = self._roots_kept({_root_of(run) for run in free}) if free else set[str]()
        rest = [run.run_id for run in free if _root_of(run) not in kept]
        foreign = self._history.runs_of_others(rest)
        return _Page([run_id for run_id in rest if run_id not in foreign], len(ours) - len(rest))

    def _is_free(self, record: dg.RunRecord) -> bool:
        """True if nothing depends on the run, whatever others of its group there are."""
        run = record.dagster_run
        return (
            run.is_finished
            and record.update_timestamp < self._before
            and run.run_id not in self._needed
            and not self._goes_on(run.tags.get(_BACKFILL, ""))
        )

    def _roots_kept(self, roots: set[str]) -> set[str]:
        """The first runs of groups of retries of which one is kept: each needs those before it."""
        members = [
            *self._instance.get_run_records(dg.RunsFilter(run_ids=sorted(roots))),
            *self._instance.get_run_records(dg.RunsFilter(tags={_ROOT: sorted(roots)})),
        ]
        return {_root_of(each.dagster_run) for each in members if not self._is_free(each)}

    def _goes_on(self, backfill_id: str) -> bool:
        if backfill_id and backfill_id not in self._backfills:
            backfill = self._instance.get_backfill(backfill_id)
            self._backfills[backfill_id] = backfill is not None and backfill.status.value in _BACKFILL_GOES_ON
        return self._backfills.get(backfill_id, False)


def _root_of(run: dg.DagsterRun) -> str:
    return run.root_run_id or run.run_id
