"""Rows of a file as bars: nothing is repaired, and what is wrong is told with its row; pure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tv_etl.imports.times import Fail, Seconds
from tv_etl.lake.bars import PRICES, Bars
from tv_etl.tradingview.columns import mask_of, numbers_of
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc

_LEAST = 3  # rows, of which nothing can be told by their distances
_MANY = 20  # distances: of a thin market, too, two rows in so many follow each other
_CLOSER = 0.6  # of the distances: more than there are breaks in a day
_ALIKE = 0.4
_LARGEST_S = 253_402_300_799  # of the year 9999


class Spacing(NamedTuple):
    """What is wrong with how far rows are apart."""

    place: int
    reason: str


def checked_bars(times: Seconds, table: pa.Table, fail: Fail) -> Bars:
    """The bars of a table whose rows opened at these times, which must ascend.

    Raises what `fail` makes of the first row that is no bar, or out of its order.
    """
    values = np.empty((5, len(times)))
    for row, name in enumerate(PRICES):
        column = table.column(name)
        if column.null_count:
            place = int(np.argmin(mask_of(column.is_valid())))
            raise fail(place, f"{name} is empty or no number; a bar has all four prices: fill or remove the row")
        values[row] = numbers_of(column)
        infinite = ~np.isfinite(values[row])
        if infinite.any():
            place = int(np.argmax(infinite))
            raise fail(place, f"{name} is {values[row, place]}; expected a number")
    has_volume = _volumes(table, values[4])
    if (values[4] < 0).any():
        place = int(np.argmax(values[4] < 0))
        raise fail(place, f"volume is {values[4, place]:g}; expected 0 or more, or nothing where there is none")
    later = times[1:] > times[:-1]
    if not later.all():
        place = int(np.argmin(later))
        raise fail(place + 1, _disorder(int(times[place]), int(times[place + 1]), bool((times[1:] < times[:-1]).all())))
    if len(times) and (times[0] < -62_135_596_800 or times[-1] > _LARGEST_S):
        raise fail(0 if times[0] < 0 else len(times) - 1, "the time is not in the years 1 to 9999")
    return Bars(times, values, has_volume)


def wrong_spacing(opens: Seconds, interval: Interval, *, is_sparse: bool) -> Spacing | None:
    """Why rows that open at these times (from a day on: of these days, in seconds) are not of an interval.

    Distances tell: bars are closer only across a break of the day, and where they are further apart they are so by no
    rule. Those of thin markets, and of figures, are sparse: of these only rows that are too close are told.
    """
    distances = np.diff(opens)
    if len(distances) < _LEAST - 1:
        return None
    width = interval.seconds if interval.unit != "mo" else interval.count * 28 * 86_400
    closer = distances < width
    closest = int(distances.min())
    if closer.mean() > _CLOSER:
        usual = _told(_usual(distances))
        return Spacing(int(np.argmax(closer)) + 1, f"most rows are {usual} apart, closer than {interval}")
    widest = interval.seconds if interval.unit != "mo" else interval.count * 31 * 86_400
    if is_sparse:
        return None
    if closest <= widest:
        divisor = int(np.gcd.reduce(distances))
        if interval.is_intraday and len(distances) >= _MANY and width % divisor:
            return Spacing(1, f"all rows are multiples of {_told(divisor)} apart, of which {interval} is none")
        return None
    if len(distances) < _MANY and (distances <= closest * 1.15).mean() < _ALIKE:
        return None
    return Spacing(1, f"rows are {_told(_usual(distances))} apart, wider than {interval}")


def _volumes(table: pa.Table, into: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Write the volumes, 0 for none; True where there is one. What is no number is none."""
    if "volume" not in table.column_names:
        into[:] = 0.0
        return np.zeros(len(into), np.bool_)
    column = table.column("volume")
    into[:] = numbers_of(column)
    has_volume = np.isfinite(into)
    if column.null_count:
        has_volume &= mask_of(column.is_valid())
    into[~has_volume] = 0.0
    return has_volume


def _disorder(before: int, after: int, is_descending: bool) -> str:
    if before == after:
        return f"{_shown(after)} is there twice: keep one of the rows"
    whole = "all rows descend" if is_descending else f"{_shown(after)} comes after {_shown(before)}"
    return f"{whole}; rows must ascend in time: sort the file by it"


def _usual(distances: Seconds) -> int:
    values, counts = np.unique(distances, return_counts=True)
    return int(values[np.argmax(counts)])


def _told(seconds: int) -> str:
    for name, width in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= width and seconds % width == 0:
            count = seconds // width
            return f"{count:,} {name if count > 1 else name[:-1]}"
    return f"{seconds:,} s"


def _shown(second: int) -> str:
    return f"{utc(second):%Y-%m-%d %H:%M:%S}Z"
