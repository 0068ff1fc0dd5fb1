"""What a client streams: an async iterator whose `anext` may be cancelled.

Python ends an async generator for good when its `anext` is cancelled, and `asyncio.wait_for(anext(stream), 5)` cancels
it after every quiet spell. Here a step of the generator runs in a task of its own, which the next `anext` waits for.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class SlowConsumerWarning(UserWarning):
    """The consumer of a stream takes its events more slowly than they come.

    Given once, until it has caught up and falls behind again. `events` wait for it, and the oldest is `seconds` old.
    """

    def __init__(self, name: str, events: int, seconds: float) -> None:
        super().__init__(f"{name}: the consumer is {events} events and {seconds:.0f} s behind")
        self.events = events
        self.seconds = seconds


class Stream(AsyncGenerator[T, None]):
    """An async iterator over items that come in batches, with one consumer: for `async for`, `anext` and `aclosing`.

    A cancelled `anext`, as in `asyncio.wait_for(anext(stream), 5)`, loses nothing: the next one goes on where it
    waited. Two at a time are a RuntimeError. An error is raised once and ends the stream. `aclose` closes what the
    stream has opened; an `anext` that waits in another task meanwhile raises StopAsyncIteration.
    """

    _step: "asyncio.Task[Sequence[T] | Exception] | None" = None

    def __init__(self, batches: AsyncGenerator[Sequence[T], None]) -> None:
        self._batches = batches
        self._ready: deque[T] = deque()
        self._is_awaited = self._is_closed = False
        self._last_word: Exception | None = None

    async def __anext__(self) -> T:
        if self._is_awaited:
            raise RuntimeError("another task waits for this stream already: a stream has one consumer")
        self._is_awaited = True
        try:
            while not self._ready:
                await self._advance()
        finally:
            self._is_awaited = False
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the stream, wherever it is; not the client."""
        await self.end()

    async def end(self, error: Exception | None = None) -> None:
        """`aclose` for whom the stream depends on: the consumer gets the error."""
        if self._is_closed:
            return
        self._is_closed, self._last_word = True, error
        self._ready.clear()
        interrupted: asyncio.CancelledError | None = None
        while self._step is not None and not self._step.done():
            self._step.cancel()
            try:
                await asyncio.wait({self._step})
            except asyncio.CancelledError as cancelled:  # of who closes: the generator is not left half closed for it
                interrupted = cancelled
        await self._batches.aclose()
        if interrupted is not None:
            raise interrupted

    async def asend(self, value: None) -> T:
        """`anext`: a stream takes nothing."""
        return await self.__anext__()

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> T:
        """Close the stream and raise the error."""
        await self.aclose()
        raise typ if val is None else val

    async def _advance(self) -> None:
        """Wait for the next batch; raise what ends the stream."""
        if not self._is_closed:
            if self._step is None:
                self._step = asyncio.ensure_future(_next_batch(self._batches))
            await asyncio.wait({self._step})
        if self._is_closed or self._step is None or self._step.cancelled():
            self._is_closed = True
            error, self._last_word = self._last_word, None
            raise error or StopAsyncIteration
        outcome, self._step = self._step.result(), None
        if isinstance(outcome, Exception):
            self._is_closed = True
            raise outcome
        self._ready.extend(outcome)

    def __del__(self) -> None:
        # Whoever lets go of a stream after a cancelled `anext` has left a step waiting; the generator ends with it.
        if self._step is not None and not self._step.done():
            with suppress(RuntimeError):  # the loop is closed
                self._step.get_loop().call_soon_threadsafe(self._step.cancel)


async def _next_batch(batches: AsyncGenerator[Sequence[T], None]) -> Sequence[T] | Exception:
    try:
        return await anext(batches)
    except Exception as error:  # kept for the next `anext`: nobody may be waiting now
        return error
