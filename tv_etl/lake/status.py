"""What the lake holds, lacks and is about to lose, series by series."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tv_etl.lake.coverage import loss_deadline
from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval


@dataclass(frozen=True)
class SeriesStatus:
    """One stored series as its record has it; `error` says why there is none."""

    symbol: str
    interval: Interval
    record: SeriesRecord
    loss_deadline: datetime | None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON has it: times in ISO 8601, unknown numbers null."""
        record = self.record
        return {
            "symbol": self.symbol,
            "interval": self.interval.token,
            "bars": record.rows,
            "bytes": record.stored_bytes,
            "first": _iso(record.first),
            "last": _iso(record.last),
            "completeness": record.ratio,
            "gaps": None if record.ratio is None else record.gaps,
            "missing_sessions": None if record.ratio is None else record.missing_sessions,
            "revisions": record.revisions,
            "readjustments": len(record.readjustments),
            "quarantined": record.quarantined,
            "loss_deadline": _iso(self.loss_deadline),
            "error": self.error or None,
        }


def lake_status(store: BarStore, now: datetime) -> list[SeriesStatus]:
    """The status of every stored series, damaged ones first, then the soonest loss deadline. Raises StoreReadError."""
    found = [_status(store, symbol, interval, now) for symbol, interval in store.series()]
    return sorted(found, key=_urgency)


def _status(store: BarStore, symbol: str, interval: Interval, now: datetime) -> SeriesStatus:
    try:
        record = store.record(symbol, interval)
    except BarStoreError as error:
        return SeriesStatus(symbol, interval, SeriesRecord(), None, f"{type(error).__name__}: {error}")
    deadline = loss_deadline(record, interval, record.trading_hours(interval), now.timestamp())
    return SeriesStatus(symbol, interval, record, deadline)


def _urgency(status: SeriesStatus) -> tuple[bool, float, str, int]:
    deadline = float("inf") if status.loss_deadline is None else status.loss_deadline.timestamp()
    return not status.error, deadline, status.symbol, status.interval.seconds


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
