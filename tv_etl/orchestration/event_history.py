"""What an instance has stored of some assets: which runs tell how their partitions stand, and how the others go.

Dagster reads the state of a partition off the newest events of it: whether it is materialized and with which metadata,
whether a later run that had planned it failed, and why. The verdict of a check is its newest evaluation of a partition.
A run that has any of these is needed; of what is older nothing is read but its own page.

Dagster itself deletes no evaluations with a run, and leaves its file; nothing at all deletes events without a run.
Each step here may be the last of a process that is killed: whatever is half deleted is found again by its run, which
goes last.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import sqlalchemy as sa

from tv_etl.orchestration.dagster_internals import (
    RUNLESS,
    event_files,
    event_storage,
    history_tables,
    tick_log_keys,
    tick_storage,
)

if TYPE_CHECKING:
    from tv_etl.orchestration.dagster_internals import SqlEventLogStorage

_MATERIALIZATION, _OBSERVATION = "ASSET_MATERIALIZATION", "ASSET_OBSERVATION"
_SUCCEEDED, _FAILED = "SUCCEEDED", "FAILED"
# What a statement names at once: SQLite takes no number of them.
_PART = 500
# Deleted in a transaction, for which all others wait who write: of 1,000 series each, for about a second.
RUNS_AT_ONCE = 5


class _Newest(NamedTuple):
    """An event that tells how a partition stands, and its run."""

    id: int
    run_id: str


class EventHistory:
    """The runs and events of an instance that are of these assets and of no others."""

    def __init__(
        self, instance: dg.DagsterInstance, storage: "SqlEventLogStorage", assets: Collection[dg.AssetKey]
    ) -> None:
        self._instance, self._storage = instance, storage
        self._assets = [key.to_string() for key in sorted(assets)]
        self._tables = history_tables()

    @classmethod
    def of(cls, instance: dg.DagsterInstance, assets: Collection[dg.AssetKey]) -> "EventHistory | None":
        """None for an instance that keeps its events elsewhere than in tables of its own."""
        storage = event_storage(instance)
        return None if storage is None else cls(instance, storage, assets)

    def needed_runs(self) -> set[str]:
        """The runs that tell how a partition stands, or what the verdict of a check on it is."""
        checks = self._tables.checks
        with self._storage.index_connection() as db:
            found = {each.run_id for key in self._assets for each in self._newest(db, key)}
            for key in self._assets:
                of_asset = checks.c.asset_key == key
                # While an evaluation is planned the page shows the one before.
                for wanted in (of_asset, of_asset & checks.c.execution_status.in_([_SUCCEEDED, _FAILED])):
                    newest = sa.select(sa.func.max(checks.c.id)).where(wanted)
                    newest = newest.group_by(checks.c.check_name, checks.c.partition)
                    rows = db.execute(sa.select(checks.c.run_id).where(checks.c.id.in_(newest)).distinct())
                    found |= {run_id for (run_id,) in rows}
        return found

    def runs_of_others(self, run_ids: Sequence[str]) -> set[str]:
        """Those of the runs that have events, or evaluations of checks, of other assets."""
        found: set[str] = set()
        with self._storage.index_connection() as db:
            for part in _parts(run_ids):
                for table in (self._tables.events, self._tables.checks):
                    others = table.c.asset_key.is_not(None) & table.c.asset_key.not_in(self._assets)
                    rows = db.execute(sa.select(table.c.run_id).where(table.c.run_id.in_(part), others).distinct())
                    found |= {run_id for (run_id,) in rows}
        return found

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Delete runs with their events, evaluations and logs."""
        events, tags, checks, _ = self._tables
        for part in _parts(run_ids, RUNS_AT_ONCE):
            for run_id in part:
                self._instance.compute_log_manager.delete_logs(prefix=[run_id])
            with self._storage.index_connection() as db:
                of_runs = sa.select(events.c.id).where(events.c.run_id.in_(part), events.c.asset_key.is_not(None))
                db.execute(tags.delete().where(tags.c.event_id.in_(of_runs)))
                db.execute(checks.delete().where(checks.c.run_id.in_(part)))
                db.execute(events.delete().where(events.c.run_id.in_(part)))
            for run_id in part:
                for path in event_files(self._storage, run_id):
                    path.unlink(missing_ok=True)
                self._instance.run_storage.delete_run(run_id)

    def delete_runless(self, before: datetime, most: int) -> int:
        """Delete events without a run whose partitions have newer ones, `most` of them; return how many."""
        with self._storage.index_connection() as db:
            count = self._delete_runless(db, before, most)
        # In SQLite each is in a file of its own as well.
        if count and event_files(self._storage, RUNLESS):
            with self._storage.run_connection(RUNLESS) as db:
                self._delete_runless(db, before, most)
        return count

    def _delete_runless(self, db: sa.Connection, before: datetime, most: int) -> int:
        events, tags, count = self._tables.events, self._tables.tags, 0
        until = before.astimezone(timezone.utc).replace(tzinfo=None)
        for key in self._assets:
            needed = {each.id for each in self._newest(db, key)}
            old = sa.select(events.c.id).where(
                events.c.asset_key == key,
                events.c.run_id == RUNLESS,
                events.c.dagster_event_type.in_([_MATERIALIZATION, _OBSERVATION]),
                events.c.timestamp < until,
            )
            ids = [found for (found,) in db.execute(old.order_by(events.c.id)) if found not in needed][: most - count]
            for part in _parts(ids):
                db.execute(tags.delete().where(tags.c.event_id.in_(part)))
                db.execute(events.delete().where(events.c.id.in_(part)))
            count += len(ids)
        return count

    def _newest(self, db: sa.Connection, key: str) -> Iterator[_Newest]:
        """Of each partition of an asset, and of none, the newest materialization, and what came of each kind since."""
        events = self._tables.events
        newest = sa.select(sa.func.max(events.c.id)).where(events.c.asset_key == key)
        newest = newest.group_by(events.c.dagster_event_type, events.c.partition)
        columns = (events.c.id, events.c.run_id, events.c.dagster_event_type, events.c.partition)
        rows = db.execute(sa.select(*columns).where(events.c.id.in_(newest))).all()
        materialized: dict[Any, int] = {
            row.partition: row.id for row in rows if row.dagster_event_type == _MATERIALIZATION
        }
        for row in rows:
            if row.id >= materialized.get(row.partition, 0):
                yield _Newest(row.id, row.run_id)


def delete_tick_logs(instance: dg.DagsterInstance, repository: str, names: Iterable[str], most: int) -> int:
    """Delete the logs of ticks that are not kept any more, `most` of them; return how many.

    Those of the sensors and schedules of these names. Where logs are not local files, none.
    """
    storage, ticks, count = tick_storage(instance), history_tables().ticks, 0
    if storage is None or not repository:
        return 0
    for name in sorted(names):
        # In this order: a tick is stored before it logs.
        keys = {int(key[-1]): key for key in tick_log_keys(instance, repository, name) if key[-1].isdecimal()}
        known: set[int] = set()
        for part in _parts(sorted(keys)):
            known |= {row[0] for row in storage.execute(sa.select(ticks.c.id).where(ticks.c.id.in_(part)))}
        for tick_id in sorted(keys.keys() - known)[: most - count]:
            instance.compute_log_manager.delete_logs(log_key=keys[tick_id])
            count += 1
    return count


def _parts(values: Sequence[Any], size: int = _PART) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
