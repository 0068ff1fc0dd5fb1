"""What breaks on one rule is that rule's alone."""

import pytest

from tv_etl.alerts.isolation import evaluate_apart
from tv_etl.alerts.rules import AlertRule, MinuteBar, state_key
from tv_etl.alerts.state import AlertState

pytestmark = pytest.mark.pure


def test_a_rule_that_breaks_keeps_its_state_and_the_others_are_judged() -> None:
    good = AlertRule(name="good", symbol="X:A", kind="cross_up", level=10.0)
    broken = good.model_copy(update={"name": "broken", "expires_at": "no time"})
    rules = [good, broken, good.model_copy(update={"name": "other", "symbol": "X:B"})]
    minutes = [MinuteBar(60 * number, 9.0, 9.0, 9.0, 9.0) for number in range(10)]
    known = {"X:A": minutes, "X:B": minutes}
    _, state, problems = evaluate_apart(rules, AlertState(), known, {}, 720.0, {})
    assert (len(state.rules), dict(state.watermarks), problems) == (3, {"X:A": 540, "X:B": 540}, [])
    known = {symbol: [*minutes, MinuteBar(780, 11.0, 11.0, 11.0, 11.0)] for symbol in known}
    found, later, problems = evaluate_apart(rules, state, known, {}, 1_000.0, {})
    assert {alert.rule for alert in found} == {"good", "other"}
    [(rule, error)] = problems
    assert (rule, type(error)) == (broken, AttributeError)
    assert later.rules[state_key(broken)] == state.rules[state_key(broken)]
    assert dict(later.watermarks) == {"X:A": 780, "X:B": 780}
