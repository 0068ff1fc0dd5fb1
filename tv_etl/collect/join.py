"""Whether an answer joins what is stored, and how much further back one has to ask if it does not; pure."""

from datetime import datetime

from tv_etl.collect.ask import Ask, reaching_start
from tv_etl.lake.bars import Bars
from tv_etl.lake.readjustment import Unproven, agrees_at_start, differs, overlap
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.update import Update
from tv_etl.lake.upsert import find_scale
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.moments import utc


def ask_again(stored: StoredSeries, asked: Ask, update: Update) -> Ask | None:
    """What to ask for in place of what was asked, whose answer cannot be stored yet; None if it can.

    It cannot while it does not join (`joins_from`), or while more of the stored time may tell its scale. Nor can it if
    it differs from the stored bars and those changed since it was asked for: it may be older than what another writer
    has stored. Raises as `BarStore.read` does.
    """
    request, record = asked.request, stored.record()
    sound = update.closed.take(update.closed.is_consistent())
    start = joins_from(stored, sound, request.start)
    if start is None and not (len(sound) and differs(_beside(stored, sound), sound)):
        return None
    if start is None and record != asked.seen:
        return Ask(request, record, asked.urgency, stored.state)
    if start is None and isinstance(find_scale(stored, sound, update.facts), Unproven):
        start = _whole(stored, sound, request.start)
    if start is None:
        return None
    further = HistoryRequest(*stored.series, start=start, settings=request.settings)
    return Ask(further, record, asked.urgency, stored.state)


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
    is_anchored_anew = len(beside) > 0 and not len(overlap(beside, sound)[0])
    if not is_anchored_anew and (not agrees or before_s is None):
        return _whole(stored, sound, asked_from)
    # Of bars anchored anew one that opens before the first stored one may hold it.
    newest_s = stored.first_s if is_anchored_anew or before_s is None else before_s
    start = reaching_start(stored.record(), utc(newest_s))
    return start if start < _reached(sound, asked_from) else None


def _whole(stored: StoredSeries, sound: Bars, asked_from: datetime | None) -> datetime | None:
    """The start of all that is stored; None if that was asked for."""
    first_s = stored.first_s
    return None if first_s is None or utc(first_s) >= _reached(sound, asked_from) else utc(first_s)


def _reached(sound: Bars, asked_from: datetime | None) -> datetime:
    begins = utc(int(sound.times[0]))
    return begins if asked_from is None else min(begins, asked_from)


def _beside(stored: StoredSeries, given: Bars) -> Bars:
    return stored.between(int(given.times[0]), int(given.times[-1]) + 1)
