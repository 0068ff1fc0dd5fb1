"""Synchronous code drives the client's loop, also where another loop runs."""

import asyncio
import gc
import itertools
import resource
import signal
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from tv_etl.tradingview import loop_thread
from tv_etl.tradingview.loop_thread import LoopThread


async def count(closed: list[bool]) -> AsyncGenerator[int, None]:
    try:
        for number in range(100):
            yield number
    finally:
        closed.append(True)


async def count_slowly(closed: list[bool]) -> AsyncGenerator[int, None]:
    closed.append(False)
    try:
        for number in range(2):
            await asyncio.sleep(0.001)
            yield number
    finally:
        closed.append(True)
        await asyncio.sleep(0.001)  # may be cancelled: nothing protects what a generator does at its own end


def test_an_async_generator_is_iterated_and_closed() -> None:
    closed: list[bool] = []
    with LoopThread() as loop:
        assert list(loop.iterate(count(closed))) == list(range(100))
    assert closed == [True]


def test_leaving_early_closes_the_generator() -> None:
    closed: list[bool] = []
    with LoopThread() as loop:
        for number in (numbers := loop.iterate(count(closed))):
            if number == 3:
                break
        numbers.close()
        assert closed == [True]


def test_it_works_inside_a_running_loop() -> None:
    async def inner() -> int:
        return 7

    async def outer() -> int:
        with LoopThread() as loop:
            return loop.run(inner())

    assert asyncio.run(outer()) == 7


def test_an_exception_reaches_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    with LoopThread() as loop, pytest.raises(KeyError, match="lost"):
        loop.run(fail())


@pytest.fixture
def interrupt() -> Iterator[threading.Timer]:
    """Interrupts the main thread soon once it is started."""
    # A test run in a shell's background is started with interrupts ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    yield timer
    if timer.ident is not None:
        timer.join()
    signal.signal(signal.SIGINT, inherited)


# asyncio itself complains of its half-made loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_cannot_be_made_is_an_error() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            LoopThread().__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    gc.collect()


def test_an_interrupt_waits_for_what_the_iteration_has_open(interrupt: threading.Timer) -> None:
    closed: list[str] = []

    async def wait_for_ever() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.append("generator")

    with pytest.raises(KeyboardInterrupt), LoopThread() as loop:
        for _ in loop.iterate(wait_for_ever()):
            interrupt.start()
    assert closed == ["generator"]


def test_an_interrupt_does_not_cut_closing_short(interrupt: threading.Timer) -> None:
    closed: list[str] = []

    async def close_slowly() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            interrupt.start()
            await asyncio.to_thread(interrupt.join)
            await asyncio.sleep(0.1)
            closed.append("generator")

    with pytest.raises(KeyboardInterrupt), LoopThread() as loop:
        numbers = loop.iterate(close_slowly())
        next(numbers)
    assert closed == ["generator"]


def test_an_interrupt_at_any_line_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    # One that comes before the work is handed over drops it, and Python says so.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    for line in itertools.count():
        closed: list[bool] = []
        countdown = itertools.count(line, -1)

        def interrupt(frame: FrameType, event: str, arg: object, countdown: Iterator[int] = countdown) -> Any:
            is_ours = frame.f_code.co_filename == loop_thread.__file__ and frame.f_code.co_name != "__exit__"
            if is_ours and event == "line" and next(countdown) == 0:
                raise KeyboardInterrupt
            return interrupt if is_ours else None

        was_interrupted = True
        with suppress(KeyboardInterrupt), LoopThread() as loop:
            sys.settrace(interrupt)
            try:
                was_interrupted = list(loop.iterate(count_slowly(closed))) != [0, 1]
            finally:
                sys.settrace(None)
        assert closed in ([], [False, True]), "what was begun is closed"
        assert caplog.records == []
        if not was_interrupted:
            break
    assert line > 20
