"""Numbers from numpy to Arrow and back."""

import numpy as np
import pyarrow as pa
import pytest

from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.columns import column_of, mask_column, mask_of, no_rows, numbers_of

TIME = pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("numbers", "kind", "expected"),
    [
        (np.array([1, -2, 2**60]), TIME, pa.array([1, -2, 2**60], pa.int64()).cast(TIME)),
        (np.array([1.5, np.inf]), pa.float64(), pa.array([1.5, np.inf])),
        (np.array([3, 4], np.int32), pa.date32(), pa.array([3, 4], pa.int32()).cast(pa.date32())),
        (np.array([], np.int64), TIME, pa.array([], TIME)),
        (np.arange(12.0)[::3], pa.float64(), pa.array([0.0, 3.0, 6.0, 9.0])),
    ],
)
def test_a_column_is_what_pyarrow_would_make(numbers: np.ndarray, kind: pa.DataType, expected: pa.Array) -> None:
    column = column_of(numbers, kind)
    column.validate(full=True)
    assert column.equals(expected)


def test_what_is_not_valid_is_null() -> None:
    is_valid = np.arange(19) % 3 == 0
    column = column_of(np.arange(19.0), pa.float64(), is_valid)
    column.validate(full=True)
    assert column.to_pylist() == [float(number) if number % 3 == 0 else None for number in range(19)]
    assert column_of(np.arange(3.0), pa.float64(), np.ones(3, np.bool_)).null_count == 0


@pytest.mark.parametrize("count", [0, 1, 8, 17])
def test_a_mask_comes_back(count: int) -> None:
    mask = np.arange(count) % 3 == 1
    column = mask_column(mask)
    assert column.to_pylist() == mask.tolist()
    assert mask_of(pa.chunked_array([column])).tolist() == mask.tolist()
    assert mask_of(pa.chunked_array([column]).slice(min(1, count))).tolist() == mask.tolist()[1:]


@pytest.mark.parametrize("chunks", [[], [[1, 2, 3]], [[1], [], [2, 3]], [[0, 1, 2, 3, 4]]])
def test_numbers_come_from_any_number_of_chunks(chunks: list[list[int]]) -> None:
    column = pa.chunked_array([pa.array(chunk, pa.int64()) for chunk in chunks], pa.int64())
    expected = [number for chunk in chunks for number in chunk]
    assert numbers_of(column).tolist() == expected
    assert numbers_of(column.slice(1)).tolist() == expected[1:]


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.int32(), pa.uint8()])
def test_null_is_0(kind: pa.DataType) -> None:
    column = pa.chunked_array([[5, None], [None, 7, 8]], kind)
    assert numbers_of(column).tolist() == [5, 0, 0, 7, 8]
    assert numbers_of(column.slice(1, 3)).tolist() == [0, 0, 7]
    assert numbers_of(column).dtype == numbers_of(column.drop_null()).dtype
    assert numbers_of(pa.chunked_array([pa.nulls(2)]).cast(kind)).tolist() == [0, 0]


def test_numbers_that_are_a_column_s_own_cannot_be_changed() -> None:
    numbers = numbers_of(pa.chunked_array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 3.0


def test_a_table_without_rows_has_its_schema() -> None:
    assert no_rows(BAR_SCHEMA).equals(BAR_SCHEMA.empty_table())
