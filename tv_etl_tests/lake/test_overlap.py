"""Work that waits side by side, and what comes of it in order."""

import threading
from collections.abc import Iterator

import pytest

from tv_etl.lake.overlap import overlapped, read_once, waiting
from tv_etl_tests.patience import HANG_S


def test_so_many_wait_side_by_side_and_the_results_are_in_order() -> None:
    # Nobody passes before four have come.
    gate = threading.Barrier(4)

    def work(number: int) -> int:
        with waiting():
            gate.wait(HANG_S)
        return 10 * number

    assert list(overlapped(work, range(12), at_once=4)) == [10 * number for number in range(12)]


def test_one_computes_at_a_time() -> None:
    computing = threading.Lock()

    def work(number: int) -> int:
        for _ in range(50):
            assert computing.acquire(blocking=False)
            sum(range(100))
            computing.release()
            with waiting():
                threading.Event().wait(1e-4)
        return number

    assert list(overlapped(work, range(16), at_once=8)) == list(range(16))


def test_work_may_overlap_work_of_its_own() -> None:
    def work(number: int) -> int:
        return sum(overlapped(lambda each: each * number, range(5), at_once=2))

    assert list(overlapped(work, range(8), at_once=4)) == [10 * number for number in range(8)]


def test_a_lock_held_across_a_wait_holds_nobody_up_for_ever() -> None:
    shared = threading.Lock()

    def work(number: int) -> int:
        with waiting(), shared, waiting():
            threading.Event().wait(1e-4)
        return number

    assert list(overlapped(work, range(8), at_once=4)) == list(range(8))


def test_no_more_items_are_taken_than_results_may_wait() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            assert threading.current_thread() is threading.main_thread()
            yield number

    results = overlapped(lambda number: number, items(), at_once=3)
    for given in range(10):
        assert next(results) == given
        assert len(taken) - given <= 3
    assert list(results) == []


def test_what_an_item_fails_of_is_raised_in_its_turn_and_the_others_are_finished() -> None:
    finished: list[int] = []
    gate = threading.Barrier(4)

    def work(number: int) -> int:
        with waiting():
            gate.wait(HANG_S)
        if number == 2:
            raise ZeroDivisionError
        finished.append(number)
        return number

    results = overlapped(work, range(4), at_once=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert sorted(finished) == [0, 1, 3]


def test_whoever_stops_early_leaves_nothing_half_done() -> None:
    gate, is_closed, finished = threading.Barrier(2), threading.Event(), list[int]()

    def work(number: int) -> int:
        with waiting():
            gate.wait(HANG_S)
        if number:
            is_closed.wait(0.05)  # it is on its way when the caller stops
            finished.append(number)
        return number

    results = overlapped(work, range(2), at_once=2)
    assert next(results) == 0
    results.close()
    assert finished == [1]


def test_two_instances_read_at_the_same_time_and_each_once() -> None:
    gate, reads = threading.Barrier(2), list[int]()

    class Reader:
        @read_once
        def content(self) -> int:
            """What is read."""
            with waiting():
                gate.wait(HANG_S)
            reads.append(1)
            return len(reads)

    readers = [Reader(), Reader()]
    assert sorted(overlapped(lambda reader: reader.content, readers, at_once=2)) == [1, 2]
    assert sorted(reader.content for reader in readers) == [1, 2]
    assert Reader.__dict__["content"].__doc__ == "What is read."
