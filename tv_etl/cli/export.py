"""`tv-etl export`: stored bars to files, which series of a lake and how much of each."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from tv_etl.cli.errors import printable_lines, shown
from tv_etl.cli.options import (
    chosen_range,
    days_option,
    end_option,
    format_option,
    lake_option,
    parse_time,
    start_option,
)
from tv_etl.cli.symbol_arguments import listed_symbols, symbol_arguments
from tv_etl.lake.errors import BarStoreError, NoSeriesError
from tv_etl.tradingview.errors import TradingViewError

if TYPE_CHECKING:
    from tv_etl.cli.files import FileFormat, Put
    from tv_etl.cli.outcome import Outcome
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.intervals import Interval


@click.command()
@symbol_arguments
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    help="Width of the bars: 1m 5m 1h 4h 1d 1w 1mo ...; may be given several times.  [default: all that are stored]",
)
@days_option
@start_option
@end_option
@click.option(
    "--quiet", "-q", is_flag=True, help="No progress and no summary; what fails or is not stored is still told."
)
@format_option
@click.option(
    "--out",
    metavar="FILE|DIR|-",
    default="-",
    help="One file for all series; a directory (existing, or with a trailing /) for a file per series; - for stdout."
    "  [default: -]",
)
@lake_option()
def export(
    symbols: tuple[str, ...],
    lists: tuple[str, ...],
    intervals: tuple[str, ...],
    days: float | None,
    start: str | None,
    end: str | None,
    quiet: bool,
    form: "FileFormat | None",
    out: str,
    lake: str,
) -> None:
    """Write stored bars of a lake to files or a pipe, in the form of `tv-etl fetch`; no server is asked.

    Of no SYMBOL, all of the lake. A series that is not stored is named on stderr, the others are still written, and
    the exit code is 1. Files appear complete or not at all.
    """
    from tv_etl.cli.files import destination
    from tv_etl.cli.progress import show_progress
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.intervals import Interval

    try:
        widths = list(dict.fromkeys(map(Interval.parse, intervals)))
        _, since = chosen_range(None, days, parse_time("--start", start), False, datetime.now(timezone.utc))
        until = parse_time("--end", end)
        wanted = listed_symbols(symbols, lists) if symbols or lists else ()
        target = destination(out, form)
        exporting = SeriesExport(BarStore.existing(lake), wanted, widths, since, until)
    except BarStoreError as error:
        raise click.ClickException(shown(error)) from None
    except (TradingViewError, ValueError) as error:
        raise click.UsageError(shown(error)) from None
    for each in exporting.missing:
        click.echo(f"Error: {shown(each)}", err=True)
    if not wanted and not exporting.series:
        raise click.ClickException(printable_lines(f"{lake}: nothing is stored{' at that interval' if widths else ''}"))
    with target as put:
        assert put is not None
        has_bar = not (out == "-" and sys.stdout.isatty())
        failed = show_progress(exporting.run(put), len(exporting), has_bar=has_bar, is_quiet=quiet)
    sys.exit(1 if failed or exporting.missing else 0)


class SeriesExport:
    """The stored bars of symbols at intervals, with `start` <= open < `end`; no symbols are all, as no intervals are.

    Raises StoreReadError, and ValueError that names the options of the command line.
    """

    def __init__(
        self,
        store: "BarStore",
        symbols: Sequence[str] = (),
        intervals: "Sequence[Interval]" = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        from tv_etl.tradingview.series import Series

        if start is not None and end is not None and start >= end:
            raise ValueError(f"--start {start.isoformat()} is not before --end {end.isoformat()}")
        self.series: list[Series] = []
        self.missing: list[NoSeriesError] = []
        self._store = store
        self._start = start
        self._end = end
        stored: dict[str, list[Interval]] = {}
        for symbol, interval in store.series():
            stored.setdefault(symbol, []).append(interval)
        for symbol in symbols or stored:
            widths = stored.get(symbol, [])
            self.series += [Series(symbol, each) for each in intervals or widths if each in widths]
            if not widths:
                self.missing.append(NoSeriesError(symbol, store.base, meant(symbol, stored)))
            elif symbols:
                known = f"of that symbol it has {' '.join(each.token for each in widths)}"
                lacking = [Series(symbol, each) for each in intervals if each not in widths]
                self.missing += [NoSeriesError(str(each), store.base, known) for each in lacking]

    def __len__(self) -> int:
        return len(self.series)

    def run(self, put: "Put") -> "Iterator[Outcome]":
        """Pass the bars of each series on, and yield what became of it. Raises as `put` does."""
        from tv_etl.cli.outcome import Outcome, reason_of

        for series in self.series:
            try:
                bars = self._store.read(*series, self._start, self._end)
            except BarStoreError as error:
                yield Outcome(series, error=reason_of(error))
                continue
            put(series, bars)
            yield Outcome(series, len(bars), "" if len(bars) else "the lake has no bars in the requested range")


def meant(symbol: str, stored: Iterable[str]) -> str:
    """What of the lake somebody may have meant by a symbol that is not in it, to be told."""
    wanted = symbol.upper()
    near = [each for each in stored if wanted in (each.upper(), each.upper().rpartition(":")[2])]
    return f"did you mean {' or '.join(near[:3])}?" if near else ""
