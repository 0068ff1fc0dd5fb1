"""Synchronous code drives the client's loop, also where another loop runs."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from tv_etl.tradingview.loop_thread import LoopThread


async def count(closed: list[bool]) -> AsyncGenerator[int, None]:
    try:
        for number in range(100):
            yield number
    finally:
        closed.append(True)


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


def test_an_interrupt_waits_for_what_the_iteration_has_open() -> None:
    closed: list[str] = []

    async def wait_for_ever() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.append("generator")

    # A test run in a shell's background is started with interrupts ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), LoopThread() as loop:
            for _ in loop.iterate(wait_for_ever()):
                threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert closed == ["generator"]
