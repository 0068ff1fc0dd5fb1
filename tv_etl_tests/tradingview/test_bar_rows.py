"""Columns read like the rows that the wire had."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.bar_rows import BarRows, ascending

pytestmark = pytest.mark.pure

PLAIN, FULL = [60.0, 1.0, 2.0, 0.5, 1.5], [120.0, 1.0, 2.0, 0.5, 1.5, 7.0]

ROWS = st.lists(st.lists(st.floats(-1e9, 1e9), min_size=5, max_size=6), max_size=20)


@given(ROWS, st.integers(-20, 20), st.integers(-20, 20))
def test_columns_are_equal_to_their_rows_and_to_every_part_of_them(
    rows: list[list[float]], start: int, stop: int
) -> None:
    columns = BarRows.of(rows)
    assert (list(columns), len(columns)) == (rows, len(rows))
    assert columns == rows
    assert columns[start:stop] == rows[start:stop]
    assert [columns[place] for place in range(len(rows))] == rows
    assert columns != [*rows, FULL]
    assert BarRows.of(columns) is columns
    assert columns == BarRows(columns.values.copy())


def test_a_row_without_volume_has_five_values_and_a_sixth_column_that_says_so() -> None:
    columns = BarRows.of([PLAIN, FULL])
    assert (columns[0], columns[-1]) == (PLAIN, FULL)
    assert math.isnan(columns.values[0, 5])
    assert columns.times.tolist() == [60.0, 120.0]
    assert repr(columns) == f"BarRows([{PLAIN}, {FULL}])"
    assert columns != "rows"


def test_an_index_beyond_the_rows_is_an_error() -> None:
    with pytest.raises(IndexError):
        BarRows.of([PLAIN])[1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_of_bars_in_any_order_the_last_of_each_time_remains(sent: list[tuple[int, int]]) -> None:
    values = BarRows.of([[float(time), *[float(price)] * 4] for time, price in sent]).values
    truth = {float(time): float(price) for time, price in sent}
    assert [(row[0], row[1]) for row in BarRows(ascending(values))] == sorted(truth.items())
    assert np.array_equal(ascending(ascending(values)), ascending(values), equal_nan=True)
