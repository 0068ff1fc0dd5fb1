"""What a history costs its client over a socket, against the floor: `python benchmarks/clients.py`.

100 series of 5,000 bars from a market server, which is a process on a core of its own, by clients that are processes
on another: ours to Arrow, ours to lists of `OHLCVBar`, the floor, and tvkit where `make peers` has installed it. The
floor knows nothing of what can go wrong: websockets, one typed msgspec decode, np.fromiter, and every series asked for
at once. Each figure is the median of several runs that take turns, and the span in which half of them lie: CPU of the
client per bar, wall clock at 0 and 100 ms of latency, and the most memory it ever had. The ratios hold on any machine.

On two cores that others kept busy, CPU in microseconds per bar: the floor 0.94, ours to Arrow 0.78, ours to lists 2.54,
tvkit 12.2. Of a list's cost nearly half is Python's collector, which walks every bar that is alive.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

SERIES, BARS = 100, 5_000
LATENCIES_MS = (0, 100)
NOW = "2026-11-18T15:00:30+00:00"
TVKIT = Path(".venv-peers/tvkit/bin/python")


# --- the clients: each runs in a process of its own ----------------------------------------------------------


async def ours_to_arrow(url: str, symbols: list[str]) -> list[Any]:
    from tv_etl.tradingview.history import fetch_history
    from tv_etl.tradingview.models import HistoryRequest

    requests = [HistoryRequest(symbol, "1m", bars_count=BARS) for symbol in symbols]
    return [table async for _, table in fetch_history(requests, ws_url=url)]


async def ours_to_lists(url: str, symbols: list[str]) -> list[Any]:
    from tv_etl.tradingview.ohlcv import OHLCV

    async with OHLCV(url, timeout_s=120.0) as client:
        return await asyncio.gather(*(client.get_historical_ohlcv(each, "1", bars_count=BARS) for each in symbols))


async def tvkit(url: str, symbols: list[str]) -> list[Any]:
    import tvkit.api.chart.ohlcv as tvkit_ohlcv  # type: ignore[import-not-found]
    from tvkit.batch import BatchDownloadRequest, batch_download  # type: ignore[import-not-found]

    async def unchecked(*_: object, **__: object) -> bool:
        return True

    tvkit_ohlcv.validate_symbols = unchecked
    tvkit_ohlcv._STANDARD_WS_URL = tvkit_ohlcv._PRO_WS_URL = url
    request = BatchDownloadRequest(symbols=symbols, interval="1", bars_count=BARS, concurrency=8)
    return [result.bars for result in (await batch_download(request)).results]


async def floor(url: str, symbols: list[str]) -> list[Any]:
    import msgspec
    import numpy as np
    import pyarrow as pa
    from websockets.asyncio.client import connect

    from tv_etl.tradingview.bar_schema import BAR_SCHEMA

    class Point(msgspec.Struct, gc=False):
        v: tuple[float, float, float, float, float, float]

    class Series(msgspec.Struct):
        s: list[Point]

    class Parameters(msgspec.Struct, array_like=True):
        session: str
        series: dict[str, Series]

    class Update(msgspec.Struct):
        p: Parameters

    decode = msgspec.json.Decoder(Update).decode
    tables = []
    async with connect(url, origin="https://www.tradingview.com", max_size=None, compression=None) as socket:

        async def say(method: str, *params: object) -> None:
            message = json.dumps({"m": method, "p": params})
            await socket.send(f"~m~{len(message)}~m~{message}")

        await say("set_auth_token", "unauthorized_user_token")
        for number, symbol in enumerate(symbols):
            session = f"cs_{number}"
            await say("chart_create_session", session, "")
            await say("resolve_symbol", session, "sym", f'={{"symbol":"{symbol}","adjustment":"splits"}}')
            await say("create_series", session, "s", "s1", "sym", "1", BARS, "")
        while len(tables) < len(symbols):
            text = await socket.recv()
            position = 0
            while position < len(text):
                start = text.index("~m~", position + 3) + 3
                position = start + int(text[position + 3 : start - 3])
                if text.startswith('{"m":"timescale_update"', start):
                    points = decode(text[start:position]).p.series["s"].s
                    flat = chain.from_iterable([point.v for point in points])
                    columns = np.fromiter(flat, np.float64, 6 * len(points)).reshape(-1, 6).T.copy()
                    times = (columns[0] * 1e6).astype(np.int64)
                    arrays = [
                        pa.Array.from_buffers(field.type, len(points), [None, pa.py_buffer(values)])
                        for field, values in zip(BAR_SCHEMA, [times, *columns[1:]], strict=True)
                    ]
                    tables.append(pa.Table.from_arrays(arrays, schema=BAR_SCHEMA))
    return tables


CLIENTS: dict[str, Callable[[str, list[str]], Coroutine[Any, Any, list[Any]]]] = {
    "floor to Arrow": floor,
    "ours to Arrow": ours_to_arrow,
    "ours to lists of bars": ours_to_lists,
    "tvkit to lists of bars": tvkit,
}


def run_client(name: str, url: str, symbols: list[str]) -> None:
    """Fetch everything and print what it cost."""
    asyncio.run(CLIENTS[name](url, symbols[:1]))  # imports, and whatever else only the first answer needs
    cpu, wall = time.process_time(), time.perf_counter()
    answers = asyncio.run(CLIENTS[name](url, symbols))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert [len(answer) for answer in answers] == [BARS] * len(symbols), f"{name}: an answer is not whole"
    print(json.dumps([cpu, wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024]))


# --- the runs ------------------------------------------------------------------------------------------------


@contextmanager
def market_server(latency_ms: float) -> Iterator[str]:
    command = [
        sys.executable, "-m", "tv_etl.market_server", "--port", "0", "--seed", "7", "--now", NOW, "--speed", "0",
        "--latency-ms", str(latency_ms),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            stay_on_core(0, process.pid)
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def stay_on_core(number: int, process: int = 0) -> None:
    """Keep a process, or this one, on one core where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(process))
        os.sched_setaffinity(process, {cores[number % len(cores)]})


def measured(name: str, url: str) -> list[float]:
    """CPU seconds, wall seconds and megabytes of one run."""
    python = str(TVKIT) if name.startswith("tvkit") else sys.executable
    done = subprocess.run([python, __file__, "--client", name, url], stdout=subprocess.PIPE, check=True)
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=f"which clients: parts of {', '.join(CLIENTS)} (all)")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--client", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        stay_on_core(1)
        name, url = options.client
        run_client(name, url, json.loads(os.environ["SYMBOLS"]))
        return
    from tv_etl.market_server.market.listing_rules import rule_symbols

    os.environ["SYMBOLS"] = json.dumps(list(islice(rule_symbols(), SERIES)))
    names = [name for name in CLIENTS if any(each in name for each in options.names or [""])]
    if not TVKIT.exists():
        names = [name for name in names if "tvkit" not in name]
    taken: dict[tuple[str, int], list[list[float]]] = {(name, ms): [] for name in names for ms in LATENCIES_MS}
    for latency_ms in LATENCIES_MS:
        with market_server(latency_ms) as url:
            measured("floor to Arrow", url)  # the market has made its bars
            for _ in range(options.runs):
                for name in names:
                    taken[name, latency_ms].append(measured(name, url))
    report(names, taken)


def report(names: list[str], taken: dict[tuple[str, int], list[list[float]]]) -> None:
    print(f"{'':24}{'CPU us/bar':>18}{'x floor':>9}{'wall 0 ms':>18}{'wall 100 ms':>18}{'MB':>6}")
    floor_us = None
    for name in names:
        still, late = (taken[name, latency_ms] for latency_ms in LATENCIES_MS)
        cpu = [figures[0] / SERIES / BARS * 1e6 for figures in still]
        floor_us = floor_us or statistics.median(cpu)
        walls = "".join(f"{middle([figures[1] for figures in each]):>18}" for each in (still, late))
        megabytes = statistics.median(figures[2] for figures in still)
        print(f"{name:24}{middle(cpu):>18}{statistics.median(cpu) / floor_us:9.2f}{walls}{megabytes:6.0f}")


def middle(values: list[float]) -> str:
    """The median, and where half of the values lie."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
