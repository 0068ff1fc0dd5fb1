"""One tick of the notifications: sightings → fold → store → delivery. A sensor or a test calls it.

What was seen, how far it was read and what is to be told are stored in one transaction, and delivered from there. So a
tick that is killed anywhere reads the same again, or has stored what it found; no turn is lost, and none told twice
under two ids.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from tv_etl.alerts import health
from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.database import StoreBusy
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.notices import Routing, notices
from tv_etl.alerts.store import AlertStore, Handled
from tv_etl.alerts.tick import PRUNE_EVERY, Keep, keep_events
from tv_etl.alerts.trouble_store import KnownTroubles
from tv_etl.alerts.troubles import Sighting, fold
from tv_etl.alerts.watch import Target, target_alerts, told_targets
from tv_etl.tradingview.printable import printable


class Look(NamedTuple):
    """What a tick saw, how far each source was read by now, and what could not be."""

    sightings: Sequence[Sighting]
    marks: Mapping[str, str]
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class NotifyReport:
    """What a tick did; `untold` of what it found waits for no target."""

    found: tuple[Alert, ...] = ()
    untold: int = 0
    open: int = 0
    sent: int = 0
    retried: int = 0
    dead: int = 0
    problems: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"{len(self.found):,} notification{'' if len(self.found) == 1 else 's'}, {self.sent:,} alerts delivered"
        if self.retried or self.dead:
            text += f", {self.retried:,} to be retried, {self.dead:,} given up"
        if self.untold:
            text += f"; {self.untold:,} for which there is no target are kept in the store"
        text += f"; {self.open:,} in trouble" if self.open else "; all is well"
        for alert in self.found[:3]:
            text += f"; {printable(alert.text, 200)}"
        return text


def run_notify(
    store: AlertStore,
    targets: Sequence[Target],
    read: Callable[[KnownTroubles], Look],
    routing: Routing,
    clock: Callable[[], float],
    *,
    keep: Keep | None = None,
    watches_targets: bool = False,
    silence_s: float = health.SILENCE_S,
) -> NotifyReport:
    """Read what happened, store what is to be told of it, and deliver what is due.

    `read` is given what the last tick left. `watches_targets` where no tick of rules does: then it is told here that a
    target cannot be reached, and here the store is pruned. Raises StoreBusy while another one runs, and StoreError.
    """
    with store.exclusive("notify"):
        known = store.load_troubles()
        seen = read(known)
        folded = fold(known.open, known.last, seen.sightings)
        found = [_addressed(each, routing, targets) for each in notices(folded.turns, routing, clock())]
        keys = [target.key for target in targets]
        store.commit_troubles(known, folded, seen.marks, found, keys)
    report, problems = DeliveryReport(), list(seen.problems)
    # Whose tick is running delivers what is due, or the next one does.
    with suppress(StoreBusy), store.exclusive():
        if watches_targets:
            _watch_targets(store, targets, clock(), silence_s, is_kept=keep is not None)
        report = deliver(store, targets, clock())
        if keep is not None:
            keep_events(store, keep, clock(), problems)
    return NotifyReport(
        tuple(found),
        sum(set(each.not_to) >= set(keys) for each in found),
        len(folded.open),
        report.sent,
        report.retried,
        report.dead,
        (*problems, *report.errors),
    )


def _addressed(alert: Alert, routing: Routing, targets: Sequence[Target]) -> Alert:
    return replace(alert, not_to=routing.not_to(alert.event, targets))


def _watch_targets(
    store: AlertStore, targets: Sequence[Target], now: float, silence_s: float, *, is_kept: bool
) -> None:
    memory = store.load()
    alerts = target_alerts(memory, targets, now, silence_s)
    told = told_targets(memory, targets, now, silence_s)
    keys = [target.key for target in targets]
    as_before = Handled(reminders=memory.reminders)
    after = store.commit(
        memory, [], memory.registry, memory.state, alerts, keys, now, {}, told, memory.mutes, as_before
    )
    if after.tick % PRUNE_EVERY == 0:
        store.prune(now, is_kept=is_kept)
