"""What is told with how much severity, of which rules, and to which targets. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, get_args

from tv_etl.alerts.events import SEVERITIES, Event, Severity, digest, render
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.rules import AlertRule, Kind

# What becomes of the watch itself; it goes to every target.
_OF_THE_WATCH: dict[str, Severity] = {
    "blind": "error", "seeing": "info", "target": "error", "target_ok": "info", "dead_letters": "error",
}  # fmt: skip
_OF_A_SYMBOL = {"ok", "late", "no_data", "no_reference", "refused", "dead", "readjusted"}
_ENDS = {"ok", "seeing", "target_ok"}
_SAY = {*get_args(Kind), "reminder"}  # what the rule's own message is for


class _Target(Protocol):
    @property
    def key(self) -> str: ...

    def wants(self, event: Event) -> bool: ...


def addressed(
    alerts: Iterable[Alert], rules: Mapping[str, Sequence[AlertRule]], targets: Sequence[_Target]
) -> list[Alert]:
    """The alerts with what their rules say, and without the targets that do not want them.

    `rules` are those of each symbol, and all of them for "". What is told of a symbol is as severe as the most severe
    of its rules, but for a feed that is merely late.
    """
    found = []
    for alert in alerts:
        told = _with_rules(alert, rules.get(alert.symbol, ()))
        unwanted = [each.key for each in targets if each.key in alert.not_to or not each.wants(told.event)]
        found.append(replace(told, not_to=tuple(dict.fromkeys((*alert.not_to, *unwanted)))))
    return found


def _with_rules(alert: Alert, rules: Sequence[AlertRule]) -> Alert:
    if alert.kind == "ack":
        return alert  # it goes where the acknowledged one went
    status = "resolved" if alert.kind in _ENDS else alert.status
    if alert.kind in _OF_THE_WATCH:
        incident = digest(("watch", *alert.not_to), size=16) if alert.kind != "dead_letters" else ""
        return replace(alert, severity=_OF_THE_WATCH[alert.kind], status=status, incident=incident)
    about = [each for each in rules if not alert.rule or each.name == alert.rule]
    incident = digest(("symbol", alert.symbol), size=16) if alert.kind in _OF_A_SYMBOL else alert.incident
    severities = [each.severity for each in about]
    told = replace(
        alert,
        severity="info" if alert.kind == "late" else max([*severities] or [alert.severity], key=SEVERITIES.index),
        tags=_union(each.tags for each in about),
        groups=_union([each.group] for each in about if each.group is not None),
        status=status,
        incident=incident,
    )
    template = about[0].message if len(about) == 1 and alert.kind in _SAY and not alert.ends else ""
    if not template:
        return told
    message = render(template, told.event)
    return replace(told, message=f"reminder: {message}" if alert.kind == "reminder" else message)


def _union(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for part in parts for each in part))
