"""What is to be told, to whom, and how far that is: events, their deliveries, and how each target is doing.

A delivery waits until it is sent or given up, and knows its target by its key alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from tv_etl.alerts.database import DELIVERY, EVENT, MARK, META, REMINDER, TARGET, Database, parts
from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.messages import alert_body, is_event_id, read_body

# `next_at` and `held_until` are never set further ahead than this; where they are, the clock was set back.
MAX_WAIT_S = 3600.0
MAX_GROUP = 1000


@dataclass(frozen=True)
class Delivery:
    """One alert on its way to one target; `body` is the alert as JSON."""

    id: int
    event_id: str
    target: str
    body: str
    group_id: str | None
    attempts: int
    first_at: float | None

    @property
    def is_readable(self) -> bool:
        """False where something else wrote or damaged the row: it cannot be sent."""
        return is_event_id(self.event_id) and read_body(self.body) is not None


@dataclass(frozen=True)
class DeadLetter:
    """An alert that its target will not get, and why."""

    event_id: str
    rule: str
    text: str
    error: str
    target: str


@dataclass(frozen=True)
class DeliveryStats:
    """Rows of deliveries (an alert counts once per target)."""

    pending: int
    delivered: int
    dead: int


class TargetHealth(NamedTuple):
    """How a target has been doing: since when it has failed, with what, and whether others were told."""

    failures: int = 0
    held_until: float = 0.0
    failing_since: float | None = None
    error: str = ""
    is_told: bool = False


class Deliveries(Database):
    """The alerts of a database on their way to their targets."""

    def add(self, alerts: Iterable[Alert], targets: Sequence[str]) -> int:
        """Store alerts for each target and return how many deliveries were new; known alerts are left alone."""
        with self._transaction() as db:
            return self._add(db, alerts, targets, 0)

    def _add(self, db: sa.Connection, alerts: Iterable[Alert], targets: Sequence[str], tick: int) -> int:
        by_id = {alert.event_id: alert for alert in alerts}
        known_events: set[str] = set()
        known_deliveries: set[tuple[str, str]] = set()
        for part in parts(list(by_id)):
            events = db.execute(sa.select(EVENT.c.event_id).where(EVENT.c.event_id.in_(part)))
            known_events.update(event_id for (event_id,) in events)
            pairs = sa.select(DELIVERY.c.event_id, DELIVERY.c.target).where(DELIVERY.c.event_id.in_(part))
            known_deliveries.update((event_id, target) for event_id, target in db.execute(pairs))
        new_events = [
            {"event_id": alert.event_id, "tick": tick, "detected_at": alert.detected_at, "body": alert_body(alert)}
            for alert in by_id.values()
            if alert.event_id not in known_events
        ]
        deliveries = [
            {"event_id": alert.event_id, "target": target}
            for alert in by_id.values()
            for target in targets
            if not alert.is_muted and target not in alert.not_to and (alert.event_id, target) not in known_deliveries
        ]
        if new_events:
            db.execute(EVENT.insert(), new_events)
        if deliveries:
            db.execute(DELIVERY.insert(), deliveries)
        return len(deliveries)

    def pending(self, now: float) -> list[Delivery]:
        """What is due now, new alerts before retried ones."""
        with self._transaction() as db:
            return [Delivery(*row) for row in db.execute(_due(now))]

    def take_group(self, now: float, target: str, group_above: int) -> list[Delivery]:
        """The next due message of a target: one alert, or all of a group.

        A group is fixed before it is first sent: sent again, it has the same alerts and the same id.
        """
        with self._transaction() as db:
            query = _due(now).where(DELIVERY.c.target == target).limit(MAX_GROUP)
            due = [Delivery(*row) for row in db.execute(query)]
            if due and due[0].group_id is not None:
                is_member = (DELIVERY.c.group_id == due[0].group_id) & (DELIVERY.c.target == target)
                members = _waiting().where(is_member).order_by(DELIVERY.c.id)
                return [Delivery(*row) for row in db.execute(members)]
            fresh = [delivery for delivery in due if delivery.attempts == 0 and delivery.group_id is None]
            if len(fresh) <= group_above or due[0].attempts:
                return due[:1]
            group_id = digest([delivery.event_id for delivery in fresh], size=16)
            _update(db, fresh, group_id=group_id)
        return [replace(delivery, group_id=group_id) for delivery in fresh]

    def start_clock(self, now: float, targets: Sequence[str], dead_after_s: float) -> int:
        """Note when each row was first due; give up, and count, old rows of targets that no longer exist."""
        is_pending = DELIVERY.c.state == "pending"
        with self._transaction() as db:
            db.execute(DELIVERY.update().where(is_pending, DELIVERY.c.first_at.is_(None)).values(first_at=now))
            is_orphan = (DELIVERY.c.first_at <= now - dead_after_s) & DELIVERY.c.target.not_in(list(targets))
            error = "the target is no longer configured"
            given_up = DELIVERY.update().where(is_pending, is_orphan).values(state="dead", done_at=now, error=error)
            return db.execute(given_up).rowcount

    def mark_sent(self, group: Sequence[Delivery], now: float) -> None:
        """Note that the target accepted these."""
        with self._transaction() as db:
            _update(db, group, state="delivered", done_at=now, error=None)
            for key in {delivery.target for delivery in group}:
                healthy = TARGET.update().where(TARGET.c.key == key)
                db.execute(healthy.values(failures=0, held_until=0.0, failing_since=None, error=""))

    def mark_dead(self, group: Sequence[Delivery], now: float, error: str) -> None:
        """Note that the target will never accept these."""
        with self._transaction() as db:
            _update(db, group, state="dead", done_at=now, error=error)

    def mark_retry(self, group: Sequence[Delivery], next_at: float, error: str) -> None:
        """Try these again at `next_at`."""
        with self._transaction() as db:
            _update(db, group, attempts=DELIVERY.c.attempts + 1, next_at=next_at, error=error)

    def health(self, target: str) -> TargetHealth:
        """How a target is doing."""
        with self._transaction() as db:
            row = db.execute(sa.select(TARGET).where(TARGET.c.key == target)).first()
            return TargetHealth() if row is None else TargetHealth(*_health_of(row))

    def hold(self, target: str, until: float, now: float, error: str) -> None:
        """Note that a target has failed once more; nothing is due for it before `until`."""
        with self._transaction() as db:
            row = db.execute(sa.select(TARGET).where(TARGET.c.key == target)).first()
            known = TargetHealth() if row is None else TargetHealth(*_health_of(row))
            since = now if known.failing_since is None else known.failing_since
            after = TargetHealth(known.failures + 1, until, since, error, known.is_told)
            db.execute(TARGET.delete().where(TARGET.c.key == target))
            db.execute(TARGET.insert().values(target_row(target, after)))

    def rest(self, target: str, until: float) -> None:
        """Note that a target has had as much as its service takes at once; nothing is due for it before `until`."""
        with self._transaction() as db:
            row = db.execute(sa.select(TARGET).where(TARGET.c.key == target)).first()
            known = TargetHealth() if row is None else TargetHealth(*_health_of(row))
            rested = known._replace(held_until=max(known.held_until, until))
            db.execute(TARGET.delete().where(TARGET.c.key == target))
            db.execute(TARGET.insert().values(target_row(target, rested)))

    @property
    def stats(self) -> DeliveryStats:
        """How many deliveries are in which state."""
        query = sa.select(DELIVERY.c.state, sa.func.count()).group_by(DELIVERY.c.state)
        with self._transaction() as db:
            counts = {state: number for state, number in db.execute(query)}
        return DeliveryStats(*(counts.get(state, 0) for state in ("pending", "delivered", "dead")))

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest alerts that were given up."""
        columns = (DELIVERY.c.event_id, EVENT.c.body, DELIVERY.c.error, DELIVERY.c.target)
        joined = DELIVERY.outerjoin(EVENT, DELIVERY.c.event_id == EVENT.c.event_id)
        query = sa.select(*columns).select_from(joined).where(DELIVERY.c.state == "dead")
        with self._transaction() as db:
            newest = query.order_by(DELIVERY.c.done_at.desc(), DELIVERY.c.id.desc()).limit(limit)
            rows = [tuple(row) for row in db.execute(newest)]
        unknown = {"rule": "unknown", "text": "the alert cannot be read"}
        bodies = [read_body(body) or unknown for _, body, _, _ in rows]
        return [
            DeadLetter(event_id, body["rule"], body["text"], error, target)
            for (event_id, _, error, target), body in zip(rows, bodies, strict=True)
        ]

    def resend(self, event_ids: Iterable[str] | None = None) -> int:
        """Make alerts that were given up due once more, all or those named, and return how many deliveries.

        They are tried for as long as new ones.
        """
        is_dead = DELIVERY.c.state == "dead"
        wanted = is_dead if event_ids is None else is_dead & DELIVERY.c.event_id.in_(list(event_ids))
        fresh = {"state": "pending", "attempts": 0, "first_at": None, "next_at": 0.0, "done_at": None, "group_id": None}
        with self._transaction() as db:
            keys = [key for (key,) in db.execute(sa.select(DELIVERY.c.target).where(wanted).distinct())]
            # A breaker that is open would make whoever resends wait for no reason that he can see.
            db.execute(TARGET.update().where(TARGET.c.key.in_(keys)).values(held_until=0.0))
            return db.execute(DELIVERY.update().where(wanted).values(fresh | {"is_told": False})).rowcount

    def _targets(self, db: sa.Connection) -> dict[str, TargetHealth]:
        return {row.key: TargetHealth(*_health_of(row)) for row in db.execute(sa.select(TARGET))}

    def _untold(self, db: sa.Connection) -> dict[str, tuple[int, str]]:
        """Of each target, how many were given up that nobody was told of, and why."""
        count, error = sa.func.count(), sa.func.max(DELIVERY.c.error)
        given_up = (DELIVERY.c.state == "dead") & ~DELIVERY.c.is_told
        query = sa.select(DELIVERY.c.target, count, error).where(given_up).group_by(DELIVERY.c.target)
        return {key: (number, text or "") for key, number, text in db.execute(query)}

    def _note_told(self, db: sa.Connection, targets: Iterable[str]) -> None:
        given_up = (DELIVERY.c.state == "dead") & DELIVERY.c.target.in_(list(targets))
        db.execute(DELIVERY.update().where(given_up).values(is_told=True))

    def _prune(self, db: sa.Connection, before: float, purpose: str) -> int:
        """Forget what had been delivered to all before then, and is marked for the purpose; return how many alerts."""
        is_open_or_new = (DELIVERY.c.state != "delivered") | (DELIVERY.c.done_at > before)
        open_or_new = sa.select(DELIVERY.c.event_id).where(is_open_or_new)
        # People are still reminded of what is not over.
        old = (EVENT.c.detected_at <= before) & EVENT.c.event_id.not_in(sa.select(REMINDER.c.event_id))
        if purpose:
            old &= EVENT.c.event_id.in_(sa.select(MARK.c.event_id).where(MARK.c.purpose == purpose))
        gone = sa.select(EVENT.c.event_id).where(old, EVENT.c.event_id.not_in(open_or_new))
        db.execute(DELIVERY.delete().where(DELIVERY.c.event_id.in_(gone)))
        has_none = EVENT.c.event_id.not_in(sa.select(DELIVERY.c.event_id))
        count = db.execute(EVENT.delete().where(old, has_none)).rowcount
        db.execute(MARK.delete().where(MARK.c.event_id.not_in(sa.select(EVENT.c.event_id))))
        return count

    def bring_in(self, name: str, rows: Iterable[tuple[str, str, str, str, float | None, str | None]]) -> None:
        """Take over deliveries `(event_id, target, body, state, first_at, error)` of an older store; once a name."""
        with self._transaction() as db:
            if db.execute(sa.select(META.c.value).where(META.c.name == name)).first() is not None:
                return
            db.execute(META.insert().values(name=name, value="brought in"))
            for event_id, target, body, state, first_at, error in rows:
                if db.execute(sa.select(EVENT.c.event_id).where(EVENT.c.event_id == event_id)).first() is None:
                    db.execute(EVENT.insert().values(event_id=event_id, tick=0, detected_at=0.0, body=body))
                values = {"state": state, "first_at": first_at, "error": error, "is_told": state == "dead"}
                db.execute(DELIVERY.insert().values(event_id=event_id, target=target, **values))


def _waiting() -> "sa.Select[Any]":
    names = ("id", "event_id", "target")
    rest = (DELIVERY.c.group_id, DELIVERY.c.attempts, DELIVERY.c.first_at)
    columns = (*(DELIVERY.c[name] for name in names), EVENT.c.body, *rest)
    # What waits for a target is found even if something else has taken its event away.
    joined = DELIVERY.outerjoin(EVENT, DELIVERY.c.event_id == EVENT.c.event_id)
    return sa.select(*columns).select_from(joined).where(DELIVERY.c.state == "pending")


def _due(now: float) -> "sa.Select[Any]":
    def is_over(moment: Any) -> Any:
        return (moment <= now) | (moment > now + MAX_WAIT_S)

    held = sa.func.coalesce(
        sa.select(TARGET.c.held_until).where(TARGET.c.key == DELIVERY.c.target).scalar_subquery(), 0.0
    )
    return _waiting().where(is_over(DELIVERY.c.next_at), is_over(held)).order_by(DELIVERY.c.next_at, DELIVERY.c.id)


def _update(db: sa.Connection, group: Sequence[Delivery], **values: Any) -> None:
    for part in parts([delivery.id for delivery in group]):
        db.execute(DELIVERY.update().where(DELIVERY.c.id.in_(part)).values(**values))


def target_row(key: str, health: TargetHealth) -> tuple[Any, ...]:
    return (key, *health)


def _health_of(row: Any) -> tuple[Any, ...]:
    return tuple(row)[1:]
