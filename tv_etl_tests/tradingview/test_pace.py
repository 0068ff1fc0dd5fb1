"""One pace for a client: polite at first, as fast as the server likes, and slower where it complains."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tv_etl.tradingview.pace import FIRST_GAP_S, FIRST_WINDOW, LAST_GAP_S, WINDOW, Pace
from tv_etl_tests import own_clock

PATIENCE_S = 20.0


def run(main: Coroutine[Any, Any, None]) -> None:
    own_clock.run(main)


async def opened(pace: Pace, count: int) -> list[float]:
    return [await pace.turn() for _ in range(count)]


def test_sessions_of_a_server_that_has_said_nothing_are_a_gap_apart_and_the_first_waits_for_none() -> None:
    async def main() -> None:
        began = own_clock.now()
        times = [each - began for each in await opened(Pace(), 5)]
        assert times[0] == 0.0
        assert times == pytest.approx([place * FIRST_GAP_S for place in range(5)], abs=0.009)

    run(main())


def test_what_is_served_quickly_widens_the_window_up_to_its_limit_and_closes_the_gap() -> None:
    async def main() -> None:
        pace = Pace()
        assert (pace.window, pace.gap_s) == (FIRST_WINDOW, FIRST_GAP_S)
        pace.served(0.2)
        assert pace.window == FIRST_WINDOW + 1
        for _ in range(100):
            pace.served(0.2)
        assert pace.window == WINDOW
        began = own_clock.now()
        assert await opened(pace, 50) == [began] * 50

    run(main())


def test_answers_that_wait_for_each_other_narrow_the_window_to_where_it_began() -> None:
    async def main() -> None:
        pace = Pace()
        pace.served(0.2)
        pace.served(2.0)
        assert pace.window == FIRST_WINDOW + 1
        for _ in range(20):
            pace.served(9.0)
        assert pace.window == FIRST_WINDOW
        pace.refused(await pace.turn(), PATIENCE_S)
        pace.served(9.0)
        assert pace.window == FIRST_WINDOW / 2

    run(main())


def test_the_gap_becomes_what_the_server_took_in_the_second_before_its_complaint() -> None:
    async def main() -> None:
        pace = Pace()
        *_, sixth, seventh = await opened(pace, 7)
        assert pace.refused(sixth, PATIENCE_S) and pace.refused(seventh, PATIENCE_S)
        assert pace.gap_s == pytest.approx(1 / 5)
        assert pace.window == FIRST_WINDOW / 2, "those in flight are refused together: that is one complaint"
        eighth = await pace.turn()
        assert eighth - seventh == pytest.approx(1 / 5, abs=0.009)
        pace.accepted()
        pace.served(0.1)
        assert pace.gap_s == pytest.approx(0.8 / 5), "it is tried how much less will do"
        assert pace.refused(eighth, PATIENCE_S)
        assert pace.gap_s == pytest.approx(1 / 5)
        pace.served(0.1)
        assert pace.gap_s == pytest.approx(0.99 / 5), "and slowly near what was complained of"
        assert 2 < pace.window < 3

    run(main())


def test_a_server_that_takes_nothing_is_asked_at_the_widest_gap_until_patience_ends() -> None:
    async def main() -> None:
        pace = Pace()
        pace.accepted()
        began, tries = own_clock.now(), 1
        while pace.refused(await pace.turn(), PATIENCE_S):
            tries += 1
        assert PATIENCE_S <= own_clock.now() - began < PATIENCE_S + LAST_GAP_S
        assert tries < 60
        assert pace.gap_s == LAST_GAP_S
        assert not pace.refused(await pace.turn(), PATIENCE_S), "nor is the next one worth a try"
        pace.accepted()
        assert pace.refused(await pace.turn(), PATIENCE_S)

    run(main())


def test_places_are_given_in_the_order_of_asking_and_no_more_than_the_window() -> None:
    async def main() -> None:
        pace = Pace()
        entered: list[int] = []
        leave = asyncio.Event()

        async def hold(number: int) -> None:
            async with pace.place():
                entered.append(number)
                await leave.wait()

        tasks = [asyncio.create_task(hold(number)) for number in range(20)]
        await asyncio.sleep(0.1)
        assert entered == list(range(FIRST_WINDOW))
        tasks[FIRST_WINDOW].cancel()  # it waits
        tasks[0].cancel()  # it has a place
        await asyncio.sleep(0.1)
        assert entered == [*range(FIRST_WINDOW), FIRST_WINDOW + 1]
        pace.served(0.1)
        await asyncio.sleep(0.1)
        assert entered[-1] == FIRST_WINDOW + 2
        leave.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(entered) == 19

    run(main())


def test_no_wait_outlasts_its_deadline_and_none_costs_a_place() -> None:
    async def main() -> None:
        pace = Pace()
        async with AsyncExitStack() as held:
            for _ in range(FIRST_WINDOW):
                await held.enter_async_context(pace.place())
            began = own_clock.now()
            with pytest.raises(asyncio.TimeoutError):
                async with pace.place(began + 3.0):
                    pass
            assert own_clock.now() - began == pytest.approx(3.0, abs=0.1)
        async with AsyncExitStack() as held:
            for _ in range(FIRST_WINDOW):
                await held.enter_async_context(pace.place(own_clock.now()))
        pace.gap_s = 2.0
        await pace.turn()
        with pytest.raises(asyncio.TimeoutError):
            await pace.turn(own_clock.now() + 1.0)
        last = own_clock.now()
        assert await pace.turn() - last == pytest.approx(1.0, abs=0.1)

    run(main())
