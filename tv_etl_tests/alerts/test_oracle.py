"""The fold of random histories finds what somebody who saw every trade would have found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts.rules import Alert, AlertRule, AlertState, MinuteBar, QuoteNow, evaluate
from tv_etl_tests.alerts.test_rules import KINDS, START, SYMBOL, event_id, make_rule

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
    """One sensor evaluation: when, and what went wrong with it."""

    after_s: int
    bars_lag_s: int
    quote_lag_s: int
    fails: bool
    quoted: bool
    timed: bool
    keeps_bars: int | None
    crashes: bool


VISITS = st.builds(
    Visit,
    after_s=st.integers(1, 240),
    bars_lag_s=st.integers(0, 59),
    quote_lag_s=st.integers(0, 59),
    fails=st.integers(0, 4).map(lambda n: n == 4),
    quoted=st.booleans(),
    timed=st.booleans(),
    keeps_bars=st.one_of(st.none(), st.none(), st.integers(0, 3)),
    crashes=st.booleans(),
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


class Sensor:
    """Feeds an evaluation as the sensor does, loses cursors, and keeps every alert in an outbox."""

    def __init__(self, rule: AlertRule, trades: Sequence[Trade], delay_s: int) -> None:
        self.rule, self.trades, self.delay_s = rule, trades, delay_s
        self.cursor = AlertState().encode()
        self.outbox: dict[str, Alert] = {}
        self.created: tuple[float, float | None] | None = None

    def visible(self, now: float, lag_s: int) -> list[Trade]:
        return [trade for trade in self.trades if trade.time_s <= now - self.delay_s - lag_s]

    def fetch(self, visit: Visit, now: float, state: AlertState) -> tuple[list[MinuteBar], QuoteNow | None]:
        watermark = state.watermark(SYMBOL) or 0
        bars = [] if visit.fails else bars_of(self.visible(now, visit.bars_lag_s))
        bars = [b for b in bars if b.timestamp >= watermark][: visit.keeps_bars]
        last = self.visible(now, visit.quote_lag_s)[-1:]
        if not last or not visit.quoted:
            return bars, None
        # A quote that does not say when it was traded is taken for a fresh one: then it must be.
        timed = visit.timed or last[0].time_s // 60 != (now - self.delay_s) // 60
        quote = QuoteNow(last[0].price, last[0].time_s if timed else None)
        return bars, quote

    def evaluate(self, visit: Visit, now: float) -> tuple[AlertState, list[MinuteBar], QuoteNow | None]:
        state = AlertState.decode(self.cursor)
        bars, quote = self.fetch(visit, now, state)
        quotes = {} if quote is None else {SYMBOL: quote}
        delays = {SYMBOL: float(self.delay_s)}
        alerts, after = evaluate([self.rule], state, {SYMBOL: bars} if bars else {}, quotes, now, delays_s=delays)
        creates = self.created is None and bool(bars or (quote and self.rule.kind in ("above", "below")))
        if creates:
            price = quote.price if quote else bars[-1].close
            self.created = now - self.delay_s, price
        self.outbox |= {alert.event_id: alert for alert in alerts if alert.event_id not in self.outbox}
        if creates or not visit.crashes:  # what a crash in the first sight of a rule means is a test of its own
            self.cursor = after.encode()
        return after, bars, quote


def trades_of(moves: Sequence[tuple[int, float]]) -> list[Trade]:
    trades, time_s = [], START
    for step, price in moves:
        time_s += step
        trades.append(Trade(time_s, price))
    return trades


@settings(max_examples=600, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, max_size=20), st.sampled_from([0, 0, 900]))
def test_every_crossing_fires_once_and_nothing_else_does(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit], delay_s: int
) -> None:
    trades = trades_of(moves)
    sensor = Sensor(rule, trades, delay_s)
    now = float(START + delay_s)
    for visit in visits:
        now += visit.after_s
        sensor.evaluate(visit, now)
    now = max(now, trades[-1].time_s + delay_s)
    for _ in range(2):
        now += 200
        sensor.evaluate(Visit(0, 0, 0, False, False, True, None, False), now)
    assert sensor.created is not None
    epochs = Oracle(rule, *sensor.created).watch(trades)
    assert set(sensor.outbox) == {event_id(rule, epoch) for epoch in epochs}


@settings(max_examples=300, deadline=None)
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
        after, bars, quote = sensor.evaluate(visit, now)
        watermark = after.watermark(SYMBOL)
        if sensor.created is None or sensor.created[0] == now or watermark is None:
            continue
        oracle = Oracle(rule, *sensor.created)
        if watermark < oracle.since - 60 and rule.kind not in ("above", "below"):
            continue  # minutes before the rule's creation are still open
        last_visible = now - visit.bars_lag_s if bars and visit.keeps_bars is None else watermark + 59
        known = [trade for trade in trades if trade.time_s <= max(last_visible, watermark + 59)]
        if quote is not None and quote.time_s is not None and quote.time_s > (known[-1].time_s if known else 0):
            known.append(Trade(int(quote.time_s), quote.price))
        expected = oracle.watch(known, arming_before=watermark + 60)
        assert {event_id(rule, epoch) for epoch in expected} <= set(sensor.outbox)


@settings(max_examples=200, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.integers(0, 600))
def test_after_a_lost_cursor_crossings_since_the_start_of_the_lookback_are_found(
    rule: AlertRule, moves: list[tuple[int, float]], since_s: int
) -> None:
    trades = trades_of(moves)
    since = (START + since_s) // 60 * 60
    now = max(trades[-1].time_s, since) + 200.0
    alerts, state = evaluate([rule], AlertState.recovering(START + since_s), {SYMBOL: bars_of(trades)}, {}, now)
    assert alerts == []
    state = AlertState.decode(state.encode())
    assert state.watermark(SYMBOL) == since - 60
    found, _ = evaluate([rule], state, {SYMBOL: bars_of(trades)}, {}, now + 30)
    oracle = Oracle(rule, since, None)
    oracle.up = oracle.down = None
    epochs = oracle.watch([trade for trade in trades if trade.time_s >= since])
    assert [alert.event_id for alert in found] == [event_id(rule, epoch) for epoch in epochs]
