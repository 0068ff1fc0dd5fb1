import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.market.market import Market
from tv_etl_tests.market_server.samples import sample
from tv_etl_tests.market_server.talk import MarketWith, Message, Talk, methods
from tv_etl_tests.yardstick import cpu_ratio

RECORDINGS = Path(__file__).parents[2] / "recordings"
DENIED = json.loads((RECORDINGS / "tvkit-qsd-permission_denied.json").read_text(encoding="utf-8"))["frames"][0]
FIELDS = ("lp", "ch", "chp", "volume", "bid", "ask", "description", "lp_time")


def open_quotes(talk: Talk, *symbols: Any, fields: tuple[str, ...] = FIELDS) -> list[Message]:
    commands: list[tuple[Any, ...]] = [("quote_create_session", "qs_1")]
    commands += [("quote_set_fields", "qs_1", *fields)] if fields else []
    return talk.say(*commands, ("quote_add_symbols", "qs_1", *symbols))


def merged(messages: list[Message], symbol: str) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for message in messages:
        if message["m"] == "qsd" and message["p"][1]["n"] == symbol:
            state |= message["p"][1]["v"]
    return state


def test_the_first_state_comes_in_several_deltas_and_then_completes() -> None:
    messages = open_quotes(Talk(), "BINANCE:BTCUSDT")
    assert methods(messages) == ["qsd", "qsd", "quote_completed"]
    assert messages[2] == {"m": "quote_completed", "p": ["qs_1", "BINANCE:BTCUSDT"]}
    state = merged(messages, "BINANCE:BTCUSDT")
    assert set(state) == set(FIELDS)
    assert state["bid"] < state["lp"] < state["ask"]
    assert state["chp"] == round(100 * state["ch"] / (state["lp"] - state["ch"]), 2)


def test_a_former_symbol_has_the_quote_of_the_new_one() -> None:
    state = merged(open_quotes(Talk(), "NASDAQ:OLDN", fields=("lp", "pro_name")), "NASDAQ:OLDN")
    assert state["pro_name"] == "NASDAQ:NEWN"
    assert state["lp"] == merged(open_quotes(Talk(), "NASDAQ:NEWN"), "NASDAQ:NEWN")["lp"]


def test_a_quote_has_the_recorded_shape_and_order() -> None:
    recorded = sample("tvrs2023-26-qsd")["p"][1]["v"]
    names = tuple(recorded)
    messages = open_quotes(Talk(), "BITSTAMP:BTCUSD", fields=names)
    values = messages[0]["p"][1]["v"]
    assert list(values) == list(names)
    assert {key: type(value) for key, value in values.items()} == {key: type(recorded[key]) for key in names}


def test_without_fields_all_are_sent_in_the_recorded_deltas() -> None:
    messages = open_quotes(Talk(), "NASDAQ:AAPL", fields=())
    assert methods(messages) == ["qsd", "qsd", "qsd", "qsd", "quote_completed"]
    metrics, book, snapshot, feed = (message["p"][1]["v"] for message in messages[:4])
    assert metrics == {"metrics_loaded": False}
    assert list(book) == ["trade_loaded", "bid_size", "bid", "ask_size", "ask"]
    assert {"subsessions", "timezone", "pricescale", "open_price", "current_session", "isin"} <= set(snapshot)
    assert {"fundamental_data", "session-regular", "minmovement"} <= set(feed)


def test_a_new_bid_brings_the_whole_book_and_a_trade_what_changed() -> None:
    talk = Talk()
    open_quotes(talk, "BINANCE:BTCUSDT", fields=())
    book, trade = (message["p"][1]["v"] for message in talk.wait(1.0, market_seconds=5))
    assert list(book) == ["trade_loaded", "bid_size", "bid", "ask_size", "ask"]
    assert {"lp", "lp_time", "volume"} <= set(trade) <= {
        "lp", "lp_time", "ch", "chp", "volume", "high_price", "low_price",
    }  # fmt: skip


def test_a_denied_symbol_has_the_recorded_quote() -> None:
    denied = replace(listings()["NASDAQ:AAPL"], symbol="ECONOMICS:SECRET", denial="group")
    quote, done = open_quotes(Talk(MarketWith(denied)), "ECONOMICS:SECRET")
    recorded = DENIED["p"][1] | {"n": "ECONOMICS:SECRET"}
    assert quote["p"][1] == recorded and list(quote["p"][1]) == list(recorded)
    assert done["m"] == "quote_completed"


def test_a_symbol_that_stays_fast_is_not_told_again() -> None:
    talk = Talk()
    open_quotes(talk, "BINANCE:BTCUSDT", "BINANCE:ETHUSDT")
    first = talk.say(("quote_fast_symbols", "qs_1", "BINANCE:BTCUSDT"))
    both = talk.say(("quote_fast_symbols", "qs_1", "BINANCE:BTCUSDT", "BINANCE:ETHUSDT"))
    told = [[m["p"][1] for m in messages if m["m"] == "quote_completed"] for messages in (first, both)]
    assert told == [["BINANCE:BTCUSDT"], ["BINANCE:ETHUSDT"]]


def test_an_index_without_volume_says_no_value() -> None:
    talk = Talk()
    messages = open_quotes(talk, "NASDAQ:NDX")
    assert merged(messages, "NASDAQ:NDX")["volume"] == sample("tvrs2023-22-qsd")["p"][1]["v"]["volume"] == 1e100
    assert any('"volume":1e+100' in payload for payload in talk.payloads)


def test_an_unknown_symbol_is_an_error_and_completes_and_others_come() -> None:
    messages = open_quotes(Talk(), "NOPE:X", '={"symbol":"BINANCE:BTCUSDT"}', "={")
    assert messages[0]["p"][1] == {"n": "NOPE:X", "s": "error", "errmsg": "no_such_symbol", "v": {}}
    assert [m["p"][1] for m in messages if m["m"] == "quote_completed"] == [
        "NOPE:X", '={"symbol":"BINANCE:BTCUSDT"}', "={",
    ]  # fmt: skip
    assert merged(messages, '={"symbol":"BINANCE:BTCUSDT"}')["lp"] > 0


def test_only_what_changed_is_sent_and_it_adds_up() -> None:
    talk = Talk()
    state = merged(open_quotes(talk, "BINANCE:BTCUSDT"), "BINANCE:BTCUSDT")
    changes = [message for _ in range(10) for message in talk.wait(1.0, market_seconds=5)]
    assert changes and all("description" not in message["p"][1]["v"] for message in changes)
    state |= merged(changes, "BINANCE:BTCUSDT")
    later = merged(open_quotes(Talk(now=talk.clock.now()), "BINANCE:BTCUSDT"), "BINANCE:BTCUSDT")
    assert state == later
    assert talk.wait(1.0) == []


def test_hibernation_stops_the_ticks_and_fast_symbols_go_on() -> None:
    talk = Talk()
    open_quotes(talk, "BINANCE:BTCUSDT", "BINANCE:ETHUSDT")
    talk.say(("quote_hibernate_all", "qs_1"))
    assert talk.wait(1.0, market_seconds=60) == []
    again = talk.say(("quote_fast_symbols", "qs_1", "BINANCE:ETHUSDT"))
    assert methods(again) == ["qsd", "qsd", "quote_completed"]
    assert {message["p"][1]["n"] for message in talk.wait(1.0, market_seconds=60)} == {"BINANCE:ETHUSDT"}


def test_a_symbol_made_fast_before_its_first_state_is_told_once() -> None:
    talk = Talk()
    names = ("BINANCE:BTCUSDT", "NOPE:X")
    commands = [("quote_create_session", "qs_1"), ("quote_add_symbols", "qs_1", *names)]
    messages = talk.say(*commands, ("quote_fast_symbols", "qs_1", *names))
    assert [message["p"][1] for message in messages if message["m"] == "quote_completed"] == list(names)


def test_hundreds_of_symbols_hold_up_nobody() -> None:
    talk, symbols = Talk(), Market(7).listed_symbols()[-600:]
    talk.say(("quote_create_session", "qs_1"), ("quote_set_fields", "qs_1", *FIELDS))
    watch = iter(range(10**6))
    talk.conversation._world.wall = lambda: 100.0 + 0.06 * next(watch)  # whatever is done takes longer than is given
    messages = talk.say(("quote_add_symbols", "qs_1", *symbols))
    told = [[message["p"][1] for message in messages if message["m"] == "quote_completed"]]
    while len(told) < 50 and told[-1]:
        told.append([message["p"][1] for message in talk.wait(0.0) if message["m"] == "quote_completed"])
    assert [symbol for each in told for symbol in each] == symbols
    assert max(map(len, told)) < 120


def test_six_hundred_quotes_are_drawn_together() -> None:
    talk, symbols = Talk(), Market(7).listed_symbols()[-600:]
    talk.say(("quote_create_session", "qs_1"), ("quote_set_fields", "qs_1", *FIELDS))
    # Drawn one by one, eight hundred times the yardstick, and a tick of all ninety.
    assert cpu_ratio(lambda: talk.say(("quote_add_symbols", "qs_1", *symbols))) < 300
    assert cpu_ratio(lambda: talk.wait(1.0, market_seconds=5)) < 40


def test_removed_symbols_and_deleted_sessions_are_silent() -> None:
    talk = Talk()
    open_quotes(talk, "BINANCE:BTCUSDT", "BINANCE:ETHUSDT")
    talk.say(("quote_remove_symbols", "qs_1", "BINANCE:BTCUSDT", "NOT:THERE"))
    assert {message["p"][1]["n"] for message in talk.wait(1.0, market_seconds=60)} == {"BINANCE:ETHUSDT"}
    talk.say(("quote_delete_session", "qs_1"))
    assert talk.wait(1.0, market_seconds=60) == []


@pytest.mark.parametrize("command", ["quote_add_symbols", "quote_brew"])
def test_flags_and_unknown_methods_are_invalid(command: str) -> None:
    talk = Talk()
    open_quotes(talk, "BINANCE:BTCUSDT")
    (error,) = talk.say((command, "qs_1", "NASDAQ:AAPL", {"flags": ["force_permission"]}))
    recorded = sample("kotlin2024-critical_error-quote-flags")
    assert error == {"m": recorded["m"], "p": ["qs_1", recorded["p"][1], command]}
