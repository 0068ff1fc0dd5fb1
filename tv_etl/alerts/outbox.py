"""Alerts that wait for delivery, in one SQLite file.

At least once: `add` returns when the alerts are on disk, and a row leaves the state `pending` only after its
destination accepted or refused it. Knows destinations by an opaque key alone; their URLs are never stored.
Every call opens and closes its own connection, so that an outbox may be used from any thread.
"""

import fcntl
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tv_etl.alerts.rules import Alert

# `next_at` and `held_until` are never set further ahead than this; where they are, the clock was set back.
MAX_WAIT_S = 3600.0
MAX_GROUP = 1000
LAKE_DIRECTORY = ".tv_etl"
_EVENT_ID = re.compile("[!-~]{1,200}")  # it becomes the header Idempotency-Key

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    destination TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    group_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    first_at REAL,
    next_at REAL NOT NULL DEFAULT 0,
    done_at REAL,
    error TEXT,
    UNIQUE (event_id, destination)
);
CREATE INDEX IF NOT EXISTS delivery_by_state ON delivery (state, destination, next_at, id);
CREATE TABLE IF NOT EXISTS destination (key TEXT PRIMARY KEY, held_until REAL NOT NULL);
"""
_COLUMNS = "SELECT id, event_id, delivery.destination, body, group_id, attempts, first_at FROM delivery"
_DUE = f"""
{_COLUMNS} LEFT JOIN destination ON destination.key = delivery.destination
WHERE state = 'pending'
  AND (next_at <= :now OR next_at > :now + :longest)
  AND (held_until IS NULL OR held_until <= :now OR held_until > :now + :longest)
"""


class OutboxError(Exception):
    """The outbox cannot be used."""


class OutboxBusy(OutboxError):
    """Another process or thread holds the outbox's lock."""


class Destination(Protocol):
    """Anything with a stable key that reveals nothing."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class Delivery:
    """One alert on its way to one destination; `body` is the alert as JSON."""

    id: int
    event_id: str
    destination: str
    body: str
    group_id: str | None
    attempts: int
    first_at: float | None

    @property
    def is_readable(self) -> bool:
        """False where something else wrote or damaged the row: it cannot be sent."""
        return _EVENT_ID.fullmatch(str(self.event_id)) is not None and read_body(self.body) is not None


@dataclass(frozen=True)
class DeadLetter:
    """An alert that its destination will not get, and why."""

    event_id: str
    rule: str
    text: str
    error: str


@dataclass(frozen=True)
class OutboxStats:
    """Rows of the outbox (an alert counts once per destination)."""

    pending: int
    delivered: int
    dead: int


_WAITED = "state = 'pending' AND first_at <= ?"


class Outbox:
    """The file of alerts to deliver. Raises OutboxError if a newer tv_etl wrote it or it is not an outbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _make_private(path)
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _SCHEMA_VERSION:
                raise OutboxError(
                    f"the outbox has version {version}, this tv_etl reads up to {_SCHEMA_VERSION}: update tv_etl"
                )
            if version < _SCHEMA_VERSION:
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Hold the outbox's lock; the death of the process frees it. Raises OutboxBusy if another holds it."""
        with os.fdopen(_open_private(f"{self._path}.lock"), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutboxBusy("another evaluation holds the outbox") from None
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it held by a child forked meanwhile

    def add(self, alerts: Iterable[Alert], destinations: Sequence[Destination]) -> int:
        """Store the alerts for each destination and return how many rows were new; known ones are left alone."""
        rows = [
            (alert.event_id, destination.key, _alert_body(alert)) for alert in alerts for destination in destinations
        ]
        if not rows:
            return 0
        insert = "INSERT OR IGNORE INTO delivery (event_id, destination, body) VALUES (?, ?, ?)"
        with self._transaction() as db:
            return sum(db.execute(insert, row).rowcount for row in rows)

    def pending(self, now: float) -> list[Delivery]:
        """What is due now, new alerts before retried ones."""
        with self._connection() as db:
            rows = db.execute(f"{_DUE} ORDER BY next_at, id", {"now": now, "longest": MAX_WAIT_S})
            return [Delivery(*row) for row in rows]

    def take_group(self, now: float, destination: str, group_above: int) -> list[Delivery]:
        """The next due message of a destination: one alert, or all of a group.

        A group is fixed before it is first sent: sent again, it has the same alerts and the same id.
        """
        query = f"{_DUE} AND delivery.destination = :destination ORDER BY next_at, id LIMIT :limit"
        values = {"now": now, "longest": MAX_WAIT_S, "destination": destination, "limit": MAX_GROUP}
        with self._transaction() as db:
            due = [Delivery(*row) for row in db.execute(query, values)]
            if due and due[0].group_id is not None:
                members = (
                    f"{_COLUMNS} WHERE state = 'pending' AND delivery.destination = ? AND group_id = ? ORDER BY id"
                )
                return [Delivery(*row) for row in db.execute(members, (destination, due[0].group_id))]
            fresh = [delivery for delivery in due if delivery.attempts == 0 and delivery.group_id is None]
            if len(fresh) <= group_above or due[0].attempts:
                return due[:1]
            ids = json.dumps([delivery.event_id for delivery in fresh]).encode()
            group_id = hashlib.blake2b(ids, digest_size=16).hexdigest()
            update = "UPDATE delivery SET group_id = ? WHERE id = ?"
            db.executemany(update, [(group_id, delivery.id) for delivery in fresh])
        return [Delivery(d.id, d.event_id, d.destination, d.body, group_id, 0, d.first_at) for d in fresh]

    def start_clock(self, now: float, destinations: Sequence[str], dead_after_s: float) -> int:
        """Note when each row was first due; give up, and count, old rows of destinations that no longer exist."""
        marks = ",".join("?" * len(destinations))
        with self._transaction() as db:
            db.execute("UPDATE delivery SET first_at = ? WHERE state = 'pending' AND first_at IS NULL", (now,))
            # Question marks alone are put in.
            given_up = "state = 'dead', done_at = ?, error = 'the destination is no longer configured'"
            update = f"UPDATE delivery SET {given_up} WHERE {_WAITED} AND destination NOT IN ({marks})"  # nosec
            orphans = db.execute(update, (now, now - dead_after_s, *destinations))
            return orphans.rowcount

    def mark_sent(self, group: Sequence[Delivery], now: float) -> None:
        """Note that the destination accepted these."""
        self._update(group, "state = 'delivered', done_at = ?, error = NULL", now)

    def mark_dead(self, group: Sequence[Delivery], now: float, error: str) -> None:
        """Note that the destination will never accept these."""
        self._update(group, "state = 'dead', done_at = ?, error = ?", now, error)

    def mark_retry(self, group: Sequence[Delivery], next_at: float, error: str) -> None:
        """Try these again at `next_at`."""
        self._update(group, "attempts = attempts + 1, next_at = ?, error = ?", next_at, error)

    def hold(self, destination: str, until: float) -> None:
        """Make nothing due for this destination before `until`."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO destination VALUES (?, ?)", (destination, until))

    @property
    def stats(self) -> OutboxStats:
        """How many rows are in which state."""
        with self._connection() as db:
            counts = dict(db.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall())
        return OutboxStats(*(counts.get(state, 0) for state in ("pending", "delivered", "dead")))

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest alerts that were given up."""
        query = "SELECT event_id, body, error FROM delivery WHERE state = 'dead' ORDER BY done_at DESC, id DESC LIMIT ?"
        with self._connection() as db:
            rows = db.execute(query, (limit,)).fetchall()
        bodies = [read_body(body) or {"rule": "unknown", "text": "the alert cannot be read"} for _, body, _ in rows]
        return [
            DeadLetter(event_id, body["rule"], body["text"], error)
            for (event_id, _, error), body in zip(rows, bodies, strict=True)
        ]

    def _update(self, group: Sequence[Delivery], assignments: str, *values: object) -> None:
        with self._transaction() as db:
            # The assignments are the three methods' above.
            update = f"UPDATE delivery SET {assignments} WHERE id = ?"  # nosec
            db.executemany(update, [(*values, delivery.id) for delivery in group])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
            try:
                db.text_factory = lambda data: data.decode(errors="replace")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise OutboxError(f"{self._path.name}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def read_body(body: object) -> dict[str, Any] | None:
    """The alert that a row holds; None where something else wrote or damaged it."""
    try:
        found = json.loads(body) if isinstance(body, str) else None
        json.dumps(found, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    names = ("event_id", "rule", "text")
    is_alert = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names)
    return found if is_alert else None


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


def _alert_body(alert: Alert) -> str:
    fields = {
        "event_id": alert.event_id,
        "rule": alert.rule,
        "symbol": alert.symbol,
        "kind": alert.kind,
        "level": alert.level,
        "price": alert.price,
        "touched_at": alert.touched_at,
        "detected_at": alert.detected_at,
        "text": alert.text,
    }
    return json.dumps(fields)
