"""The sensor `lake_changes`: what the lake holds and Dagster does not know, and what is about to be lost unnoticed.

One for all groups of a lake: they share the budget of a tick, one cursor and one switch. What is known is read from the
instance (see `unreported`); the cursor only saves asking it about what has not changed since all was known.
"""

import json
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from tv_etl.lake.storage.directory import local_directory
from tv_etl.orchestration.dagster_internals import running_schedules
from tv_etl.orchestration.partitions import found_symbols, partition_key, series_of, symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import schedule_name, sensor_status
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

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
_CLOCK_SLACK_S = 900.0
_SHOWN = 20
_SHOWN_TEXT = 4_000  # characters


def build_lake_changes(
    groups: Sequence[Group], resources: LakeResources | None = None, base: str = ""
) -> dg.SensorDefinition:
    """The sensor for the groups of the lake at `base`; it runs by itself where one of them does."""
    lake = resources or LakeResources()
    is_bucket = "://" in base and local_directory(base) is None
    names = ", ".join(group.name for group in groups)
    defaults = {
        schedule_name(group, interval): group.running
        for group in groups
        for interval in group.intervals
        if group.cron(interval) is not None
    }

    @dg.sensor(
        name=lake.key(SENSOR),
        minimum_interval_seconds=BUCKET_INTERVAL_S if is_bucket else INTERVAL_S,
        default_status=sensor_status(next((group for group in groups if group.running), groups[0])),
        description=(
            f"Reports what something else than this Dagster has stored of {names}: tv-etl fetch and rename, a restored "
            "lake, another host. Each becomes a materialization without a run. Tells of bars that will be lost within "
            "a day because nothing fetches them, as a failed loss_deadline. Asks the server for nothing."
        ),
        required_resource_keys=lake.keys("bar_store"),
    )
    def lake_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = _Tick(context, lake.bar_store(context).store(), groups)
        told = tick.report()
        unfetched = tick.find_unfetched(running_schedules(context, defaults))
        tick.warn_of(unfetched)
        return dg.SensorResult(skip_reason=tick.summary(told, unfetched), cursor=tick.next_cursor(told).text)

    return lake_changes


class Cursor(NamedTuple):
    """All that was written of the series `listed` until a time was known to Dagster; when all was looked at last.

    Times are UTC seconds; `listed` is a digest.
    """

    written_until: float = 0.0
    looked_at: float = 0.0
    listed: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """That of a tick before; one that cannot be read costs a whole look."""
        try:
            written_until, looked_at, listed = json.loads(text or "")
            return cls(float(written_until), float(looked_at), str(listed))
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
        members = {group.name: _series_of(group, self._instance) for group in groups}
        self._listed = _digest(members)
        self._is_whole = self._listed != self._before.listed or self._now - self._before.looked_at >= WHOLE_LOOK_S
        self._found = self._register_found(groups, members) if self._is_whole else 0
        self._count = sum(map(len, members.values()))
        self._seen = [look(store, group, members[group.name], self._until) for group in groups]

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
            known = known_states(self._instance, dg.AssetKey(group.name), theirs)
            found = list(dict.fromkeys(series_of(key).symbol for key in theirs if key not in known))
            if found:
                self._instance.add_dynamic_partitions(f"{found_symbols(group).name}", found)
                members[group.name] = _series_of(group, self._instance)
                count += len(found)
        return count

    def report(self) -> "Told":
        """Tell Dagster what it does not know."""
        from tv_etl.orchestration.unreported import Told, report

        total, since = Told(), self._before.written_until - _CLOCK_SLACK_S
        for seen in self._seen:
            candidates = [
                key
                for key, record in seen.records.items()
                if self._is_whole or (record.written is not None and record.written.at > since)
            ]
            most = MOST - total.reported
            told = report(self._instance, self._store, seen, candidates, self._now, most=most, until=self._until)
            total = Told(*(a + b for a, b in zip(total, told, strict=True)))
        return total

    def find_unfetched(self, on: Mapping[str, bool]) -> "list[Unfetched]":
        """What will be lost within a day, and nothing fetches."""
        from tv_etl.orchestration.unfetched import find_unfetched

        return [each for seen in self._seen for each in find_unfetched(seen.group, seen.coverages(self._now), on.get)]

    def warn_of(self, unfetched: "Sequence[Unfetched]") -> None:
        """Say it in the log of the tick, and once on the pages of the partitions."""
        from tv_etl.orchestration.check_targets import attached
        from tv_etl.orchestration.verdicts import Standing

        groups = {seen.group.name: seen.group for seen in self._seen}
        for each in unfetched:
            self._log.warning(printable(str(each), _SHOWN_TEXT))
            verdicts = each.verdicts()
            standing = Standing(self._instance, groups[each.group], [str(verdict.partition) for verdict in verdicts])
            news = standing.news(verdicts, (), is_materialized=False)[:MOST]
            for verdict in attached(self._instance, dg.AssetKey(each.group), news):
                if time.monotonic() < self._until:
                    self._instance.report_runless_asset_event(verdict)

    def next_cursor(self, told: "Told") -> Cursor:
        """The one before, unless all is known."""
        written = [each.written.at for seen in self._seen for each in seen.records.values() if each.written]
        if any(told) or time.monotonic() >= self._until:
            return self._before
        return Cursor(
            max([self._before.written_until, *written]),
            self._now if self._is_whole else self._before.looked_at,
            self._listed,
        )

    def summary(self, told: "Told", unfetched: "Sequence[Unfetched]") -> str:
        """What was seen and told, for the page of the sensor."""
        stored = sum(len(seen.records) for seen in self._seen)
        errors = {f"{seen.group.name} {key}": error for seen in self._seen for key, error in seen.errors.items()}
        shown = ", ".join(f"{key} ({type(error).__name__})" for key, error in list(errors.items())[:_SHOWN])
        parts = [
            f"{stored:,} of {self._count:,} series are stored",
            f"{told.reported:,} reported that Dagster did not know" if any(told) else "Dagster knows them all",
            f"{told.left:,} are left to the next tick" if told.left else "",
            f"{told.held:,} are left to the runs that store them" if told.held else "",
            f"{self._found:,} symbols registered that a scanner had found" if self._found else "",
            f"{len(errors):,} cannot be read: {shown}" if errors else "",
            *map(str, unfetched),
        ]
        return printable("; ".join(filter(None, parts)), _SHOWN_TEXT)


def _series_of(group: Group, instance: dg.DagsterInstance) -> list[Series]:
    symbols = symbols_of(group, instance)
    return [Series(symbol, width) for width in map(Interval.parse, group.intervals) for symbol in symbols]


def _digest(members: Mapping[str, Sequence[Series]]) -> str:
    """Of all that is listed: what is listed anew may have been stored long ago."""
    digest = blake2b(digest_size=8)
    for name, series in members.items():
        digest.update("\n".join([name, *map(partition_key, series)]).encode())
    return digest.hexdigest()
