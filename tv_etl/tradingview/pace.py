"""How fast one client opens sessions, and how many answers it waits for at a time: one pace for all of its calls.

To a server that has said nothing it is polite: FIRST_WINDOW answers in flight, FIRST_GAP_S between two sessions. What
is served quickly and without a complaint widens the window and shortens the gap. Answers that wait for each other, as
on a slow line, narrow the window to where it began; a complaint halves it, and makes the gap as wide as what the server
took in the second before. From then on the window recovers slowly, and the gap does near what was complained of.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tv_etl.tradingview.websocket import loop_time

FIRST_WINDOW = 8
# As many answers of 5,000 bars as fit into one message: a server may send all that is due in one.
WINDOW = 24

FIRST_GAP_S = 0.01
LAST_GAP_S = 2.0
_NO_GAP_S = 0.001  # below what a timer can keep

# An answer that takes longer than the one is no reason to ask for more at a time, longer than the other for less.
_QUICK_S = 1.0
_SLOW_S = 3.0


class Pace:
    """What one client has learned of its server."""

    def __init__(self) -> None:
        self.window = float(FIRST_WINDOW)
        self.gap_s = FIRST_GAP_S
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._line = asyncio.Lock()
        self._opened: deque[float] = deque()  # within the last second, the refused ones left out
        self._last_at = self._slowed_at = -math.inf
        self._refused_since: float | None = None
        self._too_short_s: float | None = None  # the gap that the server last complained of

    @asynccontextmanager
    async def place(self, deadline: float = math.inf) -> AsyncIterator[None]:
        """Be one of those in flight while the context lasts. Raises asyncio.TimeoutError if none is free in time."""
        ticket = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        self._admit()
        try:
            if not ticket.done():
                await asyncio.wait({ticket}, timeout=None if deadline == math.inf else deadline - loop_time())
            if not ticket.done():
                raise asyncio.TimeoutError
            yield
        finally:
            if ticket.done():
                self._taken -= 1
            else:
                self._waiting.remove(ticket)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken < int(self.window):
            self._waiting.popleft().set_result(None)
            self._taken += 1

    async def turn(self, deadline: float = math.inf) -> float:
        """Wait until one session may be opened, and return when that is. Raises asyncio.TimeoutError."""
        if not self._line.locked() and self._wait_s() <= 0:
            return self._open()
        # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the end.
        turn = asyncio.ensure_future(self._turn())
        try:
            await asyncio.wait({turn}, timeout=None if deadline == math.inf else deadline - loop_time())
        finally:
            turn.cancel()
        if not turn.done():
            raise asyncio.TimeoutError
        return turn.result()

    async def _turn(self) -> float:
        async with self._line:
            while (wait_s := self._wait_s()) > 0:
                await asyncio.sleep(wait_s)  # the gap may widen meanwhile
            return self._open()

    def _wait_s(self) -> float:
        return self._last_at + self.gap_s - loop_time() if self.gap_s >= _NO_GAP_S else 0.0

    def _open(self) -> float:
        self._last_at = loop_time()
        self._opened.append(self._last_at)
        while self._opened[0] < self._last_at - 1.0:
            self._opened.popleft()
        return self._last_at

    def accepted(self) -> None:
        """The server works on a session."""
        self._refused_since = None

    def served(self, longest_wait_s: float) -> None:
        """A session got what it asked for, and waited for none of it longer than that."""
        is_near = self._too_short_s is not None and self.gap_s < self._too_short_s * 1.26
        self.gap_s *= 0.99 if is_near else 0.8
        if longest_wait_s < _QUICK_S:
            self.window = min(self.window + (1 if self._too_short_s is None else 1 / self.window), WINDOW)
        elif longest_wait_s > _SLOW_S:
            # Not below: it may be the server that takes its time, whatever the line could carry.
            self.window = max(self.window - 1, min(self.window, FIRST_WINDOW))
        self._admit()

    def refused(self, opened_at: float, patience_s: float) -> bool:
        """The server wants the session that was opened then to be opened later; True if it is worth a try.

        It is not once the server has accepted none for `patience_s`.
        """
        now = loop_time()
        if opened_at in self._opened:
            self._opened.remove(opened_at)
        if opened_at > self._slowed_at:  # else it is refused together with others: that is one complaint
            self._slowed_at, self._too_short_s = now, self.gap_s
            self.window = max(self.window / 2, 1.0)
            self.gap_s = max(self.gap_s * 1.25, FIRST_GAP_S * 2)
        taken = sum(opened_at - 1.0 < each < opened_at for each in self._opened)
        self.gap_s = min(max(self.gap_s, 1 / taken if taken else 0.0), LAST_GAP_S)
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since < patience_s
