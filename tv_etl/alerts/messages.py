"""What is sent: the alert as JSON, and as lines for people that fit where they go. Pure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tv_etl.alerts.events import Event
from tv_etl.tradingview.printable import printable

if TYPE_CHECKING:
    from tv_etl.alerts.fold import Alert

MAX_LINE = 500  # of one alert among others, in characters
_EVENT_ID = re.compile("[!-~]{1,200}")  # it becomes the header Idempotency-Key


def is_event_id(text: object) -> bool:
    """True for what can be the id of an alert."""
    return isinstance(text, str) and _EVENT_ID.fullmatch(text) is not None


def alert_body(alert: "Alert") -> str:
    """The alert as JSON, as it is stored and sent."""
    return json.dumps({**asdict(alert.event), **({"is_muted": True} if alert.is_muted else {})})


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


def read_event(body: object) -> Event | None:
    """The same as an event."""
    found = read_body(body)
    return None if found is None else Event.of_fields(found)


def json_message(message_id: str, events: Sequence[Event], is_group: bool) -> bytes:
    """One alert's fields, or `{event_id, text, alerts: [...]}`."""
    if not is_group:
        return dump(asdict(events[0]))
    return dump({"event_id": message_id, "text": title(events), "alerts": [asdict(each) for each in events]})


def dump(document: Mapping[str, Any]) -> bytes:
    """JSON as short as it gets, and as UTF-8: some services limit its bytes."""
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


# --- for people


def by_severity(events: Sequence[Event]) -> list[Event]:
    """The most severe first: what does not fit is the least."""
    return sorted(events, key=lambda each: -each.rank)


def line(event: Event) -> str:
    """What the rule wants to be said, else what happened; on one line, with the severity where it is no usual one."""
    text = printable(" ".join((event.message or event.text).split()), MAX_LINE)
    return f"{event.severity.upper()}: {text}" if event.severity in ("error", "critical") else text


def linked(event: Event) -> str:
    """The same, and the page that shows it."""
    return f"{line(event)} {event.link}" if event.link else line(event)


def title(events: Sequence[Event]) -> str:
    """A line for all of them."""
    return line(events[0]) if len(events) == 1 else f"{len(events):,} alerts"


def utf16_length(text: str) -> int:
    """Length as Telegram and Discord count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fitted(
    lines: Sequence[str], limit: int, length: Callable[[str], int] = len, escape: Callable[[str], str] = str
) -> str:
    """As many whole lines, escaped, as a message may hold; if not all, the last says how many more there are."""
    if length(whole := "\n".join(escape(each) for each in lines)) <= limit:
        return whole
    shown: list[str] = []
    used = 0
    for number, each in enumerate(lines):
        text, rest = escape(each), len(lines) - number - 1
        size = length(text) + (1 if shown else 0)
        if used + size + (length(_more(rest)) + 1 if rest else 0) > limit:
            break
        shown.append(text)
        used += size
    missing = len(lines) - len(shown)
    if missing and not shown:
        room = limit - (length(_more(missing - 1)) + 1 if missing > 1 else 0)
        shown, missing = [_cut(lines[0], room, length, escape)], missing - 1
    return "\n".join([*shown, *([_more(missing)] if missing else [])])


def _more(count: int) -> str:
    return f"and {count:,} more, see the alerts in Dagster"


def _cut(text: str, room: int, length: Callable[[str], int], escape: Callable[[str], str]) -> str:
    # By whole characters before they are escaped: half an entity would be no text.
    shortest, longest = 0, len(text)
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if length(escape(f"{text[:middle]}…")) <= room:
            shortest = middle
        else:
            longest = middle - 1
    return escape(text if shortest == len(text) and length(escape(text)) <= room else f"{text[:shortest]}…")
