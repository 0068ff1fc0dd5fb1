"""What the lake holds, lacks and is about to lose, series by series: for people and for machines."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.table import Table
from rich.text import Text

from tv_etl.bar_store import BarStore, BarStoreError
from tv_etl.coverage import loss_deadline
from tv_etl.series_record import SeriesRecord
from tv_etl.tradingview.intervals import Interval

_NEAR = timedelta(days=1)
_SOON = timedelta(days=2)
_WIDE = 100


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


def status_table(statuses: Iterable[SeriesStatus], now: datetime, width: int = _WIDE) -> Table:
    """One row per series; times are UTC. Below a width of 100 characters first bars and revisions are left out."""
    is_wide = width >= _WIDE
    table = Table(title="Series in the lake", box=None, padding=(0, 1, 0, 0))
    table.add_column("symbol", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    columns = ["bars", "first bar", "last bar", "complete", "gaps", "revised", "next loss"]
    for column in columns if is_wide else [name for name in columns if name not in ("first bar", "revised")]:
        table.add_column(column, justify="right", no_wrap=True)
    for status in statuses:
        record = status.record
        if status.error:
            error = Text(status.error, style="red", overflow="fold")
            table.add_row(status.symbol, status.interval.token, *[""] * (len(table.columns) - 3), error)
            continue
        table.add_row(
            status.symbol,
            status.interval.token,
            f"{record.rows:,}",
            *([_minute(record.first)] if is_wide else []),
            _minute(record.last),
            "unknown" if record.ratio is None else f"{record.ratio:.2%}",
            _gaps_text(record),
            *([f"{record.revisions:,}"] if is_wide else []),
            _deadline_text(status.loss_deadline, now),
        )
    return table


def _gaps_text(record: SeriesRecord) -> str | Text:
    if record.ratio is None:
        return ""
    if not record.missing_sessions:
        return f"{record.gaps:,}"
    plural = "" if record.missing_sessions == 1 else "s"
    return Text(f"{record.gaps:,} ({record.missing_sessions:,} session{plural})", style="yellow")


def _deadline_text(deadline: datetime | None, now: datetime) -> str | Text:
    if deadline is None:
        return "never"
    left = deadline - now
    hours, minutes = divmod(max(int(left.total_seconds()), 0) // 60, 60)
    text = f"in {hours // 24} d {hours % 24} h" if hours >= 48 else f"in {hours} h {minutes:02} min"
    return Text(text, style="bold red" if left < _NEAR else "yellow" if left < _SOON else "")


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
