"""Marks stand where something happened, and the picture keeps its width."""

import struct
import zlib

import pytest

from tv_etl.lake.chart import MAX_CANDLES, Mark, chart
from tv_etl.lake.picture import Candle
from tv_etl_tests.lake.test_picture import chunks

pytestmark = pytest.mark.pure

NOTHING, UP, DOWN, MARK, LEVEL = range(5)


def candles(count: int) -> list[Candle]:
    return [Candle(60 * number, 100.0, 110.0, 90.0, 105.0 if number % 2 else 95.0, None) for number in range(count)]


def pixels(image: bytes) -> list[bytes]:
    """The colour of each pixel, row by row."""
    parts = chunks(image)
    width, height, depth, kind = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, kind) == (8, 3)
    data = zlib.decompress(parts[b"IDAT"])
    return [data[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height)]


def places(image: bytes, colour: int) -> list[tuple[int, int]]:
    return [(x, y) for y, row in enumerate(pixels(image)) for x, each in enumerate(row) if each == colour]


def test_a_candle_rises_or_falls() -> None:
    image = chart(candles(2), [])
    assert {x for x, _ in places(image, DOWN)} == {0, 1, 2} and {x for x, _ in places(image, UP)} == {4, 5, 6}


def test_a_mark_points_at_its_price_from_below() -> None:
    found = places(chart(candles(10), [Mark(4 * 60 + 30, 100.0)]), MARK)
    tip = min(found, key=lambda place: place[1])
    assert tip[0] == 4 * 4 + 1 and abs(tip[1] - 160) <= 2
    assert len({y for _, y in found}) == 4 and {x for x, y in found if y == tip[1] + 3} == set(range(14, 21))


def test_the_level_is_a_line_around_its_mark() -> None:
    level = places(chart(candles(40), [Mark(20 * 60, 100.0, 120.0)]), LEVEL)
    assert {y for _, y in level} == {8}  # the highest price of all is at the top margin
    assert (min(x for x, _ in level), max(x for x, _ in level)) == (48, 115)


@pytest.mark.parametrize("second", [-1e9, 1e12])
def test_a_mark_outside_stands_at_the_edge(second: float) -> None:
    found = places(chart(candles(10), [Mark(second, 200.0, 300.0)]), MARK)
    assert found and len(pixels(chart(candles(10), [Mark(second, 200.0, 300.0)]))[0]) == 40


@pytest.mark.parametrize("count", [1, MAX_CANDLES, MAX_CANDLES + 1, 10_000])
def test_many_bars_become_few_candles(count: int) -> None:
    assert len(pixels(chart(candles(count), []))[0]) <= 4 * MAX_CANDLES


def test_thinned_candles_keep_what_was_highest_and_lowest() -> None:
    many = candles(3 * MAX_CANDLES)
    many[100] = Candle(6_000, 100.0, 500.0, 90.0, 100.0, None)
    top = [x for x, y in places(chart(many, []), UP) + places(chart(many, []), DOWN) if y == 8]
    assert top == [4 * 33 + 1]


def test_one_price_is_in_the_middle() -> None:
    assert {y for _, y in places(chart([Candle(0, 5.0, 5.0, 5.0, 5.0, None)], []), UP)} == {160}


def test_nothing_is_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        chart([], [])
