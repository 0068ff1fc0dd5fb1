"""The lake at a glance: what `status` knows of every series, counted by group and interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from tv_etl.lake.coverage import Coverage
from tv_etl.lake.status import SeriesStatus
from tv_etl.tradingview.series import Series

# Whoever asks has so long after a bar has closed, unless his schedule takes longer.
PATIENCE_S = 3_600.0
COLUMNS = (
    "series", "never stored", "bars", "bytes", "first bar", "newest bar", "overdue", "seams", "gaps", "refused",
    "damaged", "next loss",
)  # fmt: skip


class Listed(NamedTuple):
    """Where a series is listed; what had closed by `asked_by` (UTC seconds) should have been asked for."""

    group: str
    asked_by: float


@dataclass(frozen=True)
class Glance:
    """How the series of a group stand at an interval; each number but `bars`, `bytes` and `gaps` is one of series.

    `series` are stored, `missing` are listed and neither stored nor refused. Of those that are `overdue` a bar closed
    long ago, and nobody has asked since. What is `damaged` cannot be read, and counts nowhere else.
    """

    group: str = ""
    interval: str = ""
    series: int = 0
    missing: int = 0
    bars: int = 0
    bytes: int = 0
    first: datetime | None = None
    newest: datetime | None = None
    overdue: int = 0
    seams: int = 0
    gaps: int = 0
    refused: int = 0
    damaged: int = 0
    loss_deadline: datetime | None = None

    def __add__(self, other: "Glance") -> "Glance":
        """Both in one, of no group and interval unless they have the same."""
        summed = ("series", "missing", "bars", "bytes", "overdue", "seams", "gaps", "refused", "damaged")
        return Glance(
            self.group if self.group == other.group else "",
            self.interval if self.interval == other.interval else "",
            first=_earliest(self.first, other.first),
            newest=max(filter(None, (self.newest, other.newest)), default=None),
            loss_deadline=_earliest(self.loss_deadline, other.loss_deadline),
            **{name: getattr(self, name) + getattr(other, name) for name in summed},
        )

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        counts = {
            "damaged": self.damaged,
            "with a seam": self.seams,
            "overdue": self.overdue,
            "refused": self.refused,
            "never stored": self.missing,
        }
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    @property
    def values(self) -> dict[str, int | datetime | None]:
        """By column."""
        values = (
            self.series, self.missing, self.bars, self.bytes, self.first, self.newest, self.overdue, self.seams,
            self.gaps, self.refused, self.damaged, self.loss_deadline,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))


def glances(
    statuses: Iterable[SeriesStatus], now: datetime, listed: Mapping[Series, Listed] | None = None
) -> list[Glance]:
    """A glance for each group and interval, in the order in which groups are listed; what no group lists comes last."""
    places, found = dict(listed or {}), dict[tuple[int, float, str], Glance]()
    by_default = Listed("", now.timestamp() - PATIENCE_S)
    order = {group: number for number, group in enumerate(dict.fromkeys(each.group for each in places.values()))}
    known = {each.series: each for each in statuses}
    for series in dict.fromkeys([*places, *known]):
        place = places.get(series, by_default)
        one = _one(known[series], place) if series in known else Glance(missing=1)
        one = replace(one, group=place.group, interval=series.interval.token)
        _, width, token = series.order
        key = (order.get(place.group, len(order)), width, token)
        found[key] = found[key] + one if key in found else one
    return [found[key] for key in sorted(found)]


def total(of: Iterable[Glance]) -> Glance:
    """All of them in one."""
    return sum(of, Glance())


def _one(status: SeriesStatus, place: Listed) -> Glance:
    record = status.record
    if status.error:
        return Glance(damaged=1)
    is_overdue = record.refusal is None and bool(record.asked) and Coverage(record, place.asked_by).is_awaited
    return Glance(
        series=int(bool(record.periods)),
        bars=record.rows,
        bytes=record.stored_bytes,
        first=record.first,
        newest=record.last,
        overdue=int(is_overdue),
        seams=int(record.open_seam is not None),
        gaps=record.gaps if record.ratio is not None else 0,
        refused=int(record.refusal is not None),
        loss_deadline=status.loss_deadline,
    )


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)
