"""All that is known of one series, by time: what was asked for, what is missing, what changed and what is kept out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from tv_etl.lake.bars import PRICES
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.record import HOURS_NOT_TOLD
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series

ASKED, UNASKED, GAP = "asked", "never asked", "gap"
REVISED, READJUSTED, QUARANTINED, SEAM, WITHDRAWN = "revised", "re-adjusted", "quarantined", "seam", "withdrawn"
IMPORTED, UNJUDGED, NO_CADENCE, RENAMED = "imported", "not judged", "no cadence", "renamed"
REFUSED, REMOVED = "refused", "removed"

KINDS = (
    ASKED, UNASKED, GAP, REVISED, READJUSTED, QUARANTINED, SEAM, WITHDRAWN, IMPORTED, UNJUDGED, NO_CADENCE, RENAMED,
    REMOVED,
)  # fmt: skip

_FIELDS = (*PRICES, "volume")


class Entry(NamedTuple):
    """What is known of a stretch of a series: `bars` of them from `start` up to `end` (half-open), None if uncounted.

    `found_at` is when it was found, `text` what it is, for people.
    """

    kind: str
    start: datetime
    end: datetime
    bars: int | None
    text: str
    found_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON has it: times in ISO 8601."""
        return {
            "kind": self.kind,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "bars": self.bars,
            "found_at": None if self.found_at is None else self.found_at.isoformat(),
            "text": self.text,
        }


@dataclass(frozen=True)
class Chronicle:
    """Everything about a series in the order of its time; `error` says why there is nothing."""

    series: Series
    entries: Sequence[Entry] = ()
    error: str = ""


def chronicle(store: BarStore, series: Series, now: datetime) -> Chronicle:
    """What one snapshot tells of a series, stored or not, as seen at a moment."""
    try:
        return Chronicle(series, store.look(series, lambda stored: _entries(stored, now)))
    except BarStoreError as error:
        return Chronicle(series, error=f"{type(error).__name__}: {error}")


def _entries(stored: StoredSeries, now: datetime) -> list[Entry]:
    coverage = Coverage(stored.record(), now.timestamp())
    of_record = [*_spans(coverage), *_gaps(coverage, stored), *_readjusted(coverage), *_seams(coverage)]
    of_record += [
        *_imported(coverage),
        *_renamed(coverage),
        *_removed(coverage),
        *_unjudged(coverage),
        *_refused(coverage),
    ]
    found = [*of_record, *_revised(stored), *_withdrawn(stored), *_kept_out(stored)]
    return sorted(found, key=lambda each: (each.start, each.end, each.kind))


def _spans(coverage: Coverage) -> Iterator[Entry]:
    for start, end in coverage.record.asked:
        yield Entry(ASKED, utc(start), utc(end), None, "the server gave all it had")
    for start, end in coverage.unasked():
        yield Entry(UNASKED, utc(start), utc(end), None, "")


def _gaps(coverage: Coverage, stored: StoredSeries) -> Iterator[Entry]:
    width_s = stored.series.interval.seconds
    for gap in coverage.gaps(stored.between(None, None).times):
        days = f"{gap.sessions:,} whole trading days; " if gap.sessions else ""
        why = "the server had none" if gap.confirmed else "not wholly asked for"
        yield Entry(GAP, gap.first, utc(gap.last.timestamp() + width_s), gap.bars, f"{days}{why}")


def _refused(coverage: Coverage) -> Iterator[Entry]:
    refusal = coverage.record.refusal
    if refusal is not None:
        yield Entry(REFUSED, utc(refusal.since), utc(refusal.at), None, refusal.reason)


def _unjudged(coverage: Coverage) -> Iterator[Entry]:
    record = coverage.record
    if record.hours is not None or record.first is None or record.last is None:
        return
    end = utc(record.last.timestamp() + record.series.interval.seconds)
    if not record.has_cadence:
        rhythm = "" if record.rhythm is None else f"the newest are {record.rhythm} apart as a rule"
        yield Entry(NO_CADENCE, record.first, end, record.rows, rhythm)
        return
    problem = record.hours_problem or HOURS_NOT_TOLD
    yield Entry(UNJUDGED, record.first, end, record.rows, f"no calendar says which bars are missing: {problem}")


def _readjusted(coverage: Coverage) -> Iterator[Entry]:
    record = coverage.record
    first = record.first
    for each in record.readjustments:
        until = utc(each.readjustment.until)
        start = until if first is None else min(first, until)
        yield Entry(READJUSTED, start, until, None, f"prices {each.readjustment}", utc(each.found_at))


def _seams(coverage: Coverage) -> Iterator[Entry]:
    for seam in coverage.record.seams:
        state = f"resolved: {seam.resolved}" if seam.resolved else f"not proven to join: {seam.reason}"
        prices = f"{seam.older[1]:.10g} before, {seam.newer[1]:.10g} after"
        yield Entry(SEAM, utc(seam.older[0]), utc(seam.at), None, f"{prices}; {state}", utc(seam.found_at))


def _imported(coverage: Coverage) -> Iterator[Entry]:
    for each in coverage.record.imported:
        scaled = f"; prices {each.scaled}" if each.scaled else ""
        text = f"from {each.provenance}{scaled}"
        yield Entry(IMPORTED, utc(each.start), utc(each.end), None, text, utc(each.entered_at))


def _renamed(coverage: Coverage) -> Iterator[Entry]:
    for rename in coverage.record.renames:
        yield Entry(RENAMED, utc(rename.at), utc(rename.at), None, f"{rename.old} to {rename.new}")


def _removed(coverage: Coverage) -> Iterator[Entry]:
    for removal in coverage.record.removals:
        yield Entry(REMOVED, utc(removal.at), utc(removal.at), removal.bars, f"by {removal.by}")


def _revised(stored: StoredSeries) -> Iterator[Entry]:
    for row in stored.revisions().to_pylist():
        changes = [
            f"{name} {_number(row[f'old_{name}'])} to {_number(row[name])}"
            for name in _FIELDS
            if row[f"old_{name}"] != row[name]
        ]
        yield _of_bar(REVISED, stored, row, ", ".join(changes))


def _withdrawn(stored: StoredSeries) -> Iterator[Entry]:
    for row in stored.withdrawn().to_pylist():
        where = "out of the dataset: a served bar overlaps it" if row["has_left"] else "still stored"
        back = "" if row["returned_at"] is None else "; served again since"
        yield _of_bar(WITHDRAWN, stored, row, f"the server has it no more; {where}{back}")


def _kept_out(stored: StoredSeries) -> Iterator[Entry]:
    log: pa.Table = stored.quarantine()
    for row in log.to_pylist():
        values = ", ".join(f"{name} {_number(row[name])}" for name in _FIELDS)
        yield _of_bar(QUARANTINED, stored, row, f"low and high do not enclose open and close: {values}")


def _of_bar(kind: str, stored: StoredSeries, row: dict[str, Any], text: str) -> Entry:
    opened: datetime = row["timestamp"]
    end = utc(opened.timestamp() + stored.series.interval.seconds)
    return Entry(kind, utc(opened.timestamp()), end, 1, text, row["found_at"])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.12g}"
