"""What the lake holds, lacks and is about to lose, series by series."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tv_etl.lake.coverage import Coverage
from tv_etl.lake.errors import BarStoreError, NoSeriesError
from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

# What is on the watchlist is asked for again each day; of a series that nobody asks for any more nothing is told.
REFUSED_LATELY = timedelta(days=3)


@dataclass(frozen=True)
class SeriesStatus:
    """One series as its record has it, stored or refused by the server; `error` says why there is no record."""

    record: SeriesRecord
    loss_deadline: datetime | None
    error: str = ""

    @classmethod
    def of(cls, record: SeriesRecord, now: datetime) -> "SeriesStatus":
        """That of a series whose record can be read."""
        return cls(record, Coverage(record, now.timestamp()).loss_deadline())

    @classmethod
    def unreadable(cls, series: Series, error: Exception) -> "SeriesStatus":
        """That of a series whose record cannot be read."""
        return cls(SeriesRecord(series), None, f"{type(error).__name__}: {error}")

    @property
    def series(self) -> Series:
        return self.record.series

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON has it: times in ISO 8601, unknown numbers null."""
        record = self.record
        return {
            "symbol": self.series.symbol,
            "interval": self.series.interval.token,
            "bars": record.rows,
            "bytes": record.stored_bytes,
            "first": _iso(record.first),
            "last": _iso(record.last),
            "has_cadence": record.has_cadence,
            "completeness": record.ratio,
            "gaps": None if record.ratio is None else record.gaps,
            "missing_sessions": None if record.ratio is None else record.missing_sessions,
            "revisions": record.revisions,
            "readjustments": len(record.readjustments),
            "quarantined": record.quarantined,
            "withdrawn": record.withdrawn,
            "unreadable_hours": record.hours_problem or None,
            "renamed_to": record.renamed_to or None,
            "seam": None if record.open_seam is None else str(record.open_seam),
            "refused": None if record.refusal is None else str(record.refusal),
            "loss_deadline": _iso(self.loss_deadline),
            "error": self.error or None,
        }


def lake_status(
    store: BarStore, now: datetime, symbol: str | None = None, interval: Interval | None = None
) -> list[SeriesStatus]:
    """The status of every stored series, or of those of a symbol, or of an interval.

    And of those of which nothing is stored, since the server refuses them, in answer to somebody who asked lately.
    Damaged ones come first, then the soonest loss deadline. Raises StoreReadError, and where a symbol is named
    NoSeriesError if it is not stored, ValueError if it is at other intervals.
    """
    stored = [*store.series(), *_refused_lately(store, now)]
    mine = [each for each in stored if symbol in (None, each.symbol)]
    wanted = [each for each in mine if interval in (None, each.interval)]
    if symbol is not None and not wanted:
        tokens = ", ".join(each.interval.token for each in mine)
        if not mine:
            gone = [str(each) for each in store.renames(symbol) if each.old == symbol]
            raise NoSeriesError(symbol, store.base, f"it was renamed: {gone[-1]}" if gone else "")
        raise ValueError(f"{symbol!r} is not stored at {interval}, but at {tokens}")
    found = overlapped(lambda each: _status(store, each, now), wanted, at_once=LOOKS_AT_ONCE)
    return sorted(found, key=_urgency)


def is_refused_lately(record: SeriesRecord, now: datetime) -> bool:
    """True if the server refused the series in answer to somebody who asked lately."""
    return record.refusal is not None and record.refusal.at > (now - REFUSED_LATELY).timestamp()


def _refused_lately(store: BarStore, now: datetime) -> list[Series]:
    return [series for series in store.refused() if is_refused_lately(store.record(*series), now)]


def _status(store: BarStore, series: Series, now: datetime) -> SeriesStatus:
    try:
        record = store.record(*series)
    except BarStoreError as error:
        return SeriesStatus.unreadable(series, error)
    return SeriesStatus.of(record, now)


def _urgency(status: SeriesStatus) -> tuple[bool, float, tuple[str, float, str]]:
    deadline = float("inf") if status.loss_deadline is None else status.loss_deadline.timestamp()
    return not status.error, deadline, status.series.order


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
