"""Where alerts are kept: the lock, damage, versions, and who may read it."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import traceback
from contextlib import closing
from pathlib import Path

import pytest

from tv_etl.alerts.database import SCHEMA_VERSION, Database, StoreBusy, StoreError, lock_key


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "deep" / "alerts.sqlite")


def version(database: Database) -> object:
    with database._transaction() as db:
        return db.exec_driver_sql("SELECT value FROM meta WHERE name = 'version'").scalar()


def test_only_one_holds_the_lock(database: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "deep" / "alerts.sqlite")
    with database.exclusive() as is_held:
        assert is_held
        with pytest.raises(StoreBusy), other.exclusive():
            pass
        assert version(other) == str(SCHEMA_VERSION)  # the lock is for evaluations; the file itself can be used
    with other.exclusive():
        pass


def test_the_lock_of_a_killed_process_is_released(database: Database, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, tv_etl.alerts.database as o\n"
        "with o.Database(pathlib.Path(sys.argv[1])).exclusive(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep" / "alerts.sqlite")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy), database.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with database.exclusive() as is_held:
            assert is_held


def test_the_lock_in_postgresql_is_one_for_all_processes_on_a_store_and_none_of_another() -> None:
    """Another version's processes hold the same; each number is one that PostgreSQL has room for."""
    assert lock_key("tv_etl_alerts", "tick") == 8_764_706_315_997_036_808
    keys = {
        lock_key(schema, purpose) for schema in ("tv_etl_alerts", "tv_etl_alerts_b") for purpose in ("tick", "make")
    }
    assert len(keys) == 4
    many = [lock_key(f"tv_etl_alerts_{number}", "tick") for number in range(100)]
    assert -(2**63) <= min(many) < 0 < max(many) < 2**63


def test_a_file_that_is_no_store_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError):
        Database(path)


def test_a_store_of_a_newer_version_is_refused(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE meta SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'version'")
        db.commit()
    with pytest.raises(StoreError, match=f"version {SCHEMA_VERSION + 1}, this tv_etl reads up to {SCHEMA_VERSION}"):
        Database(path)


def test_every_commit_is_synced_to_the_disk(database: Database) -> None:
    with database._transaction() as db:
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_what_is_made(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "state" / "alerts.sqlite"
    before = os.umask(umask)
    try:
        database = Database(path)
        with database.exclusive(), database._transaction():
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o700
    assert {"alerts.sqlite", "alerts.sqlite.lock"} <= set(modes) and set(modes.values()) == {0o600}


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alerts.sqlite"
    Database(path)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    assert version(Database(path)) == str(SCHEMA_VERSION)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755 and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_directory_of_a_lakes_records_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "lake" / ".tv_etl" / "alerts.sqlite"
    before = os.umask(0o022)
    try:
        Database(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_database_that_cannot_be_used_is_told_without_its_password() -> None:
    for url in (
        "postgresql://user:CANARY5f3a@127.0.0.1:1/x",
        "nodialect://user:CANARY5f3a@h/x",
        "sqlite+none://CANARY5f3a",
    ):
        with pytest.raises(StoreError) as caught:
            Database(url)
        assert "the database of the alerts" in str(caught.value)
        assert "CANARY5f3a" not in "".join(traceback.format_exception(caught.value))
