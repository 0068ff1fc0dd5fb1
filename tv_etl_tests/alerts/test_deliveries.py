"""Which alerts wait for whom; what becomes of them is in test_courier."""

import threading
from pathlib import Path

import pytest

from tv_etl.alerts.deliveries import Deliveries, DeliveryStats
from tv_etl.alerts.fold import Alert

HERE, THERE = "here", "there"


def make_alerts(count: int, start: int = 0) -> list[Alert]:
    return [Alert(f"{n:032x}", "r", "X:Y", "above", 1.0, 1.0, None, 1.0) for n in range(start, start + count)]


@pytest.fixture
def deliveries(tmp_path: Path) -> Deliveries:
    return Deliveries(tmp_path / "alerts.sqlite")


def test_an_alert_is_new_once_per_target(deliveries: Deliveries) -> None:
    alerts = make_alerts(3)
    assert deliveries.add(alerts, [HERE]) == 3
    assert deliveries.add(alerts, [HERE, THERE]) == 3
    assert deliveries.add(alerts, [HERE, THERE]) == 0
    assert deliveries.add(alerts, []) == deliveries.add([], [HERE]) == 0
    assert deliveries.stats == DeliveryStats(pending=6, delivered=0, dead=0)


def test_a_delivered_alert_is_not_new_again(deliveries: Deliveries) -> None:
    deliveries.add(make_alerts(1), [HERE])
    deliveries.mark_sent(deliveries.pending(0.0), 0.0)
    assert deliveries.add(make_alerts(1), [HERE]) == 0
    assert deliveries.pending(0.0) == []


def test_alerts_are_added_all_together_or_not_at_all(deliveries: Deliveries) -> None:
    def broken() -> list[Alert]:
        return [*make_alerts(3), None]  # type: ignore[list-item]

    with pytest.raises(AttributeError):
        deliveries.add(broken(), [HERE])
    assert deliveries.stats.pending == 0


def test_dead_letters_are_listed_newest_first(deliveries: Deliveries) -> None:
    deliveries.add(make_alerts(4), [HERE])
    for number, delivery in enumerate(deliveries.pending(0.0)[::-1]):
        deliveries.mark_dead([delivery], float(number), f"error {number}")
    assert [(each.error, each.target) for each in deliveries.dead_letters(3)] == [
        ("error 3", HERE),
        ("error 2", HERE),
        ("error 1", HERE),
    ]
    assert len(deliveries.dead_letters(10)) == 4


def test_threads_do_not_lose_each_others_alerts(deliveries: Deliveries) -> None:
    def add(start: int) -> None:
        for number in range(10):
            deliveries.add(make_alerts(3, start + 3 * number), [HERE])

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert deliveries.stats.pending == 120


def test_a_group_survives_a_crash_between_taking_and_sending(deliveries: Deliveries) -> None:
    deliveries.add(make_alerts(8), [HERE])
    first = deliveries.take_group(0.0, "here", group_above=5)
    deliveries.add(make_alerts(2, start=8), [HERE])
    assert deliveries.take_group(0.0, "here", group_above=5) == first
    assert len(first) == 8
    deliveries.mark_sent(first, 0.0)
    assert [len(deliveries.take_group(0.0, "here", group_above=5)) for _ in range(2)] == [1, 1]
