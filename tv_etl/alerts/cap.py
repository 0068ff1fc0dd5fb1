"""A cap on a rule that fires too often: it is muted for an hour, and that is told.

What it finds meanwhile is kept, and told nobody. It counts what is told when it is told, so it is no part of the fold:
which alerts there are never depends on it. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, get_args

from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import Alert, HealthKind
from tv_etl.alerts.rules import Kind
from tv_etl.alerts.state import Registry

CAP = 15
WITHIN_S = 180.0
MUTED_S = 3_600.0
_OF_RULES = {*get_args(Kind), "resolved"}


class Mute(NamedTuple):
    """When a rule has fired lately, until when it is muted, and how many of its alerts were kept back so far."""

    generation: int
    fired: tuple[float, ...] = ()
    until: float = 0.0
    kept_back: int = 0

    def after(self, now: float) -> "Mute":
        """Without what is too long ago to count, or from a clock that was set back."""
        return self._replace(fired=tuple(each for each in self.fired if 0 <= now - each < WITHIN_S))


def apply(
    alerts: Iterable[Alert], before: Mapping[str, Mute], registry: Registry, now: float
) -> tuple[list[Alert], dict[str, Mute]]:
    """The alerts, those of muted rules marked, with what is to be told of it; and what is to be remembered.

    What is marked already was told nobody, and does not count.
    """
    told: list[Alert] = []
    mutes: dict[str, Mute] = {}
    for name, known in registry.rules.items():
        was = before.get(name)
        if was is None or was.generation != known.generation:
            continue
        mute = was.after(now)
        if was.until and not now < was.until <= now + MUTED_S:
            told.append(_alert("unmuted", name, known.generation, now, _over(name, was), was.until))
            mute = mute._replace(until=0.0, kept_back=0, fired=())
        mutes[name] = mute
    for alert in alerts:
        if alert.kind not in _OF_RULES or alert.is_muted:
            told.append(alert)
            continue
        known_rule = registry.rules[alert.rule]
        mute = mutes.get(alert.rule) or Mute(known_rule.generation)
        if not mute.until and alert.kind != "resolved":
            mute = mute._replace(fired=(*mute.fired, now))
            if len(mute.fired) > CAP:
                mute = mute._replace(until=now + MUTED_S, fired=())
                told.append(_alert("muted", alert.rule, known_rule.generation, now, _begun(alert.rule), now))
        if mute.until:
            mute = mute._replace(kept_back=mute.kept_back + 1)
            alert = replace(alert, is_muted=True)
        mutes[alert.rule] = mute
        told.append(alert)
    return told, {name: mute for name, mute in mutes.items() if mute.fired or mute.until}


def _begun(rule: str) -> str:
    return (
        f"rule {rule} has fired more than {CAP} times in {WITHIN_S / 60:.0f} minutes: muted for "
        f"{MUTED_S / 60:.0f} minutes, what it finds is kept and not told"
    )


def _over(rule: str, mute: Mute) -> str:
    return f"rule {rule} is told again; {mute.kept_back:,} of its alerts were kept back"


def _alert(kind: HealthKind, rule: str, generation: int, now: float, text: str, since: float) -> Alert:
    event_id = digest((kind, rule, generation, since), size=16)
    return Alert(event_id, rule, "", kind, None, None, None, now, text)
