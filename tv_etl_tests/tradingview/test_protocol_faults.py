"""Rows P1 to P20 and D1 to D10 of the fault catalogue: the right error or the right handling, and nothing swallowed.

What lives elsewhere is proved there: D1 also in test_bar_store and test_checks (a broken bar is kept in quarantine, and
its check fails), D5 in test_trading_hours (the clock changes, holidays, Sunday opens), D6 in test_paging (history
adjusted while a fetch is resumed), test_revisions, test_assets (the stored series after a split) and test_alerts (no
rule fires from the jump), D7 in test_bar_store (a closed bar that differs is replaced, counted and written down), D9 in
test_trading_hours (gaps are runs of expected bars), D10 in test_assets (a bad symbol fails alone) and test_sensors (a
rule whose symbol is gone is told once).
"""

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.utils import accept_key

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import (
    ConnectionFailedError,
    EntitlementError,
    FrameError,
    IntervalError,
    NoBarsError,
    ProtocolError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH, PacketDecoder, encode_packet
from tv_etl.tradingview.history import to_table
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.paging import SERIES_ID, SeriesPager
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl_tests import own_clock
from tv_etl_tests.recordings import exact_recordings
from tv_etl_tests.scripted_server import (
    NOW,
    Answer,
    Line,
    bars,
    qsd,
    quote_completed,
    raw_server,
    scripted_server,
    series_completed,
    series_loading,
    shake_hands,
    symbol_resolved,
    text_frame,
)

LIMITS = Limits(open_s=3.0, silence_s=3.0, progress_s=1.0, retry_s=0.5, reconnect_s=1.0)
REQUEST = HistoryRequest("NASDAQ:AAPL", "1D", bars_count=2)
ROWS = ([float(NOW - 172_800), 1.0, 2.0, 0.5, 1.5, 10.0], [float(NOW - 86_400), 1.5, 2.0, 1.0, 1.0, 20.0])


def decode(message: Any) -> list[Any]:
    return protocol.decode_event(json.dumps(message))[0]


def snapshot_of(*values: Any, session: str = "cs_1") -> protocol.BarsReceived:
    """What a timescale_update with these points decodes to."""
    points = [{"i": index, "v": value} for index, value in enumerate(values)]
    (event,) = decode({"m": "timescale_update", "p": [session, {SERIES_ID: {"s": points}}, {}]})
    assert isinstance(event, protocol.BarsReceived)
    return event


def answer_of(*events: protocol.Event, **request: Any) -> SeriesHistory:
    """What a fetch of these events yields."""
    pager = SeriesPager(HistoryRequest("X:Y", "1m", **request), "cs_1", now_s=NOW)
    pager.start()
    for event in [*events, protocol.SeriesCompleted("cs_1", SERIES_ID, "streaming", "end")]:
        pager.receive(event)
    assert pager.history is not None, pager.error
    return pager.history


async def fetch(url: str, request: HistoryRequest = REQUEST) -> SeriesHistory:
    async with ConnectionService(url, limits=LIMITS) as connection:
        return await MessageService(connection).fetch(request)


def outcome(answer: Answer, request: HistoryRequest = REQUEST) -> SeriesHistory | TradingViewError:
    async def run() -> SeriesHistory | TradingViewError:
        async with scripted_server(answer) as server:
            try:
                return await fetch(server.url, request)
            except TradingViewError as error:
                return error

    return own_clock.run(run())


def saying(*messages: Any) -> Answer:
    """A server that answers create_series with these, `SESSION` standing for the session."""

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(*json.loads(json.dumps(messages).replace("SESSION", params[0])))

    return answer


def said(method: str, *params: Any) -> dict[str, Any]:
    """A message to the session, with just these parameters."""
    return {"m": method, "p": ["SESSION", *params]}


WHOLE = (series_loading("SESSION"), symbol_resolved("SESSION"), bars("SESSION", *ROWS), series_completed("SESSION"))


# --- P1 to P8: framing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["삼성전자", "😀 Ⅷ", "Ünïcödé"])
def test_p1_a_length_counts_utf16_units_and_nothing_else(text: str) -> None:
    payload = json.dumps({"m": "x", "p": [text]}, ensure_ascii=False)
    assert PacketDecoder().feed(encode_packet(payload)) == [payload]
    right = len(payload.encode("utf-16-le")) // 2
    for wrong in {len(payload), len(payload.encode())} - {right}:
        decoder = PacketDecoder()
        try:
            assert decoder.feed(f"~m~{wrong}~m~{payload}") == []
            assert decoder.has_pending
        except FrameError:
            pass


@given(
    st.lists(st.sampled_from(["~m~", "~m~5~m~", "~h~1", "~m~2~m~{}", "a", "😀", '"', "\\"]), max_size=12).map("".join)
)
def test_p2_delimiters_inside_a_text_are_text(text: str) -> None:
    client = protocol.ClientProtocol()
    client.receive_text(encode_packet(json.dumps({"m": "quote_completed", "p": ["qs_1", text]}, ensure_ascii=False)))
    assert client.events_received() == [protocol.QuoteCompleted("qs_1", text)]


@pytest.mark.parametrize(
    "text", ["~m~0~m~", "~m~1~m~ab", "~m~99999999~m~a", "~m~1e3~m~a", "m~1~m~a", "\ud800", "~m~٣~m~abc"]
)
def test_p3_a_wrong_frame_is_an_error_that_tells_where_and_not_what(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.ClientProtocol().receive_text(encode_packet("~h~1") + text + "secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("difference", [-1, 7])
def test_p3_a_wrong_length_ends_the_fetch_at_the_latest_with_the_next_packet(difference: int) -> None:
    async def lie(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            payload = json.dumps(series_loading(params[0]))
            await line.say_text(f"~m~{len(payload) + difference}~m~{payload}")
            await line.say("~h~1")

    assert isinstance(outcome(lie), FrameError)


def test_p4_all_packets_of_a_message_count_and_heartbeats_among_them_are_echoed() -> None:
    async def run() -> None:
        messages = ["~h~1", WHOLE[0], "~h~2", *WHOLE[1:3], "~h~33", WHOLE[3], "~h~4"]
        async with scripted_server(saying(*messages)) as server:
            async with ConnectionService(server.url, limits=LIMITS) as connection:
                service = MessageService(connection)
                assert (await service.fetch(REQUEST)).rows == list(ROWS)
                await service.fetch(REQUEST)
            assert server.lines[0].heartbeats[:4] == ["~h~1", "~h~2", "~h~33", "~h~4"]

    own_clock.run(run())


def test_p5_a_packet_in_many_messages_is_put_together_in_linear_time() -> None:
    payload = "😀x" * 200_000
    text = encode_packet(payload)
    decoder = PacketDecoder()
    received = [each for start in range(0, len(text), 40) for each in decoder.feed(text[start : start + 40])]
    assert received == [payload]


def test_p5_what_waits_for_its_rest_is_bounded() -> None:
    decoder = PacketDecoder()
    with pytest.raises(FrameError, match="announces"):
        decoder.feed(f"~m~{MAX_MESSAGE_LENGTH + 1}~m~")
    decoder = PacketDecoder()
    decoder.feed(f"~m~{MAX_MESSAGE_LENGTH}~m~")
    with pytest.raises(FrameError):
        for _ in range(20):
            decoder.feed("x" * (1 << 20))


def test_p5_a_split_answer_is_whole(market_url: str) -> None:
    history = own_clock.run(fetch(market_url, HistoryRequest("FAULT:SPLIT_FRAME", "1m", bars_count=50)))
    assert len(history.rows) == 50


def test_p6_a_binary_message_is_read_as_text() -> None:
    async def binary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        await reader.readexactly(1)
        payload = encode_packet(json.dumps({"m": "protocol_error", "p": ["banned 🤷"]}, ensure_ascii=False)).encode()
        writer.write(b"\x82" + text_frame(payload)[1:])

    async def run() -> None:
        async with raw_server(binary) as url:
            with pytest.raises(ConnectionFailedError, match="banned"):
                await fetch(url)

    own_clock.run(run())


def fragments(writer: asyncio.StreamWriter) -> None:
    """A message that never ends, in pieces of a megabyte."""
    piece = b"x" * (1 << 20)
    writer.write(b"\x01\x7f" + len(piece).to_bytes(8, "big") + piece)
    for _ in range(20):
        writer.write(b"\x00\x7f" + len(piece).to_bytes(8, "big") + piece)


def bomb(writer: asyncio.StreamWriter) -> None:
    """A hundred kilobytes that unpack to a hundred megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(b"0" * (1 << 24)) for _ in range(8)) + packer.flush(zlib.Z_SYNC_FLUSH)
    writer.write(b"\xc1\x7f" + len(packed).to_bytes(8, "big") + packed)


async def shake_hands_on_compression(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.split(": ")[1] for line in request.splitlines() if line.lower().startswith("sec-websocket-key"))
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    writer.write(f"{head}{extension}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())
    await writer.drain()


@pytest.mark.parametrize("attack", [fragments, bomb])
def test_p7_p8_endless_messages_and_bombs_take_no_memory(attack: Callable[[asyncio.StreamWriter], None]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (shake_hands_on_compression if attack is bomb else shake_hands)(reader, writer)
        await reader.readexactly(1)
        attack(writer)

    async def run() -> None:
        async with raw_server(handle) as url:
            with pytest.raises(ProtocolError, match="too long"):
                await fetch(url)

    tracemalloc.start()
    try:
        own_clock.run(run())
        assert tracemalloc.get_traced_memory()[1] < 96 << 20
    finally:
        tracemalloc.stop()


# --- P9 to P13: messages that say too much, too little or nonsense ------------------------------------------------


@given(st.text(max_size=20), st.recursive(st.none() | st.integers(-5, 5) | st.text(max_size=3), st.lists, max_leaves=5))
def test_p9_unknown_messages_are_named_and_change_nothing(method: str, params: Any) -> None:
    events = decode({"m": f"x_{method}", "p": params})
    assert [(type(event), event.method) for event in events] == [(protocol.Ignored, f"x_{method}")]


def test_p9_unknown_messages_amid_an_answer_do_no_harm() -> None:
    strange = [{"m": "new", "p": {"a": 1}}, {"m": "newer"}, {"x": 1}, {"m": "tickmark_update", "p": ["SESSION", {}]}]
    history = outcome(saying(*strange, *WHOLE[:2], *strange, *WHOLE[2:]))
    assert isinstance(history, SeriesHistory)
    assert history.rows == list(ROWS)


def test_p9_unknown_messages_are_counted_by_name() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            flood = [{"m": f"new_{number}", "p": [params[0]]} for number in range(500)]
            await line.say(*flood, *[{"m": "new_1", "p": []}] * 2)
            await saying(*WHOLE)(line, method, params)

    async def run() -> None:
        async with scripted_server(answer) as server, ConnectionService(server.url, limits=LIMITS) as connection:
            await MessageService(connection).fetch(HistoryRequest("X:Y", "1D", bars_count=2))
            assert connection.ignored["new_1"] == 3
            assert len(connection.ignored) == 100, "a server that makes names up fills no memory"

    own_clock.run(run())


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1e400", "9" * 5_000, "[" * 5_000 + "]" * 5_000, "01", '"\\ud800"']
)
@pytest.mark.parametrize("place", ['{"m":"qsd","p":["qs_1",{"n":"A","v":{"lp":%s}}]}', '{"m":"x","p":%s}', '{"y":%s}'])
def test_p10_numbers_and_depths_that_nobody_can_hold_are_an_error_or_unread(value: str, place: str) -> None:
    try:
        events, _ = protocol.decode_event(place % value)
    except ProtocolError as error:
        assert len(str(error)) < 200
    else:
        # How deep is too deep differs between Pythons; what is read is what was sent.
        assert not isinstance(events[0], protocol.QuoteReceived) or str(events[0].fields["lp"]) == value


def test_p10_of_two_equal_keys_the_last_counts() -> None:
    (event,) = protocol.decode_event('{"m":"series_loading","m":"quote_completed","p":["a","b"],"p":["qs_1","A"]}')[0]
    assert event == protocol.QuoteCompleted("qs_1", "A")


GOOD = [60.0, 1.0, 2.0, 0.5, 1.5, 7.0]


each_row_that_is_no_bar = pytest.mark.parametrize(
    "row",
    [
        [60, None, 1, 1, 1, 1], [60, "1", 1, 1, 1, 1], [60, True, 1, 1, 1, 1], [60, 1, 1, 1], [60, 1, 1, 1, 1, 1, 1],
        [60.5, 1, 1, 1, 1, 1], [None, 1, 1, 1, 1, 1], [], "x", None, {}, [60, [1], 1, 1, 1], [60, 1e100, 1, 1, 1, 1],
        [60, 10**400, 1, 1, 1, 1],
        [1.7e12, 1, 1, 1, 1, 1], [-1e12, 1, 1, 1, 1, 1], [60, 1, 1, 1, 1, "7"], [60, 1, 1, 1, 1, False],
    ],
)  # fmt: skip


@each_row_that_is_no_bar
def test_p11_what_is_no_bar_is_dropped_and_counted(row: Any) -> None:
    event = snapshot_of(GOOD, row, [120, *GOOD[1:]])
    assert (event.rows, event.rejected) == ([GOOD, [120.0, *GOOD[1:]]], 1)
    assert answer_of(event).rejected == 1


@each_row_that_is_no_bar
@pytest.mark.parametrize("place", [0, 25, 49])
def test_p11_one_row_of_a_page_that_is_no_bar_costs_no_other(row: Any, place: int) -> None:
    page = [[minute * 60.0, *GOOD[1:]] for minute in range(50)]
    event = snapshot_of(*page[:place], row, *page[place:])
    assert (event.rows, event.rejected) == (page, 1)


@pytest.mark.parametrize("with_volume", [[], [7], range(50)])
def test_rows_with_and_without_volume_share_a_page(with_volume: Iterable[int]) -> None:
    page = [[minute * 60.0, *GOOD[1 : 6 if minute in with_volume else 5]] for minute in range(50)]
    event = snapshot_of(*page)
    assert (event.rows, event.rejected) == (page, 0)
    assert answer_of(event).rows == page


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=40), st.data())
def test_p12_bars_in_any_order_and_twice_come_to_the_last_version_of_each(
    sent: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows = [[minute * 60, *[float(price)] * 4] for minute, price in sent]
    cut = data.draw(st.integers(0, len(rows)))
    history = answer_of(snapshot_of(*rows[:cut]), snapshot_of(*rows[cut:]))
    truth = {minute: float(price) for minute, price in sent}
    assert [(row[0] // 60, row[1]) for row in history.rows] == sorted(truth.items())


@given(st.integers(0, 30), st.integers(1, 30))
def test_p13_bars_outside_the_range_are_dropped(start: int, length: int) -> None:
    moments = [protocol_time(minute) for minute in (start, start + length)]
    history = answer_of(
        snapshot_of(*[[minute * 60, *GOOD[1:]] for minute in range(60)]), start=moments[0], end=moments[1]
    )
    assert [row[0] // 60 for row in history.rows] == list(range(start, start + length))


def protocol_time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, tz=timezone.utc)


# --- P14 to P20: refusals, and answers that are none -----------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "expected", "words"),
    [
        ([said("symbol_error", "sds_sym_1", "invalid symbol")], SymbolError, "invalid symbol"),
        ([said("symbol_error", "sds_sym_1", "permission denied", "group", "paid")], EntitlementError, "group, paid"),
        ([said("series_error", "sds_1", "s1", "resolve error", "n@n")], SymbolError, "resolve error"),
        ([said("series_error", "sds_1", "s1", "seconds_not_entitled", "undefined")], EntitlementError, "seconds"),
        ([said("series_error", "sds_1", "s1", {"error": "x", "ctx": {}}, "n")], SeriesError, '"error":"x"'),
        ([said("series_error", "sds_1", "s1", "internal")], SeriesError, "internal"),
        ([said("series_error", "sds_1", "internal")], SeriesError, "internal"),
        ([said("series_error", "sds_1")], SeriesError, "refused"),
        ([said("critical_error", "invalid parameters", "method: create_series. args: x")], IntervalError, "args: x"),
        ([said("critical_error", "duplicate id")], SeriesError, "duplicate id"),
        ([said("critical_error", {"code": 7}, None)], SeriesError, '"code":7'),
        ([said("critical_error")], SeriesError, "refused"),
        ([{"m": "protocol_error", "p": ["wrong data"]}], ConnectionFailedError, "wrong data"),
        ([{"m": "protocol_error", "p": ['{unknown_session_id,<<"x">>}']}], ConnectionFailedError, "unknown_session_id"),
        ([{"m": "protocol_error", "p": []}], ConnectionFailedError, "127.0.0.1"),
        ([series_loading("SESSION"), series_completed("SESSION")], NoBarsError, "without a bar"),
        ([bars("SESSION", [60.5, 1, 1, 1, 1]), series_completed("SESSION")], NoBarsError, "1 rows were not bars"),
        ([series_loading("SESSION"), bars("SESSION", *ROWS)], NoBarsError, "no complete answer"),
        ([said("series_completed", "sds_9"), bars("SESSION", *ROWS)], NoBarsError, "no complete answer"),
        ([said("timescale_update", [])], ProtocolError, "not an object"),
    ],
)
def test_p14_p15_p16_p20_every_refusal_is_typed_and_in_the_servers_words(
    messages: list[Any], expected: type[TradingViewError], words: str
) -> None:
    error = outcome(saying(*messages))
    assert type(error) is expected
    assert words in str(error)


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("SERIES_ERROR", SeriesError),
        ("EMPTY", NoBarsError),
        ("DROP", ConnectionFailedError),
    ],
)
def test_the_market_servers_faults_are_typed(market_url: str, symbol: str, expected: type[TradingViewError]) -> None:
    with pytest.raises(expected) as caught:
        own_clock.run(fetch(market_url, HistoryRequest(f"FAULT:{symbol}", "1m", bars_count=20)))
    assert type(caught.value) is expected


def test_p14_p16_a_refused_series_leaves_the_others_alone() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol" and "BAD" in params[2]:
            await line.say({"m": "critical_error", "p": [params[0], "exceed limit of series in the session", ""]})
        elif method == "create_series":
            await saying(*WHOLE)(line, method, params)

    async def run() -> None:
        async with scripted_server(answer) as server, ConnectionService(server.url, limits=LIMITS) as connection:
            service = MessageService(connection)
            bad, *good = await asyncio.gather(
                *(service.fetch(HistoryRequest(f"X:{name}", "1D", bars_count=2)) for name in ("BAD", "A", "B")),
                return_exceptions=True,
            )
            assert isinstance(bad, SeriesError)
            assert bad.retryable
            assert [each.rows for each in good if isinstance(each, SeriesHistory)] == [list(ROWS)] * 2

    own_clock.run(run())


@pytest.mark.parametrize(
    ("quote", "status", "reason"),
    [
        ({"n": "A", "s": "error", "errmsg": "no_such_symbol", "v": {}}, "error", "no_such_symbol"),
        ({"n": "A", "s": "permission_denied", "errmsg": "No", "v": {"alternative": "x"}}, "permission_denied", "No"),
        ({"n": "A", "s": "error", "errmsg": {"code": 7}}, "error", '{"code":7}'),
        ({"n": "A", "s": "error", "errmsg": None, "v": None}, "error", ""),
        ({"n": "A", "s": 7, "v": []}, "error", ""),
        ({"n": "A", "v": {"lp": None}}, "ok", ""),
    ],
)  # fmt: skip
def test_p17_a_refused_quote_has_its_status_and_no_price(quote: dict[str, Any], status: str, reason: str) -> None:
    (event,) = decode({"m": "qsd", "p": ["qs_1", quote]})
    assert (event.symbol, event.status, event.reason) == ("A", status, reason)
    assert event.fields.get("lp") is None


def test_p17_p18_partial_quotes_merge_and_a_refused_symbol_stands_alone() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            session = params[0]
            await line.say(
                qsd(session, "X:A", ch=0.5), qsd(session, "X:BAD", "error", "no_such_symbol"),
                quote_completed(session, "X:BAD"), qsd(session, "X:A", volume=1e100),
                qsd(session, "X:A", lp=7.0), quote_completed(session, "X:A"),
            )  # fmt: skip

    async def run() -> dict[str, Any]:
        async with scripted_server(answer) as server, OHLCV(server.url) as client:
            return dict(await client.get_quotes(["X:A", "X:BAD"]))

    quotes = own_clock.run(run())
    assert isinstance(quotes["X:BAD"], SymbolError)
    good = quotes["X:A"]
    assert (good.current_price, good.change, good.change_percent, good.volume) == (7.0, 0.5, None, None)


def test_p19_answers_of_another_session_are_not_ours() -> None:
    old = [json.loads(json.dumps(message).replace("SESSION", "cs_of_yesterday")) for message in WHOLE]
    foreign = [bars("cs_of_yesterday", [60.0, 9, 9, 9, 9]), {"m": "critical_error", "p": ["cs_of_yesterday", "x", "y"]}]
    history = outcome(saying(*old, *foreign, *WHOLE[:3], *old, WHOLE[3]))
    assert isinstance(history, SeriesHistory)
    assert history.rows == list(ROWS)


def test_p20_no_bars_are_an_answer_only_if_the_server_says_so() -> None:
    history = outcome(saying(series_loading("SESSION"), series_completed("SESSION", data_completed="end")))
    assert isinstance(history, SeriesHistory)
    assert (history.rows, history.reach) == ([], "exhausted")


# --- what servers were seen to vary -----------------------------------------------------------------------------


def test_the_parts_of_an_answer_may_come_in_any_order_before_its_end() -> None:
    for parts in permutations(
        [*WHOLE[:3], "~h~1", {"m": "series_timeframe", "p": ["SESSION", "sds_1", "s1", -2, 9, "", False]}]
    ):
        history = outcome_of_text(*parts, WHOLE[3])
        assert (history.rows, history.info.time_zone) == (list(ROWS), "Etc/UTC")


def outcome_of_text(*messages: Any) -> SeriesHistory:
    """As `outcome`, without a socket."""
    client = protocol.ClientProtocol()
    texts = [m if isinstance(m, str) else json.dumps(m).replace("SESSION", "cs_1") for m in messages]
    client.receive_text("".join(map(encode_packet, texts)))
    return answer_of(*client.events_received(), bars_count=2)


@pytest.mark.parametrize(
    "tail",
    [[], ["streaming"], ["streaming", "s1"], ["streaming", "s1", {}], ["streaming", "s1", None], [None, None, [1], 7]],
)
def test_a_completion_may_be_short(tail: list[Any]) -> None:
    (event,) = decode({"m": "series_completed", "p": ["cs_1", SERIES_ID, *tail], "t": "soon", "t_ms": None})
    assert (event.series, event.data_completed) == (SERIES_ID, "")


@pytest.mark.parametrize("tail", [[{"data_completed": "limit"}], ["", {"data_completed": "limit"}]])
def test_the_word_on_the_end_is_found_in_a_short_completion_too(tail: list[Any]) -> None:
    (event,) = decode({"m": "series_completed", "p": ["cs_1", SERIES_ID, *tail]})
    assert event.data_completed == "limit"


@pytest.mark.parametrize(
    "status", [None, {}, {"bar_close_time": None}, {"bar_close_time": "x"}, {"bar_close_time": True}, 7]
)
def test_without_a_sound_word_on_the_bars_end_there_is_none(status: Any) -> None:
    (event,) = decode({"m": "du", "p": ["cs_1", {SERIES_ID: {"s": [{"i": 9, "v": GOOD}], "lbs": status}}]})
    assert (event.rows, event.close_time, event.rejected) == ([GOOD], None, 0)


@pytest.mark.parametrize(
    ("hello", "time_ms"),
    [
        ({"session_id": "x", "timestamp": 1_000, "timestampMs": 1_000_999}, 1_000_999),
        ({"timestamp": 1_000}, 1_000_000),
        ({"redirect": "other.example", "timestampMs": "soon"}, None),
        ({"timestampMs": True}, None),
        ({"timestampMs": 10**30}, None),
        ({"timestampMs": -1, "javastudies": ["3.66"]}, None),
        ({}, None),
    ],
)
def test_a_hello_may_say_anything(hello: dict[str, Any], time_ms: int | None) -> None:
    events, told = protocol.decode_event(json.dumps(hello))
    assert (events, told) == ([protocol.Hello("", hello)], time_ms)


@pytest.mark.parametrize(
    "times", [{}, {"t": None, "t_ms": None}, {"t": "1", "t_ms": [2]}, {"t_ms": 1e300}, {"t": False}]
)
def test_a_message_without_a_sound_time_has_none(times: dict[str, Any]) -> None:
    events, told = protocol.decode_event(json.dumps({"m": "series_loading", "p": ["cs_1"], **times}))
    assert (events, told) == ([protocol.SeriesLoading("cs_1", "")], None)


def test_numbers_may_be_written_as_integers_and_a_legacy_prefix_may_stand_before() -> None:
    message = json.dumps({"m": "du", "p": ["cs_1", {SERIES_ID: {"s": [{"i": -9, "v": [60, 1, 2, 1, 2, 3]}]}}]})
    (event,), _ = protocol.decode_event(f"~j~{message}")
    assert isinstance(event, protocol.BarsReceived)
    assert event.rows == [[60.0, 1.0, 2.0, 1.0, 2.0, 3.0]]


# --- D1 to D10: data --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        [60.0, 5.0, 1.0, 9.0, 5.0, 1.0],  # D1: high below low: the checks of the lake judge it, the wire is kept
        [60.0, -37.6, -10.0, -40.3, -37.6, 1.0],  # D2: oil, 20 April 2020
        [60.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # D2, D3: zero is a price and a volume
        [-3_150_000_000.0, 1.0, 1.0, 1.0, 1.0],  # an index of 1870
    ],
)
def test_d1_d2_values_are_the_wires_whatever_they_are(row: list[float]) -> None:
    assert to_table(answer_of(snapshot_of(row))).to_pylist()[0] == {
        "timestamp": datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=row[0]),
        **dict(zip(("open", "high", "low", "close", "volume"), [*row[1:], None], strict=False)),
    }


@pytest.mark.parametrize(
    ("volume", "stored"), [([], None), ([None], None), ([1e100], None), ([0], 0.0), ([0.25], 0.25)]
)
def test_d3_no_volume_is_none_and_zero_is_zero(volume: list[Any], stored: float | None) -> None:
    event = snapshot_of([*GOOD[:5], *volume])
    assert event.rejected == 0
    assert to_table(answer_of(event)).column("volume").to_pylist() == [stored]


@pytest.mark.parametrize(
    ("update_mode", "is_forming"), [("streaming", False), ("delayed_streaming_900", True), ("endofday", False)]
)
def test_d4_d8_a_delayed_bar_is_open_for_as_long_as_its_feed_is_late(update_mode: str, is_forming: bool) -> None:
    pager = SeriesPager(HistoryRequest("X:Y", "1m", bars_count=1), "cs_1", now_s=NOW)
    pager.receive(snapshot_of([NOW // 60 * 60 - 120, *GOOD[1:]]))
    pager.receive(protocol.SeriesCompleted("cs_1", SERIES_ID, update_mode, ""))
    assert pager.history is not None
    assert (pager.history.forming_from is not None) is is_forming


def test_d4_a_bar_that_was_only_seen_unfinished_is_not_called_closed() -> None:
    pager = SeriesPager(HistoryRequest("X:Y", "1m", bars_count=2), "cs_1", now_s=119.0)
    pager.receive(snapshot_of([60, *GOOD[1:]]))
    (update,) = decode({"m": "du", "p": ["cs_1", {SERIES_ID: {"s": [{"i": 1, "v": [120, *GOOD[1:]]}]}}]})
    pager.receive(update)
    pager.receive(protocol.SeriesCompleted("cs_1", SERIES_ID, "streaming", ""))
    assert pager.history is not None
    assert pager.history.forming_from == 60


def test_d9_gaps_are_left_as_they_are() -> None:
    history = answer_of(snapshot_of(*[[minute * 60, *GOOD[1:]] for minute in (1, 2, 9, 500)]))
    assert [row[0] // 60 for row in history.rows] == [1, 2, 9, 500]


# --- N17: a fetch goes on where it was ----------------------------------------------------------------------------


async def fetch_over(ws_url: str, request: HistoryRequest, *, is_lost: bool) -> tuple[SeriesHistory, list[Any]]:
    """Fetch over connections that break, if `is_lost`, after the first page; also which spans were asked for."""
    pager = SeriesPager(request, "cs_0", now_s=NOW)
    commands = pager.start()
    spans: list[Any] = []
    for number in range(1, 9):
        spans += [command.params[5] for command in commands if command.method == "create_series"]
        async with ConnectionService(ws_url, limits=LIMITS) as connection:
            with connection.inbox(pager.session) as inbox:
                await connection.send(*commands)
                while not (pager.is_done or pager.wants_session):
                    commands = pager.receive(await inbox.next(5.0))
                    if commands and is_lost:
                        is_lost = False
                        break
                    await connection.send(*commands)
            if pager.is_done:
                assert pager.history is not None, pager.error
                return pager.history, spans
            commands = pager.resume(f"cs_{number}", now_s=connection.server_now())
    raise AssertionError("the pager does not come to an end")


@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT", "NASDAQ:AAPL"])
def test_n17_a_fetch_resumes_at_its_last_whole_page(market_url: str, symbol: str) -> None:
    request = HistoryRequest(symbol, "1D", bars_count=20_000)
    smooth, _ = own_clock.run(fetch_over(market_url, request, is_lost=False))
    broken, spans = own_clock.run(fetch_over(market_url, request, is_lost=True))
    assert len(smooth.rows) > 5_000
    assert (broken.rows, broken.reach, broken.forming_from) == (smooth.rows, smooth.reach, smooth.forming_from)
    assert spans == [5_000, ("bar_count", int(smooth.rows[-4_999][0]), 5_000), 3]


# --- what is told, and is not what its name says ----------------------------------------------------------------


def told(method: str, params: list[Any]) -> Any:
    events, _ = protocol.decode_event(json.dumps({"m": method, "p": params}))
    return events[0]


def test_no_recorded_field_is_taken_for_unsound() -> None:
    seen = 0
    for frames in exact_recordings().values():
        for payload in (each for frame in frames for each in PacketDecoder().feed(frame)):
            message = json.loads(payload) if payload.startswith("{") else {}
            if message.get("m") == "symbol_resolved":
                assert told("symbol_resolved", message["p"]).info.raw == message["p"][2]
                seen += 1
            elif message.get("m") == "qsd":
                assert told("qsd", message["p"]).fields == message["p"][1].get("v", {})
                seen += 1
    assert seen > 10


@pytest.mark.parametrize(
    "odd",
    [
        {"session": ["a"]},
        {"subsessions": 5},
        {"timezone": 7},
        {"session_holidays": {"a": 1}},
        {"description": "x" * 1_000_000},
        {"pricescale": -100},
        {"pricescale": 0},
        {"pricescale": 10**310},
        {"pricescale": "100"},
        {"lp_time": 1_790_000_000_000},
        {"lp_time": 10**310},
        {"lp_time": -(10**17)},
    ],
    ids=str,
)
def test_a_field_that_is_not_what_its_name_says_is_as_good_as_absent(odd: dict[str, Any]) -> None:
    sound = {"pro_name": "NASDAQ:AAPL", "lp": 1.5, "lp_time": 1_790_000_000, "pricescale": 100}
    expected = {key: value for key, value in sound.items() if key not in odd}
    assert told("symbol_resolved", ["cs_1", "sym", {**sound, **odd}]).info.raw == expected
    assert told("qsd", ["qs_1", {"n": "NASDAQ:AAPL", "s": "ok", "v": {**sound, **odd}}]).fields == expected


def test_an_odd_subsession_leaves_the_others() -> None:
    regular = {"id": "regular", "session": "0930-1600"}
    info = {"subsessions": [5, regular, {"id": ["x"]}, {"id": "extended", "session": 7}]}
    assert told("symbol_resolved", ["cs_1", "sym", info]).info.raw == {"subsessions": [regular]}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("symbol_error", ["cs_1", "sym", "{}"]),
        ("series_error", ["cs_1", "sds_1", "s1", "{}"]),
        ("critical_error", ["cs_1", "{}", "{}"]),
        ("protocol_error", ["{}"]),
    ],
)
def test_a_reason_is_one_printable_line_of_bounded_length(method: str, params: list[str]) -> None:
    def reason(text: str) -> str:
        return str(told(method, [each.replace("{}", text) for each in params]).reason)

    assert "\x1b" not in reason("no\x1b]0;title\x07 such \x9b2Jsymbol")
    assert "\ufffd]0;title\ufffd" in reason("no\x1b]0;title\x07")
    assert len(reason("x" * 500_000)) < 400


def test_a_bar_of_the_year_9999_is_not_a_bar() -> None:
    rows = [[1_790_000_000.0, 1.0, 1.0, 1.0, 1.0], [253_402_300_799.0, 1.0, 1.0, 1.0, 1.0]]
    points = [{"i": 0, "v": row} for row in rows]
    update = told("du", ["cs_1", {"sds_1": {"s": points, "lbs": {"bar_close_time": 1e18}}}])
    assert (update.rows, update.rejected, update.close_time) == (rows[:1], 1, None)
