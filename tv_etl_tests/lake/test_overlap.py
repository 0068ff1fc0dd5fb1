"""Work overlaps, and its results come as if it did not."""

import threading
from collections.abc import Iterator

import pytest

from tv_etl.lake.overlap import overlapped, read_once
from tv_etl_tests.patience import HANG_S


def test_work_on_several_items_is_under_way_at_once() -> None:
    meeting = threading.Barrier(4, timeout=HANG_S)
    assert list(overlapped(lambda item: (meeting.wait(), item)[1], range(4), at_once=4)) == [0, 1, 2, 3]


def test_results_come_in_the_order_of_the_items_however_they_finish() -> None:
    last_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 2:
            last_is_done.set()
        else:
            assert last_is_done.wait(HANG_S)
        return item

    assert list(overlapped(work, range(3), at_once=3)) == [0, 1, 2]


def test_no_more_items_are_taken_than_may_be_under_way() -> None:
    taken, given = [0], 0

    def items() -> Iterator[int]:
        for item in range(50):
            taken[0] += 1
            yield item

    for item in overlapped(lambda item: item, items(), at_once=5):
        assert item == given
        assert taken[0] - given <= 5
        given += 1
    assert given == 50


def test_items_and_results_stay_in_the_callers_thread() -> None:
    caller = threading.current_thread()

    def items() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    [(taken_in, worked_in)] = overlapped(lambda item: (item, threading.current_thread()), items(), at_once=2)
    assert taken_in is caller and worked_in is not caller


def test_what_work_raises_comes_in_its_place_and_what_is_under_way_is_finished() -> None:
    finished = list[int]()
    meeting = threading.Barrier(4, timeout=HANG_S)

    def work(item: int) -> int:
        meeting.wait()
        if item == 1:
            raise ValueError("the second")
        finished.append(item)
        return item

    results = overlapped(work, range(4), at_once=4)
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second"):
        next(results)
    assert sorted(finished) == [0, 2, 3]


def test_two_instances_read_at_the_same_time_and_each_once() -> None:
    gate, reads = threading.Barrier(2), list[int]()

    class Reader:
        @read_once
        def content(self) -> int:
            """What is read."""
            gate.wait(HANG_S)
            reads.append(1)
            return len(reads)

    readers = [Reader(), Reader()]
    assert sorted(overlapped(lambda reader: reader.content, readers, at_once=2)) == [1, 2]
    assert sorted(reader.content for reader in readers) == [1, 2]
    assert Reader.__dict__["content"].__doc__ == "What is read."
