"""Rules that somebody has muted by hand, for a while: what they find meanwhile is kept, and told nobody.

A mute changes neither how a rule is armed nor which alerts there are, only whether they are told; so it is no part of
the fold. What a muted rule finds is found later, where that spares asking for bars, and never otherwise. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import MINUTE_S, Alert
from tv_etl.alerts.rules import AlertRule, Kind
from tv_etl.alerts.state import AlertState, Registered

# What is told of a rule, or of what it told.
_OF_RULES = {*get_args(Kind), "resolved", "reminder", "muted", "unmuted"}
_HOUR_S, _DAY_S = 3_600.0, 86_400.0
# A mute that is over is remembered for so long: what was touched in it may be found later.
REMEMBERED_S = 7 * _DAY_S
# A muted rule's bars are asked for at least so often: the server has only so many.
_ASKED_EVERY_S = _DAY_S


class MuteKey(NamedTuple):
    """A rule, one of its symbols ("" for all of them), and the minute in which its mute began (UTC seconds)."""

    rule: str
    symbol: str
    since: float


class HandMute(NamedTuple):
    """A mute by hand: whole minutes, from `since` on and before `until`.

    `kept_back` counts the alerts that were told nobody for it; `is_told` says that its end is told.
    """

    rule: str
    symbol: str
    since: float
    until: float
    kept_back: int = 0
    is_told: bool = False

    @property
    def key(self) -> MuteKey:
        return MuteKey(self.rule, self.symbol, self.since)

    @property
    def about(self) -> tuple[str, str]:
        """What is muted."""
        return self.rule, self.symbol

    def is_on(self, now: float) -> bool:
        """True if it lasts; one that a clock began which was far ahead does not."""
        return self.since - _HOUR_S <= now < self.until

    def covers(self, rule: str, symbol: str) -> bool:
        """True if what a rule finds of a symbol is muted."""
        return self.rule == rule and self.symbol in ("", symbol)


def is_muted(mutes: Iterable[HandMute], rule: str, symbol: str, now: float) -> bool:
    """True if a rule is muted on a symbol, or as a whole for no symbol."""
    return any(each.is_on(now) and each.covers(rule, symbol) for each in mutes)


def apply(
    alerts: Iterable[Alert], mutes: Sequence[HandMute], rules: Mapping[str, AlertRule], now: float
) -> tuple[list[Alert], dict[MuteKey, int]]:
    """The alerts, those marked that are found while their rule is muted or were touched then; how many for which mute.

    `now` is this host's clock. What is marked already, somebody else keeps back.
    """
    marked, counts = list[Alert](), dict[MuteKey, int]()
    for alert in alerts:
        found = None if alert.is_muted else _mute_of(alert, mutes, rules.get(alert.rule), now)
        if found is not None:
            counts[found.key] = counts.get(found.key, 0) + 1
            alert = replace(alert, is_muted=True)
        marked.append(alert)
    return marked, counts


def end(mutes: Sequence[HandMute], counts: Mapping[MuteKey, int], now: float) -> tuple[list[Alert], list[HandMute]]:
    """What is to be told of mutes that are over, a line for each rule or symbol of it; and which mutes those are.

    Nothing is told of one that has kept nothing back, nor of one that goes on as another.
    """
    over: dict[tuple[str, str], list[HandMute]] = {}
    for each in mutes:
        if not each.is_told and not each.is_on(now) and not is_muted(mutes, each.rule, each.symbol, now):
            over.setdefault(each.about, []).append(each)
    alerts = []
    for (rule, symbol), ended in over.items():
        kept_back = sum(each.kept_back + counts.get(each.key, 0) for each in ended)
        if kept_back:
            event_id = digest(("unmuted by hand", *ended[-1].key, now), size=16)
            name = f"{rule} for {symbol}" if symbol else rule
            text = f"rule {name}, muted by hand, is told again; {kept_back:,} of its alerts were kept back"
            alerts.append(Alert(event_id, rule, symbol, "unmuted", None, None, None, now, text))
    return alerts, [each for ended in over.values() for each in ended]


def awake(
    mine: Sequence[Registered], state: AlertState, mutes: Sequence[HandMute], now: float, host_now: float
) -> Sequence[Registered]:
    """The rules of a symbol whose bars are worth asking for: all but those muted ones that may be judged later.

    `now` is the server's clock. What was touched before a mute is found first, so that its end tells nothing of it.
    """
    if not mutes:
        return mine
    return [each for each in mine if not _rests(each, state, mutes, now, host_now)]


def _rests(each: Registered, state: AlertState, mutes: Sequence[HandMute], now: float, host_now: float) -> bool:
    arming = state.armings.get(each.key)
    if arming is None or not _has_moment(each.rule):
        return False
    judged = state.watermark(each.symbol) if arming.seen is None else arming.seen
    if judged is None or now - judged > _ASKED_EVERY_S:
        return False
    return any(
        mute.since <= judged for mute in mutes if mute.is_on(host_now) and mute.covers(each.rule.name, each.symbol)
    )


def _mute_of(alert: Alert, mutes: Sequence[HandMute], rule: AlertRule | None, now: float) -> HandMute | None:
    if alert.kind not in _OF_RULES:
        return None
    mine = [each for each in mutes if each.covers(alert.rule, alert.symbol)]
    found = next((each for each in mine if each.is_on(now)), None)
    if found is not None or alert.touched_at is None or rule is None or not _has_moment(rule):
        return found
    # A market that is replayed has a clock of its own.
    shift = now - alert.detected_at
    touched_at = alert.touched_at + (shift if abs(shift) > _DAY_S else 0.0)
    return next((each for each in mine if each.since <= touched_at < each.until and each.since <= now), None)


def _has_moment(rule: AlertRule) -> bool:
    """True if it is known when the rule fired: of volumes only the bar is known, so they are judged as they come."""
    return rule.interval_watched is None or rule.is_on_closes


def span(now: float, seconds: float) -> tuple[float, float]:
    """The whole minutes of a mute that begins now."""
    return now // MINUTE_S * MINUTE_S, -(-(now + seconds) // MINUTE_S) * MINUTE_S
