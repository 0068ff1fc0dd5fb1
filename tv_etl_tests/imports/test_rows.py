"""Rows are bars in order, as far apart as their interval says, or it is told which is not."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tv_etl.imports.errors import FileImportError
from tv_etl.imports.rows import checked_bars, wrong_spacing
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.imports.samples import at

NAMES = ("open", "high", "low", "close", "volume")


class Problem(FileImportError):
    pass


def fail(place: int, reason: str) -> FileImportError:
    return Problem(f"{place}: {reason}")


def table(rows: list[tuple[float | None, ...]], names: tuple[str, ...] = NAMES) -> pa.Table:
    return pa.table({name: pa.array([row[place] for row in rows], pa.float64()) for place, name in enumerate(names)})


def test_rows_become_bars() -> None:
    bars = checked_bars(
        np.array([60, 120, 180]), table([(1, 2, 0.5, 1.5, 7), (1, 2, 1, 2, None), (1, 1, 1, 1, float("nan"))]), fail
    )
    assert bars.times.tolist() == [60, 120, 180]
    assert bars.values.T.tolist() == [[1, 2, 0.5, 1.5, 7], [1, 2, 1, 2, 0], [1, 1, 1, 1, 0]]
    assert bars.has_volume.tolist() == [True, False, False], "what is no number is none"
    assert not checked_bars(np.array([60]), table([(1, 1, 1, 1)], NAMES[:4]), fail).has_volume.any()


@pytest.mark.parametrize(
    ("times", "closes", "message"),
    [
        ([60, 120, 120], [1, 1, 1], "2: 1970-01-01 00:02:00Z is there twice: keep one of the rows"),
        (
            [60, 180, 120],
            [1, 1, 1],
            "2: 1970-01-01 00:02:00Z comes after 1970-01-01 00:03:00Z; rows must ascend in time",
        ),
        ([180, 120, 60], [1, 1, 1], "1: all rows descend; rows must ascend in time: sort the file by it"),
        ([60, 120, 180], [1, None, 1], "1: close is empty or no number; a bar has all four prices"),
        ([60, 120, 180], [1, 1, float("nan")], "2: close is nan; expected a number"),
        ([60, 120, 180], [float("inf"), 1, 1], "0: close is inf; expected a number"),
        ([60, 120, 10**13], [1, 1, 1], "2: the time is not in the years 1 to 9999"),
    ],
)
def test_a_row_that_is_no_bar_is_told_with_its_place(times: list[int], closes: list[Any], message: str) -> None:
    with pytest.raises(Problem, match=message):
        checked_bars(np.array(times), table([(1, 1, 1, close, 1) for close in closes]), fail)


HOURS = {
    "New York": TradingHours("0930-1600", "America/New_York", "20240115"),
    "Hong Kong": TradingHours("0930-1200,1300-1600", "Asia/Hong_Kong"),
    "always": TradingHours("24x7", "Etc/UTC"),
    "currencies": TradingHours("1700-1700", "America/New_York"),
}
WIDTHS = ["1m", "5m", "15m", "30m", "1h", "2h", "4h"]
SINCE, UNTIL = at("2024-01-20 00:00"), at("2024-04-15 00:00")  # the clocks change in between


def opens(place: str, interval: Interval) -> np.ndarray[Any, np.dtype[np.int64]]:
    found = HOURS[place].expected_between(interval, SINCE, UNTIL)
    return found if interval.is_intraday else found // 86_400 * 86_400


@pytest.mark.parametrize("place", HOURS)
@pytest.mark.parametrize("width", [*WIDTHS, "1d", "1w", "1mo"])
def test_the_bars_of_an_interval_are_taken_for_it(place: str, width: str) -> None:
    interval = Interval.parse(width)
    times = opens(place, interval)
    assert wrong_spacing(times, interval, is_sparse=False) is None
    if len(times) > 500:
        kept = np.random.default_rng(7).random(len(times)) < 0.5
        assert wrong_spacing(times[kept], interval, is_sparse=False) is None, "half of the bars may be missing"


@pytest.mark.parametrize("place", HOURS)
@pytest.mark.parametrize(("given", "declared"), [*pairwise(WIDTHS), ("1d", "1w"), ("1w", "1mo"), ("4h", "1d")])
def test_bars_of_another_interval_are_refused(place: str, given: str, declared: str) -> None:
    narrow, wide = Interval.parse(given), Interval.parse(declared)
    closer = wrong_spacing(opens(place, narrow), wide, is_sparse=False)
    if given != "4h":
        assert closer is not None and f"closer than {declared}" in closer.reason
        assert wrong_spacing(opens(place, narrow), wide, is_sparse=True) is not None
        further = wrong_spacing(opens(place, wide), narrow, is_sparse=False)
        assert further is not None and f"wider than {given}" in further.reason
        assert wrong_spacing(opens(place, wide), narrow, is_sparse=True) is None


def test_two_rows_tell_nothing_of_their_interval() -> None:
    assert wrong_spacing(np.array([0, 60]), Interval.parse("1h"), is_sparse=False) is None


def test_points_of_each_month_are_sparse_days() -> None:
    months = opens("always", Interval.parse("1mo"))
    wrong = wrong_spacing(months, Interval.parse("1d"), is_sparse=False)
    assert len(months) < 3 or wrong is not None
    assert wrong_spacing(months, Interval.parse("1d"), is_sparse=True) is None
