"""The connection under a server that misbehaves: every wait ends, with an error that says what was missing."""

import asyncio
import time
import tracemalloc
from typing import Any

import pytest

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    FrameError,
    NoBarsError,
    ProtocolError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.paging import open_series
from tv_etl.tradingview.services import (
    INBOX_CHARACTERS,
    INBOX_EVENTS,
    Backoff,
    ConnectionService,
    Inbox,
    Limits,
    MessageService,
)
from tv_etl_tests import own_clock
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.scripted_server import (
    NOW,
    Line,
    bars,
    qsd,
    scripted_server,
    series_completed,
    series_loading,
    symbol_resolved,
)

QUICK = Limits(open_s=1.0, silence_s=2.0, progress_s=0.5, retry_s=0.5, reconnect_s=5.0)
REQUEST = HistoryRequest("NASDAQ:AAPL", "1D", bars_count=2)
ROWS = ([float(NOW - 172_800), 1.0, 2.0, 0.5, 1.5, 10.0], [float(NOW - 86_400), 1.5, 2.0, 1.0, 1.0, 20.0])


async def fetch(ws_url: str, limits: Limits = QUICK, request: HistoryRequest = REQUEST) -> Any:
    async with ConnectionService(ws_url, limits=limits) as connection:
        return await MessageService(connection).fetch(request)


async def silent(line: Line, method: str, params: list[Any]) -> None:
    """Take every command and say nothing."""


async def whole(line: Line, method: str, params: list[Any]) -> None:
    """Answer a series at once, as the live server does."""
    if method == "create_series":
        session = params[0]
        await line.say(
            series_loading(session), symbol_resolved(session), bars(session, *ROWS), series_completed(session)
        )


def test_what_is_known_of_the_servers_clock_outlives_a_connection() -> None:
    async def run() -> None:
        async with scripted_server(whole) as server, ConnectionService(server.url, limits=QUICK) as connection:
            await MessageService(connection).fetch(REQUEST)
            await connection.close()
            assert abs(connection.server_now() - NOW) < HANG_S, "years from this machine's"
            await connection.connect()
            assert abs(connection.server_now() - NOW) < HANG_S

    own_clock.run(run())


def test_messages_without_a_time_do_not_hold_the_clock_up() -> None:
    async def talkative(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            await line.say(qsd(params[0], "X:Y", lp=1.0))
        await whole(line, method, params)

    async def run() -> None:
        async with scripted_server(talkative) as server, ConnectionService(server.url, limits=QUICK) as connection:
            service = MessageService(connection)
            await service.fetch(REQUEST)
            before, began = connection.server_now(), time.monotonic()
            async with service._session("qs", lambda session: []) as (session, inbox):
                while time.monotonic() - began < 0.05:
                    await connection.send(protocol.quote_create_session(session))
                    await connection.send(protocol.quote_add_symbols(session, "X:Y"))
                    assert isinstance(await inbox.next(HANG_S), protocol.QuoteReceived)
            assert connection.server_now() - before >= 0.05

    own_clock.run(run())


def test_a_series_arrives_and_its_session_is_deleted() -> None:
    async def run() -> None:
        async with scripted_server(whole) as server:
            async with ConnectionService(server.url, limits=QUICK) as connection:
                service = MessageService(connection)
                history = await service.fetch(REQUEST)
                assert history.rows == list(ROWS)
                # The deletion is on its way; a second answer on the same connection proves that it was read.
                await service.fetch(REQUEST)
            assert len(server.lines) == 1
            methods = server.methods()
            assert methods[:5] == [
                "set_auth_token", "set_locale", "chart_create_session", "resolve_symbol", "create_series"
            ]  # fmt: skip
            assert methods[5] == "chart_delete_session"

    own_clock.run(run())


def test_the_handshake_names_the_origin_and_sends_no_token_in_the_clear() -> None:
    async def run() -> None:
        async with scripted_server(whole) as server:
            await fetch(server.url)
            headers = server.requests[0].headers
            assert headers["Origin"] == "https://www.tradingview.com"
            assert "Authorization" not in headers

    own_clock.run(run())


def test_the_order_of_resolution_and_bars_does_not_matter() -> None:
    async def late_resolution(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            session = params[0]
            await line.say("~h~1", bars(session, *ROWS), "~h~2", symbol_resolved(session, timezone="Asia/Tokyo"))
            await line.say({"session_id": "late hello", "timestamp": NOW}, series_completed("cs_of_somebody_else"))
            await line.say(series_completed(session))

    async def run() -> None:
        async with scripted_server(late_resolution) as server:
            history = await fetch(server.url)
            assert history.rows == list(ROWS)
            assert history.info.time_zone == "Asia/Tokyo"
            assert server.lines[0].heartbeats == ["~h~1", "~h~2"]

    own_clock.run(run())


def test_a_silent_server_ends_the_request_by_name() -> None:
    async def run() -> None:
        async with scripted_server(silent) as server:
            with pytest.raises(NoBarsError, match=r"NASDAQ:AAPL 1d: no complete answer .* within 0\.5 s"):
                await fetch(server.url)

    own_clock.run(run())


def test_live_updates_of_a_series_that_is_never_completed_are_no_answer() -> None:
    async def only_updates(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            for _ in range(20):
                await line.say(bars(params[0], *ROWS, method="du"))
                await asyncio.sleep(0.05)

    async def run() -> None:
        async with scripted_server(only_updates) as server:
            with pytest.raises(NoBarsError):
                await fetch(server.url)

    own_clock.run(run())


def test_a_long_answer_may_take_its_time_while_it_grows() -> None:
    async def slowly(line: Line, method: str, params: list[Any]) -> None:
        count = params[5] if method == "create_series" else params[2] if method == "request_more_data" else 0
        if count:
            page = sum(message["m"] in ("create_series", "request_more_data") for message in line.received)
            row = [float(NOW - 86_400 * page), 1.0, 2.0, 0.5, 1.5, 10.0]
            await asyncio.sleep(0.15)
            await line.say(bars(params[0], row, first=-page), series_completed(params[0]))

    async def run() -> None:
        async with scripted_server(slowly) as server:
            history = await fetch(server.url, request=HistoryRequest("NASDAQ:AAPL", "1D", bars_count=5))
            assert (len(history.rows), history.requests) == (5, 5)

    own_clock.run(run())


def test_half_an_answer_is_no_answer() -> None:
    async def half(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(series_loading(params[0]), bars(params[0], *ROWS))

    async def run() -> None:
        async with scripted_server(half) as server:
            with pytest.raises(NoBarsError):
                await fetch(server.url)

    own_clock.run(run())


def test_a_line_without_any_message_is_dead() -> None:
    async def run() -> None:
        async with scripted_server(silent) as server:
            limits = Limits(silence_s=0.2, progress_s=5.0)
            with pytest.raises(ConnectionFailedError, match="no message for"):
                await fetch(server.url, limits)

    own_clock.run(run())


def test_a_connection_lost_in_mid_answer_is_an_error() -> None:
    async def drop(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(series_loading(params[0]), bars(params[0], *ROWS))
            await line.hang_up()

    async def run() -> None:
        async with scripted_server(drop) as server:
            with pytest.raises(ConnectionFailedError, match="lost"):
                await fetch(server.url)

    own_clock.run(run())


@pytest.mark.parametrize(
    ("reason", "expected", "retryable"),
    [
        ("bad auth token", AuthError, False),
        ("banned by ip", ConnectionFailedError, False),
        ("user connections limit reached", ConnectionFailedError, True),
    ],
)
def test_a_protocol_error_ends_the_connection_with_the_servers_words(
    reason: str, expected: type[TradingViewError], retryable: bool
) -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "set_auth_token":
            await line.say({"m": "protocol_error", "p": [reason]})

    async def run() -> None:
        async with scripted_server(refuse) as server:
            with pytest.raises(expected, match=reason) as error:
                await fetch(server.url)
            assert error.value.retryable is retryable

    own_clock.run(run())


def test_a_wrong_length_is_an_error_not_a_guess() -> None:
    async def lie(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say_text('~m~7~m~{"m":"series_loading"}')

    async def run() -> None:
        async with scripted_server(lie) as server:
            with pytest.raises(FrameError):
                await fetch(server.url)

    own_clock.run(run())


def test_an_error_of_one_session_leaves_the_others_alone() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol" and "BAD" in params[2]:
            await line.say({"m": "symbol_error", "p": [params[0], params[1], "invalid symbol"]})
        await whole(line, method, params)

    async def run() -> None:
        async with (
            scripted_server(answer) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            service = MessageService(connection)
            bad = HistoryRequest("NASDAQ:BAD", "1D", bars_count=2)
            good, refused = await asyncio.gather(service.fetch(REQUEST), service.fetch(bad), return_exceptions=True)
            assert not isinstance(good, BaseException)
            assert good.rows == list(ROWS)
            assert isinstance(refused, SymbolError)

    own_clock.run(run())


def test_a_subscription_is_sent_again_after_a_lost_connection() -> None:
    async def drop_first(line: Line, method: str, params: list[Any]) -> None:
        await whole(line, method, params)
        if method == "create_series" and len(line.server.lines) == 1:
            await line.hang_up()

    async def run() -> None:
        async with (
            scripted_server(drop_first) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            events = MessageService(connection).subscribe(
                "NASDAQ:AAPL 1d",
                "cs",
                lambda session: open_series(session, "NASDAQ:AAPL", "1D", 2),
                lambda session: [protocol.chart_delete_session(session)],
            )
            snapshots = 0
            async for event in events:
                snapshots += isinstance(event, protocol.BarsReceived)
                if snapshots == 2:
                    break
            await events.aclose()
            created = [line.received[4] for line in server.lines]
            assert len(created) == 2
            assert created[0]["p"][1:] == created[1]["p"][1:]
            assert created[0]["p"][0] != created[1]["p"][0]

    own_clock.run(run())


def test_backoff_grows_with_jitter_until_its_budget_is_spent() -> None:
    backoff = Backoff(10.0)
    delays = []
    while (delay := backoff.next_delay_s()) is not None:
        delays.append(delay)
    assert sum(delays) <= 10.0
    assert all(0.25 * 2**n <= delay <= 0.5 * 2**n for n, delay in enumerate(delays))
    backoff.reset()
    assert backoff.next_delay_s(3.0) == 3.0


def test_backoff_may_keep_its_pace_while_its_budget_is_restored() -> None:
    backoff = Backoff(10.0)
    for number in range(4):
        delay = backoff.next_delay_s()
        assert delay is not None
        assert delay >= 0.25 * 2**number
        backoff.reset(keep_pace=number < 3)
    delay = backoff.next_delay_s()
    assert delay is not None
    assert delay <= 0.5


# --- several callers on one connection --------------------------------------------------------------------------


def received(session: str = "cs_1") -> protocol.BarsReceived:
    return protocol.BarsReceived(session, "sds_1", False, [list(ROWS[0])], None, None)


@pytest.mark.parametrize("characters", [1, INBOX_CHARACTERS // 10])
def test_an_inbox_keeps_so_much_and_then_ends_without_a_hole(characters: int) -> None:
    async def run() -> None:
        inbox, kept = Inbox(), min(INBOX_EVENTS, INBOX_CHARACTERS // characters)
        for _ in range(kept + 5):
            inbox.put(received(), characters)
        await inbox.next()
        inbox.put(received(), characters)  # there is room again, but events are missing in between
        for _ in range(kept - 1):
            await inbox.next(0.1)
        for _ in range(2):
            with pytest.raises(ConnectionFailedError, match="events behind"):
                await inbox.next(0.1)

    own_clock.run(run())


def test_an_inbox_that_is_emptied_takes_any_number() -> None:
    async def run() -> None:
        inbox = Inbox()
        for _ in range(12):
            inbox.put(received(), 2 * INBOX_CHARACTERS)  # one answer is never too long: that is the message's limit
            await inbox.next()
        with pytest.raises(asyncio.TimeoutError):
            await inbox.next(0.0)

    own_clock.run(run())


@pytest.mark.parametrize("raw_sessions", [(), ("qs_slow",)])
def test_memory_is_bounded_though_every_message_is_long(raw_sessions: tuple[str, ...]) -> None:
    """A megabyte a message: the limit on events alone would let gigabytes wait."""

    async def flood(line: Line, method: str, params: list[Any]) -> None:
        await whole(line, method, params)
        if method == "quote_add_symbols":
            for number in range(100):
                fields = {"lp": float(number), "text": f"{number}" + "x" * 1_000_000}
                await line.say({"m": "qsd", "p": [params[0], {"n": params[1], "s": "ok", "v": fields}]})

    async def run() -> None:
        async with scripted_server(flood) as server, ConnectionService(server.url) as connection:
            with connection.inbox("qs_slow", raw_sessions) as inbox:
                before = tracemalloc.get_traced_memory()[0]
                await connection.send(protocol.quote_add_symbols("qs_slow", "X:Y"))
                # The line is served in order: when this is answered, the flood has been read.
                assert (await MessageService(connection).fetch(REQUEST)).rows == list(ROWS)
                assert tracemalloc.get_traced_memory()[0] - before < 32 << 20
                with pytest.raises(ConnectionFailedError, match="events behind"):
                    while True:
                        await inbox.next(0.1)

    tracemalloc.start()
    try:
        own_clock.run(run())
    finally:
        tracemalloc.stop()


def test_a_consumer_that_does_not_keep_up_loses_its_own_session_only() -> None:
    async def flood(line: Line, method: str, params: list[Any]) -> None:
        await whole(line, method, params)
        if method == "create_series" and line.received[-2]["p"][2] == "SLOW":
            for _ in range(INBOX_EVENTS // 64 + 1):
                await line.say(*[bars(params[0], *ROWS, method="du")] * 64)

    async def run() -> None:
        async with (
            scripted_server(flood) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            service = MessageService(connection)
            with connection.inbox("cs_slow") as inbox:
                await connection.send(*open_series("cs_slow", "SLOW", "1D", 2))
                # The line is served in order: when this is answered, the flood has been read.
                assert (await service.fetch(REQUEST)).rows == list(ROWS)
                with pytest.raises(ConnectionFailedError, match="events behind"):
                    while True:
                        await inbox.next(0.1)
            assert (await service.fetch(REQUEST)).rows == list(ROWS)
            assert len(server.lines) == 1

    own_clock.run(run())


def test_a_burst_of_small_messages_is_no_fault_of_the_consumer() -> None:
    async def burst(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            for _ in range(3 * INBOX_EVENTS):
                await line.say({"m": "x", "p": [params[0]]})
        await whole(line, method, params)

    async def run() -> None:
        async with scripted_server(burst) as server:
            assert (await fetch(server.url, Limits())).rows == list(ROWS)

    own_clock.run(run())


def test_calls_at_once_share_the_connection_they_open() -> None:
    async def run() -> None:
        async with scripted_server(whole) as server:
            connection = ConnectionService(server.url, limits=QUICK)
            service = MessageService(connection)
            await asyncio.gather(*(service.fetch(REQUEST) for _ in range(20)))
            await connection.close()
            assert len(server.lines) == 1
            assert [each["m"] for each in server.lines[0].received[:2]] == ["set_auth_token", "set_locale"]
            assert server.methods().count("set_auth_token") == 1

    own_clock.run(run())


def test_closing_ends_streams_and_opens_nothing_again() -> None:
    async def run() -> None:
        async with scripted_server(whole) as server:
            connection = ConnectionService(server.url, limits=QUICK)
            events = MessageService(connection).subscribe(
                "NASDAQ:AAPL 1d",
                "cs",
                lambda session: open_series(session, "NASDAQ:AAPL", "1D", 2),
                lambda session: [protocol.chart_delete_session(session)],
            )

            async def listen() -> None:
                async for event in events:
                    if isinstance(event, protocol.SeriesCompleted):
                        answered.set()

            answered = asyncio.Event()
            listening = asyncio.create_task(listen())
            await answered.wait()
            await connection.close()
            with pytest.raises(ConnectionFailedError, match="was closed") as error:
                await listening
            assert not error.value.retryable
            assert not connection.is_open
            assert len(server.lines) == 1

    own_clock.run(run())


def test_a_command_after_the_servers_last_word_fails_with_that_word() -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "set_locale":
            await line.say({"m": "protocol_error", "p": ["bad auth token"]})
            await line.hang_up()

    async def run() -> None:
        async with scripted_server(refuse) as server:
            connection = ConnectionService(server.url, limits=QUICK)
            await connection.connect()
            with pytest.raises(AuthError):
                for _ in range(10_000):
                    await connection.send(protocol.set_locale())
                    await asyncio.sleep(0)
            await connection.close()

    own_clock.run(run())


def test_a_message_that_breaks_the_decoding_reaches_everybody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: protocol.ClientProtocol, text: str) -> None:
        raise ZeroDivisionError("a bug of ours")

    async def run() -> None:
        async with scripted_server(whole) as server:
            connection = ConnectionService(server.url, limits=QUICK)
            await connection.connect()
            monkeypatch.setattr(protocol.ClientProtocol, "receive_text", broken)
            service = MessageService(connection)
            ends = await asyncio.gather(*(service.fetch(REQUEST) for _ in range(3)), return_exceptions=True)
            assert [type(end) for end in ends] == [ProtocolError] * 3
            assert all("ZeroDivisionError" in str(end) for end in ends)
            await connection.close()

    own_clock.run(run())


def test_who_closes_a_lost_connection_leaves_nothing_open_behind() -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say({"m": "protocol_error", "p": ["banned"]})

    def readers() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if "ConnectionService._read" in str(task.get_coro())]

    async def run() -> None:
        async with scripted_server(refuse) as server:
            with pytest.raises(ConnectionFailedError, match="banned"):
                await fetch(server.url)
            assert readers() == []

    own_clock.run(run())
