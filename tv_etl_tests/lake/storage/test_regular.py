"""A lake that somebody else has written into: nothing hangs, fills memory, or is written outside."""

import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.lake.errors import BarStoreError, DamagedFileError, StoreReadError, StoreWriteError
from tv_etl.lake.storage.regular import MAX_BYTES, open_regular, read_regular, require_inside
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA

SYMBOL, OWN, DATA = "X:Y", ".tv_etl/1m/X%3AY", "ohlcv/interval=1m/symbol=X%3AY"


def one_bar(minute: int) -> pa.Table:
    columns = {"timestamp": [datetime(2026, 11, 2, 10, minute, tzinfo=timezone.utc)]}
    columns |= {name: [1.0] for name in BAR_SCHEMA.names[1:]}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    store = BarStore(tmp_path / "lake", lock_timeout_s=1.0)
    store.upsert(SYMBOL, "1m", one_bar(0))
    return store


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


FOREIGN: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "is not a regular file"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link"),
    "secret": (lambda path: path.symlink_to("/etc/hostname"), "is a symbolic link"),
    "huge": (sparse, "bytes, more than"),
}


@pytest.mark.parametrize("name", ["series.json", "journal.json", "revisions.parquet", "quarantine.parquet", "bars"])
@pytest.mark.parametrize(("make", "words"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_file_of_a_lake_is_named(
    store: BarStore, name: str, make: Callable[[Path], None], words: str
) -> None:
    path = Path(store.base) / (f"{DATA}/2026-11.parquet" if name == "bars" else f"{OWN}/{name}")
    path.unlink(missing_ok=True)
    make(path)
    broken = one_bar(1).set_column(3, BAR_SCHEMA.field("low"), pa.array([9.0]))
    uses: dict[str, Callable[[], object]] = {
        "bars": lambda: store.read(SYMBOL, "1m"),
        "revisions.parquet": lambda: store.revisions(SYMBOL, "1m"),
        # It is read where bars are broken, and then only.
        "quarantine.parquet": lambda: store.upsert(SYMBOL, "1m", broken),
    }
    use = uses.get(name, lambda: store.upsert(SYMBOL, "1m", one_bar(1)))
    with pytest.raises(DamagedFileError, match=words) as caught:
        use()
    assert name.removesuffix("bars") in str(caught.value)


def test_a_lock_that_is_a_pipe_is_an_error(store: BarStore) -> None:
    lock = Path(store.base) / OWN / "lock"
    lock.unlink()
    os.mkfifo(lock)
    for use in (lambda: store.read(SYMBOL, "1m"), lambda: store.upsert(SYMBOL, "1m", one_bar(1))):
        with pytest.raises(BarStoreError, match="not a regular file"):
            use()


@pytest.mark.parametrize("name", ["series.json", "journal.json"])
@pytest.mark.parametrize("text", ["[" * 200_000, '{"facts":' * 200_000], ids=["lists", "objects"])
def test_json_that_is_nested_too_deep_is_damage(store: BarStore, name: str, text: str) -> None:
    (Path(store.base) / OWN / name).write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=name):
        store.record(SYMBOL, "1m")


def test_no_journal_writes_outside_the_lake(store: BarStore, tmp_path: Path) -> None:
    """Somebody who may write into the lake has put a link there, and a journal that goes through it."""
    (tmp_path / "home").mkdir()
    victim = tmp_path / "home" / "config"
    victim.write_text("mine", encoding="utf-8")
    own, temporary = Path(store.base) / OWN, "0" * 32
    (own / temporary).write_text("theirs", encoding="utf-8")
    (Path(store.base) / "ohlcv" / "way").symlink_to(victim.parent)
    journal = {"version": 1, "moves": [[temporary, "ohlcv/way/config"]]}
    (own / "journal.json").write_text(json.dumps({"journal": journal}), encoding="utf-8")
    with pytest.raises(StoreWriteError, match="leads out of the lake"):
        store.read(SYMBOL, "1m")
    assert victim.read_text(encoding="utf-8") == "mine"


def test_no_commit_writes_through_a_link_out_of_the_lake(store: BarStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (Path(store.base) / "ohlcv/interval=1m/symbol=X%3AZ").symlink_to(outside)
    with pytest.raises(StoreWriteError, match=r"symbol=X%3AZ: leads out of the lake, to .*outside"):
        store.upsert("X:Z", "1m", one_bar(0))
    assert list(outside.iterdir()) == []


def test_a_lake_may_itself_be_behind_a_link(store: BarStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.base)
    assert BarStore(tmp_path / "link").upsert(SYMBOL, "1m", one_bar(1)).rows == 2


def test_a_regular_file_is_read_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content"
    assert read_regular(tmp_path / "nothing") is None
    with pytest.raises(StoreReadError, match="Is a directory"):
        open_regular(tmp_path)


def test_what_lies_inside_need_not_exist(tmp_path: Path) -> None:
    require_inside([tmp_path, tmp_path / "a" / "b"], tmp_path)
    with pytest.raises(StoreWriteError, match="leads out"):
        require_inside([tmp_path / ".." / "b"], tmp_path)
