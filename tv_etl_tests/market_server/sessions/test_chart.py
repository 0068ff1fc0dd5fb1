import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from tv_etl.market_server.accounts.plans import ANONYMOUS
from tv_etl.market_server.market.listings import listings
from tv_etl_tests.market_server.samples import sample
from tv_etl_tests.market_server.talk import FRIDAY_NOON, MarketWith, Message, Talk, bars, indexes, methods, only, shape


def completed(messages: list[Message]) -> Any:
    return only(messages, "series_completed")["p"][4]


def test_a_history_comes_in_the_recorded_order_and_shape() -> None:
    recorded = [sample("mktcli-20260821-history-ok", index) for index in range(1, 5)]
    ours = Talk().open_chart("NASDAQ:AAPL", "1D", 5, "")
    assert methods(ours) == methods(recorded)
    for mine, theirs in zip(ours, recorded, strict=True):
        if mine["m"] != "symbol_resolved":
            assert shape(mine) == shape(theirs)


def test_daily_bars_are_stamped_at_the_open_of_their_session() -> None:
    messages = Talk().open_chart("NASDAQ:AAPL", "1D", 5)
    update = only(messages, "timescale_update")
    assert indexes(update) == [0, 1, 2, 3, 4]
    assert [row[0] % 86_400 for row in bars(update)] == [14.5 * 3_600] * 5
    assert update["p"][2]["changes"] == [row[0] for row in bars(update)]
    assert update["p"][1]["sds_1"]["lbs"] == {"bar_close_time": FRIDAY_NOON + 3 * 3_600 - 1}
    assert [mark[1] % 86_400 for mark in update["p"][2]["marks"]] == [0] * 5
    assert "data_completed" not in completed(messages)


def test_an_instrument_without_volume_has_rows_of_five_values() -> None:
    messages = Talk().open_chart("TVC:NDX", "1", 10)
    assert only(messages, "symbol_resolved")["p"][2]["visible_plots_set"] == "ohlc"
    assert {len(row) for row in bars(only(messages, "timescale_update"))} == {5}


def test_a_former_symbol_resolves_to_the_new_one_and_has_its_bars() -> None:
    old, new = (Talk().open_chart(symbol) for symbol in ("NASDAQ:OLDN", "NASDAQ:NEWN"))
    info = only(old, "symbol_resolved")["p"][2]
    assert (info["pro_name"], info["name"], info["full_name"]) == ("NASDAQ:NEWN", "NEWN", "BATS:NEWN")
    assert bars(only(old, "timescale_update")) == bars(only(new, "timescale_update"))


def test_an_unknown_symbol_fails_in_the_recorded_order_and_shape() -> None:
    messages = Talk().open_chart("NASDAQ:NOPE")
    assert methods(messages) == ["series_loading", "symbol_error", "series_error"]
    assert only(messages, "symbol_error")["p"][2:] == sample("tvkit-symbol_error-invalid")["p"][2:]
    assert only(messages, "series_error")["p"][3] == sample("tvkit-series_error-resolve")["p"][3]
    assert all("t_ms" in message for message in messages)


@pytest.mark.parametrize(
    ("interval", "recording"), [("10S", "tvkit-series_error-seconds"), ("7", "tvkit-series_error-custom")]
)
def test_paid_intervals_are_refused(interval: str, recording: str) -> None:
    error = only(Talk().open_chart("NASDAQ:AAPL", interval), "series_error")
    assert error["p"][3:] == sample(recording)["p"][3:]


def test_an_unknown_resolution_is_a_critical_error_verbatim() -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_casjcotuguzl", ""), ("resolve_symbol", "cs_casjcotuguzl", "sds_sym_1", "X:Y"))
    error = talk.say(("create_series", "cs_casjcotuguzl", "sds_1", "s1", "sds_sym_1", "s1", 1, ""))
    assert error == [sample("hm-critical_error-invalid-parameters")]


def test_a_second_series_is_too_much_for_an_anonymous_session() -> None:
    talk = Talk()
    talk.open_chart()
    error = only(talk.say(("create_series", "cs_1", "sds_2", "s1", "sym_1", "1D", 5, "")), "critical_error")
    assert error["p"][1:] == [
        "exceed limit of series in the session",
        'method: create_series. args: "[sds_2, s1, sym_1, 1D, 5, ]"',
    ]
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", 5))) == [
        "series_loading", "timescale_update", "series_completed",
    ]  # fmt: skip


def test_another_chart_session_has_its_own_series() -> None:
    talk = Talk()
    talk.open_chart()
    assert "series_completed" in methods(talk.open_chart("BINANCE:BTCUSDT", session="cs_2"))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("resolve_symbol", "cs_1", "sym_1", "NASDAQ:MSFT"), "duplicate id"),
        (("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5), "duplicate id"),
        (("switch_timezone", "cs_1", "Mars/Olympus"), "invalid timezone"),
        (("request_more_data", "cs_1", "sds_9", 5), "invalid parameters"),
        (("request_more_data", "cs_1", "sds_1"), "invalid parameters"),
        (("request_more_data", "cs_1", "sds_1", 0), "invalid parameters"),
        (("request_more_tickmarks", "cs_1", "sds_1", None), "invalid parameters"),
        (("modify_series", "cs_1", "sds_9", "s1", "sym_1", "1D", 5), "invalid parameters"),
        (("modify_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5, 6), "invalid parameters"),
        (("create_series", "cs_1", "sds_2", 1, "sym_1", "1D", 5), "invalid parameters"),
        (("remove_series", "cs_1", "sds_9"), "invalid parameters"),
        (("remove_study", "cs_1", "st9"), "invalid parameters"),
        (("modify_study", "cs_1", "st9", "st1"), "invalid parameters"),
        (("make_coffee", "cs_1"), "unsupported method"),
    ],
)
def test_what_cannot_be_done_is_a_critical_error_and_the_session_goes_on(command: tuple[Any, ...], reason: str) -> None:
    talk = Talk()
    talk.open_chart()
    error = only(talk.say(command), "critical_error")
    assert error["p"][:2] == ["cs_1", reason]
    assert error["p"][2].startswith(f'method: {command[0]}. args: "[')
    assert set(error) == {"m", "p"}
    assert "series_completed" in methods(talk.say(("request_more_data", "cs_1", "sds_1", 1)))


def test_a_series_of_an_unresolved_symbol_is_an_invalid_parameter() -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1", ""))
    assert methods(talk.say(("create_series", "cs_1", "s", "s1", "sym_9", "1D", 5))) == ["critical_error"]


def test_more_data_continues_with_negative_indices() -> None:
    talk = Talk()
    first = bars(only(talk.open_chart("NASDAQ:AAPL", "60", 10), "timescale_update"))
    pages = [talk.say(("request_more_data", "cs_1", "sds_1", count)) for count in (7, 3)]
    updates = [only(page, "timescale_update") for page in pages]
    assert [indexes(update) for update in updates] == [list(range(-7, 0)), [-10, -9, -8]]
    assert [update["p"][2]["index"] for update in updates] == [-7, -10]
    assert [update["p"][2]["zoffset"] for update in updates] == [7, 10]
    assert [mark[2] for mark in updates[1]["p"][2]["marks"]] == list(range(-10, 10))
    joined = [*bars(updates[1]), *bars(updates[0]), *first]
    assert joined == bars(only(Talk().open_chart("NASDAQ:AAPL", "60", 20), "timescale_update"))


def test_a_negative_count_brings_what_followed_a_range_in_the_past() -> None:
    """So the replay of @mathieuc/tradingview steps: from the first bar at a moment on, two by two."""
    talk, all_bars = Talk(), bars(only(Talk().open_chart("NASDAQ:AAPL", "60", 9), "timescale_update"))
    first = talk.open_chart("NASDAQ:AAPL", "60", ["bar_count", int(all_bars[0][0]) - 60, -1])
    assert bars(only(first, "timescale_update")) == all_bars[:1]
    assert talk.wait(1.0, market_seconds=5) == []
    steps = [talk.say(("request_more_data", "cs_1", "sds_1", -count)) for count in (2, 1, 9)]
    updates = [only(step, "timescale_update") for step in steps]
    assert [indexes(update) for update in updates] == [[1, 2], [3], [4, 5, 6, 7, 8]]
    assert [update["p"][2]["index"] for update in updates] == [1, 3, 4]
    assert [len(update["p"][2]["changes"]) for update in updates] == [2, 1, 5]
    joined = [row for update in updates for row in bars(update)]
    assert joined[:-1] == all_bars[1:-1] and joined[-1][0] == all_bars[-1][0]
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", -2))) == ["series_loading", "series_completed"]
    # It has caught up: from here on it is live.
    assert methods(talk.wait(1.0, market_seconds=60)) == ["du"]


def test_a_step_reaches_over_days_without_a_bar() -> None:
    friday = int(FRIDAY_NOON)  # 13:00 in New York, where the last bar opens at 15:30
    talk = Talk(now=friday + 3 * 86_400)
    held = talk.open_chart("NASDAQ:AAPL", "60", ["bar_count", friday, -3])
    assert bars(only(held, "timescale_update"))[-1][0] == friday + 2.5 * 3_600
    update = only(talk.say(("request_more_data", "cs_1", "sds_1", -2)), "timescale_update")
    monday = friday + 3 * 86_400 - 3.5 * 3_600
    assert [row[0] for row in bars(update)] == [monday, monday + 3_600]


def test_the_plans_window_ends_in_limit() -> None:
    talk = Talk(plan=replace(ANONYMOUS, intraday_bars=100))
    assert completed(talk.open_chart("NASDAQ:AAPL", "1", 60)) == {"rt_update_period": 5}
    page = talk.say(("request_more_data", "cs_1", "sds_1", 60))
    assert indexes(only(page, "timescale_update")) == list(range(-40, 0))
    assert completed(page)["data_completed"] == "limit"
    empty = talk.say(("request_more_data", "cs_1", "sds_1", 60))
    assert methods(empty) == ["series_loading", "series_completed"]
    assert completed(empty)["data_completed"] == "limit"


def test_more_bars_than_the_window_come_as_the_window() -> None:
    messages = Talk(plan=replace(ANONYMOUS, intraday_bars=100)).open_chart("NASDAQ:AAPL", "1", 5_000)
    assert len(bars(only(messages, "timescale_update"))) == 100
    assert list(completed(messages)) == list(sample("hm-series_completed-limit")["p"][4])


def test_the_start_of_history_is_the_end_of_data() -> None:
    talk = Talk()
    messages = talk.open_chart("NASDAQ:AAPL", "1M", 10_000)
    assert completed(messages)["data_completed"] == "end"
    page = talk.say(("request_more_data", "cs_1", "sds_1", 10))
    assert methods(page) == ["series_loading", "series_completed"]
    assert completed(page)["data_completed"] == "end"


def test_daily_history_is_not_capped() -> None:
    messages = Talk().open_chart("BINANCE:BTCUSDT", "1D", 6_000)
    assert len(bars(only(messages, "timescale_update"))) > 5_000


def test_bar_count_ends_at_its_moment_or_begins_there() -> None:
    moment = int(FRIDAY_NOON) - 30 * 86_400
    rows = bars(only(Talk().open_chart("BINANCE:BTCUSDT", "1D", ["bar_count", moment, 4]), "timescale_update"))
    assert len(rows) == 4 and rows[-1][0] <= moment < rows[-1][0] + 86_400
    rows = bars(only(Talk().open_chart("BINANCE:BTCUSDT", "1D", ["bar_count", moment, -4]), "timescale_update"))
    assert len(rows) == 4 and rows[0][0] - 86_400 < moment <= rows[0][0]


def test_from_to_has_the_bars_between() -> None:
    start, end = int(FRIDAY_NOON) - 20 * 86_400, int(FRIDAY_NOON) - 10 * 86_400
    rows = bars(only(Talk().open_chart("BINANCE:BTCUSDT", "1D", ["from_to", start, end]), "timescale_update"))
    assert len(rows) == 10 and start <= rows[0][0] and rows[-1][0] <= end
    rows = bars(only(Talk().open_chart("BINANCE:BTCUSDT", "1D", ["from_to", start]), "timescale_update"))
    assert start <= rows[0][0] and rows[-1][0] == FRIDAY_NOON // 86_400 * 86_400


def test_a_time_frame_loads_what_it_covers_and_says_which_bars_these_are() -> None:
    messages = Talk().open_chart("SP:SPX", "1D", 300, "12M")
    assert methods(messages) == [
        "series_loading", "symbol_resolved", "series_timeframe", "timescale_update", "series_timeframe",
        "series_completed",
    ]  # fmt: skip
    before, after = (message["p"] for message in messages if message["m"] == "series_timeframe")
    assert before[3:] == [0, 299, "12M", False]
    assert after[3:] == [48, 299, "12M", True]
    assert shape(before) == shape(sample("tvrs2023-33-series_timeframe")["p"])


def test_the_last_session_begins_with_its_first_bar() -> None:
    messages = Talk().open_chart("NASDAQ:AAPL", "1", 500, "LASTSESSION")
    rows = bars(only(messages, "timescale_update"))
    first, last = messages[-2]["p"][3:5]
    assert rows[first][0] == FRIDAY_NOON - 3.5 * 3_600 and last == len(rows) - 1 == 499


def test_a_frame_inside_the_loaded_bars_resends_none() -> None:
    talk = Talk()
    rows = bars(only(talk.open_chart("NASDAQ:AAPL", "1D", 300), "timescale_update"))
    frame = f"r,{int(rows[50][0])}:{int(rows[60][0])}"
    messages = talk.say(("modify_series", "cs_1", "sds_1", "s2", "sym_1", "1D", frame))
    recorded = [sample("har-20251218-frame63-modify_series-range-batch", index) for index in range(4)]
    assert methods(messages) == methods(recorded)
    assert [shape(message) for message in messages] == [shape(message) for message in recorded]
    assert messages[1]["p"][3:] == [50, 60, frame, False] and messages[2]["p"][3:] == [50, 60, frame, True]


def test_a_frame_beyond_the_loaded_bars_brings_those_before_them() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:AAPL", "1D", 10)
    frame = f"r,{int(FRIDAY_NOON) - 60 * 86_400}:{int(FRIDAY_NOON)}"
    messages = talk.say(("modify_series", "cs_1", "sds_1", "s2", "sym_1", "1D", frame, ""))
    update = only(messages, "timescale_update")
    assert indexes(update)[-1] == -1 and bars(update)[0][0] >= FRIDAY_NOON - 60 * 86_400
    assert bars(update)[0][0] < FRIDAY_NOON - 56 * 86_400
    assert messages[1]["p"][3:5] == [indexes(update)[0], 9]


def test_another_interval_or_symbol_begins_anew() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:AAPL", "1D", 10)
    messages = talk.say(("modify_series", "cs_1", "sds_1", "s2", "sym_1", "240", ""))
    assert indexes(only(messages, "timescale_update")) == list(range(10))
    talk.say(("resolve_symbol", "cs_1", "sym_2", "BINANCE:BTCUSDT"))
    messages = talk.say(("modify_series", "cs_1", "sds_1", "s3", "sym_2", "240", 7, ""))
    assert indexes(only(messages, "timescale_update")) == list(range(7))
    assert only(messages, "series_completed")["p"][3] == "s3"


def test_a_failed_series_may_turn_to_a_known_symbol() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:NOPE")
    talk.say(("resolve_symbol", "cs_1", "sym_2", "NASDAQ:AAPL"))
    messages = talk.say(("modify_series", "cs_1", "sds_1", "s2", "sym_2", "1D", 5))
    assert len(bars(only(messages, "timescale_update"))) == 5


def test_another_time_zone_moves_the_marks_of_a_loaded_series() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:AAPL", "60", 3)
    (update,) = talk.say(("switch_timezone", "cs_1", "America/New_York"))
    assert update["m"] == "tickmark_update" and set(update) == {"m", "p"}
    assert [mark[1] % 86_400 // 60 for mark in update["p"][1]["marks"]] == [630, 690, 750]


def test_a_study_completes_after_its_series_and_holds_its_volume() -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1", ""), ("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL"))
    messages = talk.say(
        ("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5, ""),
        ("create_study", "cs_1", "st1", "st1", "sds_1", "Volume@tv-basicstudies-246", {"length": 20}),
    )
    assert [name for name in methods(messages) if name.endswith("completed")] == ["series_completed", "study_completed"]
    rows = bars(only(messages, "timescale_update"))
    points = only(messages, "du")["p"][1]["st1"]["st"]
    assert [point["v"][:2] for point in points] == [[row[0], row[5]] for row in rows]
    assert shape(only(messages, "study_loading")) == shape(sample("genesis-20260609-study_loading"))
    assert only(messages, "study_completed")["p"] == ["cs_1", "st1", "s1_st1"]
    assert methods(talk.say(("modify_study", "cs_1", "st1", "st2", {}))) == ["study_loading", "du", "study_completed"]
    (deleted,) = talk.say(("remove_study", "cs_1", "st1"))
    assert shape(deleted) == shape(sample("har-20251218-study_deleted"))


def test_a_study_of_a_failed_series_fails_too() -> None:
    talk = Talk()
    talk.open_chart("NASDAQ:NOPE")
    (error,) = talk.say(("create_study", "cs_1", "st1", "st1", "sds_1", "Volume@tv-basicstudies-246", {}))
    assert error["p"][1:4] == ["st1", "s1_st1", sample("tvkit-study_error")["p"][3]]


def test_a_removed_series_makes_room_and_is_silent() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 5)
    assert methods(talk.say(("remove_series", "cs_1", "sds_1"))) == ["series_deleted"]
    assert talk.wait(1.0, market_seconds=60) == []
    talk.say(("resolve_symbol", "cs_1", "sym_2", "NASDAQ:MSFT"))
    assert "series_completed" in methods(talk.say(("create_series", "cs_1", "sds_2", "s1", "sym_2", "1D", 5)))


@pytest.mark.parametrize(
    ("spec", "session"),
    [
        ({"symbol": "NASDAQ:AAPL", "adjustment": "splits", "session": "extended"}, "extended"),
        ({"symbol": "NASDAQ:AAPL", "session": "regular", "currency-id": "USD", "metric": "price"}, "regular"),
        ({"adjustment": "dividends", "symbol": "NASDAQ:AAPL", "backadjustment": "default", "colour": "red"}, "regular"),
    ],
)
def test_the_json_form_of_a_symbol_is_understood(spec: dict[str, str], session: str) -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1"))
    (resolved,) = talk.say(("resolve_symbol", "cs_1", "sym_1", "=" + json.dumps(spec)))
    assert (resolved["p"][2]["pro_name"], resolved["p"][2]["subsession_id"]) == ("NASDAQ:AAPL", session)


@pytest.mark.parametrize(
    "spec",
    [
        '={"symbol":"NASDAQ:AAPL","currency-id":"MOON"}',
        '={"symbol":{"symbol":"NASDAQ:AAPL"},"type":"BarSetRenko@tv-prostudies-40!","inputs":{}}',
        '={"symbol":{"symbol":"NASDAQ:AAPL"},"type":"BarSetHeikenAshi@tv-basicstudies-60!"}',
        '={"symbol":"NASDAQ:AAPL","replay":"rs_1"}',
        "={broken",
        "={}",
    ],
)
def test_what_would_be_other_bars_than_asked_for_is_refused(spec: str) -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1"))
    assert methods(talk.say(("resolve_symbol", "cs_1", "sym_1", spec))) == ["symbol_error"]


def test_bars_of_the_extended_session_begin_at_four() -> None:
    rows = bars(only(Talk().open_chart('={"symbol":"NASDAQ:AAPL","session":"extended"}', "60", 10), "timescale_update"))
    assert [row[0] % 86_400 // 3_600 for row in rows[-10:]] == [9, 10, 11, 12, 13, 14, 15, 16, 17, 18]


def test_days_of_the_extended_session_are_those_of_the_regular_one() -> None:
    updates = [
        only(Talk().open_chart(f'={{"symbol":"NASDAQ:AAPL","session":"{session}"}}', "1D", 5), "timescale_update")
        for session in ("extended", "regular")
    ]
    assert updates[0] == updates[1]


def test_only_the_named_messages_carry_the_servers_time() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 5, "1")
    talk.open_chart("NASDAQ:NOPE", session="cs_2")
    talk.say(("create_study", "cs_1", "st1", "st1", "sds_1", "Volume@tv-basicstudies-246", {}))
    talk.wait(1.0, market_seconds=5)
    seen = [json.loads(payload) for payload in talk.payloads if payload.startswith('{"m"')]
    timed = {message["m"] for message in seen if "t_ms" in message}
    assert timed == {"series_loading", "symbol_resolved", "symbol_error", "timescale_update", "series_completed",
                     "series_error", "study_loading", "study_completed"}  # fmt: skip
    assert {message["m"] for message in seen} - timed == {"du", "series_timeframe"}
    assert all(message["t"] == message["t_ms"] // 1_000 for message in seen if "t" in message)


def test_times_and_prices_are_printed_as_floats() -> None:
    talk = Talk()
    talk.open_chart("KRX:005930", "1D", 2)
    text = next(payload for payload in talk.payloads if '"timescale_update"' in payload)
    points = text.partition('"v":[')[2].partition("]")[0].split(",")
    assert all("." in value for value in points)
    assert "삼성전자" in "".join(talk.payloads)


def test_seconds_are_served_to_whom_has_them() -> None:
    talk = Talk(plan=replace(ANONYMOUS, has_seconds=True))
    seconds = bars(only(talk.open_chart("BINANCE:BTCUSDT", "1S", 600), "timescale_update"))
    minutes = bars(only(talk.open_chart("BINANCE:BTCUSDT", "1", 10, session="cs_2"), "timescale_update"))
    closed = minutes[-2]
    inside = [row for row in seconds if closed[0] <= row[0] < closed[0] + 60]
    assert len(seconds) == 600 and len(inside) == 60
    assert max(row[2] for row in inside) == closed[2] and inside[-1][4] == closed[4]
    (update,) = [each for each in talk.wait(1.0, market_seconds=1) if "cs_1" in each["p"]]
    assert bars(update)[0][0] == seconds[-1][0] + 1


def test_the_adjustment_and_the_currency_of_a_spec_are_obeyed() -> None:
    def closes(**settings: str) -> list[float]:
        spec = "=" + json.dumps({"symbol": "NYSE:DIVI", **settings})
        return [row[4] for row in bars(only(Talk().open_chart(spec, "1D", 300), "timescale_update"))]

    plain, adjusted, euros = closes(), closes(adjustment="dividends"), closes(**{"currency-id": "EUR"})
    assert plain[-1] == adjusted[-1] and adjusted[0] < 0.99 * plain[0]
    assert 0.8 < euros[-1] / plain[-1] < 0.95


def test_marks_follow_the_exchange_where_a_chart_asks_for_it() -> None:
    talk = Talk()
    talk.open_chart("NSE:M&M", "60", 3)
    (exchange,) = talk.say(("switch_timezone", "cs_1", "exchange"))
    (india,) = talk.say(("switch_timezone", "cs_1", "Asia/Kolkata"))
    assert exchange == india
    (fresh,) = [m for m in Talk().say(*_indian_chart("exchange")) if m["m"] == "timescale_update"]
    assert fresh["p"][2]["marks"] == india["p"][1]["marks"]


def _indian_chart(zone: str) -> list[tuple[Any, ...]]:
    return [
        ("chart_create_session", "cs_1", ""),
        ("switch_timezone", "cs_1", zone),
        ("resolve_symbol", "cs_1", "sym_1", "NSE:M&M"),
        ("create_series", "cs_1", "sds_1", "s1", "sym_1", "60", 3),
    ]


def test_a_frame_ends_at_the_first_bar_behind_its_end() -> None:
    talk = Talk()
    rows = bars(only(talk.open_chart("NASDAQ:AAPL", "1D", 20), "timescale_update"))
    for end, last in [(int(rows[7][0]), 7), (int(rows[7][0]) + 1, 8), (int(rows[-1][0]) + 1, 19)]:
        frame = f"r,{int(rows[2][0])}:{end}"
        messages = talk.say(("modify_series", "cs_1", "sds_1", "s1", "sym_1", "1D", frame))
        assert [m["p"][3:5] for m in messages if m["m"] == "series_timeframe"] == [[2, last]] * 2


@pytest.mark.parametrize(("denial", "name"), [("group", "economics_paid"), ("symbol", "ECONOMICS:SECRET")])
def test_a_denied_symbol_is_refused_by_name(denial: str, name: str) -> None:
    secret = replace(listings()["NASDAQ:AAPL"], symbol="ECONOMICS:SECRET", denial=denial)
    messages = Talk(MarketWith(secret)).open_chart("ECONOMICS:SECRET")
    assert methods(messages) == ["series_loading", "symbol_error", "series_error"]
    assert only(messages, "symbol_error")["p"] == ["cs_1", "sym_1", "permission denied", denial, name]
    assert only(messages, "series_error")["p"][3] == "resolve error"


def test_an_unknown_study_is_an_error_and_the_series_goes_on() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 5)
    (error,) = talk.say(("create_study", "cs_1", "st1", "st1", "sds_1", "PUB;abcdef", {}))
    assert shape(error)[:2] == shape(sample("tvkit-study_error"))
    assert error["p"][1:4] == ["st1", "s1_st1", sample("tvkit-study_error")["p"][3]]
    assert methods(talk.wait(1.0, market_seconds=5)) == ["du"]


def test_studies_are_described_to_who_asks() -> None:
    talk = Talk()
    talk.open_chart()
    (answer,) = talk.say(("request_studies_metadata", "cs_1", "metadata_1"))
    assert (answer["m"], answer["p"][:2]) == ("studies_metadata", ["cs_1", "metadata_1"])
    assert [study["id"].partition("@")[0] for study in answer["p"][2]["metainfo"]] == ["Volume"]


@pytest.mark.parametrize("interval", ["1", "1D", "1W"])
def test_the_first_bar_time_is_where_history_begins(interval: str) -> None:
    short = replace(listings()["NASDAQ:AAPL"], symbol="NASDAQ:NEW", first_day=date(2026, 11, 16))
    talk = Talk(MarketWith(short))
    rows = bars(only(talk.open_chart("NASDAQ:NEW", interval, 5_000), "timescale_update"))
    for name in ("sym_1", "sds_1"):
        (answer,) = talk.say(("get_first_bar_time", "cs_1", name, interval))
        assert answer == {"m": "first_bar_time", "p": ["cs_1", name, rows[0][0]]}
    (error,) = talk.say(("get_first_bar_time", "cs_1", "sym_9", interval))
    assert error["p"][1] == "invalid parameters"
