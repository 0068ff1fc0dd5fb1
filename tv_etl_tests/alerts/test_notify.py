"""A tick of the notifications: read, stored and delivered, through deaths as well."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tv_etl.alerts.notices import Routing
from tv_etl.alerts.notify import Look, NotifyReport, run_notify
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget
from tv_etl.alerts.trouble_store import KnownTroubles
from tv_etl.alerts.troubles import Sighting, Subject
from tv_etl_tests.alerts.test_courier import HookServer, local
from tv_etl_tests.patience import wait_until

NOW = 1_790_000_000.0


@pytest.fixture
def server() -> Iterator[HookServer]:
    hooks = HookServer()
    thread = threading.Thread(target=hooks.serve_forever, args=(0.01,))
    thread.start()
    yield hooks
    hooks.stopping.set()
    hooks.shutdown()
    hooks.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def subject(number: int) -> Subject:
    return Subject("runs", "bars", f"1d|X:S{number}")


def tick(
    store: AlertStore, targets: list[ReadyTarget | UnusableTarget], sightings: list[Sighting], now: float = NOW
) -> NotifyReport:
    def read(known: KnownTroubles) -> Look:
        return Look(sightings, {"read": str(int(known.marks.get("read", 0)) + 1)})

    return run_notify(store, targets, read, Routing(), lambda: now, watches_targets=True)


def test_what_is_found_is_delivered_and_said(store: AlertStore, server: HookServer) -> None:
    report = tick(store, [local(server.url("/200"))], [Sighting(subject(1), True, 1, "why")])
    assert report.summary == "1 notification, 1 alerts delivered; 1 in trouble; bars: 1d|X:S1 failed: why"
    assert [post.body["kind"] for post in server.posts] == ["run_failed"]
    assert tick(store, [], []).summary == "0 notifications, 0 alerts delivered; 1 in trouble"
    assert store.load_troubles().marks == {"read": "2"}


def test_while_a_tick_of_the_rules_runs_it_is_stored_and_delivered_later(store: AlertStore, server: HookServer) -> None:
    hook = local(server.url("/200"))
    with store.exclusive():
        assert tick(store, [hook], [Sighting(subject(1), True, 1, "why")]).sent == 0
        assert server.posts == [] and len(store.newest(10)) == 1
    assert tick(store, [hook], []).sent == 1


def test_a_target_that_cannot_be_reached_is_told_on_the_others(store: AlertStore, server: HookServer) -> None:
    lame = UnusableTarget("slack LAME", "LAME", "environment variable LAME is not set")
    tick(store, [lame, local(server.url("/200"))], [])
    assert [post.body["kind"] for post in server.posts] == ["target"]


LIFE = """
import sys
from pathlib import Path
from tv_etl.alerts.notices import Routing
from tv_etl.alerts.notify import Look, run_notify
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.troubles import Sighting, Subject
from tv_etl_tests.alerts.test_courier import local

store, log = AlertStore(Path(sys.argv[1])), Path(sys.argv[3])

def read(known):
    lines = [line.split() for line in log.read_text().splitlines()]
    found = [
        Sighting(Subject("sensors", f"sensor {name}"), state == "bad", at) for at, (name, state) in enumerate(lines)
    ]
    return Look(found[int(known.marks.get("read", 0)):], {"read": str(len(lines))})

while True:
    run_notify(store, [local(sys.argv[2])], read, Routing(), lambda: 1_790_000_000.0)
    print("tick", flush=True)
"""
KILLS = 10


@pytest.mark.slow
def test_through_kills_every_turn_is_told_at_least_once_under_one_id(tmp_path: Path, server: HookServer) -> None:
    """A process that ticks without a pause is killed as soon as there is something to store, or while it delivers."""
    log, path = tmp_path / "log", tmp_path / "alerts.sqlite"
    log.write_text("", encoding="utf-8")
    command = [sys.executable, "-c", LIFE, str(path), server.url("/200"), str(log)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for round_ in range(KILLS + 1):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "tick\n"
            posts = len(server.posts)
            with log.open("a", encoding="utf-8") as file:
                file.write("".join(f"s{round_}{each} {state}\n" for state in ("bad", "good") for each in "abc"))
            if round_ == KILLS:  # the last one lives until all is told
                for _ in range(3):
                    assert process.stdout.readline() == "tick\n"
            elif round_ % 2:
                wait_until(lambda before=posts: len(server.posts) > before, "something is delivered")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)

    store = AlertStore(path)
    known = store.load_troubles()
    names = [f"sensor s{round_}{each}" for round_ in range(KILLS + 1) for each in "abc"]
    assert known.open == {} and known.last == len(names) and store.pending(NOW + 1e4) == []
    stored = Counter((each.body["text"].partition(" failed")[0], each.body["kind"]) for each in store.newest(1_000))
    expected = [(name, "sensor_failed") for name in names] + [(f"{name} works again", "sensor_ok") for name in names]
    assert stored == Counter(expected)
    posted = {alert["event_id"] for post in server.posts for alert in post.body.get("alerts", [post.body])}
    assert posted == {each.event_id for each in store.newest(1_000)}
