"""The picture is drawn as it should be; how it looks in Dagster is in test_browser."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from tv_etl.picture import SHOWN_BARS, Candle, markdown, svg

DAY = 1_795_046_400


def candles(count: int, *, step: int = 60, volume: float | None = 12_345_678.0) -> list[Candle]:
    return [
        Candle(DAY + number * step, 100.0, 105.0 + number % 7, 95.0, 104.0 if number % 3 else 97.0, volume)
        for number in range(count)
    ]


def drawn(text: str) -> ElementTree.Element:
    # A namespace of its own in every tag would be in the way.
    return ElementTree.fromstring(text.replace(" xmlns='http://www.w3.org/2000/svg'", ""))


def strokes(element: ElementTree.Element) -> list[tuple[int, int, int]]:
    return [(int(x), int(top), int(end)) for x, top, end in re.findall(r"M(\d+),(\d+)V(\d+)", element.get("d", ""))]


def test_a_candle_has_a_wick_a_body_and_a_volume() -> None:
    rising, falling = drawn(svg([Candle(0, 10.0, 20.0, 0.0, 15.0, 8.0), Candle(60, 15.0, 15.0, 5.0, 5.0, 4.0)]))[:2]
    assert [strokes(path) for path in rising] == [[(3, 10, 108)], [(3, 34, 59)], [(3, 118, 148)]]
    assert [strokes(path) for path in falling] == [[(10, 34, 84)], [(10, 34, 84)], [(10, 133, 148)]]
    assert rising.get("stroke") != falling.get("stroke")


def test_the_newest_bars_are_shown() -> None:
    root = drawn(svg(candles(200)))
    assert sum(len(strokes(path)) for path in root.iter("path")) == 3 * SHOWN_BARS
    assert svg(candles(200)) == svg(candles(200)[-SHOWN_BARS:])


def test_bars_that_never_moved_and_have_no_volume_are_still_seen() -> None:
    root = drawn(svg([Candle(DAY, 7.0, 7.0, 7.0, 7.0, None), Candle(DAY + 60, 7.0, 7.0, 7.0, 7.0, None)]))
    paths = [strokes(path) for path in root.iter("path")]
    assert paths == [[(3, 59, 60), (10, 59, 60)]] * 2


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (60, ["111", "95", "12.3M", "11-19 00:00Z", "11-19 00:59Z"]),
        (86_400, ["111", "95", "12.3M", "2026-11-19", "2027-01-17"]),
    ],
)
def test_prices_volume_and_times_are_written_beside(step: int, texts: list[str]) -> None:
    assert [text.text for text in drawn(svg(candles(60, step=step))).iter("text")] == texts


def test_the_markdown_is_one_small_image() -> None:
    text = markdown(candles(60))
    assert len(text) < 3_000
    found = re.fullmatch(r"!\[bars\]\(data:image/svg\+xml,([^\s()<>#\"]+)\)", text)
    assert found is not None
    assert unquote(found[1]) == svg(candles(60))


def test_there_is_no_picture_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        svg([])
