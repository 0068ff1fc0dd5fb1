"""What is sent: the alert as JSON, and as text for people."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tv_etl.alerts.fold import Alert

MAX_GROUP_LINES = 50
_EVENT_ID = re.compile("[!-~]{1,200}")  # it becomes the header Idempotency-Key


def is_event_id(text: object) -> bool:
    """True for what can be the id of an alert."""
    return isinstance(text, str) and _EVENT_ID.fullmatch(text) is not None


def alert_body(alert: Alert) -> str:
    """The alert as JSON, as it is stored and sent."""
    fields = {
        "event_id": alert.event_id,
        "rule": alert.rule,
        "symbol": alert.symbol,
        "kind": alert.kind,
        "level": alert.level,
        "price": alert.price,
        "touched_at": alert.touched_at,
        "detected_at": alert.detected_at,
        "text": alert.text,
    }
    return json.dumps(fields)


def read_body(body: object) -> dict[str, Any] | None:
    """The alert that a row holds; None where something else wrote or damaged it."""
    try:
        found = json.loads(body) if isinstance(body, str) else None
        json.dumps(found, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    names = ("event_id", "rule", "text")
    is_alert = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names)
    return found if is_alert else None


def json_message(message_id: str, alerts: Sequence[Mapping[str, Any]], is_group: bool) -> bytes:
    """One alert's fields, or `{event_id, text, alerts: [...]}`."""
    if not is_group:
        return _dump(alerts[0])
    return _dump({"event_id": message_id, "text": f"{len(alerts)} alerts", "alerts": alerts})


def slack_message(alerts: Sequence[Mapping[str, Any]]) -> bytes:
    """A text with the id of each alert, as Slack has no idempotency keys: so people see that a message came twice."""
    lines = [f"{_escape(alert['text'])} [{alert['event_id']}]" for alert in alerts[:MAX_GROUP_LINES]]
    if len(alerts) > 1:
        lines.insert(0, f"{len(alerts)} alerts")
    if len(alerts) > MAX_GROUP_LINES:
        lines.append(f"... and {len(alerts) - MAX_GROUP_LINES} more")
    return _dump({"text": "\n".join(lines)})


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _dump(document: object) -> bytes:
    return json.dumps(document, allow_nan=False).encode()
