"""The watch over a line, tick by tick; addresses that may be shown; what the library may log."""

import logging
from typing import Any

import pytest

from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.frames import encode_packet
from tv_etl.tradingview.websocket import MIN_BYTES_PER_S, LineWatch, host_of, open_websocket
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import Line, scripted_server


class TickedLine:
    """The totals of a line, ticked at the default limits."""

    def __init__(self) -> None:
        self.watch = LineWatch(alive_s=10.0, silence_s=20.0)
        self.received_bytes = self.messages = self.ticks = 0

    def tick(self, *, received: int = 0, messages: int = 0, has_pong: bool = False) -> str | None:
        self.received_bytes += received
        self.messages += messages
        self.ticks += 1
        return self.watch.tick(self.received_bytes, self.messages, has_pong=has_pong)

    @property
    def seconds(self) -> float:
        return self.ticks * self.watch.tick_s


def test_a_half_open_line_dies_within_twelve_seconds_whenever_it_broke() -> None:
    line = TickedLine()
    assert line.tick(received=500, messages=1) is None
    while (death := line.tick()) is None:
        assert line.watch.wants_ping
    assert death == "no sign of life for 10 s"
    # It may have broken right after a message, in the middle of the first tick.
    assert line.seconds <= 12.0


def test_answered_pings_keep_a_line_until_messages_are_overdue() -> None:
    line = TickedLine()
    deaths = [line.tick(received=6, has_pong=line.watch.wants_ping) for _ in range(10)]
    assert deaths == [None] * 9 + ["no message for 20 s"]


def test_heartbeats_keep_a_line_for_good() -> None:
    line = TickedLine()
    assert not any(line.tick(messages=n % 5 == 0, has_pong=line.watch.wants_ping) for n in range(1_000))


def test_a_long_message_keeps_a_line_while_it_flows() -> None:
    line = TickedLine()
    enough = int(MIN_BYTES_PER_S * line.watch.tick_s)
    assert not any(line.tick(received=enough) for _ in range(1_000))
    assert line.watch.is_receiving
    assert [line.tick(received=enough // 2) for _ in range(4)] == [None] * 3 + ["no sign of life for 10 s"]
    assert not line.watch.is_receiving


def test_many_messages_are_no_long_message() -> None:
    line = TickedLine()
    line.tick(received=1_000_000, messages=5)
    assert not line.watch.is_receiving


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://data.tradingview.com/socket.io/websocket?auth=CANARY", "data.tradingview.com"),
        ("ws://user:CANARY@[::1]:8000/x", "[::1]:8000"),
        ("nonsense?CANARY", "nonsense"),
        ("ws://[::1", "ws://[::1"),
    ],
)
def test_only_the_host_of_an_address_is_shown(url: str, shown: str) -> None:
    assert host_of(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "127.0.0.1",
        "wss:///x",
        "ws://[::1",
        "ws://127.0.0.1:99999/",
        "ws://a..b/",
        "ws://user:CANARY@/?CANARY",
    ],
)
def test_a_bad_address_is_named_without_its_secrets(url: str) -> None:
    with pytest.raises(ConnectionFailedError, match="ws_url") as error:
        own_clock.run(_open(url))
    assert not error.value.retryable
    assert "CANARY" not in str(error.value)


async def _open(url: str) -> None:
    socket = await open_websocket(url, open_s=1.0, alive_s=1.0, silence_s=1.0)
    await socket.close()


def test_payloads_queries_and_credentials_stay_out_of_the_librarys_log(caplog: pytest.LogCaptureFixture) -> None:
    async def echo(line: Line, method: str, params: list[Any]) -> None:
        await line.say({"m": "CANARY", "p": []})

    async def run() -> None:
        async with scripted_server(echo) as server:
            url = server.url.replace("ws://", "ws://user:CANARY@") + "?auth=CANARY"
            socket = await open_websocket(url, open_s=1.0, alive_s=1.0, silence_s=1.0)
            await socket.send(encode_packet('{"m":"CANARY","p":["x"]}'))
            assert "CANARY" in await socket.receive()
            await socket.close()
            assert server.requests[0].path.endswith("?auth=CANARY")
            assert "Authorization" in server.requests[0].headers

    with caplog.at_level(logging.DEBUG):
        own_clock.run(run())
    # It does log, and says how long each frame is.
    assert "> GET /socket.io/websocket HTTP/1.1" in caplog.text
    assert "Authorization: [hidden]" in caplog.text
    assert "> TEXT [32 bytes]" in caplog.text
    assert "CANARY" not in caplog.text
