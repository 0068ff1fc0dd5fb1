"""A small picture of the newest bars: candlesticks over their volume, with an axis, as a PNG inside a Markdown text.

Pure, and as small as can be: one is kept in Dagster's event log with every materialization, and only a text shorter
than a thousand characters is shown in the interface at once. Hence four colours of two bits each, and fewer bars where
they are too ragged to fit.
"""

import math
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

SHOWN_BARS = 48
# Dagster hides what is longer behind a button.
SHOWN_CHARACTERS = 999
_FEWER_BARS = 4

# Rows of pixels, from the top.
_PRICES = (0, 63)
_MARKS = range(65, 67)
_VOLUMES = (68, 87)
_HEIGHT = 88
# The eight pixels of a bar, two bits each, by colour: nothing, rising, falling, grey.
_BAR_BYTES = 2
_BODIES = [bytes([0b01010101 * colour, 0b01010000 * colour]) for colour in range(4)]
_WICKS = [bytes([0b00000001 * colour, 0b00000000]) for colour in range(4)]
_UP, _DOWN, _GREY = 1, 2, 3
# Of a line of the axis, a dot between two bars; of a mark, the whole width of a bar.
_DOT, _MARK = bytes([0, 0b00000011]), bytes([0b11111111, 0b11110000])
# Red, green, blue, and how opaque; seen on white and on black.
_COLOURS = ((0, 0, 0, 0), (38, 166, 154, 255), (239, 83, 80, 255), (130, 130, 142, 255))

# Characters of three by five pixels, each of which is drawn as two by two: a row of one is two bytes.
GLYPHS = {
    "0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (7, 1, 7, 4, 7), "3": (7, 1, 7, 1, 7), "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7), "6": (7, 4, 7, 5, 7), "7": (7, 1, 1, 1, 1), "8": (7, 5, 7, 5, 7), "9": (7, 5, 7, 1, 7),
    ".": (0, 0, 0, 0, 2), "-": (0, 0, 7, 0, 0), "e": (0, 2, 5, 6, 3),
}  # fmt: skip
_GLYPH_BYTES, _GLYPH_ROWS = 2, 10
_LABEL_CHARACTERS = 10
_MOST_LABELS, _MOST_MARKS = 3, 6
_DAY_S = 86_400


@dataclass(frozen=True)
class Candle:
    """One bar: its open in UTC seconds, and its prices; a volume where there is one."""

    second: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


def markdown(candles: Sequence[Candle]) -> str:
    """The newest candles of an ascending sequence as an image and its caption, short enough to be shown at once.

    Raises ValueError for none.
    """
    shown = candles[-SHOWN_BARS:]
    while len(text := _markdown(shown)) > SHOWN_CHARACTERS and len(shown) > _FEWER_BARS:
        shown = shown[_FEWER_BARS:]
    return text


def _markdown(shown: Sequence[Candle]) -> str:
    image = b64encode(png(shown)).decode()
    prices = f"{min(each.low for each in shown):.6g} to {max(each.high for each in shown):.6g}"
    most = max(each.volume or 0.0 for each in shown)
    volume = f", volume up to {_short(most)}" if most else ""
    unit, marks = _marks(shown)
    marked = f", a mark every {unit}" if marks else ""
    return f"![bars](data:image/png;base64,{image})\n\n{_span_text(shown)}{marked}  \n{prices}{volume}"


def png(candles: Sequence[Candle]) -> bytes:
    """Candles as a PNG, eight pixels wide each, and the labels of their prices. Raises ValueError for none."""
    if not candles:
        raise ValueError("a picture needs at least one bar")
    prices = min(each.low for each in candles), max(each.high for each in candles)
    labels = _labels(*prices)
    bars = _BAR_BYTES * len(candles)
    width = bars + 1 + _GLYPH_BYTES * max(len(text) for text in labels.values())
    rows = [bytearray(width) for _ in range(_HEIGHT)]
    _draw_candles(rows, candles, prices)
    for price, text in labels.items():
        line = rows[_row(price, prices, _PRICES)]
        line[:bars] = bytes(old | dot for old, dot in zip(line, _DOT * len(candles), strict=False))
        _draw_text(rows, text, _row(price, prices, _PRICES) - _GLYPH_ROWS // 2, bars + 1)
    for number in _marks(candles)[1]:
        for y in _MARKS:
            rows[y][number * _BAR_BYTES : (number + 1) * _BAR_BYTES] = _MARK
    return encoded(rows, 4 * width, 2, _COLOURS)


def _draw_candles(rows: Sequence[bytearray], candles: Sequence[Candle], prices: tuple[float, float]) -> None:
    volumes = 0.0, max(each.volume or 0.0 for each in candles)
    for number, each in enumerate(candles):
        place = slice(number * _BAR_BYTES, (number + 1) * _BAR_BYTES)
        colour = _UP if each.close >= each.open else _DOWN
        upper, lower = max(each.open, each.close), min(each.open, each.close)
        strokes = [(_WICKS[colour], each.high, each.low, prices, _PRICES)]
        strokes += [(_BODIES[colour], upper, lower, prices, _PRICES)]
        if each.volume:
            strokes += [(_BODIES[_GREY], each.volume, 0.0, volumes, _VOLUMES)]
        for pixels, top, bottom, values, within in strokes:
            for row in rows[_row(top, values, within) : _row(bottom, values, within) + 1]:
                row[place] = pixels


def _draw_text(rows: Sequence[bytearray], text: str, top: int, left: int) -> None:
    """Write digits, as much of their height as there is, from a byte of the rows on."""
    top = max(top, 0)
    for number, character in enumerate(text):
        at = left + number * _GLYPH_BYTES
        for y, bits in enumerate(each for each in GLYPHS[character] for _ in range(2)):
            first, second, third = (0b1111 * (bits >> shift & 1) for shift in (2, 1, 0))
            rows[top + y][at : at + _GLYPH_BYTES] = bytes([first << 4 | second, third << 4])


def _labels(low: float, high: float) -> dict[float, str]:
    """Round prices in the range, two to four as a rule, and how they are written."""
    if not high > low:
        return {low: _label(low, 2)}
    least = (high - low) / _MOST_LABELS
    power = 10.0 ** math.floor(math.log10(least))
    # The widest steps that give two labels.
    for step in (many * power for many in (10, 5, 2, 1, 0.5, 0.2) if many * power <= 10 * least):
        found = _multiples(low, high, step)
        if len(found) >= 2:
            digits = max(0, -math.floor(math.log10(step) + 1e-9))
            return {price: _label(price, digits) for price in found}
    return {low: _label(low, 2)}


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _label(price: float, digits: int) -> str:
    text = f"{price:.{digits}f}"
    return text if len(text) <= _LABEL_CHARACTERS else f"{price:.4g}".replace("+", "")


def _marks(shown: Sequence[Candle]) -> tuple[str, list[int]]:
    """Which unit of time is marked, and the bars that are the first in one; none where that would be too many."""
    for unit, part_of in _UNITS.items():
        parts = [part_of(each.second) for each in shown]
        found = [number for number in range(1, len(parts)) if parts[number] != parts[number - 1]]
        if 0 < len(found) <= min(_MOST_MARKS, (len(parts) - 1) // 2):
            return unit, found
    return "", []


def _seconds(unit_s: int, begins_s: int = 0) -> Callable[[int], Hashable]:
    return lambda second: (second - begins_s) // unit_s


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, timezone.utc)


_UNITS: dict[str, Callable[[int], Hashable]] = {
    "minute": _seconds(60),
    "15 minutes": _seconds(900),
    "hour": _seconds(3_600),
    "4 hours": _seconds(14_400),
    "day": _seconds(_DAY_S),
    "week": _seconds(7 * _DAY_S, 4 * _DAY_S),  # 1970 began on a Thursday
    "month": lambda second: _utc(second).strftime("%Y-%m"),
    "year": lambda second: _utc(second).year,
    "decade": lambda second: _utc(second).year // 10,
}


def _row(value: float, values: tuple[float, float], rows: tuple[int, int]) -> int:
    """Where a value lies: the greatest at the top."""
    least, most = values
    share = (most - value) / (most - least) if most > least else 0.5
    return round(rows[0] + share * (rows[1] - rows[0]))


def encoded(rows: Sequence[bytearray], width: int, depth: int, colours: Sequence[tuple[int, ...]]) -> bytes:
    """Rows of pixels, `depth` bits each, as a PNG; a colour is red, green, blue and how opaque it is."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, 3, 0, 0, 0)),
        (b"PLTE", bytes(part for colour in colours for part in colour[:3])),
        (b"tRNS", bytes(colour[3] for colour in colours).rstrip(b"\xff")),
        (b"IDAT", min(_compressed(b"".join(b"\0" + row for row in rows)), key=len)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _compressed(data: bytes) -> Iterator[bytes]:
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED):
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
        yield packer.compress(data) + packer.flush()


def _short(volume: float) -> str:
    """12.3M for 12,345,678."""
    power = min(int(math.log10(volume * 1.0005)) // 3, 4) if volume >= 1_000 else 0
    return f"{volume / 1_000**power:.3g}{' kMBT'[power].strip()}"


def _span_text(shown: Sequence[Candle]) -> str:
    first, last = _utc(shown[0].second), _utc(shown[-1].second)
    if len(shown) > 1 and shown[-1].second - shown[-2].second >= _DAY_S:
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    last_form = "%H:%MZ" if first.date() == last.date() else "%Y-%m-%d %H:%MZ"
    return f"{first:%Y-%m-%d %H:%M}Z to {last:{last_form}}"
