"""Bars as they close: each once, with its final values, by its successor or by the server's clock."""

import random

import pytest

from tv_etl.tradingview.closed_bars import LATE_S, SETTLE_S, ClosedBars

pytestmark = pytest.mark.pure

T0 = 1_787_292_480.0


def row(minute: int, close: float = 1.0) -> list[float]:
    return [T0 + 60 * minute, 1.0, 2.0, 0.5, close]


def begun() -> ClosedBars:
    """Minute 0 forms."""
    closed = ClosedBars()
    closed.add([row(-1), row(0)], T0 + 60, T0 + 10)
    return closed


def test_a_bar_has_closed_once_a_newer_one_comes_and_late_values_count() -> None:
    closed = begun()
    assert closed.take(T0 + 30) == []
    closed.add([row(0, 2.0)], T0 + 60, T0 + 50)
    closed.add([row(1)], T0 + 120, T0 + 60)
    assert closed.take(T0 + 61) == []
    closed.add([row(0, 3.0)], None, T0 + 61)
    assert closed.take(T0 + 60 + SETTLE_S) == [row(0, 3.0)]
    assert closed.take(T0 + 60 + SETTLE_S) == []


def test_a_bar_without_a_successor_closes_by_the_servers_clock() -> None:
    closed = begun()
    assert closed.take(T0 + 60 + LATE_S - 0.1) == []
    assert closed.take(T0 + 60 + LATE_S) == [row(0)]
    closed.add([row(0, 9.0)], T0 + 60, T0 + 70)
    assert closed.take(T0 + 1_000) == [], "each once"


def test_values_that_a_lost_connection_held_back_are_waited_for() -> None:
    closed = begun()
    closed.add([], T0 + 60, T0 + 300)
    assert closed.take(-float("inf")) == [], "the new session is not complete"
    closed.add([row(0, 5.0), row(1, 4.0), row(5)], T0 + 360, T0 + 300)
    assert closed.take(T0 + 310) == [row(0, 5.0), row(1, 4.0)]


def test_where_nobody_knows_the_end_only_a_successor_closes() -> None:
    closed = ClosedBars()
    closed.add([row(0)], None, T0 + 10)
    assert closed.take(T0 + 10_000) == []
    closed.add([row(1)], None, T0 + 10_000)
    assert closed.take(T0 + 10_000 + SETTLE_S) == [row(0)]


def test_what_has_closed_before_it_began_is_not_told() -> None:
    closed = ClosedBars()
    closed.add([row(-2), row(-1)], T0, T0 + 3_600)
    assert closed.take(T0 + 7_200) == []
    closed.add([row(200)], T0 + 201 * 60, T0 + 200 * 60)
    assert closed.take(T0 + 202 * 60) == [row(200)]


def test_what_was_missed_is_told_in_order() -> None:
    closed = begun()
    closed.add([row(minute, 2.0) for minute in range(5)], T0 + 300, T0 + 250)
    assert closed.take(T0 + 250 + SETTLE_S) == [row(minute, 2.0) for minute in range(4)]


def test_a_bar_of_the_future_closes_nothing() -> None:
    closed = begun()
    closed.add([row(60 * 24 * 400)], None, T0 + 20)
    assert closed.take(T0 + 30) == []


@pytest.mark.parametrize("seed", range(20))
def test_every_bar_is_told_once_and_in_order_however_it_comes(seed: int) -> None:
    dice = random.Random(seed)
    closed, told, now = begun(), [], T0 + 10
    for minute in range(1, 200):
        now = T0 + 60 * minute + dice.random()
        rows = [row(minute - 1, float(minute))] * dice.randint(0, 2) + [row(minute, dice.random())]
        for each in rows:
            closed.add([each], dice.choice([None, T0 + 60 * (minute + 1)]), now)
            told += closed.take(now)
        told += closed.take(now + dice.choice([0, 5, 70]))
    opens = [each[0] for each in told]
    assert opens == [T0 + 60 * minute for minute in range(len(opens))]
    assert len(opens) >= 190
