"""The one store of the alerts: rules, how they are armed, symbols, events and their deliveries.

A tick writes all of them in one transaction, and delivers what the store holds; so a tick that is killed, repeated or
overlapped tells nothing twice and loses nothing. A file of SQLite, or a PostgreSQL database; the URL of one, with its
password, is shown nowhere. Every call opens and closes a connection of its own, so that a store may be used from any
thread. It knows targets by their keys alone.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.messages import alert_body, is_event_id, read_body
from tv_etl.alerts.rules import AlertRule, digest
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

# `next_at` and `held_until` are never set further ahead than this; where they are, the clock was set back.
MAX_WAIT_S = 3600.0
MAX_GROUP = 1000
KEEP_S = 30 * 86_400.0
LAKE_DIRECTORY = ".tv_etl"

_SCHEMA_VERSION = 1
_LOCK_WAIT_S = 30.0
_MANY = 500  # parameters of one statement; SQLite's own limit is 32,766

Part = TypeVar("Part")

_tables = sa.MetaData()
_Time = sa.Double
_meta = sa.Table("meta", _tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
# Since when each rule has been registered; what was removed or edited is kept as long as what it told.
_rule = sa.Table(
    "rule",
    _tables,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("registered_at", _Time, nullable=False),
    sa.Column("retired_at", _Time, index=True),
)
_arming = sa.Table(
    "arming",
    _tables,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("armed_at", sa.BigInteger),
    sa.Column("falling", sa.Boolean, nullable=False),
    sa.Column("reported_early", sa.Boolean, nullable=False),
    sa.Column("spent", sa.Boolean, nullable=False),
    sa.Column("reported_at", sa.BigInteger),
)
_symbol = sa.Table(
    "symbol",
    _tables,
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("watermark", sa.BigInteger),
    sa.Column("closes", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("state_since", _Time, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("fine_at", _Time),
    sa.Column("minutes_missing_since", _Time),
    sa.Column("check_up_to", sa.BigInteger),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", _Time, nullable=False),
    sa.Column("quote_fault", sa.Text, nullable=False),
    sa.Column("served", sa.Text, nullable=False),
    sa.Column("minutes_asked_at", _Time, nullable=False),
    sa.Column("hours", sa.Text, nullable=False),
    sa.Column("pause_s", _Time, nullable=False),
)
_event = sa.Table(
    "event",
    _tables,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("tick", sa.BigInteger, nullable=False),
    sa.Column("detected_at", _Time, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
_delivery = sa.Table(
    "delivery",
    _tables,
    # SQLite numbers rows only where the key is exactly an INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("event_id", sa.Text, sa.ForeignKey("event.event_id"), nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="pending"),
    sa.Column("group_id", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("first_at", _Time),
    sa.Column("next_at", _Time, nullable=False, server_default="0"),
    sa.Column("done_at", _Time),
    sa.Column("error", sa.Text),
    sa.Column("is_told", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("event_id", "target"),
    sa.Index("delivery_by_state", "state", "target", "next_at", "id"),
)
# The breaker of each target: while it is held, nothing is due for it.
_target = sa.Table(
    "target",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("held_until", _Time, nullable=False),
    sa.Column("failing_since", _Time),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("is_told", sa.Boolean, nullable=False),
)


class StoreError(Exception):
    """The store of the alerts cannot be used."""


class StoreBusy(StoreError):
    """Another process or thread holds the store's lock."""


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


@dataclass(frozen=True)
class Memory:
    """What the store holds for a tick. `flags` are single words of the watch as a whole."""

    tick: int
    registry: Registry
    state: AlertState
    flags: Mapping[str, str]
    targets: Mapping[str, TargetHealth]
    untold: Mapping[str, tuple[int, str]]  # of each target, how many were given up that nobody was told of, and why


class AlertStore:
    """The store at a path, or at the URL of a PostgreSQL database, where each `scope` has a schema of its own.

    Raises StoreError if a newer tv_etl wrote it, or it cannot be used.
    """

    def __init__(self, place: str | Path, scope: str = "") -> None:
        is_url = "://" in str(place)
        self.path = None if is_url else Path(place)
        self._schema = (f"tv_etl_alerts_{scope}" if scope else "tv_etl_alerts") if is_url else None
        if self.path is not None:
            _make_private(self.path)
        with self._errors():
            url = sa.make_url(str(place)) if is_url else sa.URL.create("sqlite", database=str(place))
            timeout = {"timeout": _LOCK_WAIT_S} if self.path is not None else {"connect_timeout": 10}
            engine = sa.create_engine(url, poolclass=NullPool, connect_args=timeout, hide_parameters=True)
            if self.path is not None:
                _begin_at_once(engine)
            self._engine = engine.execution_options(schema_translate_map={None: self._schema})
        with self._transaction() as db:
            self._prepare(db)

    def _prepare(self, db: sa.Connection) -> None:
        if self._schema is not None:
            # Two that begin at the same time would both make it.
            db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._lock_key("make")})
            db.execute(sa.schema.CreateSchema(self._schema, if_not_exists=True))
        _meta.create(db, checkfirst=True)
        found = db.execute(sa.select(_meta.c.value).where(_meta.c.name == "version")).scalar()
        if found is not None and int(found) > _SCHEMA_VERSION:
            raise StoreError(f"the store has version {found}, this tv_etl reads up to {_SCHEMA_VERSION}: update tv_etl")
        if found is None:
            _tables.create_all(db)
            db.execute(_meta.insert().values(name="version", value=str(_SCHEMA_VERSION)))

    def _lock_key(self, purpose: str) -> int:
        return int(digest((self._schema, purpose), size=8), 16) - (1 << 63)

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Hold the store's lock; the death of the process frees it. Raises StoreBusy if another holds it."""
        busy = StoreBusy("another evaluation holds the store of the alerts")
        if self.path is None:
            with self._transaction() as db:
                query = sa.text("SELECT pg_try_advisory_xact_lock(:key)")
                if not db.execute(query, {"key": self._lock_key("tick")}).scalar():
                    raise busy
                yield True
            return
        with os.fdopen(_open_private(f"{self.path}.lock"), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it held by a child forked meanwhile

    # --- a tick

    def load(self) -> Memory:
        """All that the last tick left."""
        with self._transaction() as db:
            flags = {row.name: row.value for row in db.execute(sa.select(_meta))}
            rules = db.execute(sa.select(_rule).where(_rule.c.retired_at.is_(None)))
            known = {row.name: Generation(row.generation, row.revision, row.registered_at) for row in rules}
            last = db.execute(sa.select(sa.func.max(_rule.c.generation))).scalar()
            state = AlertState(
                {ArmingKey(*row[:3]): RuleState(*row[3:]) for row in db.execute(sa.select(_arming))},
                {row.symbol: _read_symbol(row) for row in db.execute(sa.select(_symbol))},
            )
            targets = {row.key: TargetHealth(*_health_of(row)) for row in db.execute(sa.select(_target))}
            count, error = sa.func.count(), sa.func.max(_delivery.c.error)
            given_up = (_delivery.c.state == "dead") & ~_delivery.c.is_told
            query = sa.select(_delivery.c.target, count, error).where(given_up).group_by(_delivery.c.target)
            untold = {key: (number, text or "") for key, number, text in db.execute(query)}
        return Memory(int(flags.get("tick", 0)), Registry(known, last or 0), state, flags, targets, untold)

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
    ) -> int:
        """Write a tick, whole, and return its number.

        Each alert waits for every target but the one that it is about.
        """
        tick = before.tick + 1
        with self._transaction() as db:
            self._write_registry(db, before.registry, registry, {rule.name: rule for rule in rules}, now)
            _replace_changed(db, _arming, before.state.armings, state.armings, _arming_row)
            _replace_changed(db, _symbol, before.state.symbols, state.symbols, _symbol_row)
            _replace_changed(db, _target, before.targets, told_targets, _target_row, keeps=True)
            new_flags = {"tick": str(tick), **flags}
            _replace_changed(db, _meta, before.flags, new_flags, lambda name, value: (name, value), keeps=True)
            if before.untold:
                given_up = (_delivery.c.state == "dead") & _delivery.c.target.in_(list(before.untold))
                db.execute(_delivery.update().where(given_up).values(is_told=True))
            self._add(db, alerts, targets, tick)
        return tick

    def add(self, alerts: Iterable[Alert], targets: Sequence[str]) -> int:
        """Store alerts for each target and return how many deliveries were new; known alerts are left alone."""
        with self._transaction() as db:
            return self._add(db, alerts, targets, 0)

    def _add(self, db: sa.Connection, alerts: Iterable[Alert], targets: Sequence[str], tick: int) -> int:
        by_id = {alert.event_id: alert for alert in alerts}
        known_events: set[str] = set()
        known_deliveries: set[tuple[str, str]] = set()
        for part in _parts(list(by_id)):
            events = db.execute(sa.select(_event.c.event_id).where(_event.c.event_id.in_(part)))
            known_events.update(event_id for (event_id,) in events)
            pairs = sa.select(_delivery.c.event_id, _delivery.c.target).where(_delivery.c.event_id.in_(part))
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
            if target != alert.not_to and (alert.event_id, target) not in known_deliveries
        ]
        if new_events:
            db.execute(_event.insert(), new_events)
        if deliveries:
            db.execute(_delivery.insert(), deliveries)
        return len(deliveries)

    def _write_registry(
        self, db: sa.Connection, before: Registry, after: Registry, rules: Mapping[str, AlertRule], now: float
    ) -> None:
        kept = {each.generation for each in after.rules.values()}
        retired = [each.generation for each in before.rules.values() if each.generation not in kept]
        known = {each.generation for each in before.rules.values()}
        for part in _parts(retired):
            db.execute(_rule.update().where(_rule.c.generation.in_(part)).values(retired_at=now))
        new = [
            {
                "generation": each.generation,
                "name": name,
                "revision": each.revision,
                "definition": rules[name].model_dump_json(warnings=False),
                "registered_at": each.registered_at,
            }
            for name, each in after.rules.items()
            if each.generation not in known
        ]
        if new:
            db.execute(_rule.insert(), new)

    def prune(self, now: float, keep_s: float = KEEP_S) -> int:
        """Forget what was delivered and which rules were retired more than `keep_s` ago; return how many alerts.

        What waits or was given up stays, and so does what somebody else was told of the same alert.
        """
        before = now - keep_s
        open_or_new = sa.select(_delivery.c.event_id).where(
            (_delivery.c.state != "delivered") | (_delivery.c.done_at > before)
        )
        with self._transaction() as db:
            old = _event.c.detected_at <= before
            gone = sa.select(_event.c.event_id).where(old, _event.c.event_id.not_in(open_or_new))
            db.execute(_delivery.delete().where(_delivery.c.event_id.in_(gone)))
            has_none = _event.c.event_id.not_in(sa.select(_delivery.c.event_id))
            pruned = db.execute(_event.delete().where(old, has_none)).rowcount
            db.execute(_rule.delete().where(_rule.c.retired_at <= before))
        return pruned

    # --- delivery

    def pending(self, now: float) -> list[Delivery]:
        """What is due now, new alerts before retried ones."""
        with self._transaction() as db:
            return [Delivery(*row) for row in db.execute(_due(now))]

    def take_group(self, now: float, target: str, group_above: int) -> list[Delivery]:
        """The next due message of a target: one alert, or all of a group.

        A group is fixed before it is first sent: sent again, it has the same alerts and the same id.
        """
        with self._transaction() as db:
            query = _due(now).where(_delivery.c.target == target).limit(MAX_GROUP)
            due = [Delivery(*row) for row in db.execute(query)]
            if due and due[0].group_id is not None:
                is_member = (_delivery.c.group_id == due[0].group_id) & (_delivery.c.target == target)
                members = _waiting().where(is_member).order_by(_delivery.c.id)
                return [Delivery(*row) for row in db.execute(members)]
            fresh = [delivery for delivery in due if delivery.attempts == 0 and delivery.group_id is None]
            if len(fresh) <= group_above or due[0].attempts:
                return due[:1]
            group_id = digest([delivery.event_id for delivery in fresh], size=16)
            _update(db, fresh, group_id=group_id)
        return [replace(delivery, group_id=group_id) for delivery in fresh]

    def start_clock(self, now: float, targets: Sequence[str], dead_after_s: float) -> int:
        """Note when each row was first due; give up, and count, old rows of targets that no longer exist."""
        is_pending = _delivery.c.state == "pending"
        with self._transaction() as db:
            db.execute(_delivery.update().where(is_pending, _delivery.c.first_at.is_(None)).values(first_at=now))
            is_orphan = (_delivery.c.first_at <= now - dead_after_s) & _delivery.c.target.not_in(list(targets))
            error = "the target is no longer configured"
            given_up = _delivery.update().where(is_pending, is_orphan).values(state="dead", done_at=now, error=error)
            return db.execute(given_up).rowcount

    def mark_sent(self, group: Sequence[Delivery], now: float) -> None:
        """Note that the target accepted these."""
        with self._transaction() as db:
            _update(db, group, state="delivered", done_at=now, error=None)
            for key in {delivery.target for delivery in group}:
                healthy = _target.update().where(_target.c.key == key)
                db.execute(healthy.values(failures=0, held_until=0.0, failing_since=None, error=""))

    def mark_dead(self, group: Sequence[Delivery], now: float, error: str) -> None:
        """Note that the target will never accept these."""
        with self._transaction() as db:
            _update(db, group, state="dead", done_at=now, error=error)

    def mark_retry(self, group: Sequence[Delivery], next_at: float, error: str) -> None:
        """Try these again at `next_at`."""
        with self._transaction() as db:
            _update(db, group, attempts=_delivery.c.attempts + 1, next_at=next_at, error=error)

    def health(self, target: str) -> TargetHealth:
        """How a target is doing."""
        with self._transaction() as db:
            row = db.execute(sa.select(_target).where(_target.c.key == target)).first()
            return TargetHealth() if row is None else TargetHealth(*_health_of(row))

    def hold(self, target: str, until: float, now: float, error: str) -> None:
        """Note that a target has failed once more; nothing is due for it before `until`."""
        with self._transaction() as db:
            row = db.execute(sa.select(_target).where(_target.c.key == target)).first()
            known = TargetHealth() if row is None else TargetHealth(*_health_of(row))
            since = now if known.failing_since is None else known.failing_since
            after = TargetHealth(known.failures + 1, until, since, error, known.is_told)
            db.execute(_target.delete().where(_target.c.key == target))
            db.execute(_target.insert().values(_target_row(target, after)))

    @property
    def stats(self) -> DeliveryStats:
        """How many deliveries are in which state."""
        query = sa.select(_delivery.c.state, sa.func.count()).group_by(_delivery.c.state)
        with self._transaction() as db:
            counts = {state: number for state, number in db.execute(query)}
        return DeliveryStats(*(counts.get(state, 0) for state in ("pending", "delivered", "dead")))

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest alerts that were given up."""
        columns = (_delivery.c.event_id, _event.c.body, _delivery.c.error, _delivery.c.target)
        joined = _delivery.outerjoin(_event, _delivery.c.event_id == _event.c.event_id)
        query = sa.select(*columns).select_from(joined).where(_delivery.c.state == "dead")
        with self._transaction() as db:
            newest = query.order_by(_delivery.c.done_at.desc(), _delivery.c.id.desc()).limit(limit)
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
        is_dead = _delivery.c.state == "dead"
        wanted = is_dead if event_ids is None else is_dead & _delivery.c.event_id.in_(list(event_ids))
        fresh = {"state": "pending", "attempts": 0, "first_at": None, "next_at": 0.0, "done_at": None, "group_id": None}
        with self._transaction() as db:
            keys = [key for (key,) in db.execute(sa.select(_delivery.c.target).where(wanted).distinct())]
            # A breaker that is open would make whoever resends wait for no reason that he can see.
            db.execute(_target.update().where(_target.c.key.in_(keys)).values(held_until=0.0))
            return db.execute(_delivery.update().where(wanted).values(fresh | {"is_told": False})).rowcount

    # --- once

    def bring_in(self, name: str, rows: Iterable[tuple[str, str, str, str, float | None, str | None]]) -> None:
        """Take over deliveries `(event_id, target, body, state, first_at, error)` of an older store; once a name."""
        with self._transaction() as db:
            if db.execute(sa.select(_meta.c.value).where(_meta.c.name == name)).first() is not None:
                return
            db.execute(_meta.insert().values(name=name, value="brought in"))
            for event_id, target, body, state, first_at, error in rows:
                if db.execute(sa.select(_event.c.event_id).where(_event.c.event_id == event_id)).first() is None:
                    db.execute(_event.insert().values(event_id=event_id, tick=0, detected_at=0.0, body=body))
                values = {"state": state, "first_at": first_at, "error": error, "is_told": state == "dead"}
                db.execute(_delivery.insert().values(event_id=event_id, target=target, **values))

    # --- connections

    @contextmanager
    def _errors(self) -> Iterator[None]:
        name = self.path.name if self.path is not None else "the database of the alerts"
        try:
            yield
        except (SQLAlchemyError, ImportError, ValueError) as error:
            # The text of another error may quote the URL.
            reason = getattr(error, "orig", None) or type(error).__name__
            raise StoreError(f"{name}: {reason}") from (error if self.path is not None else None)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.begin() as db:
            yield db


def _begin_at_once(engine: sa.Engine) -> None:
    """Make every transaction of SQLite take its lock when it begins: one that reads first could not write later."""

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: object) -> None:
        connection.isolation_level = None
        connection.text_factory = lambda data: data.decode(errors="replace")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _waiting() -> "sa.Select[Any]":
    names = ("id", "event_id", "target")
    rest = (_delivery.c.group_id, _delivery.c.attempts, _delivery.c.first_at)
    columns = (*(_delivery.c[name] for name in names), _event.c.body, *rest)
    # What waits for a target is found even if something else has taken its event away.
    joined = _delivery.outerjoin(_event, _delivery.c.event_id == _event.c.event_id)
    return sa.select(*columns).select_from(joined).where(_delivery.c.state == "pending")


def _due(now: float) -> "sa.Select[Any]":
    def is_over(moment: Any) -> Any:
        return (moment <= now) | (moment > now + MAX_WAIT_S)

    held = sa.func.coalesce(
        sa.select(_target.c.held_until).where(_target.c.key == _delivery.c.target).scalar_subquery(), 0.0
    )
    return _waiting().where(is_over(_delivery.c.next_at), is_over(held)).order_by(_delivery.c.next_at, _delivery.c.id)


def _update(db: sa.Connection, group: Sequence[Delivery], **values: Any) -> None:
    for part in _parts([delivery.id for delivery in group]):
        db.execute(_delivery.update().where(_delivery.c.id.in_(part)).values(**values))


def _parts(values: list[Part]) -> Iterator[list[Part]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]


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
    return (*key, *state)


def _target_row(key: str, health: TargetHealth) -> tuple[Any, ...]:
    return (key, *health)


def _health_of(row: Any) -> tuple[Any, ...]:
    return tuple(row)[1:]


def _symbol_row(symbol: str, state: SymbolState) -> tuple[Any, ...]:
    watermark, closes, health, *rest = astuple(state)
    return (symbol, watermark, json.dumps(closes), *health, *rest)


def _read_symbol(row: Any) -> SymbolState:
    _, watermark, closes, state, since, detail, *rest = row
    return SymbolState(
        watermark, tuple(Close(*each) for each in json.loads(closes)), Health(state, since, detail), *rest
    )


def _make_private(path: Path) -> None:
    """Create the file, and its directory, for nobody else to read; what is there is left alone."""
    missing = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
    # A lake keeps its records in the same directory, and may have readers who are not its writer.
    is_ours = bool(missing) and path.parent.name != LAKE_DIRECTORY
    for directory in reversed(missing):
        directory.mkdir(mode=0o700 if is_ours and directory == path.parent else 0o777, exist_ok=True)
    if is_ours:
        path.parent.chmod(0o700)  # whatever the umask
    # SQLite gives the files beside it the same mode.
    os.close(_open_private(str(path)))


def _open_private(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR)
    os.fchmod(descriptor, 0o600)  # whatever the umask
    return descriptor
