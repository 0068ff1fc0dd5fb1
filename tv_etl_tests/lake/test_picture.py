"""The picture is drawn as it should be; how it looks in Dagster is in test_browser."""

import random
import re
import struct
import zlib
from base64 import b64decode

import pytest

from tv_etl.lake.picture import GLYPHS, SHOWN_BARS, SHOWN_CHARACTERS, Candle, markdown, png

pytestmark = pytest.mark.pure

DAY = 1_795_046_400
NOTHING, UP, DOWN, GREY = range(4)


def candles(count: int, *, step: int = 60, volume: float | None = 12_345_678.0) -> list[Candle]:
    return [
        Candle(DAY + number * step, 100.0, 105.0 + number % 7, 95.0, 104.0 if number % 3 else 97.0, volume)
        for number in range(count)
    ]


def chunks(image: bytes) -> dict[bytes, bytes]:
    """The parts of a PNG by name."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    found, place = {}, 8
    while place < len(image):
        (length,) = struct.unpack(">I", image[place : place + 4])
        name, data = image[place + 4 : place + 8], image[place + 8 : place + 8 + length]
        assert struct.unpack(">I", image[place + 8 + length : place + 12 + length]) == (zlib.crc32(name + data),)
        found[name], place = data, place + 12 + length
    return found


def pixels(image: bytes) -> list[list[int]]:
    """The colour of each pixel, row by row."""
    parts = chunks(image)
    width, height, depth, kind = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, kind) == (2, 3)
    data, stride = zlib.decompress(parts[b"IDAT"]), width // 4 + 1
    rows = [data[row * stride : (row + 1) * stride] for row in range(height)]
    assert all(row[0] == 0 for row in rows)
    return [[byte >> shift & 3 for byte in row[1:] for shift in (6, 4, 2, 0)] for row in rows]


def column(image: bytes, x: int) -> list[tuple[int, int]]:
    """What is met on the way down a column of pixels, and how far it goes."""
    runs: list[tuple[int, int]] = []
    for row in pixels(image):
        runs = [*runs[:-1], (row[x], runs[-1][1] + 1)] if runs and runs[-1][0] == row[x] else [*runs, (row[x], 1)]
    return runs


def read(image: bytes, bars: int) -> dict[int, str]:
    """What is written to the right of so many bars, by the row of pixels in the middle of a line."""
    rows, found = [row[8 * bars + 4 :] for row in pixels(image)], {}
    top = 0
    while top < len(rows):
        if any(rows[top]) and not any(rows[top - 1]):
            lines = rows[top : top + 10 : 2]
            glyphs = [
                tuple(int("".join("01"[line[x + dot] == GREY] for dot in (0, 2, 4)), 2) for line in lines)
                for x in range(0, len(lines[0]), 8)
            ]
            text = "".join(next((key for key, each in GLYPHS.items() if each == glyph), "") for glyph in glyphs)
            found[top + 5] = text
            top += 10
        top += 1
    return found


def test_a_candle_has_a_wick_a_body_and_a_volume() -> None:
    image = png([Candle(0, 10.0, 20.0, 0.0, 15.0, 8.0), Candle(60, 15.0, 15.0, 5.0, 5.0, 4.0)])
    assert column(image, 0) == [(NOTHING, 16), (UP, 17), (NOTHING, 35), (GREY, 20)], "body"
    assert column(image, 3) == [(UP, 64), (NOTHING, 4), (GREY, 20)], "wick"
    assert column(image, 6) == [(NOTHING, 88)], "space between bars"
    assert column(image, 8) == [(NOTHING, 16), (DOWN, 32), (NOTHING, 30), (GREY, 10)]


def test_bars_that_never_moved_and_have_no_volume_are_still_seen() -> None:
    image = png([Candle(DAY, 7.0, 7.0, 7.0, 7.0, None)])
    assert column(image, 0) == [(NOTHING, 32), (UP, 1), (NOTHING, 55)]
    assert read(image, 1) == {32: "7.00"}


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (94_478.4, 95_367.5, {"95000": 95_000, "94500": 94_500}),
        (0.00144504, 0.00145689, {"0.001455": 0.001455, "0.001450": 0.00145}),
        (4.75285e-8, 4.81732e-8, {"4.8e-08": 4.8e-8}),
        (-3.0, 4.0, {"4": 4, "2": 2, "0": 0, "-2": -2}),
        (1_234_567.1, 1_234_567.9, {"1234567.8": 1_234_567.8, "1234567.2": 1_234_567.2}),
    ],
)
def test_round_prices_are_written_beside_a_dotted_line(low: float, high: float, labels: dict[str, float]) -> None:
    image = png([Candle(DAY + 60 * number, low, high, low, high, None) for number in range(4)])
    found = read(image, 4)
    assert set(found.values()) >= set(labels), found
    for middle, text in found.items():
        row = round(63 * (high - float(text)) / (high - low))
        assert middle == max(row, 5), "a label is not cut"
        dots = [x for x, colour in enumerate(pixels(image)[row][:32]) if colour == GREY]
        assert dots == [7, 15, 23, 31]


def test_units_of_time_are_marked_where_they_begin() -> None:
    image = png(candles(40))
    [marks] = {tuple(x // 8 for x in range(0, 320, 8) if row[x] == GREY) for row in pixels(image)[65:67]}
    assert marks == (15, 30)


def test_what_is_not_drawn_is_transparent() -> None:
    assert chunks(png(candles(1)))[b"tRNS"][0] == 0


@pytest.mark.parametrize(
    ("step", "caption"),
    [
        (60, "2026-11-19 00:12Z to 00:59Z, a mark every 15 minutes  \n95 to 111, volume up to 12.3M"),
        (86_400, "2026-12-01 to 2027-01-17, a mark every week  \n95 to 111, volume up to 12.3M"),
    ],
)
def test_the_newest_bars_are_shown_and_said_in_words(step: int, caption: str) -> None:
    newest = candles(60, step=step)[-SHOWN_BARS:]
    found = re.fullmatch(
        r"!\[bars\]\(data:image/png;base64,([\w+/=]+)\)\n\n(.*)", markdown(candles(60, step=step)), re.DOTALL
    )
    assert found is not None
    assert b64decode(found[1]) == png(newest)
    assert found[2] == caption


def test_the_interface_shows_every_picture_at_once() -> None:
    """It hides a text of a thousand characters and more behind a button."""
    dice = random.Random(7)
    for _ in range(20):
        prices = [[10_000.123 + dice.random() for _ in range(4)] for _ in range(SHOWN_BARS)]
        noise = [
            Candle(DAY + 60 * number, each[0], max(each), min(each), each[1], 1e9 * dice.random())
            for number, each in enumerate(prices)
        ]
        assert len(markdown(noise)) <= SHOWN_CHARACTERS


@pytest.mark.parametrize(("volume", "text"), [(999.0, "999"), (999_999.0, "1M"), (0.25, "0.25"), (2e12, "2T")])
def test_a_volume_is_said_in_three_digits(volume: float, text: str) -> None:
    assert markdown(candles(2, volume=volume)).endswith(f"volume up to {text}")


def test_nothing_is_said_of_a_volume_that_is_not_there() -> None:
    assert markdown(candles(2, volume=None)).endswith("95 to 106")


def test_there_is_no_picture_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        png([])
