"""A series that is removed: at once, for good, on record, and whatever instant it is killed at."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.lake.chronicle import REMOVED, chronicle
from tv_etl.lake.errors import NewerFormatError, StoreWriteError
from tv_etl.lake.record import Removal
from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl.lake.written import Writer
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series
from tv_etl_tests.lake_files import files_of

START = datetime(2026, 10, 31, 23, 50, tzinfo=timezone.utc)
AT = 1_800_000_000.0
OWN = ".tv_etl/1m/X%3AA"
LEFT = [f"{OWN}/series.json"]


def bars(close: float, count: int = 20) -> pa.Table:
    """Of two months."""
    columns: dict[str, list[object]] = {"timestamp": [START + timedelta(minutes=number) for number in range(count)]}
    columns |= {name: [close] * count for name in BAR_SCHEMA.names[1:]}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


def lake(base: str | Path) -> BarStore:
    """Two series of a symbol, the one with a log of revisions, and one of another symbol."""
    store = BarStore(base, clock=lambda: AT, writer=Writer("tv-etl", "host"))
    store.upsert("X:A", "1m", bars(1.0))
    revised = bars(1.0).to_pydict()
    revised["volume"][-1] = 5.0
    store.upsert("X:A", "1m", pa.table(revised, schema=bars(1.0).schema))
    assert len(store.revisions("X:A", "1m")) == 1
    store.upsert("X:A", "1h", bars(2.0, 1))
    store.upsert("X:B", "1m", bars(3.0))
    return store


def of_series(store: BarStore) -> list[str]:
    return [name for name in files_of(store).names() if "1m/" in name and "X%3AA" in name]


def test_a_removed_series_is_gone_with_its_logs_and_no_other_is(tmp_path: Path) -> None:
    store = lake(tmp_path)
    others = [each for each in store.series() if each != Series.of("X:A", "1m")]
    assert store.remove("X:A", "1m") == Removal(AT, 20, "tv-etl on host")
    assert store.series() == others
    assert (len(store.read("X:A", "1m")), len(store.revisions("X:A", "1m"))) == (0, 0)
    assert of_series(store) == LEFT
    assert store.remove("X:A", "1m") is None
    assert store.scan().read_all().num_rows == 21
    assert not any(each.findings for each in verify(store))


def test_a_removal_stays_on_record_when_the_series_is_stored_anew(tmp_path: Path) -> None:
    store = lake(tmp_path)
    removal = store.remove("X:A", "1m")
    store.upsert("X:A", "1m", bars(9.0))
    assert store.record("X:A", "1m").removals == (removal,)
    assert store.read("X:A", "1m")["close"].to_pylist() == [9.0] * 20, "as if nothing was ever stored"
    assert not any(each.findings for each in verify(store))
    told = chronicle(store, Series.of("X:A", "1m"), START + timedelta(days=1)).entries
    [entry] = [each for each in told if each.kind == REMOVED]
    assert (entry.start.timestamp(), entry.bars, entry.text) == (AT, 20, "by tv-etl on host")
    again = store.remove("X:A", "1m")
    assert store.record("X:A", "1m").removals == (removal, again)


def test_what_was_never_stored_is_not_removed_and_leaves_no_trace(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    assert store.remove("X:A", "1m") is None
    assert store.removable("X:A") == []
    assert not (tmp_path / "lake").exists()


def test_damage_does_not_keep_a_series_from_being_removed(tmp_path: Path) -> None:
    store = lake(tmp_path)
    for name in of_series(store):
        files_of(store).write(name, b"damaged")
    files_of(store).write("ohlcv/interval=1m/symbol=X%3AA/stranger.parquet", b"")
    assert store.removable("X:A") == [Series.of("X:A", "1m"), Series.of("X:A", "1h")]
    removal = store.remove("X:A", "1m")
    assert removal is not None and removal.bars is None
    assert of_series(store) == LEFT
    assert store.record("X:A", "1m").removals == (removal,)


def test_what_a_later_version_wrote_is_not_removed(tmp_path: Path) -> None:
    store = lake(tmp_path)
    record = files_of(store).read(LEFT[0]).replace(b'"schema_version":2', b'"schema_version":99')
    files_of(store).write(LEFT[0], record)
    before = of_series(store)
    with pytest.raises(NewerFormatError, match="99"):
        store.remove("X:A", "1m")
    assert of_series(store) == before


def test_files_that_somebody_took_away_by_hand_leave_no_logs_behind(tmp_path: Path) -> None:
    store = lake(tmp_path)
    shutil.rmtree(tmp_path / "ohlcv/interval=1m/symbol=X%3AA")
    assert store.removable("X:A") == [Series.of("X:A", "1m"), Series.of("X:A", "1h")]
    assert store.remove("X:A", "1m") is not None
    assert of_series(store) == LEFT


def test_a_series_behind_a_link_out_of_the_lake_is_not_touched(tmp_path: Path) -> None:
    store = lake(tmp_path / "lake")
    data = tmp_path / "lake/ohlcv/interval=1m/symbol=X%3AA"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreWriteError, match="leads out of the lake"):
        store.remove("X:A", "1m")
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_readers_see_all_of_a_series_or_nothing_while_it_is_removed(tmp_path: Path) -> None:
    store = lake(tmp_path)

    def read_on(_: int) -> set[int]:
        return {len(BarStore(tmp_path).read("X:A", "1m")) for _ in range(100)}

    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(read_on, number) for number in range(2)]
        while not all(each.done() for each in reads):
            assert store.remove("X:A", "1m") is not None
            store.upsert("X:A", "1m", bars(1.0))
    assert set().union(*(each.result() for each in reads)) <= {0, 20}


def test_a_lake_in_an_object_store_says_that_it_cannot(s3_lake: str) -> None:
    store = lake(s3_lake)
    before = files_of(store).versions()
    with pytest.raises(StoreWriteError, match="an object store deletes one object after the other"):
        store.remove("X:A", "1m")
    assert files_of(store).versions() == before


# Killed before each change of a name in the file system, each file deleted among them; then removed again, or stored.
KILLED = """
import os, shutil, sys
from pathlib import Path
from tv_etl.lake.store import BarStore

whole, work, left = Path(sys.argv[1]), Path(sys.argv[2]), 0
shutil.copytree(whole, work / "once")
BarStore(work / "once").remove("X:A", "1m")  # so that no child has to import anything
while True:
    shutil.copytree(whole, work / str(left))
    child = os.fork()
    if not child:
        count = 0
        def kill(event, arguments):
            global count
            count += event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
            if count > left:
                os._exit(9)
        sys.addaudithook(kill)
        BarStore(work / str(left)).remove("X:A", "1m")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    left += 1
print(left)
"""


def test_a_killed_removal_leaves_all_or_nothing_and_is_finished_by_the_next(tmp_path: Path) -> None:
    whole, work = tmp_path / "whole", tmp_path / "killed"
    wanted = lake(whole).read("X:A", "1m")
    script = [sys.executable, "-c", KILLED, str(whole), str(work)]
    deaths = int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    assert deaths >= 6, "the directory, two files, the log, what is left of the directory, the record"
    seen = set()
    for death in range(deaths):
        shutil.copytree(work / str(death), work / f"{death} again")
        store = BarStore(work / str(death), clock=lambda: AT)
        found = store.read("X:A", "1m")
        assert found.equals(wanted) or (len(found) == 0 and Series.of("X:A", "1m") not in store.series())
        data = list((work / str(death)).glob("ohlcv/interval=1m/symbol=X%3AA/*"))
        assert len(data) == (2 if len(found) else 0), "as other engines see it"
        seen.add(len(found))
        # Whoever stores the series next, or removes it again, finishes.
        store.upsert("X:A", "1m", bars(1.0))
        assert not any(each.findings for each in verify(store)), f"killed at change {death}"
        if not len(found):
            assert len(store.revisions("X:A", "1m")) == 0, f"killed at change {death}"
        again = BarStore(work / f"{death} again", clock=lambda: AT)
        assert Series.of("X:A", "1m") in again.removable("X:A"), f"killed at change {death}"
        assert again.remove("X:A", "1m") == Removal(AT, 20, str(Writer.here())), f"killed at change {death}"
        assert of_series(again) == LEFT, f"killed at change {death}"
        assert len(again.series()) == 2
    assert seen == {0, 20}
