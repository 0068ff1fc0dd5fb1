"""A series that is removed: at once, for good, on record, and whatever instant it is killed at."""

import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tv_etl.lake.chronicle import REMOVED, chronicle
from tv_etl.lake.errors import NewerFormatError, StoreReadError, StoreWriteError
from tv_etl.lake.record import Removal
from tv_etl.lake.storage.void import is_void
from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl.lake.written import Writer
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series
from tv_etl_tests.lake_files import DirectoryFiles, files_of
from tv_etl_tests.s3_proxy import FORWARD, HANG_UP, s3_proxy

START = datetime(2026, 10, 31, 23, 50, tzinfo=timezone.utc)
AT = 1_800_000_000.0
OWN = ".tv_etl/1m/X%3AA"
LEFT = [f"{OWN}/series.json"]
STRANGER = "ohlcv/interval=1m/symbol=X%3AA/stranger.parquet"


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
    """Its files, without those in an object store that stand for none."""
    files = files_of(store)
    names = [name for name in files.names() if "1m/" in name and "X%3AA" in name]
    return [name for name in names if "://" not in store.base or not is_void(files.read(name))]


def test_a_removed_series_is_gone_with_its_logs_and_no_other_is(base: str) -> None:
    store = lake(base)
    others = [each for each in store.series() if each != Series.of("X:A", "1m")]
    assert store.remove("X:A", "1m") == Removal(AT, 20, "tv-etl on host")
    assert store.series() == others
    assert (len(store.read("X:A", "1m")), len(store.revisions("X:A", "1m"))) == (0, 0)
    assert of_series(store) == LEFT
    assert store.remove("X:A", "1m") is None
    assert store.scan().read_all().num_rows == 21
    assert not any(each.findings for each in verify(store))


def test_a_removal_stays_on_record_when_the_series_is_stored_anew(base: str) -> None:
    store = lake(base)
    removal = store.remove("X:A", "1m")
    store.upsert("X:A", "1m", bars(9.0))
    assert store.record("X:A", "1m").removals == (removal,)
    assert store.read("X:A", "1m")["close"].to_pylist() == [9.0] * 20, "as if nothing was ever stored"
    assert not any(each.findings for each in verify(store))
    told = chronicle(store, Series.of("X:A", "1m"), START + timedelta(days=1)).entries
    [entry] = [each for each in told if each.kind == REMOVED]
    assert (entry.start.timestamp(), entry.bars, entry.text) == (AT, 20, "by tv-etl on host")
    again = store.remove("X:A", "1m")
    assert again is not None and store.record("X:A", "1m").removals == (removal, again)
    assert of_series(store) == LEFT


def test_what_was_never_stored_is_not_removed_and_leaves_no_trace(base: str) -> None:
    store = BarStore(base)
    assert store.remove("X:A", "1m") is None
    assert store.removable("X:A") == []
    assert files_of(store).names() == []


def test_damage_does_not_keep_a_series_from_being_removed(base: str) -> None:
    store = lake(base)
    for name in of_series(store):
        files_of(store).write(name, b"damaged")
    files_of(store).write(STRANGER, b"")
    assert store.removable("X:A") == [Series.of("X:A", "1m"), Series.of("X:A", "1h")]
    removal = store.remove("X:A", "1m")
    assert removal is not None and removal.bars is None
    assert of_series(store) == LEFT
    assert store.record("X:A", "1m").removals == (removal,)


def test_what_a_later_version_wrote_is_not_removed(base: str) -> None:
    store = lake(base)
    record = files_of(store).read(LEFT[0]).replace(b'"schema_version":2', b'"schema_version":99')
    assert b":99" in record
    files_of(store).write(LEFT[0], record)
    before = of_series(store)
    with pytest.raises(NewerFormatError, match="99"):
        store.remove("X:A", "1m")
    assert of_series(store) == before


def test_files_that_somebody_took_away_by_hand_leave_no_logs_behind(base: str) -> None:
    store = lake(base)
    for name in of_series(store):
        if name.startswith("ohlcv/"):
            files_of(store).remove(name)
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


def test_readers_see_all_of_a_series_or_nothing_while_it_is_removed(base: str) -> None:
    store = lake(base)

    def read_on(_: int) -> set[int]:
        return {len(BarStore(base).read("X:A", "1m")) for _ in range(10 if "://" in base else 100)}

    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(read_on, number) for number in range(2)]
        while not all(each.done() for each in reads):
            assert store.remove("X:A", "1m") is not None
            store.upsert("X:A", "1m", bars(1.0))
    assert set().union(*(each.result() for each in reads)) <= {0, 20}


def as_others_see(store: BarStore, directory: Path) -> list[tuple[str, float]]:
    """The bars of 1m in the data files, as DuckDB finds them without us."""
    shutil.rmtree(directory, ignore_errors=True)
    for name in files_of(store).names():
        if name.startswith("ohlcv/interval=1m/"):
            DirectoryFiles(directory).write(name, files_of(store).read(name))
    files = f"read_parquet('{directory}/ohlcv/**/*.parquet', hive_partitioning = true)"
    found: list[tuple[str, float]] = duckdb.connect().execute(f"SELECT symbol, close FROM {files}").fetchall()
    return found


def test_other_engines_find_no_bar_of_what_was_removed(s3_lake: str, tmp_path: Path) -> None:
    store = lake(s3_lake)
    assert sorted(as_others_see(store, tmp_path)) == [("X:A", 1.0)] * 20 + [("X:B", 3.0)] * 20
    store.remove("X:A", "1m")
    assert as_others_see(store, tmp_path) == [("X:B", 3.0)] * 20
    store.upsert("X:A", "1m", bars(9.0, 3))
    assert sorted(as_others_see(store, tmp_path)) == [("X:A", 9.0)] * 3 + [("X:B", 3.0)] * 20


@pytest.mark.slow
def test_in_an_object_store_a_removal_that_was_cut_off_is_whole_or_gone_and_is_finished(
    s3_lake: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is gone before any of its requests, for good."""
    seen = list[int]()
    with s3_proxy(s3_endpoint) as proxy:
        for number in itertools.count():
            left, address = itertools.count(), f"{s3_lake}/{number}"
            store = lake(address)
            with monkeypatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
                cut_off = BarStore(address, clock=lambda: AT, lock_timeout_s=0.05, writer=Writer("tv-etl", "host"))
            proxy.judge = lambda method, path, left=left, number=number: (  # type: ignore[misc]
                HANG_UP if next(left) >= number else FORWARD
            )
            try:
                cut_off.remove("X:A", "1m")
                break
            except (StoreReadError, StoreWriteError):
                pass
            found = len(store.read("X:A", "1m"))
            assert found in (0, 20), number
            assert (Series.of("X:A", "1m") in store.series()) is (found == 20)
            assert found == 0 or len(as_others_see(store, tmp_path)) == 40
            seen.append(found)
            # Whoever stores it next finishes, or whoever removes it again.
            if number % 2:
                store.upsert("X:A", "1m", bars(1.0))
                assert len(store.revisions("X:A", "1m")) == (2 if found else 0), number
                assert not any(each.findings for each in verify(store)), number
            removal = store.remove("X:A", "1m")
            assert removal in (None, Removal(AT, 20, "tv-etl on host")), number
            assert removal is not None or (found == 0 and not number % 2)
            assert len(store.record("X:A", "1m").removals) == (2 if number % 2 and not found else 1), number
            assert of_series(store) == LEFT, number
            assert as_others_see(store, tmp_path) == [("X:B", 3.0)] * 20, number
            assert store.removable("X:A") == [Series.of("X:A", "1h")]
    assert {*seen} == {0, 20} and len(seen) > 10


# For each line on stdin it stores the bar of another minute, and says so.
WRITER = """
import sys
import pyarrow as pa
from datetime import datetime, timedelta, timezone
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA

store = BarStore(sys.argv[1])
for number, _ in enumerate(sys.stdin):
    start = datetime(2026, 11, 2, tzinfo=timezone.utc) + timedelta(minutes=number)
    columns = {"timestamp": [start], **{name: [1.0] for name in BAR_SCHEMA.names[1:]}}
    store.upsert("X:A", "1m", pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""})))
    print(number, flush=True)
"""


def test_a_writer_in_another_process_and_a_removal_share_every_bar(base: str) -> None:
    """Each is either removed, and counted as that, or still there: none vanishes, and none comes back."""
    store, writes, removed = BarStore(base), 20, list[int]()
    command = [sys.executable, "-c", WRITER, base]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        for number in range(writes):
            writer.stdin.write("next\n")
            writer.stdin.flush()
            removal = store.remove("X:A", "1m")
            if removal is not None and removal.bars is not None:
                removed.append(removal.bars)
            assert writer.stdout.readline() == f"{number}\n"
        writer.stdin.close()
    minutes = [each.minute for each in store.read("X:A", "1m")["timestamp"].to_pylist()]
    assert minutes == list(range(writes - len(minutes), writes)), "what is left came after the last removal"
    assert len(removed) > 1 and sum(removed) + len(minutes) == writes
    assert [each.bars for each in store.record("X:A", "1m").removals] == removed
    assert not any(each.findings for each in verify(store))


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
