"""When each bar of a data file came into the lake, beside its bars in the same file; pure.

The file's readers never see it: it is a block of bytes before the seal, and the footer says how long it is. So what
came when changes in the same commit as what came, at no further file. Bars that came together follow each other in
time, so the block holds runs: a small Parquet table of how many bars came, and when (microseconds UTC). One that came
before arrivals were kept has 0.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tv_etl.lake.bars import Times
from tv_etl.lake.errors import DamagedFileError
from tv_etl.tradingview.columns import column_of, numbers_of

_SCHEMA = pa.schema([pa.field("bars", pa.int32(), nullable=False), pa.field("came_at", pa.int64(), nullable=False)])
# Measured with a month of minutes that came five at a time: 26 KB beside 1 MB of bars, and a third of a millisecond.
_FORMAT: dict[str, Any] = {
    "compression": "none",
    "use_dictionary": False,
    "column_encoding": dict.fromkeys(_SCHEMA.names, "DELTA_BINARY_PACKED"),
    "write_statistics": False,
}


def encode_arrivals(came_at: Times) -> bytes:
    """The block of a file whose bars came at these times (microseconds UTC), one for each."""
    starts = np.flatnonzero(np.diff(came_at, prepend=-1))
    lengths = np.diff(starts, append=len(came_at)).astype(np.int32)
    columns = [column_of(lengths, pa.int32()), column_of(came_at[starts], pa.int64())]
    table = pa.Table.from_arrays(columns, schema=_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **_FORMAT)
    return bytes(sink.getvalue())


def decode_arrivals(block: bytes, rows: int, path: str) -> Times:
    """When each of so many bars came. Raises DamagedFileError for a block that is not theirs."""
    if not block:
        return np.zeros(rows, np.int64)
    try:
        # Not read_table: to plan a dataset of one block takes ten times as long as to read it.
        table = pq.ParquetFile(pa.BufferReader(block)).read(use_threads=False)
        came_at = np.repeat(numbers_of(table["came_at"]), numbers_of(table["bars"]))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedFileError(path, f"its arrivals cannot be read: {error}") from error
    if len(came_at) != rows:
        raise DamagedFileError(path, f"it has arrivals of {len(came_at)} bars, and {rows} bars")
    return np.asarray(came_at, np.int64)


def merged_arrivals(known: Times, came_at: Times, after: Times, now_us: int) -> Times:
    """When the bars at `after` came: those at the `known` times when they did, all others now."""
    if len(known) and after[len(known) - 1] == known[-1]:  # all that is new is behind
        return np.concatenate([came_at, np.full(len(after) - len(known), now_us, np.int64)])
    arrivals = np.full(len(after), now_us, np.int64)
    arrivals[np.searchsorted(after, known)] = came_at
    return arrivals
