"""What a table of bars must be, and how newer bars go into older ones; pure.

A table is checked once, at the door. From there on its bars are `Bars`: sorted, unique, finite numpy columns. Knows
nothing of symbols, intervals, files or clocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tv_etl.lake.errors import BadBarsError
from tv_etl.tradingview.bar_schema import BAR_SCHEMA, table_of_bars
from tv_etl.tradingview.columns import mask_of, numbers_of
from tv_etl.tradingview.damage import is_enclosed

PRICES = ("open", "high", "low", "close")

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EARLIEST_S = int(datetime(1, 1, 1, tzinfo=timezone.utc).timestamp())
_LATEST_S = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc).timestamp())
_LARGEST_EXACT = 2**53  # integers beyond are not all float64s

Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars in columns, strictly ascending in time.

    `times` are UTC seconds, `values` has a row each for open, high, low, close and volume; where `has_volume` is
    False the volume is 0.0, so that equal bars have equal values.
    """

    times: Times
    values: Values
    has_volume: Mask

    @classmethod
    def none(cls) -> "Bars":
        """No bars."""
        return cls(np.empty(0, np.int64), np.empty((5, 0)), np.empty(0, np.bool_))

    @classmethod
    def from_stored(cls, table: pa.Table) -> "Bars":
        """The bars of a table that `to_table` made."""
        volume = table.column("volume")
        values = np.empty((5, table.num_rows))
        for row, name in enumerate(PRICES):
            values[row] = numbers_of(table.column(name))
        values[4] = numbers_of(volume)
        times = ticks_of(table.column("timestamp")) // _PER_SECOND["us"]
        return cls(times, values, _is_valid(volume))

    def to_table(self) -> pa.Table:
        """The bars in `BAR_SCHEMA`."""
        return table_of_bars(self.times * _PER_SECOND["us"], self.values, self.has_volume)

    def __len__(self) -> int:
        return len(self.times)

    def between(self, start_s: int | None, end_s: int | None) -> "Bars":
        """The bars in the half-open range; None is unbounded."""
        first = 0 if start_s is None else int(np.searchsorted(self.times, start_s))
        last = len(self) if end_s is None else int(np.searchsorted(self.times, end_s))
        return self.take(slice(first, max(first, last)))

    def is_consistent(self) -> Mask:
        """True for each bar whose low and high enclose its open and close."""
        return is_enclosed(*self.values[:4])

    def take(self, index: "npt.NDArray[np.int64] | Mask | slice") -> "Bars":
        """The bars at ascending places, or where a mask is true."""
        if not isinstance(index, slice) and index.dtype == np.bool_ and index.all():
            return self
        return Bars(self.times[index], self.values[:, index], self.has_volume[index])

    def split(self, labels: npt.NDArray[np.str_]) -> Iterator[tuple[str, "Bars"]]:
        """The runs of bars with equal labels; `labels` has one for each bar."""
        cuts = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1), len(self)] if len(self) else []
        for first, last in pairwise(cuts):
            yield str(labels[first]), self.take(slice(int(first), int(last)))


@dataclass(frozen=True, eq=False)
class Merge:
    """The bars after a merge, and how many of the newer ones were new, different, or known already."""

    bars: Bars
    added: int
    changed: int
    unchanged: int


def merge(older: Bars, newer: Bars) -> Merge:
    """Put the newer bars into the older ones; at an equal time the newer bar stands."""
    if not len(older):
        return Merge(newer, len(newer), 0, 0)
    position = np.searchsorted(older.times, newer.times)
    known = position < len(older)
    known[known] = older.times[position[known]] == newer.times[known]
    at = position[known]
    same = (older.values[:, at] == newer.values[:, known]).all(axis=0)
    same &= older.has_volume[at] == newer.has_volume[known]
    added, changed = int((~known).sum()), int((~same).sum())
    if not added and not changed:
        return Merge(older, 0, 0, len(newer))
    # Only the stretch that the newer bars reach into is rebuilt; what lies before and after is copied as it is.
    start, end = int(position[0]), int(position[-1]) + int(known[-1])
    values, has_volume = older.values[:, start:end].copy(), older.has_volume[start:end].copy()
    values[:, at - start] = newer.values[:, known]
    has_volume[at - start] = newer.has_volume[known]
    where, new = position[~known] - start, ~known
    stretch = Bars(
        np.insert(older.times[start:end], where, newer.times[new]),
        np.insert(values, where, newer.values[:, new], axis=1),
        np.insert(has_volume, where, newer.has_volume[new]),
    )
    bars = joined(older.take(slice(0, start)), stretch, older.take(slice(end, None)))
    return Merge(bars, added, changed, len(newer) - added - changed)


def joined(*parts: Bars) -> Bars:
    """The bars of all parts, which follow each other in time."""
    if len(parts) == 1:
        return parts[0]
    parts = parts or (Bars.none(),)
    return Bars(
        np.concatenate([each.times for each in parts]),
        np.concatenate([each.values for each in parts], axis=1),
        np.concatenate([each.has_volume for each in parts]),
    )


def check_bars(table: pa.Table) -> Bars:
    """Return the table's bars sorted by time; of several at one time the last row stands.

    Types that cast without loss to `BAR_SCHEMA` are taken. Raises BadBarsError for the first thing that is wrong.
    """
    expected, given = set(BAR_SCHEMA.names), table.column_names
    for name in [*given, *BAR_SCHEMA.names]:
        if name not in expected:
            raise BadBarsError(name, None, f"not a column of a bar; expected {', '.join(BAR_SCHEMA.names)}")
        if given.count(name) != 1:
            raise BadBarsError(name, None, "missing" if name not in given else "given more than once")
    times = _checked_times(table.column("timestamp"))
    values = np.empty((5, len(times)))
    for row, name in enumerate(PRICES):
        column = table.column(name)
        _refuse_first(name, ~_is_valid(column), "null; a bar has all four prices")
        values[row] = _checked_numbers(name, column)
    volume = table.column("volume")
    values[4] = _checked_numbers("volume", volume)
    has_volume = _is_valid(volume)
    if (times[1:] > times[:-1]).all():
        return Bars(times, values, has_volume)
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    order = order[np.r_[ordered[1:] != ordered[:-1], True]]
    return Bars(times[order], values[:, order], has_volume[order])


def ticks_of(column: pa.ChunkedArray) -> Times:
    """The numbers of a column of times without nulls, in its own unit."""
    # A cast takes longer than all that is done with so few numbers; a view is free.
    return numbers_of(pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64()))


def _checked_times(column: pa.ChunkedArray) -> Times:
    kind = column.type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise BadBarsError("timestamp", None, f"type {kind}; expected a timestamp with a time zone")
    _refuse_first("timestamp", ~_is_valid(column), "null")
    ticks = ticks_of(column)
    seconds, rest = np.divmod(ticks, _PER_SECOND[kind.unit])
    _refuse_first("timestamp", rest != 0, "not a whole second")
    _refuse_first("timestamp", (seconds < _EARLIEST_S) | (seconds > _LATEST_S), "not in the years 1 to 9999")
    return seconds


def _checked_numbers(name: str, column: pa.ChunkedArray) -> Values:
    """The column as float64 with 0.0 for null."""
    kind = column.type
    if pa.types.is_integer(kind):
        numbers = numbers_of(column)
        inexact = (numbers > _LARGEST_EXACT) | (numbers < -_LARGEST_EXACT)
        _refuse_first(name, inexact, "an integer that float64 cannot hold exactly")
        return np.asarray(numbers, np.float64)
    if not (pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise BadBarsError(name, None, f"type {kind}; expected a number")
    numbers = column if kind == pa.float64() else column.cast(pa.float64())
    values: Values = numbers_of(numbers)
    _refuse_first(name, ~np.isfinite(values), "not a finite number")
    return values


def _is_valid(column: pa.ChunkedArray) -> Mask:
    """True where there is a value."""
    return mask_of(column.is_valid()) if column.null_count else np.ones(len(column), np.bool_)


def _refuse_first(name: str, bad: Mask, reason: str) -> None:
    if bad.any():
        raise BadBarsError(name, int(np.argmax(bad)), reason)
