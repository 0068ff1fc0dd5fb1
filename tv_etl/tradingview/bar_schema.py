"""The columns of a table of bars, on the wire's side and in the lake alike."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tv_etl.tradingview.columns import column_of

# `timestamp` is the open of the bar. A bar without a price is no bar; one without volume is of an index or a
# currency pair.
BAR_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64()),
    ]
)

# The day that a bar belongs to by its symbol's own trading hours, whatever date it is in UTC when the bar opens; null
# where the hours are not known.
TRADING_DAY: Final = pa.field("trading_day", pa.date32())

# Bars of several series in one table.
LABELLED_SCHEMA: Final = pa.schema(
    [pa.field("symbol", pa.string(), nullable=False), pa.field("interval", pa.string(), nullable=False), *BAR_SCHEMA]
)


def table_of_bars(
    times_us: npt.NDArray[np.int64], values: npt.NDArray[np.float64], has_volume: npt.NDArray[np.bool_]
) -> pa.Table:
    """Columns of numpy as a table of BAR_SCHEMA; `values` has a row each for open, high, low, close and volume.

    The table shares the memory of what it is given.
    """
    arrays = [
        column_of(numbers, field.type, has_volume if field.nullable else None)
        for field, numbers in zip(BAR_SCHEMA, [times_us, *values], strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=BAR_SCHEMA)
