"""Open troubles in the store, a file or a PostgreSQL: written whole or not at all, with what is told of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.notices import Routing, notices
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.trouble_store import KnownTroubles
from tv_etl.alerts.troubles import Sighting, Subject, fold
from tv_etl_tests.postgres import postgres_server

A, B = Subject("runs", "bars", "1d|X:A"), Subject("sensors", "sensor s")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a store is, and nothing in it yet."""
    if request.param == "file":
        yield tmp_path / "alerts.sqlite"
        return
    url = str(request.getfixturevalue("postgres"))
    yield url
    execute(url, "DROP SCHEMA tv_etl_alerts CASCADE")


@pytest.fixture
def store(place: Path | str) -> AlertStore:
    return AlertStore(place)


def execute(place: Path | str, *statements: str) -> None:
    """On the tables of the store."""
    is_url = isinstance(place, str)
    engine = sa.create_engine(str(place) if is_url else f"sqlite:///{place}", poolclass=sa.NullPool)
    with engine.begin() as db:
        if is_url:
            db.exec_driver_sql("SET search_path TO tv_etl_alerts")
        for each in statements:
            db.exec_driver_sql(each)


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


def test_a_store_of_an_earlier_version_gets_the_table(place: Path | str) -> None:
    AlertStore(place)
    execute(place, "DROP TABLE trouble", "UPDATE meta SET value = '2' WHERE name = 'version'")
    assert set(tick(AlertStore(place), [Sighting(A, True, 1.0, "x")], {}).open) == {A}


def test_what_cannot_be_written_whole_is_not_written(store: AlertStore, place: Path | str) -> None:
    before = tick(store, [], {"runs": "7"})
    if isinstance(place, str):
        refuse = "CREATE FUNCTION no() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''full''; END' LANGUAGE plpgsql"
        execute(place, refuse, "CREATE TRIGGER no BEFORE INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION no()")
    else:
        execute(place, "CREATE TRIGGER no BEFORE INSERT ON delivery BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StoreError, match="full"):
        tick(store, [Sighting(A, True, 1.0, "x")], {"runs": "8"})
    assert store.load_troubles() == before and store.newest(10) == []
