"""What a rule may say, and when it is another rule."""

from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.alerts.rules import AlertRule, read_rule
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


def any_rule(**fields: Any) -> AlertRule:
    return read_rule({"name": "r", "symbol": "NASDAQ:AAPL"} | fields)


def test_a_rule_as_it_was_before_there_were_kinds_and_options_is_the_same_rule() -> None:
    """Another revision would arm it anew when tv_etl is updated."""
    assert any_rule(kind="cross_up", level=10).revision == "78004f78002deafc"


@pytest.mark.parametrize(
    "changes",
    [
        {"cooldown": "1h"}, {"active": {"hours": "09:30-16:00"}}, {"resolved": True}, {"severity": "critical"},
        {"tags": ["a"]}, {"message": "{symbol}"}, {"run": "job"}, {"interval": "1h"},
    ],
)  # fmt: skip
def test_how_it_is_told_is_not_what_a_rule_watches_for(changes: dict[str, Any]) -> None:
    assert any_rule(kind="above", level=10, **changes).revision == any_rule(kind="above", level=10).revision


def test_whatever_is_watched_for_makes_another_revision() -> None:
    rules: list[dict[str, Any]] = [
        {"kind": "above", "level": 10}, {"kind": "above", "level": 10, "on": "close", "interval": "1h"},
        {"kind": "above", "level": 10, "on": "close", "interval": "1d"},
        {"kind": "above", "level": 10, "on": "close", "interval": "1h", "for": "2h"},
        {"kind": "above", "level": "high(2)", "interval": "1h"},
        {"kind": "above", "level": "high(3)", "interval": "1h"},
        {"kind": "above", "level": "high(2)", "interval": "1d"}, {"kind": "above", "level": "low(2)", "interval": "1h"},
        {"kind": "above", "level": {"of": "high(2)", "pct": 1}, "interval": "1h"},
        {"kind": "above", "level": 10, "active": {"session": "extended"}},
        {"kind": "enter_channel", "low": 1, "high": 2}, {"kind": "exit_channel", "low": 1, "high": 2},
        {"kind": "pct_day", "pct": 1}, {"kind": "pct_day", "pct": 2},
        {"kind": "pct_window", "pct": 1, "bars": 2, "interval": "1h"},
        {"kind": "pct_window", "pct": 1, "bars": 3, "interval": "1h"}, {"kind": "bar_volume", "volume": 5},
        {"kind": "bar_volume", "volume": 5, "interval": "1h"}, {"kind": "day_volume", "volume": 5},
        {"kind": "volume_ratio", "ratio": 2}, {"kind": "volume_ratio", "ratio": 2, "bars": 5},
        {"interval": "1d", "all": [{"kind": "above", "level": 1}, {"kind": "above", "level": 2}]},
        {"interval": "1d", "all": [{"kind": "above", "level": 1}, {"kind": "below", "level": 2}]},
    ]  # fmt: skip
    assert len({any_rule(**fields).revision for fields in rules}) == len(rules)


def test_the_symbols_of_a_rule_for_many_are_no_part_of_its_revision() -> None:
    fields = {"name": "r", "kind": "above", "level": 10}
    listed = [read_rule(fields | {"symbols": symbols}) for symbols in (["X:A"], ["X:A", "X:B"], {"group": "us"})]
    assert len({each.revision for each in listed}) == 1
    assert [each.groups for each in listed] == [(), (), ("us",)]


@pytest.mark.parametrize(
    ("fields", "seconds"), [({}, 900), ({"cooldown": "2h"}, 7_200), ({"cooldown": "0s"}, 0), ({"cooldown_s": 1.5}, 1.5)]
)
def test_by_default_a_rule_is_silent_for_a_quarter_of_an_hour(fields: dict[str, Any], seconds: float) -> None:
    assert any_rule(kind="above", level=10, **fields).cooldown_seconds == seconds


def test_a_rule_names_the_bars_that_tell_its_levels() -> None:
    channel: dict[str, Any] = {"kind": "enter_channel", "low": "prev_close", "high": "high(20)", "interval": "1h"}
    both: dict[str, Any] = {
        "interval": "4h",
        "all": [{"kind": "above", "level": "sma(50)"}, {"kind": "volume_ratio", "ratio": 2}],
    }
    found = [any_rule(**fields).references for fields in (channel, both, {"kind": "pct_day", "pct": 5})]
    assert found == [{"1d": 1, "1h": 20}, {"4h": 50}, {"1d": 1}]
    assert any_rule(kind="above", level="last_alert").references == {}


def test_yaml_may_read_the_key_on_as_true() -> None:
    fields = {"name": "r", "symbol": "X:A", "kind": "above", "level": 1, "interval": "1h", True: "close"}
    assert read_rule(fields).is_on_closes  # type: ignore[arg-type]


def test_a_reminder_wants_an_end_and_is_no_part_of_what_is_watched() -> None:
    plain = any_rule(kind="above", level=10, resolved=True)
    reminding = any_rule(kind="above", level=10, resolved=True, remind="4h")
    assert (plain.remind, reminding.remind) == (None, 4 * 3_600)
    assert plain.revision == reminding.revision
    with pytest.raises(ValidationError, match="until when\\? write resolved: true as well"):
        any_rule(kind="above", level=10, remind="4h")
    with pytest.raises(ValidationError, match="30s is too often; write a minute or more"):
        any_rule(kind="above", level=10, resolved=True, remind="30s")
