"""What somebody does to the alerts by hand, in the store, while ticks go on: mutes and acknowledgements.

A tick and a person write to different columns, so that neither undoes what the other did meanwhile.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import sqlalchemy as sa

from tv_etl.alerts.database import ACK, EVENT, HAND_MUTE, RULE, parts
from tv_etl.alerts.messages import read_body
from tv_etl.alerts.mutes import REMEMBERED_S, HandMute, MuteKey, span
from tv_etl.alerts.stored_events import StoredEvents

LEAST_PREFIX = 6
MOST_MUTED_S = 366 * 86_400
_SHOWN = 5


class ByHandError(Exception):
    """What was asked for cannot be done."""


class UnknownRuleError(ByHandError):
    """No rule is called so; the message names those that are called alike."""


class UnknownSymbolError(ByHandError):
    """The rule does not watch the symbol; the message names those that it watches."""


class UnknownEventError(ByHandError):
    """No alert has such an id, or several have."""


class Ack(NamedTuple):
    """When somebody has acknowledged an alert, and when a tick has told that."""

    at: float
    told_at: float | None = None


class Acknowledged(NamedTuple):
    """The alert that is acknowledged, and since when; `is_new` if it was not before."""

    event_id: str
    text: str
    at: float
    is_new: bool


class ByHand(StoredEvents):
    """The alerts of a database as a person handles them."""

    def mute(self, rule: str, symbol: str, seconds: float, now: float) -> HandMute:
        """Mute a rule for so long from now on, or one of its symbols ("" for all); one that lasts ends then instead.

        Raises UnknownRuleError, UnknownSymbolError, and ValueError for a time that is none.
        """
        if not 0 < seconds <= MOST_MUTED_S:
            raise ValueError(f"expected more than nothing, and at most {MOST_MUTED_S // 86_400}d")
        since, until = span(now, seconds)
        with self._transaction() as db:
            self._check(db, rule, symbol)
            lasting = [each for each in _mutes(db) if each.about == (rule, symbol) and each.is_on(now)]
            mute = max(lasting, default=HandMute(rule, symbol, since, until))._replace(until=until, is_told=False)
            # Ended and muted again within a minute: what was told of it counts no more.
            db.execute(HAND_MUTE.delete().where(_is(mute.key), HAND_MUTE.c.is_told))
            if db.execute(HAND_MUTE.update().where(_is(mute.key)).values(until=until)).rowcount == 0:
                db.execute(HAND_MUTE.insert().values(mute._asdict()))
        return mute

    def unmute(self, rule: str, symbol: str, now: float) -> list[HandMute]:
        """End the mutes of a rule, or that of one symbol, and return them.

        Raises UnknownRuleError, UnknownSymbolError, and ByHandError for a symbol whose rule is muted as a whole.
        """
        until = span(now, 0)[0]
        with self._transaction() as db:
            lasting = [each for each in _mutes(db) if each.rule == rule and each.is_on(now)]
            ended = [each for each in lasting if symbol in ("", each.symbol)]
            if not ended:
                self._check(db, rule, symbol)
            if not ended and any(not each.symbol for each in lasting):
                raise ByHandError(f"rule {rule} is muted for all its symbols: unmute the rule")
            for each in ended:
                db.execute(HAND_MUTE.update().where(_is(each.key)).values(until=until))
        return ended

    def hand_mutes(self) -> list[HandMute]:
        """The mutes, and those that are over and not yet forgotten."""
        with self._transaction() as db:
            return _mutes(db)

    def acknowledge(self, prefix: str, now: float) -> Acknowledged:
        """Acknowledge the alert whose id begins so, or whose reminder's or end's does.

        Raises UnknownEventError where none does or several do, and ByHandError for one that is over.
        """
        if len(prefix) < LEAST_PREFIX:
            raise UnknownEventError(
                f"{prefix!r} is too short: write {LEAST_PREFIX} characters of an alert's id or more"
            )
        with self._transaction() as db:
            begins = EVENT.c.event_id.startswith(prefix, autoescape=True)
            rows = db.execute(sa.select(EVENT.c.event_id, EVENT.c.body).where(begins).limit(_SHOWN + 1)).all()
            exact = [row for row in rows if row.event_id == prefix]
            if not rows:
                raise UnknownEventError(
                    f"no alert has an id that begins with {prefix!r}: tv-etl alerts list shows them"
                )
            if len(rows) > 1 and not exact:
                shown = ", ".join(row.event_id for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
                raise UnknownEventError(f"several alerts have ids that begin with {prefix!r}: {shown}")
            [(event_id, text)] = exact or rows
            body = read_body(text)
            if body is None:
                raise UnknownEventError(f"{event_id} cannot be read: something else wrote or damaged it")
            return self._acknowledge(db, event_id, body, now)

    def _acknowledge(self, db: sa.Connection, event_id: str, body: Mapping[str, Any], now: float) -> Acknowledged:
        incident = str(body.get("incident") or event_id)
        if body.get("kind") in ("reminder", "ack"):
            first = db.execute(sa.select(EVENT.c.body).where(EVENT.c.event_id == incident)).scalar()
            event_id, body = incident, read_body(first) or body
        if body.get("status") == "resolved" or self._is_over(db, incident, event_id):
            raise ByHandError(f"{event_id} is over: {body['text']}")
        known = db.execute(sa.select(ACK.c.at).where(ACK.c.event_id == event_id)).scalar()
        if known is None:
            db.execute(ACK.insert().values(event_id=event_id, at=now))
        return Acknowledged(event_id, body["text"], now if known is None else known, known is None)

    def _is_over(self, db: sa.Connection, incident: str, event_id: str) -> bool:
        """True if something that was found later has ended the incident."""
        found_at = sa.select(EVENT.c.tick).where(EVENT.c.event_id == event_id).scalar_subquery()
        names_it = EVENT.c.body.contains(json.dumps(incident), autoescape=True)
        bodies = db.execute(sa.select(EVENT.c.body).where(names_it, EVENT.c.tick >= found_at)).scalars()
        later = [body for each in bodies if (body := read_body(each)) is not None]
        return any(each.get("incident") == incident and each.get("status") == "resolved" for each in later)

    def _check(self, db: sa.Connection, rule: str, symbol: str) -> None:
        watched = _watched(db)
        if rule not in watched:
            near = get_close_matches(rule, watched, n=_SHOWN, cutoff=0.5)
            known = ", ".join(near or sorted(watched)[:_SHOWN])
            hint = f"did you mean {known}?" if near else f"there are {known}" if known else "none was judged yet"
            raise UnknownRuleError(f"no rule is called {rule!r}; {hint}")
        if symbol and symbol not in watched[rule]:
            near = sorted(get_close_matches(symbol, watched[rule], n=_SHOWN, cutoff=0.5)) or watched[rule][:_SHOWN]
            raise UnknownSymbolError(
                f"rule {rule} does not watch {symbol!r}; it watches {', '.join(near) or 'nothing'}"
            )

    # --- for ticks

    def bodies(self, event_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The fields of these alerts, as far as they are stored."""
        found: dict[str, dict[str, Any]] = {}
        with self._transaction() as db:
            for part in parts(list(event_ids)):
                for event_id, text in db.execute(
                    sa.select(EVENT.c.event_id, EVENT.c.body).where(EVENT.c.event_id.in_(part))
                ):
                    body = read_body(text)
                    if body is not None:
                        found[event_id] = body
        return found

    def _hand_mutes(self, db: sa.Connection) -> tuple[HandMute, ...]:
        return tuple(_mutes(db))

    def _acks(self, db: sa.Connection) -> dict[str, Ack]:
        return {row.event_id: Ack(row.at, row.told_at) for row in db.execute(sa.select(ACK))}

    def _note_by_hand(
        self,
        db: sa.Connection,
        kept_back: Mapping[MuteKey, int],
        ended: Sequence[HandMute],
        acks_told: Iterable[str],
        now: float,
    ) -> None:
        """Count what was kept back, and note which ends and acknowledgements were told."""
        for key, count in kept_back.items():
            counted = HAND_MUTE.c.kept_back + count
            db.execute(HAND_MUTE.update().where(_is(key)).values(kept_back=counted))
        for each in ended:
            # One that somebody has lengthened meanwhile goes on.
            is_same = _is(each.key) & (HAND_MUTE.c.until == each.until)
            db.execute(HAND_MUTE.update().where(is_same).values(is_told=True))
        for part in parts(list(acks_told)):
            db.execute(ACK.update().where(ACK.c.event_id.in_(part)).values(told_at=now))

    def _forget_by_hand(self, db: sa.Connection, now: float) -> None:
        db.execute(HAND_MUTE.delete().where(HAND_MUTE.c.until < now - REMEMBERED_S))
        db.execute(ACK.delete().where(ACK.c.event_id.not_in(sa.select(EVENT.c.event_id))))


def _mutes(db: sa.Connection) -> list[HandMute]:
    ordered = sa.select(HAND_MUTE).order_by(HAND_MUTE.c.rule, HAND_MUTE.c.symbol, HAND_MUTE.c.since)
    return [HandMute(*row) for row in db.execute(ordered)]


def _is(key: MuteKey) -> "sa.ColumnElement[bool]":
    columns = HAND_MUTE.c
    return (columns.rule == key.rule) & (columns.symbol == key.symbol) & (columns.since == key.since)


def _watched(db: sa.Connection) -> dict[str, list[str]]:
    """The symbols of each rule that is registered."""
    found: dict[str, list[str]] = {}
    for row in db.execute(sa.select(RULE).where(RULE.c.retired_at.is_(None))):
        symbol = json.loads(row.definition).get("symbol")
        found[row.name] = sorted(json.loads(row.members)) if row.members else [symbol] if symbol else []
    return found
