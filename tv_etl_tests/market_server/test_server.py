import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.frames import PacketDecoder, encode_packet
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.protocol import (
    BarsReceived,
    ClientProtocol,
    Command,
    Event,
    Heartbeat,
    QuoteReceived,
    SeriesCompleted,
    SeriesFailed,
    SymbolResolved,
)
from tv_etl.tradingview.services import Limits
from tv_etl_tests.market_server.talk import FRIDAY_NOON
from tv_etl_tests.patience import HANG_S

ORIGIN = Origin("https://www.tradingview.com")


class Client:
    """ClientProtocol on a real socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.protocol = ClientProtocol()
        self.events: list[Event] = []

    def send(self, *commands: Command) -> None:
        self.protocol.send(*commands)
        self._flush()

    def wait_for(self, kind: type[Event]) -> Event:
        while not any(isinstance(event, kind) for event in self.events):
            self.protocol.receive_text(str(self.socket.recv(timeout=HANG_S)))
            self.events += self.protocol.events_received()
            self._flush()
        return next(event for event in self.events if isinstance(event, kind))

    def _flush(self) -> None:
        for text in self.protocol.text_to_send():
            self.socket.send(text)


@contextmanager
def client_of(url: str) -> Iterator[Client]:
    with connect(url, origin=ORIGIN, max_size=None) as socket:
        yield Client(socket)


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    clock = MarketClock(FRIDAY_NOON)
    with serve_in_thread(Market(7), ServerOptions(clock=clock, heartbeat_s=0.2, update_ms=100)) as running:
        yield running


def open_series(client: Client, symbol: str, interval: str, count: int) -> None:
    client.send(
        protocol.set_auth_token(protocol.ANONYMOUS_TOKEN),
        protocol.chart_create_session("cs_1"),
        protocol.resolve_symbol("cs_1", "sym_1", symbol),
        protocol.create_series("cs_1", "sds_1", "sym_1", interval, count),
    )


def test_our_protocol_gets_the_markets_bars(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "NASDAQ:AAPL", "1D", 300)
        completed = client.wait_for(SeriesCompleted)
        received = client.wait_for(BarsReceived)
        resolved = client.wait_for(SymbolResolved)
    assert isinstance(received, BarsReceived) and isinstance(resolved, SymbolResolved)
    source = Market(7).find("NASDAQ:AAPL")
    assert source is not None
    expected = source.bars(Interval.parse("1D"), FRIDAY_NOON, count=300).rows.tolist()
    assert received.rows[:-1] == expected[:-1] and received.rows[-1][:2] == expected[-1][:2]
    assert completed == SeriesCompleted("cs_1", "sds_1", "streaming", "")
    assert resolved.info.symbol == "NASDAQ:AAPL"


def test_a_large_answer_comes_in_one_message(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "BINANCE:BTCUSDT", "1D", 5_000)
        received = client.wait_for(BarsReceived)
    assert isinstance(received, BarsReceived) and len(received.rows) == 5_000


def test_live_bars_quotes_and_heartbeats_flow(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "BINANCE:BTCUSDT", "1", 3)
        client.send(protocol.quote_create_session("qs_1"), protocol.quote_add_symbols("qs_1", "BINANCE:BTCUSDT"))
        for kind in (Heartbeat, QuoteReceived, SeriesCompleted):
            client.wait_for(kind)
        client.events.clear()
        live = client.wait_for(BarsReceived)
    assert isinstance(live, BarsReceived) and not live.is_snapshot


def test_query_strings_and_subdomains_are_accepted(server: MarketServer) -> None:
    address = f"{server.url}?from=chart%2F&date=2026-11-22&type=chart"
    with connect(address, origin=Origin("https://data.tradingview.com")) as socket:
        assert "session_id" in str(socket.recv(timeout=HANG_S))
        assert socket.response is not None and socket.response.headers["Server"] == "tv"
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.parametrize("origin", [None, "https://example.com", "https://tradingview.com.example.com", "null"])
def test_a_foreign_origin_is_forbidden(server: MarketServer, origin: str | None) -> None:
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(server.url, origin=None if origin is None else Origin(origin)),
    ):
        pass


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_servers_own_address_is_an_origin(server: MarketServer, scheme: str) -> None:
    own = server.url.split("/")[2]
    for host in (own, own.replace("127.0.0.1", "localhost")):
        with connect(server.url.replace(own, host), origin=Origin(f"{scheme}://{host}")) as socket:
            assert socket.recv(timeout=HANG_S)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "http://127.0.0.1", "ws://{own}", "{own}", "http://{own}/"])
def test_another_address_of_the_machine_is_not(server: MarketServer, origin: str) -> None:
    own = server.url.split("/")[2]
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(server.url, origin=Origin(origin.format(own=own))),
    ):
        pass


def refusal_of(url: str) -> tuple[int, str | None]:
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=ORIGIN):
        pass
    return refused.value.response.status_code, refused.value.response.headers.get("Retry-After")


def test_so_many_connections_may_be_open_from_one_address() -> None:
    with serve_in_thread(Market(7), ServerOptions(max_connections=2)) as running, connect(running.url, origin=ORIGIN):
        with connect(running.url, origin=ORIGIN) as second:
            assert refusal_of(running.url) == (429, "5")
            second.close()
        with client_of(running.url) as client:
            open_series(client, "NASDAQ:AAPL", "1D", 5)
            client.wait_for(SeriesCompleted)


def test_so_many_connections_may_be_opened_within_a_minute() -> None:
    with serve_in_thread(Market(7), ServerOptions(rate_limit=2)) as running:
        for _ in range(2):
            with connect(running.url, origin=ORIGIN):
                pass
        status, retry_after = refusal_of(running.url)
        with pytest.raises(InvalidStatus, match="403"), connect(running.url, origin=None):
            pass
    assert status == 429 and 50 <= int(retry_after or 0) <= 60


def test_our_client_is_told_when_to_come_again() -> None:
    async def fetch(url: str) -> None:
        async with OHLCV(url, limits=Limits(retry_s=0.5)) as client:
            await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 5)

    with (
        serve_in_thread(Market(7), ServerOptions(rate_limit=0)) as running,
        pytest.raises(ConnectionFailedError) as refused,
    ):
        asyncio.run(fetch(running.url))
    assert refused.value.retry_after_s == 5 and "429" in str(refused.value)


@pytest.mark.parametrize(("ban", "reason"), [("all", "banned"), ("ip", "banned by ip"), ("user_id", None)])
def test_the_banned_are_turned_away_for_good(ban: str, reason: str | None) -> None:
    async def fetch(url: str) -> int:
        async with OHLCV(url, limits=Limits(retry_s=0.5)) as client:
            return len(await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 5))

    with serve_in_thread(Market(7), ServerOptions(ban=ban)) as running:
        if reason is None:
            assert asyncio.run(fetch(running.url)) == 5
        else:
            with pytest.raises(ConnectionFailedError, match=f"{reason}$") as refused:
                asyncio.run(fetch(running.url))
            assert not refused.value.retryable


def test_with_jitter_everything_comes_later_and_whole() -> None:
    with (
        serve_in_thread(Market(7), ServerOptions(clock=MarketClock(FRIDAY_NOON), jitter_ms=40)) as running,
        client_of(running.url) as client,
    ):
        open_series(client, "BINANCE:BTCUSDT", "1D", 300)
        client.wait_for(SeriesCompleted)
    kinds = [type(event) for event in client.events]
    assert kinds.index(BarsReceived) < kinds.index(SeriesCompleted)


def test_tls_is_trusted_by_its_authority_alone() -> None:
    with serve_in_thread(Market(7), ServerOptions(tls=True)) as running:
        assert running.url.startswith("wss://127.0.0.1:") and running.http_url.startswith("https://127.0.0.1:")
        assert running.ca_path is not None
        trusting = ssl.create_default_context(cafile=running.ca_path)
        with connect(running.url, origin=ORIGIN, ssl=trusting) as socket:
            assert "session_id" in str(socket.recv(timeout=HANG_S))
        http = HTTPSConnection(running.http_url.removeprefix("https://"), timeout=HANG_S, context=trusting)
        http.request("GET", "/symbols/NASDAQ-AAPL/")
        assert http.getresponse().status == 200
        http.close()
        with pytest.raises(ssl.SSLCertVerificationError), connect(running.url, origin=ORIGIN):
            pass
        authority = running.ca_path
    assert not authority.exists()


def test_without_tls_there_is_no_authority(server: MarketServer) -> None:
    assert server.ca_path is None


def test_another_path_is_not_found(server: MarketServer) -> None:
    with (
        pytest.raises(InvalidStatus, match="404"),
        connect(server.url.replace("socket.io", "x"), origin=ORIGIN),
    ):
        pass


def test_a_bad_token_is_answered_and_closed(server: MarketServer) -> None:
    with connect(server.url, origin=ORIGIN) as socket:
        socket.send(encode_packet('{"m":"set_auth_token","p":["bad"]}'))
        texts = []
        with pytest.raises(ConnectionClosedOK):
            while True:
                texts.append(str(socket.recv(timeout=HANG_S)))
    assert texts[-1].endswith('{"m":"protocol_error","p":["bad auth token"]}')


def test_binary_messages_are_read_as_text(server: MarketServer) -> None:
    with connect(server.url, origin=ORIGIN) as socket:
        socket.send(encode_packet('{"m":"set_auth_token","p":["bad"]}').encode())
        with pytest.raises(ConnectionClosedOK):
            while True:
                socket.recv(timeout=HANG_S)


def test_the_drop_fault_cuts_the_socket(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "FAULT:DROP", "1", 50)
        with pytest.raises(ConnectionClosedError):
            client.wait_for(SeriesCompleted)
    assert any(isinstance(event, BarsReceived) for event in client.events)


def test_the_split_frame_fault_is_joined_again(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "FAULT:SPLIT_FRAME", "1", 50)
        client.wait_for(SeriesCompleted)


def test_a_refused_series_reaches_the_client(server: MarketServer) -> None:
    with client_of(server.url) as client:
        open_series(client, "NASDAQ:NOPE", "1D", 5)
        assert client.wait_for(SeriesFailed) == SeriesFailed("cs_1", "sds_1", "resolve error")


def test_a_server_lives_inside_an_event_loop_too() -> None:
    async def first_payload() -> str:
        async with (
            MarketServer(options=ServerOptions(clock=MarketClock(FRIDAY_NOON))) as running,
            connect_async(running.url, origin=ORIGIN) as socket,
        ):
            return PacketDecoder().feed(str(await socket.recv()))[0]

    assert json.loads(asyncio.run(first_payload()))["timestamp"] == FRIDAY_NOON


def server_threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name == "tv_etl market server"}


def test_a_closing_server_takes_its_connections_along() -> None:
    before = server_threads()
    with serve_in_thread(Market(7)) as running:
        socket_context = connect(running.url, origin=ORIGIN)
        socket = socket_context.__enter__()
        socket.recv(timeout=HANG_S)
    with pytest.raises(ConnectionClosedOK):
        socket.recv(timeout=HANG_S)
    socket_context.__exit__(None, None, None)
    assert server_threads() == before  # the client ends its own threads in its own time


def test_a_taken_port_is_an_error_for_the_caller(server: MarketServer) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match=r"[Aa]ddress"), serve_in_thread(Market(7), ServerOptions(port=port)):
        pass


@pytest.mark.parametrize(("fault", "code"), [("CLOSE", 1000), ("CLOSE_1013", 1013), ("RESET", None), ("DROP", None)])
def test_connections_end_as_their_fault_says(server: MarketServer, fault: str, code: int | None) -> None:
    with client_of(server.url) as client:
        open_series(client, f"FAULT:{fault}", "1", 50)
        with pytest.raises(ConnectionClosed) as ended:
            client.wait_for(SeriesCompleted)
    assert (ended.value.rcvd.code if ended.value.rcvd else None) == code
    if fault == "RESET":
        assert isinstance(ended.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("fault", ["HALF_OPEN", "DRIP"])
def test_what_stands_still_answers_no_ping_and_holds_no_server_up(fault: str) -> None:
    with (
        serve_in_thread(Market(7)) as running,
        connect(running.url, origin=ORIGIN, ping_interval=0.2, ping_timeout=0.2, close_timeout=0.2) as socket,
    ):
        client = Client(socket)
        open_series(client, f"FAULT:{fault}", "1", 50)
        with pytest.raises(ConnectionClosed):
            client.wait_for(SeriesCompleted)


def test_sessions_are_created_at_the_servers_rate() -> None:
    with (
        serve_in_thread(Market(7), ServerOptions(session_rate=2)) as running,
        connect(running.url, origin=ORIGIN) as socket,
    ):
        assert "session_id" in str(socket.recv(timeout=HANG_S))
        creations = [{"m": "chart_create_session", "p": [f"cs_{number}", ""]} for number in range(3)]
        socket.send("".join(encode_packet(json.dumps(each)) for each in creations))
        assert '"critical_error","p":["cs_2","max sessions rate reached"' in str(socket.recv(timeout=HANG_S))
