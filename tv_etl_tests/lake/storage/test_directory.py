"""A lake in a directory; its commits are tested in test_journal, what the store makes of it in test_store."""

import json
import threading
from pathlib import Path

import pytest

from tv_etl.lake.errors import StoreReadError
from tv_etl.lake.storage.directory import DirectoryFiles, DirectoryStorage
from tv_etl.lake.storage.files import Snapshot, Transaction
from tv_etl.lake.storage.void import VOID_BYTES, void
from tv_etl_tests.patience import HANG_S, wait_until

DATA = "ohlcv/interval=1m/symbol=X"
RECORD = ".tv_etl/1m/X/series.json"


def lake_in(directory: Path) -> DirectoryStorage:
    return DirectoryStorage(directory, lock_timeout_s=HANG_S)


def put(files: DirectoryFiles, **content: bytes) -> None:
    def write(transaction: Transaction) -> None:
        for name, each in content.items():
            transaction.stage(f"{DATA}/{name}.parquet", each)
        transaction.stage(RECORD, b'{"files": %d}' % len(content))
        transaction.publish()

    files.writing(write)


def test_what_was_published_is_what_a_snapshot_holds(tmp_path: Path) -> None:
    files = lake_in(tmp_path).files("1m", "X")
    assert not files.is_stored
    put(files, one=b"0123456789", two=b"")
    assert files.is_stored

    def look(snapshot: Snapshot) -> None:
        assert snapshot.data_names() == [f"{DATA}/one.parquet", f"{DATA}/two.parquet"]
        assert (snapshot.read(f"{DATA}/one.parquet"), snapshot.read(f"{DATA}/three.parquet")) == (b"0123456789", None)
        record = snapshot.read(RECORD)
        assert record is not None and json.loads(record)["files"] == 2
        assert snapshot.read_tail(f"{DATA}/one.parquet", 3) == (b"789", 10)
        assert snapshot.read_tail(f"{DATA}/one.parquet", 30) == (b"0123456789", 10)
        with pytest.raises(StoreReadError, match="No such file"):
            snapshot.read_tail(f"{DATA}/three.parquet", 3)
        with pytest.raises(StoreReadError, match="directory"):
            snapshot.read(DATA)

    files.reading(look)


def test_the_lake_knows_its_intervals_and_series(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    assert (lake.interval_tokens(), lake.stored_segments("1m")) == ([], [])
    put(lake.files("1m", "X"), one=b"")
    (tmp_path / "ohlcv" / "interval=1m" / "symbol=EMPTY").mkdir()
    (tmp_path / "ohlcv" / "notes").mkdir()
    assert (lake.interval_tokens(), lake.stored_segments("1m")) == (["1m"], ["X"])
    assert lake.address(DATA) == f"{tmp_path}/{DATA}"


def test_a_void_that_a_copy_of_a_bucket_brought_along_is_no_file(tmp_path: Path) -> None:
    lake, content = lake_in(tmp_path), bytes(void(bytes(16)))
    for name in (f"{DATA}/one.parquet", f"{DATA}/two.parquet", ".tv_etl/1m/X/log.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def look(snapshot: Snapshot) -> tuple[list[str], list[bytes | None]]:
        names = [f"{DATA}/one.parquet", f"{DATA}/two.parquet", ".tv_etl/1m/X/log.parquet"]
        return snapshot.data_names(), [snapshot.read(name) for name in names]

    files = lake.files("1m", "X")
    assert (files.is_stored, lake.stored_segments("1m"), lake.twins("1m", "x")) == (False, [], [])
    assert files.reading(look) == ([], [None, None, None])
    put(files, one=b"bars")
    assert (files.is_stored, lake.stored_segments("1m"), lake.twins("1m", "x")) == (True, ["X"], ["X"])
    assert files.reading(look) == ([f"{DATA}/one.parquet"], [b"bars", None, None])


def test_a_file_that_only_has_the_size_of_a_void_is_a_file(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    put(lake.files("1m", "X"), one=bytes(VOID_BYTES))
    assert lake.stored_segments("1m") == ["X"]
    names = lake.files("1m", "X").reading(lambda snapshot: snapshot.data_names())
    assert names == [f"{DATA}/one.parquet"]


@pytest.mark.parametrize(("segment", "other"), [("X%3AAB", "x%3AAb"), ("%C3%84", "%C3%A4"), ("K", "%E2%84%AA")])
def test_a_twin_that_is_still_being_made_is_waited_for(tmp_path: Path, segment: str, other: str) -> None:
    lake, is_begun, found = lake_in(tmp_path), threading.Event(), list[str]()
    looking = threading.Thread(target=lambda: found.extend(lake.twins("1m", other)))

    def make(transaction: Transaction) -> None:
        is_begun.set()
        wait_until(looking.is_alive, "somebody looks for twins")
        transaction.stage(f"ohlcv/interval=1m/symbol={segment}/all.parquet", b"")
        transaction.publish()

    making = threading.Thread(target=lake.files("1m", segment).writing, args=(make,))
    making.start()
    assert is_begun.wait(HANG_S)
    looking.start()
    making.join()
    looking.join()
    assert found == [segment]
    assert lake.twins("1m", f"{other}C") == []
