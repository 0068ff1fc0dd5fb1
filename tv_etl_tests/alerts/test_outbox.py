"""The outbox as a file: identity, lock, damage, threads. Delivery from it is in test_webhooks."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tv_etl.alerts.outbox import Outbox, OutboxBusy, OutboxError, OutboxStats
from tv_etl.alerts.rules import Alert


@dataclass(frozen=True)
class Place:
    key: str


HERE, THERE = Place("here"), Place("there")


def make_alerts(count: int, start: int = 0) -> list[Alert]:
    return [Alert(f"{n:032x}", "r", "X:Y", "above", 1.0, 1.0, None, 1.0) for n in range(start, start + count)]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "deep" / "outbox.sqlite")


def test_an_alert_is_new_once_per_destination(outbox: Outbox) -> None:
    alerts = make_alerts(3)
    assert outbox.add(alerts, [HERE]) == 3
    assert outbox.add(alerts, [HERE, THERE]) == 3
    assert outbox.add(alerts, [HERE, THERE]) == 0
    assert outbox.add(alerts, []) == outbox.add([], [HERE]) == 0
    assert outbox.stats == OutboxStats(pending=6, delivered=0, dead=0)


def test_a_delivered_alert_is_not_new_again(outbox: Outbox) -> None:
    outbox.add(make_alerts(1), [HERE])
    outbox.mark_sent(outbox.pending(0.0), 0.0)
    assert outbox.add(make_alerts(1), [HERE]) == 0
    assert outbox.pending(0.0) == []


def test_only_one_holds_the_outbox(outbox: Outbox, tmp_path: Path) -> None:
    other = Outbox(tmp_path / "deep" / "outbox.sqlite")
    with outbox.exclusive() as is_held:
        assert is_held
        with pytest.raises(OutboxBusy), other.exclusive():
            pass
        other.add(make_alerts(1), [HERE])  # the lock is for evaluations; the file itself can be used
    with other.exclusive():
        pass


def test_the_lock_of_a_killed_process_is_released(outbox: Outbox, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, tv_etl.alerts.outbox as o\n"
        "with o.Outbox(pathlib.Path(sys.argv[1])).exclusive(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep" / "outbox.sqlite")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutboxBusy), outbox.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with outbox.exclusive() as is_held:
            assert is_held


def test_alerts_are_added_all_together_or_not_at_all(outbox: Outbox, tmp_path: Path) -> None:
    def broken() -> list[Alert]:
        return [*make_alerts(3), None]  # type: ignore[list-item]

    with pytest.raises(AttributeError):
        outbox.add(broken(), [HERE])
    assert outbox.stats.pending == 0


def test_threads_do_not_lose_each_others_alerts(outbox: Outbox) -> None:
    def add(start: int) -> None:
        for number in range(10):
            outbox.add(make_alerts(3, start + 3 * number), [HERE])

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.stats.pending == 120


def test_a_group_survives_a_crash_between_taking_and_sending(outbox: Outbox) -> None:
    outbox.add(make_alerts(8), [HERE])
    first = outbox.take_group(0.0, "here", group_above=5)
    outbox.add(make_alerts(2, start=8), [HERE])
    assert outbox.take_group(0.0, "here", group_above=5) == first
    assert len(first) == 8
    outbox.mark_sent(first, 0.0)
    assert [len(outbox.take_group(0.0, "here", group_above=5)) for _ in range(2)] == [1, 1]


def test_a_file_that_is_not_an_outbox_is_an_outbox_error(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(OutboxError):
        Outbox(path)


def test_an_outbox_of_a_newer_version_is_refused(outbox: Outbox, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "outbox.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(OutboxError, match="version 2"):
        Outbox(path)


def test_every_commit_is_synced_to_the_disk(outbox: Outbox) -> None:
    with outbox._connection() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_what_is_made(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    before = os.umask(umask)
    try:
        outbox = Outbox(path)
        with outbox.exclusive(), outbox._connection():
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o700
    assert {"outbox.sqlite", "outbox.sqlite.lock"} <= set(modes) and set(modes.values()) == {0o600}


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    Outbox(path)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    Outbox(path).add(make_alerts(1), [HERE])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755 and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_directory_of_a_lakes_records_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "lake" / ".tv_etl" / "outbox.sqlite"
    before = os.umask(0o022)
    try:
        Outbox(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
