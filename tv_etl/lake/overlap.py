"""Work on many things at once whose waiting overlaps: for a disk to sync, for a bucket to answer.

Python computes in one thread at a time. What several threads gain is the time in which none of them computes, so only
that overlaps: one of them has the turn, and gives it away while it is `waiting`. If all computed at once they would
fight for the interpreter, which takes twice the CPU time on two cores.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

# So many answers, and what they are merged into, are in memory at most.
COMMITS_AT_ONCE = 8
# What is known of a series is small.
LOOKS_AT_ONCE = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


class read_once(Generic[Result]):
    """`functools.cached_property` for what is waited for; of an instance that one thread uses.

    That one has a lock which all instances share, up to Python 3.11: nothing read under it would overlap.
    """

    def __init__(self, read: Callable[[Any], Result]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Result:
        found = self._read(instance)
        instance.__dict__[self._name] = found  # from now on it hides this descriptor
        return found


class _Thread(threading.local):
    """What a thread knows: the turn that it has, if it is one of several that share one."""

    turn: "threading.Lock | None" = None


_this_thread = _Thread()


@contextmanager
def waiting() -> Iterator[None]:
    """Around what waits for something else than Python: meanwhile another of the overlapped items goes on.

    Also around every lock that is held across such a wait, or two threads would wait for each other.
    """
    turn = _this_thread.turn
    if turn is None:
        yield
        return
    _this_thread.turn = None
    turn.release()
    try:
        yield
    finally:
        turn.acquire()
        _this_thread.turn = turn


def overlapped(work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int) -> Generator[Result]:
    """The results of `work` on each item, in the order of the items; it overlaps where `work` is `waiting`.

    Items are taken and results are given in the caller's thread, the work is done in others: at most `at_once` items
    are taken whose results are not. What `work` raises is raised in its place, and ends it; work under way is finished
    in any case.
    """
    turn = threading.Lock()

    def in_turn(item: Item) -> Result:
        with turn:
            _this_thread.turn = turn
            try:
                return work(item)
            finally:
                _this_thread.turn = None

    def first() -> Result:
        with waiting():
            return under_way.popleft().result()

    under_way = deque[Future[Result]]()
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="overlapped")
    try:
        for item in items:
            under_way.append(threads.submit(in_turn, item))
            while under_way and (len(under_way) >= at_once or under_way[0].done()):
                yield first()
        while under_way:
            yield first()
    finally:
        with waiting():
            threads.shutdown()
