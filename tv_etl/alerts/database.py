"""Where the alerts are kept: the tables, and the file of SQLite or the PostgreSQL database that holds them.

Every call opens and closes a connection of its own, so that a database may be used from any thread; the URL of one,
with its password, is shown nowhere. It knows nothing of what its rows mean.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tv_etl.alerts.events import digest

LAKE_DIRECTORY = ".tv_etl"

SCHEMA_VERSION = 4
_LOCK_WAIT_S = 30.0
_MANY = 500  # parameters of one statement; SQLite's own limit is 32,766

Part = TypeVar("Part")

_tables = sa.MetaData()
_Time = sa.Double
META = sa.Table("meta", _tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
# Since when each rule has been registered; what was removed or edited is kept as long as what it told.
RULE = sa.Table(
    "rule",
    _tables,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("registered_at", _Time, nullable=False),
    sa.Column("retired_at", _Time, index=True),
    sa.Column("members", sa.Text),
)
ARMING = sa.Table(
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
    sa.Column("seen", sa.BigInteger),
    sa.Column("pending", sa.Integer, nullable=False, server_default="0"),
    sa.Column("base", sa.Double),
    sa.Column("ends", sa.BigInteger),
    sa.Column("day", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("levels", sa.Text, nullable=False, server_default="[]"),
    sa.Column("levels_from", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("levels_until", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("levels_day", sa.BigInteger, nullable=False, server_default="-1"),
)
# How often each rule has fired lately, and until when it is muted for it.
MUTE = sa.Table(
    "mute",
    _tables,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("fired", sa.Text, nullable=False),
    sa.Column("until", _Time, nullable=False),
    sa.Column("kept_back", sa.Integer, nullable=False),
)
# What somebody has muted by hand: a rule, or one symbol of it ("" for all), and how many alerts were kept back for it.
HAND_MUTE = sa.Table(
    "hand_mute",
    _tables,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("since", _Time, primary_key=True),
    sa.Column("until", _Time, nullable=False),
    sa.Column("kept_back", sa.Integer, nullable=False, server_default="0"),
    sa.Column("is_told", sa.Boolean, nullable=False, server_default=sa.false()),
)
SYMBOL = sa.Table(
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
EVENT = sa.Table(
    "event",
    _tables,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("tick", sa.BigInteger, nullable=False),
    sa.Column("detected_at", _Time, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
DELIVERY = sa.Table(
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
# What was done with each event beside delivering it: kept in the dataset, reported to Dagster.
MARK = sa.Table(
    "mark",
    _tables,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("at", _Time, nullable=False),
)
# Alerts that somebody has acknowledged, and when a tick has seen that and told it.
ACK = sa.Table(
    "ack",
    _tables,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("at", _Time, nullable=False),
    sa.Column("told_at", _Time),
)
# Alerts that are not over and of which people are reminded: how often they were, and when they were last told.
REMINDER = sa.Table(
    "reminder",
    _tables,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("told_at", _Time, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
)
# The breaker of each target: while it is held, nothing is due for it.
TARGET = sa.Table(
    "target",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("held_until", _Time, nullable=False),
    sa.Column("failing_since", _Time),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("is_told", sa.Boolean, nullable=False),
)
# What is in trouble of what collects; a row goes when that is over.
TROUBLE = sa.Table(
    "trouble",
    _tables,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("at", _Time, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("page", sa.Text, nullable=False),
    sa.Column("watched_by", sa.Text, nullable=False),
)


class StoreError(Exception):
    """The store of the alerts cannot be used."""


class StoreBusy(StoreError):
    """Another process or thread holds the store's lock."""


class Database:
    """A file, or a PostgreSQL database where each `scope` has a schema of its own.

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
            db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(self._schema, "make")})
            db.execute(sa.schema.CreateSchema(self._schema, if_not_exists=True))
        META.create(db, checkfirst=True)
        found = db.execute(sa.select(META.c.value).where(META.c.name == "version")).scalar()
        if found is not None and int(found) > SCHEMA_VERSION:
            raise StoreError(f"the store has version {found}, this tv_etl reads up to {SCHEMA_VERSION}: update tv_etl")
        if found is None:
            _tables.create_all(db)
            db.execute(META.insert().values(name="version", value=str(SCHEMA_VERSION)))
        elif int(found) < SCHEMA_VERSION:
            for version in range(int(found) + 1, SCHEMA_VERSION + 1):
                _STEPS[version](db, self._schema)
            db.execute(META.update().where(META.c.name == "version").values(value=str(SCHEMA_VERSION)))

    @contextmanager
    def exclusive(self, purpose: str = "tick") -> Iterator[bool]:
        """Hold the store's lock for a purpose; the death of the process frees it.

        Raises StoreBusy if another holds it. What is delivered is delivered under that of a tick.
        """
        busy = StoreBusy("another evaluation holds the store of the alerts")
        if self.path is None:
            with self._transaction() as db:
                query = sa.text("SELECT pg_try_advisory_xact_lock(:key)")
                if not db.execute(query, {"key": lock_key(self._schema, purpose)}).scalar():
                    raise busy
                yield True
            return
        name = f"{self.path}.lock" if purpose == "tick" else f"{self.path}.{purpose}.lock"
        with os.fdopen(_open_private(name), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it held by a child forked meanwhile

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


def lock_key(schema: str | None, purpose: str) -> int:
    """The number of PostgreSQL's lock: one for all processes on a store, another for each store of a database."""
    return int(digest((schema, purpose), size=8), 16) - (1 << 63)


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


# --- from one version to the next; a step finds what the one before it has left, or a later one would have made


def _to_2(db: sa.Connection, schema: str | None) -> None:
    """Levels that bars tell, rules for many symbols, the cap."""
    MUTE.create(db, checkfirst=True)
    for table in (RULE, ARMING):
        _add_columns(db, schema, table)


def _to_3(db: sa.Connection, schema: str | None) -> None:
    """Mutes by hand, acknowledgements, reminders."""
    for table in (HAND_MUTE, ACK, REMINDER):
        table.create(db, checkfirst=True)


def _to_4(db: sa.Connection, schema: str | None) -> None:
    """Troubles of collecting."""
    TROUBLE.create(db, checkfirst=True)


_STEPS: dict[int, Callable[[sa.Connection, str | None], None]] = {2: _to_2, 3: _to_3, 4: _to_4}


def _add_columns(db: sa.Connection, schema: str | None, table: sa.Table) -> None:
    """Give a table of an older version the columns that it lacks."""
    quoted = db.dialect.identifier_preparer.quote
    compiler = db.dialect.ddl_compiler(db.dialect, None)  # type: ignore[arg-type]
    known = {column["name"] for column in sa.inspect(db).get_columns(table.name, schema=schema)}
    place = ".".join(quoted(part) for part in (schema, table.name) if part)
    for column in (each for each in table.columns if each.name not in known):
        written = compiler.get_column_specification(column)  # type: ignore[no-untyped-call]
        db.execute(sa.text(f"ALTER TABLE {place} ADD COLUMN {written}"))


def parts(values: list[Part]) -> Iterator[list[Part]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]


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
