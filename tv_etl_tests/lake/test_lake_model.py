"""Any sequence of fetches over a market ends with exactly that market's bars, the true gaps and the true revisions.

The market of this test has sessions with a break, minutes in which nobody trades, bars that are corrected later,
splits, and a server that forgets. The model is a dict of bars.
"""

import json
import random
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.collect.ask import Ask, Want, ask, backfill, increment, refetch
from tv_etl.collect.entry import enter_answer
from tv_etl.lake.bars import Bars
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.readjustment import MIN_BARS
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl.tradingview.trading_hours import TradingHours

SYMBOL, MINUTE = "X:Y", Interval.parse("1m")
SERIES, SETTINGS = Series(SYMBOL, MINUTE), SeriesSettings()
HOURS = {"session": "0900-1000,1100-1200", "timezone": "Etc/UTC"}
START = int(datetime(2026, 11, 16, tzinfo=timezone.utc).timestamp())  # a Monday
OPENS = TradingHours("0900-1000,1100-1200", "Etc/UTC").expected_between(MINUTE, START, START + 12 * 86_400).tolist()
WINDOW = 200

Values = tuple[float, ...]


@dataclass
class Market:
    """What the server would serve, and how that changes."""

    seed: int
    now: int = START + 86_400
    corrected: dict[int, float] = field(default_factory=dict)
    splits: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        dice = random.Random(self.seed)
        self.traded = [moment for moment in OPENS if dice.random() > 0.05]
        self.prices = {moment: [round(dice.uniform(80, 120), 2) for _ in range(2)] for moment in self.traded}

    def values(self, moment: int) -> Values:
        opened, closed = self.prices[moment]
        closed += self.corrected.get(moment, 0.0)
        ratio = 1.0
        for until, by in self.splits:
            ratio *= by if moment < until else 1.0
        prices = (opened, max(opened, closed) + 1, min(opened, closed) - 1, closed)
        return (*(round(price * ratio, 4) for price in prices), round(10_000 / ratio))

    def fetch(self, start: int, dice: random.Random) -> pa.Table:
        """The closed bars up to now as a fetch brings them: some twice, in any order."""
        closed = [moment for moment in self.traded if moment + 60 <= self.now]
        served = closed[-WINDOW:]
        is_limited = len(closed) > WINDOW and start < served[0]
        rows = [moment for moment in served if start <= moment]
        rows += dice.sample(rows, min(3, len(rows)))
        dice.shuffle(rows)
        facts: dict[str, Any] = {"forming_from": "", "trading_hours": json.dumps(HOURS)}
        facts["asked_from"] = served[0] if is_limited else start
        facts["asked_until"] = self.now - 59
        if is_limited:
            facts["window_bars"], facts["window_from"] = WINDOW, served[0]
        columns = [pa.array([moment * 1_000_000 for moment in rows]).cast(BAR_SCHEMA.field(0).type)]
        columns += [pa.array(column, pa.float64()) for column in zip(*map(self.values, rows), strict=True)] or [
            pa.array([], pa.float64())
        ] * 5
        metadata = {f"tv_etl.{key}": str(value) for key, value in facts.items()}
        schema = BAR_SCHEMA.with_metadata({**metadata, "fetch.rejected": "0"})
        return pa.Table.from_arrays(columns, schema=schema)


class Lake:
    """The store, driven as a run drives it, and the model of what it must hold."""

    def __init__(self, base: str, market: Market) -> None:
        self.market = market
        self.store = BarStore(base, clock=lambda: float(market.now))
        self.dice = random.Random(market.seed)
        self.model: dict[int, Values] = {}
        self.asked: set[int] = set()
        self.revised: list[int] = []
        self.basis: dict[int, int] = {}  # how many splits the values of a bar know of

    def collect(self, want: Want) -> None:
        asked = self.store.look(SERIES, lambda stored: ask(stored, want, self.market.now))
        for _ in range(3):
            if asked is None:
                return
            start = asked.request.start
            table = self.market.fetch(START if start is None else int(start.timestamp()), self.dice)
            entered = enter_answer(self.store, asked, table)
            if not isinstance(entered, Ask):
                self._judge(table)
                return
            asked = entered
        pytest.fail(f"{asked} does not join either")

    def _judge(self, table: pa.Table) -> None:
        times = sorted({moment.timestamp() for moment in table["timestamp"].to_pylist()})
        if not times and not self.model:
            return
        new = {int(moment): self.market.values(int(moment)) for moment in times}
        common = sorted(new.keys() & self.model.keys())
        # A split shows in what is fetched again; what lies beyond a hole that nobody can fill shares its fate.
        # One bar or two prove no split: then each of them is a revision.
        pending = self.market.splits[self.basis[common[0]] :] if len(common) >= MIN_BARS else []
        for until, ratio in pending:
            for moment, values in self.model.items():
                if moment < until:
                    self.model[moment] = (*(round(price * ratio, 4) for price in values[:4]), values[4] / ratio)
        for moment in self.model if pending else ():
            self.basis[moment] += len(pending)
        for moment, values in new.items():
            if moment in self.model and not close(self.model[moment], values):
                self.revised.append(moment)
            self.model[moment] = values
            self.basis[moment] = len(self.market.splits)
        metadata = table.schema.metadata
        asked = range(int(metadata[b"tv_etl.asked_from"]), int(metadata[b"tv_etl.asked_until"]))
        self.asked |= {moment for moment in OPENS if moment in asked}

    def check(self) -> None:
        rows = self.store.read(SYMBOL, MINUTE).to_pylist()
        stored = {int(row["timestamp"].timestamp()): tuple(row.values())[1:] for row in rows}
        assert sorted(stored) == sorted(self.model)
        found = Coverage(self.store.record(*SERIES), self.market.now)
        since = min(stored, default=0) if found.record.counted_from is None else found.record.counted_from
        assert all(close(stored[moment], values) for moment, values in self.model.items() if moment >= since)
        gaps = found.gaps(Bars.from_stored(self.store.read(*SERIES)).times)
        expected = [moment for moment in OPENS if since <= moment <= max(stored)] if stored else []
        missing = [moment for moment in expected if moment not in stored]
        assert sum(gap.bars for gap in gaps) == len(missing)
        for gap in gaps:
            inside = [moment for moment in OPENS if gap.first.timestamp() <= moment <= gap.last.timestamp()]
            assert set(inside) <= set(missing)
            assert gap.confirmed == (set(inside) <= self.asked)
        record = found.record
        empty = [moment for moment in missing if any(start <= moment < end for start, end in record.asked)]
        assert empty == [moment for moment in missing if moment in self.asked]
        assert all(moment not in self.market.prices for moment in empty), "the market had no such bar"
        assert (record.rows, record.gaps) == (len(stored), len(gaps))
        if record.seams:
            return  # what both sides had was replaced, and is no revision
        revised = [int(moment.timestamp()) for moment in self.store.revisions(SYMBOL, MINUTE)["timestamp"].to_pylist()]
        assert revised == self.revised
        assert record.revisions == len(revised)


def close(one: Values, other: Values) -> bool:
    """Equal to the rounding of prices that were rescaled here and there."""
    prices = all(abs(a - b) <= 0.0003 for a, b in zip(one[:4], other[:4], strict=True))
    return prices and abs(one[4] - other[4]) <= 0.01 * one[4]


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 5_000)),
    st.tuples(st.just("increment"), st.just(0)),
    st.tuples(st.just("backfill"), st.integers(0, 1_000_000)),
    st.tuples(st.just("correct"), st.integers(0, 1_000)),
    st.tuples(st.just("split"), st.sampled_from([25, 50, 200])),
)


@settings(max_examples=40)
@given(seed=st.integers(0, 1_000), steps=st.lists(STEPS, min_size=3, max_size=14))
def test_the_lake_ends_with_the_markets_bars_gaps_and_revisions(seed: int, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        market = Market(seed)
        lake = Lake(base, market)
        for step, number in [*steps, ("increment", 0)]:
            if step == "wait":
                market.now += 60 * number
            elif step == "increment":
                lake.collect(increment(SETTINGS, None))
            elif step == "backfill":
                start = START + number % (market.now - START)
                end = start + 3_600 * (1 + number % 30)
                lake.collect(backfill(SETTINGS, utc(start), utc(end)) if number % 2 else refetch(SETTINGS, utc(start)))
            elif step == "correct" and lake.model:
                # Found together with a split, a correction of the oldest bar that both have hides its ratio.
                lake.collect(increment(SETTINGS, None))
                moment = sorted(lake.model)[-1 - number % min(len(lake.model), 8)]
                market.corrected[moment] = market.corrected.get(moment, 0.0) + 0.5
                lake.collect(increment(SETTINGS, None))
            elif step == "split" and market.now < OPENS[-1] and set(lake.basis.values()) <= {len(market.splits)}:
                market.now = next(moment for moment in OPENS if moment > market.now) + 60
                market.splits.append((market.now - 60, number / 100))
        lake.check()
