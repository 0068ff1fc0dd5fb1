"""An event loop in a thread of its own, so that synchronous code can use the client.

Works in scripts, in Dagster assets and sensors, and in notebooks whose own loop is already running.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A running event loop while the context lasts."""

    def __enter__(self) -> "LoopThread":
        self._iterated: list[AsyncGenerator[Any, None]] = []
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run_loop, args=[started], name="tv_etl client", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close_iterations()
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run_loop(self, started: Future[None]) -> None:
        try:
            # It ends what an interrupt left over as well, out of reach of the next interrupt.
            asyncio.run(self._live(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # such as no descriptors left for a loop

    async def _live(self, started: Future[None]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        started.set_result(None)
        await self._end.wait()

    def run(self, coroutine: Coroutine[Any, Any, T], *, is_closing: bool = False) -> T:
        """Run the coroutine in the loop and wait for its result; an interrupt cancels it unless `is_closing`."""
        result: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(coroutine))
            tasks[0].add_done_callback(settle)

        def settle(task: asyncio.Task[T]) -> None:
            error = CancelledError() if task.cancelled() else task.exception()
            if error is None:
                result.set_result(task.result())
            else:
                result.set_exception(error)

        def stop() -> None:
            if not tasks:
                coroutine.close()
                result.set_exception(CancelledError())
            elif not is_closing:
                tasks[0].cancel()

        try:
            self._loop.call_soon_threadsafe(begin)
            return result.result()
        except BaseException:
            if not result.done():
                # The waiting thread was interrupted: the work must not go on, and what comes next find it ended.
                self._loop.call_soon_threadsafe(stop)
                wait([result])
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Iterate over an async generator; it is closed when the iteration ends, early or not, or the loop does."""
        self._iterated.append(items)
        try:
            with suppress(StopAsyncIteration):
                while True:
                    yield self.run(_next(items))
        finally:
            if items in self._iterated:
                self._iterated.remove(items)
                self.run(items.aclose(), is_closing=True)

    def close_iterations(self) -> None:
        """Close the generators still being iterated over, the newest first: what each uses is still open then."""
        while self._iterated:
            self.run(self._iterated.pop().aclose(), is_closing=True)


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await items.__anext__()
