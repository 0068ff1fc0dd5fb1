"""The events of the store, and what is done with each beside delivering it.

An event is kept in the dataset of the lake, and again whenever its deliveries went on since; and it is reported to
Dagster, once. What was begun and may not have ended, because a process was killed, can be told from what was not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from tv_etl.alerts.database import ACK, DELIVERY, EVENT, MARK, parts
from tv_etl.alerts.deliveries import Deliveries
from tv_etl.alerts.messages import read_body

KEPT, REPORTING, REPORTED = "kept", "reporting", "reported"


@dataclass(frozen=True)
class EventDelivery:
    """How far an event is on its way to one target: `at` is when it was delivered or given up, in UTC seconds."""

    target: str
    state: str
    at: float | None
    error: str | None


@dataclass(frozen=True)
class StoredEvent:
    """An event with its deliveries; `body` has the fields of the alert, `acked_at` is when somebody acknowledged it."""

    event_id: str
    tick: int
    detected_at: float
    body: dict[str, Any]
    deliveries: tuple[EventDelivery, ...] = ()
    acked_at: float | None = None

    @property
    def delivered_at(self) -> float | None:
        """When the first target had it."""
        return min((each.at for each in self.deliveries if each.state == "delivered" and each.at), default=None)


class StoredEvents(Deliveries):
    """The events of a database."""

    def to_keep(self, limit: int) -> list[StoredEvent]:
        """Events that the dataset lacks, or has as they were before a delivery went on, or an acknowledgement came."""
        mine = (MARK.c.event_id == EVENT.c.event_id) & (MARK.c.purpose == KEPT)
        # Each names its mark itself: a query within a query within this one would look at any event's.
        went_on = sa.exists().where(mine, DELIVERY.c.event_id == EVENT.c.event_id, DELIVERY.c.done_at >= MARK.c.at)
        was_acked = sa.exists().where(mine, ACK.c.event_id == EVENT.c.event_id, ACK.c.told_at >= MARK.c.at)
        return self._events(~sa.exists().where(mine) | went_on | was_acked, limit)

    def to_report(self, limit: int) -> list[StoredEvent]:
        """Events that Dagster was not told of, the oldest first."""
        return self._events(~sa.exists().where(_is_marked(REPORTED)), limit)

    def newest(self, limit: int) -> list[StoredEvent]:
        """The events that were found last, the newest first."""
        with self._transaction() as db:
            query = sa.select(EVENT.c.event_id).order_by(EVENT.c.detected_at.desc(), EVENT.c.event_id).limit(limit)
            ids = [event_id for (event_id,) in db.execute(query)]
        found = {each.event_id: each for part in parts(ids) for each in self._events(EVENT.c.event_id.in_(part))}
        return [found[event_id] for event_id in ids]

    def begun(self, purpose: str, event_ids: Iterable[str]) -> dict[str, float]:
        """Which of these events are marked for a purpose, and since when (UTC seconds)."""
        found: dict[str, float] = {}
        with self._transaction() as db:
            for part in parts(list(event_ids)):
                query = sa.select(MARK.c.event_id, MARK.c.at).where(
                    MARK.c.purpose == purpose, MARK.c.event_id.in_(part)
                )
                found.update({event_id: at for event_id, at in db.execute(query)})
        return found

    def mark(self, purpose: str, event_ids: Iterable[str], at: float) -> None:
        """Note what was done with these events, or begun."""
        with self._transaction() as db:
            for part in parts(list(event_ids)):
                db.execute(MARK.delete().where(MARK.c.purpose == purpose, MARK.c.event_id.in_(part)))
                db.execute(MARK.insert(), [{"event_id": each, "purpose": purpose, "at": at} for each in part])

    def since_tick(self, tick: int, limit: int) -> list[StoredEvent]:
        """Events of the ticks after this one; of the last tick all, although it may exceed the limit."""
        with self._transaction() as db:
            query = sa.select(EVENT.c.tick).where(EVENT.c.tick > tick).order_by(EVENT.c.tick).limit(limit)
            ticks = [number for (number,) in db.execute(query)]
        return self._events((EVENT.c.tick > tick) & (EVENT.c.tick <= ticks[-1])) if ticks else []

    def tick_before(self, moment: float) -> int:
        """The last tick that found something before then (UTC seconds); 0 where none did."""
        with self._transaction() as db:
            query = sa.select(sa.func.max(EVENT.c.tick)).where(EVENT.c.detected_at < moment)
            return db.execute(query).scalar() or 0

    def _events(self, which: Any, limit: int | None = None) -> list[StoredEvent]:
        with self._transaction() as db:
            query = sa.select(EVENT).where(which).order_by(EVENT.c.tick, EVENT.c.detected_at, EVENT.c.event_id)
            rows = db.execute(query.limit(limit)).all()
            deliveries: dict[str, list[EventDelivery]] = {}
            acks: dict[str, float] = {}
            for part in parts([row.event_id for row in rows]):
                columns = (
                    DELIVERY.c.event_id,
                    DELIVERY.c.target,
                    DELIVERY.c.state,
                    DELIVERY.c.done_at,
                    DELIVERY.c.error,
                )
                found = sa.select(*columns).where(DELIVERY.c.event_id.in_(part)).order_by(DELIVERY.c.id)
                for event_id, *rest in db.execute(found):
                    deliveries.setdefault(event_id, []).append(EventDelivery(*rest))
                acked = db.execute(sa.select(ACK.c.event_id, ACK.c.at).where(ACK.c.event_id.in_(part)))
                acks |= {event_id: at for event_id, at in acked}
        return [
            StoredEvent(
                row.event_id,
                row.tick,
                row.detected_at,
                read_body(row.body) or {"event_id": row.event_id, "rule": "unknown", "text": "cannot be read"},
                tuple(deliveries.get(row.event_id, ())),
                acks.get(row.event_id),
            )
            for row in rows
        ]


def _is_marked(purpose: str) -> "sa.ColumnElement[bool]":
    return (MARK.c.event_id == EVENT.c.event_id) & (MARK.c.purpose == purpose)


def moment_of(second: object) -> datetime | None:
    """A time of an event; None for what is none, which must not keep the other events from being told."""
    if not isinstance(second, int | float) or isinstance(second, bool):
        return None
    try:
        return datetime.fromtimestamp(second, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


def ids_of(events: Sequence[StoredEvent]) -> list[str]:
    """The ids of events."""
    return [each.event_id for each in events]
