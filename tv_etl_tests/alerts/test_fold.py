"""Each row of the fold's truth table by itself; `test_oracle` has the random histories."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from tv_etl.alerts import fold
from tv_etl.alerts.fold import Alert, MinuteBar, QuoteNow, Reach, first_minute, needs_minutes
from tv_etl.alerts.rules import AlertRule, LevelKind, read_rule
from tv_etl.alerts.state import AlertState, Close, Registered, Registry, RuleState, SymbolState

pytestmark = pytest.mark.pure

SYMBOL = "NASDAQ:AAPL"
START = 1_790_000_040  # opens a minute
LEVEL = 10.0
KINDS: tuple[LevelKind, ...] = ("above", "below", "cross_up", "cross_down", "cross")


def make_rule(kind: LevelKind = "cross_up", **changes: Any) -> AlertRule:
    """A rule without a cooldown, unless it is given one."""
    wait = {} if "cooldown" in changes else {"cooldown_s": 0.0}
    return read_rule({"name": "r", "symbol": SYMBOL, "kind": kind, "level": LEVEL} | wait | changes)


def bar(minute: int, open_: float, high: float, low: float, close: float) -> MinuteBar:
    return MinuteBar(START + 60 * minute, open_, high, low, close)


def evaluate(
    rules: Sequence[AlertRule],
    state: AlertState,
    bars: Mapping[str, Sequence[MinuteBar]],
    quotes: Mapping[str, QuoteNow],
    now: float,
    **options: Any,
) -> tuple[list[Alert], AlertState]:
    """The fold of rules that are all of the first generation, and break nothing."""
    folded = fold.evaluate([Registered(rule, 1) for rule in rules], state, bars, quotes, now, **options)
    assert folded.broken == []
    return folded.alerts, folded.state


def event_id(rule: AlertRule, epoch: int, generation: int = 1) -> str:
    return fold.event_id(Registered(rule, generation), epoch)


def flat(minute: int, price: float) -> MinuteBar:
    return bar(minute, price, price, price, price)


# --- the truth table ------------------------------------------------------------------------------------------


def state_after(rule: AlertRule, *bars: MinuteBar) -> AlertState:
    """A state in which all these bars are committed and none of them was before the rule."""
    state = AlertState({Registered(rule, 1).key: RuleState(START)}, {SYMBOL: SymbolState(START - 60)})
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


def test_a_new_crossing_rule_is_armed_by_the_last_close() -> None:
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
def test_above_and_below_fire_at_once_if_the_price_is_there(kind: LevelKind, price: float, fires: int) -> None:
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


def test_a_quote_from_before_the_arming_close_is_not_a_touch() -> None:
    rule = make_rule()
    state = state_after(rule, flat(0, 9), flat(5, 9))
    stale = {SYMBOL: QuoteNow(11, START + 30)}
    assert evaluate([rule], state, {}, stale, START + 600)[0] == []
    rearmed = commit(rule, state, bar(6, 9, 11, 9, 9))[1]
    assert evaluate([rule], rearmed, {}, {SYMBOL: QuoteNow(11, START + 390)}, START + 600)[0] == []


def test_an_open_minute_from_before_the_rule_is_not_a_touch() -> None:
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


def test_a_new_level_arms_a_rule_anew_but_a_new_cooldown_does_not() -> None:
    rule = make_rule()
    state = state_after(rule, *ARMED)
    assert is_armed(make_rule(cooldown_s=60.0), state)
    first = Registry().register([rule], 1.0)
    assert first.register([make_rule(cooldown_s=60.0)], 2.0).rules["r"] == first.rules["r"]
    edited = Registered(make_rule(level=9.9), first.register([make_rule(level=9.9)], 2.0).rules["r"].generation)
    assert edited.key not in state.armings and edited.generation == 2000


def test_a_symbol_that_was_not_fetched_is_left_as_it_was() -> None:
    here, there = make_rule(), make_rule(name="s", symbol="NYSE:IBM")
    bars = {SYMBOL: [flat(0, 9)], "NYSE:IBM": [flat(0, 9)]}
    _, state = evaluate([here, there], AlertState(), bars, {}, START + 600.0)
    _, later = evaluate([here, there], state, {SYMBOL: [flat(5, 9)]}, {}, START + 1000.0)
    assert (later.watermark(SYMBOL), later.watermark("NYSE:IBM")) == (START + 300, START)
    assert is_armed(here, later)


def test_unordered_and_repeated_bars_change_nothing() -> None:
    rule = make_rule()
    bars = [flat(1, 9), flat(2, 11), flat(3, 9), flat(4, 12)]
    forward = commit(rule, state_after(rule), *bars)
    assert commit(rule, state_after(rule), *reversed(bars), *bars) == forward


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_price_that_is_not_a_number_never_fires(price: float) -> None:
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


# --- a split between two evaluations ------------------------------------------------------------------------


def scaled(bars: Sequence[MinuteBar], ratio: float) -> list[MinuteBar]:
    return [
        MinuteBar(each.timestamp, each.open * ratio, each.high * ratio, each.low * ratio, each.close * ratio)
        for each in bars
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.25, 10.0])
def test_no_rule_fires_from_the_jump_of_a_split(kind: LevelKind, ratio: float) -> None:
    """All bars come back re-adjusted: no price crossed anything."""
    rules = [make_rule(kind, level=100.0 * 0.5, name="below"), make_rule(kind, level=100.0 * 2, name="above")]
    before = [flat(minute, 100.0 + minute / 10) for minute in range(5)]
    _, state = evaluate(rules, AlertState(), {SYMBOL: before}, {}, START + 60 * 6)
    _, state = evaluate(rules, state, {SYMBOL: before[-1:]}, {}, START + 60 * 6)
    after = [*scaled(before, ratio), *(flat(minute, 100 * ratio + minute / 10) for minute in range(5, 9))]
    quote = QuoteNow(100.0 * ratio, None)
    alerts, later = evaluate(rules, state, {SYMBOL: after}, {SYMBOL: quote}, START + 60 * 10)
    assert [(alert.rule, alert.kind) for alert in alerts] == [("below", "check"), ("above", "check")]
    again, _ = evaluate(rules, state, {SYMBOL: after}, {SYMBOL: quote}, START + 60 * 10)
    assert [each.event_id for each in again] == [each.event_id for each in alerts]
    more = [after[-1], flat(9, 100 * ratio), flat(10, 100 * ratio)]
    assert evaluate(rules, later, {SYMBOL: more}, {SYMBOL: quote}, START + 60 * 12)[0] == []


def test_after_a_split_a_rule_watches_its_level_at_the_new_prices() -> None:
    rule = make_rule("cross_up", level=30.0)
    before = [flat(0, 100.0), flat(1, 100.0), flat(2, 100.0)]
    _, state = evaluate([rule], AlertState(), {SYMBOL: before}, {}, START + 240)
    bars = [flat(0, 25.0), flat(1, 25.0), flat(2, 25.0), flat(3, 25.0)]
    alerts, state = evaluate([rule], state, {SYMBOL: bars}, {}, START + 300)
    [check] = alerts
    assert check.text == (
        "check the level 30 of rule r: NASDAQ:AAPL: its history was re-adjusted by a factor of 0.25, as by a split"
    )
    alerts, _ = evaluate([rule], state, {SYMBOL: [flat(3, 25.0), flat(8, 31.0)]}, {}, START + 660)
    assert [(alert.kind, alert.price) for alert in alerts] == [("cross_up", 31.0)]


@pytest.mark.parametrize(
    ("closes", "kind"),
    [
        pytest.param([100, 100, 101.9, 100, 100], "cross_down", id="one close is corrected"),
        pytest.param([100, 100, 100, 100, 25], "cross_down", id="one close, however odd"),
        pytest.param([102.5, 97.5, 102.5, 97.5, 102.5], "cross_down", id="all closes, by different factors"),
        pytest.param([101.9] * 5, "cross_down", id="all closes, by little"),
        pytest.param([102.1] * 5, "check", id="all closes, by the same factor"),
        pytest.param([25, 25.2, 25, 24.9, 25.1], "check", id="all closes, rounded"),
        pytest.param([None, None, 25, 25, 25], "check", id="three closes are several"),
        pytest.param([None, None, None, 25, 25], "cross_down", id="two are not"),
    ],
)
def test_only_the_same_factor_on_several_bars_is_a_readjustment(closes: list[float | None], kind: str) -> None:
    """A correction of 2 % in a thin symbol passed for a split, and dropped the crossing in the same bars."""
    rule = make_rule("cross_down", level=20.0)
    _, state = evaluate([rule], AlertState(), {SYMBOL: [flat(n, 100.0) for n in range(5)]}, {}, START + 480)
    bars = [flat(number, close) for number, close in enumerate(closes) if close is not None]
    alerts, after = evaluate([rule], state, {SYMBOL: [*bars, flat(11, 19.0)]}, {}, START + 840)
    assert [alert.kind for alert in alerts] == [kind]
    assert after.symbol(SYMBOL).check_up_to == (1 if kind == "check" else None)


# --- which minutes matter -----------------------------------------------------------------------------------

WATERMARK = START + 600
TRADED = QuoteNow(10.0, WATERMARK + 90.0)
UP, DOWN, NONE = (START, False), (START, True), (None, False)


def needs(
    rule: AlertRule,
    arming: RuleState | None,
    reach: tuple[float, float] | None = (9.5, 10.5),
    *,
    quote: QuoteNow | None = TRADED,
    watermark: int | None = WATERMARK,
    since: float = WATERMARK + 60,
    now: float = WATERMARK + 100.0,
) -> bool:
    registered = Registered(rule, 1)
    state = AlertState({} if arming is None else {registered.key: arming}, {SYMBOL: SymbolState(watermark)})
    span = None if reach is None else Reach(since, *reach)
    return needs_minutes([registered], state, SYMBOL, quote, span, now)


@pytest.mark.parametrize(
    ("kind", "arming", "level", "hysteresis", "wanted"),
    [
        pytest.param("cross_up", UP, 10.52, 0.0, False, id="the rise to it is out of reach"),
        pytest.param("cross_up", UP, 10.51, 0.0, True, id="within what a quote may be rounded by"),
        pytest.param("cross_up", UP, 1.0, 0.0, True, id="a rise to it may have come before"),
        pytest.param("cross_down", DOWN, 9.48, 0.0, False, id="the fall to it is out of reach"),
        pytest.param("cross_down", DOWN, 9.491, 0.0, True, id="the fall to it is just within"),
        pytest.param("cross_down", DOWN, 99.0, 0.0, True, id="a fall to it may have come before"),
        pytest.param("cross", UP, 10.52, 0.0, False, id="both ways, armed for the rise"),
        pytest.param("cross", DOWN, 9.48, 0.0, False, id="both ways, armed for the fall"),
        pytest.param("cross_up", NONE, 9.48, 0.0, False, id="no close can re-arm the rise"),
        pytest.param("cross_up", NONE, 9.51, 0.0, True, id="a close can"),
        pytest.param("cross_up", NONE, 10.0, 0.52, False, id="no close goes beyond the dead band"),
        pytest.param("cross_up", NONE, 10.0, 0.5, True, id="a close reaches the end of the dead band"),
        pytest.param("cross_up", NONE, 9.0, 0.0, False, id="a close above re-arms no rise"),
        pytest.param("cross_down", NONE, 10.52, 0.0, False, id="no close can re-arm the fall"),
        pytest.param("cross_down", NONE, 10.49, 0.0, True, id="a close can re-arm the fall"),
        pytest.param("cross_down", NONE, 10.0, 0.52, False, id="no close goes beyond the dead band above"),
        pytest.param("cross_down", NONE, 10.0, 0.5, True, id="a close reaches the end of the dead band above"),
        pytest.param("cross_down", NONE, 11.0, 0.0, False, id="a close below re-arms no fall"),
        pytest.param("cross", NONE, 11.0, 0.0, True, id="both ways, a close below re-arms"),
        pytest.param("cross", NONE, 9.0, 0.0, True, id="both ways, a close above re-arms"),
        pytest.param("cross", NONE, 10.0, 0.52, False, id="both ways, none does"),
        pytest.param("above", (0, False), 10.52, 0.0, False, id="above, armed at creation"),
        pytest.param("below", (0, True), 9.48, 0.0, False, id="below, armed at creation"),
    ],
)
def test_minutes_matter_where_a_level_is_within_reach(
    kind: LevelKind, arming: tuple[int | None, bool], level: float, hysteresis: float, wanted: bool
) -> None:
    rule = make_rule(kind, level=level, hysteresis=hysteresis)
    assert needs(rule, RuleState(START, *arming)) is wanted


@pytest.mark.parametrize(
    ("kind", "arming", "reach", "wanted"),
    [
        ("enter_channel", UP, (8.0, 9.9), False), ("enter_channel", UP, (8.0, 10.0), True),
        ("enter_channel", DOWN, (12.1, 14.0), False), ("enter_channel", DOWN, (12.0, 14.0), True),
        ("enter_channel", NONE, (10.1, 11.9), False), ("enter_channel", NONE, (10.0, 11.0), True),
        ("enter_channel", NONE, (11.0, 12.0), True), ("exit_channel", UP, (10.1, 11.9), False),
        ("exit_channel", UP, (9.9, 11.0), True), ("exit_channel", UP, (11.0, 12.1), True),
        ("exit_channel", NONE, (8.0, 9.9), False), ("exit_channel", NONE, (12.1, 13.0), False),
        ("exit_channel", NONE, (9.0, 10.0), True),
    ],
)  # fmt: skip
def test_minutes_matter_where_a_channel_is_within_reach(
    kind: str, arming: tuple[int | None, bool], reach: tuple[float, float], wanted: bool
) -> None:
    channel = read_rule({"name": "r", "symbol": SYMBOL, "kind": kind, "low": 10, "high": 12})
    assert needs(channel, RuleState(START, *arming), reach) is wanted


def test_a_day_that_has_not_begun_is_asked_for_however_far_it_opened() -> None:
    daily = read_rule({"name": "r", "symbol": SYMBOL, "kind": "pct_day", "pct": 5})
    known = RuleState(START, seen=WATERMARK, levels=(9.0,), levels_until=WATERMARK + 9_000, levels_day=5)
    assert needs(daily, known)
    assert not needs(daily, known._replace(day=5))
    assert needs(daily, known._replace(day=5, armed_at=6))
    assert needs(daily, known._replace(day=5), now=WATERMARK + 9_000.0)
    assert not needs(daily, known._replace(day=5, levels=(None,)))


def test_minutes_that_were_committed_and_not_judged_are_asked_for() -> None:
    high = read_rule({"name": "r", "symbol": SYMBOL, "kind": "cross_up", "level": "high(2)", "interval": "1d"})
    known = RuleState(START, START, seen=WATERMARK, levels=(99.0,), levels_until=WATERMARK + 9_000)
    assert not needs(high, known)
    behind = known._replace(seen=WATERMARK - 120)
    assert needs(high, behind)
    registered = Registered(high, 1)
    state = AlertState({registered.key: behind}, {SYMBOL: SymbolState(WATERMARK)})
    assert first_minute([registered], state, SYMBOL) == WATERMARK - 120


def test_a_quote_waits_where_minutes_before_it_would_not_be_told() -> None:
    """The first minute opens at 14:14 UTC; one of those that are missing may have touched before the hours begin."""
    rule = make_rule(active={"hours": "14:17-14:30"})
    state = state_after(rule, *ARMED)
    quote = {SYMBOL: QuoteNow(11, START + 190.0)}
    assert evaluate([rule], state, {}, quote, START + 200)[0] == []
    known = [flat(0, 9), flat(1, 9), flat(2, 9), flat(3, 11)]
    assert evaluate([rule], state, {SYMBOL: known}, quote, START + 200)[0] == []
    assert len(evaluate([rule], state, {SYMBOL: known}, quote, START + 245)[0]) == 1


def test_prices_below_zero_have_a_reach_too() -> None:
    rule = make_rule("cross_up", level=-9.0)
    assert needs(rule, RuleState(START, START), (-10.5, -9.005))
    assert not needs(rule, RuleState(START, START), (-10.5, -9.02))


FAR = make_rule("cross_up", level=99.0)
ARMED_FAR = RuleState(START, START)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, False),
        ({"reach": None}, True),
        ({"quote": None}, True),
        ({"watermark": None}, True),
        ({"since": WATERMARK + 61}, True),
        ({"quote": QuoteNow(10.0, None), "reach": None}, True),
    ],
    ids=["told to be far", "no range", "no quote", "no watermark", "a range of later only", "a quote without a time"],
)
def test_what_is_not_known_to_be_far_is_asked_for(changes: dict[str, Any], wanted: bool) -> None:
    assert needs(FAR, ARMED_FAR, **changes) is wanted


def test_where_nothing_was_traded_since_the_watermark_nothing_is_asked_for() -> None:
    near = make_rule("cross_up")
    for time_s, wanted in ((WATERMARK + 59.9, False), (WATERMARK + 60.0, True)):
        assert needs(near, ARMED_FAR, quote=QuoteNow(10.0, time_s)) is wanted
        assert needs(near, None, quote=QuoteNow(10.0, time_s)) is wanted
    assert needs(near, None, watermark=None, quote=QuoteNow(10.0, 0.0))


def test_a_new_rule_is_asked_for_however_far_its_level_is() -> None:
    assert needs(FAR, None)


def test_spent_and_expired_rules_need_nothing_but_what_came_before_they_expired() -> None:
    assert not needs(make_rule(once=True), RuleState(START, None, spent=True), None, quote=None, watermark=None)

    def expiring(at: int) -> AlertRule:
        return make_rule(expires_at=datetime.fromtimestamp(at, timezone.utc))

    assert needs(expiring(WATERMARK + 61), ARMED_FAR, None)
    assert not needs(expiring(WATERMARK + 60), ARMED_FAR, None)
    assert not needs(expiring(WATERMARK), RuleState(WATERMARK, None), None, watermark=None)
    # A rule that is not created yet goes by the clock.
    assert needs(expiring(WATERMARK + 120), None, None, now=WATERMARK + 119.0)
    assert not needs(expiring(WATERMARK + 120), None, None, now=WATERMARK + 120.0)


def test_one_rule_of_several_is_enough() -> None:
    rules = [Registered(FAR, 1), Registered(make_rule("cross_up", name="near"), 2)]
    state = AlertState(dict.fromkeys((each.key for each in rules), ARMED_FAR), {SYMBOL: SymbolState(WATERMARK)})
    reach = Reach(WATERMARK + 60, 9.5, 10.5)
    assert needs_minutes(rules, state, SYMBOL, TRADED, reach, WATERMARK + 100.0)
    assert not needs_minutes(rules[:1], state, SYMBOL, TRADED, reach, WATERMARK + 100.0)
    assert not needs_minutes([], state, SYMBOL, TRADED, reach, WATERMARK + 100.0)


# --- the first side of a rule, and what is not its fault ------------------------------------------------------


def test_the_last_quote_is_the_first_side_where_no_bar_is_known() -> None:
    rule = make_rule("cross_up")
    _, state = evaluate([rule], AlertState(), {}, {SYMBOL: QuoteNow(9.0, START + 30.0)}, START + 7200.0)
    assert state.symbol(SYMBOL) == SymbolState(START, (Close(START, 9.0),))
    assert is_armed(rule, state)


@pytest.mark.parametrize("time_s", [None, START + 7_080.0, START + 7_190.0])
def test_a_quote_of_a_minute_that_may_go_on_is_no_close(time_s: float | None) -> None:
    _, state = evaluate([make_rule()], AlertState(), {}, {SYMBOL: QuoteNow(9.0, time_s)}, START + 7199.0)
    assert (state.armings, state.symbol(SYMBOL)) == ({}, SymbolState())
    _, state = evaluate([make_rule()], AlertState(), {}, {SYMBOL: QuoteNow(9.0, START + 7_079.0)}, START + 7200.0)
    assert state.watermark(SYMBOL) == START + 7_020


def test_a_quote_closes_no_minute_of_a_rule_that_is_already_watched() -> None:
    """Its minutes are still to come: one of them may have touched the level."""
    rule = make_rule("above")
    _, state = evaluate([rule], AlertState(), {SYMBOL: [flat(0, 7)]}, {}, START + 26.0)
    _, state = evaluate([rule], state, {}, {SYMBOL: QuoteNow(7.0, START + 87.0)}, START + 180.0)
    assert state.watermark(SYMBOL) is None
    alerts, _ = evaluate([rule], state, {SYMBOL: [flat(0, 7), bar(1, 10, 10, 7, 7)]}, {}, START + 600.0)
    assert [alert.touched_at for alert in alerts] == [START + 60]


def test_a_new_rule_of_a_known_symbol_takes_its_side_from_the_known_closes() -> None:
    known = AlertState({}, {SYMBOL: SymbolState(START, (Close(START, 9.0),))})
    rule = make_rule("cross_up")
    _, state = evaluate([rule], known, {}, {}, START + 600.0)
    assert is_armed(rule, state)
    assert state.symbol(SYMBOL) == known.symbol(SYMBOL)


def test_a_level_that_is_exactly_closed_at_arms_neither_way() -> None:
    for kind in ("cross_up", "cross_down", "cross"):
        rule = make_rule(kind)
        state = state_after(rule, flat(0, LEVEL))
        assert [each.armed_at for each in state.armings.values()] == [None]


@pytest.mark.parametrize(
    ("kind", "before", "touch"),
    [
        ("cross_up", 9.0, bar(1, 9.0, 9.0, 9.0, 10.0)),
        ("cross_up", 9.0, bar(1, 10.0, 9.0, 9.0, 9.0)),
        ("cross_down", 11.0, bar(1, 11.0, 11.0, 11.0, 10.0)),
        ("cross_down", 11.0, bar(1, 10.0, 11.0, 11.0, 11.0)),
    ],
)
def test_an_open_or_a_close_at_the_level_is_a_touch_whatever_high_and_low_say(
    kind: LevelKind, before: float, touch: MinuteBar
) -> None:
    rule = make_rule(kind)
    alerts, _ = commit(rule, state_after(rule, flat(0, before)), touch)
    assert [alert.touched_at for alert in alerts] == [START + 60]


def test_a_young_minute_proves_that_those_before_it_are_known() -> None:
    """The rule began long after the last trade: its first touch need not wait for the commit."""
    rule = make_rule("cross_up")
    now = START + 7_200.0
    _, state = evaluate([rule], AlertState(), {SYMBOL: [flat(0, 9)]}, {}, now)
    opened = [flat(0, 9), flat(125, 11)]
    by_quote, _ = evaluate([rule], state, {}, {SYMBOL: QuoteNow(11, now + 310.0)}, now + 310.0)
    by_bar, _ = evaluate([rule], state, {SYMBOL: opened}, {}, now + 310.0)
    assert (by_quote, [alert.touched_at for alert in by_bar]) == ([], [START + 7_500])
    too_soon, _ = evaluate([rule], state, {SYMBOL: [flat(0, 9), flat(120, 11)]}, {}, now + 59.0)
    assert too_soon == []


def test_a_rule_that_breaks_keeps_its_state_and_the_others_are_judged() -> None:
    broken = make_rule(name="broken").model_copy(update={"expires_at": "no time"})
    rules = [Registered(make_rule(name="good"), 1), Registered(broken, 2)]
    other = Registered(make_rule(name="other", symbol="X:B"), 3)
    minutes = [flat(number, 9) for number in range(10)]
    first = fold.evaluate([*rules, other], AlertState(), {SYMBOL: minutes, "X:B": minutes}, {}, START + 720.0)
    assert (len(first.state.armings), first.broken) == (3, [])
    later = {SYMBOL: [*minutes, flat(13, 11)], "X:B": [*minutes, flat(13, 11)]}
    second = fold.evaluate([*rules, other], first.state, later, {}, START + 1_000.0)
    assert {alert.rule for alert in second.alerts} == {"good", "other"}
    [(registered, error)] = second.broken
    assert (registered, type(error)) == (rules[1], AttributeError)
    assert second.state.armings[rules[1].key] == first.state.armings[rules[1].key]
    assert second.state.watermark(SYMBOL) == second.state.watermark("X:B") == START + 780


def test_bars_that_cannot_be_read_break_the_rules_of_their_symbol_alone() -> None:
    odd, good = Registered(make_rule(name="odd"), 1), Registered(make_rule("above", name="good", symbol="X:B"), 2)
    known = AlertState({odd.key: ARMED_FAR}, {SYMBOL: SymbolState(WATERMARK)})
    folded = fold.evaluate(
        [odd, good],
        known,
        {SYMBOL: [None]},  # type: ignore[list-item]
        {"X:B": QuoteNow(11.0, None)},
        START + 720.0,
    )
    assert [alert.rule for alert in folded.alerts] == ["good"]
    assert [registered for registered, _ in folded.broken] == [odd]
    assert folded.state.armings[odd.key] == ARMED_FAR
    assert folded.state.symbol(SYMBOL) == known.symbol(SYMBOL)


def test_generations_and_symbols_tell_alerts_apart() -> None:
    ids = {fold.event_id(Registered(make_rule(**changes), generation), epoch)
           for changes in ({}, {"symbol": "X:B"}, {"level": 11.0}, {"name": "other"})
           for generation in (1, 2) for epoch in (0, 60)}  # fmt: skip
    assert len(ids) == 16
