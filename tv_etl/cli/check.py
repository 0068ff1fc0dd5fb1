"""`tv-etl check`: every mistake in a watchlist, or what it holds."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tv_etl.tradingview.printable import printable

if TYPE_CHECKING:
    from tv_etl.watchlist.model import Group, Watchlist

_DAY_S = 86_400


@click.command(no_args_is_help=True)
@click.argument("watchlist", type=click.Path(path_type=Path))
def check(watchlist: Path) -> None:
    """Name every mistake in WATCHLIST, as file:line:column: message, or say what it holds: series, requests, schedules.

    Exits 1 if there is a mistake. What a malformed symbol may be meant to be is asked of the symbol search; whether the
    server knows one that is well formed, only a fetch shows.
    """
    is_right, lines = checked(watchlist)
    if is_right:
        text = "\n".join(lines)
    else:
        from tv_etl.cli.suggestions import completed

        text = completed("\n".join(lines))
    click.echo(text)
    sys.exit(0 if is_right else 1)


def checked(file: Path) -> tuple[bool, list[str]]:
    """Whether a watchlist has no mistake, and lines that name each, or say what it holds."""
    from tv_etl.watchlist.model import LossWarning, WatchlistError, load_watchlist

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LossWarning)
        try:
            watchlist = load_watchlist(file)
        except WatchlistError as error:
            return False, [printable(line, 2_000) for line in error.lines]
    losses = [f"note: {each.message}" for each in caught if issubclass(each.category, LossWarning)]
    return True, [*_held(watchlist), *losses]


def _held(watchlist: "Watchlist") -> Iterator[str]:
    for group in watchlist.groups:
        yield from _held_by(group)
    rules, targets = watchlist.alerts.rules, watchlist.alerts.all_targets
    if rules:
        names = ", ".join(target.called for target in targets) or "nobody"
        count = "1 rule" if len(rules) == 1 else f"{len(rules):,} rules"
        yield f"alerts: {count}, judged every {watchlist.alerts.interval_s} s, told to {names}"
    if watchlist.notify is not None:
        told = ", ".join(watchlist.notify.named(targets) or [target.called for target in targets]) or "nobody"
        yield f"notify: {', '.join(watchlist.notify.severities)}, told to {told}"


def _held_by(group: "Group") -> Iterator[str]:
    from tv_etl.tradingview.intervals import Interval
    from tv_etl.watchlist.cron import most_ticks_a_day

    width = max(map(len, [*group.intervals, "checks"]))
    count = len(group.symbols)
    symbols = "1 symbol" if count == 1 else f"{count:,} symbols"
    if group.scanner is not None:
        limit = group.scanner.limit
        count, symbols = limit or 0, f"up to {limit:,} symbols found at a time" if limit else "all symbols found"
    series = f"{count * len(group.intervals):,} series" if count else "a series for each at each"
    yield f"{group.name}: {symbols} at {', '.join(group.intervals)}: {series}"
    for interval in group.intervals:
        cron = group.cron(interval)
        if cron is None:
            yield f"  {interval:{width}}  no schedule: nothing fetches it but people"
            continue
        # A tick asks only for what has closed since.
        asked = min(most_ticks_a_day(cron), -(-_DAY_S // int(Interval.parse(interval).seconds)))
        requests = f"at most {asked * count:,} requests a day" if count else f"at most {asked:,} requests a day of each"
        yield f"  {interval:{width}}  {cron:15}  {requests}"
    if group.check_schedule:
        yield f"  {'checks':{width}}  {group.check_schedule:15}  no requests: what is stored is judged"
