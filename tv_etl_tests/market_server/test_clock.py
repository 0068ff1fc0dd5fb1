import time

import pytest

from tv_etl.market_server.clock import MarketClock


def test_a_clock_starts_where_it_is_told_and_runs_as_fast() -> None:
    clock = MarketClock(1_000.0, speed=1e6)
    first = clock.now()
    assert first >= 1_000.0
    while clock.now() == first:
        pass
    assert clock.now() > first


def test_a_clock_of_speed_zero_stands_still() -> None:
    clock = MarketClock(1_000.0, speed=0)
    assert clock.now() == clock.now() == 1_000.0


def test_the_machines_clock_is_the_default() -> None:
    assert abs(MarketClock().now() - time.time()) < 5


@pytest.mark.parametrize("speed", [-1.0, float("nan")])
def test_a_clock_does_not_run_backwards(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        MarketClock(0, speed)


def test_a_clock_is_moved() -> None:
    clock = MarketClock(1_000.0, speed=0)
    clock.advance(60)
    assert clock.now() == 1_060.0
    clock.move_to(500.0)
    assert clock.now() == 500.0


def test_a_clock_changes_its_speed_where_it_is() -> None:
    clock = MarketClock(1_000.0, speed=1e6)
    clock.run(0)
    stopped = clock.now()
    assert clock.now() == stopped >= 1_000.0
    with pytest.raises(ValueError, match="speed -1: expected 0 or more"):
        clock.run(-1)
    assert clock.now() == stopped
