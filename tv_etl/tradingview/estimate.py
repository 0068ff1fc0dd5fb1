"""What a request will take, told without a server: the pages asked for, the bars and bytes that come, the time.

The request's own pager runs against an imagined server, which has a bar wherever the trading hours expect one, and no
older ones than its window. So pages and bars are an upper bound where hours are not known, which are then taken never
to close; where history begins later than a request reaches; and where nobody trades at times.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tv_etl.tradingview import protocol
from tv_etl.tradingview.bar_rows import COLUMNS, BarRows
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.pace import FIRST_GAP_S, FIRST_WINDOW, WINDOW
from tv_etl.tradingview.paging import SERIES_ID, SeriesPager
from tv_etl.tradingview.trading_hours import Seconds, TradingHours

# A bar as JSON with its place on the time scale: between 85, of an index, and 130, of a coin with all its digits.
BYTES_PER_BAR = 110
# The description of the instrument, and what begins and ends an answer.
BYTES_PER_REQUEST = 4_000
# What a page takes over an ordinary line, and to open a connection.
PAGE_S = CONNECTION_S = 0.5

_ALWAYS = TradingHours("24x7", "Etc/UTC")
_BEGINNING_S = -5_364_662_400  # 1800: no market's history is longer


@dataclass(frozen=True)
class Estimate:
    """Of one request: the pages it asks for, and the bars that come with them, more than it wants of some."""

    pages: int
    bars: int

    @property
    def bytes(self) -> int:
        """What comes over the wire, within a factor of two."""
        return BYTES_PER_REQUEST + self.bars * BYTES_PER_BAR


def estimate(
    request: HistoryRequest, *, now_s: float, hours: TradingHours | None = None, window: int | None = None
) -> Estimate:
    """What a request will take at `now_s` (UTC seconds), of an instrument with these hours.

    `window` is how many bars the server has, None where that is not known.
    """
    server = _ImaginedServer(request, hours, now_s, window)
    pager = SeriesPager(request, "", now_s=now_s)
    commands = pager.start()
    pages = bars = 0
    while commands:
        pages += 1
        events, served = server.answer(commands[-1])
        bars += served
        commands = [command for event in events for command in pager.receive(event)]
    return Estimate(pages, bars)


def duration_s(estimates: Iterable[Estimate]) -> float:
    """How long the requests will take at the pace that a client begins with, if nobody complains."""
    free = [CONNECTION_S] * FIRST_WINDOW
    opened_at, gap_s, ends_at = 0.0, FIRST_GAP_S, 0.0
    for each in estimates:
        opened_at = max(heapq.heappop(free), opened_at + gap_s)
        ends_at = max(ends_at, opened_at + each.pages * PAGE_S)
        heapq.heappush(free, opened_at + each.pages * PAGE_S)
        gap_s *= 0.8
        if len(free) < WINDOW:
            heapq.heappush(free, opened_at + each.pages * PAGE_S)
    return ends_at


class _ImaginedServer:
    def __init__(self, request: HistoryRequest, hours: TradingHours | None, now_s: float, window: int | None) -> None:
        self._width, self._hours, self._now_s = request.width, hours or _ALWAYS, now_s
        self._left = window
        self._before = int(now_s) + 1

    def answer(self, command: protocol.Command) -> tuple[list[protocol.Event], int]:
        """The events that answer a request for a page, and the number of bars in them."""
        count = int(command.params[5 if command.method == "create_series" else 2])
        times = self._older(count if self._left is None else min(count, self._left))
        if self._left is not None:
            self._left -= len(times)
        if len(times):
            self._before = int(times[0])
        values = np.ones((len(times), COLUMNS))
        values[:, 0] = times
        word = "limit" if len(times) < count else ""
        rows = protocol.BarsReceived("", SERIES_ID, True, BarRows(values), None, int(self._now_s * 1000))
        return [rows, protocol.SeriesCompleted("", SERIES_ID, "", word)], len(times)

    def _older(self, count: int) -> Seconds:
        """The opens of the newest bars not served yet."""
        width_s = self._width.seconds if self._width.is_time_based else 1
        span_s = (count + 1) * width_s
        while count:
            since = max(self._before - span_s, _BEGINNING_S)
            try:
                times = self._hours.expected_between(self._width, since, self._before)
            except IntervalError:  # of its own clock, or of none
                times = np.arange(self._before - width_s, since, -width_s)[::-1]
            if len(times) >= count or since == _BEGINNING_S:
                return times[-count:]
            span_s *= 4
        return np.empty(0, np.int64)
