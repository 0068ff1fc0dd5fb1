"""A void: a Parquet file without bars, which is told from any file with bars."""

import io
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.bar_file import encode_bars
from tv_etl.lake.bars import Bars
from tv_etl.lake.storage.void import VOID_BYTES, is_void, void
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series


def one_bar() -> bytes:
    columns = {"timestamp": [datetime(2026, 11, 2, tzinfo=timezone.utc)]} | {
        name: [1.0] for name in BAR_SCHEMA.names[1:]
    }
    return bytes(encode_bars(Bars.from_stored(pa.table(columns, schema=BAR_SCHEMA)), Series.of("A:B", "1d"), {}))


@pytest.mark.parametrize("stamp", [b"", bytes(16), b"\xff" * 16])
def test_a_void_has_the_columns_of_bars_and_always_the_same_size(stamp: bytes) -> None:
    content = bytes(void(stamp))
    assert (len(content), is_void(content), stamp in content) == (VOID_BYTES, True, True)
    table = pq.read_table(io.BytesIO(content))
    assert (table.schema.equals(BAR_SCHEMA), table.num_rows) == (True, 0)
    assert bytes(void(stamp)) == content


def test_voids_of_two_commits_differ() -> None:
    assert void(b"a" * 16) != void(b"b" * 16)


@given(
    rows=st.integers(1, 700),
    distinct=st.integers(1, 700),
    volume=st.sampled_from([None, 0.0, 1e9]),
    facts=st.dictionaries(st.sampled_from(["source", "currency", "tv_etl: void\n"]), st.text(max_size=20)),
    stamp=st.sampled_from([b"", b"tv_etl: void\n", bytes(void(b""))]),
    has_arrivals=st.booleans(),
    is_growing=st.booleans(),
)
def test_no_file_with_bars_is_taken_for_a_void(
    rows: int,
    distinct: int,
    volume: float | None,
    facts: dict[str, str],
    stamp: bytes,
    has_arrivals: bool,
    is_growing: bool,
) -> None:
    opens = np.arange(rows, dtype=np.int64) * 60
    prices = np.arange(rows) % distinct + 1.0
    columns = {name: pa.array(prices) for name in BAR_SCHEMA.names[1:5]}
    columns["volume"] = pa.array([volume] * rows, pa.float64())
    times = pa.array(opens * 1_000_000).cast(BAR_SCHEMA.field(0).type)
    bars = Bars.from_stored(pa.table({"timestamp": times, **columns}, schema=BAR_SCHEMA))
    came_at = opens if has_arrivals else None
    content = encode_bars(bars, Series.of("A", "1m"), facts, stamp, came_at=came_at, is_growing=is_growing)
    assert len(content) > 1.5 * VOID_BYTES
    assert not is_void(bytes(content))


def test_no_file_of_whole_blocks_has_the_size_of_a_void() -> None:
    assert VOID_BYTES % 512
    assert not is_void(bytes(VOID_BYTES))


@pytest.mark.parametrize("is_first", [True, False])
def test_the_engines_that_read_a_lake_find_no_bar_in_a_void(tmp_path: Path, is_first: bool) -> None:
    for symbol, content in (("M", one_bar()), ("A" if is_first else "Z", bytes(void(bytes(16))))):
        directory = tmp_path / f"ohlcv/interval=1d/symbol={symbol}"
        directory.mkdir(parents=True)
        (directory / "all.parquet").write_bytes(content)
    root = str(tmp_path / "ohlcv")
    files = f"read_parquet('{root}/**/*.parquet', hive_partitioning = true)"
    assert duckdb.connect().execute(f"SELECT symbol, close FROM {files}").fetchall() == [("M", 1.0)]
    assert pl.scan_parquet(root, hive_partitioning=True).select("symbol", "close").collect().rows() == [("M", 1.0)]
    assert ds.dataset(root, partitioning="hive").to_table()["symbol"].to_pylist() == ["M"]
    assert list(pd.read_parquet(root)["symbol"]) == ["M"]
