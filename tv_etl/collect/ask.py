"""What to ask the server for: of a series as it is stored, the request that brings what a caller wants; pure.

No request stops beside stored bars. A server that re-adjusts its history says so nowhere: only a bar that is both
stored and answered shows it. So each request reaches into the newest stored bars before its start, and none has an
end: the server sends everything up to now anyway, which leaves an answer one edge to be joined, the older one.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tv_etl.lake.coverage import Coverage
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.symbols import SeriesSettings

# How many of the stored bars before a request are asked for again.
OVERLAP_BARS = 5

_LONGEST_CLOSURE = timedelta(days=14)
_MOST_COMPARED = 1_500  # bars; more than a long trading day of minutes

# What a caller wants of a series as it is stored, at a moment in UTC seconds; None if it is all known.
Want = Callable[[StoredSeries, float], HistoryRequest | None]


@dataclass(frozen=True)
class Ask:
    """A request for a series whose record was as `seen`; of smaller `urgency` is what will be lost sooner."""

    request: HistoryRequest
    seen: SeriesRecord
    urgency: float
    state: object = field(default=None, repr=False, compare=False)  # of the store, to commit the answer by


def ask(stored: StoredSeries, want: Want, now: float) -> Ask | None:
    """What to ask for of a series; None if all that is wanted is known. Raises as `BarStore.read` does."""
    request = want(stored, now)
    if request is None:
        return None
    record = stored.record()
    return Ask(request, record, Coverage(record, now).urgency(), stored.state)


def increment(settings: SeriesSettings, initial_bars: int | None, *, audit_s: float = math.inf) -> Want:
    """What is new since the watermark, and what older is missing within the server's reach.

    Where it is due, an audit takes its place: once in `audit_s` seconds all that is stored is asked for, since what
    changed further back no increment sees. Series take turns.

    Of a new series so many of the newest bars, None for all that the server has. A hole that the server no longer has
    bars for is not asked for again and again.
    """

    def want(stored: StoredSeries, now: float) -> HistoryRequest:
        if stored.last_s is None:
            return HistoryRequest(*stored.series, bars_count=initial_bars, settings=settings)
        record = stored.record()
        if stored.first_s is not None and is_audit_due(record, now, audit_s):
            return HistoryRequest(*stored.series, start=utc(stored.first_s), settings=settings)
        holes = Coverage(record, now).within_reach()
        start_s = min([stored.last_s + 1, *(start for start, _ in holes)])
        return _since(stored, utc(start_s), settings)

    return want


def backfill(settings: SeriesSettings, start: datetime | None, end: datetime | None) -> Want:
    """What nobody has asked for yet of a half-open range; without a start, back to the first bar that there is."""

    def want(stored: StoredSeries, now: float) -> HistoryRequest | None:
        missing = Coverage(stored.record(), now).missing(start, end)
        if not missing:
            return None
        return _since(stored, None if start is None else utc(missing[0][0]), settings)

    return want


def refetch(settings: SeriesSettings, start: datetime | None) -> Want:
    """All from a start on, known or not; without a start, from the first bar that there is."""
    return lambda stored, now: _since(stored, start, settings)


def refetch_stored(settings: SeriesSettings, initial_bars: int | None) -> Want:
    """All from the first stored bar on; of a new series what an increment asks for."""

    def want(stored: StoredSeries, now: float) -> HistoryRequest | None:
        if stored.first_s is None:
            return increment(settings, initial_bars)(stored, now)
        return HistoryRequest(*stored.series, start=utc(stored.first_s), settings=settings)

    return want


def newest(settings: SeriesSettings, bars: int, end: datetime | None = None) -> Want:
    """So many bars before an end or up to now, known or not; only the answer tells where they begin."""
    return lambda stored, now: HistoryRequest(
        *stored.series, end=end, bars_count=bars, settings=settings, up_to_now=True
    )


def unless_stored(want: Want) -> Want:
    """Nothing where any bar is stored."""
    return lambda stored, now: want(stored, now) if stored.last_s is None else None


def is_audit_due(record: SeriesRecord, now: float, audit_s: float) -> bool:
    """True once in so many seconds, at a moment of the series' own, after the last audit."""
    if audit_s == math.inf or not record.audited_at:
        return False
    phase = zlib.crc32(str(record.series).encode()) / 2**32
    return math.floor(now / audit_s - phase) > math.floor(record.audited_at / audit_s - phase)


def reaching_start(record: SeriesRecord, newest: datetime) -> datetime:
    """From when on to ask so as to overlap the stored bars up to `newest`: some bars, and the day before.

    A split or a dividend re-adjusts what was traded before its day; without a bar of the day before, an increment
    later on that day would not see it. Where days follow each other without a break nothing is ever split. Where the
    trading hours are not known, or cannot be read, nothing tells the day before: some bars must do. So must some points
    of a series without a cadence, as far apart as they are; where they are too few to tell, all of them.
    """
    try:
        return _reaching_start(record, newest)
    except OverflowError:  # at an end of the calendar, where no datetime says what lies beyond
        return newest


def _reaching_start(record: SeriesRecord, newest: datetime) -> datetime:
    interval, hours = record.series.interval, record.hours
    distance_s = interval.seconds if record.rhythm is None else max(interval.seconds, record.rhythm.usual_s)
    start = newest - OVERLAP_BARS * timedelta(seconds=distance_s)
    if not record.has_cadence and record.rhythm is None and record.first is not None:
        return min(start, record.first)
    if hours is None or not interval.is_intraday:
        return start
    zone = ZoneInfo(hours.timezone)
    today = newest.astimezone(zone).date()
    spans = hours.spans(newest - _LONGEST_CLOSURE, newest)
    closes = [close for _, close in spans if utc(close).astimezone(zone).date() < today]
    if not closes:
        return start
    day_before = utc(closes[-1] - interval.seconds)
    is_too_far = len(hours.expected(interval, day_before, newest)) > _MOST_COMPARED
    return start if is_too_far else min(start, day_before)


def _since(stored: StoredSeries, start: datetime | None, settings: SeriesSettings) -> HistoryRequest:
    """All from the start on, or from an earlier one that reaches into the newest stored bars before it."""
    newest_s = None if start is None else stored.newest_before(start.timestamp())
    if start is not None and newest_s is not None:
        start = min(start, reaching_start(stored.record(), utc(newest_s)))
    return HistoryRequest(*stored.series, start=start, settings=settings)
