"""The revision log and the quarantine of a series."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.logs import (
    QUARANTINE_SCHEMA,
    REVISION_SCHEMA,
    encode_log,
    quarantined,
    read_log,
    revision_rows,
)
from tv_etl.lake.sealed import encode_sealed


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def some_bars(*minutes: int, close: float = 10.0) -> Bars:
    times = 1_760_000_000 + 60 * np.array(minutes, np.int64)
    return Bars(times, np.full((5, len(minutes)), close), np.ones(len(minutes), np.bool_))


def test_a_log_is_read_back_and_empty_where_none_was_written(tmp_path: Path) -> None:
    path = tmp_path / "revisions.parquet"
    assert read_log(content_of(path), str(path), REVISION_SCHEMA).equals(REVISION_SCHEMA.empty_table())
    rows = revision_rows(some_bars(1, 2), some_bars(1, 2, close=11.0), 1_760_003_600.5)
    path.write_bytes(encode_log(rows))
    read = read_log(content_of(path), str(path), REVISION_SCHEMA)
    assert read.equals(rows)
    assert (read["old_close"].to_pylist(), read["close"].to_pylist()) == ([10.0, 10.0], [11.0, 11.0])
    assert read["found_at"][0].as_py().isoformat() == "2025-10-09T09:53:20.500000+00:00"


def test_a_log_of_a_later_version_or_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "revisions.parquet"
    path.write_bytes(encode_log(QUARANTINE_SCHEMA.empty_table()))
    with pytest.raises(DamagedFileError, match="its columns are"):
        read_log(content_of(path), str(path), REVISION_SCHEMA)
    later = REVISION_SCHEMA.empty_table().replace_schema_metadata({"tv_etl.log_version": "2"})
    path.write_bytes(encode_sealed(later))
    with pytest.raises(NewerFormatError, match="log version 2, known is 1"):
        read_log(content_of(path), str(path), REVISION_SCHEMA)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DamagedFileError):
        read_log(content_of(path), str(path), REVISION_SCHEMA)


def test_a_broken_bar_stays_in_quarantine_until_a_sound_one_comes() -> None:
    empty = QUARANTINE_SCHEMA.empty_table()
    assert quarantined(empty, some_bars(1), some_bars(), 0.0) is empty
    first = quarantined(empty, some_bars(1), some_bars(2, 3), 0.0)
    assert first["timestamp"].cast(pa.int64()).to_pylist() == [1_760_000_120_000_000, 1_760_000_180_000_000]
    assert quarantined(first, some_bars(1), some_bars(2, 3), 60.0) is first, "the same again is no news"
    second = quarantined(first, some_bars(3), some_bars(2, close=9.0), 60.0)
    assert (second["close"].to_pylist(), second["found_at"][0].value) == ([9.0], 60_000_000)
