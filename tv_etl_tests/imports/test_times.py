"""Times are moments, or the dates of trading days; a zone is never guessed."""

from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tv_etl.imports.errors import FileImportError
from tv_etl.imports.times import NO_DATE, days, moments
from tv_etl_tests.imports.samples import at

OPEN = at("2024-01-02 14:30")
DAY = at("2024-01-02 00:00") // 86_400
NEW_YORK = ZoneInfo("America/New_York")


class Problem(FileImportError):
    pass


def fail(place: int, reason: str) -> FileImportError:
    return Problem(f"{place}: {reason}")


def column(cells: list[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells, kind)])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["2024-01-02T09:30:00-05:00"], None),
        (["2024-01-02 09:30:00-0500"], None),
        (["2024-01-02T14:30:00Z"], None),
        (["2024-01-02T14:30:00.000+00:00"], None),
        (["1704205800"], None),
        (["1704205800.0"], None),
        ([OPEN], None),
        ([OPEN * 1_000], None),
        ([OPEN * 1_000_000], None),
        ([OPEN * 1_000_000_000], None),
        ([float(OPEN)], None),
        ([OPEN * 1_000], pa.timestamp("ms", "America/New_York")),
    ],
)
def test_a_moment_is_the_same_however_it_is_written(cells: list[Any], kind: pa.DataType | None) -> None:
    for read in (moments(column(cells, kind), None, fail), days(column(cells, kind), None, fail).moments):
        assert read.tolist() == [OPEN]


@pytest.mark.parametrize(
    "cells",
    [
        column(["2024-01-02 09:30:00"]),
        column(["2024-01-02T09:30"]),
        column([at("2024-01-02 09:30")], pa.timestamp("s")),
    ],
)
def test_a_time_without_a_zone_is_asked_for(cells: pa.ChunkedArray) -> None:
    for read in (moments, days):
        with pytest.raises(
            Problem, match=r"0: the time '2024-01-02.09:30.*' has no zone: --timezone says which it is in"
        ):
            read(cells, None, fail)
    assert moments(cells, NEW_YORK, fail).tolist() == [OPEN]
    assert days(cells, NEW_YORK, fail).moments.tolist() == [OPEN]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["2024-01-02"], None),
        (["2024-01-02 00:00:00"], None),
        (["2024-01-02 00:00:00-05:00"], None),
        (["2024-01-02T00:00:00Z"], None),
        ([str(DAY * 86_400)], None),
        ([DAY * 86_400], None),
        ([DAY], pa.date32()),
        ([DAY * 86_400], pa.timestamp("s")),
        ([DAY * 86_400 + 5 * 3_600], pa.timestamp("s", "America/New_York")),
    ],
)
def test_a_midnight_says_no_more_than_its_date(cells: list[Any], kind: pa.DataType | None) -> None:
    assert days(column(cells, kind), None, fail).dates.tolist() == [DAY]


def test_another_time_of_a_day_says_no_date() -> None:
    assert days(column([OPEN]), None, fail).dates.tolist() == [NO_DATE]
    assert days(column(["2024-01-02T09:30:00-05:00"]), None, fail).dates.tolist() == [NO_DATE]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-02T14:30:00Z", ""], "1: the time is missing"),
        ([OPEN, None], "1: the time is missing"),
        ([float(OPEN), float("nan")], "1: the time is missing"),
        (
            ["2024-01-02T14:30:00Z", "02.01.2024 14:35"],
            r"1: the time '02.01.2024 14:35' cannot be read; expected ISO 8601",
        ),
        (["09:30:00"], "0: the time '09:30:00' cannot be read"),
        (["2024-01-02"], "0: 2024-01-02 is a date; a bar that is shorter than a day opens at a time of it"),
        (["1704205800", "1704205860.5"], r"1: the time '1704205860.5' is not a whole second"),
        ([OPEN * 1_000, OPEN * 1_000 + 1], f"1: the time is not a whole second, read in ms as {OPEN * 1_000 + 1} is"),
        (["2024-01-02T14:30:00.5Z"], "0: the time.* is not a whole second"),
        ([True], "0: the time is of type bool"),
    ],
)
def test_what_is_no_time_is_told_with_its_place(cells: list[Any], message: str) -> None:
    with pytest.raises(Problem, match=message):
        moments(column(cells), None, fail)


def test_dates_have_no_time_of_day() -> None:
    with pytest.raises(Problem, match="0: 2024-01-02 is a date"):
        moments(column([DAY], pa.date32()), None, fail)


@pytest.mark.parametrize("local", ["2024-11-03 01:30", "2024-03-10 02:30"])
def test_an_hour_that_the_clocks_have_twice_or_never_is_told(local: str) -> None:
    cells = column([at("2024-01-02 09:30"), at(local)], pa.timestamp("s"))
    with pytest.raises(
        Problem, match=f"1: {local}:00 is twice, or not at all, when the clocks change in America/New_York"
    ):
        moments(cells, NEW_YORK, fail)


def test_times_that_are_written_in_two_ways_are_read_one_by_one() -> None:
    cells = column(["2024-01-02T09:30:00-05:00", "1704205860"])
    assert moments(cells, None, fail).tolist() == [OPEN, OPEN + 60]
    with pytest.raises(Problem, match="1: the time '2024-01-02T09:31:00' has no zone"):
        moments(column(["2024-01-02T09:30:00-05:00", "2024-01-02T09:31:00"]), None, fail)
