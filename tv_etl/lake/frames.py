"""A scan of the lake as a Polars or pandas data frame, and the files of the lake as a view for DuckDB.

The libraries are the extra `frames`, imported on first use.
"""

import re
import sys
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tv_etl.lake.storage.files import data_directory
from tv_etl.tradingview.bar_schema import LABELLED_SCHEMA
from tv_etl.tradingview.errors import MissingExtraError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

VIEW = "bars"

_DATA_FILES = f"{data_directory('*', '*')}/*.parquet"
_OF_PATTERNS, _LITERALLY = re.compile(r"([*?\[\]])"), r"[\1]"


def polars_frame(bars: Callable[[], pa.RecordBatchReader]) -> "pl.DataFrame":
    """The bars as a Polars frame. Raises MissingExtraError."""
    try:
        import polars as pl
    except ImportError as error:
        raise _missing("Polars") from error
    frame = pl.from_arrow(bars().read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


def pandas_frame(bars: Callable[[], pa.RecordBatchReader]) -> "pd.DataFrame":
    """The bars as a pandas frame, with days as times at midnight. Raises MissingExtraError."""
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise _missing("pandas") from error
    return bars().read_all().to_pandas(date_as_object=False)


def frame_maker(kind: object) -> Callable[[pa.Table], object] | None:
    """What makes a pyarrow.Table, pandas.DataFrame, polars.DataFrame or polars.LazyFrame, whichever `kind` is, of a
    table; a table where it is Any, None where it is anything else.
    """
    if kind in (Any, pa.Table):
        return _as_it_is
    for library, name, make in _FRAMES:
        # Whoever has the type has imported the library.
        if library in sys.modules and kind is getattr(sys.modules[library], name):
            return make
    return None


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


_FRAMES: tuple[tuple[str, str, Callable[[pa.Table], object]], ...] = (
    ("pandas", "DataFrame", lambda table: pandas_frame(table.to_reader)),
    ("polars", "DataFrame", lambda table: polars_frame(table.to_reader)),
    ("polars", "LazyFrame", lambda table: polars_frame(table.to_reader).lazy()),
)


def has_files(directory: str) -> bool:
    """False for a lake in which DuckDB would find nothing to tell columns by."""
    return next(Path(directory).glob(_DATA_FILES), None) is not None


def duckdb_of_files(
    directory: str,
    symbols: Collection[str] | None,
    intervals: Collection[str] | None,
    start: datetime | None,
    end: datetime | None,
) -> "duckdb.DuckDBPyConnection":
    """A connection with a view over the data files of a lake, listed anew by each query. Raises MissingExtraError."""
    connection = _connection()
    from duckdb import ColumnExpression, ConstantExpression

    files = f"{_OF_PATTERNS.sub(_LITERALLY, directory)}/{_DATA_FILES}"
    bars = connection.read_parquet(files, hive_partitioning=True).select(*LABELLED_SCHEMA.names)
    for name, wanted in (("symbol", symbols), ("interval", intervals)):
        if wanted is not None:
            # Of no values, `IN ()` would be no SQL.
            values = [ConstantExpression(each) for each in wanted or ("",)]
            bars = bars.filter(ColumnExpression(name).isin(*values))
    if start is not None:
        bars = bars.filter(ColumnExpression("timestamp") >= ConstantExpression(start))
    if end is not None:
        bars = bars.filter(ColumnExpression("timestamp") < ConstantExpression(end))
    bars.create_view(VIEW)
    return connection


def duckdb_of_scan(bars: Callable[[], pa.RecordBatchReader]) -> "duckdb.DuckDBPyConnection":
    """A connection with a table of the bars and the same columns. Raises MissingExtraError."""
    connection = _connection()
    connection.from_arrow(bars()).select(*LABELLED_SCHEMA.names).create(VIEW)
    return connection


def _connection() -> "duckdb.DuckDBPyConnection":
    try:
        import duckdb
    except ImportError as error:
        raise _missing("DuckDB") from error
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")  # else days begin at this machine's midnight
    return connection


def _missing(library: str) -> MissingExtraError:
    return MissingExtraError(f"{library} is not installed: pip install 'tv-etl[frames]'")
