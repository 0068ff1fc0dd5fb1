"""What is done with each event beside delivering it."""

from pathlib import Path

import pytest

from tv_etl.alerts.state import AlertState
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.stored_events import KEPT, REPORTED, REPORTING, ids_of
from tv_etl_tests.alerts.test_deliveries import HERE, THERE, make_alerts

DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def commit(store: AlertStore, first: int, count: int, targets: list[str], now: float = 1.0) -> int:
    """A tick that finds alerts."""
    memory = store.load()
    alerts = make_alerts(count, first)
    return store.commit(memory, [], memory.registry, AlertState(), alerts, targets, now, {}, {}).tick


def test_an_event_is_to_keep_until_it_is_kept_and_again_when_a_delivery_ended(store: AlertStore) -> None:
    commit(store, 0, 3, [HERE, THERE])
    events = store.to_keep(10)
    assert [each.event_id for each in events] == [f"{n:032x}" for n in range(3)]
    assert [(each.target, each.state, each.at) for each in events[0].deliveries] == [
        (HERE, "pending", None),
        (THERE, "pending", None),
    ]
    assert store.to_keep(2) == events[:2]
    store.mark(KEPT, ids_of(events), 5.0)
    assert store.to_keep(10) == []
    store.mark_sent(store.take_group(6.0, HERE, group_above=5)[:1], 6.0)
    [again] = store.to_keep(10)
    assert (again.event_id, again.delivered_at) == (events[0].event_id, 6.0)
    store.mark(KEPT, [again.event_id], 7.0)
    store.mark_dead([each for each in store.pending(8.0) if each.event_id == again.event_id], 8.0, "HTTP 410")
    [given_up] = store.to_keep(10)
    assert [(each.state, each.error) for each in given_up.deliveries] == [("delivered", None), ("dead", "HTTP 410")]
    assert given_up.delivered_at == 6.0


def test_what_was_kept_of_one_event_says_nothing_of_another(store: AlertStore) -> None:
    """The mark of whichever event came first was compared with all deliveries: they were written again for ever."""
    commit(store, 0, 3, [HERE])
    ids = ids_of(store.to_keep(10))
    store.mark(KEPT, ids, 5.0)
    store.mark_sent(store.pending(6.0), 6.0)
    assert ids_of(store.to_keep(10)) == ids
    store.mark(KEPT, ids[1:], 7.0)
    assert ids_of(store.to_keep(10)) == ids[:1]
    store.mark(KEPT, ids[:1], 7.0)
    assert store.to_keep(10) == []


def test_an_event_is_to_report_until_it_is_reported(store: AlertStore) -> None:
    commit(store, 0, 3, [])
    ids = ids_of(store.to_report(10))
    store.mark(REPORTING, ids[:2], 5.0)
    store.mark(REPORTED, ids[:1], 6.0)
    assert ids_of(store.to_report(10)) == ids[1:]
    assert store.begun(REPORTING, ids) == {ids[0]: 5.0, ids[1]: 5.0}
    store.mark(REPORTED, ids, 7.0)
    assert store.to_report(10) == [] and store.begun(REPORTED, ids) == dict.fromkeys(ids, 7.0)


def test_events_follow_their_ticks(store: AlertStore) -> None:
    first, second = commit(store, 0, 3, []), commit(store, 3, 1, [])
    assert [each.tick for each in store.since_tick(0, 100)] == [first] * 3 + [second]
    # A limit never cuts a tick in two: what is left of it would never be seen.
    assert [each.tick for each in store.since_tick(0, 1)] == [first] * 3
    assert ids_of(store.since_tick(first, 100)) == [f"{3:032x}"]
    assert store.since_tick(second, 100) == []


def test_nothing_is_forgotten_that_the_dataset_does_not_have(store: AlertStore) -> None:
    commit(store, 0, 2, [HERE])
    store.mark_sent(store.take_group(2.0, HERE, group_above=1), 2.0)
    kept, other = ids_of(store.to_keep(10))
    store.mark(KEPT, [kept], 3.0)
    store.mark(REPORTED, [kept, other], 3.0)
    assert store.prune(40 * DAY_S, is_kept=True) == 1
    assert ids_of(store.to_keep(10)) == [other]
    assert store.begun(KEPT, [kept]) == store.begun(REPORTED, [kept]) == {}
    assert store.prune(40 * DAY_S) == 1


def test_an_event_that_cannot_be_read_is_kept_as_what_it_is(store: AlertStore) -> None:
    commit(store, 0, 1, [])
    with store._transaction() as db:
        db.exec_driver_sql("UPDATE event SET body = 'no JSON'")
    [event] = store.to_keep(10)
    assert event.body == {"event_id": event.event_id, "rule": "unknown", "text": "cannot be read"}
