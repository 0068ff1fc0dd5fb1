"""A day of a market that runs fast, over lines that do not last, whatever this machine's clock says."""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import TypeVar

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer
from tv_etl.tradingview import closed_bars, services
from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.models import OHLCVBar, StreamGap
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.stream import Stream
from tv_etl_tests import own_clock

T = TypeVar("T")

HOUR_S = 3_600
SPEED = 3_600.0
MINUTES = 24 * 60
SEEDS = range(12)


class LoopClock(MarketClock):
    """Goes by the clock of the running loop: on a slow machine the market is slow as well."""

    def __init__(self, start: float) -> None:
        super().__init__(start)
        self._start, self._began = start, own_clock.now()

    def now(self) -> float:
        return self._start + (own_clock.now() - self._began) * SPEED


class CuttingLine:
    """A line to a server that is cut again and again."""

    def __init__(self, server_url: str, dice: random.Random) -> None:
        self.url = ""
        self.lines = 0
        self._server_url = server_url
        self._host, self._port = server_url.split("/")[2].split(":")
        self._dice = dice
        self._served: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "CuttingLine":
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.url = self._server_url.replace(f":{self._port}", f":{self._server.sockets[0].getsockname()[1]}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        await asyncio.gather(*self._served, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, int(self._port))
        both = [asyncio.ensure_future(_pass_on(reader, back)), asyncio.ensure_future(_pass_on(there, writer))]
        lasts_s = self._dice.choice([0.05, 0.2, 1.0]) * self._dice.random()
        await asyncio.wait(both, timeout=lasts_s, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, back):
            end.transport.abort()
        for each in both:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def begun(stream_of: Callable[[], Stream[T]]) -> AsyncGenerator[T, None]:
    """A stream that has had its first answer: without one, a lost connection ends it."""
    while True:
        stream = stream_of()
        with suppress(ConnectionFailedError):
            yield await anext(stream)
            break
    async for item in stream:
        yield item


async def watch_a_day(seed: int) -> None:
    dice = random.Random(seed)
    skew_s = {0: -HOUR_S, 1: HOUR_S}.get(seed, dice.uniform(-HOUR_S, HOUR_S))
    symbol = "FAULT:LIVE_DROP" if seed % 2 else "BINANCE:BTCUSDT"
    clock = LoopClock(time.time() + skew_s)
    gaps: list[StreamGap] = []
    opens: list[int] = []
    latest: dict[int, OHLCVBar] = {}
    closed: dict[int, OHLCVBar] = {}  # as each was when the next one came
    async with MarketServer(Market(seed), ServerOptions(clock=clock, update_ms=20)) as server:
        async with (
            CuttingLine(server.url, dice) as line,
            OHLCV(line.url, limits=Limits(reconnect_s=600.0), on_gap=gaps.append) as client,
        ):
            async for bar in begun(lambda: client.get_ohlcv(symbol, "1", bars_count=dice.randint(1, 10))):
                if bar.timestamp not in latest:
                    closed |= {moment: latest[moment] for moment in opens[-1:]}
                    opens.append(bar.timestamp)
                latest[bar.timestamp] = bar
                if bar.timestamp >= opens[0] + 60 * MINUTES:
                    break
        async with OHLCV(server.url) as client:
            first = datetime.fromtimestamp(opens[0], timezone.utc)
            history = await client.get_historical_ohlcv(symbol, "1", start=first)
    served = {bar.timestamp: bar for bar in history if bar.timestamp < opens[-1]}
    assert gaps == [], seed
    assert line.lines > 10, "a line that is never cut proves nothing"
    assert opens == sorted(opens), seed
    assert list(closed) == list(served), f"seed {seed}: missing {sorted(set(served) - set(closed))[:5]}"
    assert [moment for moment in served if closed[moment] != served[moment]] == [], seed
    assert all(latest[moment] == served[moment] for moment in served), seed


async def watch_closed_bars(seed: int) -> None:
    """Of several symbols over one line: each bar once, and as history has it for good."""
    dice = random.Random(seed)
    symbols = ["BINANCE:BTCUSDT", "FAULT:LIVE_DROP" if seed % 2 else "BINANCE:ETHUSDT", "BINANCE:SOLUSDT"]
    clock = LoopClock(time.time() + dice.uniform(-HOUR_S, HOUR_S))
    gaps: list[StreamGap] = []
    told: dict[str, list[OHLCVBar]] = {symbol: [] for symbol in symbols}
    async with MarketServer(Market(seed), ServerOptions(clock=clock, update_ms=20)) as server:
        async with (
            CuttingLine(server.url, dice) as line,
            OHLCV(line.url, limits=Limits(reconnect_s=600.0), on_gap=gaps.append) as client,
        ):
            async for series, closed in begun(lambda: client.stream_closed_bars(symbols)):
                assert isinstance(closed, OHLCVBar), closed
                told[series.symbol].append(closed)
                if all(len(each) > MINUTES // 2 for each in told.values()):
                    break
        async with OHLCV(server.url) as client:
            for symbol, bars in told.items():
                first = datetime.fromtimestamp(bars[0].timestamp, timezone.utc)
                history = await client.get_historical_ohlcv(symbol, "1", start=first)
                assert bars == history[: len(bars)], (seed, symbol)
    assert gaps == [] and line.lines > 5, seed


@pytest.mark.slow
def test_every_bar_of_a_day_comes_once_with_its_final_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(services, "_BACKOFF_LAST_S", 0.4)
    # In this market minutes pass from one change that is sent to the next: no clock tells that a bar has had its last.
    monkeypatch.setattr(closed_bars, "LATE_S", math.inf)

    async def watch_all() -> list[BaseException]:
        closed = map(watch_closed_bars, SEEDS[:4])
        ends = await asyncio.gather(*map(watch_a_day, SEEDS), *closed, return_exceptions=True)
        return [end for end in ends if end is not None]

    for failure in own_clock.run(watch_all()):
        raise failure
