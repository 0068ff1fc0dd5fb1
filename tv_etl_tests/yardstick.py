"""CPU time told in what this machine takes for a known piece of work: a bound that holds on a slow one as well."""

import time
from collections.abc import Callable
from statistics import median


def cpu_ratio(work: Callable[[], object]) -> float:
    """How many times the CPU of 200,000 turns of a loop the work takes; the loop is measured around it."""
    before = _loop_s()
    began = time.process_time()
    work()
    taken = time.process_time() - began
    return taken / median([*before, *_loop_s()])


def _loop_s() -> list[float]:
    seconds = []
    for _ in range(3):
        began = time.process_time()
        total = 0
        for number in range(200_000):
            total += number
        seconds.append(time.process_time() - began)
    return seconds
