"""The sensor `lake_changes`: what the lake holds and Dagster does not know, and what is about to be lost unnoticed.

And how the lake stands at a glance, by what a tick has seen anyway. One for all groups of a lake: they share the budget
of a tick, one cursor and one switch. What is known is read from the instance (see `unreported`); the cursor only saves
asking it about what has not changed since all was known.
"""

import json
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from tv_etl.lake.storage.directory import local_directory
from tv_etl.orchestration.dagster_internals import JobsSensor, running_schedules
from tv_etl.orchestration.expectations import what_starts
from tv_etl.orchestration.lake_asset import digest, glance_metadata, listed, series_in
from tv_etl.orchestration.partitions import found_symbols, partition_key, series_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import checks_job_name, schedule_defaults, sensor_status
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import counted, described, printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group, Watchlist

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore
    from tv_etl.orchestration.unfetched import Unfetched
    from tv_etl.orchestration.unreported import Told

SENSOR = "lake_changes"
# In an object store each look at a series is a request that somebody pays for.
INTERVAL_S, BUCKET_INTERVAL_S = 60, 300
# Reported in a tick; what is left follows in the next.
MOST = 500
# Of Dagster's 60 s for a tick: one that it has given up must not report beside the next.
UNTIL_S = 40.0
# So often all is compared with what Dagster knows, whatever the clocks of those who write say.
WHOLE_LOOK_S = 3_600.0
# So often the lake at a glance is reported, if it has changed.
SHOWN_EVERY_S = 600.0
# How far the clocks of those who write may be behind.
_CLOCK_SLACK_S = 900.0
_SHOWN = 20
_SHOWN_TEXT = 4_000  # characters


def build_lake_changes(
    watchlist: Watchlist,
    groups: Sequence[Group],
    resources: LakeResources | None = None,
    base: str = "",
    asset_key: dg.AssetKey | None = None,
) -> dg.SensorDefinition:
    """The sensor for the watchlist's `groups` as they are defined, of the lake at `base`, whose asset has the key.

    It runs by itself where one of them does.
    """
    lake = resources or LakeResources()
    shown_as = asset_key or lake.lake_key
    is_bucket = "://" in base and local_directory(base) is None
    names, by_name = ", ".join(group.name for group in groups), {group.name: group for group in groups}
    defaults = schedule_defaults(groups)

    def lake_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = _Tick(context, lake.bar_store(context).store(), groups)
        if tick.is_first:
            for line in what_starts(watchlist):
                context.log.info(line)
        told = tick.report()
        tick.show(shown_as)
        unfetched = tick.find_unfetched(running_schedules(context, defaults))
        context.log.info(tick.summary(told))
        for each in unfetched:
            context.log.warning(printable(str(each), _SHOWN_TEXT))
        reasons = [tick.summary(told), *map(str, unfetched)]
        requests = [*tick.checks_of_bad(told), *(_check_request(by_name[each.group], each) for each in unfetched)]
        return dg.SensorResult(
            # One that is made again, of the same state or on the same day, Dagster knows by its key.
            run_requests=requests,
            skip_reason=None if requests else printable("; ".join(reasons), _SHOWN_TEXT),
            cursor=tick.next_cursor(told).text,
        )

    return JobsSensor(
        evaluation_fn=lake_changes,
        jobs=[checks_job_name(group) for group in groups],
        name=lake.only(SENSOR),
        minimum_interval_seconds=BUCKET_INTERVAL_S if is_bucket else INTERVAL_S,
        default_status=sensor_status(next((group for group in groups if group.running), groups[0])),
        description=(
            f"Reports what something else than this Dagster has stored of {names}: tv-etl fetch and rename, a restored "
            "lake, another host. Each becomes a materialization without a run. Tells of bars that will be lost within "
            "a day because nothing fetches them, as a failed loss_deadline. Keeps the asset "
            f"{shown_as.to_user_string()} up to date. Asks the server for nothing."
        ),
        required_resource_keys=lake.keys("bar_store"),
    )


def _check_request(group: Group, unfetched: "Unfetched") -> dg.RunRequest:
    """A run that puts it onto the pages of the partitions, once a day."""
    name, day = f"{unfetched.group}_{unfetched.interval}", f"{unfetched.lost_from:%Y-%m-%d}"
    return _checks(group, unfetched.partitions, f"unfetched {name} {day}")


def _checks(group: Group, partitions: Sequence[str], run_key: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        job_name=checks_job_name(group),
        run_config={"ops": {group.qualified_name: {"config": {"only": list(partitions)}}}},
    )


class Cursor(NamedTuple):
    """When Dagster knew all that was written of the series `listed`, and when all of it was compared last.

    And what was `shown` of the lake at a glance, and when it was looked at for that. Times are UTC seconds; `listed`
    and `shown` are digests.
    """

    known_at: float = 0.0
    compared_at: float = 0.0
    listed: str = ""
    shown_at: float = 0.0
    shown: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """That of a tick before; one that cannot be read costs a whole look."""
        try:
            known_at, compared_at, listed, shown_at, shown = json.loads(text or "")
            return cls(float(known_at), float(compared_at), str(listed), float(shown_at), str(shown))
        except (ValueError, TypeError):
            return cls()

    @property
    def text(self) -> str:
        return json.dumps(self)


class _Tick:
    """One evaluation: every listed series is looked at, once."""

    def __init__(self, context: dg.SensorEvaluationContext, store: "BarStore", groups: Sequence[Group]) -> None:
        from tv_etl.orchestration.unreported import look

        self._until, self._now = time.monotonic() + UNTIL_S, time.time()
        self._instance, self._log, self._store = context.instance, context.log, store
        self._before = Cursor.read(context.cursor)
        self._members = members = {group.name: series_in(group, self._instance) for group in groups}
        # What is listed anew may have been stored long ago.
        self._listed = _digest({name: list(map(partition_key, series)) for name, series in members.items()})
        self._is_whole = self._listed != self._before.listed or self._now - self._before.compared_at >= WHOLE_LOOK_S
        self._found = self._register_found(groups, members) if self._is_whole else 0
        self._count = sum(map(len, members.values()))
        self._seen = [look(store, group, members[group.name], self._until) for group in groups]

    @property
    def is_first(self) -> bool:
        """True of the first tick, and of the first one with other series."""
        return self._listed != self._before.listed

    def _register_found(self, groups: Sequence[Group], members: dict[str, list[Series]]) -> int:
        """Register the symbols that a scanner has found for a group, by what its runs stored; return how many.

        Of those that this instance has never heard of: what was materialized and is no partition somebody took off.
        """
        from tv_etl.orchestration.unreported import known_states, look

        count, listed = 0, {series for each in members.values() for series in each}
        for group in (group for group in groups if group.scanner is not None):
            stored = [each for each in self._store.series() if each.interval.token in group.intervals]
            records = look(self._store, group, [each for each in stored if each not in listed], self._until).records
            theirs = [key for key, each in records.items() if each.written and each.written.by.asset == group.name]
            known = known_states(self._instance, dg.AssetKey(group.asset_path), theirs)
            found = list(dict.fromkeys(series_of(key).symbol for key in theirs if key not in known))
            if found:
                self._instance.add_dynamic_partitions(f"{found_symbols(group).name}", found)
                members[group.name] = series_in(group, self._instance)
                count += len(found)
        return count

    def report(self) -> "list[Told]":
        """Tell Dagster what it does not know, group by group."""
        from tv_etl.orchestration.unreported import report

        told: list[Told] = []
        since = self._before.known_at - _CLOCK_SLACK_S
        for seen in self._seen:
            candidates = [
                key
                for key, record in seen.records.items()
                if self._is_whole or (record.written is not None and record.written.at > since)
            ]
            most = MOST - sum(each.reported for each in told)
            told.append(report(self._instance, self._store, seen, candidates, self._now, most=most, until=self._until))
        return told

    def checks_of_bad(self, told: "Sequence[Told]") -> Iterator[dg.RunRequest]:
        """Runs that put what is bad onto the pages of the partitions that were told."""
        for seen, each in zip(self._seen, told, strict=True):
            if each.bad:
                states = ((key, str(seen.records[key].written)) for key in each.bad)
                run_key = f"found {seen.group.name} {_digest({key: state for key, state in states})}"
                yield _checks(seen.group, each.bad, run_key)

    def show(self, asset_key: dg.AssetKey) -> None:
        """Report the lake at a glance, if it is time to and it could be looked through."""
        if self._now - self._before.shown_at < SHOWN_EVERY_S:
            return
        from tv_etl.lake.errors import BarStoreError
        from tv_etl.lake.glance import glances
        from tv_etl.orchestration.unreported import look

        now = utc(self._now)
        places = listed(((seen.group, self._members[seen.group.name]) for seen in self._seen), now)
        try:
            others = look(self._store, self._seen[0].group, self._others(places), self._until)
        except BarStoreError as error:
            self._log.warning(f"the lake cannot be shown at a glance: {described(error)}")
            return
        if time.monotonic() >= self._until:
            return
        rows = glances([each for seen in (*self._seen, others) for each in seen.statuses(self._now)], now, places)
        shown = digest(rows, now)
        if shown != self._before.shown:
            self._instance.report_runless_asset_event(dg.AssetObservation(asset_key, metadata=glance_metadata(rows)))
        self._before = self._before._replace(shown_at=self._now, shown=shown)

    def _others(self, listed: Container[Series]) -> list[Series]:
        """What the lake has, stored or refused, of no group."""
        return [each for each in (*self._store.series(), *self._store.refused()) if each not in listed]

    def find_unfetched(self, on: Mapping[str, bool]) -> "list[Unfetched]":
        """What will be lost within a day, and nothing fetches."""
        from tv_etl.orchestration.unfetched import find_unfetched

        return [each for seen in self._seen for each in find_unfetched(seen.group, seen.coverages(self._now), on.get)]

    def next_cursor(self, told: "Sequence[Told]") -> Cursor:
        """The one before, unless all is known."""
        if not all(each.is_all_known for each in told) or time.monotonic() >= self._until:
            return self._before
        compared_at = self._now if self._is_whole else self._before.compared_at
        return self._before._replace(known_at=self._now, compared_at=compared_at, listed=self._listed)

    def summary(self, told: "Sequence[Told]") -> str:
        """What was seen and told, for the page of the sensor."""
        stored = sum(len(seen.records) for seen in self._seen)
        errors = {f"{seen.group.name} {key}": error for seen in self._seen for key, error in seen.errors.items()}
        shown = ", ".join(f"{key} ({type(error).__name__})" for key, error in list(errors.items())[:_SHOWN])
        reported, held, left = (sum(getattr(each, name) for each in told) for name in ("reported", "held", "left"))
        is_all_known = all(each.is_all_known for each in told)
        parts = [
            f"{stored:,} of {self._count:,} series are stored",
            "Dagster knows them all" if is_all_known else f"{reported:,} reported that Dagster did not know",
            f"{left:,} are left to the next tick" if left else "",
            f"{held:,} are left to the runs that store them" if held else "",
            f"{counted(self._found, 'symbol')} registered that a scanner had found" if self._found else "",
            f"{len(errors):,} cannot be read: {shown}" if errors else "",
        ]
        return printable("; ".join(filter(None, parts)), _SHOWN_TEXT)


def _digest(of: Mapping[str, object]) -> str:
    digest = blake2b(digest_size=8)
    for name, each in of.items():
        digest.update(f"{name}\n{each}\n".encode())
    return digest.hexdigest()
