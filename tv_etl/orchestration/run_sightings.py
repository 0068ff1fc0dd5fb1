"""What the runs of an instance tell of troubles: which series failed and why, which jobs did, and what works again.

Read from the events of runs that ended, by a cursor of ours: Dagster's own run status sensors move theirs although the
tick that was to tell dies.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tv_etl.alerts.troubles import Seen, Sighting, Subject
from tv_etl.orchestration.outcomes import run_outcomes
from tv_etl.orchestration.schedules import fetched_partitions
from tv_etl.orchestration.watched import Watched
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Group

MARK = "runs"
# Read at once of each kind of event; what is left follows in the next tick.
_AT_ONCE = 500
# For so long an event may come that has a smaller number than others that were read.
FRESH_S = 120.0
# A failed run that is to be retried is told if nothing has come of that for so long.
_HELD_S = 900.0
_MAX_REASON = 1_000
_PARTITION = "dagster/partition"
_WILL_RETRY, _RETRIED_AS = "dagster/will_retry", "dagster/auto_retry_run_id"
_WRAPPERS = ("Dagster", "SensorExecutionError", "ScheduleExecutionError")
_OF_ASSETS = {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION}
_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


@dataclass
class _Place:
    """How far the events were read, and the failed runs of which it is not known yet whether they are retried."""

    seen: Seen
    held: dict[str, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, mark: str) -> "_Place":
        fields: Any = json.loads(mark)
        held = {run_id: (int(number), float(since)) for run_id, (number, since) in fields["held"].items()}
        return cls(Seen(int(fields["after"]), fields["fresh"]), held)

    def __str__(self) -> str:
        return json.dumps({"after": self.seen.after, "fresh": self.seen.fresh, "held": self.held})


def run_sightings(
    instance: dg.DagsterInstance, watched: Watched, mark: str, open_now: Mapping[Subject, object], now: float
) -> tuple[list[Sighting], str]:
    """What has become of the runs that ended since the mark, and the new mark; without one, reading begins now."""
    newest = instance.event_log_storage.get_maximum_record_id() or 0
    place = _Place.of(mark) if mark else _Place(Seen(newest, {}))
    if newest < place.seen.newest:  # another instance, or one whose newest runs were deleted
        place = _Place(Seen(newest, {}), place.held)
    records = _ended(instance, place.seen.after)
    new = {each.storage_id: each for each in records if place.seen.is_new(each.storage_id, each.run_id)}
    seen = place.seen.with_read([(each.storage_id, each.run_id) for each in records], now, FRESH_S)
    runs = _runs(instance, {each.run_id for each in new.values()} | set(place.held))
    held: dict[str, tuple[int, float]] = {}
    found: list[Sighting] = []
    waiting = dict(place.held) | {each.run_id: (number, now) for number, each in new.items()}
    for run_id, (number, since) in waiting.items():
        run = runs.get(run_id)
        if run is None or not watched.has_run(run):
            continue
        record = new.get(number)
        is_failure = record is None or record.event_type is dg.DagsterEventType.RUN_FAILURE
        if is_failure and run.tags.get(_WILL_RETRY) == "true" and run.tags.get(_RETRIED_AS):
            continue  # what becomes of the retry is told
        if is_failure and _may_be_retried(instance, run) and now - since < _HELD_S:
            held[run_id] = (number, since)
            continue
        told = _Ended(instance, watched, run, number, open_now)
        found += told.failure() if is_failure else told.success()
    return found, str(_Place(seen, held))


def _ended(instance: dg.DagsterInstance, after: int) -> "list[dg.EventLogRecord]":
    """The events of runs that ended, after a number, in order; none beyond what was read of both kinds."""
    found: list[dg.EventLogRecord] = []
    limit: int | None = None
    for kind in _ENDS:
        wanted = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=after)  # type: ignore[arg-type]
        page = instance.fetch_run_status_changes(wanted, limit=_AT_ONCE, ascending=True)
        found += page.records
        if page.has_more:
            last = page.records[-1].storage_id
            limit = last if limit is None else min(limit, last)
    kept = [each for each in found if limit is None or each.storage_id <= limit]
    return sorted(kept, key=lambda each: each.storage_id)


def _runs(instance: dg.DagsterInstance, run_ids: set[str]) -> dict[str, dg.DagsterRun]:
    if not run_ids:
        return {}
    return {run.run_id: run for run in instance.get_runs(filters=dg.RunsFilter(run_ids=sorted(run_ids)))}


def _may_be_retried(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """True while a failed run is to be retried, or it is not known yet whether it is."""
    if not instance.run_retries_enabled:
        return False
    return run.tags.get(_WILL_RETRY, "true") == "true"


@dataclass(frozen=True)
class _Ended:
    """A run that ended, with the number of the event that says so."""

    instance: dg.DagsterInstance
    watched: Watched
    run: dg.DagsterRun
    number: int
    open_now: Mapping[Subject, object]

    @property
    def page(self) -> str:
        return f"runs/{self.run.run_id}"

    def success(self) -> list[Sighting]:
        """All that the run was for is well."""
        found = [self._well(subject) for subject in self._subjects()]
        for group, keys in self._groups():
            found += [self._well(Subject("runs", group.asset_name, key)) for key in keys]
        return found

    def failure(self) -> list[Sighting]:
        """The series that failed and why, and those that did not; else what failed as a whole."""
        failed_step, reason = self._reason()
        found: list[Sighting] = []
        for group, _ in self._groups():
            outcomes = run_outcomes(self.instance, self.run.run_id, dg.AssetKey(group.asset_path))
            good = outcomes.stored | outcomes.unchanged
            bad = {key: each for key, each in outcomes.failed.items() if key not in good}
            found += [self._well(Subject("runs", group.asset_name, key)) for key in sorted(good)]
            found += [
                Sighting(
                    Subject("runs", group.asset_name, key),
                    True,
                    self.number,
                    each.reason,
                    page=self.page,
                    group=group.name,
                )
                for key, each in sorted(bad.items())
            ]
            if bad and failed_step == group.qualified_name:
                # It came to its end, and has said by name what failed.
                return [*found, self._well(Subject("runs", group.asset_name))]
        subject = Subject("runs", self._scope(failed_step), self._partition)
        return [*found, Sighting(subject, True, self.number, reason, page=self.page, group=self._group_of(subject))]

    def _well(self, subject: Subject) -> Sighting:
        return Sighting(subject, False, self.number)

    def _groups(self) -> Iterator[tuple[Group, Sequence[str]]]:
        """The groups that the run fetches something of, and which partitions."""
        for group in self.watched.groups:
            keys = fetched_partitions(self.run, group, self.instance)
            if keys is not None:
                yield group, keys

    def _scope(self, failed_step: str) -> str:
        """What a failure is of: the asset whose step failed, else that of the run, else its job."""
        assets = self._assets()
        known = sorted(self.watched.assets) if assets or self._events(_OF_ASSETS, limit=1) else []
        by_name = {key.to_python_identifier(): key for key in (*known, *assets)} | dict(self.watched.steps)
        named = by_name.get(failed_step)
        if named is None and len(assets) == 1:
            named = assets[0]
        return self._job if named is None else named.to_user_string()

    @property
    def _job(self) -> str:
        """The run's job; of what the web interface starts, which has none of its own, all that it was for."""
        if not self.run.job_name.startswith("__"):
            return f"job {self.run.job_name}"
        checks = sorted(
            {f"{key.asset_key.to_user_string()}: {key.name}" for key in self.run.asset_check_selection or ()}
        )
        return ", ".join([key.to_user_string() for key in self._assets()] or checks)

    def _assets(self) -> list[dg.AssetKey]:
        """The assets that the run was started for, as far as it says so itself."""
        if self.run.asset_selection:
            return sorted(self.run.asset_selection)
        return [dg.AssetKey(group.asset_path) for group, _ in self._groups()]

    @property
    def _partition(self) -> str:
        """The partition that the run was for, of what does not tell each by itself."""
        return "" if any(True for _ in self._groups()) else self.run.tags.get(_PARTITION, "")

    def _subjects(self) -> list[Subject]:
        """All that the run has done, but for the series of groups."""
        stored = {(self._job, self._partition), *((key.to_user_string(), self._partition) for key in self._assets())}
        if not any(True for _ in self._groups()):
            for record in self._events({dg.DagsterEventType.ASSET_MATERIALIZATION}):
                if record.asset_key is not None:
                    stored.add((record.asset_key.to_user_string(), record.partition_key or ""))
        return [Subject("runs", scope, name) for scope, each in sorted(stored) for name in dict.fromkeys(("", each))]

    def _events(self, of_type: set[dg.DagsterEventType], limit: int | None = None) -> "Sequence[dg.EventLogRecord]":
        return self.instance.get_records_for_run(self.run.run_id, of_type=of_type, limit=limit).records

    def _group_of(self, subject: Subject) -> str:
        return next((group.name for group in self.watched.groups if group.asset_name == subject.scope), "")

    def _reason(self) -> tuple[str, str]:
        """The step that failed first, if one did, and why: in the words of its Failure, or by the type of its error."""
        for record in self._events({dg.DagsterEventType.RUN_FAILURE}):
            event = record.event_log_entry.dagster_event
            data: Any = event.event_specific_data if event is not None else None
            first = getattr(data, "first_step_failure_event", None)
            if first is not None:
                return str(first.step_key), _step_reason(first.event_specific_data)
            if getattr(data, "error", None) is not None:
                return "", error_reason(data.error)
            return "", printable((event.message if event else None) or "it ended without a word", _MAX_REASON)
        return "", "it ended without a word"


def _step_reason(data: Any) -> str:
    described = getattr(data.user_failure_data, "description", None) if data.user_failure_data is not None else None
    if described:
        return printable(" ".join(described.split()), _MAX_REASON)
    return error_reason(data.error) if data.error is not None else "its step failed"


def error_reason(error: Any) -> str:
    """The error that was raised, with its type, in a line: not what Dagster wrapped it in."""
    while error.cause is not None and (error.cls_name or "").startswith(_WRAPPERS):
        error = error.cause
    message, name = " ".join(error.message.split()), error.cls_name or ""
    head, _, rest = message.partition(": ")
    # Python puts the module of an error before its name.
    if rest and head.rpartition(".")[2] == name:
        message = rest
    return printable(f"{name}: {message}" if name and message != name else message, _MAX_REASON)
