"""Prices over a span with marks on them, as a PNG: to see where something happened.

Pure. Many bars become one candle each, so that the picture keeps its width.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tv_etl.lake.picture import Candle, encoded

MAX_CANDLES = 240
_CANDLE = 4  # pixels: a body of three with its wick in the middle, and a space
_HEIGHT, _MARGIN = 320, 8
_NOTHING, _UP, _DOWN, _MARK, _LEVEL = range(5)
_COLOURS = ((255, 255, 255, 255), (38, 166, 154, 255), (239, 83, 80, 255), (40, 70, 200, 255), (150, 160, 230, 255))
_ARROW = 4  # rows of the triangle that points at a price


class Mark(NamedTuple):
    """A price at a moment, in UTC seconds, and the level that it reached."""

    second: float
    price: float
    level: float | None = None


def chart(candles: Sequence[Candle], marks: Sequence[Mark]) -> bytes:
    """The candles with a triangle below each marked price, and its level as a line. Raises ValueError for no candle."""
    if not candles:
        raise ValueError("a picture needs at least one bar")
    shown = _thinned(candles)
    prices = [*(each.low for each in shown), *(each.high for each in shown), *(mark.price for mark in marks)]
    prices += [mark.level for mark in marks if mark.level is not None]
    least, most = min(prices), max(prices)

    def row_of(price: float) -> int:
        share = (most - price) / (most - least) if most > least else 0.5
        return round(_MARGIN + share * (_HEIGHT - 1 - 2 * _MARGIN))

    rows = [bytearray(_CANDLE * len(shown)) for _ in range(_HEIGHT)]
    for mark in marks:
        place = _place(shown, mark.second)
        if mark.level is not None:
            line = rows[row_of(mark.level)]
            line[_CANDLE * max(0, place - 8) : _CANDLE * (place + 9)] = bytes([_LEVEL]) * (
                min(len(line), _CANDLE * (place + 9)) - _CANDLE * max(0, place - 8)
            )
    for number, each in enumerate(shown):
        colour = _UP if each.close >= each.open else _DOWN
        for row in range(row_of(each.high), row_of(each.low) + 1):
            rows[row][_CANDLE * number + 1] = colour
        for row in range(row_of(max(each.open, each.close)), row_of(min(each.open, each.close)) + 1):
            rows[row][_CANDLE * number : _CANDLE * number + 3] = bytes([colour]) * 3
    for mark in marks:
        middle, top = _CANDLE * _place(shown, mark.second) + 1, row_of(mark.price)
        for step in range(_ARROW):
            pixels = rows[min(top + 1 + step, _HEIGHT - 1)]
            for column in range(max(0, middle - step), min(len(pixels), middle + step + 1)):
                pixels[column] = _MARK
    return encoded(rows, _CANDLE * len(shown), 8, _COLOURS)


def _thinned(candles: Sequence[Candle]) -> list[Candle]:
    size = -(-len(candles) // MAX_CANDLES)
    parts = [candles[first : first + size] for first in range(0, len(candles), size)]
    return [
        Candle(
            part[0].second, part[0].open, max(each.high for each in part), min(each.low for each in part),
            part[-1].close, None,
        )
        for part in parts
    ]  # fmt: skip


def _place(shown: Sequence[Candle], second: float) -> int:
    """The candle that a moment lies in."""
    before = [number for number, each in enumerate(shown) if each.second <= second]
    return before[-1] if before else 0
