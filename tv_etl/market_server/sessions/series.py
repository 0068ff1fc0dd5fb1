"""One series of a chart session: which bars the client holds of it, and the text of those it gets next.

Indices count from the oldest bar of the first load, 0; what is loaded later lies before it, at -1, -2, ...
"""

from dataclasses import dataclass, field

import numpy as np

from tv_etl.market_server.accounts.plans import Plan
from tv_etl.market_server.market.market import BarSource, Floats
from tv_etl.market_server.market.sessions import DAY_S, Integers
from tv_etl.market_server.market.timescale import BarsText, BarsTexts, encode_bars, encode_marks
from tv_etl.market_server.sessions.ranges import BEGINNING, FROM_NEWEST, LAST_SESSION, Range, frame_start
from tv_etl.tradingview.intervals import Interval

_ALL_HISTORY = 1_000_000  # more than any instrument has days


def first_bar_time(source: BarSource, interval: Interval, now: float) -> int | None:
    """The open of the oldest bar there is, UTC seconds; None if there is none."""
    began = int(source.calendar.opens[0])
    # A replay may have days that begin years before its minutes, and many years of minutes take long to look through.
    for span_s in (min(interval.seconds, DAY_S), 7 * DAY_S, 400 * DAY_S, 40_000 * DAY_S):
        rows = source.bars(interval, now, start=BEGINNING, before=began + span_s).rows
        if len(rows):
            return int(rows[0, 0])
    return None


@dataclass
class ServedSeries:
    """What a client holds of one series. `source` is None while there is nothing to serve: the symbol is unknown.

    `reached` is "end" where history begins and "limit" where the plan ends, once a client has asked for more.
    `future` are the times of tick marks to come that the client has already been given.
    """

    id: str
    turnaround: str
    symbol_id: str
    symbol: str
    interval: Interval
    source: BarSource | None
    zone: str = "Etc/UTC"
    count: int = 0
    rows: Floats = field(default_factory=lambda: np.empty((0, 6)))
    first_index: int = 0
    future: list[int] = field(default_factory=list)
    reached: str = ""
    is_complete: bool = False
    is_live: bool = False

    @property
    def end_index(self) -> int:
        """One more than the index of the newest bar."""
        return self.first_index + len(self.rows)

    @property
    def delay_s(self) -> int:
        """How late the feed is, seconds."""
        return 0 if self.source is None else self.source.listing.delay_s

    @property
    def times(self) -> Integers:
        """The opens of the bars held."""
        return self.rows[:, 0].astype(np.int64)

    def marks(self, now: float) -> bytes:
        """The tick marks of the whole scale, those to come included."""
        assert self.source is not None
        scale = np.concatenate([self.times, np.array(self.future, np.int64)])
        before = self.source.bars(self.interval, now, count=1, before=int(scale[0])).times
        previous = int(before[0]) if len(before) else None
        return encode_marks(self.source, self.interval, self.zone, scale, self.first_index, previous)

    def load(self, wanted: Range, plan: Plan, texts: BarsTexts, now: float) -> list[BarsText]:
        """Hold the bars of a range and nothing else; returns their text in parts, ascending."""
        assert self.source is not None
        self.first_index, self.future, self.reached = 0, [], ""
        self.is_live = wanted.before is None and not wanted.is_forward
        last = self.source.bars(self.interval, now, count=1, before=wanted.before).rows
        parts: list[BarsText] = []
        if len(last) and last[0, 0] < self._floor(plan, now):
            self.reached = "limit"
        elif len(last):
            closed = self._closed_part(wanted, int(last[0, 0]), plan, texts, now)
            if wanted.is_forward and len(closed.rows) >= wanted.count:
                rows = closed.rows[: wanted.count]
                parts = [encode_bars(self.source, self.interval, self.zone, rows, 0, None)]
            elif wanted.count or wanted.start is None or last[0, 0] >= wanted.start or self.is_live:
                previous = int(closed.rows[-1, 0]) if len(closed.rows) else None
                parts = [closed, encode_bars(self.source, self.interval, self.zone, last, len(closed.rows), previous)]
        self.rows = np.concatenate([part.rows for part in parts]) if parts else last[:0]
        self.count = max(wanted.count, 1)
        return parts

    def load_older(
        self, plan: Plan, texts: BarsTexts, now: float, *, count: int = _ALL_HISTORY, start: int | None = None
    ) -> BarsText | None:
        """Hold older bars too: `count` of them, or those from `start` on. None if there are none."""
        if self.source is None or not len(self.rows) or count < 1:
            return None
        oldest = int(self.rows[0, 0])
        floor = self._floor(plan, now)
        older = texts.closed_bars(
            self.source, self.interval, self.zone, before=oldest, count=min(count, self._most(plan)), now=now,
            start=floor if start is None else max(floor, start), end_index=self.first_index,
        )  # fmt: skip
        is_short = len(older.rows) < count if start is None else start < floor or older.is_start
        if is_short:
            self._note_reach(older, oldest, now)
        if not len(older.rows):
            return None
        self.rows = np.concatenate([older.rows, self.rows])
        self.first_index -= len(older.rows)
        return older

    def load_newer(self, now: float, count: int) -> int:
        """Hold the next `count` bars after those held too; returns how many there were."""
        if self.source is None or not len(self.rows):
            return 0
        held, span_s = int(self.rows[-1, 0]), 2 * (count + 1) * self.interval.seconds
        while True:
            newer = self.source.bars(self.interval, now, start=held + 1, before=held + span_s).rows[:count]
            if len(newer) == count or held + span_s > now:
                break
            span_s *= 4  # a night, a weekend, a year without a trade
        newest = newer[-1, 0] if len(newer) else held
        self.is_live = bool(self.source.bars(self.interval, now, count=1).rows[-1, 0] == newest)
        self.rows = np.concatenate([self.rows, newer])
        return len(newer)

    def changed_rows(self, now: float) -> tuple[Floats, int]:
        """The newest bar as it is now, and those that followed, with the index of the first; remembers them."""
        if self.source is None or not self.is_live or not len(self.rows):
            return self.rows[:0], 0
        newest = self.rows[-1]
        rows = self.source.bars(self.interval, now, start=int(newest[0])).rows
        index = self.end_index - 1
        if len(rows) and np.array_equal(rows[0], newest):
            rows, index = rows[1:], index + 1
        if len(rows):
            self.rows = np.concatenate([self.rows[: index - self.first_index], rows])
        return rows, index

    def start_of(self, wanted: Range) -> int | None:
        """Where a range begins, UTC seconds; None where it is counted from its end."""
        return self._start(wanted, int(self.rows[-1, 0])) if len(self.rows) else wanted.start

    def frame_indexes(self, wanted: Range) -> tuple[int, int]:
        """The indices of the first bar that a time frame covers, and of the first at or after its end."""
        times = self.times
        if not len(times):
            return 0, 0
        first = int(np.searchsorted(times, self._start(wanted, int(times[-1])) or 0))
        last = len(times) if wanted.end is None else int(np.searchsorted(times, wanted.end))
        return self.first_index + min(first, len(times) - 1), self.first_index + min(last, len(times) - 1)

    def _closed_part(self, wanted: Range, before: int, plan: Plan, texts: BarsTexts, now: float) -> BarsText:
        """The bars of a range that lie before the newest one."""
        assert self.source is not None
        floor, most = self._floor(plan, now), self._most(plan)
        start = self._start(wanted, before)
        count = min(max(wanted.count - 1, 0), most)
        part = texts.closed_bars(
            self.source, self.interval, self.zone, before=before, count=count, now=now, start=floor
        )
        is_short = len(part.rows) + 1 < wanted.count
        if start is not None:
            framed = texts.closed_bars(
                self.source, self.interval, self.zone, before=before, count=most, now=now, start=max(start, floor)
            )
            if wanted.is_forward or len(framed.rows) >= len(part.rows):
                part, is_short = framed, start < floor or framed.is_start
        if is_short:
            self._note_reach(part, before, now)
        return part

    def _start(self, wanted: Range, newest: int) -> int | None:
        if wanted.start != FROM_NEWEST or self.source is None:
            return wanted.start
        if wanted.frame != LAST_SESSION:
            return frame_start(wanted.frame, newest)
        calendar = self.source.calendar
        return int(calendar.opens[max(calendar.last_opened(newest), 0)])

    def _floor(self, plan: Plan, now: float) -> int:
        """The open of the oldest bar that the plan shows, the beginning of time if it shows all."""
        if self.source is None or not self.interval.is_intraday:
            return BEGINNING
        return self.source.open_back(self.interval, now, plan.intraday_bars) or BEGINNING

    def _most(self, plan: Plan) -> int:
        return plan.intraday_bars if self.interval.is_intraday else _ALL_HISTORY

    def _note_reach(self, part: BarsText, before: int, now: float) -> None:
        first = int(part.rows[0, 0]) if len(part.rows) else before
        self.reached = "end" if part.is_start or self._is_first(first, now) else "limit"

    def _is_first(self, bar_open: int, now: float) -> bool:
        assert self.source is not None
        return not len(self.source.bars(self.interval, now, count=1, before=bar_open))
