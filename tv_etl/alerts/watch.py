"""The watch as a whole: whether any rule can be judged, and whether the targets can be reached.

What is wrong for so long is told once, and so is its end, on every target but the one that it is about. Pure: what
the store holds and the facts of a tick in, what is to be told and kept out.
"""

from collections.abc import Sequence

from tv_etl.alerts import health
from tv_etl.alerts.deliveries import TargetHealth
from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import Alert, HealthKind
from tv_etl.alerts.store import Memory
from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget
from tv_etl.tradingview.printable import printable

Target = ReadyTarget | UnusableTarget


def flags(memory: Memory, blind: str, now: float, silence_s: float) -> dict[str, str]:
    """What is kept of being blind, where `blind` says why no rule could be judged, and of when they were last."""
    if not blind:
        return {"blind_since": "", "blind_told": "", "judged_at": str(now)}
    since = memory.flags.get("blind_since") or str(now)
    is_told = now - float(since) >= silence_s
    return {"blind_since": since, "blind_told": "yes" if is_told or memory.flags.get("blind_told") else ""}


def watch_alerts(memory: Memory, blind: str, now: float, silence_s: float) -> list[Alert]:
    """What is to be told of being blind: when it has lasted long enough, and when it is over."""
    after = flags(memory, blind, now, silence_s)
    since, was_told = memory.flags.get("blind_since", ""), bool(memory.flags.get("blind_told"))
    if after["blind_told"] and not was_told:
        lasted = health.duration(now - float(after["blind_since"]))
        text = f"no rule has been judged for {lasted}: {printable(blind)}"
        return [_watch_alert("blind", text, now, after["blind_since"])]
    if was_told and not blind:
        text = f"the rules are judged again, after {health.duration(now - float(since))}"
        return [_watch_alert("seeing", text, now, since)]
    return []


def target_alerts(memory: Memory, targets: Sequence[Target], now: float, silence_s: float) -> list[Alert]:
    """What the others are to be told of a target: that it fails, that it does no longer, what it will never get."""
    alerts: list[Alert] = []
    after = told_targets(memory, targets, now, silence_s)
    labels = {target.key: target.label for target in targets}
    for key, told in after.items():
        was = memory.targets.get(key, TargetHealth())
        if told.is_told and not was.is_told:
            lasted_s = now - (now if told.failing_since is None else told.failing_since)
            since = f" for {health.duration(lasted_s)}" if lasted_s else ""
            text = f"the target {labels[key]} cannot be reached{since}: {told.error}"
            alerts.append(_watch_alert("target", text, now, key, told.failing_since, about=key))
        elif was.is_told and not told.is_told:
            text = f"the target {labels[key]} can be reached again"
            alerts.append(_watch_alert("target_ok", text, now, key, was.failing_since, about=key))
    for key, (number, error) in memory.untold.items():
        text = f"{number:,} alerts for the target {labels.get(key, key)} were given up: {error}"
        alerts.append(_watch_alert("dead_letters", text, now, key, memory.tick, about=key))
    return alerts


def told_targets(memory: Memory, targets: Sequence[Target], now: float, silence_s: float) -> dict[str, TargetHealth]:
    """How the targets are doing, with who has been told of it from this tick on."""
    after: dict[str, TargetHealth] = {}
    for target in targets:
        known = memory.targets.get(target.key, TargetHealth())
        since = known.failing_since
        if isinstance(target, UnusableTarget):
            known = known._replace(failing_since=now if since is None else since, error=target.reason, is_told=True)
        elif since is not None and not known.failures:  # it could not be used, and now can
            known = TargetHealth()
        elif since is None:
            known = known._replace(is_told=False)
        elif now - since >= silence_s:
            known = known._replace(is_told=True)
        after[target.key] = known
    return after


def _watch_alert(kind: HealthKind, text: str, now: float, *parts: object, about: str = "") -> Alert:
    event_id = digest((kind, *parts, now), size=16)
    return Alert(event_id, "", "", kind, None, None, None, now, text, not_to=(about,) if about else ())
