"""The life of one history request as a pure fold: events in, commands out, until it is answered or refused.

A request opens a chart session of its own (anonymous accounts may have one series in each), loads the newest bars
and asks for older ones until it holds what was wanted, the server says that there is no more, or no older bar came.
Everything runs up to now, because TradingView trims an answer only at its old end; the range is cut here.

After a lost connection `resume` goes on in a new session and does not ask again for what whole pages have brought:

    NEWEST   the newest bars, then page by page what is older        every request begins so
    OLDER    from the oldest bar held into the past                  what the lost session still owed
    GAP      from now back to the newest bar held                    what closed or formed since

OLDER and GAP are a series each, hence a session each: between them `wants_session` is true. A new session must
bring a bar that is held already, or nobody could know that the two join. Where it does not, or where the server does
not understand what it is asked, everything is fetched afresh.
"""

import enum
import math
from collections import Counter

import numpy as np

from tv_etl.tradingview import protocol
from tv_etl.tradingview.bar_rows import COLUMNS, BarRows, Floats, ascending
from tv_etl.tradingview.damage import DamagedRow, ahead, where
from tv_etl.tradingview.errors import (
    EntitlementError,
    IntervalError,
    NoBarsError,
    PaceError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.models import HistoryRequest, Reach, SeriesHistory, SymbolInfo, feed_delay_s
from tv_etl.tradingview.symbols import encode_spec

# Plans serve 5,000 bars and more in one answer (PROTOCOL.md §9); a larger first page gains nothing for most series.
PAGE_BARS = 5_000

SERIES_ID = "sds_1"
SYMBOL_ID = "sds_sym_1"

_ENTITLEMENT_REASONS = ("entitled", "custom_resolution", "permission denied")
_PACE_REASON = "max sessions rate reached"
_RETRYABLE_REASON = "exceed limit of series"


_FIRST_SECOND = -62_135_596_800  # year 1


# What a server's clock may have gone on since it last told the time, be it that of a market in quick motion.
_CLOCK_SLACK_S = 86_400.0

# A server under load was seen to answer empty, and some complete an answer twice: one page without news is no end.
EMPTY_PAGES = 2
# How a server refuses a command that it does not have.
UNSUPPORTED = "unsupported method"


class _Leg(enum.Enum):
    NEWEST = enum.auto()
    OLDER = enum.auto()
    GAP = enum.auto()


class SeriesPager:
    """Fetches one series, over one chart session at a time.

    `now_s` is the server's time as far as known; it only sizes the first page and judges the newest bar until the
    server states its own time. After each `receive`, `history` or `error` may be set: then the pager is done. Or
    `wants_session` is: then call `resume` with a new session, as after a lost connection.
    `progress` counts the events that brought the answer nearer: not live updates of a series that is never completed.
    """

    def __init__(self, request: HistoryRequest, session: str, *, now_s: float) -> None:
        self.request = request
        self.session = session
        self.history: SeriesHistory | None = None
        self.error: TradingViewError | None = None
        self.wants_session = False
        self.progress = 0
        self._clock_s = now_s
        self._start_s = -math.inf if request.start is None else request.start.timestamp()
        self._end_s = math.inf if request.end is None else request.end.timestamp()
        # From here on bars are left out of the answer.
        self._cut_s = math.inf if request.up_to_now else self._end_s
        self._info = SymbolInfo({})
        self._requests = 0
        self._can_join = True
        self._forget()

    def _forget(self) -> None:
        self._bars = _Bars()
        self._leg = _Leg.NEWEST
        self._reach: Reach | None = None
        self._update_mode = ""
        # Each kind of place with the most rows that one packet had there: a page may come again.
        self._damage: dict[DamagedRow, int] = {}
        self._ahead: set[float] = set()
        # Whole pages have brought every bar from `_settled` to `_newest_held`, which counts after a lost connection.
        self._settled: float | None = None
        self._newest_held = math.inf
        # The held bar that a resumed session has still to bring.
        self._joint: float | None = None
        self._enter_session()

    def _enter_session(self) -> None:
        self._oldest_seen = math.inf
        self._oldest_before = math.inf
        self._empty_pages = 0

    @property
    def is_done(self) -> bool:
        return self.history is not None or self.error is not None

    @property
    def has_pages(self) -> bool:
        """True if a whole page is held, from which `resume` can go on."""
        return self._settled is not None

    def start(self) -> list[protocol.Command]:
        """The commands that open the session and ask for the newest bars."""
        return self._open(self._first_count())

    def resume(self, session: str, *, now_s: float) -> list[protocol.Command]:
        """The commands that go on in a new session, where one was lost or refused, or `wants_session` is true."""
        self.session, self._clock_s, self.wants_session, self.error = session, now_s, False, None
        if self._settled is None or not self._can_join:
            self._forget()
            return self.start()
        self._enter_session()
        if self._leg is _Leg.NEWEST:
            self._newest_held = self._bars.first_unsure()
        # An answer that was cut short may have holes.
        self._drop_before(self._settled)
        if self._reach is not None:
            self._leg, self._joint = _Leg.GAP, self._newest_held
            return self._open(min(self._bars_between(self._newest_held, now_s), PAGE_BARS))
        self._leg, self._joint = _Leg.OLDER, self._settled
        # Whether the server counts the moment itself in or not, the oldest bar held comes again.
        moment = int(self._bars.second_oldest())
        return self._open(("bar_count", moment, min(self._missing_count() + 2, PAGE_BARS)))

    def receive(self, event: protocol.Event) -> list[protocol.Command]:
        """Take an event of this session; return what to ask next."""
        if self.is_done or self.wants_session or event.session != self.session:
            return []
        if isinstance(event, protocol.SymbolResolved):
            self.progress += 1
            self._info = event.info
        elif isinstance(event, protocol.BarsReceived):
            if event.series == SERIES_ID:
                self._take(event)
        elif isinstance(event, protocol.SeriesCompleted):
            if event.series == SERIES_ID:
                return self._complete_page(event)
        else:
            self._fail(failure_of(self.request, event))
        return []

    def retry_after_silence(self) -> bool:
        """True if a new session is worth a try after the server kept silent: it may not know the command."""
        if self._leg is _Leg.OLDER and math.isinf(self._oldest_seen) and self._can_join:
            self._start_afresh()
        return self.wants_session

    def cut_short(self) -> SeriesHistory | None:
        """End with what whole pages have brought, as `limited`; None if that is nothing."""
        if self._settled is None or self._leg is not _Leg.NEWEST:
            return None
        self._drop_before(self._settled)
        self._reach = "limited"
        self._finish()
        return self.history

    def _drop_before(self, moment: float) -> None:
        self._bars.drop_before(moment)
        self._damage = {row: count for row, count in self._damage.items() if row.until > moment}

    def _start_afresh(self) -> None:
        self._can_join = False
        self.wants_session = True

    def _open(self, span: "int | protocol.BarsUpTo") -> list[protocol.Command]:
        self._requests += 1
        spec = encode_spec(self.request.symbol, self.request.settings)
        return open_series(self.session, spec, self.request.width.wire, span)

    def _request_more(self) -> list[protocol.Command]:
        self._requests += 1
        count = self._missing_count() if self._joint is None else PAGE_BARS
        return [protocol.request_more_data(self.session, SERIES_ID, count)]

    def _fail(self, error: TradingViewError | None) -> None:
        if self._leg is _Leg.OLDER and isinstance(error, SeriesError | IntervalError):
            self._start_afresh()  # the same series was served before: it is the moment that is not understood
        elif isinstance(error, SeriesError) and error.reason.startswith(UNSUPPORTED) and self.cut_short():
            pass  # a server without request_more_data has given what it has
        else:
            self.error = error

    def _take(self, event: protocol.BarsReceived) -> None:
        if event.time_ms is not None:
            self._clock_s = event.time_ms / 1000
        page = ascending(BarRows.of(event.rows).values)
        self._note_damage(event, page)
        # Without a clock of its own a packet may be newer than what is known of the server's.
        latest_s = self._clock_s if event.time_ms is not None else self._clock_s + _CLOCK_SLACK_S
        begun = int(np.searchsorted(page[:, 0], latest_s, side="right"))
        self._ahead.update(page[begun:, 0].tolist())
        # Of a bar that is left out nobody can say that the word on the newest bar's end is not its.
        close_time = event.close_time if begun == len(page) else None
        page = page[:begun]
        if not event.is_snapshot and not math.isinf(self._oldest_seen):
            # A late update of a bar that no page has brought yet would leave a hole behind it.
            page = page[np.searchsorted(page[:, 0], self._oldest_seen) :]
        if not len(page):
            return
        oldest = float(page[0, 0])
        if oldest < self._oldest_seen:
            self.progress += 1
            self._oldest_seen = oldest
        if self._joint is not None and (again := _bar_at(page, self._joint)) is not None:
            if self._leg is _Leg.OLDER and not self._bars.hold(again):
                self._start_afresh()  # the history was adjusted meanwhile: its old and new rows do not mix
                return
            self._joint = None
        self._bars.add(page, close_time, self._clock_s)

    def _note_damage(self, event: protocol.BarsReceived, page: Floats) -> None:
        if self._damage:  # what comes again as a bar is mended
            moments = set(page[:, 0].tolist())
            self._damage = {row: count for row, count in self._damage.items() if row.own not in moments}
        for row, count in Counter(event.damage).items():
            self._damage[row] = max(count, self._damage.get(row, 0))

    def _complete_page(self, event: protocol.SeriesCompleted) -> list[protocol.Command]:
        self.progress += 1
        self._empty_pages = self._empty_pages + 1 if self._oldest_seen == self._oldest_before else 0
        self._oldest_before = self._oldest_seen
        if self._joint is not None:
            if not event.data_completed and self._empty_pages < EMPTY_PAGES:
                return self._request_more()
            self._start_afresh()
        elif self._leg is _Leg.GAP:
            self._finish()
        elif not len(self._bars) and not event.data_completed:
            damage = self._damaged()
            told = [f"{len(damage):,} rows were not bars, {where(damage)}"] if damage else []
            told += [ahead(sorted(self._ahead))] if self._ahead else []
            text = ": ".join([f"{self.request}: the server completed the series without a bar", *told])
            self.error = NoBarsError(text, is_empty_answer=not told)
        else:
            self._settled = self._bars.oldest
            self._update_mode = event.update_mode
            self._reach = self._reach_of(event.data_completed)
            if self._reach is None:
                return self._request_more()
            if math.isinf(self._newest_held) or self._newest_held >= self._cut_s:
                self._finish()
            else:
                self.wants_session = True
        return []

    def _reach_of(self, data_completed: str) -> Reach | None:
        """How far the bars reach, None while more are to be asked for."""
        if self._is_satisfied():
            return "complete"
        if data_completed:
            return "exhausted" if data_completed == "end" else "limited"
        return "limited" if self._empty_pages >= EMPTY_PAGES else None

    def _is_satisfied(self) -> bool:
        if self.request.bars_count is not None:
            return self._wanted_count() >= self.request.bars_count
        return self._bars.oldest <= self._start_s

    def _finish(self) -> None:
        held = self._bars.joined()
        start_s = self._first_wanted(held)
        rows = self._cut(held, start_s)
        reach: Reach = "complete" if self._reach is None or self._is_satisfied() else self._reach
        longest_s = self.request.width.longest_s + (feed_delay_s(self._update_mode) or 0.0)
        forming_from = self._bars.forming_from(longest_s)
        is_limited = reach == "limited" and len(self._bars) > 0
        damage = [row for row in self._damaged() if row.is_in(start_s, self._cut_s)]
        later = [int(moment) for moment in sorted(self._ahead) if moment > self._clock_s and moment < self._cut_s]
        self.history = SeriesHistory(
            request=self.request,
            info=self._info,
            rows=rows,
            reach=reach,
            forming_from=forming_from,
            update_mode=self._update_mode,
            requests=self._requests,
            server_time=self._clock_s,
            asked=None if damage else self._asked(reach, rows.times, forming_from, longest_s),
            window=(len(self._bars), int(self._bars.oldest)) if is_limited else None,
            damage=tuple(damage),
            ahead=tuple(later),
        )

    def _damaged(self) -> list[DamagedRow]:
        return sorted(Counter(self._damage).elements())

    def _holes(self) -> list[float]:
        """The places of damaged rows before the end, where no version of the bar is held."""
        places = (row.place for row in self._damaged() if row.own is None or not self._bars.has(row.own))
        return [place for place in places if -math.inf < place < self._end_s]

    def _first_wanted(self, held: BarRows) -> float:
        """From when on bars are wanted: of so many the first; a damaged row is not made up for by an older bar."""
        if self.request.bars_count is None:
            return self._start_s
        before_end = held.times[: np.searchsorted(held.times, self._end_s)]
        places = np.sort(np.append(before_end[-self.request.bars_count :], self._holes()))
        return float(places[-self.request.bars_count]) if len(places) >= self.request.bars_count else -math.inf

    def _cut(self, held: BarRows, start_s: float) -> BarRows:
        begin, end = np.searchsorted(held.times, [start_s, self._cut_s])
        rows = held[begin:end]
        # A few of many must not keep them all in memory.
        return rows if 2 * len(rows) > len(held) else BarRows(rows.values.copy())

    def _asked(
        self, reach: Reach, moments: Floats, forming_from: int | None, longest_s: float
    ) -> tuple[int, int] | None:
        if math.isinf(longest_s):
            return None
        # A bar that would have ended by now and did not come is none.
        closed_until = math.floor(self._clock_s - longest_s) + 1
        if forming_from is None:
            # The newest bar may have closed before its width was over: with its session, by the server's word.
            closed_until = max([closed_until, *(int(moment) + 1 for moment in moments[-1:])])
        else:
            begun = max([self._clock_s, *map(float, moments[moments < forming_from][-1:])])
            closed_until = min(forming_from, math.floor(begun) + 1)
        if reach == "limited":
            start = self._bars.oldest
        elif self.request.start is not None:
            start = self._start_s
        elif reach == "exhausted":
            start = _FIRST_SECOND
        else:
            start = float(moments[0]) if len(moments) else math.inf
        until = min(closed_until, self._cut_s)
        return (math.ceil(start), math.ceil(until)) if start < until else None

    def _wanted_count(self) -> int:
        return self._bars.count_before(self._end_s) + len(self._holes())

    def _first_count(self) -> int:
        wanted = self.request.bars_count or 0
        if self.request.bars_count is not None and self.request.end is not None:
            wanted += self._bars_between(self._end_s, self._clock_s)
        elif self.request.start is not None:
            wanted = self._bars_between(self._start_s, self._clock_s)
        elif self.request.bars_count is None:
            wanted = PAGE_BARS
        return min(wanted, PAGE_BARS)

    def _missing_count(self) -> int:
        """How many bars to ask for beyond the oldest one held."""
        missing = PAGE_BARS
        if self.request.bars_count is not None:
            missing = self.request.bars_count - self._wanted_count()
            if self._bars.oldest > self._end_s:
                missing += self._bars_between(self._end_s, self._bars.oldest)
        elif self.request.start is not None:
            missing = self._bars_between(self._start_s, self._bars.oldest)
        return min(missing, PAGE_BARS)

    def _bars_between(self, start_s: float, end_s: float) -> int:
        """How many bars lie between at most, in a market that never closes; two more for the edges."""
        if not self.request.width.is_time_based:
            return PAGE_BARS
        return max(math.ceil((end_s - start_s) / self.request.width.seconds), 0) + 2


class _Bars:
    """The last version of each bar held, and what is known of those that were the newest when they came."""

    def __init__(self) -> None:
        # Each ascends, and all of it is older than all of the next.
        self._pages: list[Floats] = []
        self._heads: dict[float, tuple[float | None, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._pages))

    @property
    def oldest(self) -> float:
        return float(self._pages[0][0, 0]) if self._pages else math.inf

    def add(self, page: Floats, close_time: float | None, clock_s: float) -> None:
        """Hold an ascending page that came at `clock_s`; `close_time` is the server's word on its newest bar's end."""
        first, newest = float(page[0, 0]), float(page[-1, 0])
        is_newest = not self._pages or newest >= self._pages[-1][-1, 0]
        # What comes again beside or after a newer bar is final.
        self._heads = {moment: word for moment, word in self._heads.items() if _bar_at(page, moment) is None}
        if is_newest:
            is_plausible = close_time is not None and close_time > newest
            self._heads[newest] = (close_time if is_plausible else None, clock_s)
        older = [each for each in self._pages if each[-1, 0] < first]
        newer = [each for each in self._pages if each[0, 0] > newest]
        met = self._pages[len(older) : len(self._pages) - len(newer)]
        self._pages = [*older, ascending(np.concatenate([*met, page])) if met else page, *newer]

    def joined(self) -> BarRows:
        """All bars, oldest first."""
        if len(self._pages) > 1:
            self._pages = [np.concatenate(self._pages)]
        return BarRows(self._pages[0] if self._pages else np.empty((0, COLUMNS)))

    def count_before(self, moment: float) -> int:
        return sum(int(np.searchsorted(page[:, 0], moment)) for page in self._pages)

    def hold(self, row: Floats) -> bool:
        """True if this very bar is held, with the same values."""
        found = (_bar_at(page, row[0]) for page in self._pages)
        return any(each is not None and np.array_equal(each, row, equal_nan=True) for each in found)

    def has(self, moment: float) -> bool:
        return any(_bar_at(page, moment) is not None for page in self._pages)

    def drop_before(self, moment: float) -> None:
        cut = (page[np.searchsorted(page[:, 0], moment) :] for page in self._pages)
        self._pages = [page for page in cut if len(page)]

    def second_oldest(self) -> float:
        return float(np.concatenate([page[:2, 0] for page in self._pages[:2]])[:2][-1])

    def first_unsure(self) -> float:
        """The first bar whose version here need not be its last, be it by any clock."""
        return min(self._heads)

    def forming_from(self, width_s: float) -> int | None:
        """Open of the first bar whose version here may not be its last; None if all are closed.

        A bar is closed if it came when the server's clock was past its end; without the server's word that is
        `width_s` after its open.
        """
        ends = (
            (moment, clock_s, moment + width_s if end_s is None else end_s)
            for moment, (end_s, clock_s) in self._heads.items()
        )
        return min((int(moment) for moment, clock_s, end_s in ends if end_s > clock_s), default=None)


def _bar_at(page: Floats, moment: float) -> Floats | None:
    """The bar of an ascending page that opened at a moment."""
    place = np.searchsorted(page[:, 0], moment)
    return page[place] if place < len(page) and page[place, 0] == moment else None


def open_series(session: str, spec: str, resolution: str, span: "int | protocol.BarsUpTo") -> list[protocol.Command]:
    """The commands that open a chart session with one series in it."""
    return [
        protocol.chart_create_session(session),
        protocol.resolve_symbol(session, SYMBOL_ID, spec),
        protocol.create_series(session, SERIES_ID, SYMBOL_ID, resolution, span),
    ]


def failure_of(request: HistoryRequest, event: protocol.Event) -> TradingViewError | None:
    """The error that an event means for the request, None if it refuses nothing."""
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
    return isinstance(error, PaceError)


def is_pace_reason(reason: str) -> bool:
    """True if these words of the server only want sessions to be opened more slowly."""
    return reason.startswith(_PACE_REASON)


def _refusal(request: HistoryRequest, reason: str) -> TradingViewError:
    if is_pace_reason(reason):
        return PaceError(request.symbol, str(request.width), reason)
    if any(word in reason for word in _ENTITLEMENT_REASONS):
        return EntitlementError(request.symbol, str(request.width), reason)
    retryable = reason.startswith(_RETRYABLE_REASON)
    return SeriesError(request.symbol, str(request.width), reason, retryable=retryable)
