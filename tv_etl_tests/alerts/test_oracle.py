"""The fold of random histories finds what somebody who saw every trade would have found."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts import fold, mutes
from tv_etl.alerts.closes import BarsNeeded, closed_bars, is_up_to_date, needs_bars
from tv_etl.alerts.fold import DEFAULT_GRACE_S, MinuteBar, QuoteNow, Reach, first_minute, needs_minutes
from tv_etl.alerts.levels import ClosedBars
from tv_etl.alerts.mutes import HandMute
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import AlertState, Registered, Registry
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.alerts.oracle import DAY_S, Oracle, Trade, sums_of
from tv_etl_tests.alerts.test_fold import KINDS, START, SYMBOL, make_rule

ALWAYS_OPEN = TradingHours("24x7", "Etc/UTC")


def bars_of(trades: Sequence[Trade]) -> list[MinuteBar]:
    return [MinuteBar(each.open_s, each.open, each.high, each.low, each.close) for each in sums_of(trades, 60)]


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
    lake_lag_s: int | None = None
    no_series: bool = False


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
    lake_lag_s=st.sampled_from([None, None, 0, 300]),
    no_series=st.integers(0, 4).map(lambda n: n == 4),
)
PRICES = [7.0, 8.0, 9.0, 9.5, 10.0, 10.5, 11.0, 12.0, 13.0]
MOVES = st.tuples(st.integers(0, 90), st.sampled_from(PRICES))
SIZED_MOVES = st.tuples(st.integers(0, 90), st.sampled_from(PRICES), st.sampled_from([1.0, 2.0, 3.0]))
OPTIONS = {
    "once": st.integers(0, 3).map(lambda n: n == 3),
    "cooldown_s": st.sampled_from([0.0, 0.0, 90.0, 300.0]),
    "expires_at": st.sampled_from([None, None, datetime.fromtimestamp(START + 777, timezone.utc)]),
    "resolved": st.booleans(),
    "active": st.sampled_from([{}, {}, {}, {"hours": "14:20-14:24"}, {"hours": ["14:15-14:17", "14:22-03:00"]}]),
}
RULES = st.builds(
    make_rule, kind=st.sampled_from(KINDS), hysteresis=st.sampled_from([0.0, 0.0, 1.0, 2.0]), **OPTIONS
)  # fmt: skip
SESSION_S = 1800  # a short trading day: a quote tells the prices of its own

# --- rules of every kind

INTERVALS = st.sampled_from(["1m", "5m", "1h"])
LOWER = [
    9.0,
    9.5,
    "low(2)",
    {"of": "last_alert", "pct": -10},
    {"of": "prev_close", "pct": -5},
    {"of": "sma(3)", "pct": -5},
]
UPPER = [
    10.5,
    11.0,
    "high(2)",
    {"of": "last_alert", "pct": 10},
    {"of": "prev_close", "pct": 5},
    {"of": "sma(3)", "pct": 5},
]
LEVELS = st.sampled_from([10.0, "prev_close", "last_alert", "sma(2)", *LOWER, *UPPER])
HYSTERESIS = st.sampled_from([0.0, 0.0, 0.5, 1.0])
ON_CLOSE = st.sampled_from(
    [{"on": "touch"}, {"on": "touch"}, {"on": "close"}, *({"on": "close", "bars_in_a_row": bars} for bars in (2, 3))]
)  # fmt: skip
PCT = st.sampled_from([-20.0, -10.0, -5.0, 5.0, 10.0, 20.0])
CONDITIONS = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(["above", "below"]), "level": LEVELS}),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["enter_channel", "exit_channel"]),
            "low": st.sampled_from(LOWER),
            "high": st.sampled_from(UPPER),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("pct_day"), "pct": PCT}),
    st.fixed_dictionaries({"kind": st.just("pct_window"), "pct": PCT, "bars": st.integers(1, 3)}),
    st.fixed_dictionaries({"kind": st.just("bar_volume"), "volume": st.integers(2, 6).map(float)}),
    st.fixed_dictionaries(
        {"kind": st.just("volume_ratio"), "ratio": st.sampled_from([0.7, 1.5]), "bars": st.integers(1, 3)}
    ),
)


def _build(fields: dict[str, Any], interval: str, on: dict[str, Any], hysteresis: float, **options: Any) -> AlertRule:
    kind = fields["kind"]
    named = (
        {"name": "r", "symbol": SYMBOL} | fields | {name: each for name, each in options.items() if each is not None}
    )
    if kind in ("day_volume", "pct_day") and options["active"].get("hours") and kind == "day_volume":
        named["active"] = {}
    if kind != "day_volume":
        named |= {"interval": interval}
    if kind in ("volume_ratio", "day_volume", "all"):
        on = {}
    in_a_row = on.get("bars_in_a_row")
    if "on" in on:
        named["on"] = on["on"]
    if in_a_row is not None:
        named["for"] = f"{in_a_row * Interval.parse(interval).seconds}s"
    if kind in ("cross_up", "cross_down", "cross", "above", "below", "enter_channel"):
        named["hysteresis"] = hysteresis
    return read_rule(named)


ANY_RULE = st.builds(
    _build,
    st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(KINDS), "level": LEVELS}),
        st.fixed_dictionaries({"kind": st.sampled_from(["cross_up", "cross"]), "level": LEVELS}),
        CONDITIONS,
        st.fixed_dictionaries({"kind": st.just("day_volume"), "volume": st.integers(2, 9).map(float)}),
        st.fixed_dictionaries({"kind": st.just("all"), "all": st.lists(CONDITIONS, min_size=2, max_size=3)}),
    ),
    interval=INTERVALS,
    on=ON_CLOSE,
    hysteresis=HYSTERESIS,
    **OPTIONS,
)
# Days and hours before the first tick: what is looked back at.
PAST = st.lists(st.sampled_from(PRICES), min_size=4, max_size=7)


def past_trades(prices: Sequence[float]) -> list[Trade]:
    ago_s = [3 * DAY_S, 2 * DAY_S, DAY_S, 9_000, 5_400, 1_000, 500]
    return [Trade(START - ago, price) for ago, price in zip(ago_s, prices, strict=False)]


def is_plain(rule: AlertRule) -> bool:
    """True if minutes alone tell all of it."""
    return rule.interval_watched is None and not rule.references and rule.fixed_levels is not None


class Watch:
    """A rule from its registration to its removal, and somebody who saw every trade meanwhile."""

    def __init__(self, registered: Registered) -> None:
        self.registered = registered
        self.created: tuple[float, float | None] | None = None
        self.oracle: Oracle | None = None
        self.first = 0
        self.judged: int | None = None  # the newest minute or bar that is
        self.told_at_creation = set[str]()

    def begin(self, now: float, price: float | None, state: AlertState, is_first: bool, told: Sequence[str]) -> None:
        """At its creation; one that is not the first of its symbol takes over from the closes at hand."""
        self.created = now, price
        rule = self.registered.rule
        self.oracle = Oracle(rule)
        arming, watermark = state.armings[self.registered.key], state.watermark(SYMBOL)
        if is_plain(rule) and (is_first or rule.is_armed_at_creation):
            self.oracle.begin(now, price)
            return
        self.oracle.take_over(arming)
        seen = watermark if arming.seen is None else arming.seen
        self.first = 0 if seen is None else seen + 1
        self.told_at_creation = set(told)

    def expected(self, trades: Sequence[Trade], closed_before: float = float("inf")) -> set[str]:
        if self.oracle is None:
            return set()
        watched = copy(self.oracle)
        watched.told = list(self.oracle.told)
        epochs = watched.watch(trades, self.first, closed_before)
        return {fold.event_id(self.registered, epoch) for epoch in epochs} | self.told_at_creation


class Sensor:
    """Evaluates as a tick does: all that it remembers is written at once or, where it dies, not at all."""

    def __init__(
        self,
        rule: AlertRule,
        trades: Sequence[Trade],
        delay_s: int,
        asks_always: bool = False,
        hours: TradingHours | None = None,
        hand_mutes: Sequence[HandMute] = (),
    ) -> None:
        self.hand_mutes, self.kept_back, self.found_at = hand_mutes, set[str](), dict[str, float]()
        self.rule, self.trades, self.delay_s, self.asks_always = rule, trades, delay_s, asks_always
        self.hours = hours
        self.is_listed = True
        self.registry, self.state = Registry(), AlertState()
        self.told: list[str] = []
        self.alerts: list[fold.Alert] = []
        self.watches: dict[int, Watch] = {}

    def made(self, now: float) -> list[HandMute]:
        """The mutes that somebody has made by now."""
        return [each for each in self.hand_mutes if each.since <= now]

    def visible(self, now: float, lag_s: int) -> list[Trade]:
        return [trade for trade in self.trades if trade.time_s <= now - self.delay_s - lag_s]

    def fetch(
        self, visit: Visit, now: float, registered: Sequence[Registered]
    ) -> tuple[list[MinuteBar], QuoteNow | None, Reach | None]:
        since = first_minute(registered, self.state, SYMBOL) or 0
        bars = [] if visit.fails else bars_of(self.visible(now, visit.bars_lag_s))
        bars = [bar for bar in bars if bar.timestamp >= since][: visit.keeps_bars]
        seen = self.visible(now, visit.quote_lag_s)
        last = seen[-1:]
        if not last or not visit.quoted:
            return bars, None, None
        # A quote that does not say when it was traded is taken for a fresh one: then it must be.
        timed = visit.timed or last[0].time_s // 60 != (now - self.delay_s) // 60
        opened_at = last[0].time_s // SESSION_S * SESSION_S
        prices = [trade.price for trade in seen if trade.time_s >= opened_at]
        reach = Reach(opened_at, min(prices), max(prices)) if timed else None
        volume = sum(trade.size for trade in seen if trade.time_s // DAY_S == last[0].time_s // DAY_S)
        return bars, QuoteNow(last[0].price, last[0].time_s if timed else None, volume), reach

    def series(
        self, visit: Visit, now: float, registered: Sequence[Registered], quote: QuoteNow | None
    ) -> dict[str, ClosedBars]:
        """The bars that the lake has, or the server gives."""
        feed_now = now - self.delay_s
        traded_at = None if quote is None else quote.time_s
        awake = mutes.awake(registered, self.state, self.made(now), now, now)
        needed = needs_bars(awake, self.state.armings, self.hours, traded_at, feed_now, DEFAULT_GRACE_S)
        # A rule that begins takes its side from the bars that it asks for.
        asks_for_all = self.asks_always and all(each.key in self.state.armings for each in registered)
        if asks_for_all:
            everything = {each: 600 for each in (self.rule.interval_watched, *self.rule.references) if each}
            needed = {interval: BarsNeeded(bars) for interval, bars in everything.items()}
        found: dict[str, ClosedBars] = {}
        for interval, need in needed.items():
            width = Interval.parse(interval).seconds
            if visit.lake_lag_s is not None and not need.is_forming and not asks_for_all:
                held = feed_now - DEFAULT_GRACE_S - visit.lake_lag_s
                rows = [row for row in self.rows(self.trades, width) if row[0] + width <= held][-need.bars :]
                bars = closed_bars(interval, rows, self.hours, feed_now - DEFAULT_GRACE_S)
                if is_up_to_date(interval, bars, self.hours, traded_at, feed_now - DEFAULT_GRACE_S):
                    found[interval] = bars
                    continue
            if visit.no_series:
                continue
            rows = self.rows(self.visible(now, visit.bars_lag_s), width)
            forming_from = next((int(row[0]) for row in rows[-1:] if row[0] + width > feed_now), None)
            known_until = int(feed_now - width) + 1 if forming_from is None else forming_from
            found[interval] = closed_bars(
                interval, rows[-need.bars :], self.hours, feed_now - DEFAULT_GRACE_S, known_until, forming_from
            )
        return found

    @staticmethod
    def rows(trades: Sequence[Trade], width_s: int) -> list[list[float]]:
        return [
            [each.open_s, each.open, each.high, each.low, each.close, each.volume] for each in sums_of(trades, width_s)
        ]

    def turn(self, turn: str) -> None:
        """What somebody does to the watchlist, or what happens to the store."""
        if turn == "the store is lost":
            self.registry, self.state = Registry(), AlertState()
        if turn in ("removed", "again"):
            self.is_listed = turn == "again"
        if turn in ("edited", "edited back"):
            field = next(name for name in ("level", "once") if hasattr(self.rule, name))
            changes: Mapping[str, Any] = {"level": 10.5 if turn == "edited" else 10.0, "once": turn == "edited"}
            self.rule = self.rule.model_copy(update={field: changes[field]})

    def evaluate(self, visit: Visit, now: float) -> tuple[Watch | None, list[MinuteBar], QuoteNow | None]:
        self.turn(visit.turn)
        rules = [self.rule] if self.is_listed else []
        registry = self.registry.register(rules, now)
        registered = registry.registered(rules)
        bars, quote, reach = self.fetch(visit, now, registered)
        feed_now = now - self.delay_s
        awake = mutes.awake(registered, self.state, self.made(now), now, now)
        is_wanted = self.asks_always or needs_minutes(awake, self.state, SYMBOL, quote, reach, feed_now)
        symbol_bars = {SYMBOL: bars} if bars and is_wanted else {}
        quotes = {} if quote is None else {SYMBOL: quote}
        closed = {SYMBOL: self.series(visit, now, registered, quote)}
        before = AlertState(
            {each.key: self.state.armings[each.key] for each in registered if each.key in self.state.armings},
            self.state.symbols,
        )
        delays = {SYMBOL: float(self.delay_s)}
        folded = fold.evaluate(registered, before, symbol_bars, quotes, now, delays_s=delays, closed=closed)
        assert folded.broken == []
        if visit.dies:
            return None, bars, quote
        is_first = SYMBOL not in self.state.symbols and bool(symbol_bars)
        self.registry, self.state = registry, folded.state
        told = [alert.event_id for alert in folded.alerts]
        self.alerts += folded.alerts
        marked, _ = mutes.apply(folded.alerts, self.made(now), {self.rule.name: self.rule}, now)
        self.kept_back |= {alert.event_id for alert in marked if alert.is_muted}
        self.found_at |= dict.fromkeys(told, now)
        self.told += told
        for each in registered:
            watch = self.watches.setdefault(each.generation, Watch(each))
            arming = folded.state.armings.get(each.key)
            if arming is not None and watch.created is None:
                known = dict(before.symbol(SYMBOL).closes) | {
                    bar.timestamp: bar.close for bar in symbol_bars.get(SYMBOL, [])
                }
                price = quote.price if quote else known[max(known)] if known else None
                watch.begin(feed_now, price, folded.state, is_first, told)
            watch.judged = folded.state.watermark(SYMBOL) if arming is None or arming.seen is None else arming.seen
            return watch, bars if is_wanted else [], quote
        return None, bars, quote


def trades_of(moves: Sequence[tuple[Any, ...]], scale: int = 1) -> list[Trade]:
    trades, time_s = [], START
    for step, price, *size in moves:
        time_s += step * scale
        trades.append(Trade(time_s, price, *size))
    return trades


def settle(sensor: Sensor, now: float, quoted: bool) -> float:
    """Evaluate until all trades are committed, and all bars closed."""
    now = max(now, sensor.trades[-1].time_s + sensor.delay_s)
    waits = (200,) * 3 if is_plain(sensor.rule) else (200, 200, 4_000, 2 * DAY_S, 200, 200)
    for wait in waits:
        now += wait
        sensor.evaluate(Visit(0, quoted=quoted), now)
    return now


def check(sensor: Sensor, now: float) -> None:
    """What was told is what somebody who saw every trade would have told."""
    trades = sensor.trades
    assert len(sensor.told) == len(set(sensor.told))
    *retired, last = sensor.watches.values()
    assert last.oracle is not None or sensor.rule.has_expired(int(now) - sensor.delay_s)
    by_watch = {watch.registered.generation: watch.expected(trades) for watch in sensor.watches.values()}
    assert set(sensor.told) <= set[str]().union(*by_watch.values())
    assert by_watch[last.registered.generation] <= set(sensor.told)
    for watch in retired:
        if watch.judged is not None and watch.oracle is not None:
            unit_s = watch.oracle.unit_s
            until = watch.judged // unit_s * unit_s + unit_s
            known = [trade for trade in trades if trade.time_s < until]
            assert watch.expected(known, until) <= set(sensor.told)


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
    sensor = Sensor(rule, trades_of(moves), delay_s)
    now = float(START + delay_s)
    for visit in visits:
        now += visit.after_s
        sensor.evaluate(visit, now)
    sensor.turn("again")
    check(sensor, settle(sensor, now, quoted))


@settings(max_examples=HISTORIES, deadline=None)
@given(
    ANY_RULE, PAST, st.lists(SIZED_MOVES, min_size=1, max_size=30), st.lists(VISITS, max_size=15),
    st.sampled_from([0, 0, 900]), st.sampled_from([1, 1, 20, 60]), st.sampled_from([None, ALWAYS_OPEN]), st.booleans(),
)  # fmt: skip
def test_every_kind_tells_what_it_says(
    rule: AlertRule,
    past: list[float],
    moves: list[tuple[int, float, float]],
    visits: list[Visit],
    delay_s: int,
    scale: int,
    hours: TradingHours | None,
    quoted: bool,
) -> None:
    """With levels that bars tell, on touches and closes, alone and together, and with every option."""
    sensor = Sensor(rule, [*past_trades(past), *trades_of(moves, scale)], delay_s, hours=hours)
    now = float(START + delay_s)
    for visit in visits:
        now += visit.after_s * scale
        sensor.evaluate(visit, now)
    sensor.turn("again")
    check(sensor, settle(sensor, now, quoted))


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, min_size=1, max_size=20))
def test_a_visible_touch_of_a_committed_arming_is_reported_by_that_evaluation(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit]
) -> None:
    # A cooldown, or hours that begin or end, may hold a touch back until its commit.
    rule = make_rule(
        **{**rule.model_dump(exclude={"group", "for_", "cooldown_s", "active", "cooldown"}), "cooldown_s": 0.0}
    )
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
        if watermark < watch.oracle.since - 60 and not rule.is_armed_at_creation:
            continue  # minutes before the rule's creation are still open
        last_visible = now - visit.bars_lag_s if bars and visit.keeps_bars is None else watermark + 59
        known = [trade for trade in trades if trade.time_s <= max(last_visible, watermark + 59)]
        if quote is not None and quote.time_s is not None and quote.time_s > (known[-1].time_s if known else 0):
            known.append(Trade(int(quote.time_s), quote.price))
        assert watch.expected(known, closed_before=watermark + 60) <= set(sensor.told)


def compare_with_one_that_asks_for_all(
    rule: AlertRule,
    trades: Sequence[Trade],
    visits: Sequence[Visit],
    quoted: bool,
    scale: int = 1,
    hours: TradingHours | None = None,
) -> None:
    sparing, asking = Sensor(rule, trades, 0, hours=hours), Sensor(rule, trades, 0, asks_always=True, hours=hours)
    now = float(START)
    for visit in visits:
        now += visit.after_s * scale
        sparing.evaluate(visit, now)
        asking.evaluate(visit, now)
    for sensor in (sparing, asking):
        sensor.turn("again")
        settle(sensor, now, quoted)
    assert sorted(sparing.told) == sorted(asking.told)


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(RULES, st.lists(MOVES, min_size=1, max_size=40), st.lists(VISITS, max_size=20), st.booleans())
def test_asking_for_fewer_minutes_changes_no_event(
    rule: AlertRule, moves: list[tuple[int, float]], visits: list[Visit], quoted: bool
) -> None:
    """Beside a sensor that always asks for all of them."""
    compare_with_one_that_asks_for_all(rule, trades_of(moves), visits, quoted)


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(
    ANY_RULE, PAST, st.lists(SIZED_MOVES, min_size=1, max_size=30), st.lists(VISITS, max_size=15),
    st.sampled_from([1, 1, 20, 60]), st.sampled_from([None, ALWAYS_OPEN]), st.booleans(),
)  # fmt: skip
def test_asking_for_fewer_bars_changes_no_event_of_any_kind(
    rule: AlertRule,
    past: list[float],
    moves: list[tuple[int, float, float]],
    visits: list[Visit],
    scale: int,
    hours: TradingHours | None,
    quoted: bool,
) -> None:
    """Nor does it matter whether the lake has them, or the server is asked."""
    # Where the server does not answer, what the lake has is told sooner, and a rule may be removed meanwhile.
    visits = [replace(visit, no_series=False) for visit in visits]
    trades = [*past_trades(past), *trades_of(moves, scale)]
    compare_with_one_that_asks_for_all(rule, trades, visits, quoted, scale, hours)


@settings(max_examples=HISTORIES // 2, deadline=None)
@given(
    ANY_RULE, PAST, st.lists(SIZED_MOVES, min_size=1, max_size=30), st.lists(VISITS, max_size=15),
    st.sampled_from([1, 1, 20, 60]), st.sampled_from([None, ALWAYS_OPEN]), st.booleans(),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), min_size=1, max_size=2),
)  # fmt: skip
def test_a_mute_changes_no_alert_but_whether_it_is_told(
    rule: AlertRule,
    past: list[float],
    moves: list[tuple[int, float, float]],
    visits: list[Visit],
    scale: int,
    hours: TradingHours | None,
    quoted: bool,
    spans: list[tuple[int, int]],
) -> None:
    """Beside a sensor whose rule is never muted: it fires for the same armings, and is armed alike in the end."""
    # What a rule would have found that is removed before it is asked for again would not have been told either.
    visits = [replace(visit, turn="stays") for visit in visits]
    trades = [*past_trades(past), *trades_of(moves, scale)]
    begun = [START // 60 * 60 + 60 * first * scale for first, _ in spans]
    hand_mutes = [
        HandMute("r", "", since, since + 60.0 * length * scale) for since, (_, length) in zip(begun, spans, strict=True)
    ]
    muted, plain = Sensor(rule, trades, 0, hours=hours, hand_mutes=hand_mutes), Sensor(rule, trades, 0, hours=hours)
    now = float(START)
    for visit in visits:
        now += visit.after_s * scale
        muted.evaluate(visit, now)
        plain.evaluate(visit, now)
    over = max(now, *(each.until for each in hand_mutes))
    for sensor in (muted, plain):
        settle(sensor, over, quoted)
    assert sorted(muted.told) == sorted(plain.told)
    remembered = ("armed_at", "falling", "spent", "reported_at", "base", "ends", "day")
    states = [[getattr(each, name) for name in remembered] for each in muted.state.armings.values()]
    assert states == [[getattr(each, name) for name in remembered] for each in plain.state.armings.values()]
    for alert in muted.alerts:
        moments = [muted.found_at[alert.event_id]]
        # When a volume was reached is not known before its bar has closed.
        is_timed = rule.kind_name not in ("bar_volume", "day_volume") or getattr(rule, "on", "touch") == "close"
        if alert.touched_at is not None and is_timed:
            moments.append(alert.touched_at)
        is_muted = any(each.since <= moment < each.until for each in hand_mutes for moment in moments)
        assert (alert.event_id in muted.kept_back) == is_muted


@settings(max_examples=HISTORIES // 4, deadline=None)
@given(ANY_RULE, PAST, st.lists(st.sampled_from(PRICES), min_size=90, max_size=90))
def test_a_rule_begins_and_keeps_up_while_every_minute_is_traded_in(
    rule: AlertRule, past: list[float], prices: list[float]
) -> None:
    """Ticks of half a minute in half an hour, at no moment of which all bars are final."""
    trades = [*past_trades(past), *(Trade(START + 20 * place, price, 1.0) for place, price in enumerate(prices))]
    sensor = Sensor(rule, trades, 0)
    end = START + 20 * len(prices)
    for now in range(START + 300, end, 30):
        sensor.evaluate(Visit(30), float(now))
    [watch] = sensor.watches.values()
    if watch.oracle is None:
        assert rule.has_expired(START + 300)
        return
    assert watch.created is not None and watch.created[0] == START + 300
    unit_s = watch.oracle.unit_s
    # What is final, and was at the tick before.
    until = (end - 60 - int(DEFAULT_GRACE_S)) // unit_s * unit_s
    known = [trade for trade in trades if trade.time_s < until]
    assert watch.expected(known, until) <= set(sensor.told)
