"""The store: identity, lock, damage, threads, what a tick writes. Delivery from it is in test_courier."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Close, Health, RuleState, SymbolState
from tv_etl.alerts.store import AlertStore, DeliveryStats, StoreBusy, StoreError
from tv_etl_tests.patience import wait_until
from tv_etl_tests.processes import free_port

HERE, THERE = "here", "there"


def make_alerts(count: int, start: int = 0) -> list[Alert]:
    return [Alert(f"{n:032x}", "r", "X:Y", "above", 1.0, 1.0, None, 1.0) for n in range(start, start + count)]


@pytest.fixture
def alert_store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "deep" / "alerts.sqlite")


def test_an_alert_is_new_once_per_destination(alert_store: AlertStore) -> None:
    alerts = make_alerts(3)
    assert alert_store.add(alerts, [HERE]) == 3
    assert alert_store.add(alerts, [HERE, THERE]) == 3
    assert alert_store.add(alerts, [HERE, THERE]) == 0
    assert alert_store.add(alerts, []) == alert_store.add([], [HERE]) == 0
    assert alert_store.stats == DeliveryStats(pending=6, delivered=0, dead=0)


def test_a_delivered_alert_is_not_new_again(alert_store: AlertStore) -> None:
    alert_store.add(make_alerts(1), [HERE])
    alert_store.mark_sent(alert_store.pending(0.0), 0.0)
    assert alert_store.add(make_alerts(1), [HERE]) == 0
    assert alert_store.pending(0.0) == []


def test_only_one_holds_the_outbox(alert_store: AlertStore, tmp_path: Path) -> None:
    other = AlertStore(tmp_path / "deep" / "alerts.sqlite")
    with alert_store.exclusive() as is_held:
        assert is_held
        with pytest.raises(StoreBusy), other.exclusive():
            pass
        other.add(make_alerts(1), [HERE])  # the lock is for evaluations; the file itself can be used
    with other.exclusive():
        pass


def test_the_lock_of_a_killed_process_is_released(alert_store: AlertStore, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, tv_etl.alerts.store as o\n"
        "with o.AlertStore(pathlib.Path(sys.argv[1])).exclusive(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep" / "alerts.sqlite")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy), alert_store.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with alert_store.exclusive() as is_held:
            assert is_held


def test_alerts_are_added_all_together_or_not_at_all(alert_store: AlertStore, tmp_path: Path) -> None:
    def broken() -> list[Alert]:
        return [*make_alerts(3), None]  # type: ignore[list-item]

    with pytest.raises(AttributeError):
        alert_store.add(broken(), [HERE])
    assert alert_store.stats.pending == 0


def test_threads_do_not_lose_each_others_alerts(alert_store: AlertStore) -> None:
    def add(start: int) -> None:
        for number in range(10):
            alert_store.add(make_alerts(3, start + 3 * number), [HERE])

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alert_store.stats.pending == 120


def test_a_group_survives_a_crash_between_taking_and_sending(alert_store: AlertStore) -> None:
    alert_store.add(make_alerts(8), [HERE])
    first = alert_store.take_group(0.0, "here", group_above=5)
    alert_store.add(make_alerts(2, start=8), [HERE])
    assert alert_store.take_group(0.0, "here", group_above=5) == first
    assert len(first) == 8
    alert_store.mark_sent(first, 0.0)
    assert [len(alert_store.take_group(0.0, "here", group_above=5)) for _ in range(2)] == [1, 1]


def test_a_file_that_is_not_an_outbox_is_an_outbox_error(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError):
        AlertStore(path)


def test_an_outbox_of_a_newer_version_is_refused(alert_store: AlertStore, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = '2' WHERE name = 'version'")
        db.commit()
    with pytest.raises(StoreError, match="version 2, this tv_etl reads up to 1"):
        AlertStore(path)


def test_every_commit_is_synced_to_the_disk(alert_store: AlertStore) -> None:
    with alert_store._transaction() as db:
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_what_is_made(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "state" / "alerts.sqlite"
    before = os.umask(umask)
    try:
        alert_store = AlertStore(path)
        with alert_store.exclusive(), alert_store._transaction():
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o700
    assert {"alerts.sqlite", "alerts.sqlite.lock"} <= set(modes) and set(modes.values()) == {0o600}


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alerts.sqlite"
    AlertStore(path)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    AlertStore(path).add(make_alerts(1), [HERE])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755 and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_directory_of_a_lakes_records_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "lake" / ".tv_etl" / "alerts.sqlite"
    before = os.umask(0o022)
    try:
        AlertStore(path)
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
            AlertStore(url)
        assert "the database of the alerts" in str(caught.value)
        assert "CANARY5f3a" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The URL of a PostgreSQL of this test's own."""
    pytest.importorskip("psycopg2")
    program, initdb = shutil.which("postgres"), shutil.which("initdb")
    if program is None or initdb is None or os.geteuid() == 0:
        pytest.skip("needs PostgreSQL, and a user other than root")
    data, port = tmp_path / "data", free_port()
    subprocess.run([initdb, "-D", str(data), "-U", "tv", "-A", "trust"], check=True, capture_output=True)
    command = [program, "-D", str(data), "-p", str(port), "-k", str(tmp_path), "-c", "listen_addresses=127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        yield f"postgresql://tv@127.0.0.1:{port}/postgres"
        server.terminate()


@pytest.mark.slow
def test_a_postgresql_database_is_a_store_too(postgres: str) -> None:
    wait_until(lambda: is_reached(postgres), "PostgreSQL answers")
    prove(postgres)
    with AlertStore(postgres).exclusive(), AlertStore(postgres, "other").exclusive():
        assert AlertStore(postgres, "other").load().tick == 0


def is_reached(url: str) -> bool:
    try:
        AlertStore(url)
    except StoreError:
        return False
    return True


def prove(place: Path | str) -> None:
    """What any store does: a tick's writing, the lock, delivery, dead letters, pruning."""
    one = AlertStore(place)
    rules = [AlertRule(name="a", symbol="X:Y", kind="above", level=1.0)]
    memory = one.load()
    registry = memory.registry.register(rules, 5.0)
    [registered] = registry.registered(rules)
    symbols = {"X:Y": SymbolState(60, (Close(60, 2.0),), Health("late", 1.0, "x"), 5.0, hours="{}")}
    state = AlertState({registered.key: RuleState(60, 0, True, True, True, 120)}, symbols)
    assert one.commit(memory, rules, registry, state, make_alerts(7), [HERE, THERE], 5.0, {"a": "b"}, {}) == 1
    known = AlertStore(place).load()
    assert (known.registry, known.state, known.flags["a"]) == (registry, state, "b")
    with one.exclusive(), pytest.raises(StoreBusy), AlertStore(place).exclusive():
        pass
    group = one.take_group(10.0, HERE, group_above=5)
    assert len(group) == 7 and one.take_group(10.0, HERE, group_above=5) == group
    one.mark_sent(group, 10.0)
    one.hold(THERE, 60.0, 10.0, "HTTP 500")
    assert one.pending(20.0) == [] and len(one.pending(60.0)) == 7
    one.mark_dead(one.pending(60.0), 60.0, "HTTP 410")
    assert one.load().untold == {THERE: (7, "HTTP 410")}
    assert one.resend() == 7 and one.stats == DeliveryStats(7, 7, 0)
    one.mark_sent(one.pending(60.0), 60.0)
    assert one.commit(one.load(), [], registry.register([], 70.0), AlertState(), [], [], 70.0, {}, {}) == 2
    assert one.load().state == AlertState()
    assert one.prune(40 * 86_400.0) == 7


def test_a_file_is_a_store(tmp_path: Path) -> None:
    prove(tmp_path / "alerts.sqlite")
