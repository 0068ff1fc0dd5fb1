"""A live series across sessions: every bar once, as it is by then, and no hole that is not told."""

import math
import random
from collections.abc import Callable

import pytest

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import StaleStreamError
from tv_etl.tradingview.live_bars import LiveBars, Silence
from tv_etl.tradingview.models import HistoryRequest, StreamGap, SymbolInfo
from tv_etl.tradingview.paging import PAGE_BARS, SERIES_ID

pytestmark = pytest.mark.pure

T0 = 1_787_292_480.0


def row(minute: float, close: float = 1.0) -> list[float]:
    return [T0 + 60 * minute, 1.0, max(2.0, close), 0.5, close, 10.0]


def minutes(first: int, last: int) -> list[list[float]]:
    return [row(minute) for minute in range(first, last + 1)]


class Talk:
    """A fold, and what a server says to it at a time of its own."""

    def __init__(self, bars_count: int = 3, interval: str = "1m") -> None:
        self.now = T0
        request = HistoryRequest("X:Y", interval, bars_count=bars_count)
        self.live = LiveBars(request, lambda: self.now)
        self.session = ""
        self.gaps: list[StreamGap] = []
        self._sessions = 0

    def open(self) -> int | protocol.BarsUpTo:
        """A new session; how many bars it asks for."""
        self._sessions += 1
        self.session = f"cs_{self._sessions}"
        create = self.live.open(self.session)[-1]
        assert create.method == "create_series"
        return create.params[5]  # type: ignore[no-any-return]

    def say(self, *rows: list[float], session: str = "", is_snapshot: bool = False) -> list[tuple[int, float]]:
        """The minute and close of each bar shown for these."""
        event = protocol.BarsReceived(session or self.session, SERIES_ID, is_snapshot, list(rows), None, None)
        assert self.live.receive(event, self.now) == []
        return self.shown()

    def complete(self, data_completed: str = "") -> int | None:
        """How many bars are asked for next."""
        commands = self.live.receive(
            protocol.SeriesCompleted(self.session, SERIES_ID, "streaming", data_completed), self.now
        )
        if not commands:
            return None
        (command,) = commands
        assert (command.method, command.params[:2]) == ("request_more_data", (self.session, SERIES_ID))
        return int(command.params[2])

    def shown(self) -> list[tuple[int, float]]:
        rows, gaps = self.live.take()
        self.gaps += gaps
        return [(round((each[0] - T0) / 60), each[4]) for each in rows]


def begun(**options: int | str) -> Talk:
    """Minutes 0 to 2 were shown, then the session was lost."""
    talk = Talk(**options)  # type: ignore[arg-type]
    assert talk.open() == talk.live._request.bars_count
    assert len(talk.say(*minutes(0, 2), is_snapshot=True)) == 3
    assert talk.complete() is None
    return talk


def test_a_new_session_is_asked_for_what_was_missed_by_the_servers_clock() -> None:
    talk = begun()
    talk.now = T0 + 60 * 60
    assert talk.open() == 60
    talk.now = T0 - 3_600  # a host that is behind, and a server that does not tell its time
    assert talk.open() == 3
    talk.now = T0 + 1e9
    assert talk.open() == PAGE_BARS


def test_what_joins_at_once_is_shown_at_once_with_its_final_values() -> None:
    talk = begun()
    talk.open()
    assert talk.say(row(1), row(2, 7.0), row(3), is_snapshot=True) == [(2, 7.0), (3, 1.0)]
    assert talk.complete() is None
    assert talk.gaps == []


def test_what_does_not_join_is_held_until_older_pages_have_brought_the_rest() -> None:
    talk = begun()
    talk.open()
    assert talk.say(*minutes(20, 22), is_snapshot=True) == []
    assert talk.live.is_owed
    assert talk.complete() == 20, "18 are missing: minutes 3 to 19, and the newest one seen"
    assert talk.say(row(22, 5.0)) == [], "a live change meanwhile"
    assert talk.say(*minutes(10, 19), is_snapshot=True) == []
    assert talk.complete() == 10
    got = talk.say(row(2, 4.0), *minutes(3, 9), is_snapshot=True)
    assert got == [(2, 4.0), *[(minute, 1.0) for minute in range(3, 22)], (22, 5.0)]
    assert not talk.live.is_owed and talk.complete() is None
    assert talk.say(row(22, 6.0)) == [(22, 6.0)]
    assert talk.gaps == []


@pytest.mark.parametrize("end", ["end", "limit"])
def test_where_the_servers_window_ends_the_gap_is_told(end: str) -> None:
    talk = begun()
    talk.open()
    assert talk.say(*minutes(20, 22), is_snapshot=True) == []
    assert talk.complete(end) is None
    assert [minute for minute, _ in talk.shown()] == [20, 21, 22]
    assert talk.gaps == [StreamGap("X:Y", "1m", T0 + 120, T0 + 1200)]
    talk.open()
    assert talk.say(row(22), row(23), is_snapshot=True) == [(23, 1.0)], "the next one joins again"


def test_pages_that_bring_nothing_end_in_a_told_gap() -> None:
    talk = begun()
    talk.open()
    talk.say(*minutes(20, 22), is_snapshot=True)
    assert talk.complete() == 20
    assert talk.complete() == 20, "one empty page is no end"
    assert talk.complete() is None
    assert [minute for minute, _ in talk.shown()] == [20, 21, 22]
    assert len(talk.gaps) == 1


def test_a_server_that_never_answers_older_pages_is_not_waited_for() -> None:
    talk = begun()
    talk.open()
    talk.say(*minutes(20, 22), is_snapshot=True)
    talk.complete()
    talk.live.receive(Silence(talk.session), talk.now)
    assert [minute for minute, _ in talk.shown()] == [20, 21, 22]
    assert len(talk.gaps) == 1


def test_a_server_without_older_pages_is_asked_once() -> None:
    talk = begun()
    talk.open()
    talk.say(*minutes(20, 22), is_snapshot=True)
    assert talk.complete() == 20
    talk.live.receive(protocol.SessionFailed(talk.session, "unsupported method", "request_more_data"), talk.now)
    talk.open()
    assert [minute for minute, _ in talk.say(*minutes(21, 23), is_snapshot=True)] == [21, 22, 23]
    assert talk.gaps == [StreamGap("X:Y", "1m", T0 + 120, T0 + 21 * 60)]


def test_a_new_session_without_bars_holds_on_until_some_come() -> None:
    talk = begun()
    talk.open()
    assert talk.complete() == PAGE_BARS
    assert talk.complete() is None
    assert talk.say(row(9)) == [(9, 1.0)]
    assert talk.gaps == [StreamGap("X:Y", "1m", T0 + 120, T0 + 540)]


def test_a_bar_that_the_server_has_withdrawn_is_no_reason_to_ask_for_ever() -> None:
    talk = begun()
    talk.open()
    assert talk.say(*minutes(3, 5), is_snapshot=True) == []
    assert talk.complete() == 3
    assert talk.say(*minutes(-9, -7), is_snapshot=True) == []
    assert talk.complete() is None
    assert [minute for minute, _ in talk.shown()] == [3, 4, 5]
    assert len(talk.gaps) == 1


def test_bars_years_off_join_nothing_and_hide_nothing() -> None:
    day = 24 * 60
    talk = Talk()
    talk.open()
    talk.say(*minutes(0, 2), row(1_000 * day), is_snapshot=True)
    talk.open()
    assert talk.say(row(-1_000 * day), *minutes(20, 22), row(1_000 * day), is_snapshot=True) == []
    assert talk.complete() == 20
    got = talk.say(*minutes(2, 19), is_snapshot=True)
    assert [minute for minute, _ in got] == list(range(3, 23))
    assert talk.gaps == []


def test_the_last_of_two_rows_of_one_time_counts() -> None:
    talk = Talk()
    talk.open()
    assert talk.say(row(1, 9.0), row(0), row(1, 2.0), is_snapshot=True) == [(0, 1.0), (1, 2.0)]
    assert talk.say(row(1, 2.0)) == [], "nothing new"
    assert talk.say(row(0, 3.0)) == [(0, 3.0)], "final values that come late"


def test_what_an_earlier_session_still_says_is_not_heard() -> None:
    talk = begun()
    before = talk.session
    talk.open()
    assert talk.say(*minutes(3, 9), session=before) == []
    assert talk.live.receive(protocol.SeriesCompleted(before, SERIES_ID, "streaming", "end"), talk.now) == []
    assert talk.say(row(2), row(3, 4.0), is_snapshot=True) == [(3, 4.0)]


def test_no_more_bars_than_wanted_are_shown_at_first() -> None:
    talk = Talk(bars_count=2)
    talk.open()
    assert [minute for minute, _ in talk.say(*minutes(0, 5), is_snapshot=True)] == [4, 5]
    assert talk.say(row(3, 9.0)) == [], "older than what the stream began with"


def test_bars_without_a_width_are_asked_for_page_by_page() -> None:
    talk = begun(interval="10R")
    assert talk.open() == 3
    talk.say(*minutes(20, 22), is_snapshot=True)
    assert talk.complete() == PAGE_BARS


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_lost_and_however_it_comes_every_bar_comes_once_and_in_order(seed: int) -> None:
    """A server with a final value for each minute, whose sessions end anywhere and whose clock nobody knows."""
    dice = random.Random(seed)

    def closes(minute: int) -> float:
        return 1.0 + (minute * 7919 % 101) / 100

    talk, got, market = Talk(bars_count=dice.randint(1, 5)), [], 10
    say: Callable[..., list[tuple[int, float]]] = talk.say

    def final(first: int, last: int) -> list[list[float]]:
        return [row(minute, closes(minute)) for minute in range(first, last)]

    while market < 400:
        market += dice.randint(0, 40)
        talk.now = T0 + 60 * (market + dice.choice([-60, 0, 60]))
        count = talk.open()
        assert isinstance(count, int)
        oldest = market - min(count, dice.randint(1, 30)) + 1
        parts = [final(oldest, market), [row(market, 1.5)]]
        got += say(*parts[0], *parts[1], is_snapshot=True)
        while dice.random() < 0.9:
            if (more := talk.complete()) is not None:
                until, oldest = oldest, oldest - min(more, dice.randint(1, 30))
                got += say(*final(oldest, until), is_snapshot=True)
            elif dice.random() < 0.5:
                got += say(row(market, 1.0 + dice.random()))
            else:
                got += say(row(market, closes(market)))
                market += 1
                got += say(row(market, 1.25))
    talk.now = T0 + 60 * market
    talk.open()
    got += say(*final(market - 1_000, market), row(market), is_snapshot=True)
    assert talk.gaps == []
    opens = [minute for minute, _ in got]
    assert opens == sorted(opens)
    assert sorted(set(opens)) == list(range(opens[0], market + 1))
    latest = dict(got)
    assert all(latest[minute] == closes(minute) for minute in range(opens[0], market)), "the last word is the final one"


# --- silence ----------------------------------------------------------------------------------------------------


def listening(session_hours: str = "24x7", **options: int | str) -> Talk:
    """A described series with minutes 0 to 2, the last of them forming."""
    talk = Talk(**options)  # type: ignore[arg-type]
    answer(talk, *minutes(0, 2), hours=session_hours)
    return talk


def answer(talk: Talk, *rows: list[float], hours: str = "24x7") -> int | protocol.BarsUpTo:
    """A session with a whole answer; how many bars it asked for."""
    asked = talk.open()
    talk.now = max(talk.now, rows[-1][0] + 1)
    talk.live.receive(protocol.SymbolResolved(talk.session, "sds_sym_1", SymbolInfo({"session": hours})), talk.now)
    talk.say(*rows, is_snapshot=True)
    talk.complete()
    return asked


def is_opened_again(talk: Talk) -> bool:
    try:
        talk.live.receive(Silence(talk.session), talk.now)
    except StaleStreamError:
        return True
    return False


def test_a_silent_series_is_opened_again_once_and_then_told() -> None:
    talk = listening()
    talk.now += 299
    assert not is_opened_again(talk)
    talk.now += 2
    assert is_opened_again(talk)
    asked = answer(talk, *minutes(0, 7))
    assert asked == PAGE_BARS, "as much as shows its rhythm"
    talk.now += 299
    assert not is_opened_again(talk) and talk.live.failure is None
    talk.now += 2
    assert not is_opened_again(talk)
    assert talk.live.failure is not None and talk.live.failure.retryable
    assert str(talk.live.failure) == "X:Y 1m: nothing came for 301 s of its own trading hours"


def test_what_comes_after_the_answer_is_life_and_the_answer_is_none() -> None:
    talk = listening()
    for minute in (10, 20, 30):
        talk.now = T0 + 60 * minute
        assert is_opened_again(talk), "each time anew"
        answer(talk, *minutes(0, minute))
        talk.say(row(minute, 3.0))
    assert talk.live.failure is None


def test_other_messages_are_no_sign_of_life() -> None:
    talk = listening()
    talk.now += 301
    with pytest.raises(StaleStreamError):
        talk.live.receive(protocol.Ignored(talk.session, "tickmarks"), talk.now)


def test_a_symbol_that_trades_once_an_hour_gives_no_alarm() -> None:
    hours = [row(60 * hour) for hour in range(-30, 1)]
    talk = listening()  # three bars of neighbouring minutes: as far as that shows, it trades all the time
    talk.now += 301
    assert is_opened_again(talk)
    answer(talk, *hours, *minutes(1, 2))
    for minute in range(10, 5 * 60 - 3):
        talk.now = T0 + 60 * minute
        assert not is_opened_again(talk) and talk.live.failure is None
    talk.now = T0 + 6 * 3_600
    assert is_opened_again(talk), "by its own rhythm it is late for the first time"
    assert talk.live.failure is None


@pytest.mark.parametrize("hours", ["0000-0001", "0000-0001,2358-2359"])
def test_no_alarm_outside_the_hours(hours: str) -> None:
    talk = listening(hours)
    for _ in range(100):
        talk.now += 600
        assert not is_opened_again(talk)


def test_a_new_session_begins_a_new_silence() -> None:
    talk = listening()
    talk.now += 200
    answer(talk, *minutes(1, 2))
    talk.now += 200
    assert not is_opened_again(talk)


def test_a_bar_years_off_hides_no_silence() -> None:
    talk = Talk()
    answer(talk, row(-2e7), *minutes(0, 2))
    talk.say(row(1e6))
    talk.now = T0 + 180 + 301
    assert is_opened_again(talk)


def test_a_session_is_complete_up_to_what_was_heard_once_it_has_joined() -> None:
    talk = begun()
    assert talk.live.complete_to == talk.now
    talk.open()
    assert talk.live.complete_to == -math.inf
    talk.say(*minutes(20, 22), is_snapshot=True)
    talk.complete()
    talk.live.receive(protocol.SeriesLoading(talk.session, SERIES_ID), talk.now + 5)
    assert talk.live.complete_to == -math.inf, "it has not joined"
    talk.say(*minutes(2, 19), is_snapshot=True)
    talk.live.receive(Silence(talk.session), talk.now + 10)
    assert talk.live.complete_to == talk.now + 10


def test_the_end_of_the_newest_bar_is_the_servers_word_or_the_width_and_the_delay() -> None:
    talk = Talk()
    talk.open()
    assert talk.live.newest_end is None
    talk.say(*minutes(0, 2), is_snapshot=True)
    assert talk.live.newest_end is None, "how late the feed is nobody has said"
    talk.live.receive(protocol.SeriesCompleted(talk.session, SERIES_ID, "delayed_streaming_900", ""), talk.now)
    assert talk.live.newest_end == T0 + 180 + 900
    told = protocol.BarsReceived(talk.session, SERIES_ID, False, [row(3)], T0 + 230, None, 0)
    talk.live.receive(told, talk.now)
    assert talk.live.newest_end == T0 + 230
    talk.say(row(4))
    assert talk.live.newest_end == T0 + 300 + 900, "that word was on another bar"
