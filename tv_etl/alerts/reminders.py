"""Alerts of rules with `remind` that are neither over nor acknowledged: they are told again every so often. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from tv_etl.alerts.events import Event, digest
from tv_etl.alerts.fold import Alert, event_id
from tv_etl.alerts.health import duration
from tv_etl.alerts.state import AlertState, Registered


class Reminder(NamedTuple):
    """When an alert was last told, and how often people were reminded of it."""

    told_at: float
    times: int = 0


class Due(NamedTuple):
    """A rule with the alert of which to remind, and how often they were then reminded of it."""

    registered: Registered
    event_id: str
    times: int


def look(
    registered: Iterable[Registered],
    state: AlertState,
    before: Mapping[str, Reminder],
    acked: Collection[str],
    is_silent: Callable[[str, str], bool],
    now: float,
) -> tuple[list[Due], dict[str, Reminder]]:
    """What is due, and what is to be remembered: of every alert that is not over.

    While a rule is silent, as one that is muted, outside its hours or expired, a reminder waits.
    """
    due, after = list[Due](), dict[str, Reminder]()
    for each in registered:
        rule, arming = each.rule, state.armings.get(each.key)
        if rule.remind is None or arming is None or arming.ends is None:
            continue
        found = event_id(each, arming.ends)
        known = before.get(found, Reminder(now))
        waits_s = now - known.told_at
        is_due = waits_s >= rule.remind or waits_s < 0  # the clock was set back
        is_quiet = rule.has_expired(int(now)) or not rule.active.is_active(now) or is_silent(rule.name, each.symbol)
        if found not in acked and is_due and not is_quiet:
            known = Reminder(now, known.times + 1)
            due.append(Due(each, found, known.times))
        after[found] = known
    return due, after


def reminder(due: Due, body: Mapping[str, Any] | None, now: float) -> Alert:
    """What is told; `body` is the alert as it is stored, None where it is no longer."""
    first = Event.of_fields({"event_id": due.event_id, **(body or {})})
    rule, symbol = due.registered.rule.name, due.registered.symbol
    lasted = "" if first.detected_at is None else f" after {duration(max(0.0, now - first.detected_at))}"
    return Alert(
        digest(("reminder", due.event_id, due.times), size=16),
        rule,
        symbol,
        "reminder",
        first.level,
        first.price,
        None if first.touched_at is None else int(first.touched_at),
        now,
        f"not over{lasted}: {first.text or f'{symbol} (rule {rule})'}",
        incident=due.event_id,
    )


def acknowledgement(event_id: str, body: Mapping[str, Any], now: float) -> Alert:
    """What is told of an alert that somebody has acknowledged, to whoever has the notion."""
    first = Event.of_fields({**body, "event_id": event_id})
    return Alert(
        digest(("ack", event_id), size=16),
        first.rule,
        first.symbol,
        "ack",
        None,
        None,
        None,
        now,
        f"acknowledged: {first.text}",
        severity=first.severity,
        tags=first.tags,
        groups=first.groups,
        status="acknowledged",
        incident=first.incident,
    )
