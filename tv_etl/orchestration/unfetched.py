"""Bars that are about to be lost, since nothing fetches them: listed, stored once, and not asked for any more.

Whether something fetches a series is told by the lake, not by Dagster: when it was last asked for is on record, whoever
asked. What Dagster knows is whether the schedule is on that should.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import dagster as dg

from tv_etl.lake.coverage import Coverage
from tv_etl.orchestration.checks import LOSS_DEADLINE, NEAR_LOSS
from tv_etl.orchestration.partitions import partition_key
from tv_etl.orchestration.schedules import schedule_name
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import ASSUMED_WINDOW_BARS, Series
from tv_etl.watchlist.model import Group

_SHOWN_SYMBOLS = 3
# Before it counts that nobody asks: a run takes its time. Of narrow intervals there is less of it.
_PATIENCE_S = 3_600.0


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
        if not self.schedule:
            return f"no schedule of {self.group} fetches {self.interval}: give it one in the watchlist"
        if self.is_on:
            return f"schedule {self.schedule} is on: look at its ticks and runs"
        return f"switch on schedule {self.schedule}"

    def __str__(self) -> str:
        names = [each.symbol for each in self.deadlines]
        more = f" and {len(names) - _SHOWN_SYMBOLS:,} more" if len(names) > _SHOWN_SYMBOLS else ""
        return self._text(f"{', '.join(names[:_SHOWN_SYMBOLS])}{more}", self.lost_from)

    def verdicts(self) -> list[dg.AssetCheckEvaluation]:
        """The same of each partition, as its check of the loss deadline says it."""
        return [
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(self.group),
                check_name=LOSS_DEADLINE,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=self._text(series.symbol, deadline),
                metadata={"loss deadline": dg.MetadataValue.timestamp(deadline), "advice": self.advice},
                partition=partition_key(series),
            )
            for series, deadline in self.deadlines.items()
        ]

    def _text(self, names: str, lost_from: datetime) -> str:
        return (
            f"bars of {names} at {self.interval} will be lost from {lost_from:%Y-%m-%d %H:%M}Z on: nothing has fetched "
            f"them since {self.looked_at:%Y-%m-%d %H:%M}Z; {self.advice}"
        )


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
        if deadline is not None and deadline <= utc(each.now) + within and _is_left_alone(each):
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


def _is_left_alone(coverage: Coverage) -> bool:
    """True if bars closed some time ago, and nobody has asked for them since."""
    window_s = ASSUMED_WINDOW_BARS * coverage.record.series.interval.seconds
    return replace(coverage, now=coverage.now - min(_PATIENCE_S, window_s / 4)).is_awaited
