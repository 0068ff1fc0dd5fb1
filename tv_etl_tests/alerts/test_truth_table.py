"""The truth table where it is more than that of a level: a row at a time; `test_oracle` has the random histories."""

from typing import Any

import pytest

from tv_etl.alerts.levels import Bar, ClosedBars, Reference
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import RuleState
from tv_etl.alerts.truth_table import Levels, Sample, early_touch, fold, is_told_throughout

pytestmark = pytest.mark.pure

MINUTE = 1_790_000_040
DAY = 86_400


def rule(kind: str, **fields: Any) -> AlertRule:
    return read_rule({"name": "r", "symbol": "X:A", "kind": kind, "cooldown_s": 0} | fields)


def minute(number: int, open_: float, high: float, low: float, close: float) -> Sample:
    time = MINUTE + 60 * number
    return Sample(time, open_, high, low, close, time, close, time)


def flat(number: int, price: float) -> Sample:
    return minute(number, price, price, price, price)


def told(
    rule: AlertRule, *samples: Sample, bars: dict[str, ClosedBars] | None = None, **state: Any
) -> list[tuple[int, float, float]]:
    """Which minute touched, at what price, and which level."""
    found, _, _ = fold(rule, RuleState(MINUTE, **state), samples, Levels(rule, bars or {}))
    return [(((each.touched_at or 0) - MINUTE) // 60, each.price, each.level) for each in found if not each.is_end]


CHANNEL = {"low": 10, "high": 20}


@pytest.mark.parametrize(
    ("first", "then", "price", "edge"),
    [
        (9, (9, 10, 9, 9), 10, 10), (9, (9, 12, 9, 12), 10, 10), (9, (12, 12, 12, 12), 12, 10),
        (21, (21, 21, 20, 21), 20, 20), (21, (19, 19, 19, 19), 19, 20), (21, (21, 21, 8, 8), 20, 20),
        (9, (9, 25, 9, 25), 10, 10), (9, (22, 22, 20, 21), 20, 20),
    ],
)  # fmt: skip
def test_a_channel_is_entered_by_the_first_minute_that_meets_it(
    first: float, then: tuple[float, float, float, float], price: float, edge: float
) -> None:
    assert told(rule("enter_channel", **CHANNEL), flat(0, first), minute(1, *then)) == [(1, price, edge)]


@pytest.mark.parametrize(("first", "then"), [(9, (9, 9.9, 8, 9)), (21, (21, 22, 20.1, 21)), (9, (21, 21, 21, 21))])
def test_a_channel_that_is_jumped_over_between_two_minutes_is_not_entered(
    first: float, then: tuple[float, float, float, float]
) -> None:
    assert told(rule("enter_channel", **CHANNEL), flat(0, first), minute(1, *then)) == []


@pytest.mark.parametrize(
    ("then", "price", "edge"),
    [
        ((15, 20.1, 15, 15), 20, 20), ((15, 15, 9.9, 15), 10, 10), ((21, 21, 15, 15), 21, 20), ((9, 15, 9, 15), 9, 10),
        ((15, 25, 5, 5), 10, 10), ((15, 25, 5, 25), 20, 20), ((15, 25, 5, 15), 20, 20),
    ],
)  # fmt: skip
def test_a_channel_is_left_by_the_first_trade_outside(
    then: tuple[float, float, float, float], price: float, edge: float
) -> None:
    assert told(rule("exit_channel", **CHANNEL), flat(0, 15), minute(1, *then)) == [(1, price, edge)]


def test_the_edges_belong_to_the_channel() -> None:
    leaving = rule("exit_channel", **CHANNEL)
    assert told(leaving, flat(0, 10), minute(1, 10, 20, 10, 20), flat(2, 20.1)) == [(2, 20.1, 20)]
    entering = rule("enter_channel", **CHANNEL)
    assert told(entering, flat(0, 10), flat(1, 11), flat(2, 9), flat(3, 10)) == [(3, 10, 10)]


@pytest.mark.parametrize(("close", "again"), [(9.5, False), (9.0, True), (20.5, False), (21.0, True)])
def test_hysteresis_of_a_channel_is_beyond_both_edges(close: float, again: bool) -> None:
    entering = rule("enter_channel", hysteresis=1, **CHANNEL)
    assert len(told(entering, flat(0, 8), flat(1, 12), flat(2, close), flat(3, 12))) == (2 if again else 1)


@pytest.mark.parametrize(("close", "again"), [(10.5, False), (11.0, True), (19.5, False), (19.0, True)])
def test_hysteresis_of_leaving_is_within_both_edges(close: float, again: bool) -> None:
    leaving = rule("exit_channel", hysteresis=1, **CHANNEL)
    assert len(told(leaving, flat(0, 15), flat(1, 22), flat(2, close), flat(3, 22))) == (2 if again else 1)


def closed(*closes: float, width: int = DAY, first: int = 0, young: float | None = None) -> ClosedBars:
    """Bars one after the other, the last of which ends when the first minute opens; one that forms, if it is given."""
    begin = first or MINUTE // DAY * DAY - len(closes) * width
    bars = [Bar(begin + n * width, price, price, price, price, width, 1.0) for n, price in enumerate(closes)]
    after = begin + len(closes) * width
    forming = [] if young is None else [Bar(after, young, young, young, young, width, 1.0)]
    after += width if young is not None else 0
    return ClosedBars(bars, forming, after, (after, after + width))


@pytest.mark.parametrize(
    ("pct", "prices", "minutes"), [(5, (104, 105, 106, 104, 105), [1, 4]), (-5, (96, 95, 94, 96, 95), [1, 4])]
)
def test_a_day_is_compared_with_the_close_before_it(pct: float, prices: tuple[float, ...], minutes: list[int]) -> None:
    bars = {"1d": closed(90, 100, young=104)}
    samples = [flat(number, price) for number, price in enumerate(prices)]
    assert [each[0] for each in told(rule("pct_day", pct=pct), *samples, bars=bars)] == minutes


def test_each_day_arms_anew_whatever_was_told_the_day_before() -> None:
    daily = rule("pct_day", pct=5)
    today = {"1d": closed(100, young=110)}
    first, state, _ = fold(daily, RuleState(MINUTE), [flat(0, 106)], Levels(daily, today))
    tomorrow = {"1d": closed(100, 110, first=MINUTE // DAY * DAY - DAY, young=120)}
    later = [flat(1_440, 116), flat(1_441, 117)]
    then, after, _ = fold(daily, state, later, Levels(daily, tomorrow, state))
    assert [[each.price for each in found] for found in (first, then)] == [[106], [116]]
    assert first[0].epoch != then[0].epoch
    assert fold(daily, after, [flat(1_442, 118)], Levels(daily, tomorrow, after))[0] == []


def test_a_window_is_so_many_bars() -> None:
    bars = {"1h": closed(100, 110, 120, width=3_600, first=MINUTE // 3_600 * 3_600 - 3 * 3_600, young=105)}
    risen = rule("pct_window", pct=25, bars=3, interval="1h")
    assert told(risen, flat(0, 124.9), flat(1, 125), flat(2, 130), bars=bars) == [(1, 125, 125)]
    fallen = rule("pct_window", pct=-25, bars=1, interval="1h")
    assert told(fallen, flat(0, 91), minute(1, 91, 91, 88, 91), bars=bars) == [(1, 90, 90)]


def test_minutes_wait_for_levels_that_are_not_known() -> None:
    high = rule("cross_up", level="high(2)", interval="1d")
    bars = {"1d": closed(10, 12)}
    found, state, judged = fold(
        high, RuleState(MINUTE), [flat(0, 9), flat(1, 13), flat(1_440 * 3, 50)], Levels(high, bars)
    )
    assert [each.level for each in found] == [12]
    assert judged == MINUTE + 60
    assert fold(high, state, [flat(2, 9)], Levels(high, {}, state))[2] == MINUTE + 120


def test_without_enough_bars_there_is_no_level() -> None:
    high = rule("cross_up", level="high(3)", interval="1d")
    found, state, judged = fold(
        high, RuleState(MINUTE), [flat(0, 9), flat(1, 99)], Levels(high, {"1d": closed(10, 12)})
    )
    assert (found, state.armed_at, judged) == ([], None, MINUTE + 60)


def test_the_last_alert_is_the_close_at_which_it_was_told() -> None:
    step = rule("cross_up", level={"of": "last_alert", "pct": 10})
    samples = [
        flat(0, 100),
        flat(1, 112),
        flat(2, 120),
        flat(3, 124),
        flat(4, 120),
        flat(5, 110),
        minute(6, 110, 130, 110, 128),
    ]
    found = told(step, *samples, base=100.0)
    assert [(minute, round(level, 6)) for minute, _, level in found] == [(1, 110), (3, 123.2)]


def test_a_cooldown_does_not_move_the_last_alert() -> None:
    step = rule("cross_up", level={"of": "last_alert", "pct": 10}, cooldown_s=600)
    samples = [flat(0, 100), flat(1, 112), flat(2, 120), flat(3, 124), flat(4, 120), flat(14, 124)]
    assert [minute for minute, _, _ in told(step, *samples, base=100.0)] == [1, 14]


def test_what_ends_an_alert_is_told_once() -> None:
    above = rule("cross_up", level=10, resolved=True)
    samples = [flat(0, 9), flat(1, 11), flat(2, 12), flat(3, 9), flat(4, 8), flat(5, 11)]
    found, state, _ = fold(above, RuleState(MINUTE), samples, Levels(above, {}))
    assert [(each.is_end, each.price, each.epoch) for each in found] == [
        (False, 11, MINUTE), (True, 9, MINUTE), (False, 11, MINUTE + 180),
    ]  # fmt: skip
    assert state.ends == MINUTE + 180


def test_a_rule_that_tells_once_still_tells_its_end() -> None:
    once = rule("cross_up", level=10, resolved=True, once=True)
    samples = [flat(0, 9), flat(1, 11), flat(2, 9), flat(3, 11), flat(4, 9)]
    found, state, _ = fold(once, RuleState(MINUTE), samples, Levels(once, {}))
    assert [each.is_end for each in found] == [False, True]
    assert (state.spent, state.armed_at, state.ends) == (True, None, None)


def test_what_was_not_told_has_no_end() -> None:
    quiet = rule("cross_up", level=10, resolved=True, cooldown_s=600)
    samples = [flat(0, 9), flat(1, 11), flat(2, 9), flat(3, 11), flat(4, 9)]
    found, _, _ = fold(quiet, RuleState(MINUTE), samples, Levels(quiet, {}))
    assert [each.is_end for each in found] == [False, True]


def test_outside_its_hours_a_touch_is_followed_and_not_told() -> None:
    # The first minute opens at 14:14 UTC.
    hours = rule("cross_up", level=10, active={"hours": "14:17-14:30"}, once=True)
    samples = [flat(0, 9), flat(1, 11), flat(2, 9), flat(4, 11)]
    assert told(hours, *samples) == [(4, 11, 10)]
    assert told(hours, flat(0, 9), flat(1, 11), flat(4, 11)) == []


def test_a_touch_waits_for_its_commit_where_an_earlier_one_would_not_be_told() -> None:
    hours = rule("cross_up", level=10, active={"hours": "14:17-14:30"})
    assert is_told_throughout(hours, MINUTE + 180, MINUTE + 600)
    assert not is_told_throughout(hours, MINUTE + 120, MINUTE + 600)
    assert not is_told_throughout(hours, MINUTE + 180, MINUTE + 180 + 2 * DAY)
    assert is_told_throughout(rule("cross_up", level=10), MINUTE, MINUTE + 9 * DAY)


def test_so_many_closes_in_a_row_fire_at_the_last() -> None:
    three = rule("cross_up", level=10, on="close", interval="1m", **{"for": "3m"})
    closes = [9, 11, 11, 9.5, 11, 12, 13, 14]
    assert told(three, *(flat(number, price) for number, price in enumerate(closes))) == [(6, 13, 10)]
    dead_band = rule("cross_up", level=10, hysteresis=1, on="close", interval="1m", **{"for": "2m"})
    assert [each[0] for each in told(dead_band, *(flat(n, price) for n, price in enumerate([9, 10, 9.9, 10, 10])))] == [
        4
    ]


def test_a_close_without_a_level_breaks_the_row() -> None:
    two = rule("cross_up", level="high(2)", interval="1m", on="close", **{"for": "2m"})
    bars = {"1m": closed(10, 10, width=60, first=MINUTE - 120)}
    first, state, _ = fold(two, RuleState(MINUTE, armed_at=MINUTE - 60), [flat(0, 11)], Levels(two, bars))
    assert (first, state.pending) == ([], 1)
    short = {"1m": ClosedBars([Bar(MINUTE + 60, 9, 9, 9, 9, 60)], [], MINUTE + 61, (MINUTE + 120, MINUTE + 180))}
    assert fold(two, state, [flat(1, 11)], Levels(two, short))[1].pending == 0


def test_a_young_touch_of_another_day_waits() -> None:
    daily = rule("pct_day", pct=5)
    bars = {"1d": closed(100, 110, young=130)}
    levels = Levels(daily, bars)
    known = RuleState(MINUTE, armed_at=MINUTE, day=5)
    assert early_touch(daily, known, [flat(0, 130)], levels, MINUTE) is None
    now = levels.at(MINUTE, None)
    assert now is not None
    found = early_touch(daily, known._replace(day=now.day), [flat(0, 130)], levels, MINUTE)
    assert found is not None and found[1].level == pytest.approx(115.5)


def test_levels_are_kept_until_the_next_bar() -> None:
    high = rule("cross_up", level="high(2)", interval="1d")
    levels = Levels(high, {"1d": closed(10, 12, young=3)})
    assert levels.at(MINUTE, None) is not None
    state = levels.kept(RuleState(MINUTE))
    today = MINUTE // DAY * DAY
    assert (state.levels, state.levels_from, state.levels_until) == ((12.0,), today, today + DAY)
    known = Levels(high, {}, state)
    assert [known.at(moment, None) is None for moment in (today - 1, today, today + DAY - 1, today + DAY)] == [
        True, False, False, True,
    ]  # fmt: skip


def test_edges_that_bars_tell_may_be_the_wrong_way_round() -> None:
    odd = rule("enter_channel", low="high(1)", high="low(1)", interval="1d")
    bars = {"1d": ClosedBars([Bar(0, 15, 20, 10, 15, DAY)], [], 1, (DAY, MINUTE + DAY))}
    assert told(odd, flat(0, 25), flat(1, 15), bars=bars) == []
    assert isinstance(odd.targets[0], Reference)
