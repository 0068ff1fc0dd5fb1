"""`tv-etl fetch --dry-run`: what a fetch will ask for and what that takes, as a table; nothing is sent."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tv_etl.cli.outcome import reason_of
from tv_etl.cli.series_fetch import SeriesFetch
from tv_etl.collect.ask import Ask
from tv_etl.collect.collection import Failed, Unchanged, plan
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.estimate import Estimate, duration_s, estimate
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS, HistoryRequest
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series

_LARGEST_WINDOW_BARS = 40_000  # that any plan has (PROTOCOL.md §9)


@dataclass(frozen=True)
class Planned:
    """What will be asked for of a series: nothing without a `request`; `record` is what a lake knows of it."""

    series: Series
    request: HistoryRequest | None = None
    record: SeriesRecord | None = None
    error: str = ""

    def estimate(self, now_s: float, *, is_anonymous: bool) -> Estimate | None:
        """What the request takes; an account's window is not known before the server has shown it."""
        if self.request is None:
            return None
        window = None
        if self.record is not None and self.record.window is not None:
            window = self.record.window.bars
        elif self.series.interval.is_intraday:
            window = ASSUMED_WINDOW_BARS if is_anonymous else _LARGEST_WINDOW_BARS
        hours = None if self.record is None else self.record.hours
        return estimate(self.request, now_s=now_s, hours=hours, window=window)

    @property
    def has_hours(self) -> bool:
        return self.record is not None and self.record.hours is not None


def show_plan(fetching: SeriesFetch, lake: BarStore | None, *, is_anonymous: bool) -> int:
    """Show what a fetch would ask for; return the number of series that cannot be asked for."""
    plans = list(_planned(fetching, lake))
    table, summary = _plan_table([each for each in plans if not each.error], is_anonymous=is_anonymous)
    Console().print(table)
    click.echo(summary)
    failed = [each for each in plans if each.error]
    for each in failed:
        click.echo(printable(f"Error: {each.series}: {each.error}", 1_000), err=True)
    return len(failed)


def _planned(fetching: SeriesFetch, lake: BarStore | None) -> Iterator[Planned]:
    """What a fetch would ask for, each series as the lake has it."""
    if lake is None:
        for series in fetching.series:
            try:
                yield Planned(series, fetching.options.request(series))
            except Exception as error:  # whatever it is, it is this series' alone
                yield Planned(series, error=reason_of(error))
        return
    for step in plan(lake, ((series, fetching.options.want()) for series in fetching.series), time.time()):
        if isinstance(step, Ask):
            yield Planned(step.request.series, step.request, step.seen)
        elif isinstance(step, Failed):
            yield Planned(step.series, error=reason_of(step.error))
        elif isinstance(step, Unchanged):
            yield Planned(step.series, record=step.record)


def _plan_table(plans: Sequence[Planned], *, is_anonymous: bool) -> tuple[Table, str]:
    """A row for each series, and a line for all of them."""
    now_s, told = time.time(), list[Estimate]()
    table = Table(title="What will be asked for", box=None, padding=(0, 1, 0, 0))
    for title in ("symbol", "interval"):
        table.add_column(title, no_wrap=True)
    for title in ("wanted", "pages", "bars sent", "size"):
        table.add_column(title, justify="right", no_wrap=title != "wanted")
    for each in plans:
        name = (Text(printable(each.series.symbol)), each.series.interval.token)
        found = each.estimate(now_s, is_anonymous=is_anonymous)
        if each.request is None or found is None:
            table.add_row(*name, "nothing", "0", "0", "")
        else:
            told.append(found)
            table.add_row(*name, _wanted(each.request), f"{found.pages:,}", f"{found.bars:,}", _size(found.bytes))
    pages, bars, size = (sum(getattr(each, name) for each in told) for name in ("pages", "bars", "bytes"))
    knows_hours = all(each.has_hours for each in plans if each.request is not None)
    bound = "" if knows_hours else "; at most: markets whose hours are not known are taken never to close"
    text = (
        f"{len(told):,} requests, {pages:,} pages, {bars:,} bars, {_size(size)}, about {duration_s(told):.0f} s{bound}"
    )
    return table, text


def _wanted(request: HistoryRequest) -> str:
    if request.bars_count is not None:
        before = "" if request.end is None else f" before {request.end:%Y-%m-%d %H:%M}"
        return f"newest {request.bars_count:,}{before}"
    return "all" if request.start is None else f"from {request.start:%Y-%m-%d %H:%M}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"
