"""The columns of a table of bars are a promise to every reader of the lake."""

import pyarrow as pa

from tv_etl.tradingview.bar_schema import BAR_SCHEMA


def test_the_columns_are_the_promised_ones() -> None:
    assert BAR_SCHEMA.names == ["timestamp", "open", "high", "low", "close", "volume"]
    assert BAR_SCHEMA.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert [field.name for field in BAR_SCHEMA if field.nullable] == ["volume"]
