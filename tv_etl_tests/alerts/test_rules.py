"""What a rule may say, and when it is another rule."""

from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl_tests.alerts.test_fold import make_rule

pytestmark = pytest.mark.pure


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


def test_minus_zero_is_the_level_zero() -> None:
    assert make_rule(level=0.0).revision == make_rule(level=-0.0).revision


@pytest.mark.parametrize(
    "changes",
    [{"symbol": "NYSE:IBM"}, {"kind": "cross"}, {"level": 10.5}, {"hysteresis": 1.0}, {"once": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_rule_watches_for_makes_its_revision(changes: dict[str, Any]) -> None:
    assert make_rule(**changes).revision != make_rule().revision


def test_a_name_a_cooldown_and_an_end_are_not_what_a_rule_watches_for() -> None:
    other = make_rule(name="other", cooldown_s=60.0, expires_at=datetime(2030, 1, 1, tzinfo=timezone.utc))
    assert other.revision == make_rule().revision


def test_a_rule_expires_at_the_minute_that_opens_then() -> None:
    rule = make_rule(expires_at=datetime.fromtimestamp(1_790_000_040, timezone.utc))
    assert [rule.has_expired(minute) for minute in (1_790_000_039, 1_790_000_040)] == [False, True]
    assert not make_rule().has_expired(1 << 40)


def test_only_above_and_below_are_armed_at_creation() -> None:
    armed = [make_rule(kind).is_armed_at_creation for kind in ("above", "below", "cross_up", "cross_down", "cross")]
    assert armed == [True, True, False, False, False]
