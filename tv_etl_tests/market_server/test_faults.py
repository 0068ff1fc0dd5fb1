import json

import pytest

from tv_etl.market_server.faults import FAULTS, SLOW_S
from tv_etl.market_server.outbox import Hangup
from tv_etl.tradingview.errors import FrameError
from tv_etl.tradingview.frames import PacketDecoder
from tv_etl_tests.market_server.talk import Talk, bars, methods, only


def test_a_silent_series_is_never_answered_while_heartbeats_go_on() -> None:
    talk = Talk(heartbeat_s=10.0)
    assert methods(talk.open_chart("FAULT:SILENT")) == ["symbol_resolved"]
    assert talk.wait(10.0) == []
    assert talk.payloads[-1] == "~h~1"


def test_a_dropped_connection_ends_without_a_word_before_completion() -> None:
    talk = Talk()
    assert methods(talk.open_chart("FAULT:DROP", "1", 50))[-1] == "timescale_update"
    assert talk.hangups == [Hangup(is_abrupt=True)]


def test_a_split_frame_lies_in_two_messages() -> None:
    talk = Talk()
    messages = talk.open_chart("FAULT:SPLIT_FRAME", "1", 50)
    assert len(bars(only(messages, "timescale_update"))) == 50
    first, second = talk.texts[-2:]
    cut = PacketDecoder()
    cut.feed(first)
    assert cut.has_pending and len(first) > 0 and not second.startswith("~m~")


def test_a_bad_frame_is_no_packet() -> None:
    talk = Talk()
    talk.open_chart("FAULT:BAD_FRAME")
    text = talk.texts[-1]
    decoder = PacketDecoder()
    decoder.feed(text)
    assert decoder.has_pending
    with pytest.raises(FrameError):
        decoder.feed("~m~4~m~~h~1" * 3)


def test_a_series_error_has_its_reason() -> None:
    messages = Talk().open_chart("FAULT:SERIES_ERROR")
    assert methods(messages) == ["series_loading", "symbol_resolved", "series_error"]
    assert only(messages, "series_error")["p"][3] == FAULTS["FAULT:SERIES_ERROR"].reason


def test_a_slow_series_takes_its_time_and_others_do_not_wait() -> None:
    talk = Talk()
    assert "series_completed" not in methods(talk.open_chart("FAULT:SLOW"))
    assert "series_completed" in methods(talk.open_chart("NASDAQ:AAPL", session="cs_2"))
    assert "series_completed" in methods(talk.wait(SLOW_S))


def test_an_empty_series_completes_without_bars() -> None:
    talk = Talk()
    messages = talk.open_chart("FAULT:EMPTY")
    assert methods(messages) == ["series_loading", "symbol_resolved", "series_completed"]
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", 5))) == ["series_loading", "series_completed"]
    assert talk.wait(1.0, market_seconds=60) == []


@pytest.mark.parametrize("symbol", FAULTS)
def test_every_fault_resolves_and_has_a_quote(symbol: str) -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1"), ("quote_create_session", "qs_1"))
    messages = talk.say(("resolve_symbol", "cs_1", "sym_1", symbol), ("quote_add_symbols", "qs_1", symbol))
    assert only(messages, "symbol_resolved")["p"][2]["pro_name"] == symbol
    assert "quote_completed" in methods(messages)
    assert FAULTS[symbol].effect and json.dumps(FAULTS[symbol].effect)
