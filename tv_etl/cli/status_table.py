"""The status of a lake, and all that is known of one series, as tables on a terminal."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone

from rich.table import Table
from rich.text import Text

from tv_etl.lake.chronicle import (
    ASKED,
    GAP,
    IMPORTED,
    NO_CADENCE,
    QUARANTINED,
    READJUSTED,
    REFUSED,
    REMOVED,
    RENAMED,
    REVISED,
    SEAM,
    UNASKED,
    UNJUDGED,
    WITHDRAWN,
    Chronicle,
)
from tv_etl.lake.glance import Glance, glances, total
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.status import SeriesStatus
from tv_etl.tradingview.printable import printable

_RED_BELOW = timedelta(days=1)
_YELLOW_BELOW = timedelta(days=2)
_FULL_WIDTH = 100
_NAMED_SYMBOLS = 5
_STYLES = {
    ASKED: "",
    UNASKED: "yellow",
    GAP: "yellow",
    REVISED: "cyan",
    READJUSTED: "cyan",
    QUARANTINED: "red",
    SEAM: "bold red",
    WITHDRAWN: "yellow",
    UNJUDGED: "red",
    NO_CADENCE: "",
    RENAMED: "cyan",
    REMOVED: "cyan",
    IMPORTED: "",
    REFUSED: "red",
}


def status_table(statuses: Iterable[SeriesStatus], now: datetime, width: int = _FULL_WIDTH) -> Table:
    """One row per series; times are UTC. Below a width of 100 characters first bars and revisions are left out.

    Trading hours that cannot be read are told below it, each text once.
    """
    statuses, is_wide = list(statuses), width >= _FULL_WIDTH
    table = Table(title="Series in the lake", box=None, padding=(0, 1, 0, 0))
    table.add_column("symbol", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    columns = ["bars", "first bar", "last bar", "complete", "gaps", "revised", "next loss"]
    for column in columns if is_wide else [name for name in columns if name not in ("first bar", "revised")]:
        table.add_column(column, justify="right", no_wrap=True)
    for status in statuses:
        record, symbol = status.record, Text(printable(status.series.symbol))
        if status.error:
            error = Text(printable(status.error, 1_000), style="red", overflow="fold")
            table.add_row(symbol, status.series.interval.token, *[""] * (len(table.columns) - 3), error)
            continue
        table.add_row(
            symbol,
            status.series.interval.token,
            f"{record.rows:,}",
            *([_minute_text(record.first)] if is_wide else []),
            _minute_text(record.last),
            _complete_text(record),
            _gaps_text(record),
            *([f"{record.revisions:,}"] if is_wide else []),
            _deadline_text(status.loss_deadline, now),
        )
    problems = list(_hours_problems(statuses))
    if problems:
        table.caption, table.caption_justify = Text("\n".join(problems), style="red", overflow="fold"), "left"
    return table


def glance_table(statuses: Iterable[SeriesStatus], now: datetime, width: int = _FULL_WIDTH) -> Table:
    """How the series stand, one row per interval and one for all; below a width of 100 characters it has less."""
    rows, is_wide = glances(statuses, now), width >= _FULL_WIDTH
    columns = ["series", "bars", "bytes", "newest bar", "overdue", "seams", "gaps", "refused", "damaged", "next loss"]
    shown = columns if is_wide else [name for name in columns if name not in ("bytes", "damaged", "newest bar")]
    table = Table(title="At a glance", box=None, padding=(0, 1, 0, 0))
    table.add_column("interval", no_wrap=True)
    for column in shown:
        table.add_column(column, justify="right", no_wrap=True)
    for row in [*rows, *([total(rows)] if len(rows) > 1 else [])]:
        table.add_row(row.interval or "all", *(_glance_cell(row, column, now) for column in shown))
    return table


def _glance_cell(row: Glance, column: str, now: datetime) -> str | Text:
    value = row.values[column]
    if column == "next loss":
        return _deadline_text(row.loss_deadline, now)
    if not isinstance(value, int):
        return _minute_text(value)
    is_bad = value > 0 and column in ("overdue", "seams", "refused", "damaged")
    return Text(f"{value:,}", style="red" if is_bad else "")


def _hours_problems(statuses: Iterable[SeriesStatus]) -> Iterator[str]:
    by_text: dict[str, list[SeriesStatus]] = {}
    for status in statuses:
        if status.record.hours_problem:
            by_text.setdefault(status.record.hours_problem, []).append(status)
    for problem, concerned in by_text.items():
        symbols = [printable(symbol) for symbol in dict.fromkeys(each.series.symbol for each in concerned)]
        more = f" and {len(symbols) - _NAMED_SYMBOLS:,} more" if len(symbols) > _NAMED_SYMBOLS else ""
        names = ", ".join(symbols[:_NAMED_SYMBOLS])
        yield f"{names}{more}: no calendar, so gaps are not known: {printable(problem, 1_000)}"


def refusal_lines(statuses: Iterable[SeriesStatus]) -> list[str]:
    """A line for each refusal of the server, with the series that it concerns."""
    by_text: dict[str, list[str]] = {}
    for status in sorted(statuses, key=lambda status: status.series.order):
        if status.record.refusal is not None:
            by_text.setdefault(str(status.record.refusal), []).append(str(status.series))
    return [printable(f"{', '.join(names)}: {text}", 1_000) for text, names in sorted(by_text.items())]


def rename_lines(statuses: Iterable[SeriesStatus]) -> list[str]:
    """A line for each symbol whose instrument has another name now: what it is, and the command that moves it there."""
    names = {status.series.symbol: status.record.renamed_to for status in statuses if status.record.renamed_to}
    return [
        printable(f"{old} is named {new} now: tv-etl rename {old} {new}", 500) for old, new in sorted(names.items())
    ]


def chronicle_table(known: Chronicle, limit: int) -> Table:
    """What is known of one series by time, the newest `limit` entries of it (0: all); times are UTC."""
    shown = known.entries[-limit:] if limit else known.entries
    left_out = len(known.entries) - len(shown)
    caption: str | Text | None = f"{left_out:,} older ones are not shown; --limit 0 shows all" if left_out else None
    if known.error:
        caption = Text(printable(known.error, 1_000), style="red")
    table = Table(title=Text(printable(str(known.series))), caption=caption, box=None, padding=(0, 1, 0, 0))
    table.add_column("what", no_wrap=True)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("to", justify="right", no_wrap=True)
    table.add_column("bars", justify="right", no_wrap=True)
    table.add_column("")
    for entry in shown:
        found = "" if entry.found_at is None else f"; found {_minute_text(entry.found_at)}"
        table.add_row(
            Text(entry.kind, style=_STYLES[entry.kind]),
            "the beginning" if entry.start.year == 1 else _minute_text(entry.start),
            _minute_text(entry.end),
            "" if entry.bars is None else f"{entry.bars:,}",
            Text(printable(f"{entry.text}{found}", 500), overflow="fold"),
        )
    return table


def _complete_text(record: SeriesRecord) -> str | Text:
    if record.open_seam is not None:
        return Text("seam", style="bold red")
    if record.refusal is not None:
        return Text("refused", style="red")
    if record.hours_problem:
        return Text("no hours", style="red")
    if not record.has_cadence:
        return "no cadence"
    return "unknown" if record.ratio is None else f"{record.ratio:.2%}"


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
    return Text(text, style="bold red" if left < _RED_BELOW else "yellow" if left < _YELLOW_BELOW else "")


def _minute_text(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M}"
