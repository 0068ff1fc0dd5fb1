"""Every row N of the fault catalogue against a real server: the right error, in time, and nothing swallowed."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trustme

from tv_etl.tradingview import protocol, services, websocket
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    NoBarsError,
    ProtocolError,
    TradingViewError,
)
from tv_etl.tradingview.history import fetch_history
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.paging import open_series
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl.tradingview.websocket import MAX_HANDSHAKE_BYTES
from tv_etl_tests import own_clock
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.scripted_server import (
    NOW,
    Line,
    bars,
    raw_server,
    scripted_server,
    series_completed,
    series_loading,
    shake_hands,
    slow_line,
    symbol_resolved,
    text_frame,
)

QUICK = Limits(open_s=2.0, alive_s=1.0, silence_s=1.5, progress_s=1.0, retry_s=0.3, reconnect_s=0.3)
BRIEF = Limits(open_s=0.4)
REQUEST = HistoryRequest("NASDAQ:AAPL", "1D", bars_count=2)
ROWS = ([float(NOW - 172_800), 1.0, 2.0, 0.5, 1.5, 10.0], [float(NOW - 86_400), 1.5, 2.0, 1.0, 1.0, 20.0])

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def fetch(ws_url: str, limits: Limits = QUICK, request: HistoryRequest = REQUEST) -> Any:
    async with ConnectionService(ws_url, limits=limits) as connection:
        return await MessageService(connection).fetch(request)


async def failure(ws_url: str, limits: Limits = QUICK, *, within_s: float = 4.0) -> TradingViewError:
    """The error that a fetch ends with, and soon enough."""
    started = own_clock.now()
    with pytest.raises(TradingViewError) as caught:
        await fetch(ws_url, limits)
    assert own_clock.now() - started < within_s
    return caught.value


async def silent(line: Line, method: str, params: list[Any]) -> None:
    """Take every command and say nothing."""


async def whole(line: Line, method: str, params: list[Any]) -> None:
    """Answer a series at once, as the live server does."""
    if method == "create_series":
        session = params[0]
        await line.say(
            series_loading(session), symbol_resolved(session), bars(session, *ROWS), series_completed(session)
        )


def raw_failure(handle: Callable[[Reader, Writer], Awaitable[None]], limits: Limits = QUICK) -> TradingViewError:
    async def run() -> TradingViewError:
        async with raw_server(handle) as url:
            return await failure(url, limits)

    return own_clock.run(run())


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter delays of the same shape, so that a budget is spent in a test's time."""
    monkeypatch.setattr(services, "_BACKOFF_FIRST_S", 0.01)


def subscription(service: MessageService, symbol: str = "NASDAQ:AAPL") -> Any:
    return service.subscribe(
        f"{symbol} 1d",
        "cs",
        lambda session: open_series(session, symbol, "1D", 2),
        lambda session: [protocol.chart_delete_session(session)],
    )


# --- N1 to N8: until the WebSocket is open ----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "ws://nowhere.invalid/"])
def test_n1_nobody_there_is_worth_another_try(url: str) -> None:
    error = own_clock.run(failure(url, within_s=10.0))
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert url.split("/")[2] in str(error)


def test_n1_a_batch_tries_again_within_its_budget(quick_backoff: None) -> None:
    tries = 0

    async def drop(reader: Reader, writer: Writer) -> None:
        nonlocal tries
        tries += 1

    async def run() -> list[Any]:
        async with raw_server(drop) as url:
            return [result async for _, result in fetch_history([REQUEST], ws_url=url, limits=QUICK)]

    [error] = own_clock.run(run())
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    # 0.01 s, doubled, half of it jitter, 0.3 s in all.
    assert 4 <= tries <= 8


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


def tls_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_n2_tls_is_verified_against_the_trusted_authorities(
    authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))

    async def run() -> Any:
        async with scripted_server(whole, tls=tls_of(authority[0].issue_cert("127.0.0.1"))) as server:
            return await fetch(server.url, Limits())

    assert own_clock.run(run()).rows == list(ROWS)


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (lambda ours: trustme.CA().issue_cert("127.0.0.1"), "unable to get local issuer"),
        (lambda ours: ours.issue_cert("data.example.org"), "IP address mismatch"),
        (
            lambda ours: ours.issue_cert("127.0.0.1", not_after=datetime.now(timezone.utc) - timedelta(days=1)),
            "expired",
        ),
    ],
    ids=["unknown authority", "wrong host", "expired"],
)
def test_n2_a_wrong_certificate_is_final(
    authority: tuple[trustme.CA, Path],
    monkeypatch: pytest.MonkeyPatch,
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    words: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))

    async def run() -> TradingViewError:
        async with scripted_server(whole, tls=tls_of(certificate(authority[0]))) as server:
            error = await failure(server.url, Limits(), within_s=5.0)
            assert not server.lines
            return error

    error = own_clock.run(run())
    assert isinstance(error, ConnectionFailedError)
    assert not error.retryable
    assert "TLS failed" in str(error)
    assert words in str(error)


def test_n2_plain_text_on_the_tls_port_is_final() -> None:
    async def http(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async def run() -> TradingViewError:
        async with raw_server(http) as url:
            return await failure(url.replace("ws://", "wss://"), Limits(), within_s=5.0)

    error = own_clock.run(run())
    assert isinstance(error, ConnectionFailedError)
    assert not error.retryable
    assert "TLS failed" in str(error)


def status_failure(status: HTTPStatus, **headers: str) -> TradingViewError:
    async def run() -> TradingViewError:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with scripted_server(silent, status=status, headers=named) as server:
            error = await failure(server.url)
            assert len(server.requests) == 1
            return error

    return own_clock.run(run())


@pytest.mark.parametrize(
    ("wish", "wish_s"),
    [("7", 7.0), ("a date in 90 s", 90.0), ("soon", None), ("9" * 30, 3_600.0)],
)
@pytest.mark.parametrize("status", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE])
def test_n3_the_servers_wish_is_read(status: HTTPStatus, wish: str, wish_s: float | None) -> None:
    if wish.startswith("a date"):
        wish = formatdate(time.time() + 90, usegmt=True)
    error = status_failure(status, Retry_After=wish)
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    if wish_s is None:
        assert error.retry_after_s is None
    else:
        assert error.retry_after_s == pytest.approx(wish_s, abs=30.0)


def test_n3_a_batch_waits_as_long_as_the_server_wishes_or_gives_up() -> None:
    async def run() -> None:
        async with scripted_server(
            silent, status=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": "60"}
        ) as server:
            requests = [REQUEST, HistoryRequest("NASDAQ:MSFT", "1D", bars_count=2)]
            results = [result async for _, result in fetch_history(requests, ws_url=server.url, limits=QUICK)]
            assert [type(result) for result in results] == [ConnectionFailedError] * 2
            assert len(server.requests) == 1

    own_clock.run(run())


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
def test_n4_a_refused_origin_or_account_is_final(status: HTTPStatus) -> None:
    error = status_failure(status)
    assert isinstance(error, AuthError)
    assert not error.retryable


@pytest.mark.parametrize("where", ["/elsewhere", "{other}", "http://169.254.169.254/"])
@pytest.mark.parametrize("status", [HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.PERMANENT_REDIRECT])
def test_n5_redirects_are_refused(status: HTTPStatus, where: str) -> None:
    async def run() -> None:
        async with (
            scripted_server(whole) as other,
            scripted_server(silent, status=status, headers={"Location": where.format(other=other.url)}) as server,
        ):
            error = await failure(server.url)
            assert isinstance(error, ConnectionFailedError)
            assert not error.retryable
            assert "redirects are refused" in str(error)
            assert (len(server.requests), len(other.requests)) == (1, 0)

    own_clock.run(run())


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.NOT_FOUND])
def test_n5_a_page_is_no_websocket(status: HTTPStatus) -> None:
    error = status_failure(status, Content_Type="text/html")
    assert isinstance(error, ConnectionFailedError)
    assert not error.retryable


def test_n5_an_ssh_server_is_no_websocket() -> None:
    async def banner(reader: Reader, writer: Writer) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()

    error = raw_failure(banner)
    assert isinstance(error, ConnectionFailedError)
    assert not error.retryable
    assert "not HTTP" in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_n6_a_failing_server_is_worth_another_try(status: int) -> None:
    error = status_failure(HTTPStatus(status))
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable


def test_n7_a_server_that_never_shakes_hands_ends_in_time() -> None:
    async def mute(reader: Reader, writer: Writer) -> None:
        await reader.read()
        await asyncio.Event().wait()

    error = raw_failure(mute, BRIEF)
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert "no WebSocket within 0.4 s" in str(error)


def test_n8_a_handshake_that_drips_ends_in_time() -> None:
    async def drip(reader: Reader, writer: Writer) -> None:
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Drip: yes\r\n" * 1_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    assert "no WebSocket within 0.4 s" in str(raw_failure(drip, BRIEF))


def test_n8_endless_headers_are_cut_off() -> None:
    sent = 0

    async def bomb(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
        while not writer.is_closing():
            writer.write(b"X-Bomb: " + b"a" * 4_096 + b"\r\n")
            await writer.drain()
            sent += 4_096

    error = raw_failure(bomb, Limits(open_s=5.0))
    assert isinstance(error, ConnectionFailedError)
    assert not error.retryable
    # What the sockets hold comes on top of what is read.
    assert sent < 16 * MAX_HANDSHAKE_BYTES


# --- N9 to N13: a line that breaks --------------------------------------------------------------------------------


def test_n9_a_half_open_line_is_noticed() -> None:
    async def vanish(reader: Reader, writer: Writer) -> None:
        await shake_hands(reader, writer)
        await asyncio.Event().wait()

    error = raw_failure(vanish, Limits(alive_s=0.5, silence_s=30.0, progress_s=30.0))
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert "no sign of life for 0.5 s" in str(error)


def test_n9_a_slow_line_may_take_its_time_over_one_long_message() -> None:
    # Every limit is much shorter than the message takes, which holds up the answers to pings as well.
    limits = Limits(alive_s=0.25, silence_s=0.25, progress_s=0.25)
    rows = [[NOW - 86_400.0 * n, 1 / n, 2 / n, 0.5 / n, 1.5 / n, 1e6 / n] for n in range(1, 2_001)]

    async def long(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(bars(params[0], *rows), series_completed(params[0]))

    async def run() -> None:
        async with scripted_server(long) as server, slow_line(server.url, 80_000) as url:
            started = own_clock.now()
            history = await fetch(url, limits, HistoryRequest("NASDAQ:AAPL", "1D", bars_count=2_000))
            assert len(history.rows) == 2_000
            assert own_clock.now() - started > 3 * 0.25

    own_clock.run(run())


def test_n9_a_slow_line_does_not_hold_off_the_whole_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_CLOSE_LIMIT_S", 0.1)
    rows = [[NOW - 86_400.0 * n, 1 / n, 2 / n, 0.5 / n, 1.5 / n, 1e6 / n] for n in range(1, 2_001)]

    async def long(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(bars(params[0], *rows))

    async def run() -> None:
        async with (
            scripted_server(long) as server,
            slow_line(server.url, 20_000) as url,
            ConnectionService(url, limits=QUICK) as connection,
        ):
            with pytest.raises(NoBarsError, match=r"within 0\.6 s"):
                await MessageService(connection).fetch(REQUEST, timeout_s=0.6)

    own_clock.run(run())


def test_n10_a_message_that_drips_is_no_sign_of_life() -> None:
    async def drip(reader: Reader, writer: Writer) -> None:
        await shake_hands(reader, writer)
        for byte in text_frame(b"~m~4000~m~" + b"x" * 4_000):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    error = raw_failure(drip, Limits(alive_s=0.5, silence_s=30.0, progress_s=30.0))
    assert isinstance(error, ConnectionFailedError)
    assert "no sign of life" in str(error)


@pytest.mark.parametrize("is_reset", [False, True], ids=["EOF", "RST"])
def test_n11_a_line_cut_inside_a_message_is_a_loss(is_reset: bool) -> None:
    async def cut(reader: Reader, writer: Writer) -> None:
        await shake_hands(reader, writer)
        await reader.readexactly(1)
        writer.write(text_frame(b"~m~2~m~{}")[:-2])
        await writer.drain()
        if is_reset:
            writer.transport.abort()

    error = raw_failure(cut)
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert "lost (no close frame)" in str(error)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013])
def test_n12_n13_a_polite_close_before_the_end_is_no_end_of_data(code: int) -> None:
    async def close(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(series_loading(params[0]), bars(params[0], *ROWS))
            await line.close(code)

    async def run() -> TradingViewError:
        async with scripted_server(close) as server:
            return await failure(server.url)

    error = own_clock.run(run())
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert f"code {code}" in str(error)


def test_n12_a_polite_close_does_not_end_a_stream(quick_backoff: None) -> None:
    async def close_first(line: Line, method: str, params: list[Any]) -> None:
        await whole(line, method, params)
        if method == "create_series" and len(line.server.lines) == 1:
            await line.close(1000)

    async def run() -> None:
        async with (
            scripted_server(close_first) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            events, snapshots = subscription(MessageService(connection)), 0
            async for event in events:
                snapshots += isinstance(event, protocol.BarsReceived)
                if snapshots == 2:
                    break
            await events.aclose()
            assert len(server.lines) == 2

    own_clock.run(run())


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\x81\x7f" + (1 << 30).to_bytes(8, "big"), "too long"),
        (b"\x8f\x00", "broke the WebSocket protocol"),
        (text_frame(b"\xff\xfe"), "not UTF-8"),
    ],
    ids=["a gigabyte", "reserved opcode", "no text"],
)
def test_what_websocket_forbids_is_not_asked_for_again(frame: bytes, words: str) -> None:
    async def break_rule(reader: Reader, writer: Writer) -> None:
        await shake_hands(reader, writer)
        await reader.readexactly(1)
        writer.write(frame)

    error = raw_failure(break_rule)
    assert isinstance(error, ProtocolError)
    assert words in str(error)


# --- N14 to N16: a line that is fine, and no answer -------------------------------------------------------------


@pytest.mark.parametrize("has_heartbeats", [False, True], ids=["N14 pongs only", "N15 heartbeats"])
def test_n14_n15_a_line_that_lives_is_no_answer(has_heartbeats: bool) -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series" and has_heartbeats:
            for number in range(14):
                await line.say(f"~h~{number}")
                await asyncio.sleep(0.04)

    async def run() -> None:
        async with scripted_server(answer) as server:
            error = await failure(server.url, Limits(alive_s=0.2, silence_s=30.0, progress_s=0.5), within_s=1.5)
            assert isinstance(error, NoBarsError)
            assert error.retryable
            assert "NASDAQ:AAPL 1d" in str(error)

    own_clock.run(run())


def test_n15_a_flood_of_live_updates_is_no_answer() -> None:
    async def flood(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            while True:
                await line.say(*[bars(params[0], *ROWS, method="du")] * 20)
                await asyncio.sleep(0)  # the client shares this loop

    async def run() -> None:
        async with scripted_server(flood) as server:
            error = await failure(server.url, Limits(progress_s=0.3))
            assert isinstance(error, NoBarsError)

    own_clock.run(run())


def test_n16_a_missing_heartbeat_ends_the_connection_and_the_stream_goes_on(quick_backoff: None) -> None:
    async def run() -> None:
        # The library answers pings all along; only the heartbeats of the protocol are missing.
        limits = Limits(alive_s=5.0, silence_s=0.3, progress_s=5.0, reconnect_s=5.0)
        async with (
            scripted_server(whole) as server,
            ConnectionService(server.url, limits=limits) as connection,
        ):
            events, snapshots = subscription(MessageService(connection)), 0
            async for event in events:
                snapshots += isinstance(event, protocol.BarsReceived)
                if snapshots == 3:
                    break
            await events.aclose()
            assert len(server.lines) == 3

    own_clock.run(run())


# --- N17, N18: reconnecting -----------------------------------------------------------------------------------


def test_n17_a_reset_between_pages_leaves_no_trace_in_the_result(quick_backoff: None) -> None:
    history = [[NOW - 86_400.0 * n, 1.0 + n, 2.0 + n, 0.5 + n, 1.5 + n, 10.0 * n] for n in range(12, 0, -1)]

    def pages(drops: int) -> Callable[[Line, str, list[Any]], Awaitable[None]]:
        async def answer(line: Line, method: str, params: list[Any]) -> None:
            if method not in ("create_series", "request_more_data"):
                return
            asked = [m for m in line.received if m["m"] in ("create_series", "request_more_data")]
            sent = 4 * sum(message["p"][0] == params[0] for message in asked)
            if sent == 8 and len(line.server.lines) <= drops:
                await line.hang_up()
                return
            page = history[len(history) - sent : len(history) - sent + 4]
            await line.say(symbol_resolved(params[0]), bars(params[0], *page, first=-sent), series_completed(params[0]))

        return answer

    async def run(drops: int) -> pa.Table:
        async with scripted_server(pages(drops)) as server:
            request = HistoryRequest("NASDAQ:AAPL", "1D", bars_count=12)
            [result] = [each async for _, each in fetch_history([request], ws_url=server.url, limits=QUICK)]
            assert len(server.lines) == drops + 1
            assert isinstance(result, pa.Table), result
            return result

    smooth, broken = own_clock.run(run(0)), own_clock.run(run(1))
    assert smooth.num_rows == 12
    assert broken.equals(smooth)


@pytest.mark.parametrize(("streams", "drops_at"), [(1, "set_auth_token"), (5, "set_auth_token"), (1, "create_series")])
def test_n18_a_server_that_drops_at_once_is_not_stormed(
    streams: int, drops_at: str, quick_backoff: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_BACKOFF_LAST_S", 0.05)

    async def first_only(line: Line, method: str, params: list[Any]) -> None:
        if len(line.server.lines) > 1:
            if method == "create_series":  # an answer, but no data
                await line.say(series_loading(params[0]), symbol_resolved(params[0]))
            if method == drops_at:
                await line.close(1013)
            return
        await whole(line, method, params)
        if [message["m"] for message in line.received].count("create_series") == streams:
            await line.hang_up()

    async def listen(service: MessageService, number: int) -> None:
        async for _ in subscription(service, f"NASDAQ:A{number}"):
            pass

    async def run() -> None:
        async with (
            scripted_server(first_only) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            service = MessageService(connection)
            ends = await asyncio.gather(*(listen(service, n) for n in range(streams)), return_exceptions=True)
            assert [type(end) for end in ends] == [ConnectionFailedError] * streams
            # 0.01 s, doubled up to 0.05, half of it jitter, 0.3 s in all; the streams share the tries.
            assert 5 <= len(server.lines) <= 15

    own_clock.run(run())


def test_n18_data_of_connections_that_do_not_last_do_not_hurry_us(quick_backoff: None) -> None:
    async def drop_always(line: Line, method: str, params: list[Any]) -> None:
        await whole(line, method, params)
        if method == "create_series":
            await line.hang_up()

    async def run() -> None:
        async with (
            scripted_server(drop_always) as server,
            ConnectionService(server.url, limits=QUICK) as connection,
        ):
            events, opened_at = subscription(MessageService(connection)), []
            async for event in events:
                if isinstance(event, protocol.BarsReceived):
                    opened_at.append(own_clock.now())
                if len(opened_at) == 6:
                    break
            await events.aclose()
            # The last delay was 0.08 to 0.16 s, not 0.005 to 0.01 again.
            assert opened_at[-1] - opened_at[-2] >= 0.08
            assert len(server.lines) == 6

    own_clock.run(run())


def test_n18_the_wish_of_a_busy_server_is_respected_by_streams(quick_backoff: None) -> None:
    async def run() -> None:
        async with scripted_server(whole) as server, ConnectionService(server.url, limits=QUICK) as connection:
            events = subscription(MessageService(connection))
            async for event in events:
                if isinstance(event, protocol.SeriesCompleted):
                    server.refuse(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "60"})
                    await server.lines[0].hang_up()
                    break
            with pytest.raises(ConnectionFailedError, match="429") as error:
                async for _ in events:
                    pass
            assert error.value.retry_after_s == 60
            assert len(server.requests) == 2

    own_clock.run(run())


# --- N19: the environment ---------------------------------------------------------------------------------------


def test_n19_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = 0

    async def proxy(reader: Reader, writer: Writer) -> None:
        nonlocal hits
        hits += 1

    async def run() -> None:
        async with raw_server(proxy) as url, scripted_server(whole) as server:
            for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
                monkeypatch.setenv(name, url.replace("ws://", "http://"))
                monkeypatch.setenv(name.upper(), url.replace("ws://", "http://"))
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            assert (await fetch(server.url)).rows == list(ROWS)

    own_clock.run(run())
    assert hits == 0


BREAKING = (
    "BAD_FRAME", "BAD_JSON", "BAD_HEADER", "DROP", "RESET", "CLOSE", "CLOSE_1013", "PROTOCOL_ERROR", "CRITICAL_ERROR",
    "GIANT_FRAME", "DEEP_JSON",
)  # fmt: skip


def open_sockets() -> int:
    """Of this process, the market server in it included."""
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(each.readlink()).startswith("socket:")
    return count


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="sockets are counted where Linux lists them")
@pytest.mark.parametrize("seed", range(3))
def test_whatever_faults_follow_each_other_no_socket_and_no_task_is_left(seed: int, market_url: str) -> None:
    dice = random.Random(seed)
    before = open_sockets()

    async def run() -> int:
        async with OHLCV(market_url, limits=Limits(retry_s=0.0)) as client:
            for fault in dice.choices(BREAKING, k=12):
                # At once the next one, as a loop over symbols does.
                with suppress(TradingViewError):
                    await client.get_historical_ohlcv(f"FAULT:{fault}", "1", 5)
            most = open_sockets()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return most

    most = asyncio.run(run())
    assert most - before <= 4, "one connection at a time, both ends of it, while the last one closes"
    ends_at = time.monotonic() + HANG_S
    while open_sockets() > before and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert open_sockets() == before
