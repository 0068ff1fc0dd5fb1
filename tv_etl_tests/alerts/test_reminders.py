"""Of what is neither over nor acknowledged people are reminded."""

from typing import Any

import pytest

from tv_etl.alerts import reminders
from tv_etl.alerts.fold import event_id
from tv_etl.alerts.reminders import Due, Reminder
from tv_etl.alerts.rules import read_rule
from tv_etl.alerts.state import AlertState, Registered, RuleState

pytestmark = pytest.mark.pure

NOW = 1_790_000_000.0
HOUR_S = 3_600.0


def registered(**fields: Any) -> Registered:
    named = {"name": "r", "symbol": "X:A", "kind": "above", "level": 1.0, "resolved": True, "remind": "4h"}
    return Registered(read_rule(named | fields), 7)


def look(
    known: dict[str, Reminder],
    at: float = NOW,
    ends: int | None = 60,
    acked: tuple[str, ...] = (),
    silent: bool = False,
    **fields: Any,
) -> tuple[list[int], dict[str, Reminder]]:
    """The numbers of the reminders that are due, and what is remembered."""
    rule = registered(**fields)
    state = AlertState({rule.key: RuleState(0, ends=ends)})
    due, after = reminders.look([rule], state, known, acked, lambda rule, symbol: silent, at)
    assert all(each.event_id == event_id(rule, 60) for each in due)
    return [each.times for each in due], after


OPEN = event_id(registered(), 60)


def test_the_first_is_due_as_long_after_the_alert_as_the_next_after_it() -> None:
    due, known = look({})
    assert (due, known) == ([], {OPEN: Reminder(NOW)})
    assert look(known, NOW + 4 * HOUR_S - 1) == ([], known)
    due, known = look(known, NOW + 4 * HOUR_S)
    assert (due, known) == ([1], {OPEN: Reminder(NOW + 4 * HOUR_S, 1)})
    assert look(known, NOW + 8 * HOUR_S - 1) == ([], known)
    assert look(known, NOW + 8 * HOUR_S)[0] == [2]


def test_there_is_none_of_what_is_over_or_of_a_rule_that_does_not_ask_for_it() -> None:
    known = {OPEN: Reminder(NOW)}
    assert look(known, NOW + 4 * HOUR_S, ends=None) == ([], {})
    assert look(known, NOW + 4 * HOUR_S, remind=None) == ([], {})


def test_what_is_acknowledged_is_remembered_and_not_told() -> None:
    known = {OPEN: Reminder(NOW, 3)}
    assert look(known, NOW + 4 * HOUR_S, acked=(OPEN,)) == ([], known)


@pytest.mark.parametrize(
    "silence", [{"silent": True}, {"active": {"hours": "00:00-00:01"}}, {"expires_at": "2020-01-01T00:00:00Z"}]
)
def test_while_a_rule_is_silent_a_reminder_waits(silence: dict[str, Any]) -> None:
    known = {OPEN: Reminder(NOW)}
    assert look(known, NOW + 9 * HOUR_S, **silence) == ([], known)
    assert look(known, NOW + 9 * HOUR_S)[0] == [1]


def test_a_clock_that_was_set_back_delays_none_for_long() -> None:
    assert look({OPEN: Reminder(NOW + 1e8)}) == ([1], {OPEN: Reminder(NOW, 1)})


BODY = {
    "event_id": OPEN,
    "rule": "r",
    "symbol": "X:A",
    "text": "X:A is above 1 at 2 (rule r)",
    "level": 1.0,
    "price": 2.0,
}
BODY |= {"touched_at": 1_789_999_980, "detected_at": NOW, "severity": "error", "tags": ["fx"]}


def test_a_reminder_says_since_when_and_is_of_the_same_incident() -> None:
    told = [reminders.reminder(Due(registered(), OPEN, times), BODY, NOW + 4 * HOUR_S * times) for times in (1, 1, 2)]
    assert told[0].event_id == told[1].event_id != told[2].event_id
    event = told[0].event
    assert (event.kind, event.status, event.incident) == ("reminder", "firing", OPEN)
    assert event.text == "not over after 4 hours: X:A is above 1 at 2 (rule r)"
    assert (event.level, event.price, event.touched_at) == (1.0, 2.0, 1_789_999_980)


def test_a_reminder_of_what_is_no_longer_stored_names_its_rule() -> None:
    assert reminders.reminder(Due(registered(), OPEN, 1), None, NOW).text == "not over: X:A (rule r)"


def test_an_acknowledgement_goes_where_the_alert_went() -> None:
    event = reminders.acknowledgement(OPEN, BODY | {"incident": "i"}, NOW).event
    assert (event.status, event.incident, event.kind) == ("acknowledged", "i", "ack")
    assert (event.severity, event.tags, event.rule, event.symbol) == ("error", ("fx",), "r", "X:A")
    assert event.text == "acknowledged: X:A is above 1 at 2 (rule r)"
