"""Open troubles in the store: written whole or not at all, together with what is told of them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.notices import Routing, notices
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.trouble_store import KnownTroubles
from tv_etl.alerts.troubles import Sighting, Subject, fold

A, B = Subject("runs", "bars", "1d|X:A"), Subject("sensors", "sensor s")


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def tick(store: AlertStore, sightings: list[Sighting], marks: dict[str, str]) -> KnownTroubles:
    known = store.load_troubles()
    folded = fold(known.open, known.last, sightings)
    store.commit_troubles(known, folded, marks, notices(folded.turns, Routing(), 1.0), ["slack here"])
    return store.load_troubles()


def test_what_is_open_and_how_far_was_read_is_found_again(store: AlertStore) -> None:
    assert store.load_troubles() == KnownTroubles()
    seen = [Sighting(A, True, 1.5, "x", page="runs/1", group="bars"), Sighting(B, True, 2.0, "y")]
    first = tick(store, seen, {"runs": "7", "lake": "1.0 losses"})
    assert first.open == fold({}, 0, seen).open and first.last == 2
    assert first.marks == {"runs": "7", "lake": "1.0 losses"}
    second = tick(store, [Sighting(A, False, 3.0), Sighting(B, True, 4.0, "other words")], {"runs": "8"})
    assert set(second.open) == {B}
    assert len(second.open[B].told) == 2
    assert second.marks == {"runs": "8", "lake": "1.0 losses"} and second.last == 2
    assert [each.target for each in store.pending(5.0)] == ["slack here"] * 4


def test_a_tick_of_the_rules_leaves_it_alone(store: AlertStore) -> None:
    before = tick(store, [Sighting(A, True, 1.0, "x")], {"runs": "7"})
    memory = store.load()
    store.commit(memory, [], memory.registry, memory.state, [], [], 2.0, {}, {})
    assert store.load_troubles() == before
    assert store.since_tick(0, 10) == [], "and it starts no run"


def test_a_store_of_an_earlier_version_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    AlertStore(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE trouble")
        db.execute("UPDATE meta SET value = '2' WHERE name = 'version'")
        db.commit()
    assert set(tick(AlertStore(path), [Sighting(A, True, 1.0, "x")], {}).open) == {A}


def test_what_cannot_be_written_whole_is_not_written(store: AlertStore, tmp_path: Path) -> None:
    before = tick(store, [], {"runs": "7"})
    with closing(sqlite3.connect(tmp_path / "alerts.sqlite")) as db:
        db.execute("CREATE TRIGGER no BEFORE INSERT ON delivery BEGIN SELECT RAISE(ABORT, 'full'); END")
        db.commit()
    with pytest.raises(StoreError, match="full"):
        tick(store, [Sighting(A, True, 1.0, "x")], {"runs": "8"})
    assert store.load_troubles() == before and store.newest(10) == []
