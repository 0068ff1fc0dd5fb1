"""`tv-etl fetch --dry-run` tells what a fetch takes, beside what that fetch then took; and nothing is sent for it."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.protocol import MARKET_HEADER
from tv_etl.tradingview.websocket import ORIGIN
from tv_etl_tests.command import call
from tv_etl_tests.patience import HANG_S

NOWHERE = "ws://127.0.0.1:1/"  # to connect would be an error


@dataclass
class Counted:
    """What went over the connections through a relay."""

    url: str = ""
    requests: int = 0
    pages: int = 0
    bytes: int = 0


@contextmanager
def counting(target: str) -> Iterator[Counted]:
    """A relay to a market, which counts what passes."""
    counted, is_ready = Counted(), threading.Event()
    stop: list[Callable[[], object]] = []

    async def relay(client: ServerConnection) -> None:
        async with connect(target, origin=ORIGIN, compression=None, max_size=None) as server:

            async def down() -> None:
                async for message in server:
                    counted.bytes += len(message)
                    await client.send(message)

            downward = asyncio.create_task(down())
            async for message in client:
                text = str(message)
                counted.requests += text.count('"create_series"')
                counted.pages += text.count('"create_series"') + text.count('"request_more_data"')
                await server.send(message)
            downward.cancel()
            await asyncio.gather(downward, return_exceptions=True)

    async def run() -> None:
        async with connect(target, origin=ORIGIN, compression=None) as first:
            market = first.response.headers[MARKET_HEADER] if first.response else ""

        def named(connection: ServerConnection, request: Request, response: Response) -> None:
            response.headers[MARKET_HEADER] = market

        is_over, loop = asyncio.Event(), asyncio.get_running_loop()
        async with serve(relay, "127.0.0.1", 0, compression=None, max_size=None, process_response=named) as server:
            counted.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket.io/websocket"
            stop.append(lambda: loop.call_soon_threadsafe(is_over.set))
            is_ready.set()
            await is_over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert is_ready.wait(HANG_S)
    try:
        yield counted
    finally:
        stop[0]()
        thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A market that runs by this machine's clock, as a fetch without a server goes by it."""
    with serve_in_thread(Market(7)) as server:
        yield server.url


def told(text: str) -> tuple[int, int, int, float]:
    """Requests, pages, bars and bytes of the line for all series."""
    found = re.search(r"^([\d,]+) requests, ([\d,]+) pages, ([\d,]+) bars, ([\d.,]+) (kB|MB), about \d+ s", text, re.M)
    assert found, text
    requests, pages, bars = (int(found[number].replace(",", "")) for number in (1, 2, 3))
    return requests, pages, bars, float(found[4].replace(",", "")) * (1e6 if found[5] == "MB" else 1e3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("BINANCE:BTCUSDT", "KRAKEN:XRPEUR", "--interval", "1h", "--interval", "1d"),
        ("BINANCE:BTCUSDT", "--interval", "1m", "--bars", "9000"),
        ("BINANCE:BTCUSDT", "NASDAQ:AAPL", "SP:SPX", "--interval", "5m", "--bars", "4000"),
        ("FX:EURUSD", "--interval", "1d", "--bars", "5500"),
    ],
)
@pytest.mark.parametrize("has_lake", [False, True])
def test_it_takes_what_was_told(url: str, tmp_path: Path, arguments: tuple[str, ...], has_lake: bool) -> None:
    where = ("--lake", str(tmp_path / "lake")) if has_lake else ("--out", str(tmp_path / "bars.csv"))
    plan = call("fetch", *arguments, *where, "--dry-run", url=NOWHERE)
    assert (plan.returncode, plan.stderr, list(tmp_path.iterdir())) == (0, "", [])
    with counting(url) as counted:
        assert call("fetch", *arguments, *where, url=counted.url).returncode == 0
    requests, pages, _, size = told(plan.stdout)
    assert (requests, pages) == (counted.requests, counted.pages)
    assert size / 2 < counted.bytes < size * 2


def test_the_hours_in_a_lake_tell_how_much_comes(url: str, tmp_path: Path) -> None:
    """Of the minutes of a week, when stocks trade for a fifth of the time, one page has all."""
    lake = ("--lake", str(tmp_path))
    assert call("fetch", "NASDAQ:AAPL", "--interval", "1m", "--bars", "100", *lake, url=url).returncode == 0
    first = BarStore(tmp_path).read("NASDAQ:AAPL", "1m")["timestamp"][0].as_py()
    start = f"{first - timedelta(days=6):%Y-%m-%dT%H:%M}"
    week = ("fetch", "NASDAQ:AAPL", "--interval", "1m", "--start", start, *lake)
    plan = call(*week, "--dry-run", url=NOWHERE)
    assert "at most" not in plan.stdout
    with counting(url) as counted:
        assert call(*week, url=counted.url).returncode == 0
    requests, pages, _, size = told(plan.stdout)
    assert (requests, pages) == (counted.requests, counted.pages) == (1, 1)
    assert size / 2 < counted.bytes < size * 2


def test_hours_that_nobody_knows_make_it_an_upper_bound() -> None:
    plan = call("fetch", "NASDAQ:AAPL", "--bars", "10", "--dry-run", url=NOWHERE)
    assert plan.returncode == 0 and "at most" in plan.stdout
    assert told(plan.stdout)[:3] == (1, 1, 11)


def test_what_cannot_be_asked_for_is_told_and_the_rest_is_planned() -> None:
    plan = call("fetch", "no symbol", "NASDAQ:AAPL", "--dry-run", url=NOWHERE)
    assert plan.returncode == 1
    assert "Error: no symbol 1d: symbol 'no symbol': expected EXCHANGE:TICKER" in plan.stderr
    assert told(plan.stdout)[:2] == (1, 1)
