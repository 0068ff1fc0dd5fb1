"""An event loop whose clock stands still while this process does: no deadline fires because a machine is slow.

Where client and server share a loop, both go by its clock. It runs while the loop waits for one of them, and a timer
goes off only once nothing came in for the whole wait. Work counts too, so that a flood of messages cannot hold off a
deadline, but a turn of the loop never for more than MAX_TURN_S, however long the machine took over it.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

MAX_TURN_S = 0.002

T = TypeVar("T")


class _ClockedSelector(selectors.DefaultSelector):
    """Waits for sockets, and counts what its loop has waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turn_began = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        self.now += min(began - self._turn_began, MAX_TURN_S)
        ready = super().select(timeout)
        self._turn_began = time.monotonic()
        waited = self._turn_began - began
        if timeout is None or timeout <= 0:
            self.now += waited if timeout is None else 0.0
        elif ready:
            self.now += min(waited, timeout / 2)  # whatever came in is read before the timer that was waited for
        else:
            self.now += timeout
        return ready


class OwnClockLoop(asyncio.SelectorEventLoop):
    """A loop on such a selector."""

    def __init__(self) -> None:
        self._clocked = _ClockedSelector()
        super().__init__(self._clocked)

    def time(self) -> float:
        return self._clocked.now


def now() -> float:
    """Seconds by the clock of the running loop."""
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on such a loop."""
    loop = OwnClockLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks: Sequence[asyncio.Task[Any]] = list(asyncio.all_tasks(loop))
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
