"""The fold against an oracle that watches every trade, and each row of the truth table by itself."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tv_etl.alerts import Alert, AlertRule, AlertState, Kind, MinuteBar, QuoteNow, evaluate

SYMBOL = "NASDAQ:AAPL"
START = 1_790_000_040  # opens a minute
LEVEL = 10.0
KINDS: tuple[Kind, ...] = ("above", "below", "cross_up", "cross_down", "cross")


def make_rule(kind: Kind = "cross_up", **changes: Any) -> AlertRule:
    fields = {"name": "r", "symbol": SYMBOL, "kind": kind, "level": LEVEL} | changes
    return AlertRule.model_validate(fields)


def bar(minute: int, open_: float, high: float, low: float, close: float) -> MinuteBar:
    return MinuteBar(START + 60 * minute, open_, high, low, close)


def flat(minute: int, price: float) -> MinuteBar:
    return bar(minute, price, price, price, price)


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


def event_id(rule: AlertRule, epoch: int) -> str:
    parts = [rule.name, rule.revision, 0 if rule.once else epoch]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


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


# --- the truth table ------------------------------------------------------------------------------------------


def state_after(rule: AlertRule, *bars: MinuteBar) -> AlertState:
    """A state in which all these bars are committed and none of them was before the rule."""
    _, state = evaluate([rule], AlertState.recovering(START), {}, {}, START)
    return evaluate([rule], state, {SYMBOL: bars}, {}, START + 60 * 1000)[1] if bars else state


def commit(rule: AlertRule, state: AlertState, *bars: MinuteBar) -> tuple[list[Alert], AlertState]:
    return evaluate([rule], state, {SYMBOL: bars}, {}, START + 60 * 1000)


def is_armed(rule: AlertRule, state: AlertState) -> bool:
    return bool(commit(rule, state, bar(900, LEVEL, LEVEL, LEVEL, LEVEL))[0])


UNARMED = (flat(0, 11),)
ARMED = (flat(0, 9),)


@pytest.mark.parametrize(
    ("before", "now", "fires", "armed"),
    [
        pytest.param(UNARMED, flat(1, 12), 0, False, id="unarmed, close not far: stays so"),
        pytest.param(UNARMED, bar(1, 11, 12, 8, 9), 0, True, id="unarmed, touch before a far close: arms only"),
        pytest.param(ARMED, flat(1, 9.5), 0, True, id="armed, no touch: stays armed"),
        pytest.param(ARMED, bar(1, 9, 11, 9, 10.5), 1, False, id="armed, touch and near close: fires"),
        pytest.param(ARMED, bar(1, 9, 10, 9, 10), 1, False, id="exactly the level touches and does not re-arm"),
        pytest.param(ARMED, bar(1, 9, 11, 8, 8), 1, True, id="armed, touch and far close: fires and re-arms"),
        pytest.param(ARMED, flat(1, 12), 1, False, id="gap over the level: fires"),
    ],
)
def test_a_final_minute_of_a_rising_rule(before: Any, now: MinuteBar, fires: int, armed: bool) -> None:
    rule = make_rule("cross_up")
    alerts, state = commit(rule, state_after(rule, *before), now)
    assert (len(alerts), is_armed(rule, state)) == (fires, armed)


@pytest.mark.parametrize(("close", "armed"), [(8.0, True), (7.9, True), (8.1, False), (9.9, False), (10.0, False)])
def test_the_dead_band_does_not_rearm(close: float, armed: bool) -> None:
    rule = make_rule("cross_up", hysteresis=2.0)
    alerts, state = commit(rule, state_after(rule, flat(0, 8)), bar(1, 9, 11, close, close))
    assert (len(alerts), is_armed(rule, state)) == (1, armed)


def test_a_young_minute_fires_once_and_its_commit_does_not_repeat_it() -> None:
    rule = make_rule()
    state = state_after(rule, *ARMED)
    young = bar(1, 9, 11, 9, 11)
    early, state = evaluate([rule], state, {SYMBOL: [young]}, {}, START + 70)
    again, state = evaluate([rule], state, {SYMBOL: [young]}, {}, START + 100)
    late, state = commit(rule, state, young)
    assert ([a.event_id for a in early], again, late) == ([event_id(rule, START)], [], [])
    assert not is_armed(rule, state)


def test_a_young_minute_does_not_rearm() -> None:
    rule = make_rule()
    state = state_after(rule, *UNARMED)
    bars = [flat(1, 9), flat(2, 11)]
    alerts, state = evaluate([rule], state, {SYMBOL: bars}, {SYMBOL: QuoteNow(11, START + 121)}, START + 125)
    assert alerts == []
    assert [a.touched_at for a in commit(rule, state, *bars)[0]] == [START + 120]


def test_the_quote_and_the_bar_it_belongs_to_are_one_alert() -> None:
    rule = make_rule()
    before = state_after(rule, *ARMED)
    by_quote, _ = evaluate([rule], before, {}, {SYMBOL: QuoteNow(10.4, START + 65.5)}, START + 70)
    by_bar, _ = commit(rule, before, bar(1, 9, 11, 9, 11))
    assert by_quote[0].event_id == by_bar[0].event_id
    assert (by_quote[0].price, by_quote[0].touched_at) == (10.4, START + 65)
    assert (by_bar[0].price, by_bar[0].touched_at) == (10.0, START + 60)


def test_a_spent_rule_stays_silent() -> None:
    rule = make_rule(once=True)
    first, state = commit(rule, state_after(rule, *ARMED), flat(1, 11), flat(2, 9))
    assert len(first) == 1
    assert not is_armed(rule, state)


def test_of_a_new_crossing_rule_the_last_close_decides() -> None:
    rule = make_rule()
    now = START + 3600.0
    alerts, state = evaluate([rule], AlertState(), {SYMBOL: [flat(0, 11), flat(1, 9)]}, {}, now)
    assert alerts == []
    gapped = MinuteBar(START + 3600, 12, 12, 12, 12)
    alerts, _ = evaluate([rule], state, {SYMBOL: [flat(1, 9), gapped]}, {}, now + 600)
    assert [(a.price, a.touched_at) for a in alerts] == [(12, START + 3600)]


def test_crossings_before_the_rule_existed_are_not_reported() -> None:
    rule = make_rule()
    bars = [flat(0, 9), flat(1, 11), flat(2, 9), flat(3, 11)]
    alerts, state = evaluate([rule], AlertState(), {SYMBOL: bars}, {}, START + 600.0)
    assert (alerts, is_armed(rule, state)) == ([], False)


@pytest.mark.parametrize(
    ("kind", "price", "fires"), [("above", 10, 1), ("above", 9, 0), ("below", 10, 1), ("below", 11, 0)]
)
def test_above_and_below_fire_at_once_if_the_price_is_there(kind: Kind, price: float, fires: int) -> None:
    rule = make_rule(kind)
    quotes = {SYMBOL: QuoteNow(price, START - 7200)}
    alerts, state = evaluate([rule], AlertState(), {}, quotes, START)
    again, _ = evaluate([rule], AlertState(), {}, quotes, START + 300)
    assert len(alerts) == fires
    assert [a.event_id for a in again] == [a.event_id for a in alerts]  # the first cursor was lost: the same alert
    assert evaluate([rule], state, {}, quotes, START + 30)[0] == []


def test_a_new_crossing_rule_fires_only_when_its_arming_was_saved() -> None:
    rule = make_rule()
    bars = {SYMBOL: [flat(0, 9), flat(1, 11)]}
    alerts, state = evaluate([rule], AlertState(), bars, {}, START + 65.0, grace_s=0.0)
    assert alerts == []
    assert len(evaluate([rule], state, bars, {}, START + 95.0, grace_s=0.0)[0]) == 1


def test_a_quote_from_before_the_arming_close_is_no_touch() -> None:
    rule = make_rule()
    state = state_after(rule, flat(0, 9), flat(5, 9))
    stale = {SYMBOL: QuoteNow(11, START + 30)}
    assert evaluate([rule], state, {}, stale, START + 600)[0] == []
    rearmed = commit(rule, state, bar(6, 9, 11, 9, 9))[1]
    assert evaluate([rule], rearmed, {}, {SYMBOL: QuoteNow(11, START + 390)}, START + 600)[0] == []


def test_an_open_minute_from_before_the_rule_is_no_touch() -> None:
    rule = make_rule("above")
    bars = {SYMBOL: [bar(9, 9, 11, 9, 9)]}
    alerts, state = evaluate([rule], AlertState(), bars, {}, START + 605.0)
    assert alerts == []
    assert evaluate([rule], state, bars, {SYMBOL: QuoteNow(11, START + 599)}, START + 635.0)[0] == []


def test_a_crossing_before_the_rule_existed_does_not_spend_it() -> None:
    rule = make_rule(once=True)
    bars = [flat(0, 9), flat(1, 11), flat(2, 9)]
    _, state = evaluate([rule], AlertState(), {SYMBOL: bars}, {}, START + 600.0)
    assert is_armed(rule, state)


def test_below_mirrors_above() -> None:
    rule = make_rule("below", hysteresis=1.0)
    _, state = evaluate([rule], AlertState(), {SYMBOL: [flat(0, 12)]}, {}, START)
    alerts, state = commit(rule, state, flat(1, 9), flat(2, 10.9), flat(3, 9), flat(4, 11), flat(5, 9))
    assert [a.touched_at for a in alerts] == [START + 60, START + 300]


def test_cross_reports_both_ways_and_says_which() -> None:
    rule = make_rule("cross")
    alerts, _ = commit(rule, state_after(rule, flat(0, 9)), flat(1, 11), flat(2, 9), flat(3, 10), flat(4, 11))
    assert [a.kind for a in alerts] == ["cross_up", "cross_down", "cross_up"]


def test_a_cooldown_keeps_the_next_crossings_silent_but_follows_them() -> None:
    rule = make_rule(cooldown_s=300.0)
    swings = [flat(minute, 11 if minute % 2 else 9) for minute in range(10)]
    alerts, _ = commit(rule, state_after(rule), *swings)
    assert [(a.touched_at or 0) - START for a in alerts] == [60, 420]


def test_a_rule_that_expires_is_silent_from_that_minute_on() -> None:
    expires_at = datetime.fromtimestamp(START + 120, timezone.utc)
    rule = make_rule(expires_at=expires_at)
    state = state_after(rule, *ARMED)
    for minute, fires in ((1, 1), (2, 0)):
        young = flat(minute, 11)
        assert len(evaluate([rule], state, {SYMBOL: [young]}, {}, young.timestamp + 10)[0]) == fires


def test_an_expired_rule_is_silent() -> None:
    rule = make_rule(expires_at="2026-01-01T00:00:00Z")
    assert commit(rule, state_after(rule), flat(0, 9), flat(1, 11))[0] == []
    assert (
        evaluate(
            [make_rule("above", expires_at="2026-01-01T00:00:00Z")],
            AlertState(),
            {},
            {SYMBOL: QuoteNow(11, None)},
            START,
        )[0]
        == []
    )


# --- many rules, odd input ------------------------------------------------------------------------------------


def test_an_edited_rule_is_a_new_arming_and_a_renamed_policy_is_not() -> None:
    rule = make_rule()
    state = state_after(rule, *ARMED)
    assert is_armed(make_rule(cooldown_s=60.0), state)
    assert not is_armed(make_rule(level=9.9), state)
    assert make_rule(level=0.0).revision == make_rule(level=-0.0).revision


def test_a_symbol_that_was_not_fetched_is_left_as_it_was() -> None:
    here, there = make_rule(), make_rule(name="s", symbol="NYSE:IBM")
    bars = {SYMBOL: [flat(0, 9)], "NYSE:IBM": [flat(0, 9)]}
    _, state = evaluate([here, there], AlertState(), bars, {}, START + 600.0)
    _, later = evaluate([here, there], state, {SYMBOL: [flat(5, 9)]}, {}, START + 1000.0)
    assert (later.watermark(SYMBOL), later.watermark("NYSE:IBM")) == (START + 300, START)
    assert is_armed(here, later)


def test_bars_in_any_order_and_twice_come_to_the_same() -> None:
    rule = make_rule()
    bars = [flat(1, 9), flat(2, 11), flat(3, 9), flat(4, 12)]
    forward = commit(rule, state_after(rule), *bars)
    assert commit(rule, state_after(rule), *reversed(bars), *bars) == forward


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_never_fires(price: float) -> None:
    rule = make_rule()
    state = state_after(rule, *ARMED)
    alerts, _ = evaluate([rule], state, {SYMBOL: [flat(1, price)]}, {SYMBOL: QuoteNow(price, None)}, START + 65)
    assert alerts == []


def test_a_clock_that_jumps_back_changes_nothing() -> None:
    rule = make_rule()
    state = state_after(rule, flat(0, 9), flat(1, 9))
    alerts, back = evaluate([rule], state, {SYMBOL: [flat(1, 9)]}, {}, START - 3600.0)
    assert (alerts, back) == ([], state)


def test_negative_levels_are_levels() -> None:
    rule = make_rule(level=-37.63)
    alerts, _ = commit(rule, state_after(rule), flat(0, -40), flat(1, -37))
    assert [a.price for a in alerts] == [-37]


def test_the_text_is_one_line_for_people() -> None:
    rule = make_rule(name="apple-10")
    alerts, _ = commit(rule, state_after(rule), flat(0, 9), bar(1, 9, 11, 9, 11))
    assert alerts[0].text == "NASDAQ:AAPL crossed above 10 at 10, 2026-09-21 14:15:00 UTC (rule apple-10)"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "A b"}, {"name": "x" * 65}, {"name": "x\n"}, {"symbol": "AAPL"}, {"symbol": "NASDAQ:A\nB"},
        {"kind": "eval"}, {"level": float("nan")}, {"level": float("inf")}, {"level": True}, {"level": "10"},
        {"hysteresis": -1}, {"hysteresis": 1e-300}, {"level": 1e308, "hysteresis": 1e308}, {"once": "yes"},
        {"cooldown_s": -1}, {"expires_at": "2026-01-01T00:00:00"}, {"lvl": 3},
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_rule(**changes)


def test_a_whole_number_is_a_level() -> None:
    assert make_rule(level=10).revision == make_rule(level=10.0).revision


# --- a split between two evaluations ------------------------------------------------------------------------


def scaled(bars: Sequence[MinuteBar], ratio: float) -> list[MinuteBar]:
    prices = [(each.open, each.high, each.low, each.close) for each in bars]
    return [
        MinuteBar(each.timestamp, *(price * ratio for price in four)) for each, four in zip(bars, prices, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.25, 10.0])
def test_no_rule_fires_from_the_jump_of_a_split(kind: Kind, ratio: float) -> None:
    """All bars come back re-adjusted: no price crossed anything."""
    rules = [make_rule(kind, level=100.0 * 0.5, name="below"), make_rule(kind, level=100.0 * 2, name="above")]
    before = [flat(minute, 100.0 + minute / 10) for minute in range(5)]
    _, state = evaluate(rules, AlertState(), {SYMBOL: before}, {}, START + 60 * 6)
    _, state = evaluate(rules, state, {SYMBOL: before[-1:]}, {}, START + 60 * 6)
    after = [*scaled(before[-1:], ratio), *(flat(minute, 100 * ratio + minute / 10) for minute in range(5, 9))]
    quote = QuoteNow(100.0 * ratio, None)
    alerts, later = evaluate(rules, state, {SYMBOL: after}, {SYMBOL: quote}, START + 60 * 10)
    assert [(alert.rule, alert.kind) for alert in alerts] == [("below", "check"), ("above", "check")]
    again, _ = evaluate(rules, state, {SYMBOL: after}, {SYMBOL: quote}, START + 60 * 10)
    assert [each.event_id for each in again] == [each.event_id for each in alerts]
    more = [after[-1], flat(9, 100 * ratio), flat(10, 100 * ratio)]
    assert evaluate(rules, later, {SYMBOL: more}, {SYMBOL: quote}, START + 60 * 12)[0] == []


def test_after_a_split_a_rule_watches_its_level_at_the_new_prices() -> None:
    rule = make_rule("cross_up", level=30.0)
    before = [flat(0, 100.0), flat(1, 100.0)]
    _, state = evaluate([rule], AlertState(), {SYMBOL: before}, {}, START + 240)
    alerts, state = evaluate([rule], state, {SYMBOL: [flat(1, 25.0), flat(2, 25.0)]}, {}, START + 300)
    [check] = alerts
    assert check.text == (
        "check the level 30 of rule r: NASDAQ:AAPL: its history was re-adjusted by 0.25, as by a split"
    )
    alerts, _ = evaluate([rule], state, {SYMBOL: [flat(2, 25.0), flat(8, 31.0)]}, {}, START + 660)
    assert [(alert.kind, alert.price) for alert in alerts] == [("cross_up", 31.0)]


@pytest.mark.parametrize("close", [100.0, 100.9, 99.1])
def test_a_small_correction_is_no_split(close: float) -> None:
    rule = make_rule("cross_down", level=50.0)
    _, state = evaluate([rule], AlertState(), {SYMBOL: [flat(0, 100.0), flat(1, 100.0)]}, {}, START + 240)
    bars = [flat(1, close), flat(7, 49.0)]
    alerts, _ = evaluate([rule], state, {SYMBOL: bars}, {}, START + 600)
    assert [alert.kind for alert in alerts] == ["cross_down"]
