import numpy as np
import pytest

from tv_etl.market_server.market.listings import find_listing, listings
from tv_etl.market_server.market.prices import LEVELS, PricePaths, Ticks
from tv_etl.market_server.market.sessions import calendar_of

NAMES = ["NASDAQ:AAPL", "NASDAQ:QAAA", "NYSE:JAAA"]
GROUP = [each for name in NAMES if (each := find_listing(name)) is not None]
CALENDAR = calendar_of(GROUP[0].schedule, GROUP[0].first_day_number)
PATHS = PricePaths(GROUP, 7, CALENDAR)
DAYS = np.array([6_500, 6_501, 6_502])
SIZE = 390 * 60


def widened(ticks: Ticks) -> Ticks:
    """The one bar of each row."""
    return Ticks(
        ticks.open[:, 0], ticks.high.max(axis=1), ticks.low.min(axis=1), ticks.close[:, -1], ticks.volume.sum(axis=1)
    )


def same(left: Ticks, right: Ticks) -> bool:
    return all((mine.ravel() == theirs.ravel()).all() for mine, theirs in zip(left, right, strict=True))


def test_parts_of_every_width_together_are_the_day() -> None:
    parts, days = PATHS.as_one_part(DAYS, size=SIZE), PATHS.days(DAYS)
    segments = [SIZE]
    for width in LEVELS:
        parts, segments = PATHS.cut(parts, width, segments), []
        assert parts.bars.open.shape == (9, -(-SIZE // width)) and parts.sizes.sum() == SIZE
        assert (parts.bars.high >= np.maximum(parts.bars.open, parts.bars.close)).all()
        assert (parts.bars.low <= np.minimum(parts.bars.open, parts.bars.close)).all()
        assert (parts.bars.open[:, 1:] == parts.bars.close[:, :-1]).all()
        assert same(widened(parts.bars), days)


def test_a_listing_is_drawn_the_same_alone_and_among_others() -> None:
    alone = PricePaths([GROUP[1]], 7, CALENDAR)
    assert same(alone.days(DAYS), PATHS.days(DAYS).take(slice(1, 2)))


def test_a_window_holds_what_the_whole_has_there() -> None:
    hours = PATHS.cut(PATHS.as_one_part(DAYS, size=SIZE), 3_600, [SIZE])
    quarters = PATHS.cut(hours, 900)
    window = PATHS.cut(hours.window(4_000, 7_000), 900)
    assert window.positions.tolist() == [3_600, 4_500, 5_400, 6_300]
    assert same(window.bars, quarters.bars.take((slice(None), slice(4, 8))))


@pytest.mark.parametrize("elapsed", [1, 59, 60, 3_599, 3_600, 5_555, SIZE - 1, SIZE])
def test_what_has_begun_is_what_its_seconds_amount_to(elapsed: int) -> None:
    parts, segments = PATHS.as_one_part(DAYS, size=SIZE), [SIZE]
    begun = PATHS.bar_so_far(parts, segments, elapsed)
    for width in LEVELS:
        parts, segments = PATHS.cut(parts, width, segments), []
    assert same(begun, widened(parts.bars.take((slice(None), slice(0, elapsed)))))


def test_segments_of_a_day_are_cut_apart() -> None:
    tokyo = listings()["TSE:7203"]
    calendar = calendar_of(tokyo.schedule, tokyo.first_day_number)
    paths = PricePaths([tokyo], 7, calendar)
    parts = paths.cut(paths.as_one_part(np.array([6_000]), size=330 * 60), 3_600, [150 * 60, 180 * 60])
    assert parts.sizes.tolist() == [3_600, 3_600, 1_800, 3_600, 3_600, 3_600]


def test_parts_without_a_trade_have_no_part_in_the_price() -> None:
    thin = listings()["AMEX:THIN"]
    paths = PricePaths([thin], 7, CALENDAR)
    parts, segments = paths.as_one_part(DAYS, size=SIZE), [SIZE]
    for width in LEVELS[:4]:
        parts, segments = paths.cut(parts, width, segments), []
        for row in range(len(DAYS)):
            traded = parts.bars.take((row, parts.bars.volume[row] > 0)).reshape(1, -1)
            assert same(widened(traded), paths.days(DAYS).take((slice(None), slice(row, row + 1))))
    assert (parts.bars.volume == 0).mean() > 0.5


def test_another_seed_draws_other_days() -> None:
    assert not same(PricePaths(GROUP, 8, CALENDAR).days(DAYS), PATHS.days(DAYS))
