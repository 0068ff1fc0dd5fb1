"""Sealed Parquet: any reader reads it, and no damage passes for data."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.sealed import encode_sealed, open_sealed, open_sealed_footer

TABLE = pa.table({"number": list(range(500)), "text": [f"row {number}" for number in range(500)]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.parquet"
    path.write_bytes(encode_sealed(TABLE, compression="zstd"))
    return path


def test_what_was_sealed_is_read_back(path: Path) -> None:
    with open_sealed(path.read_bytes(), str(path)) as file:
        assert file.read().equals(TABLE)
    content = path.read_bytes()
    with open_sealed_footer(content[-2000:], len(content), str(path)) as file:
        assert file.metadata.num_rows == 500
    assert pq.read_table(path).equals(TABLE), "other readers do not mind the seal"


def test_no_flipped_bit_is_read(path: Path) -> None:
    whole = path.read_bytes()
    dice = random.Random(3)
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError, match=path.name), open_sealed(path.read_bytes(), str(path)):
            pass


def test_a_file_without_a_seal_is_foreign(path: Path) -> None:
    pq.write_table(TABLE, path)
    with pytest.raises(DamagedFileError, match="it has no seal"), open_sealed(path.read_bytes(), str(path)):
        pass


def test_what_a_reader_chokes_on_is_damage(path: Path) -> None:
    with pytest.raises(DamagedFileError, match=path.name), open_sealed(path.read_bytes(), str(path)) as file:
        file.read_row_group(7)
