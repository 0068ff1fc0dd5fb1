"""Whether an answer joins what is stored, and how much further back one has to ask if it does not; pure."""

from datetime import datetime

import numpy as np

from tv_etl.collect.ask import Ask, reaching_start
from tv_etl.lake.bars import Bars
from tv_etl.lake.readjustment import agrees_at_start, differs
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.moments import utc


def ask_again(stored: StoredSeries, asked: Ask, closed: Bars) -> Ask | None:
    """What to ask for in place of what was asked, whose answer cannot be stored yet; None if it can.

    It cannot while it does not join (`joins_from`). Nor can it if it differs from the stored bars and those changed
    since it was asked for: it may be older than what another writer has stored. Raises as `BarStore.read` does.
    """
    request, record = asked.request, stored.record()
    sound = closed.take(closed.is_consistent())
    start = joins_from(stored, sound, request.start)
    if start is not None:
        return Ask(HistoryRequest(*stored.series, start=start, settings=request.settings), record, asked.urgency)
    if len(sound) and record != asked.seen and differs(_beside(stored, sound), sound):
        return Ask(request, record, asked.urgency)
    return None


def joins_from(stored: StoredSeries, sound: Bars, asked_from: datetime | None) -> datetime | None:
    """Since when bars would have to be given to join what is stored; None if those given do.

    The oldest bar that joins is stored with the same values, or no older bar is stored, or all that there is of the
    stored time was asked for.
    """
    if not len(sound) or stored.first_s is None or sound.times[0] <= stored.first_s:
        return None
    begins, beside = int(sound.times[0]), _beside(stored, sound)
    agrees = agrees_at_start(beside, sound)
    meets = len(beside) > 0 and beside.times[0] == begins
    if agrees and meets:
        return None
    before_s = stored.newest_before(begins)
    if len(beside) and not np.isin(beside.times, sound.times).any():
        # Bars anchored anew meet none of the old ones, and the oldest of those may lie in one that opens before it.
        start = reaching_start(stored.record(), utc(stored.first_s))
    elif before_s is None or not agrees:
        start = utc(stored.first_s)
    else:
        start = reaching_start(stored.record(), utc(before_s))
    reached = utc(begins) if asked_from is None else min(utc(begins), asked_from)
    return start if start < reached else None


def _beside(stored: StoredSeries, given: Bars) -> Bars:
    return stored.between(int(given.times[0]), int(given.times[-1]) + 1)
