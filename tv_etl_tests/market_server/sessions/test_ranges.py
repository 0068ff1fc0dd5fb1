from datetime import datetime, timezone

import pytest

from tv_etl.market_server.sessions.ranges import (
    BEGINNING,
    FROM_NEWEST,
    InvalidParameters,
    Range,
    frame_start,
    parse_range,
    parse_resolution,
)
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "same_as"),
    [("1", "1"), ("60", "60"), ("1H", "60"), ("D", "1D"), ("1D", "1D"), ("W", "1W"), ("3M", "3M"), ("10S", "10S")],
)
def test_resolutions_the_wire_knows(text: str, same_as: str) -> None:
    assert parse_resolution(text) == Interval.parse(same_as)


@pytest.mark.parametrize("text", ["XX", "15m", "s1", "", "0", "1d", "H", "1mo", "9999", 5, None])
def test_other_resolutions_are_invalid_parameters(text: object) -> None:
    with pytest.raises(InvalidParameters):
        parse_resolution(text)


@pytest.mark.parametrize(
    ("value", "frame", "wanted"),
    [
        (300, "", Range(300)),
        ("", "", Range()),
        (["bar_count", 1_000, 5], "", Range(5, before=1_001)),
        (["bar_count", 1_000, -5], "", Range(5, start=1_000, is_forward=True)),
        (["from_to", 1_000, 2_000], "", Range(start=1_000, before=2_001)),
        (["from_to", 1_000], "", Range(start=1_000)),
        ("r,1000:2000", "", Range(start=1_000, frame="r,1000:2000", end=2_000)),
        (10, "r,1000:2000", Range(10, 1_000, frame="r,1000:2000", end=2_000)),
        (10, "LASTSESSION", Range(10, FROM_NEWEST, frame="LASTSESSION")),
        (10, "ALL", Range(10, BEGINNING, frame="ALL")),
        (10, "5", Range(10, FROM_NEWEST, frame="5")),
    ],
)
def test_ranges_the_wire_knows(value: object, frame: str, wanted: Range) -> None:
    assert parse_range(value, frame) == wanted


@pytest.mark.parametrize(
    ("frame", "expected"),
    [("12M", (2025, 11, 20)), ("1M", (2026, 10, 20)), ("6M", (2026, 5, 20)), ("YTD", (2026, 1, 1))],
)
def test_periods_reach_back_by_the_calendar(frame: str, expected: tuple[int, int, int]) -> None:
    start = frame_start(frame, int(FRIDAY_NOON))
    assert start == datetime(*expected, tzinfo=timezone.utc).timestamp()


def test_days_reach_back_from_the_newest_bar() -> None:
    assert frame_start("5", 1_000_000) == 1_000_000 - 5 * 86_400


def test_a_month_back_from_the_31st_stays_in_the_month() -> None:
    newest = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
    assert frame_start("1M", int(newest.timestamp())) == datetime(2026, 2, 28, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("value", "frame"),
    [(True, ""), (["bar_count", 1], ""), (["bar_count", "1", 2], ""), (5, "bogus"), (5, 7), ({}, ""), (1.5, "")],
)
def test_other_ranges_are_invalid_parameters(value: object, frame: object) -> None:
    with pytest.raises(InvalidParameters):
        parse_range(value, frame)
