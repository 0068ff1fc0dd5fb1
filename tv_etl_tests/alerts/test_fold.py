"""Each row of the fold's truth table by itself; `test_oracle` has the random histories."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from tv_etl.alerts import fold
from tv_etl.alerts.fold import Alert, MinuteBar, QuoteNow
from tv_etl.alerts.rules import AlertRule, Kind
from tv_etl.alerts.state import AlertState, Registered, Registry, RuleState, SymbolState

pytestmark = pytest.mark.pure

SYMBOL = "NASDAQ:AAPL"
START = 1_790_000_040  # opens a minute
LEVEL = 10.0
KINDS: tuple[Kind, ...] = ("above", "below", "cross_up", "cross_down", "cross")


def make_rule(kind: Kind = "cross_up", **changes: Any) -> AlertRule:
    fields = {"name": "r", "symbol": SYMBOL, "kind": kind, "level": LEVEL} | changes
    return AlertRule.model_validate(fields)


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
