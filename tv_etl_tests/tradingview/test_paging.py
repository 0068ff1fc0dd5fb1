"""The pager against a scripted server: it asks for what is missing and says how far the answer reaches."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import (
    EntitlementError,
    IntervalError,
    NoBarsError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.models import HistoryRequest, Reach, SeriesHistory
from tv_etl.tradingview.paging import SERIES_ID, SYMBOL_ID, SeriesPager, is_pace_refusal
from tv_etl_tests.tradingview.legal_server import Habits, LegalServer, Market

pytestmark = pytest.mark.pure

MINUTE = 60

Truth = dict[int, list[float]]  # the market's bars by their opens
NOW = 1_000_000 * MINUTE


class ScriptedServer:
    """Serves minute bars `first..last` the way the live server does: newest first, then what is older."""

    def __init__(self, first: int, last: int, *, window: int = 10**9, says_end: bool = True) -> None:
        self.times = [minute * MINUTE for minute in range(first, last + 1)]
        self.first_served = max(len(self.times) - window, 0)
        self.is_limited = window < len(self.times)
        self.says_end = says_end
        self.served = len(self.times)
        self.asked: list[int] = []

    def answer(self, command: protocol.Command) -> list[protocol.Event]:
        if command.method not in ("create_series", "request_more_data"):
            return []
        count = int(command.params[5] if command.method == "create_series" else command.params[2])
        self.asked.append(count)
        start = max(self.served - count, self.first_served)
        rows = [[float(time), 1.0, 2.0, 0.5, 1.5, 10.0] for time in self.times[start : self.served]]
        is_out = self.served - count < self.first_served
        self.served = start
        session = command.params[0]
        word = ("limit" if self.is_limited else "end") if is_out and self.says_end else ""
        close_time = self.times[-1] + MINUTE if self.times else None
        return [
            protocol.BarsReceived(session, SERIES_ID, True, rows, close_time, NOW * 1000),
            protocol.SeriesCompleted(session, SERIES_ID, "streaming", word),
        ]


def fetch(server: ScriptedServer, **request: Any) -> SeriesHistory:
    pager = SeriesPager(HistoryRequest("BINANCE:BTCUSDT", "1m", **request), "cs_1", now_s=NOW)
    commands = pager.start()
    while commands:
        events = [event for command in commands for event in server.answer(command)]
        commands = [command for event in events for command in pager.receive(event)]
    if pager.history is None:
        raise pager.error or AssertionError("the pager stopped without a result")
    return pager.history


def at(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE, tz=timezone.utc)


def minutes(history: SeriesHistory) -> list[int]:
    return [int(row[0]) // MINUTE for row in history.rows]


def test_the_newest_bars_come_in_one_answer() -> None:
    server = ScriptedServer(999_000, 1_000_000)
    history = fetch(server, bars_count=30)
    assert minutes(history) == list(range(999_971, 1_000_001))
    assert (history.reach, history.requests, server.asked) == ("complete", 1, [30])


def test_more_bars_than_a_page_are_paged() -> None:
    server = ScriptedServer(980_000, 1_000_000)
    history = fetch(server, bars_count=12_000)
    assert len(history.rows) == 12_000
    assert (history.reach, server.asked) == ("complete", [5_000, 5_000, 2_000])
    assert history.forming_from == NOW


def test_few_bars_of_long_ago_are_reached_in_whole_pages() -> None:
    server = ScriptedServer(900_000, 1_000_000)
    history = fetch(server, bars_count=3, end=at(960_000))
    assert minutes(history) == [959_997, 959_998, 959_999]
    assert history.requests <= 9


def test_bars_from_the_end_on_come_as_well_where_they_are_wanted() -> None:
    history = fetch(ScriptedServer(900_000, 1_000_000), bars_count=3, end=at(999_000), up_to_now=True)
    assert minutes(history) == list(range(998_997, 1_000_001))
    assert (history.reach, history.asked) == ("complete", (998_997 * MINUTE, NOW))


def test_a_range_is_half_open_and_exact() -> None:
    history = fetch(ScriptedServer(900_000, 1_000_000), start=at(990_000), end=at(990_100))
    assert minutes(history) == list(range(990_000, 990_100))
    assert history.reach == "complete"


def test_the_start_of_history_is_said() -> None:
    history = fetch(ScriptedServer(999_990, 1_000_000), bars_count=50)
    assert (len(history.rows), history.reach) == (11, "exhausted")


def test_the_plans_window_is_said() -> None:
    history = fetch(ScriptedServer(900_000, 1_000_000, window=6_000), start=at(950_000))
    assert (len(history.rows), history.reach) == (6_000, "limited")


def test_a_server_that_just_stops_is_not_taken_for_the_start_of_history() -> None:
    history = fetch(ScriptedServer(999_990, 1_000_000, says_end=False), bars_count=50)
    assert (len(history.rows), history.reach, history.requests) == (11, "limited", 3)


def test_without_limits_everything_is_fetched() -> None:
    history = fetch(ScriptedServer(988_000, 1_000_000))
    assert (len(history.rows), history.reach) == (12_001, "exhausted")


@given(st.integers(0, 12_000), st.integers(0, 12_000), st.integers(0, 12_000))
def test_any_range_holds_exactly_the_servers_bars(depth: int, start: int, length: int) -> None:
    first, begin = 1_000_000 - depth, 1_000_000 - start
    history = fetch(ScriptedServer(first, 1_000_000), start=at(begin), end=at(begin + length + 1))
    assert minutes(history) == [m for m in range(first, 1_000_001) if begin <= m <= begin + length]
    assert history.reach == ("complete" if first <= begin else "exhausted")


def pager_for(**request: Any) -> SeriesPager:
    pager = SeriesPager(HistoryRequest("NASDAQ:AAPL", "1m", **request), "cs_1", now_s=NOW)
    pager.start()
    return pager


def bars(*rows: list[float], close_time: float | None, time_s: float | None) -> protocol.BarsReceived:
    time_ms = None if time_s is None else int(time_s * 1000)
    return protocol.BarsReceived("cs_1", SERIES_ID, True, list(rows), close_time, time_ms)


COMPLETED = protocol.SeriesCompleted("cs_1", SERIES_ID, "streaming", "")


@pytest.mark.parametrize(
    ("close_time", "server_time", "forming"),
    [
        (NOW + 60, NOW + 59, NOW),  # the server says when the bar ends
        (NOW + 60, NOW + 60, None),
        (NOW + 960, NOW + 100, NOW),  # a delayed feed ends its bars later
        (NOW + 59, NOW + 59, None),  # the last bar of a session ends a second early
        (NOW, NOW + 59, NOW),  # the end of the bar before is no word on this one
        (None, NOW + 59, NOW),  # without the server's word the width decides
        (None, NOW + 60, None),
        (NOW + 60, None, NOW),  # without the server's clock ours decides
    ],
)
def test_the_last_bar_is_forming_by_the_servers_clock(
    close_time: float | None, server_time: float | None, forming: int | None
) -> None:
    pager = pager_for(bars_count=1)
    pager.receive(bars([float(NOW), 1, 1, 1, 1], close_time=close_time, time_s=server_time))
    pager.receive(COMPLETED)
    assert pager.history is not None
    assert pager.history.forming_from == forming


def test_the_last_version_of_a_bar_wins() -> None:
    pager = pager_for(bars_count=2)
    pager.receive(bars([60.0, 1, 1, 1, 1], [120.0, 1, 1, 1, 1], close_time=180, time_s=NOW))
    pager.receive(bars([120.0, 2, 2, 2, 2], close_time=180, time_s=NOW))
    pager.receive(COMPLETED)
    assert pager.history is not None
    assert [row[1] for row in pager.history.rows] == [1, 2]


def test_an_answer_without_bars_is_an_error_unless_the_server_says_there_are_none() -> None:
    pager = pager_for(bars_count=2)
    pager.receive(COMPLETED)
    assert isinstance(pager.error, NoBarsError)
    pager = pager_for(bars_count=2)
    pager.receive(protocol.SeriesCompleted("cs_1", SERIES_ID, "", "end"))
    assert pager.history is not None
    assert (pager.history.rows, pager.history.reach) == ([], "exhausted")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (protocol.SymbolFailed("cs_1", SYMBOL_ID, "invalid symbol"), SymbolError),
        (protocol.SymbolFailed("cs_1", SYMBOL_ID, "permission denied, group, paid"), EntitlementError),
        (protocol.SeriesFailed("cs_1", SERIES_ID, "resolve error"), SymbolError),
        (protocol.SeriesFailed("cs_1", SERIES_ID, "unsupported resolution: X, 5"), SeriesError),
        (protocol.SeriesFailed("cs_1", SERIES_ID, "seconds_not_entitled"), EntitlementError),
        (protocol.SeriesFailed("cs_1", SERIES_ID, "custom_resolution"), EntitlementError),
        (protocol.SessionFailed("cs_1", "invalid parameters", "method: create_series. args: ..."), IntervalError),
        (protocol.SessionFailed("cs_1", "duplicate id", ""), SeriesError),
    ],
)
def test_every_refusal_is_a_typed_error(event: protocol.Event, expected: type[TradingViewError]) -> None:
    pager = pager_for(bars_count=2)
    pager.receive(event)
    assert type(pager.error) is expected
    assert "1m" in str(pager.error) or "NASDAQ:AAPL" in str(pager.error)


def test_a_server_that_wants_patience_is_not_refusing_the_series() -> None:
    pager = pager_for(bars_count=2)
    pager.receive(protocol.SessionFailed("cs_1", "max sessions rate reached", "method: chart_create_session"))
    assert pager.error is not None
    assert is_pace_refusal(pager.error)
    assert pager.error.retryable


# --- a new session after a lost one ----------------------------------------------------------------------------


def held_and_lost(*pages: Sequence[protocol.Event], **request: Any) -> SeriesPager:
    """A pager that has received some pages when its connection breaks."""
    pager = pager_for(**request)
    for page in pages:
        for event in page:
            pager.receive(event)
    return pager


def snapshot(session: str, first: int, last: int, *, price: float = 1.0, now: float = NOW) -> protocol.BarsReceived:
    rows = [[minute * 60.0, price, price, price, price] for minute in range(first, last + 1)]
    return protocol.BarsReceived(session, SERIES_ID, True, rows, rows[-1][0] + 60, int(now * 1000))


def completed(session: str, word: str = "") -> protocol.SeriesCompleted:
    return protocol.SeriesCompleted(session, SERIES_ID, "streaming", word)


def asked_span(commands: list[protocol.Command]) -> Any:
    (create,) = (command for command in commands if command.method == "create_series")
    return create.params[5]


def test_what_whole_pages_brought_is_not_asked_for_again() -> None:
    first = [snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")]
    cut_short = [snapshot("cs_1", 999_850, 999_870)]
    pager = held_and_lost(first, cut_short, bars_count=300)
    assert asked_span(pager.resume("cs_2", now_s=NOW + 130)) == ("bar_count", 999_902 * 60, 202)
    pager.receive(completed("cs_1", "end"))  # a late answer of the old session
    pager.receive(snapshot("cs_2", 999_601, 999_902))
    pager.receive(completed("cs_2"))
    assert (pager.wants_session, pager.is_done) == (True, False)
    assert asked_span(pager.resume("cs_3", now_s=NOW + 130)) == 5
    pager.receive(snapshot("cs_3", 999_998, 1_000_002, price=2.0, now=NOW + 130))
    pager.receive(completed("cs_3"))
    assert pager.history is not None
    assert minutes(pager.history) == list(range(999_703, 1_000_003))
    assert [row[1] for row in pager.history.rows[-6:]] == [1, 2, 2, 2, 2, 2]
    assert (pager.history.reach, pager.history.forming_from, pager.history.requests) == ("complete", NOW + 120, 4)


def test_what_came_behind_the_last_whole_page_is_forgotten() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000)], bars_count=300)
    assert asked_span(pager.resume("cs_2", now_s=NOW)) == 300
    pager.receive(snapshot("cs_2", 999_990, 1_000_000))
    pager.receive(completed("cs_2", "limit"))
    assert pager.history is not None
    assert minutes(pager.history) == list(range(999_990, 1_000_001))


def test_half_a_page_leaves_no_hole() -> None:
    pager = held_and_lost(
        [snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], [snapshot("cs_1", 999_801, 999_810)], bars_count=300
    )
    pager.resume("cs_2", now_s=NOW)
    pager.receive(snapshot("cs_2", 999_890, 999_902))
    pager.receive(completed("cs_2", "limit"))
    pager.resume("cs_3", now_s=NOW)
    pager.receive(snapshot("cs_3", 999_999, 1_000_000))
    pager.receive(completed("cs_3"))
    assert pager.history is not None
    assert minutes(pager.history) == list(range(999_890, 1_000_001))


def test_a_bar_that_may_have_changed_unseen_is_fetched_again() -> None:
    # The last update of bar 1,000,000 is of its 30th second; then the next bar opens and the line breaks.
    pager = held_and_lost(
        [snapshot("cs_1", 999_901, 1_000_000, now=NOW + 30), completed("cs_1")],
        [snapshot("cs_1", 1_000_001, 1_000_001, now=NOW + 61)],
        bars_count=200,
    )
    pager.resume("cs_2", now_s=NOW + 70)
    pager.receive(snapshot("cs_2", 999_801, 999_902))
    pager.receive(completed("cs_2"))
    pager.resume("cs_3", now_s=NOW + 70)
    pager.receive(snapshot("cs_3", 1_000_001, 1_000_001, now=NOW + 70))
    assert pager.receive(completed("cs_3")) == [protocol.request_more_data("cs_3", SERIES_ID, 5_000)]
    pager.receive(snapshot("cs_3", 1_000_000, 1_000_000, price=9.0, now=NOW + 70))
    pager.receive(completed("cs_3"))
    assert pager.history is not None
    assert [row[1] for row in pager.history.rows[-3:]] == [1, 9, 1]
    assert pager.history.forming_from == NOW + 60


def test_bars_that_opened_meanwhile_count() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_991, 1_000_000), completed("cs_1")], bars_count=11)
    pager.resume("cs_2", now_s=NOW + 60)
    pager.receive(snapshot("cs_2", 999_991, 999_992))
    pager.receive(completed("cs_2", "end"))
    pager.resume("cs_3", now_s=NOW + 60)
    pager.receive(snapshot("cs_3", 999_999, 1_000_001, now=NOW + 60))
    pager.receive(completed("cs_3"))
    assert pager.history is not None
    assert (len(pager.history.rows), pager.history.reach) == (11, "complete")


def test_an_adjusted_history_is_fetched_afresh() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], bars_count=200)
    pager.resume("cs_2", now_s=NOW)
    pager.receive(snapshot("cs_2", 999_801, 999_902, price=0.5))
    assert pager.wants_session
    assert asked_span(pager.resume("cs_3", now_s=NOW)) == 200
    pager.receive(snapshot("cs_3", 999_801, 1_000_000, price=0.5))
    pager.receive(completed("cs_3"))
    assert pager.history is not None
    assert {row[1] for row in pager.history.rows} == {0.5}


@pytest.mark.parametrize(
    "refusal",
    [
        protocol.SessionFailed("cs_2", "invalid parameters", "method: create_series"),
        protocol.SeriesFailed("cs_2", SERIES_ID, "unsupported range"),
    ],
)
def test_a_server_that_knows_no_moments_is_asked_in_the_plain_way(refusal: protocol.Event) -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], bars_count=200)
    pager.resume("cs_2", now_s=NOW)
    pager.receive(refusal)
    assert (pager.wants_session, pager.error) == (True, None)
    assert asked_span(pager.resume("cs_3", now_s=NOW)) == 200
    # Asked in vain once: the next loss begins from the start, too.
    pager.receive(snapshot("cs_3", 999_901, 1_000_000))
    pager.receive(completed("cs_3"))
    assert asked_span(pager.resume("cs_4", now_s=NOW)) == 200


def test_a_refusal_of_the_symbol_itself_is_an_error_in_a_resumed_session_too() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], bars_count=200)
    pager.resume("cs_2", now_s=NOW)
    pager.receive(protocol.SymbolFailed("cs_2", SYMBOL_ID, "invalid symbol"))
    assert isinstance(pager.error, SymbolError)


def test_a_session_that_does_not_join_is_not_trusted() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], bars_count=200)
    pager.resume("cs_2", now_s=NOW)
    pager.receive(snapshot("cs_2", 999_700, 999_899))
    pager.receive(completed("cs_2", "limit"))
    assert pager.wants_session
    assert asked_span(pager.resume("cs_3", now_s=NOW)) == 200


def test_a_range_that_ended_before_the_loss_needs_no_newer_bars() -> None:
    pager = held_and_lost([snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")], start=at(999_800), end=at(999_950))
    pager.resume("cs_2", now_s=NOW + 600)
    pager.receive(snapshot("cs_2", 999_700, 999_902))
    pager.receive(completed("cs_2"))
    assert pager.history is not None
    assert minutes(pager.history) == list(range(999_800, 999_950))


def test_an_answer_up_to_now_needs_the_bars_of_the_time_without_a_connection() -> None:
    whole = [snapshot("cs_1", 999_901, 1_000_000), completed("cs_1")]
    pager = held_and_lost(whole, bars_count=150, end=at(999_950), up_to_now=True)
    pager.resume("cs_2", now_s=NOW + 600)
    pager.receive(snapshot("cs_2", 999_700, 999_902))
    pager.receive(completed("cs_2"))
    assert pager.wants_session


# --- whatever the protocol leaves open -------------------------------------------------------------------------

habits = st.builds(
    Habits,
    page=st.integers(1, 12),
    extra=st.integers(0, 5),
    window=st.integers(1, 40) | st.just(1_000),
    says_end=st.booleans(),
    chatter=st.sampled_from([0.0, 0.3, 0.6]),
    liveliness=st.sampled_from([0.0, 0.3, 0.6]),
    **{name: st.sampled_from(get_args(kind)) for name, kind in get_type_hints(Habits).items() if get_args(kind)},
    late_updates=st.booleans(),
)


def converse(market: Market, habits: Habits, request: HistoryRequest, losses: list[int]) -> tuple[SeriesPager, Truth]:
    """Play a fetch to its end; each number in `losses` lets so many WebSocket messages through before a line breaks.

    Returns the pager and the market's bars when the pager finished.
    """
    pager = SeriesPager(request, "cs_0", now_s=market.clock)
    commands = pager.start()
    for number in range(1, 1_000):
        server, client = LegalServer(market, habits), protocol.ClientProtocol()
        left = losses.pop(0) if losses else 10**9
        completed = 0
        is_lost = False
        client.send(*commands)
        while not (pager.is_done or is_lost):
            for text in client.text_to_send():
                server.receive(text)
            messages = server.messages()
            assert messages, "both ends wait for each other"
            for message in messages[:left]:
                client.receive_text(message)
                for event in client.events_received():
                    if not pager.is_done:
                        completed += isinstance(event, protocol.SeriesCompleted) and is_ours(event)
                        client.send(*pager.receive(event))
                if pager.wants_session:
                    old = pager.session
                    commands = pager.resume(f"{old}_", now_s=market.clock)
                    client.send(protocol.chart_delete_session(old), *commands)
            left -= len(messages)
            is_lost = left <= 0
        if pager.is_done:
            return pager, server.completed[completed - 1]
        for _ in range(number % 4):
            market.go_on()
        commands = pager.resume(f"cs_{number}", now_s=market.clock)
    raise AssertionError("the pager does not come to an end")


def is_ours(event: protocol.SeriesCompleted) -> bool:
    return event.series == SERIES_ID and event.session != "cs_other"


def check(pager: SeriesPager, habits: Habits, market: Market, bars: Truth) -> None:
    """The answer is the market's, bar for bar, and says truly how far it reaches and what may still change."""
    request, history = pager.request, pager.history
    assert history is not None, pager.error
    floor = max(market.held - habits.window, 0)
    start = -math.inf if request.start is None else request.start.timestamp()
    end = math.inf if request.end is None else request.end.timestamp()
    served = [time for time in market.times[floor : len(bars)] if time < end]
    if request.bars_count is not None:
        is_complete, wanted = len(served) >= request.bars_count, served[-request.bars_count :]
    else:
        is_complete, wanted = market.times[floor] <= start, [time for time in served if time >= start]
    newer = [time for time in market.times[floor : len(bars)] if time >= end] if request.up_to_now else []
    assert [int(row[0]) for row in history.rows] == [*wanted, *newer]
    word: Reach = "exhausted" if habits.says_end and not floor else "limited"
    assert history.reach == ("complete" if is_complete else word)
    for row in history.rows:
        time = int(row[0])
        if history.forming_from is None or time < history.forming_from:
            assert row == market.row(time), "a bar is called closed and is not what it became"
            assert time + 60 <= market.clock
        elif not habits.late_updates:
            assert row == bars[time]
    if history.asked is not None:
        asked_from, asked_until = history.asked
        shown = {int(row[0]) for row in history.rows}
        assert {time for time in market.times if asked_from <= time < asked_until} <= shown
        # What has not closed cannot be known to be missing.
        assert asked_until <= max(market.clock - 59, history.forming_from or 0)
        closed = {time for time in shown if history.forming_from is None or time < history.forming_from}
        assert all(asked_from <= time < asked_until for time in closed)
    if history.window is not None:
        assert history.window[1] == market.times[floor]
        assert history.window[0] >= len(history.rows)


requests = st.one_of(
    st.builds(lambda count: {"bars_count": count}, st.integers(1, 50)),
    st.builds(
        lambda count, end, up_to_now: {"bars_count": count, "end": end, "up_to_now": up_to_now},
        st.integers(1, 20),
        st.integers(0, 100),
        st.booleans(),
    ),
    st.builds(lambda start: {"start": start}, st.integers(0, 100)),
    st.builds(lambda start, length: {"start": start, "end": start + length}, st.integers(0, 80), st.integers(1, 50)),
    st.just({}),
)


def request_in(market: Market, wish: dict[str, Any]) -> HistoryRequest:
    """A request whose moments are percentages of the market's life."""
    first, last = market.times[0] - 600, market.times[-1]
    moments = {
        name: datetime.fromtimestamp(first + (last - first) * value // 100, tz=timezone.utc)
        for name, value in wish.items()
        if name in ("start", "end")
    }
    fields: dict[str, Any] = {**wish, **moments}
    return HistoryRequest("X:Y", "1m", **fields)


markets = st.builds(Market, st.integers(0, 10**6), st.integers(2, 40), st.integers(0, 20), has_volume=st.booleans())


@settings(max_examples=200, deadline=None)
@given(markets, habits, requests)
def test_any_legal_conversation_ends_in_exactly_the_markets_bars(
    market: Market, habits: Habits, wish: dict[str, Any]
) -> None:
    pager, truth = converse(market, habits, request_in(market, wish), [])
    check(pager, habits, market, truth)


@settings(max_examples=200, deadline=None)
@given(markets, habits, requests, st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_lost_connections_change_nothing_in_the_answer(
    market: Market, habits: Habits, wish: dict[str, Any], losses: list[int]
) -> None:
    pager, truth = converse(market, habits, request_in(market, wish), losses)
    check(pager, habits, market, truth)
