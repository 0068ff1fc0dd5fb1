import random
import zlib
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.arrivals import decode_arrivals
from tv_etl.lake.bar_file import Footer, encode_bars, grows_larger, read_bars, read_footer
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.sealed import TAIL_BYTES
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series

AAPL = Series.of("NASDAQ:AAPL", "1m")
FACTS = {"source": "tradingview", "adjustment": "splits"}


def some_bars(count: int) -> Bars:
    prices = np.round(100 + np.cumsum(np.random.default_rng(1).normal(0, 0.1, (5, count)), axis=1), 2)
    return Bars(1_760_000_000 + 60 * np.arange(count), prices, np.arange(count) % 7 != 0).between(None, None)


def bars_in(path: Path, series: Series) -> Bars:
    return read_bars(path.read_bytes(), str(path), series)[0]


def footer_of(path: Path, series: Series) -> Footer:
    content = path.read_bytes()
    return read_footer(content[-TAIL_BYTES:], len(content), str(path), series)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "2025-10.parquet"
    path.write_bytes(encode_bars(some_bars(600), AAPL, FACTS))
    return path


def test_a_file_gives_back_its_bars_and_facts(path: Path) -> None:
    assert bars_in(path, AAPL).to_table().equals(some_bars(600).to_table())
    footer = footer_of(path, AAPL)
    assert (footer.rows, footer.first_s, footer.last_s) == (600, 1_760_000_000, 1_760_000_000 + 599 * 60)
    assert footer.bytes == path.stat().st_size
    assert footer.facts == FACTS


def test_equal_bars_give_equal_bytes() -> None:
    assert encode_bars(some_bars(600), AAPL, FACTS) == encode_bars(some_bars(600), AAPL, FACTS)
    stamped = bytes(encode_bars(some_bars(600), AAPL, FACTS, b"stamp"))
    assert stamped != encode_bars(some_bars(600), AAPL, FACTS, b"other")
    assert read_bars(stamped, "stamped", AAPL)[0].to_table().equals(some_bars(600).to_table())
    assert pq.read_table(pa.BufferReader(stamped)).equals(some_bars(600).to_table())


def test_when_bars_came_is_seen_by_nobody_else(tmp_path: Path) -> None:
    bars, path = some_bars(600), tmp_path / "2025-10.parquet"
    came_at = np.repeat(np.array([5, 7, 6]) * 1_000_000, [100, 300, 200])
    path.write_bytes(encode_bars(bars, AAPL, FACTS, b"stamp", came_at=came_at))
    found, block = read_bars(path.read_bytes(), str(path), AAPL)
    assert decode_arrivals(block, len(found), "").tolist() == came_at.tolist()
    assert footer_of(path, AAPL).facts == FACTS
    for table in (
        pq.read_table(path),
        pl.read_parquet(path).to_arrow(),
        duckdb.read_parquet(str(path)).to_arrow_table(),
    ):
        assert table.column_names == BAR_SCHEMA.names
        assert table["close"].to_pylist() == bars.values[3].tolist()
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(block) + 20] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedFileError, match="its data fail the checksum"):
        bars_in(path, AAPL)


def test_files_are_encoded_as_measured_best(tmp_path: Path) -> None:
    path = tmp_path / "2025.parquet"
    path.write_bytes(encode_bars(some_bars(100_000), AAPL, FACTS))
    metadata = pq.read_metadata(path)
    group = metadata.row_group(0)
    assert (metadata.num_row_groups, group.num_rows) == (2, 65_536)
    assert "DELTA_BINARY_PACKED" in group.column(0).encodings
    assert not group.column(0).has_dictionary_page
    assert {group.column(index).compression for index in range(6)} == {"ZSTD"}
    assert group.sorting_columns == (pq.SortingColumn(0),)
    assert footer_of(path, AAPL).rows == 100_000
    assert path.stat().st_size < 0.8 * size_with_defaults(path, tmp_path / "default.parquet")


def test_a_large_file_that_grows_is_written_with_lz4(tmp_path: Path) -> None:
    path, bars = tmp_path / "2025-10.parquet", some_bars(5_000)
    path.write_bytes(encode_bars(bars, AAPL, FACTS, is_growing=True))
    group = pq.read_metadata(path).row_group(0)
    assert [group.column(index).compression for index in range(6)] == ["LZ4"] * 5 + ["UNCOMPRESSED"]
    assert bars_in(path, AAPL).to_table().equals(bars.to_table())
    assert grows_larger(bars) and path.stat().st_size > len(encode_bars(bars, AAPL, FACTS))


def test_a_small_file_is_no_larger_while_it_grows() -> None:
    assert encode_bars(some_bars(500), AAPL, FACTS, is_growing=True) == encode_bars(some_bars(500), AAPL, FACTS)
    assert not grows_larger(some_bars(500))


def test_only_numbers_that_come_again_have_a_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "2025-10.parquet"
    bars = some_bars(600)
    for values, expected in ((bars.values, []), (np.round(bars.values), [1, 2, 3, 4, 5])):
        path.write_bytes(encode_bars(Bars(bars.times, values, bars.has_volume), AAPL, FACTS))
        group = pq.read_metadata(path).row_group(0)
        assert [index for index in range(6) if group.column(index).has_dictionary_page] == expected


def size_with_defaults(path: Path, other: Path) -> int:
    pq.write_table(pq.read_table(path), other)
    return other.stat().st_size


def test_other_readers_do_not_mind_the_seal(path: Path) -> None:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read()
    assert table.equals(some_bars(600).to_table())
    assert table.schema.metadata[b"tv_etl.source"] == b"tradingview"


def test_every_truncation_is_damage(path: Path) -> None:
    whole = path.read_bytes()
    for part in range(64):
        path.write_bytes(whole[: len(whole) * part // 64])
        for read in (bars_in, footer_of):
            with pytest.raises(DamagedFileError, match=path.name):
                read(path, AAPL)


def test_no_flipped_bit_gives_other_bars(path: Path) -> None:
    """Some of them would abort the process inside pyarrow."""
    whole = path.read_bytes()
    dice = random.Random(7)
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError):
            bars_in(path, AAPL)
    footer_bytes = int.from_bytes(whole[-8:-4], "little") + 8
    for position in range(len(whole) - footer_bytes, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 16
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError):
            footer_of(path, AAPL)


def test_a_file_of_another_series_is_damage(path: Path) -> None:
    for read in (bars_in, footer_of):
        with pytest.raises(DamagedFileError, match="holds the bars of 'NASDAQ:AAPL' '1m'"):
            read(path, Series.of("NASDAQ:MSFT", "1m"))


def test_a_foreign_file_is_damage(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)
    for read in (bars_in, footer_of):
        with pytest.raises(DamagedFileError, match="not written by tv_etl"):
            read(path, AAPL)


def sealed_again(content: bytes) -> bytes:
    footer = content[-8 - int.from_bytes(content[-8:-4], "little") :]
    body = content[: len(content) - len(footer) - 12]
    return body + b"tvE1" + zlib.crc32(body).to_bytes(4, "little") + zlib.crc32(footer).to_bytes(4, "little") + footer


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    content = path.read_bytes()
    assert sealed_again(content) == content
    key = b"tv_etl.schema_version\x18\x01"  # then a Thrift string of one byte
    path.write_bytes(sealed_again(content.replace(key + b"1", key + b"2")))
    for read in (bars_in, footer_of):
        with pytest.raises(NewerFormatError, match="schema version 2, known is 1"):
            read(path, AAPL)


def test_unordered_bars_are_damage(path: Path) -> None:
    bars = some_bars(3)
    path.write_bytes(encode_bars(Bars(bars.times[::-1].copy(), bars.values, bars.has_volume), AAPL, FACTS))
    with pytest.raises(DamagedFileError, match="ascending"):
        bars_in(path, AAPL)


def test_the_schema_says_what_may_be_null() -> None:
    assert {field.name for field in BAR_SCHEMA if field.nullable} == {"volume"}
