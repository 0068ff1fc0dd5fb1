"""How severe what is told is, and who is told."""

from dataclasses import replace
from typing import Any

import pytest

from tv_etl.alerts.events import Event
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.routes import addressed
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.targets.slack import SlackTarget

pytestmark = pytest.mark.pure


def rule(name: str, severity: Any = "warning", tags: Any = (), group: str = "", message: str = "") -> AlertRule:
    """A rule of a symbol, or of a group."""
    watched = {"symbols": {"group": group}} if group else {"symbol": "X:A"}
    said = {"severity": severity, "tags": list(tags), "message": message}
    return read_rule({"name": name, "kind": "above", "level": 10, **watched, **said})


def target(name: str, **filters: Any) -> SlackTarget:
    return SlackTarget.model_validate({"type": "slack", "url_env": "HOOK", "name": name, **filters})


def alert(kind: Any = "cross_up", rule: str = "", symbol: str = "X:A", not_to: tuple[str, ...] = ()) -> Alert:
    level = 10.0 if kind == "cross_up" else None
    return Alert("0" * 32, rule, symbol, kind, level, level, 60, 90.0, "reason", not_to=not_to)


def told(found: Alert, *rules: Any, targets: Any = ()) -> Alert:
    [after] = addressed([found], {"X:A": rules}, targets)
    return after


def test_an_alert_has_what_its_rule_says() -> None:
    loud = rule("r", "critical", ["fx"], "us", "{symbol} is at {price}: {severity}")
    event = told(alert(rule="r"), loud, rule("other", "error", ["x"])).event
    assert (event.severity, event.tags, event.groups) == ("critical", ("fx",), ("us",))
    assert event.message == "X:A is at 10: critical"


def test_a_rule_that_says_nothing_has_the_defaults() -> None:
    event = told(alert(rule="r"), rule("r")).event
    assert (event.severity, event.tags, event.groups, event.message) == ("warning", (), (), "")


def test_what_is_told_of_a_symbol_is_as_severe_as_its_most_severe_rule() -> None:
    rules = (rule("a", "info", ["x"], "", "m"), rule("b", "critical", ["y"], "us", "m"))
    gone, back = (told(alert(kind), *rules).event for kind in ("no_data", "ok"))
    assert gone.severity == back.severity == "critical"
    assert gone.tags == back.tags == ("x", "y")
    assert gone.message == back.message == ""
    assert (gone.status, back.status) == ("firing", "resolved")
    assert gone.incident == back.incident != gone.event_id
    assert told(alert("late"), *rules).severity == "info"


def test_what_becomes_of_the_watch_ends_what_it_began() -> None:
    blind, seeing = told(alert("blind", symbol="")).event, told(alert("seeing", symbol="")).event
    assert (blind.severity, blind.status, seeing.status) == ("error", "firing", "resolved")
    assert blind.incident == seeing.incident
    one, again = (told(alert(kind, symbol="", not_to=("slack a",))).event for kind in ("target", "target_ok"))
    other = told(alert("target", symbol="", not_to=("slack b",))).event
    assert one.incident == again.incident != other.incident


def test_an_alert_that_ends_another_resolves_its_incident() -> None:
    event = told(replace(alert(rule="r"), ends="earlier"), rule("r", "error", message="it is up")).event
    assert (event.status, event.incident, event.severity) == ("resolved", "earlier", "error")
    assert event.message == ""


def test_targets_that_do_not_want_it_are_left_out() -> None:
    targets = [
        target("all"),
        target("pager", severity=["critical"]),
        target("fx", tags=["fx"]),
        target("us", groups=["us"]),
    ]
    found = told(alert(rule="r"), rule("r", "error", ["fx"]), targets=targets)
    assert found.not_to == ("slack pager", "slack us")
    watch = told(alert("dead_letters", symbol="", not_to=("slack all",)), targets=targets)
    assert watch.not_to == ("slack all",)


def test_an_event_is_what_the_alert_is() -> None:
    event = alert().event
    assert isinstance(event, Event)
    assert (event.event_id, event.text, event.incident) == ("0" * 32, alert().text, "0" * 32)
