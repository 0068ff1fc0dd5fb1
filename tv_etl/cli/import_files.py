"""What people see of an import: a line for each series and each of its files, what failed, and a summary."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tv_etl.cli.outcome import reason_of
from tv_etl.cli.plain import json_text
from tv_etl.imports import ImportedSeries, ImportOptions, RefusedFile, import_files
from tv_etl.imports.errors import FileImportError
from tv_etl.imports.hours import Ask
from tv_etl.imports.importing import files_in
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl.tradingview.errors import ConnectionFailedError, TradingViewError
from tv_etl.tradingview.history import symbol_facts
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.services import Limits


@contextmanager
def asking(ws_url: str | None, account: Account, proxy: str | None) -> Iterator[Ask]:
    """What asks a server for the facts of a symbol, over one connection, opened by the first question."""
    with ExitStack() as stack:
        clients: list[BlockingOHLCV] = []
        failed: list[TradingViewError] = []

        def ask(symbol: str) -> Mapping[str, str]:
            if failed:  # a person waits: who could not be reached once is not tried again
                raise failed[0]
            if not clients:
                limits = Limits(retry_s=5.0)
                clients.append(stack.enter_context(BlockingOHLCV(ws_url, account=account, limits=limits, proxy=proxy)))
            try:
                return symbol_facts(clients[0].symbol_info(symbol), symbol)
            except ConnectionFailedError as error:
                failed.append(error)
                raise

        yield ask


def run_import(store: BarStore, paths: Iterable[Path], options: ImportOptions, ask: Ask, *, as_json: bool) -> int:
    """Import and report as it goes; return how many files were refused, or some series of them.

    Raises OSError as `import_files` does.
    """
    started = time.monotonic()
    files = files_in(paths)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    refused, missing = set[Path](), dict.fromkeys(options.listed)
    bars = added = series = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        opening = progress.add_task("files opened", total=len(files), failed="")
        storing = progress.add_task("series stored", total=None, failed="")

        def opened(done: int, known: int) -> None:
            progress.update(opening, completed=done)
            progress.update(storing, total=known)

        for outcome in import_files(store, files, options, ask=ask, opened=opened):
            _report(outcome, console, as_json=as_json)
            if isinstance(outcome, RefusedFile):
                refused.add(outcome.path)
            else:
                missing.pop(outcome.series.symbol, None)
                progress.update(storing, advance=1)
                if outcome.commit is None:
                    refused.update(outcome.files)
                else:
                    series, bars = series + 1, bars + sum(outcome.files.values())
                    added += outcome.commit.added
            progress.update(storing, failed=f"{len(refused):,} files refused" if refused else "")
    seconds = time.monotonic() - started
    whole = len(files) - len(refused)
    told = f"{series:,} series, {bars:,} bars, {added:,} of them new, {seconds:.1f} s"
    if missing:
        names = printable(", ".join(missing), 2_000)
        console.print(f"of {len(missing):,} of the {len(options.listed):,} listed symbols there is no file: {names}")
    console.print(f"{whole:,} of {len(files):,} files, {told}")
    return len(refused)


def _report(outcome: RefusedFile | ImportedSeries, console: Console, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_text(_fields(outcome)))
    elif isinstance(outcome, ImportedSeries) and outcome.commit is not None:
        click.echo(printable(f"{outcome.series}: {_told(outcome)}", 1_000))
        for path, count in outcome.files.items():
            click.echo(printable(f"  {path}: {count:,} bars", 1_000))
    if isinstance(outcome, RefusedFile):
        console.print(printable(f"Error: {_reason(outcome.error)}", 2_000))
    elif outcome.error is not None:
        console.print(printable(f"Error: {outcome.series}: {_reason(outcome.error)}", 2_000))
        others = len(outcome.files) - 1
        if others > 0:
            console.print(f"  nothing of its {others + 1:,} files is stored")


def _told(outcome: ImportedSeries) -> str:
    commit = outcome.commit
    assert commit is not None
    told = [f"{commit.added:,} bars added"]
    if commit.changed:
        told.append(f"{commit.changed:,} changed")
    entered = commit.added + commit.changed + commit.forming + commit.quarantined
    known = sum(outcome.files.values()) - entered - (outcome.left_out is not None)
    if known > 0:
        told.append(f"{known:,} known already")
    if commit.forming:
        told.append(f"{commit.forming:,} have not closed")
    if outcome.left_out is not None:
        told.append(f"that of {utc(outcome.left_out):%Y-%m-%d %H:%M}Z left out: it may have been forming (--closed)")
    scaled = {each.scaled for each in commit.record.imported if each.scaled}
    if scaled and commit.added:
        told.append(f"prices {', '.join(sorted(scaled))}")
    if commit.quarantined:
        told.append(f"{commit.quarantined:,} in quarantine")
    return "; ".join([*told, *outcome.notes])


def _fields(outcome: RefusedFile | ImportedSeries) -> dict[str, Any]:
    """An outcome as JSON has it: a line for each."""
    if isinstance(outcome, RefusedFile):
        return {"files": {str(outcome.path): None}, "error": _reason(outcome.error)}
    commit = outcome.commit
    return {
        "symbol": outcome.series.symbol,
        "interval": outcome.series.interval.token,
        "files": {str(path): count for path, count in outcome.files.items()},
        "added": None if commit is None else commit.added,
        "changed": None if commit is None else commit.changed,
        "left_out": None if outcome.left_out is None else utc(outcome.left_out).isoformat(),
        "notes": list(outcome.notes),
        "error": None if outcome.error is None else _reason(outcome.error),
    }


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FileImportError) else reason_of(error)
