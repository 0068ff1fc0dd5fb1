"""The one store of the alerts: rules, how they are armed, symbols, events and their deliveries.

A tick writes all of them in one transaction, and delivers what the store holds; so a tick that is killed, repeated or
overlapped tells nothing twice and loses nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import sqlalchemy as sa

from tv_etl.alerts.by_hand import Ack, ByHand
from tv_etl.alerts.cap import Mute
from tv_etl.alerts.database import ARMING, META, MUTE, REMINDER, RULE, SYMBOL, TARGET, parts
from tv_etl.alerts.deliveries import TargetHealth, target_row
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.mutes import HandMute, MuteKey
from tv_etl.alerts.reminders import Reminder
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import (
    AlertState,
    ArmingKey,
    Close,
    Generation,
    Health,
    Registry,
    RuleState,
    SymbolState,
)
from tv_etl.alerts.stored_events import KEPT
from tv_etl.alerts.trouble_store import TroubleStore

KEEP_S = 30 * 86_400.0


@dataclass(frozen=True)
class Memory:
    """What the store holds for a tick. `flags` are single words of the watch as a whole."""

    tick: int
    registry: Registry
    state: AlertState
    flags: Mapping[str, str]
    targets: Mapping[str, TargetHealth]
    untold: Mapping[str, tuple[int, str]]  # of each target, how many were given up that nobody was told of, and why
    mutes: Mapping[str, Mute] = field(default_factory=dict)
    hand_mutes: Sequence[HandMute] = ()
    acks: Mapping[str, Ack] = field(default_factory=dict)
    reminders: Mapping[str, Reminder] = field(default_factory=dict)


@dataclass(frozen=True)
class Handled:
    """What a tick has made of what was done by hand: which alerts it kept back, and what of it is told now."""

    kept_back: Mapping[MuteKey, int] = field(default_factory=dict)
    ended: Sequence[HandMute] = ()
    acks_told: Sequence[str] = ()
    reminders: Mapping[str, Reminder] = field(default_factory=dict)

    def after(self, before: Memory, now: float) -> tuple[Sequence[HandMute], Mapping[str, Ack], Mapping[str, Reminder]]:
        """The mutes by hand, acknowledgements and reminders that are known then."""
        mutes = [
            each._replace(
                kept_back=each.kept_back + self.kept_back.get(each.key, 0), is_told=each.is_told or each in self.ended
            )
            for each in before.hand_mutes
        ]
        told = {
            event_id: before.acks[event_id]._replace(told_at=now)
            for event_id in before.acks.keys() & set(self.acks_told)
        }
        return mutes, {**before.acks, **told}, self.reminders


class AlertStore(ByHand, TroubleStore):
    """The store at a path, or at the URL of a PostgreSQL database, where each `scope` has a schema of its own.

    Raises StoreError if a newer tv_etl wrote it, or it cannot be used.
    """

    def load(self) -> Memory:
        """All that the last tick left."""
        with self._transaction() as db:
            flags = {row.name: row.value for row in db.execute(sa.select(META))}
            rules = db.execute(sa.select(RULE).where(RULE.c.retired_at.is_(None)))
            known = {row.name: _read_generation(row) for row in rules}
            newest = db.execute(sa.select(sa.func.max(RULE.c.generation))).scalar() or 0
            last = max(newest, int(flags.get("generation", 0)))
            mutes = {row.rule: _read_mute(row) for row in db.execute(sa.select(MUTE))}
            state = AlertState(
                {ArmingKey(*row[:3]): _read_arming(row[3:]) for row in db.execute(sa.select(ARMING))},
                {row.symbol: _read_symbol(row) for row in db.execute(sa.select(SYMBOL))},
            )
            targets, untold = self._targets(db), self._untold(db)
            by_hand = self._hand_mutes(db), self._acks(db)
            reminders = {row.event_id: Reminder(row.told_at, row.times) for row in db.execute(sa.select(REMINDER))}
        registry = Registry(known, last)
        return Memory(int(flags.get("tick", 0)), registry, state, flags, targets, untold, mutes, *by_hand, reminders)

    def commit(
        self,
        before: Memory,
        rules: Iterable[AlertRule],
        registry: Registry,
        state: AlertState,
        alerts: Iterable[Alert],
        targets: Sequence[str],
        now: float,
        flags: Mapping[str, str],
        told_targets: Mapping[str, TargetHealth],
        mutes: Mapping[str, Mute] | None = None,
        handled: Handled | None = None,
    ) -> Memory:
        """Write what was judged, whole, under the next number; return what is known then, but for the targets.

        Each alert waits for every target but the one that it is about; one that is muted waits for none.
        """
        tick, handled = before.tick + 1, handled or Handled()
        with self._transaction() as db:
            self._write_registry(db, before.registry, registry, {rule.name: rule for rule in rules}, now)
            _replace_changed(db, ARMING, before.state.armings, state.armings, _arming_row)
            _replace_changed(db, SYMBOL, before.state.symbols, state.symbols, _symbol_row)
            _replace_changed(db, TARGET, before.targets, told_targets, target_row, keeps=True)
            _replace_changed(db, MUTE, before.mutes, mutes or {}, _mute_row)
            _replace_changed(db, REMINDER, before.reminders, handled.reminders, lambda name, each: (name, *each))
            self._note_by_hand(db, handled.kept_back, handled.ended, handled.acks_told, now)
            new_flags = {**before.flags, "tick": str(tick), "generation": str(registry.last), **flags}
            _replace_changed(db, META, before.flags, new_flags, lambda name, value: (name, value), keeps=True)
            self._note_told(db, before.untold)
            self._add(db, alerts, targets, tick)
        return Memory(tick, registry, state, new_flags, {}, {}, mutes or {}, *handled.after(before, now))

    def _write_registry(
        self, db: sa.Connection, before: Registry, after: Registry, rules: Mapping[str, AlertRule], now: float
    ) -> None:
        kept = {each.generation for each in after.rules.values()}
        retired = [each.generation for each in before.rules.values() if each.generation not in kept]
        known = {each.generation for each in before.rules.values()}
        for part in parts(retired):
            db.execute(RULE.update().where(RULE.c.generation.in_(part)).values(retired_at=now))
        new = [
            {
                "generation": each.generation,
                "name": name,
                "revision": each.revision,
                "definition": rules[name].model_dump_json(warnings=False),
                "registered_at": each.registered_at,
                "members": _members(each),
            }
            for name, each in after.rules.items()
            if each.generation not in known
        ]
        if new:
            db.execute(RULE.insert(), new)
        for name, each in after.rules.items():
            was = before.rules.get(name)
            if was is not None and was.generation == each.generation and was.members != each.members:
                row = RULE.update().where(RULE.c.generation == each.generation)
                db.execute(row.values(members=_members(each)))

    def prune(self, now: float, keep_s: float = KEEP_S, *, is_kept: bool = False) -> int:
        """Forget what was delivered and which rules were retired more than `keep_s` ago; return how many alerts.

        Where there is a dataset, nothing is forgotten that it does not have: whether it `is_kept` there.

        What waits or was given up stays, and so does what somebody else was told of the same alert.
        """
        before = now - keep_s
        with self._transaction() as db:
            pruned = self._prune(db, before, KEPT if is_kept else "")
            db.execute(RULE.delete().where(RULE.c.retired_at <= before))
            self._forget_by_hand(db, now)
        return pruned

    def note(self, flags: Mapping[str, str]) -> None:
        """Keep words of the watch as a whole."""
        with self._transaction() as db:
            for name, value in flags.items():
                db.execute(META.delete().where(META.c.name == name))
                db.execute(META.insert().values(name=name, value=value))


def _replace_changed(
    db: sa.Connection,
    table: sa.Table,
    before: Mapping[Any, Any],
    after: Mapping[Any, Any],
    row: Any,
    keeps: bool = False,
) -> None:
    """Write what differs; delete what is gone, unless the table `keeps` it."""
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    gone = [key for key in before if key in changed or (key not in after and not keeps)]
    primary = list(table.primary_key.columns)
    if gone:
        names = [f"old_{column.name}" for column in primary]
        is_it = sa.and_(*(column == sa.bindparam(name) for column, name in zip(primary, names, strict=True)))
        keys = [key if len(primary) > 1 else (key,) for key in gone]
        db.execute(table.delete().where(is_it), [dict(zip(names, key, strict=True)) for key in keys])
    if changed:
        columns = [column.name for column in table.columns]
        rows = [dict(zip(columns, row(key, value), strict=True)) for key, value in changed.items()]
        db.execute(table.insert(), rows)


def _arming_row(key: ArmingKey, state: RuleState) -> tuple[Any, ...]:
    return (*key, *(json.dumps(each) if isinstance(each, tuple) else each for each in state))


def _read_arming(columns: Sequence[Any]) -> RuleState:
    state = RuleState(*columns)
    return state._replace(levels=tuple(json.loads(str(state.levels))))


def _members(each: Generation) -> str | None:
    return None if each.members is None else json.dumps(dict(each.members))


def _read_generation(row: Any) -> Generation:
    members = json.loads(row.members) if row.members else None
    return Generation(row.generation, row.revision, row.registered_at, members)


def _mute_row(rule: str, mute: Mute) -> tuple[Any, ...]:
    return (rule, mute.generation, json.dumps(mute.fired), mute.until, mute.kept_back)


def _read_mute(row: Any) -> Mute:
    return Mute(row.generation, tuple(json.loads(row.fired)), row.until, row.kept_back)


def _symbol_row(symbol: str, state: SymbolState) -> tuple[Any, ...]:
    watermark, closes, health, *rest = astuple(state)
    return (symbol, watermark, json.dumps(closes), *health, *rest)


def _read_symbol(row: Any) -> SymbolState:
    _, watermark, closes, state, since, detail, *rest = row
    return SymbolState(
        watermark, tuple(Close(*each) for each in json.loads(closes)), Health(state, since, detail), *rest
    )
