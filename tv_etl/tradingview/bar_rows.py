"""Bars as columns: one array from the packet on, that reads like the list of rows that the wire had.

No object, list or tuple per bar, because Python's collector would walk every one of them for as long as it lives.
Knows what a row is (PROTOCOL.md §5.1), and neither packets nor requests.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COLUMNS = 6  # time, open, high, low, close, volume


class BarRows(Sequence[list[float]]):
    """Rows `[time, open, high, low, close]`, or with the volume behind, as an array `values` of n x 6.

    NaN stands where a row has no volume: the wire, being JSON, has none. Equal to a list of the same rows.
    """

    __slots__ = ("values",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Floats) -> None:
        self.values = values

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> "BarRows":
        """The rows as columns, which they may be already."""
        if isinstance(rows, BarRows):
            return rows
        full = (row if len(row) == COLUMNS else (*row, math.nan) for row in rows)
        return cls(np.fromiter(chain.from_iterable(full), np.float64, len(rows) * COLUMNS).reshape(-1, COLUMNS))

    @property
    def times(self) -> Floats:
        """The opens, in UTC seconds."""
        times: Floats = self.values[:, 0]
        return times

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> list[float]: ...
    @overload
    def __getitem__(self, index: slice) -> "BarRows": ...
    def __getitem__(self, index: "int | slice") -> "list[float] | BarRows":
        if isinstance(index, slice):
            return BarRows(self.values[index])
        return as_sent(self.values[index].tolist())

    def __iter__(self) -> Iterator[list[float]]:
        return map(as_sent, self.values.tolist())

    def __eq__(self, other: object) -> Any:
        if isinstance(other, BarRows):
            return np.array_equal(self.values, other.values, equal_nan=True)
        return list(self) == list(other) if isinstance(other, list | tuple) else NotImplemented

    def __repr__(self) -> str:
        return f"BarRows({list(self)!r})"


def ascending(values: Floats) -> Floats:
    """The bars in the order of their times; of several at one time the last."""
    times = values[:, 0]
    if (times[1:] > times[:-1]).all():
        return values
    values = values[np.argsort(times, kind="stable")]
    last: Floats = values[np.append(values[1:, 0] != values[:-1, 0], True)]
    return last


def as_sent(row: list[float]) -> list[float]:
    """A row of six values as the wire had it: of five where there is no volume."""
    return row if row[-1] == row[-1] else row[:-1]
