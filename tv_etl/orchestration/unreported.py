"""What the lake holds and Dagster does not know: stored by a command, a restore, another host, under another name.

The instance is asked what it knows, by the newest materialization of each partition, which names the state of the lake
that it is of. So whatever a killed tick has reported is not reported again, and what it has not is. A run reports what
it stores itself, soon after it has stored it: what a run that has not ended wrote is left to it.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import dagster as dg

from tv_etl.lake.coverage import Coverage
from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
from tv_etl.lake.record import Period, SeriesRecord
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.status import SeriesStatus, is_refused_lately
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.bar_metadata import WRITTEN, facts_in, reported_metadata, state_of
from tv_etl.orchestration.check_targets import materializations
from tv_etl.orchestration.checks import LastCommit, evaluate
from tv_etl.orchestration.partitions import partition_key, series_of
from tv_etl.orchestration.schedules import UNFINISHED, partitions_under_way
from tv_etl.orchestration.verdicts import verdict_text
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

# A run that has not reported what it wrote so long ago never will.
GRACE_S = 600.0
_AT_ONCE = 20
_QUERIED = 500  # partitions, or events


@dataclass
class Seen:
    """Every series of a group that a look has found stored, by partition, and why others could not be looked at.

    And of which nothing is stored, since the server refuses them.
    """

    group: Group
    records: dict[str, SeriesRecord] = field(default_factory=dict)
    refused: dict[str, SeriesRecord] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def coverages(self, now: float) -> Iterator[Coverage]:
        """The series as they are at `now` (UTC seconds)."""
        return (Coverage(each, now) for each in self.records.values())

    def statuses(self, now: float) -> Iterator[SeriesStatus]:
        """The same as `lake_status` tells of these series at `now` (UTC seconds)."""
        told = [each for each in self.refused.values() if is_refused_lately(each, utc(now))]
        yield from (SeriesStatus.of(each, utc(now)) for each in [*self.records.values(), *told])
        yield from (SeriesStatus.unreadable(series_of(key), error) for key, error in self.errors.items())


@dataclass(frozen=True)
class Told:
    """What Dagster was told: so many partitions, and how many are left to a run that is under way, or to later.

    `bad` are those of which a check fails.
    """

    reported: int = 0
    held: int = 0
    left: int = 0
    bad: Sequence[str] = field(default=(), compare=False)

    @property
    def is_all_known(self) -> bool:
        """True if there was nothing to tell."""
        return not (self.reported or self.held or self.left)


def look(store: BarStore, group: Group, series: Iterable[Series], until: float) -> Seen:
    """What is known of each series that is stored, as far as there is time `until` a monotonic time."""

    def seen_of(each: Series) -> tuple[Series, SeriesRecord | Exception]:
        try:
            return each, store.look(each, _record, lists=False)
        except Exception as error:  # whatever it is, it is this series' alone
            return each, error

    seen = Seen(group)
    in_time = (each for each in series if time.monotonic() < until)
    for each, found in overlapped(seen_of, in_time, at_once=LOOKS_AT_ONCE):
        if isinstance(found, Exception):
            seen.errors[partition_key(each)] = found
        elif found.periods:
            seen.records[partition_key(each)] = found
        elif found.refusal is not None:
            seen.refused[partition_key(each)] = found
    return seen


def _record(stored: StoredSeries) -> SeriesRecord:
    """The record; where it was not copied along, with the extent of the files."""
    record = stored.record()
    if record.periods or not stored.periods:
        return record
    described = zip(stored.periods, stored.footers(), strict=True)
    return replace(
        record,
        periods={
            period: Period(each.rows, each.first_s, each.last_s, each.bytes, each.first_s, each.last_s + 1)
            for period, each in described
        },
    )


def report(
    instance: dg.DagsterInstance,
    store: BarStore,
    seen: Seen,
    candidates: Sequence[str],
    now: float,
    *,
    most: int,
    until: float,
) -> Told:
    """Tell Dagster of those candidates that it does not know, `most` of them and `until` a monotonic time at most.

    `now` is in UTC seconds. Raises as the instance does.
    """
    if not candidates:
        return Told()
    group, asset_key = seen.group, dg.AssetKey(seen.group.asset_path)
    # In this order: what a run that has ended before wrote is among the materializations.
    unfinished = {run.run_id for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))}
    busy = partitions_under_way(group, instance) if unfinished else set[str]()
    known = known_states(instance, asset_key, candidates)
    unknown = [key for key in candidates if not _is_known(seen.records[key], known.get(key))]
    free = [
        key for key in unknown if not _is_left_to_run(seen.records[key], key in known, key in busy, unfinished, now)
    ]
    told, bad = 0, list[str]()
    for start in range(0, min(len(free), most), _AT_ONCE):
        part = free[start : min(start + _AT_ONCE, most)]
        if time.monotonic() >= until:
            break
        told += len(part)
        # Seen again: what has changed meanwhile may be reported already.
        again = look(store, group, map(series_of, part), until)
        same = [key for key in part if again.records.get(key) == seen.records[key]]
        for key in same:
            verdicts = evaluate(store, group, seen.records[key], now=now, last=LastCommit())
            instance.report_runless_asset_event(_materialization(asset_key, key, seen.records[key], now, verdicts))
            # Not as runless events: Dagster takes one of each partition and check, and never another.
            bad += [key] if any(not each.passed for each in verdicts) else []
    return Told(told, len(unknown) - len(free), len(free) - told, bad)


class KnownState(NamedTuple):
    """What the newest materialization of a partition says: which state of the series it is of, and when it came."""

    state: str
    at: float


def known_states(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str]) -> Mapping[str, KnownState]:
    """What Dagster knows of each partition; nothing of one that was never materialized."""
    found: dict[str, KnownState] = {}
    for start in range(0, len(keys), _QUERIED):
        latest = instance.get_latest_storage_id_by_partition(
            asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(keys[start : start + _QUERIED])
        )
        for each in materializations(instance, asset_key, list(latest.values())):
            if each.asset_materialization is not None and each.partition_key is not None:
                state = facts_in(each.asset_materialization).get(WRITTEN, "")
                found[each.partition_key] = KnownState(str(state), each.timestamp)
    return found


def _is_known(record: SeriesRecord, known: KnownState | None) -> bool:
    if known is None or record.written is None:
        return known is not None
    if known.state:
        return known.state == state_of(record)
    return known.at >= record.written.at  # it was reported by a version that named no state


def _is_left_to_run(
    record: SeriesRecord, is_materialized: bool, is_busy: bool, unfinished: set[str], now: float
) -> bool:
    """True if a run that has not ended is going to report the series."""
    written = record.written
    is_fresh = written is not None and now - written.at < GRACE_S
    if written is not None and written.by.run in unfinished:
        return is_fresh
    # A run reports what it finds stored, if Dagster has not got it.
    return is_busy and (is_fresh or not is_materialized)


def _materialization(
    asset_key: dg.AssetKey, key: str, record: SeriesRecord, now: float, verdicts: Iterable[dg.AssetCheckEvaluation]
) -> dg.AssetMaterialization:
    written = record.written
    when = "" if written is None else f" by {written.by}, {utc(written.at):%Y-%m-%d %H:%M:%S}Z"
    return dg.AssetMaterialization(
        asset_key,
        partition=key,
        description=f"Found in the lake, stored{when}.",
        metadata=reported_metadata(record, now, verdict_text(verdicts)),
    )
