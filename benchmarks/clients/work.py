"""What every Python client shares: the work that it is given, and a line of JSON that says what it took.

Only of the standard library: the clients run in environments of their own.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Work(NamedTuple):
    """Fetch the newest `bars` minutes of each symbol, and put files into `directory`."""

    url: str
    symbols: list[str]
    bars: int
    directory: str


def main(ways: dict[str, Callable[[Work], int]]) -> None:
    """`python -m benchmarks.clients.NAME WAY WORK`: do the work, given as JSON, in one of the ways.

    A way returns the number of bars that it holds. Imports are not counted, memory is that of the whole process.
    """
    way, work = ways[sys.argv[1]], Work(**json.loads(sys.argv[2]))
    wall, cpu = time.perf_counter(), time.process_time()
    bars = way(work)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "bars": bars}
    print(json.dumps({**took, "mb": _peak_kb() / 1_000}))


def _peak_kb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere the program that started this one counts as well
        return float(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1_000 if sys.platform == "darwin" else peak
