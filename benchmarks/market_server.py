"""What a bar costs the market server, against what it costs the client: `python benchmarks/market_server.py`.

The server's side is a whole conversation without a socket: commands in, packets out. *Cold* is the first request to a
market that knows nothing yet, *warm* one like others before it. The client's side is our own, from the packets to an
answer. Each figure is the median of several runs in microseconds of CPU per bar; the ratios hold on any machine.
"""

import json
import statistics
import time
from typing import NamedTuple

from tv_etl.market_server.accounts.plans import ANONYMOUS
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.sessions.conversation import Conversation
from tv_etl.market_server.sessions.world import World
from tv_etl.tradingview.frames import encode_packet
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.paging import SeriesPager
from tv_etl.tradingview.protocol import ClientProtocol

BARS = 5_000
RUNS = 7
NOW = 1_795_197_600.0  # a Friday noon in New York: the newest bar is still forming
CASES = [(symbol, interval) for interval in ("1m", "1h", "1d") for symbol in ("NASDAQ:AAPL", "BINANCE:BTCUSDT")]


class Costs(NamedTuple):
    """Microseconds of CPU per bar."""

    cold: float
    warm: float
    client: float


class Wall:
    """A clock that moves by hand, so that no run waits."""

    moment = 100.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.moment


def main() -> None:
    print(f"{'':26}{'cold':>8}{'warm':>8}{'client':>8}   warm / client   cold / client")
    for symbol, interval in CASES:
        cost = measured(symbol, interval)
        figures = "".join(f"{value:8.2f}" for value in cost)
        ratios = f"{cost.warm / cost.client:13.2f} x {cost.cold / cost.client:13.2f} x"
        print(f"{symbol + ' ' + interval:26}{figures}   {ratios}")


def measured(symbol: str, interval: str) -> Costs:
    """The medians of one instrument and interval."""
    colds, warms, clients = [], [], []
    for seed in range(RUNS):
        wall = Wall()
        world = World(Market(seed), MarketClock(NOW, 0.0), wall, ANONYMOUS)
        cold, texts, bars = served(world, wall, symbol, interval)
        colds.append(cold / bars)
        warms.append(served(world, wall, symbol, interval)[0] / bars)
        clients.append(decoded(texts, symbol, interval) / bars)
    return Costs(*(statistics.median(values) * 1e6 for values in (colds, warms, clients)))


def served(world: World, wall: Wall, symbol: str, interval: str) -> tuple[float, list[str], int]:
    """The CPU seconds of one answer, its texts, and how many bars they hold."""
    wire = Interval.parse(interval).wire
    commands = [
        ("set_auth_token", ["unauthorized_user_token"]),
        ("chart_create_session", ["cs_1", ""]),
        ("resolve_symbol", ["cs_1", "sds_sym_1", symbol]),
        ("create_series", ["cs_1", "sds_1", "s1", "sds_sym_1", wire, BARS, ""]),
    ]
    packets = "".join(encode_packet(json.dumps({"m": method, "p": params})) for method, params in commands)
    started = time.process_time()
    conversation = Conversation(world, 1, heartbeat_s=10.0, update_s=1.0)
    conversation.receive_text(packets)
    texts: list[str] = []
    while not any("series_completed" in text for text in texts):
        wall.moment += 0.01
        texts += [text for text in conversation.take_due() if isinstance(text, str)]
    spent = time.process_time() - started
    return spent, texts, sum(text.count('{"i":') for text in texts)


def decoded(texts: list[str], symbol: str, interval: str) -> float:
    """The CPU seconds that our client needs to make an answer of the texts."""
    pager = SeriesPager(HistoryRequest(symbol, interval, bars_count=BARS), "cs_1", now_s=NOW)
    pager.start()
    client = ClientProtocol()
    started = time.process_time()
    for text in texts:
        client.receive_text(text)
        for event in client.events_received():
            pager.receive(event)
    return time.process_time() - started


if __name__ == "__main__":
    main()
