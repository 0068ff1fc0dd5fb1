"""The fold of random histories finds what somebody who saw every trade would have found."""

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts import fold
from tv_etl.alerts.fold import MinuteBar, QuoteNow, Reach, needs_minutes
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Registered, Registry
from tv_etl_tests.alerts.test_fold import KINDS, START, SYMBOL, make_rule

# --- the oracle ---------------------------------------------------------------------------------------------


class Trade(NamedTuple):
    time_s: int
    price: float


class Oracle:
    """Watches trades one by one; knows no bars, no quotes, no commits."""

    def __init__(self, rule: AlertRule, created_at: float, price_at_creation: float | None) -> None:
        self.rule = rule
        self.since = int(created_at // 60 * 60)
        self.epochs: list[int] = []
        self.up: int | None = None
        self.down: int | None = None
        self.spent = False
        self.reported_at: int | None = None
        if rule.kind == "above":
            self.up = 0
            if price_at_creation is not None and price_at_creation >= rule.level:
                self.fire(0, self.since)
        if rule.kind == "below":
            self.down = 0
            if price_at_creation is not None and price_at_creation <= rule.level:
                self.fire(0, self.since)

    def fire(self, epoch: int, minute: int) -> None:
        self.up = self.down = None
        expired = self.rule.expires_at is not None and minute >= self.rule.expires_at.timestamp()
        if minute < self.since or expired:
            return
        self.spent = self.rule.once
        if self.reported_at is None or minute >= self.reported_at + self.rule.cooldown_s:
            self.reported_at = minute
            self.epochs.append(epoch)

    def watch(self, trades: Sequence[Trade], arming_before: float = float("inf")) -> list[int]:
        """Epochs of the fires; minutes from `arming_before` on have not closed yet, as far as one knows."""
        if self.rule.kind in ("above", "below"):
            trades = [trade for trade in trades if trade.time_s >= self.since]
        for index, trade in enumerate(trades):
            minute = trade.time_s // 60 * 60
            if self.up is not None and trade.price >= self.rule.level:
                self.fire(self.up, minute)
            elif self.down is not None and trade.price <= self.rule.level:
                self.fire(self.down, minute)
            closes = index + 1 == len(trades) or trades[index + 1].time_s // 60 * 60 > minute
            if closes and minute < arming_before:
                self.close(minute, trade.price)
        return self.epochs

    def close(self, minute: int, price: float) -> None:
        if self.spent or self.up is not None or self.down is not None:
            return
        margin = self.rule.hysteresis
        low, high = self.rule.level - margin, self.rule.level + margin
        if self.rule.kind in ("above", "cross_up", "cross") and (price < low or (margin > 0 and price == low)):
            self.up = minute
        if self.rule.kind in ("below", "cross_down", "cross") and (price > high or (margin > 0 and price == high)):
            self.down = minute


def bars_of(trades: Sequence[Trade]) -> list[MinuteBar]:
    minutes: dict[int, list[float]] = {}
    for trade in trades:
        minutes.setdefault(trade.time_s // 60 * 60, []).append(trade.price)
    return [MinuteBar(minute, p[0], max(p), min(p), p[-1]) for minute, p in minutes.items()]


# --- random histories -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One sensor evaluation: when, what became of the rule before it, and what went wrong with it."""

    after_s: int
    bars_lag_s: int = 0
    quote_lag_s: int = 0
    fails: bool = False
    quoted: bool = True
    timed: bool = True
    keeps_bars: int | None = None
    dies: bool = False
    turn: str = "stays"


VISITS = st.builds(
    Visit,
    after_s=st.integers(1, 240),
    bars_lag_s=st.integers(0, 59),
    quote_lag_s=st.integers(0, 59),
    fails=st.integers(0, 4).map(lambda n: n == 4),
    quoted=st.booleans(),
    timed=st.booleans(),
    keeps_bars=st.one_of(st.none(), st.none(), st.integers(0, 3)),
    dies=st.integers(0, 3).map(lambda n: n == 3),
    turn=st.sampled_from(["stays"] * 12 + ["removed", "again", "edited", "edited back", "the store is lost"]),
)
MOVES = st.tuples(st.integers(0, 90), st.sampled_from([7.0, 8.0, 9.0, 9.5, 10.0, 10.5, 11.0, 12.0, 13.0]))
RULES = st.builds(
    make_rule,
    kind=st.sampled_from(KINDS),
    hysteresis=st.sampled_from([0.0, 0.0, 1.0, 2.0]),
    once=st.integers(0, 3).map(lambda n: n == 3),
    cooldown_s=st.sampled_from([0.0, 0.0, 90.0, 300.0]),
    expires_at=st.sampled_from([None, None, datetime.fromtimestamp(START + 777, timezone.utc)]),
)
SESSION_S = 1800  # a short trading day: a quote tells the prices of its own


class Watch:
    """A rule from its registration to its removal, and somebody who saw every trade meanwhile."""

    def __init__(self, registered: Registered) -> None:
        self.registered = registered
        self.created: tuple[float, float | None] | None = None
        self.oracle: Oracle | None = None
        self.first_minute = 0
        self.committed: int | None = None

    def begin(self, now: float, price: float | None, state: AlertState, is_first: bool) -> None:
        """At its creation; one that is not the first of its symbol takes over from the closes at hand."""
        self.created = now, price
        self.oracle = Oracle(self.registered.rule, now, price)
        if is_first:
            return
        arming, watermark = state.armings[self.registered.key], state.watermark(SYMBOL)
        if not self.registered.rule.is_armed_at_creation:
            self.oracle.up = None if arming.falling else arming.armed_at
            self.oracle.down = arming.armed_at if arming.falling else None
            self.first_minute = 0 if watermark is None else watermark + 60

    def expected(self, trades: Sequence[Trade], arming_before: float = float("inf")) -> set[str]:
        if self.oracle is None:
            return set()
        watched = copy(self.oracle)
        watched.epochs = list(self.oracle.epochs)
        epochs = watched.watch([each for each in trades if each.time_s >= self.first_minute], arming_before)
        return {fold.event_id(self.registered, epoch) for epoch in epochs}


class Sensor:
    """Evaluates as a tick does: all that it remembers is written at once or, where it dies, not at all."""

    def __init__(self, rule: AlertRule, trades: Sequence[Trade], delay_s: int, asks_always: bool = False) -> None:
        self.rule, self.trades, self.delay_s, self.asks_always = rule, trades, delay_s, asks_always
        self.is_listed = True
        self.registry, self.state = Registry(), AlertState()
        self.told: list[str] = []
        self.watches: dict[int, Watch] = {}

    def visible(self, now: float, lag_s: int) -> list[Trade]:
        return [trade for trade in self.trades if trade.time_s <= now - self.delay_s - lag_s]

    def fetch(self, visit: Visit, now: float) -> tuple[list[MinuteBar], QuoteNow | None, Reach | None]:
        known = self.state.symbol(SYMBOL)
        since = known.closes[0].time if known.closes else known.watermark or 0
        bars = [] if visit.fails else bars_of(self.visible(now, visit.bars_lag_s))
        bars = [bar for bar in bars if bar.timestamp >= since][: visit.keeps_bars]
        last = self.visible(now, visit.quote_lag_s)[-1:]
        if not last or not visit.quoted:
            return bars, None, None
        # A quote that does not say when it was traded is taken for a fresh one: then it must be.
        timed = visit.timed or last[0].time_s // 60 != (now - self.delay_s) // 60
        opened_at = last[0].time_s // SESSION_S * SESSION_S
        prices = [trade.price for trade in self.visible(now, visit.quote_lag_s) if trade.time_s >= opened_at]
        reach = Reach(opened_at, min(prices), max(prices)) if timed else None
        return bars, QuoteNow(last[0].price, last[0].time_s if timed else None), reach

    def turn(self, turn: str) -> None:
        """What somebody does to the watchlist, or what happens to the store."""
        if turn == "the store is lost":
            self.registry, self.state = Registry(), AlertState()
        if turn in ("removed", "again"):
            self.is_listed = turn == "again"
        if turn in ("edited", "edited back"):
            self.rule = self.rule.model_copy(update={"level": 10.5 if turn == "edited" else 10.0})

    def evaluate(self, visit: Visit, now: float) -> tuple[Watch | None, list[MinuteBar], QuoteNow | None]:
        self.turn(visit.turn)
        bars, quote, reach = self.fetch(visit, now)
        rules = [self.rule] if self.is_listed else []
        registry = self.registry.register(rules, now)
        registered = registry.registered(rules)
        feed_now = now - self.delay_s
        is_wanted = self.asks_always or needs_minutes(registered, self.state, SYMBOL, quote, reach, feed_now)
        symbol_bars = {SYMBOL: bars} if bars and is_wanted else {}
        quotes = {} if quote is None else {SYMBOL: quote}
        before = AlertState(
            {each.key: self.state.armings[each.key] for each in registered if each.key in self.state.armings},
            self.state.symbols,
        )
        folded = fold.evaluate(registered, before, symbol_bars, quotes, now, delays_s={SYMBOL: float(self.delay_s)})
        assert folded.broken == []
        if visit.dies:
            return None, bars, quote
        is_first = SYMBOL not in self.state.symbols and bool(symbol_bars)
        self.registry, self.state = registry, folded.state
        self.told += [alert.event_id for alert in folded.alerts]
        for each in registered:
            watch = self.watches.setdefault(each.generation, Watch(each))
            if each.key in folded.state.armings and watch.created is None:
                known = dict(before.symbol(SYMBOL).closes) | {
                    bar.timestamp: bar.close for bar in symbol_bars.get(SYMBOL, [])
                }
                price = quote.price if quote else known[max(known)]
                watch.begin(feed_now, price, folded.state, is_first)
            watch.committed = folded.state.watermark(SYMBOL)
            return watch, bars if is_wanted else [], quote
        return None, bars, quote


def trades_of(moves: Sequence[tuple[int, float]]) -> list[Trade]:
    trades, time_s = [], START
    for step, price in moves:
        time_s += step
        trades.append(Trade(time_s, price))
    return trades


def settle(sensor: Sensor, now: float, quoted: bool) -> float:
    """Evaluate until all trades are committed."""
    now = max(now, sensor.trades[-1].time_s + sensor.delay_s)
    for _ in range(3):
        now += 200
        sensor.evaluate(Visit(0, quoted=quoted), now)
    return now


HISTORIES = int(os.environ.get("TV_ETL_HISTORIES", "400"))


@settings(max_examples=HISTORIES, deadline=None)
@given(
    RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, max_size=20), st.sampled_from([0, 0, 900]),
    st.booleans(),
)  # fmt: skip
def test_every_crossing_is_told_once_and_nothing_else_is(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit], delay_s: int, quoted: bool
) -> None:
    """Whatever is removed, added again, edited, edited back or lost, and however little is asked for."""
    trades = trades_of(moves)
    sensor = Sensor(rule, trades, delay_s)
    now = float(START + delay_s)
    for visit in visits:
        now += visit.after_s
        sensor.evaluate(visit, now)
    sensor.turn("again")
    now = settle(sensor, now, quoted)
    assert len(sensor.told) == len(set(sensor.told))
    *retired, last = sensor.watches.values()
    assert last.oracle is not None or rule.has_expired(int(now) - delay_s)
    by_watch = {watch.registered.generation: watch.expected(trades) for watch in sensor.watches.values()}
    assert set(sensor.told) <= set[str]().union(*by_watch.values())
    assert by_watch[last.registered.generation] <= set(sensor.told)
    for watch in retired:
        if watch.committed is not None:
            until = watch.committed + 60
            known = [trade for trade in trades if trade.time_s < until]
            assert watch.expected(known, until) <= set(sensor.told)


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, min_size=1, max_size=20))
def test_a_visible_touch_of_a_committed_arming_is_reported_by_that_evaluation(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit]
) -> None:
    rule = rule.model_copy(update={"cooldown_s": 0.0})  # a cooldown may hold a touch back until its commit
    trades = trades_of(moves)
    sensor = Sensor(rule, trades, 0)
    now = float(START)
    for visit in visits:
        now += visit.after_s
        watch, bars, quote = sensor.evaluate(visit, now)
        watermark = sensor.state.watermark(SYMBOL)
        if watch is None or watch.created is None or watch.created[0] == now or watermark is None:
            continue
        assert watch.oracle is not None
        if watermark < watch.oracle.since - 60 and rule.kind not in ("above", "below"):
            continue  # minutes before the rule's creation are still open
        last_visible = now - visit.bars_lag_s if bars and visit.keeps_bars is None else watermark + 59
        known = [trade for trade in trades if trade.time_s <= max(last_visible, watermark + 59)]
        if quote is not None and quote.time_s is not None and quote.time_s > (known[-1].time_s if known else 0):
            known.append(Trade(int(quote.time_s), quote.price))
        assert watch.expected(known, arming_before=watermark + 60) <= set(sensor.told)


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, max_size=20), st.booleans())
def test_asking_for_fewer_minutes_changes_no_event(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit], quoted: bool
) -> None:
    """Beside a sensor that always asks for all of them."""
    trades = trades_of(moves)
    sparing, asking = Sensor(rule, trades, 0), Sensor(rule, trades, 0, asks_always=True)
    now = float(START)
    for visit in visits:
        now += visit.after_s
        sparing.evaluate(visit, now)
        asking.evaluate(visit, now)
    for sensor in (sparing, asking):
        sensor.turn("again")
        settle(sensor, now, quoted)
    assert sorted(sparing.told) == sorted(asking.told)
