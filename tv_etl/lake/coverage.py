"""What a stored series holds, what it lacks, and what it is about to lose.

Three kinds of absence are told apart: the market was closed (no bar is expected), the server was asked and had none
(confirmed empty), and nobody ever asked. The server only has the last bars of a series, its window; the loss deadline
is when the oldest bar that could still be fetched, and is not stored, leaves it.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.spans import Span, without
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.trading_hours import GapRun, Seconds, TradingHours, gap_runs

# A bar is looked for so long after its close and the feed's delay: clocks differ by a little, and what a day's bar
# closes at is settled by an auction after the session.
GRACE_S = 5
DAY_GRACE_S = 900

_LONGEST_CLOSURE = timedelta(days=14)
_MOST_COMPARED = 1_500  # bars; more than a long trading day of minutes
_LATEST = int(datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp())
_CENTURY_S = 100 * 366 * 86_400
_ALWAYS = TradingHours("24x7", "Etc/UTC")


@dataclass(frozen=True)
class Gap:
    """Bars that should follow each other and are all missing.

    `first` and `last` are their opens. `sessions` are whole trading days among them: one missing minute usually means
    that nobody traded, a missing session does not. `confirmed` says that the server was asked for all of them.
    """

    first: datetime
    last: datetime
    bars: int
    sessions: int
    confirmed: bool


@dataclass(frozen=True)
class Closing:
    """Open and close of the newest bar that has closed by a moment, and when the next one closes (UTC seconds).

    None where no bar of the past or the coming weeks is expected.
    """

    newest: int | None
    closed_at: int | None
    next_close: int | None


@dataclass(frozen=True)
class Coverage:
    """One series as it stands at `now` (UTC seconds); made by `coverage`.

    `expected` and `stored` are opens between the first and the last stored bar; without known trading hours nothing is
    expected.
    """

    symbol: str
    interval: Interval
    record: SeriesRecord
    hours: TradingHours | None
    expected: Seconds
    stored: Seconds
    now: float

    @property
    def is_known(self) -> bool:
        """True if the trading hours tell which bars there must be."""
        return self.hours is not None and self.expected.size > 0

    @property
    def missing(self) -> int:
        """How many expected bars are not stored."""
        return sum(run.bars for run in self._runs())

    @property
    def ratio(self) -> float:
        """Share of the expected bars that is stored; 1 where none is expected."""
        return 1.0 - self.missing / self.expected.size if self.expected.size else 1.0

    def gaps(self) -> list[Gap]:
        """Runs of expected bars that are not stored, oldest first."""
        asked = self.record.asked
        return [
            Gap(
                first=utc(run.first),
                last=utc(run.last),
                bars=run.bars,
                sessions=0 if self.hours is None else self.hours.whole_sessions(self.interval, run),
                confirmed=not without([(run.first, run.last + 1)], asked),
            )
            for run in self._runs()
        ]

    def confirmed_empty(self) -> list[GapRun]:
        """Runs of expected bars for which the server was asked, and which it had not."""
        inside = np.zeros(self.expected.size, np.bool_)
        for start, end in self.record.asked:
            inside[np.searchsorted(self.expected, start) : np.searchsorted(self.expected, end)] = True
        return gap_runs(self.expected[inside], self.stored)

    def never_asked(self) -> list[Span]:
        """Spans of UTC seconds after the first that was asked for, up to now, for which nobody asked.

        Only those in which a bar is expected to have closed.
        """
        return unasked(self.record, self.interval, self.hours, self.now)

    def loss_deadline(self) -> datetime | None:
        """When the oldest bar that could still be fetched, and is not stored, leaves the server's window."""
        return loss_deadline(self.record, self.interval, self.hours, self.now)

    def _runs(self) -> list[GapRun]:
        return gap_runs(self.expected, self.stored)


def coverage(store: BarStore, symbol: str, interval: str | Interval, now: datetime) -> Coverage:
    """Compare a stored series with its trading hours. Raises as `BarStore.read` does."""
    width = Interval.parse(interval)
    record = store.record(symbol, width)
    hours = record.trading_hours(width)
    stored = _seconds(store.read(symbol, width))
    expected: Seconds = np.empty(0, np.int64)
    if hours is not None and stored.size:
        try:
            expected = hours.expected_between(width, int(stored[0]), int(stored[-1]) + 1)
        except IntervalError:
            hours = None
    return Coverage(symbol, width, record, hours, expected, stored, now.timestamp())


def unasked(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> list[Span]:
    """`Coverage.never_asked` from the record alone."""
    if not record.asked:
        return []
    holes = without([(record.asked[0][0], closed_until(interval, now))], record.asked)
    return [hole for hole in holes if _is_expected(interval, hours, hole)]


def missing_spans(
    record: SeriesRecord, interval: Interval, start: datetime | None, end: datetime | None, now: float
) -> list[Span]:
    """What of a half-open range has to be asked for: nobody did, and bars are expected to have closed in it.

    Without a start the range begins with time, without an end it ends with what has closed by now.
    """
    first = -_LATEST if start is None else math.floor(start.timestamp())
    after = closed_until(interval, now)
    if end is not None:
        after = min(after, math.ceil(end.timestamp()))
    hours = record.trading_hours(interval)
    return [hole for hole in without([(first, after)], record.asked) if _is_expected(interval, hours, hole)]


def closed_until(interval: Interval, now: float) -> int:
    """The first open of which no bar can have closed by now."""
    return math.floor(now - interval.longest_s) + 1


def within_reach(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> list[Span]:
    """`unasked` without the holes of which the server has no bars any more."""
    oldest = -_LATEST if record.window is None else record.window.start
    return [hole for hole in unasked(record, interval, hours, now) if hole[1] > oldest]


def promised_by(record: SeriesRecord, interval: Interval, now: float) -> int:
    """Bars that closed by this moment can be fetched by now: the feed's delay and some grace are over."""
    return math.floor(now - record.feed_delay_s) - (GRACE_S if interval.is_intraday else DAY_GRACE_S)


def closing(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> Closing:
    """The newest bar that can be fetched by now; the next close is when the next one can be."""
    moment = promised_by(record, interval, now)
    found = _closing(interval, hours, moment)
    if found.next_close is None:
        return found
    return Closing(found.newest, found.closed_at, found.next_close + math.floor(now) - moment)


def is_due(record: SeriesRecord, interval: Interval, now: float) -> bool:
    """True if the series has bars to fetch: it was never asked for, or bars have closed that nobody asked for yet.

    What the server has no bars of any more is not due.
    """
    if not record.asked:
        return True
    hours = record.trading_hours(interval)
    newest = closing(record, interval, hours, now).newest
    if newest is not None and not is_known(record, newest):
        return True
    return bool(within_reach(record, interval, hours, promised_by(record, interval, now)))


def is_known(record: SeriesRecord, moment: int) -> bool:
    """True if the bar that opens at the moment is stored or older than one that is, or if the server had none."""
    last = record.last
    is_stored = last is not None and moment <= last.timestamp()
    return is_stored or any(start <= moment < end for start, end in record.asked)


def lost(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> tuple[list[Span], bool]:
    """Spans nobody asked for in time, and whether the server itself has shown that it has no bars of them any more.

    Without its word the window is taken to hold as many bars as trading hours expect: a series that is not traded
    all the time reaches further back, and may still have them.
    """
    holes = unasked(record, interval, hours, now)
    if not holes:
        return [], False
    if record.window is not None:
        gone = [(start, min(end, record.window.start)) for start, end in holes if start < record.window.start]
        gone = [hole for hole in gone if _is_expected(interval, hours, hole)]
        if gone:
            return gone, True
    if record.window is None and not interval.is_intraday:
        return [], False
    served_from = _open_back(interval, hours, now, ASSUMED_WINDOW_BARS if record.window is None else record.window.bars)
    leaving = [(start, min(end, served_from)) for start, end in holes if start < served_from]
    return [hole for hole in leaving if _is_expected(interval, hours, hole)], False


def loss_deadline(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> datetime | None:
    """`Coverage.loss_deadline` from the record alone; None if nothing was asked for yet, or nothing is ever lost.

    Bars of a day and more stay, unless the server has shown a window for them. An instrument that nobody trades every
    minute keeps its bars longer than told here. The time before the first bar ever asked for is not wanted, hence not
    lost.
    """
    if not record.asked or (record.window is None and not interval.is_intraday):
        return None
    window = record.window.bars if record.window is not None else ASSUMED_WINDOW_BARS
    served_from = _open_back(interval, hours, now, window)
    lacking = [*unasked(record, interval, hours, now), (record.asked[-1][1], _LATEST)]
    for start, end in lacking:
        bars = _opens_from(interval, hours, max(start, served_from), window)
        if bars is not None and bars[0] < end:
            return utc(bars[1])
    return None


def urgency(record: SeriesRecord, interval: Interval, hours: TradingHours | None, now: float) -> float:
    """Smaller for what is to be fetched first: its loss deadline, or where bars are leaving already, their time."""
    leaving, is_gone = lost(record, interval, hours, now)
    if leaving and not is_gone:
        return float(leaving[0][0])
    deadline = loss_deadline(record, interval, hours, now)
    return math.inf if deadline is None else deadline.timestamp()


def overlap_start(store: BarStore, symbol: str, interval: Interval, watermark: datetime, bars: int) -> datetime:
    """From when on an increment asks for stored bars again: that many before the watermark, and the day before.

    A split or a dividend re-adjusts what was traded before its day; without a bar of the day before, an increment
    later on that day would not see it. Where days follow each other without a break nothing is ever split.
    """
    start = watermark - bars * timedelta(seconds=interval.seconds)
    hours = store.record(symbol, interval).trading_hours(interval)
    if hours is None or not interval.is_intraday:
        return start
    zone = ZoneInfo(hours.timezone)
    today = watermark.astimezone(zone).date()
    spans = hours.spans(watermark - _LONGEST_CLOSURE, watermark)
    closes = [close for _, close in spans if utc(close).astimezone(zone).date() < today]
    if not closes:
        return start
    day_before = utc(closes[-1] - interval.seconds)
    is_too_far = len(hours.expected(interval, day_before, watermark)) > _MOST_COMPARED
    return start if is_too_far else min(start, day_before)


# Many series of a lake trade at the same hours.
@lru_cache(maxsize=1024)
def _closing(interval: Interval, hours: TradingHours | None, moment: int) -> Closing:
    """`closing` of a feed without delay and grace."""
    farthest_s = math.ceil(_LONGEST_CLOSURE.total_seconds()) + 2 * interval.seconds
    reach_s = min(max(8 * interval.seconds, 86_400), farthest_s)
    while True:
        opens, closes = _bars(interval, hours, moment - reach_s, moment + reach_s)
        closed = int(np.searchsorted(closes, moment, "right"))
        if 0 < closed < closes.size or reach_s >= farthest_s:
            break
        reach_s = min(reach_s * 4, farthest_s)
    next_close = int(closes[closed]) if closed < closes.size else None
    if not closed:
        return Closing(None, None, next_close)
    return Closing(int(opens[closed - 1]), int(closes[closed - 1]), next_close)


def _bars(interval: Interval, hours: TradingHours | None, start: int, end: int) -> tuple[Seconds, Seconds]:
    """Opens expected in the span, and when those bars close."""
    try:
        closes = (hours or _ALWAYS).closes_between(interval, start, end)
    except IntervalError:
        opens = _expected(interval, hours, start, end)
        return opens, opens + interval.seconds
    return _expected(interval, hours, start, end), closes


@lru_cache(maxsize=1024)
def _is_expected(interval: Interval, hours: TradingHours | None, span: Span) -> bool:
    """True if any bar is expected to open in the span."""
    start, end = span
    longest_s = max(_LONGEST_CLOSURE.total_seconds(), 2 * interval.seconds)
    return end - start > longest_s or bool(_expected(interval, hours, start, end).size)


def _expected(interval: Interval, hours: TradingHours | None, start: int, end: int) -> Seconds:
    """Opens expected in the span; where the hours are not known, as if the market never closed."""
    if start >= end:
        return np.empty(0, np.int64)
    try:
        return (hours or _ALWAYS).expected_between(interval, start, end)
    except IntervalError:
        return np.arange(start, end, interval.seconds, dtype=np.int64)


# Many series of a lake trade at the same hours and were asked up to the same moment.
@lru_cache(maxsize=1024)
def _opens_from(interval: Interval, hours: TradingHours | None, start: int, count: int) -> tuple[int, int] | None:
    """The first open expected from a time on, and the one `count` bars later; None if that is a hundred years off."""
    reach_s = 2 * count * interval.seconds
    while reach_s < _CENTURY_S:
        opens = _expected(interval, hours, start, start + reach_s)
        if opens.size > count:
            return int(opens[0]), int(opens[count])
        reach_s *= 3
    return None


@lru_cache(maxsize=1024)
def _open_back(interval: Interval, hours: TradingHours | None, now: float, count: int) -> int:
    """The open of the bar `count` bars back, the forming one included; the beginning of time if there are fewer."""
    until = math.floor(now) + 1
    reach_s = 2 * count * interval.seconds
    while reach_s < _CENTURY_S:
        opens = _expected(interval, hours, until - reach_s, until)
        if opens.size >= count:
            return int(opens[-count])
        reach_s *= 3
    return -_LATEST


def _seconds(bars: pa.Table) -> Seconds:
    seconds = pc.divide(bars["timestamp"].cast(pa.int64()), 1_000_000)
    return np.asarray(seconds.combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int64)
