"""Generations of rules, and what a clock that was wrong may leave behind."""

import pytest

from tv_etl.alerts.state import (
    AlertState,
    ArmingKey,
    Close,
    Generation,
    Health,
    Registered,
    Registry,
    RuleState,
    SymbolState,
    without_future,
)
from tv_etl_tests.alerts.test_fold import make_rule

pytestmark = pytest.mark.pure

ONE, EDITED, OTHER = make_rule(), make_rule(level=11.0), make_rule(name="other")


def test_a_rule_is_registered_when_it_is_first_seen_and_stays_so() -> None:
    first = Registry().register([ONE], 100.0)
    assert first.rules == {"r": Generation(100_000, ONE.revision, 100.0)}
    assert first.register([ONE], 200.0) == first


def test_every_removal_and_edit_makes_another_generation() -> None:
    """Also of what has been there before: its alerts are others."""
    generations = []
    registry = Registry()
    for now, rules in enumerate([[ONE], [], [ONE], [EDITED], [ONE]]):
        registry = registry.register(rules, float(now))
        generations += [each.generation for each in registry.rules.values()]
    assert generations == [1, 2000, 3000, 4000]


def test_rules_of_the_same_moment_and_of_a_clock_set_back_have_generations_of_their_own() -> None:
    registry = Registry().register([ONE, OTHER], 5.0)
    assert [each.generation for each in registry.rules.values()] == [5000, 5001]
    assert registry.register([EDITED, OTHER], 1.0).rules["r"].generation == 5002


def test_a_registered_rule_has_a_key_of_its_generation_and_symbol() -> None:
    [registered] = Registry().register([ONE], 5.0).registered([ONE])
    assert registered == Registered(ONE, 5000)
    assert registered.key == ArmingKey("r", 5000, registered.symbol)


def test_what_a_clock_that_was_ahead_has_left_is_forgotten() -> None:
    now, ahead = 1_000_000.0, 2_000_000
    armings = {
        ArmingKey("dead", 1, "X:A"): RuleState(ahead),
        ArmingKey("armed", 1, "X:A"): RuleState(900_000, ahead),
        ArmingKey("well", 1, "X:B"): RuleState(900_000, 900_000),
        ArmingKey("tomorrow", 1, "X:B"): RuleState(1_086_400),
    }
    well = SymbolState(900_000, (Close(900_000, 2.0),), fine_at=1_000_100.0, failures=2)
    symbols = {
        "X:A": SymbolState(ahead, (Close(ahead, 1.0),), Health("late", 1.0, "d"), hours="{}"),
        "X:B": well,
        "X:C": SymbolState(900_000, fine_at=float(ahead), minutes_missing_since=5.0, minutes_asked_at=6.0),
        "X:D": SymbolState(900_000, minutes_missing_since=float(ahead)),
        "X:E": SymbolState(900_000, minutes_asked_at=float(ahead)),
        "X:F": SymbolState(1_086_400, fine_at=1_086_400.0),
    }
    kept = without_future(AlertState(armings, symbols), now)
    assert {key.rule for key in kept.armings} == {"well", "tomorrow"}
    assert kept.symbols == {
        "X:A": SymbolState(health=Health("late", 1.0, "d"), hours="{}"),
        "X:B": well,
        "X:C": SymbolState(900_000),
        "X:D": SymbolState(900_000),
        "X:E": SymbolState(900_000),
        "X:F": SymbolState(1_086_400, fine_at=1_086_400.0),
    }
