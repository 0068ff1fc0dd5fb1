"""Columns from numpy to Arrow and back, which share their memory.

pa.array, to_numpy and empty_table import pandas wherever it is installed: a fifth of a second and 40 MB.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column_of(numbers: npt.NDArray[Any], kind: pa.DataType, is_valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The numbers as a column of a type that holds each in as many bytes; null where they are not valid."""
    data = np.ascontiguousarray(numbers)
    bitmap = None if is_valid is None or is_valid.all() else pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(data), [bitmap, pa.py_buffer(data)])


def mask_column(mask: npt.NDArray[np.bool_]) -> pa.Array:
    """A mask as a column."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])


def numbers_of(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The numbers of a column, 0 for null; read-only where they are the column's own memory."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if array.null_count:
        filled = pa.Array.from_buffers(array.type, len(array), [None, array.buffers()[1]], offset=array.offset)
        return np.where(_truth(array.is_valid()), np.from_dlpack(filled), array.type.to_pandas_dtype()(0))
    numbers = np.from_dlpack(array)
    numbers.flags.writeable = False
    return numbers


def mask_of(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """The truth of each value of a column without nulls."""
    return _truth(column.combine_chunks())


def _truth(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.from_dlpack(array.cast(pa.uint8())).view(np.bool_)


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table of the schema without rows."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
