"""Whatever a market does and whatever is asked of it, a stored bar is the market's, or a seam says that it may not be.

The market of this oracle trades in minutes. It splits, at once or weeks late, pays dividends, corrects and withdraws
bars, anchors them anew, gives its ticker to another instrument, and forgets what is older than its window. Who collects
from it is killed, fails and tries again, works beside somebody else, changes the series' name, and imports what was
exported once.
"""

import math
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.collect.ask import Ask, Want, backfill, increment, newest, refetch, refetch_stored
from tv_etl.collect.collection import Failed, Stored, carry_out, plan
from tv_etl.collect.entry import enter_table
from tv_etl.collect.renaming import Moved, rename_symbol
from tv_etl.lake.errors import NotJoinedError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import SERIES, SETTINGS, Rows, at, second, table
from tv_etl_tests.patience import HANG_S

COUNT = 2_000
WINDOW = 400


@dataclass
class Market:
    """What would be served, and how that changes; bars are counted by minutes."""

    seed: int
    now: int = 300
    begins: int = 0  # of the instrument that has the ticker
    factors: list[tuple[int, float, float]] = field(default_factory=list)  # before a bar: of prices, of volumes
    corrected: dict[int, float] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    anchor: int = 0  # seconds after the minute at which bars open
    failures: int = 0  # so many requests are not answered

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._issue(self.dice.choice([2.0, 20.0, 180.0]))

    def _issue(self, level: float) -> None:
        self.closes = [level]
        for _ in range(COUNT):
            self.closes.append(self.closes[-1] * (1 + self.dice.gauss(0, 0.004)))
        self.volumes = [self.dice.randrange(10_000, 1_000_000) for _ in range(COUNT)]
        self.wicks = [self.dice.uniform(0.0, 0.004) for _ in range(COUNT)]

    def row(self, number: int) -> tuple[float, ...]:
        opened, close = self.closes[number], self.closes[number + 1] * (1 + self.corrected.get(number, 0.0))
        wick = self.wicks[number]
        prices = [opened, max(opened, close) * (1 + wick), min(opened, close) * (1 - wick), close]
        price_factor = volume_factor = 1.0
        for until, by, volume_by in self.factors:
            if number < until:
                price_factor, volume_factor = price_factor * by, volume_factor * volume_by
        rounded = (round(price * price_factor, 2) for price in prices)
        return (second(number) + self.anchor, *rounded, float(round(self.volumes[number] * volume_factor)))

    def served(self, start: int | None = None) -> Rows:
        first = max(self.begins, self.now - WINDOW, start or 0)
        return [self.row(number) for number in range(first, self.now) if number not in self.withdrawn]

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request in requests:
            if self.failures:
                self.failures -= 1
                yield request, ConnectionFailedError("connection lost")
                continue
            start = None if request.start is None else int(request.start.timestamp() - second(0)) // 60
            rows = self.served(start)
            if request.bars_count is not None:
                end = float("inf") if request.end is None else request.end.timestamp()
                older = sum(row[0] < end for row in rows)
                rows = rows[max(0, older - request.bars_count) :]
            yield request, self.table(rows)

    def table(self, rows: Rows) -> pa.Table:
        span = {"asked_from": int(rows[0][0]), "asked_until": second(self.now)} if rows else {}
        return table(rows, adjustment="dividends", **span)


class Lake:
    def __init__(self, base: str, market: Market) -> None:
        self.market = market
        self.store = BarStore(base, clock=lambda: float(second(market.now)))
        self.series = SERIES
        self.exported: list[Rows] = []
        self.is_stale = False  # something changed since the last answer
        self.is_hidden = False  # something changed that only an audit is shown

    def planned(self, want: Want) -> list[Ask]:
        found = []
        for step in plan(self.store, [(self.series, want)], second(self.market.now)):
            if isinstance(step, Failed):
                raise step.error
            if isinstance(step, Ask):
                found.append(step)
        return found

    def carry_out(self, asks: list[Ask], answered: dict[HistoryRequest, HistoryResult]) -> None:
        """Fetch and store; what was answered before is not asked again."""

        def fetch(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
            for request in requests:
                early = answered.pop(request, None)
                yield from [early] if early is not None else self.market.fetch([request])

        before = self.store.record(*self.series).rows
        for step in carry_out(self.store, asks, fetch):
            if isinstance(step, Failed):
                raise step.error
            if isinstance(step, Stored):
                commit, given_rows = step.commit, step.answer.num_rows
                self.is_stale = bool(answered)
                replaced = 0 if commit.seam is None else commit.seam.replaced
                assert commit.added + commit.changed + commit.unchanged + replaced == given_rows
                left = sum(self.store.withdrawn(*self.series)["has_left"].to_pylist())
                assert before + commit.added - left <= commit.rows <= before + commit.added

    def collect(self, want: Want) -> None:
        self.carry_out(self.planned(want), {})

    def collect_beside_another(self, want: Want, other: Want) -> None:
        """Both plan, and the other one's answer comes first; between the two the market goes on."""
        mine, others = self.planned(want), self.planned(other)
        answered = {request: (request, result) for request, result in self.market.fetch(ask.request for ask in mine)}
        self.market.now += 2
        self.carry_out(others, {})
        self.carry_out(mine, dict(answered))

    def collect_and_be_killed(self, want: Want, renames: int) -> None:
        """In a process of its own, which ends where it would move its so manieth file into place."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads are not needed in the child
            child = os.fork()
        if not child:
            left = renames

            def end(event: str, _: object) -> None:
                nonlocal left
                if event == "os.rename":
                    left -= 1
                    if left < 0:
                        os._exit(0)

            sys.addaudithook(end)
            try:
                self.collect(want)
            finally:
                os._exit(0)
        limit = time.monotonic() + HANG_S
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            assert time.monotonic() < limit, "the child hangs"
            time.sleep(0.001)

    def rename(self) -> None:
        new, record = Series.of(f"{self.series.symbol}N", "1m"), self.store.record(*self.series)
        if record.periods and record.open_seam is None:
            before = self.store.read(*self.series)
            [moved] = rename_symbol(self.store, self.series.symbol, new.symbol)
            assert isinstance(moved, Moved)
            assert self.store.read(*new) == before
            assert self.store.series() == [new]
            self.series = new

    def enter(self, rows: Rows) -> None:
        """What somebody else has of the market, or had."""
        if rows:
            try:
                given = table(rows, adjustment="dividends")
                enter_table(self.store, self.series, given, provenance="chart.csv")
            except NotJoinedError:
                return  # nothing was stored

    def check(self) -> None:
        record = self.store.record(*self.series)
        since = 0 if record.counted_from is None else record.counted_from
        rescalings = len(record.readjustments) + sum(bool(each.scaled) for each in record.imported)
        wrong, last = [], 0
        for row in self.store.read(*self.series).to_pylist():
            time, values = int(row["timestamp"].timestamp()), list(row.values())[1:]
            number = (time - second(0)) // 60
            is_gone = number < self.market.now - WINDOW
            if time < since or number in self.market.withdrawn or (is_gone and number in self.market.corrected):
                continue  # what was corrected may have left the window before anybody looked
            assert time - last >= 60, "what was traded twice is not counted twice"
            last = time
            exact = self.market.row(number)[1:]
            scale = math.prod(max(1.0, by, 1 / by) for _, by, _ in self.market.factors)
            tolerance = 0.0101 * (1 + rescalings) * scale
            is_close = all(abs(one - other) <= tolerance for one, other in zip(values[:4], exact[:4], strict=True))
            if not is_close or abs(values[4] - exact[4]) > 2 + 0.001 * exact[4]:
                wrong.append((number, values, exact))
        assert not wrong, (len(wrong), wrong[:3], record.readjustments, record.seams)


NUMBERS = st.integers(0, COUNT)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["wait", "wait", "increment", "increment", "backfill", "refetch", "newest", "audit", "import", "pause",
             "split", "late split", "dividend", "both", "correct", "withdraw", "reuse", "re-anchor",
             "kill", "fail", "beside", "rename", "export", "import exported"]
        ),
        NUMBERS,
    ),
    min_size=2,
    max_size=12,
)  # fmt: skip
SPLITS = [1 / 2, 1 / 4, 2 / 3, 1 / 10, 5.0]


def change(market: Market, lake: Lake, kind: str, number: int) -> None:
    """Something that the market does."""
    if kind in ("split", "dividend", "both"):
        split = 1.0 if kind == "dividend" else SPLITS[number % len(SPLITS)]
        dividend = 1.0 if kind == "split" else 1 - (1 + number % 30) / 1_000
        market.factors.append((market.now, split * dividend, 1 / split))
        market.now += 3
    elif kind == "late split":
        split = SPLITS[number % len(SPLITS)]
        market.factors.append((max(market.begins, market.now - 20 - number % 200), split, 1 / split))
        lake.is_hidden = True
    elif kind == "correct":
        oldest = max(market.begins, market.now - WINDOW)
        market.corrected[oldest + number % (market.now - oldest)] = 0.003 * (1 + number % 5)
        lake.is_hidden = True
        lake.exported = []
    elif kind == "re-anchor":
        market.anchor = 30 - market.anchor
    elif kind == "withdraw":
        market.withdrawn.add(market.now - 2 - number % 100)
    elif kind == "reuse":
        market.begins, market.factors = market.now, []
        market._issue(market.dice.choice([3.0, 40.0, 400.0]))
        market.now += 40


def play(seed: int, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        market = Market(seed)
        lake = Lake(directory, market)
        for kind, number in [*steps, ("increment", 0), ("audit", 0)]:
            if market.now > COUNT - 600:
                break
            start = number % market.now
            wants = {
                "increment": partial(increment, SETTINGS, 50 + number % 300),
                "backfill": partial(backfill, SETTINGS, at(start), at(start + 30)),
                "refetch": partial(refetch, SETTINGS, at(start)),
                "newest": partial(newest, SETTINGS, 1 + number % 300, at(start)),
                "audit": partial(refetch_stored, SETTINGS, 50),
            }
            if kind in ("wait", "pause"):
                market.now += 1 + number % 60 if kind == "wait" else WINDOW + number % 50
                continue
            if kind in wants:
                lake.collect(wants[kind]())
                lake.is_hidden &= kind != "audit"
            elif kind == "beside":
                lake.collect_beside_another(wants["increment"](), wants["refetch"]())
            elif kind == "kill":
                lake.collect_and_be_killed(wants["refetch"](), number % 6)
                lake.is_stale = True
                continue
            elif kind == "fail":
                market.failures = 1
                with suppress(ConnectionFailedError):
                    lake.collect(wants["increment"]())
                market.failures = 0
            elif kind == "rename":
                lake.rename()
            elif kind == "import":
                lake.enter(market.served(start)[:40])
            elif kind == "export":
                lake.exported.append(market.served(start)[:100])
            elif kind == "import exported":
                for rows in lake.exported[-1:]:
                    lake.enter(rows)
            else:
                change(market, lake, kind, number)
                lake.is_stale = True
                continue
            if not (lake.is_hidden or lake.is_stale):
                lake.check()


@settings(max_examples=80)
@given(seed=st.integers(0, 10_000), steps=STEPS)
def test_a_stored_bar_is_the_markets_or_a_seam_says_that_it_may_not_be(seed: int, steps: list[tuple[str, int]]) -> None:
    play(seed, steps)
