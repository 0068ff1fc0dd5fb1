"""The life of one history request as a pure fold: events in, commands out, until it is answered or refused.

A request opens a chart session of its own (anonymous accounts may have one series in each), loads the newest bars
and asks for older ones until it holds what was wanted, the server says that there is no more, or no older bar came.
Everything runs up to now, because TradingView trims an answer only at its old end; the range is cut here.
"""

import math

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import (
    EntitlementError,
    IntervalError,
    NoBarsError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.models import HistoryRequest, Reach, SeriesHistory, SymbolInfo
from tv_etl.tradingview.symbols import encode_spec

# Plans serve 5,000 bars and more in one answer (PROTOCOL.md §9); a larger first page gains nothing for most series.
PAGE_BARS = 5_000

SERIES_ID = "sds_1"
SYMBOL_ID = "sds_sym_1"

_ENTITLEMENT_REASONS = ("entitled", "custom_resolution", "permission denied")
_PACE_REASONS = ("max sessions rate reached", "exceed limit of series")


class SeriesPager:
    """Fetches one series over one chart session.

    `now_s` is the server's time as far as known; it only sizes the first page and judges the newest bar until the
    server states its own time. After each `receive`, `history` or `error` may be set: then the pager is done.
    `progress` counts what brought the answer nearer; live updates of a series that is never completed do not.
    """

    def __init__(self, request: HistoryRequest, session: str, *, now_s: float) -> None:
        self.request = request
        self.session = session
        self.history: SeriesHistory | None = None
        self.error: TradingViewError | None = None
        self.progress = 0
        self._clock_s = now_s
        self._info = SymbolInfo({})
        self._rows: dict[int, list[float]] = {}
        self._newest: int | None = None
        self._is_forming = False
        self._oldest_before: int | None = None
        self._requests = 0
        self._rejected = 0

    @property
    def is_done(self) -> bool:
        return self.history is not None or self.error is not None

    def start(self) -> list[protocol.Command]:
        """The commands that open the session and ask for the newest bars."""
        self._requests = 1
        spec = encode_spec(self.request.symbol, self.request.settings)
        return open_series(self.session, spec, self.request.width.wire, self._first_count())

    def receive(self, event: protocol.Event) -> list[protocol.Command]:
        """Take an event of this session; return what to ask next."""
        if isinstance(event, protocol.SymbolResolved):
            self.progress += 1
            self._info = event.info
        elif isinstance(event, protocol.BarsReceived) and event.series == SERIES_ID:
            self._take(event)
        elif isinstance(event, protocol.SeriesCompleted) and event.series == SERIES_ID:
            return self._next_page(event)
        else:
            self.error = failure_of(self.request, event)
        return []

    def _take(self, event: protocol.BarsReceived) -> None:
        self._rejected += event.rejected
        if event.time_ms is not None:
            self._clock_s = event.time_ms / 1000
        if not event.rows:
            return
        oldest = min(row[0] for row in event.rows)
        if not self._rows or oldest < min(self._rows):
            self.progress += 1
        self._rows.update((int(row[0]), row) for row in event.rows)
        newest = int(max(row[0] for row in event.rows))
        if self._newest is None or newest >= self._newest:
            self._newest = newest
            # Without the server's word a bar ends its width after its open; tick bars have none and stay open.
            width_s = self.request.width.seconds if self.request.width.is_time_based else math.inf
            close_time = newest + width_s if event.close_time is None else event.close_time
            self._is_forming = close_time > self._clock_s

    def _next_page(self, event: protocol.SeriesCompleted) -> list[protocol.Command]:
        self.progress += 1
        oldest = min(self._rows, default=None)
        if self._is_satisfied(oldest):
            self._finish("complete", event.update_mode)
        elif event.data_completed:
            self._finish("exhausted" if event.data_completed == "end" else "limited", event.update_mode)
        elif oldest is None:
            self.error = NoBarsError(f"{self.request}: the server completed the series without a bar")
        elif oldest == self._oldest_before:
            self._finish("limited", event.update_mode)
        else:
            self._oldest_before = oldest
            self._requests += 1
            return [protocol.request_more_data(self.session, SERIES_ID, self._missing_count(oldest))]
        return []

    def _is_satisfied(self, oldest: int | None) -> bool:
        if self.request.bars_count is not None:
            return sum(map(self._is_wanted, self._rows)) >= self.request.bars_count
        return self.request.start is not None and oldest is not None and oldest <= self.request.start.timestamp()

    def _is_wanted(self, timestamp: int) -> bool:
        start, end = self.request.start, self.request.end
        return (start is None or timestamp >= start.timestamp()) and (end is None or timestamp < end.timestamp())

    def _finish(self, reach: Reach, update_mode: str) -> None:
        rows = [self._rows[timestamp] for timestamp in sorted(self._rows) if self._is_wanted(timestamp)]
        if self.request.bars_count is not None:
            rows = rows[-self.request.bars_count :]
        self.history = SeriesHistory(
            request=self.request,
            info=self._info,
            rows=rows,
            reach=reach,
            forming_from=self._newest if self._is_forming else None,
            update_mode=update_mode,
            requests=self._requests,
            rejected=self._rejected,
        )

    def _first_count(self) -> int:
        wanted = self.request.bars_count or 0
        if self.request.bars_count is not None and self.request.end is not None:
            wanted += self._bars_between(self.request.end.timestamp(), self._clock_s)
        elif self.request.start is not None:
            wanted = self._bars_between(self.request.start.timestamp(), self._clock_s)
        elif self.request.bars_count is None:
            wanted = PAGE_BARS
        return min(wanted, PAGE_BARS)

    def _missing_count(self, oldest: int) -> int:
        if self.request.bars_count is not None:
            return min(self.request.bars_count - sum(map(self._is_wanted, self._rows)), PAGE_BARS)
        if self.request.start is not None:
            return min(self._bars_between(self.request.start.timestamp(), oldest), PAGE_BARS)
        return PAGE_BARS

    def _bars_between(self, start_s: float, end_s: float) -> int:
        """At most so many bars lie between: a market that never closes; two more for the edges."""
        if not self.request.width.is_time_based:
            return PAGE_BARS
        return max(math.ceil((end_s - start_s) / self.request.width.seconds), 0) + 2


def open_series(session: str, spec: str, resolution: str, count: int) -> list[protocol.Command]:
    """The commands that open a chart session with one series in it."""
    return [
        protocol.chart_create_session(session),
        protocol.resolve_symbol(session, SYMBOL_ID, spec),
        protocol.create_series(session, SERIES_ID, SYMBOL_ID, resolution, count),
    ]


def failure_of(request: HistoryRequest, event: protocol.Event) -> TradingViewError | None:
    """The error that an event means for the request, None if it is no refusal."""
    if isinstance(event, protocol.SymbolFailed):
        if event.reason.startswith("permission denied"):
            return EntitlementError(request.symbol, str(request.width), event.reason)
        return SymbolError(request.symbol, event.reason)
    if isinstance(event, protocol.SeriesFailed):
        if event.reason == "resolve error":
            return SymbolError(request.symbol, event.reason)
        return _refusal(request, event.reason)
    if isinstance(event, protocol.SessionFailed):
        if event.reason == "invalid parameters" and "create_series" in event.info:
            return IntervalError(str(request.interval), f"the server refused: {event.reason}, {event.info}")
        return _refusal(request, f"{event.reason}, {event.info}" if event.info else event.reason)
    return None


def is_pace_refusal(error: TradingViewError) -> bool:
    """True if the server only wants sessions to be opened more slowly."""
    return isinstance(error, SeriesError) and error.reason.startswith(_PACE_REASONS)


def _refusal(request: HistoryRequest, reason: str) -> SeriesError:
    if any(word in reason for word in _ENTITLEMENT_REASONS):
        return EntitlementError(request.symbol, str(request.width), reason)
    retryable = reason.startswith(_PACE_REASONS)
    return SeriesError(request.symbol, str(request.width), reason, retryable=retryable)
