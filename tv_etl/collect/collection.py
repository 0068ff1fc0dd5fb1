"""Many series collected at once: planned, asked for, stored as their answers arrive; what became of each.

Two trips into the store a series: one snapshot before the request, one transaction after it. What an answer does not
join is asked for further back, until it does. A series that fails is an outcome of its own, whatever it fails of.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from tv_etl.collect.answer import Fetch, answers
from tv_etl.collect.ask import Ask, Want, ask
from tv_etl.collect.day_proof import prove_by_days
from tv_etl.collect.entry import enter_answer
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.overlap import COMMITS_AT_ONCE, LOOKS_AT_ONCE, overlapped
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.seam import Seam
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series


@dataclass(frozen=True)
class SetAside:
    """Damaged files are out of the way now, under these names; the series' own outcome is still to come."""

    series: Series
    names: list[str]


@dataclass(frozen=True)
class Resolved:
    """The newest open seam of a series was resolved; the series' own outcome is still to come."""

    series: Series
    seam: Seam


@dataclass(frozen=True)
class Unchanged:
    """All that is wanted of the series is known; `newest` are as many of its bars as the caller wanted to see."""

    record: SeriesRecord
    newest: Bars

    @property
    def series(self) -> Series:
        return self.record.series


@dataclass(frozen=True)
class Stored:
    """An answer, and the commit that it became."""

    series: Series
    answer: pa.Table
    commit: Commit


@dataclass(frozen=True)
class AskedAgain:
    """An answer could not be stored yet; `ask` is on its way in its place."""

    ask: Ask

    @property
    def series(self) -> Series:
        return self.ask.request.series


@dataclass(frozen=True)
class Failed:
    """Nothing was stored; `answer` is what came, if that was not the failure."""

    series: Series
    error: Exception
    answer: pa.Table | None = None


def plan(
    store: BarStore,
    wants: Iterable[tuple[Series, Want]],
    now: float,
    *,
    newest: int = 0,
    mends: bool = False,
    resolution: Resolution | None = None,
    lists: bool = True,
) -> Iterator[Ask | SetAside | Resolved | Unchanged | Failed]:
    """What to ask for of each series, seen at `now` (UTC seconds).

    If it `mends`, damaged files are set aside first; with a `resolution` the newest open seam is resolved. Unless it
    `lists` them, the last commit is taken at its word as to which files a bucket has: enough for increments.
    """

    def steps_of(wanted: tuple[Series, Want]) -> list[Ask | SetAside | Resolved | Unchanged | Failed]:
        series, want = wanted
        steps: list[Ask | SetAside | Resolved | Unchanged | Failed] = []
        try:
            if mends and (aside := store.set_aside_damaged(*series)):
                steps.append(SetAside(series, aside))
            if resolution is not None:
                steps.append(Resolved(series, _newest_resolved(store.resolve_seam(*series, resolution))))
            steps.append(store.look(series, partial(_planned, want, now, newest), lists=lists))
        except Exception as error:  # whatever it is, it is this series' alone
            steps.append(Failed(series, error))
        return steps

    for steps in overlapped(steps_of, wants, at_once=LOOKS_AT_ONCE):
        yield from steps


def carry_out(
    store: BarStore, asks: Iterable[Ask], fetch: Fetch, *, newest: int = 0
) -> Iterator[Stored | AskedAgain | Resolved | Failed]:
    """Ask for all, what would be lost next first, and store each answer; a commit holds so many of the newest bars.

    A seam that an answer leaves is resolved at once where the daily bars of the symbol prove what came between.
    """
    waiting = sorted(asks, key=lambda each: each.urgency)
    while waiting:
        further: list[Ask] = []
        asked = {each.request: each for each in waiting}

        def enter(
            answer: tuple[HistoryRequest, pa.Table | Exception], asked: dict[HistoryRequest, Ask] = asked
        ) -> tuple[Ask, Stored | AskedAgain | Failed]:
            request, result = answer
            return asked[request], _entered(store, asked[request], result, newest)

        for asked_for, outcome in overlapped(enter, answers(asked, fetch), at_once=COMMITS_AT_ONCE):
            if isinstance(outcome, AskedAgain):
                further.append(outcome.ask)
            if isinstance(outcome, Stored) and _may_be_proven(asked_for, outcome.commit):
                outcome, resolved = _proven_by_days(store, outcome)
                yield from resolved
            yield outcome
        waiting = further


def _may_be_proven(asked: Ask, commit: Commit) -> bool:
    """True where daily bars may tell now what they could not before: at a new seam, and once a day at an old one."""
    last, before = commit.last, asked.seen.last
    is_new_day = last is not None and before is not None and last.date() != before.date()
    return commit.record.open_seam is not None and (commit.seam is not None or is_new_day)


def _proven_by_days(store: BarStore, stored: Stored) -> tuple[Stored, list[Resolved]]:
    try:
        record = prove_by_days(store, stored.series)
    except BarStoreError:  # the daily bars, or another writer, are in the way: the seam is still told
        return stored, []
    if record is None:
        return stored, []
    proven = replace(stored, commit=replace(stored.commit, record=record))
    return proven, [Resolved(stored.series, _newest_resolved(record))]


def _newest_resolved(record: SeriesRecord) -> Seam:
    return max(record.seams, key=lambda seam: seam.resolved_at)


def _planned(want: Want, now: float, newest: int, stored: StoredSeries) -> Ask | Unchanged:
    return ask(stored, want, now) or Unchanged(stored.record(), stored.newest(newest))


def _entered(store: BarStore, asked: Ask, result: "pa.Table | Exception", newest: int) -> Stored | AskedAgain | Failed:
    series = asked.request.series
    if isinstance(result, Exception):
        return Failed(series, result)
    try:
        entered = enter_answer(store, asked, result, newest=newest)
    except Exception as error:  # whatever it is, it is this series' alone
        return Failed(series, error, result)
    if isinstance(entered, Ask):
        return AskedAgain(entered)
    return Stored(series, result, entered)
