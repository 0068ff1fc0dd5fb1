"""What the lake holds, as a table for people."""

from datetime import datetime

from rich.table import Table

from tv_etl.bar_store import BarStore
from tv_etl.coverage import completeness


def series_table(store: BarStore) -> Table:
    """One row per stored series: bars, first and last bar (UTC), completeness within its trading hours, gaps."""
    table = Table(title="Series in the lake", box=None, padding=(0, 1, 0, 0))
    for column in ("symbol", "interval"):
        table.add_column(column, no_wrap=True)
    for column in ("bars", "first bar", "last bar", "complete", "gaps"):
        table.add_column(column, justify="right", no_wrap=True)
    for symbol, interval in store.series():
        summary = store.summary(symbol, interval)
        measured = completeness(store, symbol, interval)
        table.add_row(
            symbol,
            interval.token,
            f"{summary.rows:,}",
            _minute(summary.first),
            _minute(summary.last),
            "unknown" if measured is None else f"{measured.ratio:.2%}",
            "" if measured is None else f"{len(measured.gaps):,}",
        )
    return table


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
