"""How our cost grows: with the number of series, with the history that is stored, with the number of alert rules."""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from benchmarks.lake import minutes
from tv_etl.alerts.fold import MinuteBar, evaluate
from tv_etl.alerts.rules import CrossRule
from tv_etl.alerts.state import AlertState, Registered
from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.listing_rules import rule_symbols

SERIES = (50, 100, 200, 400)
MONTHS = (1, 12, 60, 120)
RULES = (10, 100, 1_000)
OVERLAP = 5
ROUNDS_AT_MOST = 100
START = 1_795_197_600


class Growth(NamedTuple):
    """Milliseconds of CPU that a piece of work costs, by how many of something there are."""

    work: str
    of: str
    points: tuple[tuple[int, float], ...]


# Prepares so much in a directory; each `next` then does the work once, and gives the number of pieces that it had.
_Rounds = Callable[[int, str], Iterator[int]]


def growths(rounds: int) -> list[Growth]:
    """Medians of so many rounds, in which all sizes take turns."""
    return [
        Growth("one new bar into each series of a lake, per series", "series", _measured(SERIES, _many_series, rounds)),
        Growth("one new bar into a series of minutes", "months stored", _measured(MONTHS, _long_series, rounds)),
        Growth("one evaluation of alert rules, per rule", "rules", _measured(RULES, _rules, rounds)),
    ]


def _measured(sizes: Sequence[int], prepare: _Rounds, rounds: int) -> tuple[tuple[int, float], ...]:
    with tempfile.TemporaryDirectory() as base:
        works = {size: prepare(size, f"{base}/{size}") for size in sizes}
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for number in range(min(rounds, ROUNDS_AT_MOST - 1) + 1):
            for size, work in works.items():
                started = time.process_time()
                pieces = next(work)
                if number:  # the first one prepares
                    taken[size].append(1e3 * (time.process_time() - started) / pieces)
    return tuple((size, statistics.median(each)) for size, each in taken.items())


def _many_series(count: int, base: str) -> Iterator[int]:
    return _increments(BarStore(base), list(islice(rule_symbols(), count)), minutes("stock", 0.5))


def _long_series(months: int, base: str) -> Iterator[int]:
    return _increments(BarStore(base), ["NASDAQ:AAPL"], minutes("stock", months))


def _increments(store: BarStore, symbols: Sequence[str], walk: pa.Table) -> Iterator[int]:
    first = len(walk) - ROUNDS_AT_MOST
    for symbol in symbols:
        store.upsert(symbol, "1m", walk.slice(0, first))
    for newest in range(first, len(walk)):
        given = walk.slice(newest - OVERLAP, OVERLAP + 1)
        for symbol in symbols:
            store.upsert(symbol, "1m", given)
        yield len(symbols)


def _rules(count: int, base: str) -> Iterator[int]:
    """Crossings of round levels, two rules a symbol; each minute brings one bar and the one before it."""
    dice = random.Random(7)
    symbols = list(islice(rule_symbols(), max(1, count // 2)))
    rules = [
        CrossRule(
            name=f"r{number}",
            symbol=symbols[number % len(symbols)],
            kind="cross",
            level=100.0 + number % 3,
            cooldown_s=0.0,
        )
        for number in range(count)
    ]
    prices = dict.fromkeys(symbols, 100.5)
    registered = [Registered(rule, number) for number, rule in enumerate(rules)]
    state, bars = AlertState(), dict[str, list[MinuteBar]]()
    for minute in range(START, START + 60 * ROUNDS_AT_MOST, 60):
        for symbol, price in prices.items():
            prices[symbol] = close = price + dice.gauss(0, 0.2)
            bar = MinuteBar(minute, price, max(price, close), min(price, close), close)
            bars[symbol] = [*bars.get(symbol, [])[-1:], bar]
        state = evaluate(registered, state, bars, {}, now=minute + 75.0).state
        yield count


if __name__ == "__main__":
    for growth in growths(5):
        print(growth)
