"""A symbol's series move to the name that its instrument has now: by proof, at every interval, and nothing is lost."""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tv_etl.collect.entry import enter_renamed
from tv_etl.collect.renaming import Moved, NotMoved, rename_symbol
from tv_etl.lake.errors import NoSeriesError, NotJoinedError, SettingsError
from tv_etl.lake.record import Rename
from tv_etl.lake.storage.void import is_void
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import PLAIN, SPLIT, Rows, second, table
from tv_etl_tests.collect.test_entry import OTHER
from tv_etl_tests.lake_files import files_of
from tv_etl_tests.s3_proxy import FORWARD, HANG_UP, s3_proxy

OLD, NEW = "NASDAQ:OLDN", "NASDAQ:NEWN"
AT = float(second(1_000))


def stored(store: BarStore, symbol: str, interval: str = "1m") -> Rows:
    rows = store.read(symbol, interval).to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]


def put(store: BarStore, symbol: str, rows: Rows, interval: str = "1m", **facts: object) -> None:
    asked = {"asked_from": int(rows[0][0]), "asked_until": int(rows[-1][0]) + 1}
    store.upsert(symbol, interval, table(rows, **asked, **facts))


def moved(store: BarStore, old: str = OLD, new: str = NEW, at: float = AT) -> list[Moved]:
    found = list(rename_symbol(store, old, new, clock=lambda: at))
    assert not [each for each in found if isinstance(each, NotMoved)], found
    return [each for each in found if isinstance(each, Moved)]


def test_every_series_of_the_symbol_has_the_new_name_then(base: str) -> None:
    store = BarStore(base)
    broken = (second(150), 100.0, 1.0, 99.0, 100.0, 5.0)
    put(store, OLD, [*PLAIN[100:150], broken, *PLAIN[151:200]], currency="USD", resolved_as=NEW)
    put(store, OLD, PLAIN[::60], "1h", resolved_as=NEW)
    put(store, "NASDAQ:OTHER", PLAIN[:9])
    rename = Rename(OLD, NEW, AT)
    assert [(each.old, each.new.symbol, each.rows, each.added) for each in moved(store)] == [
        (Series.of(OLD, "1m"), NEW, 99, 99),
        (Series.of(OLD, "1h"), NEW, 17, 17),
    ]
    assert stored(store, NEW) == [*PLAIN[100:150], *PLAIN[151:200]]
    assert stored(store, NEW, "1h") == PLAIN[::60]
    assert {each.symbol for each in store.series()} == {NEW, "NASDAQ:OTHER"}
    record = store.record(NEW, "1m")
    assert (record.facts["currency"], record.quarantined) == ("USD", 1)
    assert record.asked == ((second(100), second(199) + 1),)
    assert (record.renames, record.renamed_to) == ((rename,), ""), "it is not to be renamed once more"
    assert store.record(OLD, "1m").renames == (rename,)
    assert store.renames(OLD) == store.renames(NEW) == [rename]
    kept = [name for name in files_of(store).names() if "OLDN" in name]
    voids = [name for name in kept if is_void(files_of(store).read(name))]
    assert all(name in voids for name in kept if name.startswith("ohlcv"))
    assert sum(name.endswith("2026-11.parquet") for name in kept if name not in voids) == 1, "what was stored is kept"


def test_moving_again_does_nothing(base: str) -> None:
    store = BarStore(base)
    put(store, OLD, PLAIN[100:200])
    moved(store)
    before = files_of(store).versions()
    assert moved(store, at=AT + 60) == []
    assert files_of(store).versions() == before


def test_the_new_series_stands_where_both_have_bars(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    revised = [(*PLAIN[200][:5], 77.0), *PLAIN[201:300]]
    put(store, OLD, PLAIN[100:250], window_bars=5_000, window_from=second(50))
    put(store, NEW, [*PLAIN[150:200], *revised], resolved_as=NEW)
    [done] = moved(store)
    assert (done.rows, done.added) == (200, 50)
    assert stored(store, NEW) == [*PLAIN[100:200], *revised]
    record = store.record(NEW, "1m")
    assert record.asked == ((second(100), second(299) + 1),)
    assert record.window is not None and record.window.bars == 5_000
    assert record.revisions == record.withdrawn == 0


def test_what_came_before_a_split_is_brought_to_the_new_scale(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:250])
    put(store, NEW, SPLIT[150:300])
    moved(store)
    assert stored(store, NEW) == SPLIT[100:300]


def test_a_series_that_the_old_name_kept_up_to_date_longer_moves_too(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:300])
    put(store, NEW, PLAIN[50:250])
    moved(store)
    assert stored(store, NEW) == PLAIN[50:300]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (PLAIN[200:300], "they would have to overlap those from "),
        (PLAIN[:100], "they would have to overlap those from "),
        (OTHER[150:250], "differ, and by no one ratio"),
    ],
    ids=["newer", "older", "another instrument"],
)
def test_what_does_not_join_stays_as_it_was_and_the_rest_moves(tmp_path: Path, rows: Rows, reason: str) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:200])
    put(store, OLD, PLAIN[::60], "1h")
    put(store, NEW, rows)
    before = [store.record(symbol, "1m") for symbol in (OLD, NEW)]
    kept, done = rename_symbol(store, OLD, NEW)
    assert isinstance(kept, NotMoved) and kept.old == Series.of(OLD, "1m")
    assert isinstance(kept.error, NotJoinedError) and reason in str(kept.error)
    assert [store.record(symbol, "1m") for symbol in (OLD, NEW)] == before
    assert (stored(store, OLD), stored(store, NEW)) == (PLAIN[100:200], rows)
    assert isinstance(done, Moved) and done.new == Series.of(NEW, "1h")


def test_bars_of_another_market_do_not_mix(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:200], market="tradingview")
    put(store, NEW, PLAIN[100:300], market="synthetic, seed 7")
    [kept] = rename_symbol(store, OLD, NEW)
    assert isinstance(kept, NotMoved) and isinstance(kept.error, SettingsError)
    assert "'tradingview'" in str(kept.error) and "'synthetic, seed 7'" in str(kept.error)
    assert stored(store, OLD) == PLAIN[100:200]


def test_an_open_seam_is_resolved_before_a_series_moves(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:200])
    series = Series.of(OLD, "1m")
    update = store.update_of(series, table(SPLIT[300:400]))
    store.commit(series, update, judge=lambda stored: update)
    assert store.record(OLD, "1m").open_seam is not None
    [kept] = rename_symbol(store, OLD, NEW)
    assert isinstance(kept, NotMoved) and isinstance(kept.error, NotJoinedError)
    assert "NASDAQ:OLDN 1m: " in str(kept.error) and "resolve its open seam first" in str(kept.error)


def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:200])
    with pytest.raises(SymbolError, match="'NASDAQ:OLDN': is the name that it has"):
        rename_symbol(store, OLD, OLD)
    with pytest.raises(SymbolError, match="'META'"):
        rename_symbol(store, OLD, "META")
    with pytest.raises(NoSeriesError, match=f"'NASDAQ:NEVER' is not stored in {tmp_path}$"):
        rename_symbol(store, "NASDAQ:NEVER", NEW)
    moved(store)
    with pytest.raises(NoSeriesError, match=r"'NASDAQ:OLDN' is not stored in .*; it was renamed: NASDAQ:OLDN to"):
        rename_symbol(store, OLD, "NASDAQ:OTHER")


def test_a_name_may_change_again_and_the_old_one_be_fetched_again(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    put(store, OLD, PLAIN[100:200])
    moved(store)
    put(store, OLD, PLAIN[150:250])
    assert store.record(OLD, "1m").renames == (Rename(OLD, NEW, AT),)
    moved(store, at=AT + 60)
    moved(store, NEW, "NASDAQ:LAST", at=AT + 120)
    assert stored(store, "NASDAQ:LAST") == PLAIN[100:250]
    renames = [Rename(OLD, NEW, AT), Rename(OLD, NEW, AT + 60), Rename(NEW, "NASDAQ:LAST", AT + 120)]
    assert store.renames("NASDAQ:LAST") == renames


def test_what_came_while_it_was_moved_keeps_the_old_series(tmp_path: Path) -> None:
    store, old, new = BarStore(tmp_path), Series.of(OLD, "1m"), Series.of(NEW, "1m")
    put(store, OLD, PLAIN[100:200])
    enter_renamed(store, old, new)
    held = len(store.read(*new))
    put(store, OLD, PLAIN[190:201])
    is_out = store.retire(*old, Rename(OLD, NEW, AT), if_entered=lambda stored: len(stored.newest(999)) == held)
    assert not is_out and stored(store, OLD) == PLAIN[100:201]
    moved(store)
    assert stored(store, NEW) == PLAIN[100:201]


# Killed at each change of a name in the file system, which is where a commit becomes true; then moved again.
KILLED = """
import os, shutil, sys
from pathlib import Path
from tv_etl.collect.renaming import rename_symbol
from tv_etl.lake.store import BarStore

whole, work, left = Path(sys.argv[1]), Path(sys.argv[2]), 0
shutil.copytree(whole, work / "once")
list(rename_symbol(BarStore(work / "once"), "NASDAQ:OLDN", "NASDAQ:NEWN"))  # so that no child has to import anything
while True:
    shutil.copytree(whole, work / str(left))
    child = os.fork()
    if not child:
        count = 0
        def kill(event, arguments):
            global count
            count += event == "os.rename"
            if count > left:
                os._exit(9)
        sys.addaudithook(kill)
        list(rename_symbol(BarStore(work / str(left)), "NASDAQ:OLDN", "NASDAQ:NEWN"))
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    left += 1
print(left)
"""


@pytest.mark.slow
def test_a_killed_move_loses_nothing_and_is_finished_by_the_next(tmp_path: Path) -> None:
    whole, work = tmp_path / "whole", tmp_path / "killed"
    october = [(row[0] - 30 * 86_400, *row[1:]) for row in PLAIN[:5]]
    revised = [*october, *PLAIN[100:150], (*PLAIN[150][:5], 7.0), *PLAIN[151:200]]
    store = BarStore(whole)
    put(store, OLD, [*october, *PLAIN[100:200]])
    put(store, OLD, revised[-60:])  # a log of revisions
    put(store, OLD, PLAIN[:50:5], "1h")
    put(store, NEW, [revised[-60], *revised[-59:], *PLAIN[200:300]])
    everything = [*revised, *PLAIN[200:300]]
    script = [sys.executable, "-c", KILLED, str(whole), str(work)]
    deaths = int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    assert deaths > 10
    for death in range(deaths):
        lake = BarStore(work / str(death))
        assert {*stored(lake, OLD), *stored(lake, NEW)} == {*everything}, f"killed at change {death}"
        assert {*stored(lake, OLD, "1h"), *stored(lake, NEW, "1h")} == {*PLAIN[:50:5]}, f"killed at change {death}"
        moved(lake)
        for interval, rows in (("1m", everything), ("1h", PLAIN[:50:5])):
            left = (stored(lake, OLD, interval), stored(lake, NEW, interval))
            assert left == ([], rows), f"killed at change {death}"
            [rename] = lake.record(NEW, interval).renames
            assert lake.record(OLD, interval).renames == (rename,), f"killed at change {death}"
        assert moved(lake) == []
    shutil.rmtree(work)


@pytest.mark.slow
def test_in_an_object_store_a_move_that_was_cut_off_is_finished_by_the_next(
    s3_lake: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is gone before any change to the old series, for good."""
    with s3_proxy(s3_endpoint) as proxy:
        for number in itertools.count():
            changes, address = itertools.count(), f"{s3_lake}/{number}"
            store = BarStore(address)
            put(store, OLD, PLAIN[100:200])
            with monkeypatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
                cut_off, is_cut = BarStore(address, lock_timeout_s=0.05), list[str]()

            def judge(
                method: str,
                path: str,
                number: int = number,
                changes: Iterator[int] = changes,
                is_cut: list[str] = is_cut,
            ) -> str:
                if method != "GET" and method != "HEAD" and "OLDN" in path and next(changes) == number:
                    is_cut.append(path)
                return HANG_UP if is_cut else FORWARD

            proxy.judge = judge
            list(rename_symbol(cut_off, OLD, NEW))
            proxy.judge = lambda method, path: FORWARD
            moved(store)
            assert (stored(store, OLD), stored(store, NEW)) == ([], PLAIN[100:200]), number
            files = files_of(store)
            seen = [name for name in files.names() if name.startswith("ohlcv") and not is_void(files.read(name))]
            assert len(seen) == 1 and "NEWN" in seen[0], f"{number}: as other engines see it"
            [rename] = store.record(OLD, "1m").renames
            assert store.record(NEW, "1m").renames == (rename,), number
            if not is_cut:
                break
    assert number > 3, "kept beside it, staged, committed, moved"
