from dataclasses import replace
from itertools import pairwise

import pytest

from tv_etl.market_server.market.listings import listings
from tv_etl_tests.market_server.samples import sample
from tv_etl_tests.market_server.talk import FRIDAY_NOON, MarketWith, Talk, bars, indexes, methods, only, shape

pytestmark = pytest.mark.pure


def test_tick_marks_to_come_are_the_next_opens() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:AAPL", "1D", 300)
    update = only(talk.say(("request_more_tickmarks", "cs_1", "sds_1", 10)), "timescale_update")
    recorded = sample("har-20251218-timescale_update-future-tickmarks")
    assert shape(update["p"]) == shape(recorded["p"])
    assert update["p"][2]["index"] == 300
    assert update["p"][2]["changes"][:4] == [FRIDAY_NOON + 86_400 * n - 3.5 * 3_600 for n in (3, 4, 5, 7)]


def test_a_forming_bar_comes_as_du_in_the_recorded_shape() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 10)
    (update,) = talk.wait(1.0, market_seconds=7)
    recorded = sample("mnwato-du-BTCUSDT")
    assert shape(update) == shape(recorded)
    assert indexes(update) == [9]
    assert talk.wait(1.0) == []


def test_a_new_bar_comes_as_timescale_update_after_the_end_of_the_last() -> None:
    talk = Talk()
    loaded = bars(only(talk.open_chart("BINANCE:BTCUSDT", "1", 10), "timescale_update"))
    messages = talk.wait(1.0, market_seconds=130)
    assert methods(messages) == ["du", "timescale_update", "timescale_update"]
    assert [indexes(message) for message in messages] == [[9], [10], [11]]
    rows = [bars(message)[0] for message in messages]
    assert [row[0] for row in rows] == [loaded[-1][0] + 60 * n for n in range(3)]
    assert messages[1]["p"][2] | {"marks": []} == {
        "index": 10, "zoffset": 0, "changes": [rows[1][0]], "marks": [], "index_diff": [],
    }  # fmt: skip
    later = bars(only(Talk(now=FRIDAY_NOON + 130).open_chart("BINANCE:BTCUSDT", "1", 3), "timescale_update"))
    assert rows == later


def test_a_new_bar_on_a_known_tick_mark_comes_as_du() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 10)
    talk.say(("request_more_tickmarks", "cs_1", "sds_1", 1))
    assert methods(talk.wait(1.0, market_seconds=125)) == ["du", "du", "timescale_update"]


def test_live_updates_add_up_to_history() -> None:
    talk = Talk()
    held = {row[0]: row for row in bars(only(talk.open_chart("BINANCE:ETHUSDT", "1", 3), "timescale_update"))}
    for _ in range(40):
        for message in talk.wait(1.0, market_seconds=13):
            held |= {row[0]: row for row in bars(message)}
    rows = bars(only(Talk(now=talk.clock.now()).open_chart("BINANCE:ETHUSDT", "1", len(held)), "timescale_update"))
    assert list(held.values()) == rows
    assert all(later - earlier == 60 for earlier, later in pairwise(held))


def test_a_closed_market_sends_nothing() -> None:
    talk = Talk(now=FRIDAY_NOON + 86_400)
    talk.open_chart("NASDAQ:AAPL", "1", 5)
    assert talk.wait(1.0, market_seconds=3_600) == []


DELAYED = replace(listings()["NASDAQ:AAPL"], symbol="NASDAQ:LATE", delay_s=900)


def test_a_delayed_feed_lags_and_says_so() -> None:
    talk = Talk(MarketWith(DELAYED))
    messages = talk.open_chart("NASDAQ:LATE", "1", 5)
    assert only(messages, "series_completed")["p"][2] == "delayed_streaming_900"
    update = only(messages, "timescale_update")
    newest = bars(update)[-1][0]
    assert newest == FRIDAY_NOON - 900
    assert update["p"][1]["sds_1"]["lbs"] == {"bar_close_time": newest + 60 + 900}
    live = talk.wait(1.0, market_seconds=60)
    assert [bars(message)[0][0] for message in live] == [newest, newest + 60]
    assert live[1]["p"][1]["sds_1"]["lbs"] == {"bar_close_time": newest + 120 + 900}


def test_a_delayed_session_ends_late_too() -> None:
    """Recorded: the last minute of VIX, 900 seconds late, closes at 20:14:00 + 59 + 900."""
    talk = Talk(MarketWith(DELAYED), now=FRIDAY_NOON + 86_400)
    update = only(talk.open_chart("NASDAQ:LATE", "1", 5), "timescale_update")
    assert update["p"][1]["sds_1"]["lbs"] == {"bar_close_time": bars(update)[-1][0] + 59 + 900}


def test_older_bars_say_where_the_points_of_studies_went() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:AAPL", "1D", 5)
    talk.say(("create_study", "cs_1", "st1", "st1", "sds_1", "Volume@tv-basicstudies-246", {}))
    for expected in ([[-1000002, -2], [-1000001, -1]], [[-1000002, -4], [-1000001, -3]]):
        messages = talk.say(("request_more_data", "cs_1", "sds_1", 2))
        assert methods(messages) == [
            "series_loading", "study_loading", "timescale_update", "series_completed", "du", "study_completed",
        ]  # fmt: skip
        assert only(messages, "timescale_update")["p"][2]["index_diff"] == expected
