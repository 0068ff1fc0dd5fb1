"""A split, three months and both logs in one commit, killed and refused at every system call that changes anything.

And the disks of a user: full, failing, read-only. What was acknowledged stays, what was not is whole or absent, and no
reader, ours or another, ever sees a value that was not written.
"""

import multiprocessing
import multiprocessing.pool
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.lake.test_store import PROCESS, REPOSITORY, lines_of, process, wave
from tv_etl_tests.patience import HANG_S

pytestmark = pytest.mark.slow

UTC = timezone.utc
SYMBOL = "X:SPLT"
START = datetime(2026, 8, 20, tzinfo=UTC)
DAY = timedelta(days=1)
NOW_S = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
# Calls that change nothing are no places to be killed at: what they see is what the call before left.
CALLS = ("openat", "mkdir", "rename", "unlink", "write", "fsync", "flock")

# Forked, because starting pyarrow takes longer than the test; the child stands still until strace holds it.
ACTOR = """
import pickle, signal
table = pickle.load(open(sys.argv[3], "rb"))
store.upsert("X:SPLT", "1m", table)  # once here, so that no child has to import what that imports
for line in sys.stdin.buffer:
    base, action = line.decode().split()
    child = os.fork()
    if not child:
        store = BarStore(base, clock=lambda: float(sys.argv[4]))
        os.write(1, f"{os.getpid()}\\n".encode())
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            store.upsert("X:SPLT", "1m", table) if action == "upsert" else store.read("X:SPLT", "1m")
            answer = "acknowledged"
        except Exception as error:
            answer = type(error).__name__
        os.write(1, f"{answer}\\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def split_table() -> pa.Table:
    """What a fetch brings after a split: all re-adjusted but the newest, a revised bar and a broken one."""
    table = wave(START, 61, step=DAY, ratio=0.25, until=60)
    highs = table.column("high").to_pylist()
    highs[57] += 1
    highs[60] = 0.0
    return table.set_column(2, BAR_SCHEMA.field("high"), [highs])


State = tuple[Any, ...]


def state_of(base: Path) -> State:
    """All that a user can learn about the series, but for who wrote it: the actor, or whoever comes after a kill."""
    store = BarStore(base)
    tables = (store.read(SYMBOL, "1m"), store.revisions(SYMBOL, "1m"), store.quarantine(SYMBOL, "1m"))
    return (*(table.to_pylist() for table in tables), replace(store.record(SYMBOL, "1m"), written=None))


def contents(base: Path) -> dict[str, bytes]:
    files = [path for path in sorted(base.rglob("*")) if path.suffix in (".parquet", ".json")]
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in files if len(path.stem) != 32}


class Actor:
    """Runs upserts and reads of one series in processes of their own, under strace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = folder / "table.pickle"
        table.write_bytes(pickle.dumps(split_table()))
        self.process = process(ACTOR, folder / "warm", table, NOW_S)
        self.lines = lines_of(self.process)

    def run(self, base: Path, action: str, *options: str) -> str:
        """What the process answered; nothing if it was killed."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{base} {action}\n".encode())
        child = int(next(self.lines))
        log = self.folder / "strace.log"
        command = ["strace", "-f", "-p", str(child), "-o", str(log), "-e", f"trace={','.join(CALLS)}", *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            attached = "attached" in tracer.stderr.readline()
            os.kill(child, signal.SIGCONT)
            answer = b"".join(iter(lambda: next(self.lines), b"dead\n")).decode().strip()
        if not attached:
            pytest.skip("strace may not attach to a process here: not killed at every system call")
        return answer

    def calls(self, base: Path, action: str) -> list[tuple[str, int]]:
        """The state-changing calls of an action that succeeds, each as (name, n-th of this name)."""
        assert self.run(base, action) == "acknowledged"
        counts: dict[str, int] = {}
        calls = []
        for line in (self.folder / "strace.log").read_text().splitlines():
            match = re.match(r"\d+\s+(\w+)\((.*)", line)
            if match is None:
                continue
            name, arguments = match.groups()
            counts[name] = counts.get(name, 0) + 1
            if '"acknowledged' in arguments:
                break
            if name != "openat" or "O_CREAT" in arguments:
                calls.append((name, counts[name]))
        return calls


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Actor]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: not killed at every system call")
    actor = Actor(tmp_path_factory.mktemp("actor"))
    with actor.process:
        yield actor
        assert actor.process.stdin is not None
        actor.process.stdin.close()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with three months before the split."""
    base = tmp_path_factory.mktemp("before") / "lake"
    BarStore(base, clock=lambda: NOW_S).upsert(SYMBOL, "1m", wave(START, 60, step=DAY))
    return base


def test_a_split_killed_before_any_system_call_is_whole_or_absent(tmp_path: Path, actor: Actor, before: Path) -> None:
    done = Path(shutil.copytree(before, tmp_path / "done"))
    calls = actor.calls(done, "upsert")
    old, new, left = state_of(before), state_of(done), contents(done)
    assert sum(name == "rename" for name, _ in calls) == 8, "three months, three logs, the record, and the journal"
    assert len(new[1]) == len(new[2]) == len(new[3].readjustments) == 1
    found, half_done = [], []
    for name, number in calls:
        base = Path(shutil.copytree(before, tmp_path / f"{name}{number}"))
        assert actor.run(base, "upsert", "-e", f"inject={name}:signal=SIGKILL:when={number}") == ""
        raw = contents(base)
        if any(raw[path] == left.get(path) != contents(before).get(path) for path in raw) and raw != left:
            half_done.append(Path(shutil.copytree(base, tmp_path / f"half-{name}{number}")))
        found.append(state_of(base))
        assert found[-1] in (old, new), (name, number)
        assert BarStore(base, clock=lambda: NOW_S).upsert(SYMBOL, "1m", split_table()).rows == 60
        assert state_of(base) == new, (name, number)
    assert old in found and new in found
    assert len(half_done) > 5, "no kill hit between the renames"
    recover_from(half_done[2], new, tmp_path, actor)


def recover_from(half_done: Path, new: State, tmp_path: Path, actor: Actor) -> None:
    """Kill whoever completes the commit before each of its calls as well."""
    calls = actor.calls(Path(shutil.copytree(half_done, tmp_path / "recovered")), "read")
    assert len(calls) > 5
    for name, number in calls:
        base = Path(shutil.copytree(half_done, tmp_path / f"again-{name}{number}"))
        assert actor.run(base, "read", "-e", f"inject={name}:signal=SIGKILL:when={number}") == ""
        assert state_of(base) == new, (name, number)


@pytest.mark.parametrize("errno", ["EIO", "ENOSPC"])
def test_a_split_refused_any_system_call_is_a_typed_error(
    tmp_path: Path, actor: Actor, before: Path, errno: str
) -> None:
    done = Path(shutil.copytree(before, tmp_path / "done"))
    calls = actor.calls(done, "upsert")
    old, new = state_of(before), state_of(done)
    answers = set()
    for name, number in calls:
        base = Path(shutil.copytree(before, tmp_path / f"{name}{number}"))
        answer = actor.run(base, "upsert", "-e", f"inject={name}:error={errno}:when={number}")
        state = state_of(base)
        assert state == new if answer == "acknowledged" else state in (old, new), (name, number)
        answers.add(answer)
    assert "StoreWriteError" in answers
    assert answers <= {"StoreWriteError", "StoreReadError", "acknowledged"}  # unlocking may fail: closing does it too


# Rewrites two months for ever; each file has one value throughout, and each commit the next one.
REWRITER = """
value = 0
while True:
    value += 1
    store.upsert("X:ONE", "1m", bars(-500, 1000, value))
    if value == 1:
        os.write(1, b"begun\\n")
"""


def read_ours(base: Path) -> list[tuple[str, int, float, float]]:
    table = BarStore(base).read("X:ONE", "1m")
    closes = table.column("close").to_pylist()
    return [("both", len(closes), min(closes), max(closes))]


def scan_ours(base: Path) -> list[tuple[str, int, float, float]]:
    closes = BarStore(base).scan().read_all().column("close").to_pylist()
    return [("both", len(closes), min(closes), max(closes))]


def read_duckdb(base: Path) -> list[tuple[str, int, float, float]]:
    columns = "filename, count(*), min(close), max(volume)"
    query = f"select {columns} from read_parquet(?, filename=true) group by 1"
    with duckdb.connect() as connection:
        return connection.execute(query, [f"{base}/ohlcv/**/*.parquet"]).fetchall()


def collect_polars(base: Path) -> list[tuple[str, int, float, float]]:
    frame = pl.scan_parquet(base / "ohlcv", hive_partitioning=True, include_file_paths="file")
    try:
        return frame.group_by("file").agg(pl.len(), pl.col("close").min(), pl.col("volume").max()).collect().rows()
    except pl.exceptions.PanicException as panic:  # no Exception: it would end the process
        raise OSError(str(panic)) from None


def read_polars(base: Path) -> list[tuple[str, int, float, float]]:
    """In a process of its own: where Polars finds a longer file than it opened, it panics, and now and then hangs."""
    try:
        return polars_process().apply_async(collect_polars, (base,)).get(timeout=10)
    except multiprocessing.TimeoutError:
        end_polars_process()
        raise


@cache
def polars_process() -> multiprocessing.pool.Pool:
    pool = multiprocessing.get_context("spawn").Pool(1)
    pool.apply_async(import_polars).get(timeout=HANG_S)
    return pool


def import_polars() -> None:
    """What starting takes is no hanging."""


def end_polars_process() -> None:
    polars_process().terminate()
    polars_process().join()
    polars_process.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def polars_process_ends() -> Iterator[None]:
    yield
    if polars_process.cache_info().currsize:
        end_polars_process()


@pytest.mark.parametrize(
    ("read", "rows", "errors"),
    [
        (read_ours, 1000, ()),
        (scan_ours, 1000, ()),
        (read_duckdb, 500, (duckdb.Error,)),
        (read_polars, 500, (pl.exceptions.PolarsError, OSError, multiprocessing.TimeoutError)),
    ],
)
def test_no_reader_sees_a_wrong_value_while_files_are_rewritten(
    tmp_path: Path,
    read: Callable[[Path], list[tuple[str, int, float, float]]],
    rows: int,
    errors: tuple[type[Exception], ...],
) -> None:
    failed, newest = 0, dict[str, float]()
    with process(REWRITER, tmp_path) as writer:
        assert next(lines_of(writer)) == b"begun\n"
        for _ in range(40):
            while True:
                try:
                    found = read(tmp_path)
                    break
                except errors:  # an engine that opens a file twice met two versions of it: it says so, and is run again
                    failed += 1
                    assert failed < 100
            for name, count, least, greatest in found:
                assert count == rows
                assert least == greatest >= newest.get(name, 1.0)
                newest[name] = least
        writer.kill()
    assert max(newest.values()) > 1.0, "nothing was rewritten meanwhile"


# A disk of its own, as small as wanted; in a name space that vanishes with the process.
SMALL_DISK = """
mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"
"""
FULL = """
import subprocess
from pathlib import Path
from tv_etl.lake.errors import BarStoreError, StoreWriteError

def files():
    return {path: path.read_bytes() for path in sorted(Path(sys.argv[2]).rglob("*")) if path.is_file()}

store.upsert("X:ONE", "1m", bars(-500, 1000, 1))
ballast = Path(sys.argv[2]) / "ballast"
left = os.statvfs(sys.argv[2])
ballast.write_bytes(bytes((left.f_bavail - 2) * left.f_bsize))
before = files()
answers = []
for symbol in ("X:ONE", "X:NEW"):
    try:
        store.upsert(symbol, "1m", bars(-20_000, 40_000, 2))
    except StoreWriteError as error:
        answers.append(error.__cause__.strerror)
assert store.read("X:ONE", "1m").num_rows == 1000
assert store.series() == [("X:ONE", store.series()[0][1])]
assert {path: content for path, content in files().items() if path in before} == before
ballast.unlink()
store.upsert("X:ONE", "1m", bars(-20_000, 40_000, 2))
assert store.read("X:ONE", "1m").num_rows == 40_000
subprocess.run(["mount", "-o", "remount,ro", sys.argv[2]], check=True)
for symbol in ("X:ONE", "X:NEW"):
    try:
        store.upsert(symbol, "1m", bars(-20_000, 40_001, 3))
    except StoreWriteError as error:
        answers.append(error.__cause__.strerror)
assert store.read("X:ONE", "1m").column("close").unique().to_pylist() == [2.0]
print(answers)
"""


def test_a_full_disk_and_one_that_may_only_be_read_leave_the_old_bars(tmp_path: Path) -> None:
    may_mount = ["unshare", "-m", "sh", "-c", SMALL_DISK, "-", str(tmp_path), "true"]
    if shutil.which("unshare") is None or subprocess.run(may_mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here: not tried on a full and on a read-only one")
    python = [sys.executable, "-c", PROCESS + FULL, str(REPOSITORY), str(tmp_path)]
    done = subprocess.run([*may_mount[:-1], *python], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(["No space left on device"] * 2 + ["Read-only file system"] * 2)
