"""Rules judged on bars of an interval, and which bars they need; `test_oracle` has the random histories."""

from collections.abc import Sequence
from typing import Any

import pytest

from tv_etl.alerts.closes import BarsNeeded, closed_bars, is_up_to_date, judge, needs_bars, next_opens
from tv_etl.alerts.levels import ClosedBars
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import ArmingKey, Registered, RuleState
from tv_etl.alerts.truth_table import CREATED, Crossing
from tv_etl.tradingview.trading_hours import TradingHours

pytestmark = pytest.mark.pure

HOUR, DAY = 3_600, 86_400
NIGHT = 1_790_035_200  # a midnight, UTC
NEW_YORK = TradingHours("0930-1600", "America/New_York")
CRYPTO = TradingHours("24x7", "Etc/UTC")


def rule(kind: str, **fields: Any) -> AlertRule:
    return read_rule({"name": "r", "symbol": "X:A", "kind": kind, "cooldown_s": 0} | fields)


def hours_of(*closes: float, volumes: Sequence[float | None] = (), young: int = 0) -> ClosedBars:
    """Bars of an hour from midnight on; the last `young` of them are not final."""
    rows = [
        [NIGHT + HOUR * number, close, close, close, close, (list(volumes) or [1.0] * len(closes))[number]]
        for number, close in enumerate(closes)
    ]
    return closed_bars("1h", rows, CRYPTO, NIGHT + HOUR * (len(closes) - young))


def run(rule: AlertRule, *answers: ClosedBars, interval: str = "1h") -> list[list[Crossing]]:
    """What is told of each answer, one after the other."""
    state: RuleState | None = None
    told = []
    for bars in answers:
        found, state = judge(rule, state, {interval: bars}, None)
        told.append(found)
    return told


def hours(told: list[list[Crossing]]) -> list[list[float]]:
    """In which hours the told bars ended."""
    return [[((each.touched_at or 0) - NIGHT) / HOUR for each in found] for found in told]


def test_a_close_fires_and_a_touch_does_not() -> None:
    crossing = rule("cross_up", level=10, on="close", interval="1h")
    spike = [[NIGHT + 2 * HOUR, 9, 99, 9, 9, 1.0]]
    known = [[NIGHT, 9, 9, 9, 9, 1.0], [NIGHT + HOUR, 9, 9, 9, 9, 1.0]]
    bars = closed_bars("1h", [*known, *spike], CRYPTO, NIGHT + 3 * HOUR)
    assert run(crossing, hours_of(9, 9), bars) == [[], []]
    [_, [told]] = run(crossing, hours_of(9, 9), hours_of(9, 9, 12))
    assert told == Crossing(NIGHT, False, 12.0, NIGHT + 3 * HOUR, 10.0)


def test_a_bar_that_forms_is_no_close() -> None:
    crossing = rule("cross_up", level=10, on="close", interval="1h")
    assert hours(run(crossing, hours_of(9, 9), hours_of(9, 9, 12, young=1), hours_of(9, 9, 12))) == [[], [], [3]]


def test_above_on_closes_fires_at_once_if_the_last_close_is_there() -> None:
    above = rule("above", level=10, on="close", interval="1h")
    assert hours(run(above, hours_of(9, 12), hours_of(9, 12, 13))) == [[2], []]
    assert hours(run(above, hours_of(12, 9), hours_of(12, 9, 13))) == [[], [3]]


def test_the_bar_in_which_a_rule_began_counts() -> None:
    """It closes after that."""
    below = rule("cross_down", level=10, on="close", interval="1h")
    assert hours(run(below, hours_of(12, 8, young=1), hours_of(12, 8))) == [[], [2]]


def test_closes_that_came_while_nobody_looked_are_all_told() -> None:
    crossing = rule("cross", level=10, on="close", interval="1h")
    once = run(crossing, hours_of(9), hours_of(9, 11, 8, 12))[1]
    each = run(crossing, hours_of(9), hours_of(9, 11), hours_of(9, 11, 8), hours_of(9, 11, 8, 12))[1:]
    assert [told for found in each for told in found] == once
    assert hours([once]) == [[2, 3, 4]]


def test_a_bar_volume_fires_while_the_bar_forms_and_once() -> None:
    volume = rule("bar_volume", volume=100, interval="1h")
    quiet = hours_of(1, 1, volumes=[50, 50])
    forming = hours_of(1, 1, 1, volumes=[50, 50, 120], young=1)
    told = run(volume, quiet, forming, forming, hours_of(1, 1, 1, volumes=[50, 50, 150]))
    assert [len(found) for found in told] == [0, 1, 0, 0]
    assert (told[1][0].epoch, told[1][0].price, told[1][0].level) == (NIGHT, 120, 100)
    assert run(volume, quiet, hours_of(1, 1, 1, volumes=[50, 50, 150]))[1][0].epoch == NIGHT


def test_only_a_quieter_bar_arms_a_volume_again() -> None:
    volume = rule("bar_volume", volume=100, interval="1h", on="close")
    volumes = [50, 120, 130, 99, None, 140]
    told = run(volume, hours_of(1, volumes=[50]), hours_of(*[1.0] * 6, volumes=volumes))
    assert hours(told) == [[], [2, 6]]
    unknown = run(volume, hours_of(1, volumes=[50]), hours_of(*[1.0] * 4, volumes=[50, 120, None, 130]))
    assert hours(unknown) == [[], [2]]


def test_a_volume_waits_where_an_earlier_bar_would_not_be_told() -> None:
    volume = rule("bar_volume", volume=100, interval="1h", active={"hours": "02:00-03:00"})
    _, state = judge(volume, None, {"1h": hours_of(1, volumes=[50])}, None)
    both = hours_of(1, 1, 1, volumes=[50, 60, 120], young=2)
    assert judge(volume, state, {"1h": both}, None)[0] == []
    late, _ = judge(volume, state, {"1h": hours_of(1, 1, 1, volumes=[50, 60, 120])}, None)
    assert len(late) == 1


def test_a_volume_is_compared_with_the_mean_before_it() -> None:
    ratio = rule("volume_ratio", ratio=2, bars=2, interval="1h")
    told = run(ratio, hours_of(1, 1, volumes=[10, 20]), hours_of(1, 1, 1, 1, volumes=[10, 20, 29, 60]))
    assert [[(each.price, each.level) for each in found] for found in told] == [[], [(60, 49)]]


def test_all_must_be_so_at_one_close() -> None:
    both = read_rule(
        {
            "name": "r", "symbol": "X:A", "interval": "1h", "cooldown_s": 0,
            "all": [{"kind": "above", "level": 10}, {"kind": "bar_volume", "volume": 100}],
        }
    )  # fmt: skip
    volumes = [50, 120, 120, 130, 50, 150]
    told = run(both, hours_of(9, volumes=[50]), hours_of(9, 9, 11, 12, 12, 12, volumes=volumes))
    assert hours(told) == [[], [3, 6]]
    assert [each.price for each in told[1]] == [11, 12]


def test_what_was_told_counts_at_the_next_close_already() -> None:
    """However many closes are judged at once."""
    steps = read_rule(
        {
            "name": "r", "symbol": "X:A", "interval": "1h", "cooldown_s": 0,
            "all": [{"kind": "above", "level": {"of": "last_alert", "pct": 10}}, {"kind": "above", "level": 1}],
        }
    )  # fmt: skip
    closes = [100.0, 111.0, 112.0, 110.0, 123.0, 124.0]
    at_once = run(steps, hours_of(100), hours_of(*closes))[1:]
    one_by_one = run(steps, *(hours_of(*closes[: count + 1]) for count in range(6)))[1:]
    assert hours(at_once) == [[2, 5]]
    assert [told for found in one_by_one for told in found] == at_once[0]


def test_without_levels_not_all_is_so_nor_is_it_not() -> None:
    both = read_rule(
        {
            "name": "r", "symbol": "X:A", "interval": "1h", "cooldown_s": 0,
            "all": [{"kind": "above", "level": "sma(3)"}, {"kind": "above", "level": 1}],
        }
    )  # fmt: skip
    _, state = judge(both, RuleState(0, seen=0), {"1h": hours_of(5, 5)}, None)
    assert state is not None and state.armed_at is None


def day_bars(*volumes: float, young: float | None = None) -> ClosedBars:
    every = [*volumes, *([] if young is None else [young])]
    rows = [[NIGHT + DAY * number, 1.0, 1.0, 1.0, 1.0, volume] for number, volume in enumerate(every)]
    return closed_bars("1d", rows, CRYPTO, NIGHT + DAY * len(volumes))


def test_the_volume_of_a_day_is_told_by_a_quote_or_by_its_bar_and_once() -> None:
    volume = rule("day_volume", volume=100)
    _, state = judge(volume, None, {"1d": day_bars(200, young=30)}, None)
    noon = NIGHT + DAY + 12 * HOUR
    by_quote, after = judge(volume, state, {"1d": day_bars(200, young=30)}, (noon, 110.0))
    again, after = judge(volume, after, {}, (noon + 60, 120.0))
    by_bar, _ = judge(volume, after, {"1d": day_bars(200, 150, young=0)}, None)
    assert ([each.epoch for each in by_quote], again, by_bar) == ([NIGHT + 1], [], [])
    late, _ = judge(volume, state, {"1d": day_bars(200, 150, young=0)}, None)
    assert [each.epoch for each in late] == [NIGHT + 1]


def test_each_day_has_its_own_volume() -> None:
    volume = rule("day_volume", volume=100)
    told = run(volume, day_bars(200), day_bars(200, 150, 50, 160), interval="1d")
    assert [[each.price for each in found] for found in told] == [[], [150, 160]]


def test_a_quote_of_a_day_that_is_over_tells_nothing() -> None:
    volume = rule("day_volume", volume=100)
    _, state = judge(volume, None, {"1d": day_bars(200, 150)}, None)
    assert judge(volume, state, {"1d": day_bars(200, 150)}, (NIGHT + DAY + HOUR, 150.0))[0] == []


def test_without_its_bars_a_rule_waits() -> None:
    crossing = rule("cross_up", level=10, on="close", interval="1h")
    assert judge(crossing, None, {}, None) == ([], None)
    state = RuleState(0, NIGHT, seen=NIGHT)
    assert judge(crossing, state, {"1d": day_bars(1)}, None) == ([], state)
    high = rule("cross_up", level={"of": "prev_close", "pct": 1}, on="close", interval="1h")
    found, waiting = judge(high, state, {"1h": hours_of(9, 99)}, None)
    assert found == [] and waiting is not None and waiting.seen == NIGHT


def test_above_is_armed_at_its_creation() -> None:
    _, state = judge(rule("above", level=10, on="close", interval="1h"), None, {"1h": hours_of(9)}, None)
    assert state is not None and (state.armed_at, state.seen) == (CREATED, NIGHT)


# --- which bars matter


def needs(
    rule: AlertRule,
    state: RuleState | None,
    now: float,
    traded_at: float | None = None,
    hours: TradingHours | None = CRYPTO,
) -> dict[str, BarsNeeded]:
    registered = Registered(rule, 1)
    armings: dict[ArmingKey, RuleState] = {} if state is None else {registered.key: state}
    return needs_bars([registered], armings, hours, traded_at, now, 60.0)


CLOSING = rule("cross_up", level=10, on="close", interval="1h")
SEEN = RuleState(0, NIGHT, seen=NIGHT)


@pytest.mark.parametrize(
    ("now", "traded_at", "wanted"),
    [
        (2 * HOUR + 59, None, False), (2 * HOUR + 60, None, True), (2 * HOUR + 60, HOUR - 1, False),
        (2 * HOUR + 60, HOUR, True), (9 * HOUR, HOUR - 1, False),
    ],
)  # fmt: skip
def test_closes_are_asked_for_once_one_may_have_come(now: float, traded_at: float | None, wanted: bool) -> None:
    for hours in (CRYPTO, None):
        found = needs(CLOSING, SEEN, NIGHT + now, None if traded_at is None else NIGHT + traded_at, hours)
        assert (set(found) == {"1h"}) is wanted


def test_by_its_hours_a_day_closes_in_the_afternoon() -> None:
    daily = rule("cross_up", level=10, on="close", interval="1d")
    monday = NIGHT - DAY + 13 * HOUR + HOUR // 2  # 2026-09-21, 09:30 in New York
    seen = RuleState(0, monday, seen=monday)
    tuesday_close = monday + DAY + 6 * HOUR + HOUR // 2
    assert not needs(daily, seen, tuesday_close + 59, None, NEW_YORK)
    assert set(needs(daily, seen, tuesday_close + 60, None, NEW_YORK)) == {"1d"}
    assert not needs(daily, seen, monday + DAY, None, NEW_YORK)


def test_all_that_was_missed_is_asked_for() -> None:
    assert needs(CLOSING, SEEN, NIGHT + 10 * HOUR)["1h"].bars >= 1 + 10
    assert needs(CLOSING, None, NIGHT)["1h"].bars >= 1
    average = rule("cross_up", level="sma(50)", on="close", interval="1h")
    assert needs(average, SEEN, NIGHT + 10 * HOUR)["1h"].bars >= 50 + 10


def test_a_volume_that_may_fire_early_needs_the_bar_that_forms() -> None:
    volume = rule("bar_volume", volume=10, interval="1h")
    assert needs(volume, SEEN, NIGHT + HOUR + 5, NIGHT + HOUR)["1h"].is_forming
    assert not needs(volume, SEEN, NIGHT + HOUR + 5, NIGHT)
    assert not needs(CLOSING, SEEN, NIGHT + 3 * HOUR)["1h"].is_forming


def test_the_level_of_minutes_is_looked_up_when_its_bar_ends() -> None:
    high = rule("cross_up", level="high(20)", interval="1d")
    known = RuleState(0, NIGHT, seen=NIGHT, levels=(10.0,), levels_from=NIGHT - DAY, levels_until=NIGHT + DAY)
    assert not needs(high, known, NIGHT + DAY - 1)
    assert needs(high, known, NIGHT + DAY)["1d"].bars >= 20
    assert not needs(high, known, NIGHT + DAY, NIGHT + DAY - 1)
    assert needs(high, known._replace(levels_from=NIGHT + 120), NIGHT + 300)


def test_what_is_spent_or_expired_needs_nothing() -> None:
    once = rule("cross_up", level=10, on="close", interval="1h", once=True)
    assert not needs(once, SEEN._replace(spent=True), NIGHT + 9 * HOUR)
    assert needs(once, SEEN._replace(spent=True, ends=NIGHT), NIGHT + 9 * HOUR)
    assert not needs(rule("day_volume", volume=1, expires_at="2026-01-01T00:00:00Z"), None, NIGHT)
    assert not needs(rule("cross_up", level=10), None, NIGHT)


# --- bars and trading hours


def test_a_bar_is_final_once_it_has_ended_and_nobody_says_that_it_forms() -> None:
    rows = [[NIGHT + HOUR * number, 1.0, 1.0, 1.0, 1.0, 1.0] for number in range(3)]
    times = [
        len(closed_bars("1h", rows, CRYPTO, NIGHT + until).final) for until in (HOUR - 1, HOUR, 3 * HOUR - 1, 3 * HOUR)
    ]
    assert times == [0, 1, 2, 3]
    forming = closed_bars("1h", rows, CRYPTO, NIGHT + 9 * HOUR, forming_from=NIGHT + 2 * HOUR)
    assert ([len(forming.final), len(forming.young)], forming.known_until) == ([2, 1], NIGHT + 2 * HOUR)


def test_what_would_have_ended_and_did_not_come_is_none() -> None:
    rows = [[NIGHT, 1.0, 1.0, 1.0, 1.0, 1.0]]
    assert closed_bars("1h", rows, CRYPTO, NIGHT + 9 * HOUR).known_until == NIGHT + 1
    known = closed_bars("1h", rows, CRYPTO, NIGHT + 9 * HOUR, NIGHT + 8 * HOUR + 1)
    assert known.known_until == NIGHT + 8 * HOUR
    assert closed_bars("1h", rows, CRYPTO, NIGHT + 9 * HOUR, NIGHT + 3 * HOUR).known_until == NIGHT + 3 * HOUR
    assert closed_bars("1h", rows, CRYPTO, NIGHT + 9 * HOUR, NIGHT + 9 * HOUR).known_until == NIGHT + 8 * HOUR


def test_bars_that_are_no_numbers_are_left_out() -> None:
    odd: list[list[float | None]] = [
        [NIGHT, 1.0, 1.0, float("nan"), 1.0, 1.0],
        [NIGHT + HOUR, 1.0, 1.0, 1.0, None, 1.0],
    ]
    good = [[NIGHT + 2 * HOUR, 1.0, 1.0, 1.0, 1.0, float("inf")]]
    [bar] = closed_bars("1h", [*odd, *good], CRYPTO, NIGHT + 9 * HOUR).final
    assert (bar.timestamp, bar.volume) == (NIGHT + 2 * HOUR, None)


def test_the_lake_is_enough_until_another_bar_may_have_closed() -> None:
    rows = [[NIGHT, 1.0, 1.0, 1.0, 1.0, 1.0]]
    for until, traded_at, enough in (
        (HOUR, None, True),
        (2 * HOUR - 1, None, True),
        (2 * HOUR, None, False),
        (9 * HOUR, 9, True),
    ):
        bars = closed_bars("1h", rows, CRYPTO, NIGHT + until)
        traded = None if traded_at is None else NIGHT + traded_at
        assert is_up_to_date("1h", bars, CRYPTO, traded, NIGHT + until) is enough
    assert not is_up_to_date("1h", closed_bars("1h", [], CRYPTO, NIGHT), CRYPTO, None, NIGHT)


def test_the_next_bars_open_by_the_hours() -> None:
    friday = NIGHT + 3 * DAY + 13 * HOUR + HOUR // 2  # 2026-09-25, 09:30 in New York
    assert next_opens("1d", friday, NEW_YORK) == (friday + 3 * DAY, friday + 4 * DAY)
    assert next_opens("1h", NIGHT, None) == (NIGHT + HOUR, NIGHT + 2 * HOUR)
    assert next_opens("1h", NIGHT + HOUR - 1, None) == (NIGHT + HOUR, NIGHT + 2 * HOUR)
