from itertools import pairwise
from typing import Any

import pytest

from tv_etl_tests.market_server.talk import FRIDAY_NOON, Message, Talk, bars, methods, only

DAY_S = 86_400
COIN = "BINANCE:BTCUSDT"


def open_replay(talk: Talk, moment: Any, symbol: str = COIN, interval: str = "1D", count: int = 3) -> list[Message]:
    """What a client says to see a chart as it was."""
    return talk.say(
        ("chart_create_session", "cs_1", ""),
        ("replay_create_session", "rs_1"),
        ("replay_add_series", "rs_1", "req_add", f'={{"symbol":"{symbol}"}}', interval),
        ("replay_reset", "rs_1", "req_reset", moment),
        ("resolve_symbol", "cs_1", "sym_1", f'={{"replay":"rs_1","symbol":{{"symbol":"{symbol}"}}}}'),
        ("create_series", "cs_1", "sds_1", "s1", "sym_1", interval, count),
    )


def history(symbol: str, interval: str, count: int) -> list[list[float]]:
    return bars(only(Talk().open_chart(symbol, interval, count), "timescale_update"))


def test_a_chart_ends_where_its_replay_stands() -> None:
    messages = open_replay(Talk(), FRIDAY_NOON - 10 * DAY_S)
    assert [m["m"] for m in messages if m["m"].startswith("replay")] == [
        "replay_instance_id", "replay_ok", "replay_ok", "replay_point", "replay_resolutions",
    ]  # fmt: skip
    rows = bars(only(messages, "timescale_update"))
    assert rows == history(COIN, "1D", 13)[:3]
    assert only(messages, "replay_point")["p"] == ["rs_1", rows[-1][0]]


@pytest.mark.parametrize(
    ("symbol", "interval"), [(COIN, "1D"), (COIN, "1"), ("NASDAQ:AAPL", "60"), ("KRX:005930", "1W")]
)
def test_each_step_shows_the_next_whole_bar_until_there_is_none(symbol: str, interval: str) -> None:
    expected = history(symbol, interval, 7)
    talk = Talk()
    seen = bars(only(open_replay(talk, expected[2][0], symbol, interval), "timescale_update"))
    for step in range(4):
        messages = talk.say(("replay_step", "rs_1", f"req_{step}", 1))
        assert messages[0] == {"m": "replay_ok", "p": ["rs_1", f"req_{step}"]}
        assert ("replay_data_end" in methods(messages)) == (step == 3)
        (update,) = [m for m in messages if m["m"] == "timescale_update"]
        seen += bars(update)
    assert seen == expected
    messages = talk.say(("replay_step", "rs_1", "req_more", 1))
    assert methods(messages) == ["replay_ok", "replay_data_end"]


def test_several_steps_at_once_bring_all_their_bars() -> None:
    talk = Talk()
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    messages = talk.say(("replay_step", "rs_1", "req", 4))
    assert [bars(m)[0] for m in messages if m["m"] == "timescale_update"] == history(COIN, "1D", 10)[:4]


def test_it_plays_by_itself_until_it_is_stopped() -> None:
    talk = Talk(update_s=60.0)
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    assert methods(talk.say(("replay_start", "rs_1", "req_start", 200))) == ["replay_ok"]
    assert talk.conversation.next_due() <= talk.wall + 0.2
    times = [only(talk.wait(0.2), "replay_point")["p"][1] for _ in range(3)]
    assert [later - earlier for earlier, later in pairwise(times)] == [DAY_S, DAY_S]
    assert methods(talk.say(("replay_stop", "rs_1", "req_stop"))) == ["replay_ok"]
    assert talk.wait(0.5) == []


def test_a_reset_loads_the_chart_anew() -> None:
    talk = Talk()
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    messages = talk.say(("replay_reset", "rs_1", "req", FRIDAY_NOON - 20 * DAY_S))
    assert methods(messages) == [
        "replay_ok", "replay_point", "replay_resolutions", "series_loading", "timescale_update", "series_completed",
    ]  # fmt: skip
    assert bars(only(messages, "timescale_update")) == history(COIN, "1D", 23)[:3]


def test_other_charts_stay_in_the_present() -> None:
    talk = Talk()
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    rows = bars(only(talk.open_chart(COIN, "1D", 3, session="cs_2"), "timescale_update"))
    assert rows == history(COIN, "1D", 3)
    talk.say(("replay_delete_session", "rs_1"))
    assert {message["p"][0] for message in talk.wait(1.0, market_seconds=60)} == {"cs_2"}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("replay_add_series", "rs_1", "req", "NOPE:X", "1D"), "invalid symbol"),
        (("replay_add_series", "rs_1", "req", COIN, "XX"), "invalid parameters"),
        (("replay_reset", "rs_1", "req", "yesterday"), "invalid parameters"),
        (("replay_step", "rs_1", "req", 0), "invalid parameters"),
        (("replay_start", "rs_1", "req", -1), "invalid parameters"),
        (("replay_dance", "rs_1", "req"), "unsupported method"),
    ],
)
def test_what_cannot_be_done_is_a_replay_error(command: tuple[Any, ...], reason: str) -> None:
    talk = Talk()
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    assert talk.say(command) == [{"m": "replay_error", "p": ["rs_1", "req", reason]}]
    assert talk.hangups == []


def test_a_symbol_of_an_unknown_replay_is_refused() -> None:
    talk = Talk()
    messages = talk.open_chart('={"replay":"rs_9","symbol":{"symbol":"NASDAQ:AAPL"}}')
    assert methods(messages) == ["series_loading", "symbol_error", "series_error"]


def test_a_replay_of_a_living_id_is_refused() -> None:
    talk = Talk()
    open_replay(talk, FRIDAY_NOON - 10 * DAY_S)
    (error,) = talk.say(("replay_create_session", "rs_1"))
    assert error["p"][:2] == ["rs_1", "duplicate id"]
