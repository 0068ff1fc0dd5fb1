"""The life of one live series as a pure fold: events in, commands and bars out, across as many sessions as it takes.

After a lost connection a new session must bring a bar that was shown already, or nobody could know that the two join.
Until it does its bars are held, and older ones asked for page by page; then all are shown, oldest first and each once,
as it is by then. Only where no page brings what joins is there a gap, and it is told.

A series that is silent for longer than its `Rhythm` explains is opened again once, with as much history as shows that
rhythm: the answer is no sign of life, only what changes after it. If it stays as silent, `failure` says so, once; for
whoever goes on it is opened again and again, until it shows life.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import StaleStreamError
from tv_etl.tradingview.models import HistoryRequest, StreamGap, feed_delay_s
from tv_etl.tradingview.paging import EMPTY_PAGES, PAGE_BARS, SERIES_ID, UNSUPPORTED, open_series
from tv_etl.tradingview.rhythm import Rhythm
from tv_etl.tradingview.symbols import encode_spec

# Bars kept to recognise one that comes again: the forming one, and those whose final values come late.
_SEEN_BARS = 100

# A bar that opens later than this from now is damage; nothing can join it. One older than the other is no rhythm.
_FUTURE_S = 86_400
_PAST_S = 20 * 366 * 86_400


@dataclass(frozen=True, slots=True)
class Silence(protocol.Event):
    """Nothing came for a session for a while."""


class LiveBars:
    """What a stream has shown of a series, and what a new session has still to bring before it goes on.

    `clock` is the server's time in UTC seconds. After each `receive`, `take` what is to be shown, and tell a `failure`.
    """

    def __init__(self, request: HistoryRequest, clock: Callable[[], float]) -> None:
        self._request = request
        self._clock = clock
        self.failure: StaleStreamError | None = None
        self.heard_at = -math.inf
        self._spec = encode_spec(request.symbol, request.settings)
        self._rhythm = Rhythm(request.width, request.settings.session)
        # The limit that a silence has passed before the series was opened again; 0 if it has shown life since.
        self._suspected_s = 0.0
        self._is_told = False
        self._delay_s: float | None = None
        self._close_time: float | None = None
        self._session = ""
        self._seen: dict[float, list[float]] = {}
        self._can_page = True
        self._rows: list[list[float]] = []
        self._gaps: list[StreamGap] = []
        self._enter("")

    def _enter(self, session: str) -> None:
        self._session = session
        # The bars of a new session, by time, until they join what was shown; None once they have.
        self._held: dict[float, list[float]] | None = {} if self._seen else None
        self._page_newest = -math.inf
        self._held_before = self._empty_pages = 0
        self._is_exhausted = self._is_complete = False
        self._alive_at: float | None = None

    @property
    def has_bars(self) -> bool:
        """True once there is something to show, or was."""
        return bool(self._seen or self._held)

    @property
    def newest_end(self) -> float | None:
        """When the newest bar ends by the server's word, else by its width and the feed's delay; None if not known."""
        newest = max(self._seen, default=None)
        if newest is None or (self._close_time is not None and self._close_time > newest):
            return self._close_time
        return None if self._delay_s is None else newest + self._request.width.longest_s + self._delay_s

    @property
    def complete_to(self) -> float:
        """Until when, by the server's clock, all that changed has come: -inf in a session that is not complete yet."""
        return self.heard_at if self._is_complete and self._held is None else -math.inf

    @property
    def is_owed(self) -> bool:
        """True while older bars are asked for."""
        return self._held is not None and self._can_page and not self._is_exhausted

    def open(self, session: str) -> list[protocol.Command]:
        """The commands that begin, or go on in a new session."""
        self._enter(session)
        return open_series(session, self._spec, self._request.width.wire, self._first_count())

    def receive(self, event: protocol.Event, heard_at: float) -> list[protocol.Command]:
        """Take an event of this session, which came in then by the server's clock; return what to ask next.

        Raises StaleStreamError to have the series opened again.
        """
        if event.session != self._session:
            return []
        self.heard_at = heard_at
        if isinstance(event, Silence):
            self._receive_nothing()
            return []
        self._listen(event)
        if isinstance(event, protocol.BarsReceived) and event.series == SERIES_ID and len(event.rows):
            self._take(event)
        elif isinstance(event, protocol.SeriesCompleted) and event.series == SERIES_ID and self.is_owed:
            return self._complete_page(event)
        elif isinstance(event, protocol.SessionFailed) and event.reason.startswith(UNSUPPORTED):
            self._can_page = False
        return []

    def _receive_nothing(self) -> None:
        if self.is_owed:  # older bars do not come: go on with those that have
            self._is_exhausted = True
            self._settle()
        else:
            self._judge()

    def take(self) -> tuple[list[list[float]], list[StreamGap]]:
        """The rows to show, oldest first, and what lies unseen before them."""
        rows, self._rows = self._rows, []
        gaps, self._gaps = self._gaps, []
        return rows, gaps

    def _listen(self, event: protocol.Event) -> None:
        """Learn of the rhythm; tell signs of life from answers."""
        if isinstance(event, protocol.SymbolResolved):
            self._rhythm.resolved(event.info)
        elif isinstance(event, protocol.SeriesCompleted):
            self._delay_s = feed_delay_s(event.update_mode)
            self._rhythm.completed(self._delay_s)
            self._is_complete = True
        elif isinstance(event, protocol.BarsReceived):
            now = self.heard_at
            self._close_time = event.close_time or self._close_time
            opens = (row[0] for row in event.rows)
            self._rhythm.add(moment for moment in opens if now - _PAST_S < moment < now + _FUTURE_S)
            is_answer = event.is_snapshot and (self.is_owed or not self._is_complete)
            if self._alive_at is None or not is_answer:
                self._alive_at = now
            if not is_answer:
                self._suspected_s, self._is_told = 0.0, False
        elif not isinstance(event, protocol.SessionFailed):
            self._judge()

    def _judge(self) -> None:
        now, limit_s = self._clock(), self._rhythm.limit_s
        if self._alive_at is None or now - self._alive_at < limit_s:
            return  # not even by the clock
        silence_s = self._rhythm.silence_s(self._alive_at, now)
        if silence_s < limit_s:
            return
        stale = StaleStreamError(self._request.symbol, self._request.width.token, silence_s)
        if self._is_told or limit_s > self._suspected_s:  # or the history has shown that the silence was none
            self._suspected_s = limit_s
            raise stale
        self.failure, self._is_told = stale, True

    def _take(self, event: protocol.BarsReceived) -> None:
        rows = {row[0]: row for row in event.rows}  # the last of one time counts
        if self._held is not None:
            self._page_newest = max(self._page_newest, *rows)
            self._held |= rows
            self._settle()
            return
        moments = sorted(rows)
        if not self._seen:
            moments = moments[-(self._request.bars_count or 1) :]  # the server may send more than asked
        self._show([rows[moment] for moment in moments])

    def _settle(self) -> None:
        """Show what is held, if it joins or nothing older will come."""
        if not self._held:
            return
        newest = self._newest_seen()
        has_joined = any(min(self._seen) <= moment <= newest for moment in self._held)
        if not has_joined and self.is_owed:
            return
        first = min((moment for moment in self._held if moment > newest), default=None)
        if not has_joined and first is not None:
            self._gaps.append(StreamGap(self._request.symbol, self._request.width.token, newest, first))
        rows = [self._held[moment] for moment in sorted(self._held)]
        self._held = None
        self._show(rows)

    def _complete_page(self, event: protocol.SeriesCompleted) -> list[protocol.Command]:
        assert self._held is not None
        self._empty_pages = 0 if len(self._held) > self._held_before else self._empty_pages + 1
        is_beyond = -math.inf < self._page_newest < min(self._seen)
        self._held_before, self._page_newest = len(self._held), -math.inf
        if event.data_completed or self._empty_pages >= EMPTY_PAGES or is_beyond:
            self._is_exhausted = True
            self._settle()
            return []
        return [protocol.request_more_data(self._session, SERIES_ID, self._missing_count())]

    def _show(self, rows: list[list[float]]) -> None:
        oldest = min(self._seen, default=-math.inf)
        fresh = [row for row in rows if row[0] >= oldest and self._seen.get(row[0]) != row]
        self._rows += fresh
        self._seen.update((row[0], row) for row in fresh)
        for moment in sorted(self._seen)[:-_SEEN_BARS]:
            del self._seen[moment]

    def _newest_seen(self) -> float:
        latest = self._clock() + _FUTURE_S
        return max((moment for moment in self._seen if moment <= latest), default=max(self._seen))

    def _first_count(self) -> int:
        """How many bars to ask for: those the user wants, or after a reconnect at least those missed since."""
        wanted = self._request.bars_count or 1
        if self._suspected_s and not self._is_told:
            wanted = max(wanted, min(self._rhythm.history_bars, PAGE_BARS))
        is_known = self._seen and self._request.width.is_time_based
        return max(wanted, self._bars_since(self._clock())) if is_known else wanted

    def _missing_count(self) -> int:
        newest = self._newest_seen()
        oldest_held = min((moment for moment in self._held or () if moment > newest), default=math.inf)
        return PAGE_BARS if math.isinf(oldest_held) else self._bars_since(oldest_held)

    def _bars_since(self, moment: float) -> int:
        """How many bars may lie between the newest one shown and a moment; two more for the edges."""
        if not self._request.width.is_time_based:
            return PAGE_BARS
        missed = math.ceil((moment - self._newest_seen()) / self._request.width.seconds) + 2
        return min(max(missed, 2), PAGE_BARS)
