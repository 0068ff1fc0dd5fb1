"""What people see of a fetch: a progress bar on stderr, what failed or fell short, and a summary."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tv_etl.cli.fetch import Outcome


def show_progress(outcomes: Iterable[Outcome], series: int, *, has_bar: bool = True) -> int:
    """Show each outcome as it arrives; return the number of series that failed.

    There is no progress bar unless stderr is a terminal, nor without `has_bar`: for when the data go to that terminal.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
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
    with Progress(*columns, console=console, transient=True, disable=not (has_bar and console.is_terminal)) as progress:
        task = progress.add_task("", total=series, failed="", rate=0.0)
        for done, outcome in enumerate(outcomes, start=1):
            name = f"{outcome.symbol} {outcome.interval}"
            bars += outcome.bars
            if outcome.error:
                failed += 1
                failures.setdefault(outcome.error, []).append(name)
            elif outcome.note:
                console.print(f"{name}: {outcome.note}", markup=False)
            rate = done / (time.monotonic() - started)
            progress.update(task, advance=1, failed=f", {failed:,} failed" if failed else "", rate=rate)
    for reason, names in failures.items():
        # What ended the connection failed all of its series: said once.
        console.print(f"Error: {', '.join(names)}: {reason}", markup=False)
    if has_bar and console.is_terminal:
        seconds = time.monotonic() - started
        console.print(f"{done - failed:,} of {series:,} series, {bars:,} bars, {seconds:.1f} s", markup=False)
    return failed
