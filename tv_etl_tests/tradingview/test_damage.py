"""Damage in an answer is told, by how much and where, and the same to a list, a table and a lake."""

import asyncio
import json
import math
import re
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tv_etl.collect.answer import facts_of, require_bars
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview import protocol
from tv_etl.tradingview.blocking import BlockingOHLCV, fetch_history
from tv_etl.tradingview.damage import DamagedRow, DamageWarning, where
from tv_etl.tradingview.errors import DamagedAnswerError, NoBarsError
from tv_etl.tradingview.history import to_table
from tv_etl.tradingview.models import HistoryRequest, OHLCVBar, SeriesHistory
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.paging import SERIES_ID, SeriesPager
from tv_etl_tests.conftest import NOW

MINUTE = 60
LATEST = int(NOW.timestamp()) // MINUTE * MINUTE  # the open of the minute that forms
GOOD = [1.0, 2.0, 0.5, 1.5, 7.0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as server:
        yield server.url


def times(bars: list[OHLCVBar]) -> list[int]:
    """Minutes before the one that forms."""
    return [(bar.timestamp - LATEST) // MINUTE for bar in bars]


def at(minute: int) -> datetime:
    return utc(LATEST + minute * MINUTE)


def iso(minute: int) -> str:
    return at(minute).isoformat()


# --- a list ----------------------------------------------------------------------------------------------------

# Of ten bars the third, the sixth and the ninth.
HOLES = (-7, -4, -1)


@pytest.mark.parametrize("fault", ["NULL_BARS", "STRING_BARS", "SHORT_BARS"])
def test_a_list_with_holes_is_an_error_that_says_how_many_and_where(url: str, fault: str) -> None:
    with BlockingOHLCV(url) as client, pytest.raises(DamagedAnswerError) as told:
        client.get_historical_ohlcv(f"FAULT:{fault}", "1m", 10)
    text = f"FAULT:{fault} 1m: 3 rows of the answer were not bars, the first at {iso(-7)}, the last at {iso(-1)}"
    assert (str(told.value), told.value.count) == (text, 3)
    assert isinstance(told.value, WebSocketException) and not told.value.retryable


@pytest.mark.parametrize("fault", ["NULL_BARS", "STRING_BARS", "SHORT_BARS"])
def test_a_list_may_do_without_but_is_not_filled_up_from_older_bars(url: str, fault: str) -> None:
    text = f"FAULT:{fault} 1m: 3 rows of the answer were not bars and are left out, the first at {iso(-7)}"
    with BlockingOHLCV(url) as client, pytest.warns(DamageWarning, match=re.escape(text)):
        bars = client.get_historical_ohlcv(f"FAULT:{fault}", "1m", 10, damaged="drop")
    assert times(bars) == [minute for minute in range(-9, 1) if minute not in HOLES]


def test_damage_outside_of_the_range_asked_for_is_none_of_its_bars(url: str) -> None:
    """The server sends everything up to now, of which every third row is no bar."""
    with BlockingOHLCV(url) as client:
        [answer] = client.fetch_each([HistoryRequest("FAULT:NULL_BARS", "1m", start=at(-20))]).values()
        assert isinstance(answer, SeriesHistory) and len(answer.damage) in (6, 7)
        holes = {int(row.since - LATEST) // MINUTE for row in answer.damage}
        with pytest.warns(DamageWarning, match="1 rows of the answer were not bars and are left out, at "):
            bars = client.get_historical_ohlcv("FAULT:NULL_BARS", "1m", start=at(-20), end=at(-17), damaged="drop")
    assert times(bars) == [minute for minute in (-20, -19, -18) if minute not in holes]


def test_a_bar_that_its_low_and_high_do_not_enclose_is_returned_as_served_with_a_warning(url: str) -> None:
    text = f"3 bars have a low and high that do not enclose open and close, the first at {iso(-7)}"
    with BlockingOHLCV(url) as client, pytest.warns(DamageWarning, match=re.escape(text)):
        bars = client.get_historical_ohlcv("FAULT:INVERTED", "1m", 10)
    assert times(bars) == list(range(-9, 1))
    assert [minute for minute, bar in zip(times(bars), bars, strict=True) if bar.high < bar.low] == [*HOLES]


def test_a_bar_of_the_future_is_left_out_with_a_warning(url: str) -> None:
    text = "1 bars are left out that open later than the server's clock, the first at 2029-08-14T15:00:00"
    with BlockingOHLCV(url) as client, pytest.warns(DamageWarning, match=re.escape(text)):
        bars = client.get_historical_ohlcv("FAULT:OUTSIDE", "1m", 10)
    assert times(bars) == list(range(-9, 1)), "the newest is the one that forms"


def test_a_sound_answer_warns_of_nothing(url: str) -> None:
    with BlockingOHLCV(url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(client.get_historical_ohlcv("NASDAQ:NDX", "1m", 10)) == 10


@pytest.mark.parametrize("damaged", ["skip", "", None, True])
def test_what_to_do_with_damage_is_checked_before_anything_is_sent(damaged: Any) -> None:
    """Nobody listens at that address: to connect would be another error."""
    with pytest.raises(ValueError, match=re.escape(f"damaged {damaged!r}: expected 'raise' or 'drop'")):
        asyncio.run(OHLCV("ws://127.0.0.1:1/").get_historical_ohlcv("NASDAQ:AAPL", damaged=damaged))


# --- a table, a lake, an answer ---------------------------------------------------------------------------------


def test_a_table_keeps_the_record_by_which_no_lake_takes_it(url: str) -> None:
    request = HistoryRequest("FAULT:NULL_BARS", "1m", bars_count=10)
    [(_, table)] = fetch_history([request], ws_url=url)
    assert not isinstance(table, Exception)
    facts = facts_of(table)
    assert (facts["fetch.rejected"], facts["fetch.ahead"], len(table)) == ("3", "0", 7)
    assert "tv_etl.asked_from" not in facts, "of no span every bar is known"
    with pytest.raises(DamagedAnswerError) as told:
        require_bars(request.series, table)
    with BlockingOHLCV(url) as client, pytest.raises(DamagedAnswerError) as listed:
        client.get_historical_ohlcv("FAULT:NULL_BARS", "1m", 10)
    assert str(told.value) == str(listed.value)


def test_the_bar_before_one_of_the_future_is_still_forming(url: str) -> None:
    [(_, table)] = fetch_history([HistoryRequest("FAULT:OUTSIDE", "1m", bars_count=10)], ws_url=url)
    assert not isinstance(table, Exception)
    facts = facts_of(table)
    assert (facts["fetch.ahead"], facts["tv_etl.forming_from"]) == ("1", str(LATEST))
    assert max(table["timestamp"].to_pylist()) == at(0)


def test_an_answer_of_many_has_its_damage_beside_its_rows(url: str) -> None:
    request = HistoryRequest("FAULT:SHORT_BARS", "1m", bars_count=10)
    with BlockingOHLCV(url) as client:
        [answer] = client.fetch_each([request]).values()
    assert isinstance(answer, SeriesHistory)
    assert [row.own for row in answer.damage] == [LATEST + minute * MINUTE for minute in HOLES]


# --- where a row lies ------------------------------------------------------------------------------------------


def received(*rows: Any, time_s: float | None = None) -> protocol.BarsReceived:
    points = [{"i": place, "v": row} for place, row in enumerate(rows)]
    message: dict[str, Any] = {"m": "timescale_update", "p": ["cs_1", {SERIES_ID: {"s": points}}]}
    if time_s is not None:
        message["t_ms"] = int(time_s * 1000)
    [event] = protocol.decode_event(json.dumps(message))[0]
    assert isinstance(event, protocol.BarsReceived)
    return event


@pytest.mark.parametrize(
    ("rows", "place", "words"),
    [
        ([[60, *GOOD], [120, None], [180, *GOOD]], (120, 120), "at 1970-01-01T00:02:00+00:00"),
        (
            [[60, *GOOD], [None, *GOOD], [180, *GOOD]], (60, 180),
            "after 1970-01-01T00:01:00+00:00 and before 1970-01-01T00:03:00+00:00",
        ),
        (
            [[180, *GOOD], "x", [60, *GOOD]], (60, 180),
            "after 1970-01-01T00:01:00+00:00 and before 1970-01-01T00:03:00+00:00",
        ),
        ([["x"], [180, *GOOD]], (-math.inf, 180), "before 1970-01-01T00:03:00+00:00"),
        ([["x"], [180, *GOOD], [60, *GOOD]], (180, math.inf), "after 1970-01-01T00:03:00+00:00"),
        ([[180, *GOOD], []], (180, math.inf), "after 1970-01-01T00:03:00+00:00"),
        ([[120.5, *GOOD]], (-math.inf, math.inf), "at no known time"),
        ([[10**400, *GOOD], [180, *GOOD]], (-math.inf, 180), "before 1970-01-01T00:03:00+00:00"),
    ],
)  # fmt: skip
def test_a_row_lies_at_its_own_time_or_beside_its_neighbours(
    rows: list[Any], place: tuple[float, float], words: str
) -> None:
    [row] = received(*rows).damage
    assert (row, str(row)) == (DamagedRow(*place), words)
    assert where([row]) == words


def pager_of(**request: Any) -> SeriesPager:
    pager = SeriesPager(HistoryRequest("X:Y", "1m", **request), "cs_1", now_s=LATEST)
    pager.start()
    return pager


def row_at(minute: int, *values: Any) -> list[Any]:
    return [float(LATEST + minute * MINUTE), *(values or GOOD)]


DONE = protocol.SeriesCompleted("cs_1", SERIES_ID, "streaming", "")


def answered(pager: SeriesPager, *events: protocol.Event) -> tuple[list[int], int]:
    """The minutes of the bars that come of it, and the number of damaged rows."""
    for event in (*events, DONE):
        pager.receive(event)
    assert pager.history is not None, pager.error
    return [int(row[0] - LATEST) // MINUTE for row in pager.history.rows], pager.history.rejected


def test_a_row_without_a_time_takes_a_place_as_well() -> None:
    page = received(row_at(-5), row_at(-4), row_at(-3), [None, *GOOD], row_at(-1), row_at(0))
    assert answered(pager_of(bars_count=4), page) == ([-3, -1, 0], 1)
    page = received(row_at(-5), row_at(-4), row_at(-3), [None, *GOOD], row_at(-1), row_at(0))
    assert answered(pager_of(bars_count=3), page) == ([-1, 0], 1)
    assert answered(pager_of(bars_count=2), page) == ([-1, 0], 0), "it lies before what was asked for"


def test_a_row_that_comes_again_as_a_bar_is_mended_and_one_that_comes_after_is_not() -> None:
    damaged, sound = received(row_at(-1), row_at(0, None)), received(row_at(0))
    assert answered(pager_of(bars_count=2), damaged, sound) == ([-1, 0], 0)
    assert answered(pager_of(bars_count=2), received(row_at(-1)), sound, damaged) == ([-1, 0], 1)


def test_a_row_of_a_page_that_comes_again_counts_once() -> None:
    page = received(row_at(-2), "x", "x", row_at(0))
    assert answered(pager_of(bars_count=4), page, page) == ([-2, 0], 2)


def test_what_was_damaged_before_a_connection_was_lost_counts_only_if_it_comes_again() -> None:
    pager = pager_of(bars_count=4)
    pager.receive(received(row_at(-1), row_at(0)))
    pager.receive(DONE)
    pager.receive(received(row_at(-3), row_at(-2, None)))  # and the page is not completed
    pager.resume("cs_1", now_s=LATEST)
    assert pager.wants_session is False
    pager.receive(received(row_at(-3), row_at(-2), row_at(-1)))
    pager.receive(DONE)
    pager.resume("cs_1", now_s=LATEST)
    assert answered(pager, received(row_at(-1), row_at(0))) == ([-3, -2, -1, 0], 0)


def test_where_no_row_is_a_bar_there_are_none() -> None:
    pager = pager_of(bars_count=1)
    pager.receive(received(row_at(0, None)))
    pager.receive(DONE)
    assert isinstance(pager.error, NoBarsError) and not pager.error.is_empty_answer
    assert f"1 rows were not bars, at {iso(0)}" in str(pager.error)


def test_a_bar_is_of_the_future_by_the_clock_that_came_with_it() -> None:
    assert answered(pager_of(bars_count=1), received(row_at(0), row_at(1), time_s=LATEST + 59)) == ([0], 0)
    assert answered(pager_of(bars_count=1), received(row_at(0), row_at(1), time_s=LATEST + 60)) == ([1], 0)
    # Without one, what is known of the server's time may be a while old.
    assert answered(pager_of(bars_count=1), received(row_at(0), row_at(9))) == ([9], 0)
    assert answered(pager_of(bars_count=1), received(row_at(0), row_at(9_999))) == ([0], 0)


def test_a_bar_that_has_begun_by_the_end_of_the_answer_was_not_of_the_future() -> None:
    pager = pager_of(bars_count=2)
    early, late = received(row_at(0), row_at(1), time_s=LATEST), received(row_at(0), row_at(1), time_s=LATEST + 60)
    assert answered(pager, early, late) == ([0, 1], 0)
    assert pager.history is not None and pager.history.ahead == ()
    assert to_table(pager.history).num_rows == 2
