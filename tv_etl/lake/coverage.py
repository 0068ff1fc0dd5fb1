"""What a stored series holds, what it lacks, and what it is about to lose.

Three kinds of absence are told apart: the market was closed (no bar is expected), the server was asked and had none
(confirmed empty), and nobody ever asked. The server only has the last bars of a series, its window; the loss deadline
is when the oldest bar that could still be fetched, and is not stored, leaves it.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache

import numpy as np

from tv_etl.lake.bars import Times
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.spans import Span, without
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.trading_hours import Seconds, TradingHours, gap_runs

# A bar is looked for so long after its close and the feed's delay: clocks differ by a little, and what a day's bar
# closes at is settled by an auction after the session.
GRACE_S = 5
DAY_GRACE_S = 900

_LONGEST_CLOSURE = timedelta(days=14)
_LATEST = int(datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp())
_DAY_S = 86_400
_PATIENCE_S = 3_600  # a run takes its time
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
class Lost:
    """Spans that nobody asked for in time; `is_certain` where the server itself has shown that it has them no more."""

    spans: list[Span]
    is_certain: bool


@dataclass(frozen=True)
class Coverage:
    """A series as its record has it, seen at `now` (UTC seconds).

    Where the trading hours are not known or cannot be read, bars are expected as if the market never closed; but no
    gap is claimed. Nor is one in a series without a cadence: its points come any time after the one that they are of.
    So they are asked for once a day, at narrower intervals once in each, and are late by their own rhythm.
    """

    record: SeriesRecord
    now: float

    @property
    def closed_until(self) -> int:
        """The first open of which no bar can have closed by now."""
        return math.floor(self.now - self._interval.longest_s) + 1

    @property
    def promised_by(self) -> int:
        """Bars that closed by this moment can be fetched by now: the feed's delay and some grace are over."""
        grace_s = GRACE_S if self._interval.is_intraday else DAY_GRACE_S
        return math.floor(self.now - self.record.feed_delay_s) - grace_s

    @property
    def is_due(self) -> bool:
        """True if the series has bars to fetch: it was never asked for, or bars have closed that nobody asked for yet.

        What the server has no bars of any more is not due.
        """
        return self.is_awaited or bool(replace(self, now=self.promised_by).within_reach())

    @property
    def is_awaited(self) -> bool:
        """True if a bar may have closed since anybody asked last."""
        if not self.record.asked:
            return True
        if not self.record.has_cadence:
            return self.record.asked_at < self.promised_by // self._look_s * self._look_s
        newest = self.closing().newest
        return newest is not None and not self.is_known(newest)

    @property
    def is_left_alone(self) -> bool:
        """True if a bar may have closed a while ago, an hour as a rule, and nobody has asked since."""
        while_s = min(_PATIENCE_S, self._window_bars * self._interval.seconds / 4)
        return bool(self.record.asked) and replace(self, now=self.now - while_s).is_awaited

    @property
    def is_late(self) -> bool:
        """True if the newest point of a series without a cadence is older than its rhythm lets expect."""
        record = self.record
        if record.has_cadence or record.rhythm is None or record.last is None:
            return False
        return self.now - record.last.timestamp() > record.rhythm.late_after_s

    def is_known(self, moment: int) -> bool:
        """True if the bar that opens at the moment is stored or older than one that is, or if the server had none."""
        last = self.record.last
        is_stored = last is not None and moment <= last.timestamp()
        return is_stored or any(start <= moment < end for start, end in self.record.asked)

    def closing(self) -> Closing:
        """The newest bar that can be fetched by now; the next close is when the next one can be.

        Without a cadence none is known to have closed, and the next close is when somebody is to ask again.
        """
        moment = self.promised_by
        found = Closing(None, None, (moment // self._look_s + 1) * self._look_s)
        if self.record.has_cadence:
            found = _closing(self._interval, self._hours, moment)
        if found.next_close is None:
            return found
        return Closing(found.newest, found.closed_at, found.next_close + math.floor(self.now) - moment)

    def gaps(self, stored: Times) -> list[Gap]:
        """Runs of expected bars that are not among the stored ones (their opens, ascending), oldest first.

        Between the first stored bar, or the newest open seam, and the last one; none where the trading hours do not say
        which bars there must be.
        """
        if self.record.counted_from is not None:
            stored = stored[stored >= self.record.counted_from]
        if self._hours is None or not stored.size:
            return []
        try:
            expected = self._hours.expected_between(self._interval, int(stored[0]), int(stored[-1]) + 1)
        except IntervalError:
            return []
        return [
            Gap(
                first=utc(run.first),
                last=utc(run.last),
                bars=run.bars,
                sessions=self._hours.whole_sessions(self._interval, run),
                confirmed=not without([(run.first, run.last + 1)], self.record.asked),
            )
            for run in gap_runs(expected, stored)
        ]

    def unasked(self) -> list[Span]:
        """Spans of UTC seconds after the first that was asked for, up to now, for which nobody asked.

        Only those in which a bar is expected to have closed; without a cadence none is, after what was asked for last.
        """
        if not self.record.asked:
            return []
        first = self.record.asked[0][0] if self.record.counted_from is None else self.record.counted_from
        until = self.closed_until if self.record.has_cadence else self.record.asked[-1][0]
        holes = without([(first, until)], self.record.asked)
        return [hole for hole in holes if self._is_expected(hole)]

    def missing(self, start: datetime | None, end: datetime | None) -> list[Span]:
        """What of a half-open range has to be asked for: nobody did, and bars are expected to have closed in it.

        Without a start the range begins with time, without an end it ends with what has closed by now.
        """
        first = -_LATEST if start is None else math.floor(start.timestamp())
        after = self.closed_until if end is None else min(self.closed_until, math.ceil(end.timestamp()))
        return [hole for hole in without([(first, after)], self.record.asked) if self._is_expected(hole)]

    def within_reach(self) -> list[Span]:
        """`unasked` without the holes of which the server has no bars any more."""
        window = self.record.window
        return [hole for hole in self.unasked() if window is None or hole[1] > window.start]

    def lost(self) -> Lost:
        """What nobody asked for in time.

        Without the server's word the window is taken to hold as many bars as trading hours expect: a series that is
        not traded all the time reaches further back, and may still have them.
        """
        window, holes = self.record.window, self.unasked()
        if window is not None:
            gone = [(start, min(end, window.start)) for start, end in holes if start < window.start]
            gone = [hole for hole in gone if self._is_expected(hole)]
            if gone:
                return Lost(gone, is_certain=True)
        is_kept = window is None and not self._interval.is_intraday
        if not holes or is_kept or not self.record.has_cadence:
            return Lost([], is_certain=False)
        served_from = self._served_from()
        leaving = [(start, min(end, served_from)) for start, end in holes if start < served_from]
        return Lost([hole for hole in leaving if self._is_expected(hole)], is_certain=False)

    def loss_deadline(self) -> datetime | None:
        """When the oldest bar that could still be fetched, and is not stored, leaves the server's window.

        None if nothing was asked for yet, or nothing is ever lost. Bars of a day and more stay, unless the server has
        shown a window for them. An instrument that nobody trades every minute keeps its bars longer than told here.
        The time before the first bar ever asked for is not wanted, hence not lost. Without a cadence the rhythm tells.
        """
        asked, last = self.record.asked, self.record.last
        if not asked or (self.record.window is None and not self._interval.is_intraday):
            return None
        if not self.record.has_cadence:
            rhythm = self.record.rhythm
            leaves = (
                math.inf if rhythm is None or last is None else last.timestamp() + self._window_bars * rhythm.usual_s
            )
            return utc(leaves) if leaves < _LATEST else None
        served_from = self._served_from()
        for start, end in [*self.unasked(), (asked[-1][1], _LATEST)]:
            bars = _opens_from(self._interval, self._hours, max(start, served_from), self._window_bars)
            if bars is not None and bars[0] < end:
                return utc(bars[1]) if bars[1] < _LATEST else None
        return None

    def urgency(self) -> float:
        """Smaller for what is to be fetched first: its loss deadline, or where bars are leaving already, their time."""
        lost = self.lost()
        if lost.spans and not lost.is_certain:
            return float(lost.spans[0][0])
        deadline = self.loss_deadline()
        return math.inf if deadline is None else deadline.timestamp()

    @property
    def _interval(self) -> Interval:
        return self.record.series.interval

    @property
    def _hours(self) -> TradingHours | None:
        return self.record.hours

    @property
    def _look_s(self) -> int:
        """How often somebody asks for the points of a series without a cadence."""
        return min(self._interval.seconds, _DAY_S)

    @property
    def _window_bars(self) -> int:
        return ASSUMED_WINDOW_BARS if self.record.window is None else self.record.window.bars

    def _served_from(self) -> int:
        """The oldest open that the server still has, if it has a bar for every open that is expected."""
        return _open_back(self._interval, self._hours, self.now, self._window_bars)

    def _is_expected(self, span: Span) -> bool:
        return _is_expected(self._interval, self._hours, span)


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
