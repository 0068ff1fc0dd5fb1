"""`tv-etl fetch --update`: a file of bars brought up to date, joined as a lake joins them.

The file's bars are entered into a lake of their own, which lasts as long as the call: so what is new is asked for as an
increment, a history that a split has re-adjusted is brought to its scale, and what is not proven to join is refused.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tv_etl.cli.files import Put
from tv_etl.cli.options import DEFAULT_BARS
from tv_etl.cli.outcome import Outcome, reason_of
from tv_etl.collect import ask as asks
from tv_etl.collect.answer import Fetch, cut_to_newest
from tv_etl.collect.collection import Failed, Stored, carry_out, plan
from tv_etl.imports import ImportOptions, RefusedFile, import_files
from tv_etl.imports.errors import FormError
from tv_etl.imports.hours import Ask
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings


class UpdateError(Exception):
    """A file cannot be brought up to date; it is as it was."""


def update(
    path: Path,
    series: Sequence[Series],
    settings: SeriesSettings,
    bars: int | None,
    fetch: Fetch,
    ask: Ask,
    put: Put,
    now: float,
) -> Iterator[Outcome]:
    """Put what the file has with what is new, and yield what became of each series: those named, or else all of it.

    A series that it does not have is fetched, so many of its newest `bars`. One that fails is put as it was. `fetch`
    and `ask` ask the server. Raises UpdateError before anything is put.
    """
    with tempfile.TemporaryDirectory(prefix="tv_etl-") as directory:
        lake = BarStore(directory)
        known = _entered(lake, path, settings, ask)
        wanted = list(series) or known
        before = {each: lake.read(*each) for each in known}
        outcomes = {each: Outcome(each, len(before[each])) for each in known}
        outcomes |= {each.series: each for each in _collected(lake, wanted, settings, bars or DEFAULT_BARS, fetch, now)}
        for each, outcome in outcomes.items():
            found = before.get(each) if outcome.error else lake.read(*each)
            if found is not None:
                put(each, found)
            yield outcome


def _entered(lake: BarStore, path: Path, settings: SeriesSettings, ask: Ask) -> list[Series]:
    """The series of the file, each as it is there."""
    entered, options = [], ImportOptions(adjustment=settings.adjustment, session=settings.session)
    for outcome in import_files(lake, [path], options, ask=ask):
        error = outcome.error
        if isinstance(error, FormError):
            right = "tv-etl import says what is wrong with it, or brings it into a lake"
            raise UpdateError(f"{path} is damaged, or not as tv-etl fetch writes it, which --update takes: {right}")
        if error is not None:
            raise UpdateError(f"{path} cannot be read: {error}")
        if not isinstance(outcome, RefusedFile):
            entered.append(outcome.series)
    if not entered:
        raise UpdateError(f"{path} has no bars")
    return entered


def _collected(
    lake: BarStore, wanted: Sequence[Series], settings: SeriesSettings, bars: int, fetch: Fetch, now: float
) -> Iterator[Outcome]:
    found = []
    for planned in plan(lake, ((each, asks.increment(settings, bars + 1)) for each in wanted), now):
        if isinstance(planned, asks.Ask):
            found.append(planned)
        elif isinstance(planned, Failed):
            yield Outcome(planned.series, error=reason_of(planned.error))
    new = {each.request for each in found if each.seen.last is None}
    for outcome in carry_out(lake, found, cut_to_newest(fetch, new, bars)):
        if isinstance(outcome, Stored) and outcome.commit.record.open_seam is not None:
            text = (
                f"its bars are not proven to join those in the file at {outcome.commit.record.open_seam}: fetch it anew"
            )
            yield Outcome(outcome.series, error=text)
        elif isinstance(outcome, Stored):
            yield Outcome(outcome.series, outcome.commit.record.rows)
        elif isinstance(outcome, Failed):
            yield Outcome(outcome.series, error=reason_of(outcome.error))
