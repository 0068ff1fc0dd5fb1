"""What the live server sent decodes into typed events with the values it sent."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import ProtocolError
from tv_etl.tradingview.frames import PacketDecoder, encode_packet
from tv_etl_tests.recordings import exact_recordings, recording

pytestmark = pytest.mark.pure

RECORDINGS = exact_recordings()


def decode(message: Any) -> list[Any]:
    """The events of a message given as a Python object."""
    return protocol.decode_event(json.dumps(message))[0]


def update(*points: Any) -> list[Any]:
    return decode(
        {"m": "timescale_update", "p": ["cs_1", {"sds_1": {"s": [{"i": i, "v": v} for i, v in enumerate(points)]}}]}
    )


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_message_decodes_and_no_bar_changes(name: str) -> None:
    for text in RECORDINGS[name]:
        client = protocol.ClientProtocol()
        client.receive_text(text)
        events = client.events_received()
        payloads = PacketDecoder().feed(text)
        assert len(events) >= len(payloads)
        received = [(event.series, event.rows) for event in events if isinstance(event, protocol.BarsReceived)]
        assert received == [bars for payload in payloads for bars in raw_bars(payload)]


def raw_bars(payload: str) -> list[tuple[str, Any]]:
    message = {} if payload.startswith("~h~") else json.loads(payload)
    if message.get("m") not in ("timescale_update", "du"):
        return []
    return [
        (series, [point["v"] for point in content["s"]])
        for series, content in message["p"][1].items()
        if "s" in content
    ]


def test_a_history_answer_decodes_in_order() -> None:
    client = protocol.ClientProtocol()
    for text in recording("mktcli-20260821-history-ok")["frames"]:
        client.receive_text(text)
    hello, loading, resolved, bars, completed = client.events_received()
    assert isinstance(hello, protocol.Hello)
    assert isinstance(loading, protocol.SeriesLoading)
    assert isinstance(resolved, protocol.SymbolResolved)
    assert (resolved.info.symbol, resolved.info.time_zone, resolved.info.tick) == (
        "NASDAQ:AAPL",
        "America/New_York",
        0.01,
    )
    assert isinstance(bars, protocol.BarsReceived)
    assert bars.is_snapshot
    assert len(bars.rows) == 5
    assert (bars.close_time, bars.time_ms) == (1787255999, 1787292487429)
    assert completed == protocol.SeriesCompleted("cs_m4euhx", "sds_1", "streaming", "")
    assert client.server_time_ms == 1787292487429


def test_a_heartbeat_amid_data_is_echoed_verbatim() -> None:
    client = protocol.ClientProtocol()
    loading = encode_packet('{"m":"series_loading","p":["cs_1","sds_1","s1"]}')
    client.receive_text(loading + "~m~5~m~~h~42" + loading)
    assert client.text_to_send() == ["~m~5~m~~h~42"]
    kinds = [type(event) for event in client.events_received()]
    assert kinds == [protocol.SeriesLoading, protocol.Heartbeat, protocol.SeriesLoading]


def test_what_the_client_does_not_use_is_ignored_by_name() -> None:
    assert decode({"m": "study_deleted", "p": ["cs_1", "st1"]}) == [protocol.Ignored("cs_1", "study_deleted")]
    assert decode({"m": "brand_new_thing", "p": []}) == [protocol.Ignored("", "brand_new_thing")]
    assert decode({"m": "timescale_update", "p": ["cs_1", {}, {"index": 300}]}) == [
        protocol.Ignored("cs_1", "timescale_update")
    ]


def test_bars_without_volume_and_without_a_value_are_told_apart_from_damage() -> None:
    good = [1.0, 2.0, 3.0, 1.0, 2.0]
    (event,) = update(good, [*good, 7.5], [60.0, None, 1.0, 1.0, 1.0], [60.5, 1, 1, 1, 1], [1, 2, 3, 4], "x")
    assert event.rows == [good, [*good, 7.5]]
    assert event.rejected == 4


def test_an_update_may_hold_several_series_and_studies() -> None:
    content = {"s": [{"i": 0, "v": [60.0, 1.0, 1.0, 1.0, 1.0]}], "lbs": {"bar_close_time": 120}}
    events = decode({"m": "du", "p": ["cs_1", {"a": content, "st1": {"st": []}, "empty": {}, "b": content}]})
    assert [(event.series, event.close_time, event.is_snapshot) for event in events] == [
        ("a", 120, False),
        ("b", 120, False),
    ]


def test_errors_keep_their_scope_and_words() -> None:
    assert decode({"m": "symbol_error", "p": ["cs_1", "sym", "permission denied", "group", "paid"]}) == [
        protocol.SymbolFailed("cs_1", "sym", "permission denied, group, paid")
    ]
    assert decode({"m": "series_error", "p": ["cs_1", "sds_1", "s1", {"error": "x"}, "n@n"]}) == [
        protocol.SeriesFailed("cs_1", "sds_1", '{"error":"x"}')
    ]
    (payload,) = PacketDecoder().feed(recording("hm-critical_error-invalid-parameters")["frames"][0])
    (failed,) = protocol.decode_event(payload)[0]
    assert isinstance(failed, protocol.SessionFailed)
    assert failed.reason == "invalid parameters"
    assert failed.info.startswith("method: create_series")


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "[]",
        "7",
        "{",
        '{"m":"du","p":{}}',
        '{"m":"du","p":[7,{}]}',
        '{"m":"du","p":["cs_1",[]]}',
        '{"m":"qsd","p":["qs_1"]}',
        '{"m":"symbol_resolved","p":["cs_1","s",7]}',
        '{"m":"du","p":["cs_1",{"a":{"s":[{"i":0,"v":[NaN,1,1,1,1]}]}}]}',
        '{"m":"x","p":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_a_malformed_message_raises(payload: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_event(payload)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=20))
def test_whatever_json_comes_decodes_or_raises_protocol_error(value: Any) -> None:
    for message in (value, {"m": "du", "p": value}, {"m": "qsd", "p": ["qs", value]}, {"m": "du", "p": ["c", value]}):
        with suppress(ProtocolError):
            protocol.decode_event(msgspec.json.encode(message).decode())


def test_both_ends_understand_each_other() -> None:
    client, server = protocol.ClientProtocol(), protocol.ServerProtocol()
    client.send(protocol.create_series("cs_1", "sds_1", "sym", "1D", 300))
    for text in client.text_to_send():
        server.receive_text(text)
    assert server.commands_received() == [
        protocol.Command("create_series", ("cs_1", "sds_1", "s1", "sym", "1D", 300, ""))
    ]
    server.send_payload("~h~1")
    server.send("series_loading", ["cs_1", "sds_1", "s1"], time_ms=1_787_292_487_429)
    client.receive_text(server.text_to_send())
    assert [type(event) for event in client.events_received()] == [protocol.Heartbeat, protocol.SeriesLoading]
    for text in client.text_to_send():
        server.receive_text(text)
    assert server.heartbeats_received == 1


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"m":7,"p":[]}', '{"m":"x"}', '{"m":"x","p":{}}'])
def test_a_malformed_command_raises(payload: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_command(payload)


def test_nested_quote_fields_are_merged_deeply() -> None:
    known: dict[str, Any] = {"source": {"id": "X", "name": "Y"}, "lp": 1}
    protocol.merge_fields(known, {"source": {"name": "Z"}, "lp": None})
    assert known == {"source": {"id": "X", "name": "Z"}, "lp": None}


def test_a_quote_and_the_next_one_are_what_has_changed_since() -> None:
    first = protocol.QuoteReceived("qs_1", "X:Y", "ok", {"lp": 1.0, "bid": 0.5, "source": {"id": "X"}}, "")
    later = protocol.QuoteReceived("qs_1", "X:Y", "ok", {"lp": 2.0, "source": {"name": "Z"}}, "")
    both = first.followed_by(later)
    assert both.fields == {"lp": 2.0, "bid": 0.5, "source": {"id": "X", "name": "Z"}}
    assert first.fields["source"] == {"id": "X"}
