"""Alerts by hand: a test of a target."""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.calls import call_once
from tv_etl.alerts.targets.target import Envelope, TargetSpec, UnusableTarget, Verdict, ready


class AlertsError(Exception):
    """What was asked for cannot be done."""


class Tried(NamedTuple):
    """What was sent to a target, without its secrets, and what became of it."""

    label: str
    sent: str
    verdict: Verdict


def find_target(targets: Sequence[TargetSpec], name: str) -> TargetSpec:
    """The target that is called so. Raises AlertsError, which names those that there are."""
    for each in targets:
        if each.called == name:
            return each
    known = ", ".join(each.called for each in targets)
    raise AlertsError(f"no target is called {name!r}; {f'there are {known}' if known else 'the watchlist has none'}")


def send_test(spec: TargetSpec, environment: Mapping[str, str]) -> Tried:
    """Send a test to a target, once. Raises AlertsError for one that cannot be called as it is configured."""
    target = ready(spec, environment)
    if isinstance(target, UnusableTarget):
        raise AlertsError(f"{target.label}: {target.reason}")
    text = f"This is a test of the target {spec.called}, sent by tv-etl alerts send-test."
    now = time.time()
    event = Event(uuid.uuid4().hex, kind="test", text=text, severity="info", detected_at=now)
    envelope = Envelope(event.event_id, [event], False, now)
    sent = target.secrets.redact(spec.shown(target.secrets, envelope))
    try:
        return Tried(target.label, sent, asyncio.run(call_once(target, envelope)))
    except ValueError as error:
        raise AlertsError(str(error)) from None
