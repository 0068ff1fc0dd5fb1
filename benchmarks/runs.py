"""Clients that take turns at the same work, each a program of its own on another core than the market server."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[1]
NOW = "2026-11-20T15:00:30Z"
LATENCIES_MS = (0, 100)


class Client(NamedTuple):
    """A program and one way to run it; `floor` names the client that does the least that such a result needs."""

    name: str
    command: tuple[str, ...]
    floor: str = ""


class Taken(NamedTuple):
    """What one run took: wall and CPU seconds, the peak of memory in MB, and the bars that it had in the end."""

    wall: float
    cpu: float
    bars: int
    mb: float


Runs = dict[str, dict[int, list[Taken]]]  # by client and latency


def _ours(module: str, way: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.clients.{module}", way)


def _tvkit(way: str) -> tuple[str, ...]:
    return (str(CHECKOUT / ".venv-peers" / "tvkit" / "bin" / "python"), "-m", "benchmarks.clients.tvkit_batch", way)


FLOOR_ARROW, FLOOR_PARQUET = "floor → Arrow", "floor → plain Parquet"
CLIENTS = (
    Client(FLOOR_ARROW, _ours("floor", "arrow")),
    Client("tv_etl → Arrow", _ours("ours", "arrow"), FLOOR_ARROW),
    Client(
        "@mathieuc/tradingview → memory",
        ("node", str(CHECKOUT / "benchmarks" / "clients" / "mathieuc.js"), "memory"),
        FLOOR_ARROW,
    ),
    Client(FLOOR_PARQUET, _ours("floor", "parquet")),
    Client("tv_etl → committed lake", _ours("ours", "lake"), FLOOR_PARQUET),
    Client("tvkit → Polars → Parquet", _tvkit("parquet"), FLOOR_PARQUET),
    Client("tv_etl → list of bars", _ours("ours", "bars"), FLOOR_ARROW),
    Client("tvkit → list of bars", _tvkit("bars"), FLOOR_ARROW),
)


def measured(
    clients: Sequence[Client], symbols: Sequence[str], bars: int, rounds: int, tell: Callable[[str], None]
) -> Runs:
    """Every client in turn, round by round, behind each latency; one more round, the first, warms the market up."""
    runs: Runs = {client.name: {latency: [] for latency in LATENCIES_MS} for client in clients}
    for latency in LATENCIES_MS:
        with market(latency) as url:
            for number in range(rounds + 1):
                for client in clients:
                    taken = run(client, url, symbols, bars)
                    if number:
                        runs[client.name][latency].append(taken)
                    tell(f"{latency:3} ms, round {number}: {client.name:32} {taken.cpu:6.2f} s CPU {taken.wall:6.2f} s")
    return runs


def run(client: Client, url: str, symbols: Sequence[str], bars: int) -> Taken:
    """One run of a client. Raises RuntimeError if it fails, or ends with fewer bars than it should."""
    with tempfile.TemporaryDirectory() as directory:
        work = json.dumps({"url": url, "symbols": symbols, "bars": bars, "directory": directory})
        done = subprocess.run(
            _pinned([*client.command, work], core=1), cwd=CHECKOUT, capture_output=True, text=True, timeout=600
        )
    if done.returncode:
        raise RuntimeError(f"{client.name}: {done.stderr.strip()[-2_000:]}")
    taken = Taken(**json.loads(done.stdout.splitlines()[-1]))
    # A forming bar more or less.
    if taken.bars < len(symbols) * (bars - 1):
        raise RuntimeError(f"{client.name}: {taken.bars:,} bars of {len(symbols)} × {bars:,}")
    return taken


@contextmanager
def market(latency_ms: int) -> Iterator[str]:
    """A market server on a core of its own; gives its address."""
    command = [sys.executable, "-m", "tv_etl.market_server", "--port", "0", "--now", NOW, "--speed", "0"]
    server = subprocess.Popen(
        _pinned([*command, "--latency-ms", str(latency_ms)], core=0), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(30)


def _pinned(command: list[str], *, core: int) -> list[str]:
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return command
    return ["taskset", "--cpu-list", str(core), *command]


def is_installed(client: Client) -> bool:
    """True if a client can run here: `make peers` installs those that are not ours."""
    if client.command[0] == "node":
        return shutil.which("node") is not None and (CHECKOUT / ".venv-peers" / "mathieuc" / "installed").exists()
    return shutil.which(client.command[0]) is not None
