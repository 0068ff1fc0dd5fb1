"""Which series trading hours tell nothing of, and when their next point is late."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.cadence import RHYTHM_POINTS, Rhythm, has_cadence
from tv_etl.tradingview.intervals import Interval

pytestmark = pytest.mark.pure

DAY = 86_400


def rhythm(*distances: int) -> Rhythm | None:
    """Of points so many days apart."""
    return Rhythm.of(np.cumsum([0, *(DAY * each for each in distances)]))


@pytest.mark.parametrize(
    ("kind", "data_frequency", "interval", "expected"),
    [
        ("stock", "", "1d", True),
        ("", "", "1d", True),
        ("economic", "", "1d", False),
        ("economic", "1M", "1mo", False),  # published in the middle of the next month, or not at all
        ("fundamental", "3M", "1d", False),
        ("fund", "1D", "1d", True),
        ("fund", "1D", "1w", True),
        ("fund", "1D", "1h", False),
        ("index", "1M", "1d", False),
        ("stock", "D", "1m", False),
        ("stock", "now and then", "1d", True),
        ("stock", "100T", "1d", True),
        ("economic", "monthly", "1d", False),
    ],
)
def test_a_type_that_is_published_or_rarer_data_have_no_cadence(
    kind: str, data_frequency: str, interval: str, expected: bool
) -> None:
    assert has_cadence(kind, data_frequency, Interval.parse(interval)) is expected


def test_too_few_points_have_no_rhythm() -> None:
    assert rhythm(*[30] * 6) is None
    assert rhythm(*[30] * 7) == Rhythm(30 * DAY, 30 * DAY)


@pytest.mark.parametrize(
    ("distances", "late_after"),
    [
        ([31, 30, 31, 31, 28, 31, 30, 31], 155),  # a month
        ([7] * 20, 35),
        ([1, 1, 1, 1, 3] * 4, 14),  # every working day: holidays are no reason
        ([91, 92, 92, 90] * 5, 457.5),
        ([30, 61, 30, 31, 30, 31, 31, 30], 152.5),  # one was never published
        ([30, 30, 700, 30, 30, 30, 30, 30], 1_400),  # as rare things come
    ],
)
def test_a_point_is_late_after_several_distances_and_more_than_any_pause_before(
    distances: list[int], late_after: float
) -> None:
    found = rhythm(*distances)
    assert found is not None and found.late_after_s == late_after * DAY


def test_only_the_newest_points_tell() -> None:
    assert rhythm(*[365] * 50, *[30] * RHYTHM_POINTS) == Rhythm(30 * DAY, 30 * DAY)


@given(st.lists(st.integers(1, 10_000), min_size=7, max_size=200))
def test_no_distance_that_was_there_lately_is_late(distances: list[int]) -> None:
    found = rhythm(*distances)
    assert found is not None and found.late_after_s > max(distances[-RHYTHM_POINTS + 1 :]) * DAY


def test_distances_are_told_in_days() -> None:
    assert [str(Rhythm(each, each)) for each in (DAY, 7 * DAY, 31 * DAY, 3_600)] == [
        "a day",
        "7 days",
        "31 days",
        "0.0417 days",
    ]
