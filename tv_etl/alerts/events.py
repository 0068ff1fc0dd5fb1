"""What an alert is once it is told: one event, whose fields every message and template uses.

Pure. A field that a rule, or an older row of the store, does not have, has its default here and nowhere else.
"""

import hashlib
import json
import math
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Literal, get_args

Severity = Literal["info", "warning", "error", "critical"]
Status = Literal["firing", "resolved", "acknowledged"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # ascending
DEFAULT_SEVERITY: Severity = "warning"
# How collecting goes; its end is `ok`.
OF_COLLECTING = frozenset(
    f"{kind}{end}"
    for kind, entry in (("run", "_failed"), ("check", "_failed"), ("loss", ""), ("seam", ""), ("sensor", "_failed"))
    for end in (entry, "_ok")
)
TEMPLATE_RIGHT = "write fields as {symbol}, and a brace itself as {{ or }}"


@dataclass(frozen=True)
class Event:
    """One alert as it is stored and sent; the name of each field may stand in a template."""

    event_id: str = field(metadata={"is": "Id of the alert, the same however often it is sent."})
    rule: str = field(default="", metadata={"is": "Name of the rule; empty where none, or several, are concerned."})
    symbol: str = field(default="", metadata={"is": "What it is about; empty for the watch itself."})
    kind: str = field(default="", metadata={"is": "What happened, e.g. cross_up, no_data."})
    level: float | None = field(default=None, metadata={"is": "The level of the rule."})
    price: float | None = field(default=None, metadata={"is": "The price that touched it."})
    touched_at: int | None = field(default=None, metadata={"is": "When it did, in seconds since 1970 UTC."})
    detected_at: float | None = field(default=None, metadata={"is": "When that was found."})
    text: str = field(default="", metadata={"is": "One line for people."})
    severity: Severity = field(default=DEFAULT_SEVERITY, metadata={"is": f"{', '.join(SEVERITIES)}."})
    tags: tuple[str, ...] = field(default=(), metadata={"is": "Tags of the rule."})
    groups: tuple[str, ...] = field(default=(), metadata={"is": "Groups that the rule is for."})
    message: str = field(default="", metadata={"is": "What the rule wants to be said; empty where it does not say."})
    status: Status = field(
        default="firing", metadata={"is": "firing; resolved or acknowledged where an earlier one is."}
    )
    incident: str = field(default="", metadata={"is": "Id of what it began or ends; the event's own by default."})
    link: str = field(default="", metadata={"is": "Page of Dagster that shows it, where its address is known."})

    def __post_init__(self) -> None:
        if not self.incident:
            object.__setattr__(self, "incident", self.event_id)

    @property
    def time(self) -> str:
        """When it happened, in ISO 8601 and UTC, to the second; empty where that is unknown."""
        moment = self.detected_at if self.touched_at is None else self.touched_at
        try:
            return "" if moment is None else datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        except (OverflowError, ValueError, OSError):
            return ""

    @property
    def is_of_watch(self) -> bool:
        """True for what becomes of the watch itself: nobody else would tell, so it goes everywhere."""
        return not self.symbol and not self.rule and self.kind not in OF_COLLECTING

    @property
    def rank(self) -> int:
        """Greater for what is more severe."""
        return SEVERITIES.index(self.severity)

    def values(self) -> dict[str, Any]:
        """What templates may name, with values as JSON has them."""
        return {**json.loads(json.dumps(asdict(self))), "time": self.time}

    @classmethod
    def of_fields(cls, found: Mapping[str, Any]) -> "Event":
        """The event of a stored row; what is missing, or not what it should be, has its default."""
        kept: dict[str, Any] = {}
        for name, fits in _TYPES.items():
            if name in found and fits(found[name]):
                kept[name] = tuple(found[name]) if isinstance(found[name], list) else found[name]
        return cls(**kept)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


_TYPES: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("event_id", "rule", "symbol", "kind", "text", "message", "incident", "link"), _is_text),
    **dict.fromkeys(("level", "price", "touched_at", "detected_at"), _is_number),
    **dict.fromkeys(("tags", "groups"), _are_texts),
    "severity": lambda value: value in SEVERITIES,
    "status": lambda value: value in get_args(Status),
}
# What a template may name, and what it is.
FIELDS: dict[str, str] = {
    **{each.name: str(each.metadata["is"]) for each in fields(Event)},
    "time": "When it happened, e.g. 2026-11-18T15:00:30Z.",
}


# --- templates: names of fields in braces, nothing else


def check_template(text: str, known: Collection[str] = ()) -> str:
    """The template, if it names only fields, or only those that may be `known` to it. Raises ValueError."""
    known = known or FIELDS
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{error}; {TEMPLATE_RIGHT}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in known:
            raise ValueError(f"{{{name}}} is no field of an alert; known fields: {', '.join(known)}")
        if form or conversion:
            raise ValueError(f"{{{name}}} can have no format; {TEMPLATE_RIGHT}")
    return text


def render(text: str, event: Event) -> str:
    """A checked template with the event's values; what is absent is empty."""
    values, parts = event.values(), string.Formatter().parse(text)
    return "".join(before + ("" if name is None else _shown(values[name])) for before, name, _, _ in parts)


def render_document(template: Any, event: Event) -> Any:
    """A document of JSON whose texts are templates; one that is only a field becomes its value as JSON has it."""
    if isinstance(template, dict):
        return {key: render_document(value, event) for key, value in template.items()}
    if isinstance(template, list):
        return [render_document(each, event) for each in template]
    if not isinstance(template, str):
        return template
    parts = list(string.Formatter().parse(template))
    if len(parts) == 1 and parts[0][0] == "" and parts[0][1] is not None:
        return event.values()[parts[0][1]]
    return render(template, event)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def digest(parts: Iterable[object], size: int) -> str:
    """A hash of values that JSON can hold, `size` bytes in hex."""
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=size).hexdigest()
