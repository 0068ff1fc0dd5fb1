"""How the series of a symbol move to the name that its instrument has now, at every interval.

    what the new name has enters the old series, as an answer would                enter_renamed(new, old)
    all that the old one has enters the new one, with the rename on record         enter_renamed(old, new)
    the old one leaves the dataset, if all of it has entered                       BarStore.retire

The first step is the proof, and brings both to one scale: what does not join is refused, with nothing stored. Each step
is a commit of its own, and none loses a bar; after a kill between two of them, or in one, moving again finishes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tv_etl.collect.entry import enter_renamed
from tv_etl.lake.bars import Bars, merge
from tv_etl.lake.errors import BarStoreError, NoSeriesError, NotJoinedError, StoreBusyError
from tv_etl.lake.record import Rename, SeriesRecord
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.spans import without
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import SymbolError, TradingViewError
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import check_symbol

_TRIES = 6  # a fetch of the old name may come between, but hardly again and again


@dataclass(frozen=True)
class Moved:
    """A series that has the new name now: all of its bars, and how many of them the old name had and it had not."""

    old: Series
    new: Series
    rename: Rename
    rows: int
    added: int


@dataclass(frozen=True)
class NotMoved:
    """A series that is as it was, under the old name, and why."""

    old: Series
    error: BarStoreError | TradingViewError


def rename_symbol(
    store: BarStore, old: str, new: str, *, clock: Callable[[], float] = time.time
) -> Iterator[Moved | NotMoved]:
    """Move every stored series of a symbol to another name; yields what became of each, nothing if all is moved.

    Raises SymbolError for a name that is no symbol or is the same, NoSeriesError where neither a series nor a rename of
    it is stored, and as `BarStore.series` does.
    """
    check_symbol(old), check_symbol(new)
    if old == new:
        raise SymbolError(new, "is the name that it has; name another one to rename it to")
    stored = store.series()
    mine = [each for each in stored if each.symbol == old]
    _finish(store, stored, old, new)
    known = [each for each in store.renames(old) if each.old == old]
    if not mine and not any(each.new == new for each in known):
        raise NoSeriesError(old, store.base, f"it was renamed: {known[-1]}" if known else "")
    return (_moved(store, each, Series(new, each.interval), clock) for each in mine)


def _finish(store: BarStore, stored: list[Series], old: str, new: str) -> None:
    """Do what a move could not that was killed when the last file of a series was out, or on its way."""
    for left, series in ((Series(old, each.interval), each) for each in stored if each.symbol == new):
        rename = _pending(store.record(*left), store.record(*series), old)
        if rename is not None:
            store.retire(*left, rename, if_entered=lambda stored: not stored.periods)
        store.settle(*left)


def _moved(store: BarStore, old: Series, new: Series, clock: Callable[[], float]) -> Moved | NotMoved:
    try:
        left, kept = store.record(*old), store.record(*new)
        pending, added = _pending(left, kept, old.symbol), 0
        rename = pending or Rename(old.symbol, new.symbol, clock())
        renames = tuple(sorted({*left.renames, rename}, key=lambda each: each.at))
        is_entered = pending is not None
        for _ in range(_TRIES):
            if is_entered and store.retire(*old, rename, if_entered=store.look(new, _known).holds):
                return Moved(old, new, rename, store.record(*new).rows, added)
            _require_no_seam(store, old, new)
            if store.watermark(*new) is not None:
                enter_renamed(store, new, old, is_whole=True)
            added += enter_renamed(store, old, new, renames).added
            is_entered = True
        raise StoreBusyError(store.uri(*old), "other writers brought more while it was moved")
    except (BarStoreError, TradingViewError) as error:
        return NotMoved(old, error)


def _pending(left: SeriesRecord, kept: SeriesRecord, old: str) -> Rename | None:
    """A move that the new series has on record, but not the old one yet: it was killed between."""
    found = [each for each in kept.renames if (each.old, each.new) == (old, kept.series.symbol)]
    return next((each for each in reversed(found) if each not in left.renames), None)


def _require_no_seam(store: BarStore, old: Series, new: Series) -> None:
    for series in (old, new):
        record = store.record(*series)
        seam, first, last = record.open_seam, record.first, record.last
        if seam is not None and first is not None and last is not None:
            raise NotJoinedError(str(series), first, last, f"resolve its open seam first: {seam}")


class _Known(NamedTuple):
    """What a series has that another one may have to give up."""

    bars: Bars
    kept_out: Bars
    record: SeriesRecord

    def holds(self, stored: StoredSeries) -> bool:
        """True if all that is stored of another series is in this one, bar by bar."""
        other = _known(stored)
        bars, kept_out = merge(self.bars, other.bars), merge(self.kept_out, other.kept_out)
        is_whole = not (bars.added or bars.changed or kept_out.added or kept_out.changed)
        return is_whole and not without(other.record.asked, self.record.asked)


def _known(stored: StoredSeries) -> _Known:
    bars, kept_out = stored.between(None, None), Bars.from_stored(stored.quarantine().drop_columns("found_at"))
    # Where a sound version is stored, that is what enters.
    return _Known(bars, kept_out.take(~np.isin(kept_out.times, bars.times)), stored.record())
