"""A small picture of the newest bars: candlesticks over their volume, as a PNG inside a Markdown text.

Pure, and as small as can be: one is kept in Dagster's event log with every materialization, and only a text shorter
than a thousand characters is shown in the interface at once. Hence four colours of two bits each.
"""

import math
import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

SHOWN_BARS = 48

# Rows of pixels, from the top.
_PRICES = (0, 63)
_VOLUMES = (68, 87)
_HEIGHT = 88
# The eight pixels of a bar, two bits each, by colour: nothing, rising, falling, volume.
_BAR_BYTES = 2
_BODIES = [bytes([0b01010101 * colour, 0b01010000 * colour]) for colour in range(4)]
_WICKS = [bytes([0b00000001 * colour, 0b00000000]) for colour in range(4)]
_UP, _DOWN, _VOLUME = 1, 2, 3
# Red, green, blue, and how opaque; seen on white and on black.
_COLOURS = ((0, 0, 0, 0), (38, 166, 154, 255), (239, 83, 80, 255), (140, 140, 150, 150))
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
    """The newest candles of an ascending sequence as an image and its caption. Raises ValueError for none."""
    shown = candles[-SHOWN_BARS:]
    image = b64encode(png(shown)).decode()
    form = _time_format(shown)
    first, last = (f"{datetime.fromtimestamp(each.second, timezone.utc):{form}}" for each in (shown[0], shown[-1]))
    prices = f"{min(each.low for each in shown):.6g} to {max(each.high for each in shown):.6g}"
    most = max(each.volume or 0.0 for each in shown)
    volume = f", volume up to {_short(most)}" if most else ""
    return f"![bars](data:image/png;base64,{image})\n\n{first} to {last}  \n{prices}{volume}"


def png(candles: Sequence[Candle]) -> bytes:
    """Candles as a PNG, eight pixels wide each. Raises ValueError for none."""
    if not candles:
        raise ValueError("a picture needs at least one bar")
    rows = [bytearray(_BAR_BYTES * len(candles)) for _ in range(_HEIGHT)]
    prices = min(each.low for each in candles), max(each.high for each in candles)
    volumes = 0.0, max(each.volume or 0.0 for each in candles)
    for number, each in enumerate(candles):
        place = slice(number * _BAR_BYTES, (number + 1) * _BAR_BYTES)
        colour = _UP if each.close >= each.open else _DOWN
        upper, lower = max(each.open, each.close), min(each.open, each.close)
        strokes = [(_WICKS[colour], each.high, each.low, prices, _PRICES)]
        strokes += [(_BODIES[colour], upper, lower, prices, _PRICES)]
        if each.volume:
            strokes += [(_BODIES[_VOLUME], each.volume, 0.0, volumes, _VOLUMES)]
        for pixels, top, bottom, values, within in strokes:
            for row in rows[_row(top, values, within) : _row(bottom, values, within) + 1]:
                row[place] = pixels
    return encoded(rows, 4 * _BAR_BYTES * len(candles), 2, _COLOURS)


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
        (b"tRNS", bytes(colour[3] for colour in colours)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _short(volume: float) -> str:
    """12.3M for 12,345,678."""
    power = min(int(math.log10(volume * 1.0005)) // 3, 4) if volume >= 1_000 else 0
    return f"{volume / 1_000**power:.3g}{' kMBT'[power].strip()}"


def _time_format(shown: Sequence[Candle]) -> str:
    is_days = len(shown) > 1 and shown[-1].second - shown[-2].second >= _DAY_S
    return "%Y-%m-%d" if is_days else "%Y-%m-%d %H:%MZ"
