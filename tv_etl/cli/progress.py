"""What people see of a fetch: a progress bar on stderr, what failed or fell short, and a summary."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tv_etl.cli.outcome import Outcome
from tv_etl.tradingview.printable import printable

SHOWN_NAMES = 100


def show_progress(outcomes: Iterable[Outcome], series: int, *, has_bar: bool = True, is_quiet: bool = False) -> int:
    """Show each outcome as it arrives, and a summary; return the number of series that failed.

    There is no progress bar unless stderr is a terminal. Without `has_bar`, for when the data go to that terminal,
    there is no summary either; nor where it `is_quiet`.
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    started = time.monotonic()
    failures: dict[str, list[str]] = {}
    bars = done = failed = 0
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("series{task.fields[failed]}, {task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not has_bar or is_quiet or not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=series, failed="", rate=0.0)
        for done, outcome in enumerate(outcomes, start=1):
            name = printable(str(outcome.series))
            bars += outcome.bars
            if outcome.error:
                failed += 1
                failures.setdefault(outcome.error, []).append(name)
            elif outcome.note:
                console.print(Text(f"{name}: {printable(outcome.note)}"))
            rate = done / (time.monotonic() - started)
            progress.update(task, advance=1, failed=f", {failed:,} failed" if failed else "", rate=rate)
    for reason, names in failures.items():
        # What ended the connection failed all of its series: said once.
        more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
        console.print(Text(f"Error: {', '.join(names[:SHOWN_NAMES])}{more}: {printable(reason, 1_000)}"))
    if has_bar and not is_quiet:
        of_all = f"{done:,}" if not failed else f"{done - failed:,} of {done:,}"
        console.print(f"wrote {bars:,} bars of {of_all} series in {time.monotonic() - started:.1f} s")
    return failed
