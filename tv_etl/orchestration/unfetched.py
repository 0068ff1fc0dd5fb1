"""Bars that are about to be lost, since nothing fetches them: listed, stored once, and not asked for any more.

Whether something fetches a series is told by the lake, not by Dagster: when it was last asked for is on record, whoever
asked. What Dagster knows is whether the schedule is on that should.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tv_etl.lake.coverage import Coverage
from tv_etl.orchestration.checks import NEAR_LOSS
from tv_etl.orchestration.partitions import partition_key
from tv_etl.orchestration.schedules import schedule_name
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

_SHOWN_SYMBOLS = 3


@dataclass(frozen=True)
class Unfetched:
    """Series of a group at an interval that nothing fetches, and from when on each loses bars, soonest first.

    The last that was asked for of any of them was asked for at `looked_at`. `schedule` should fetch them, empty where
    there is none; `is_on` tells whether it is on, None if that is not known.
    """

    group: str
    interval: str
    deadlines: Mapping[Series, datetime]
    looked_at: datetime
    schedule: str
    is_on: bool | None = None

    @property
    def lost_from(self) -> datetime:
        """When the first bar is lost."""
        return min(self.deadlines.values())

    @property
    def advice(self) -> str:
        """What to do."""
        return _advice(self.group, self.interval, self.schedule, self.is_on)

    def __str__(self) -> str:
        names = [each.symbol for each in self.deadlines]
        more = f" and {len(names) - _SHOWN_SYMBOLS:,} more" if len(names) > _SHOWN_SYMBOLS else ""
        return (
            f"bars of {', '.join(names[:_SHOWN_SYMBOLS])}{more} at {self.interval} will be lost from "
            f"{self.lost_from:%Y-%m-%d %H:%M}Z on: nothing has fetched them since {self.looked_at:%Y-%m-%d %H:%M}Z; "
            f"{self.advice}"
        )

    @property
    def partitions(self) -> list[str]:
        """Their partition keys."""
        return [partition_key(each) for each in self.deadlines]


def why_unfetched(group: Group, coverage: Coverage, is_on: Callable[[str], bool | None] = lambda schedule: None) -> str:
    """Since when nothing has fetched a series of the group, and what to do; empty where something does.

    `is_on` tells of a schedule whether it is on.
    """
    if not coverage.is_left_alone:
        return ""
    record = coverage.record
    interval, looked_at = record.series.interval.token, utc(record.asked[-1][1])
    name = schedule_name(group, interval) if group.cron(interval) is not None else ""
    advice = _advice(group.name, interval, name, is_on(name) if name else None)
    return f"nothing has fetched it since {looked_at:%Y-%m-%d %H:%M}Z; {advice}"


def _advice(group: str, interval: str, schedule: str, is_on: bool | None) -> str:
    if not schedule:
        return f"no schedule of {group} fetches {interval}: give it one in the watchlist"
    if is_on:
        return f"schedule {schedule} is on: look at its ticks and runs"
    return f"switch on schedule {schedule}"


def find_unfetched(
    group: Group,
    coverages: Iterable[Coverage],
    is_on: Callable[[str], bool | None] = lambda schedule: None,
    *,
    within: timedelta = NEAR_LOSS,
) -> list[Unfetched]:
    """What of a group's stored series will be lost `within` some time and is fetched by nothing, by interval.

    `is_on` tells of a schedule whether it is on. What is lost soonest comes first.
    """
    lost: dict[str, list[tuple[datetime, datetime, Series]]] = {}
    for each in coverages:
        deadline = each.loss_deadline()
        if deadline is not None and deadline <= utc(each.now) + within and each.is_left_alone:
            series = each.record.series
            lost.setdefault(series.interval.token, []).append((deadline, utc(each.record.asked[-1][1]), series))
    found = []
    for interval, entries in lost.items():
        entries.sort(key=lambda entry: (entry[0], entry[2].order))
        name = schedule_name(group, interval) if group.cron(interval) is not None else ""
        deadlines = {series: deadline for deadline, _, series in entries}
        looked_at = max(asked for _, asked, _ in entries)
        found.append(Unfetched(group.name, interval, deadlines, looked_at, name, is_on(name) if name else None))
    return sorted(found, key=lambda each: each.lost_from)
