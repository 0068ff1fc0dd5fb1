"""Work on many things at once whose waiting overlaps: for a disk to sync, for a bucket to answer.

Python computes in one thread at a time. What several threads gain is the time in which none of them computes.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
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


def overlapped(work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int) -> Generator[Result]:
    """The results of `work` on each item, in the order of the items.

    Items are taken and results are given in the caller's thread, the work is done in others: at most `at_once` items
    are taken whose results are not. What `work` raises is raised in its place, and ends it; work under way is finished
    in any case.
    """
    under_way = deque[Future[Result]]()
    with ThreadPoolExecutor(at_once, thread_name_prefix="overlapped") as threads:
        for item in items:
            under_way.append(threads.submit(work, item))
            while under_way and (len(under_way) >= at_once or under_way[0].done()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
