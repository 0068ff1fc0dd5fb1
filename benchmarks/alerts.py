"""What a tick of alert rules costs: `python -m benchmarks.alerts`.

The market server is another program, 100 ms away, and its clock stands still: every run of a row has the same rules,
the same state and the same bars. *First* is a tick of new rules, *next* the one a minute later, *an hour down* the one
after 60 minutes without any. CPU is that of the tick alone. The last table is of a server that allows ten sessions a
second: how many ticks it takes until each symbol has had its minutes.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

from tv_etl.alerts.inputs import AlertInputs, Ask, Wants, Wider
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.tick import run_tick
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory

SIZES = ((100, 50), (1_000, 500), (5_000, 500))
LATENCY_MS = 100
SESSION_RATE = 10
MOST_TICKS = 10
NOW = datetime(2026, 11, 20, 15, 0, 30, tzinfo=timezone.utc)  # New York has been open for half an hour
MOMENTS = {"first": timedelta(), "next": timedelta(minutes=1), "an hour down": timedelta(minutes=61)}


@dataclass
class Asked:
    """A market server, and what the ticks have asked of it."""

    resource: TradingViewResource
    now: float
    wanted: int = 0
    seconds: float = 0.0
    answered: set[str] = field(default_factory=set)

    def gather(self, asks: Mapping[str, Ask], wants: Wants, wider: Wider) -> Generator[AlertInputs, None, None]:
        """The inputs of a tick."""
        started, self.wanted = time.monotonic(), 0
        for inputs in self.resource.alert_inputs(asks, lambda quotes, now: self._note(wants(quotes, now)), wider):
            self.answered |= {name for name, each in inputs.minutes.items() if isinstance(each, SeriesHistory)}
            yield inputs
        self.seconds = time.monotonic() - started

    def _note(self, wanted: Collection[str]) -> Collection[str]:
        self.wanted += len(wanted)
        return wanted


@dataclass(frozen=True)
class Taken:
    """What one tick took: seconds, those of its inputs among them, CPU seconds; symbols asked for minutes, alerts."""

    wall: float
    inputs: float
    cpu: float
    wanted: int
    found: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| rules | symbols | tick | seconds | its inputs | CPU s | µs of CPU per rule | asked for minutes | found |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as directory:
        for count, symbols in SIZES:
            for name, taken in ticks(count, symbols, options.rounds, Path(directory)):
                print(_line(count, symbols, name, taken), flush=True)
    print(f"\n| tick at {SESSION_RATE} sessions a second | seconds | symbols that have had their minutes |")
    print("|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as directory:
        for number, (slow, served) in enumerate(slow_ticks(1_000, 500, Path(directory)), 1):
            print(f"| {number} | {slow.wall:.1f} | {served} of 500 |", flush=True)


def ticks(count: int, symbols: int, rounds: int, directory: Path) -> Iterator[tuple[str, list[Taken]]]:
    """The same tick so many times, each from a copy of the store as the first one has left it."""
    names = list(islice(rule_symbols(), symbols))
    rules: list[AlertRule] = []
    left = directory / f"{count}.sqlite"
    for name, later in MOMENTS.items():
        with market(NOW + later) as asked:
            prices = _warmed(asked, names)
            rules = rules or make_rules(count, prices)
            taken: list[Taken] = []
            for number in range(rounds):
                path = directory / f"{count} {name} {number}.sqlite"
                if name != "first":
                    shutil.copy(left, path)
                taken.append(tick(rules, AlertStore(path), asked))
                if name == "first":
                    shutil.copy(path, left)
        yield name, taken


def slow_ticks(count: int, symbols: int, directory: Path) -> Iterator[tuple[Taken, int]]:
    """Ticks one after the other until each symbol has had its minutes."""
    names = list(islice(rule_symbols(), symbols))
    with market(NOW, f"--session-rate={SESSION_RATE}") as asked:
        rules = make_rules(count, _prices(asked, names))
        store = AlertStore(directory / "slow.sqlite")
        for _ in range(MOST_TICKS):
            yield tick(rules, store, asked), len(asked.answered)
            if len(asked.answered) == symbols:
                return
            asked.now += 30.0


def tick(rules: Sequence[AlertRule], store: AlertStore, asked: Asked) -> Taken:
    """One tick, without targets."""
    started, spent = time.monotonic(), time.process_time()
    report = run_tick(rules, store, [], asked.gather, lambda: asked.now)
    if report.blind:
        raise RuntimeError(report.blind)
    wall, cpu = time.monotonic() - started, time.process_time() - spent
    return Taken(wall, asked.seconds, cpu, asked.wanted, len(report.found))


def make_rules(count: int, prices: Mapping[str, float]) -> list[AlertRule]:
    """Crossings within a tenth of the price, spread over all symbols."""
    dice, names = random.Random(3), list(prices)
    rules = []
    for number in range(count):
        symbol = names[number % len(names)]
        kind, level = dice.choice(("cross_up", "cross_down", "cross", "above")), prices[symbol] * dice.uniform(0.9, 1.1)
        fields = {"name": f"r{number}", "symbol": symbol, "kind": kind, "level": level, "cooldown_s": 0}
        rules.append(read_rule(fields))
    return rules


@contextmanager
def market(now: datetime, *options: str) -> Iterator[Asked]:
    """A market server at a moment that lasts."""
    command = [sys.executable, "-m", "tv_etl.market_server", "--port=0", "--http-port=0", f"--now={now.isoformat()}"]
    command += ["--speed=0", f"--latency-ms={LATENCY_MS}", *options]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield Asked(TradingViewResource(ws_url=server.stdout.readline().strip()), now.timestamp())
    finally:
        server.terminate()
        server.wait(30)


def _warmed(asked: Asked, names: Collection[str]) -> dict[str, float]:
    """The prices, once the market knows the bars that it will be asked for."""
    since = int(NOW.timestamp()) - 900
    list(asked.resource.alert_inputs({name: Ask(since) for name in names}))
    return _prices(asked, names)


def _prices(asked: Asked, names: Collection[str]) -> dict[str, float]:
    rounds = asked.resource.alert_inputs({name: Ask() for name in names}, lambda quotes, now: set())
    quotes = AlertInputs.joined(rounds).quotes
    prices = {
        name: quote.current_price
        for name, quote in quotes.items()
        if isinstance(quote, QuoteSymbolData) and quote.current_price is not None
    }
    if len(prices) < len(names):
        raise RuntimeError(f"{len(prices)} of {len(names)} symbols have a price")
    return prices


def _line(rules: int, symbols: int, name: str, taken: Sequence[Taken]) -> str:
    walls = [each.wall for each in taken]
    wall, inputs, cpu = (statistics.median(getattr(each, of) for each in taken) for of in ("wall", "inputs", "cpu"))
    spread = f"{wall:.2f} ({min(walls):.2f} to {max(walls):.2f})"
    figures = f"{spread} | {inputs:.2f} | {cpu:.2f} | {1e6 * cpu / rules:,.0f}"
    return f"| {rules:,} | {symbols} | {name} | {figures} | {taken[-1].wanted} | {taken[-1].found} |"


if __name__ == "__main__":
    main()
