"""Bars that nobody can be asked for again join what is stored: they are brought to its scale, or refused; pure."""

from dataclasses import replace

import numpy as np

from tv_etl.lake.bars import Bars, Mask
from tv_etl.lake.crossing import reached_across
from tv_etl.lake.errors import NotJoinedError
from tv_etl.lake.provenance import are_imported
from tv_etl.lake.readjustment import Readjustment, Unproven, find_readjustment, overlap
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.update import Update
from tv_etl.tradingview.moments import utc


def fitted(stored: StoredSeries, update: Update) -> Update | NotJoinedError:
    """What of an update may be merged: of the stored scale, and no bar in the place of one that the server sent.

    The bars given are all of one scale. What they have in common with the stored ones proves it, or tells the ratio. A
    bar that is stored with the same values stays that of whoever brought it.
    """
    sound = update.closed.take(update.closed.is_consistent())
    if stored.first_s is None or stored.last_s is None or not len(sound):
        return replace(update, is_fitted=True)
    begins, ends = int(sound.times[0]), int(sound.times[-1]) + 1
    beside = stored.between(begins, ends)
    found = _scale(stored, update, sound, beside)
    if isinstance(found, Unproven):
        return NotJoinedError(str(stored.series), utc(begins), utc(ends - 1), found.reason)
    closed, imported = update.closed, update.imported
    if found is not None:
        closed = found.rescale(closed)
        imported = tuple(replace(each, scaled=str(found)) for each in imported)
    stays = ~are_imported(beside.times, stored.record().imported) | _is_the_same(beside, closed)
    stands = np.isin(closed.times, beside.times[stays])
    return replace(update, closed=closed.take(~stands), imported=imported, is_fitted=True)


def _is_the_same(stored: Bars, given: Bars) -> Mask:
    """True for each stored bar that is given with the same values."""
    old, new = overlap(stored, given)
    equal = (old.values == new.values).all(axis=0) & (old.has_volume == new.has_volume)
    return np.isin(stored.times, old.times[equal])


def _scale(stored: StoredSeries, update: Update, sound: Bars, beside: Bars) -> Readjustment | Unproven | None:
    """What brings the bars given to the stored scale; None if they are of it."""
    record = stored.record()
    for seam in reached_across(record.seams, sound):
        return Unproven(f"there is a seam at {utc(seam.at):%Y-%m-%d %H:%M}Z; resolve it first with tv-etl seam")
    if not len(beside):
        first, last = (utc(each) for each in (stored.first_s, stored.last_s) if each is not None)
        return Unproven(
            f"they would have to overlap those, which are of {first:%Y-%m-%d %H:%M}Z to {last:%Y-%m-%d %H:%M}Z"
        )
    facts = {**record.facts, **update.facts}
    found = find_readjustment(
        sound,
        beside,
        highest_older=lambda: float(np.abs(sound.values[:4]).max()),
        is_backadjusted=facts.get("backadjustment") == "true",
        has_dividends=facts.get("adjustment") == "dividends",
    )
    if isinstance(found, Readjustment) and found.until > beside.times[-1]:
        # All bars that both have are of one ratio: what is newer than they are is, too.
        return replace(found, until=int(sound.times[-1]) + 1)
    return found
