"""The commit protocol under SIGKILL and under refusing system calls, at every one of them."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tv_etl
from tv_etl.lake.errors import DamagedFileError, NewerFormatError, StoreBusyError, StoreWriteError
from tv_etl.lake.storage.journal import FileGroup
from tv_etl_tests.patience import HANG_S

REPOSITORY = Path(tv_etl.__file__).parents[1]
# Imports neither pyarrow nor anything else that is slow to start: it runs once for each system call.
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tv_etl.lake.storage.journal import FileGroup
base, content = Path(sys.argv[2]), sys.argv[3].encode()
group = FileGroup(base, base / ".tv_etl" / "1m" / "X", "head.json")
try:
    with group.writing() as transaction:
        for name in sys.argv[4:]:
            is_head = name == group.head.name
            target = group.head if is_head else base / "ohlcv" / "X" / name
            transaction.stage(target, b'{"content": "%b"}' % content if is_head else content)
        transaction.publish()
    answer = "acknowledged"
except Exception as error:
    answer = type(error).__name__
print(answer, flush=True)
"""
DATA = ("one.parquet", "two.parquet")
ALL = (*DATA, "head.json")
NOTHING, OLD, NEW, NEXT = ([content] * 3 for content in (None, b"old", b"new", b"next"))
STATE_CHANGING = ("openat", "mkdir", "rename", "unlink", "write", "fsync", "flock")


def group_in(base: Path, lock_timeout_s: float = HANG_S) -> FileGroup:
    return FileGroup(base, base / ".tv_etl" / "1m" / "X", "head.json", lock_timeout_s=lock_timeout_s)


def head_of(content: bytes) -> bytes:
    return b'{"content": "%b"}' % content


def write_all(base: Path, content: bytes) -> None:
    group = group_in(base)
    with group.writing() as transaction:
        transaction.stage(group.head, head_of(content))
        for name in DATA:
            transaction.stage(base / "ohlcv" / "X" / name, content)
        transaction.publish()


def seen(base: Path) -> list[bytes | None]:
    """The contents of both data files and of the head."""
    files = [base / "ohlcv" / "X" / name for name in DATA]
    head = group_in(base).head
    said = json.loads(head.read_bytes())["content"].encode() if head.exists() else None
    return [*(path.read_bytes() if path.exists() else None for path in files), said]


def read_all(base: Path) -> list[bytes | None]:
    return group_in(base).reading(lambda: seen(base))


def left_over(base: Path) -> list[str]:
    return sorted(path.name for path in (base / ".tv_etl" / "1m" / "X").iterdir())


def test_nothing_is_created_before_the_first_commit(tmp_path: Path) -> None:
    base = tmp_path / "lake"
    assert read_all(base) == NOTHING
    assert not base.exists()


def test_a_commit_leaves_only_its_files_the_head_and_the_lock(tmp_path: Path) -> None:
    write_all(tmp_path / "a" / "lake", b"new")
    assert read_all(tmp_path / "a" / "lake") == NEW
    assert left_over(tmp_path / "a" / "lake") == ["head.json", "lock"]


def test_what_is_staged_and_not_published_vanishes(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    with pytest.raises(ZeroDivisionError), group_in(tmp_path).writing() as transaction:
        transaction.stage(tmp_path / "ohlcv" / "X" / "one.parquet", b"new")
        raise ZeroDivisionError
    assert read_all(tmp_path) == OLD
    assert left_over(tmp_path) == ["head.json", "lock"]


def test_waiting_for_the_lock_ends_with_an_error(tmp_path: Path) -> None:
    with group_in(tmp_path).writing():
        impatient = group_in(tmp_path, 0.02)
        with pytest.raises(StoreBusyError, match=r"lock: another process held the lock for 0\.02 s") as caught:
            impatient.reading(lambda: seen(tmp_path))
        assert caught.value.retryable
        with pytest.raises(StoreBusyError), impatient.writing():
            pass


def test_readers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    assert group_in(tmp_path).reading(lambda: group_in(tmp_path, 0).reading(lambda: seen(tmp_path))) == OLD


def test_a_reader_never_sees_half_of_a_commit(tmp_path: Path) -> None:
    def write() -> None:
        for number in range(150):
            write_all(tmp_path, b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    states = []
    while writer.is_alive():
        states.append(read_all(tmp_path))
    writer.join()
    assert all(len({*state}) == 1 for state in states)
    assert read_all(tmp_path) == [b"149"] * 3


@pytest.mark.parametrize(
    ("journal", "error"),
    [
        (b"", DamagedFileError),
        (b"[]", DamagedFileError),
        (b'{"content": "new"}', DamagedFileError),
        (b'{"journal": {"version": 2, "moves": []}}', NewerFormatError),
        (b'{"journal": {"version": 1, "moves": [["%s", "../outside"]]}}' % (b"0" * 32), DamagedFileError),
        (b'{"journal": {"version": 1, "moves": [["lock", "ohlcv/X/one.parquet"]]}}', DamagedFileError),
        (b'{"journal": {"version": 1, "moves": [["%s", "ohlcv/X/gone.parquet"]]}}' % (b"0" * 32), DamagedFileError),
    ],
)
def test_a_journal_that_cannot_be_followed_is_an_error(tmp_path: Path, journal: bytes, error: type) -> None:
    write_all(tmp_path, b"old")
    path = tmp_path / ".tv_etl" / "1m" / "X" / "journal.json"
    path.write_bytes(journal)
    with pytest.raises(error, match=re.escape(str(path))):
        read_all(tmp_path)
    with pytest.raises(error, match=re.escape(str(path))):
        write_all(tmp_path, b"new")
    assert seen(tmp_path) == OLD


def test_a_journal_is_followed_although_the_data_directory_was_removed(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    shutil.rmtree(tmp_path / "ohlcv")
    leave_journal(tmp_path, b"new")
    assert read_all(tmp_path) == NEW


def test_a_journal_that_comes_back_changes_nothing(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    head = group_in(tmp_path).head
    before = head.read_bytes()
    leave_journal(tmp_path, b"new")
    journal = head.with_name("journal.json").read_bytes()
    assert read_all(tmp_path) == NEW
    head.with_name("journal.json").write_bytes(journal)
    head.write_bytes(before)
    assert read_all(tmp_path) == NEW
    assert left_over(tmp_path) == ["head.json", "lock"]


def test_a_head_alone_says_nothing_of_moves(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    group = group_in(tmp_path)
    with group.writing() as transaction:
        transaction.stage(group.head, head_of(b"new"))
        transaction.publish()
    assert group.head.read_bytes() == head_of(b"new")
    assert read_all(tmp_path) == [b"old", b"old", b"new"]


def test_several_files_without_a_head_are_refused(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    with (
        pytest.raises(ValueError, match=r"a commit of 2 files needs its head, .*head\.json"),
        group_in(tmp_path).writing() as transaction,
    ):
        for name in DATA:
            transaction.stage(tmp_path / "ohlcv" / "X" / name, b"new")
        transaction.publish()
    assert read_all(tmp_path) == OLD
    assert left_over(tmp_path) == ["head.json", "lock"]


def test_an_empty_head_is_one(tmp_path: Path) -> None:
    group = group_in(tmp_path)
    with group.writing() as transaction:
        transaction.stage(group.head, b"{}")
        transaction.stage(tmp_path / "ohlcv" / "X" / "one.parquet", b"new")
        transaction.publish()
    assert json.loads(group.head.read_bytes()).keys() == {"journal"}


def test_readers_who_overlap_do_not_keep_a_writer_out(tmp_path: Path) -> None:
    write_all(tmp_path, b"old")
    reads, is_written = itertools.count(), threading.Event()

    def read_slowly() -> None:
        # The next one has the lock before this one frees it.
        while not is_written.is_set():
            group_in(tmp_path).reading(lambda: is_written.wait(0.02) or next(reads))

    readers = [threading.Thread(target=read_slowly) for _ in range(6)]
    for each in readers:
        each.start()
    try:
        for _ in range(10):
            write_all(tmp_path, b"new")
    finally:
        is_written.set()
        for each in readers:
            each.join()
    assert next(reads) > 10
    assert seen(tmp_path) == NEW


def test_a_base_below_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreWriteError, match="file"):
        write_all(tmp_path / "file" / "lake", b"new")


def leave_journal(base: Path, content: bytes) -> None:
    """What a writer leaves that was killed after its commit point."""
    directory = base / ".tv_etl" / "1m" / "X"
    moves = []
    for digit, name in (("0", "one.parquet"), ("1", "two.parquet")):
        (directory / f"{digit * 32}.parquet").write_bytes(content)
        moves.append((f"{digit * 32}.parquet", f"ohlcv/X/{name}"))
    journal = {"journal": {"version": 1, "moves": moves}, **json.loads(head_of(content))}
    (directory / "journal.json").write_text(json.dumps(journal))


def traced(log: Path, base: Path, names: Sequence[str], *options: str) -> str:
    """Run the writer under strace; what it printed."""
    command = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(STATE_CHANGING)}", *options]
    program = [sys.executable, "-I", "-S", "-B", "-c", WRITER, str(REPOSITORY), str(base), "new", *names]
    return subprocess.run([*command, *program], capture_output=True, text=True, check=False).stdout.strip()


def calls_of_commit(log: Path, base: Path) -> list[tuple[str, int]]:
    """The state-changing calls since the first that names the base, each as (name, n-th of this name)."""
    counts: dict[str, int] = {}
    calls: list[tuple[str, int]] = []
    for line in log.read_text().splitlines():
        match = re.match(r"\d+\s+(\w+)\((.*)", line)
        if match:
            name, arguments = match.groups()
            counts[name] = counts.get(name, 0) + 1
            if '"acknowledged' in arguments:
                break
            if calls or str(base) in arguments:
                calls.append((name, counts[name]))
    return calls


def nothing(base: Path) -> None:
    """The first commit."""


def old(base: Path) -> None:
    """A later commit."""
    write_all(base, b"old")


def old_and_journal(base: Path) -> None:
    """The recovery of a killed commit."""
    write_all(base, b"old")
    leave_journal(base, b"new")


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("strace")
    if shutil.which("strace") is None or traced(path / "log", path / "lake", ALL) != "acknowledged":
        pytest.skip("strace is missing or may not trace here")


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("files", [ALL, ALL[1:], DATA[:1], ("head.json",)])
def test_nothing_is_relied_upon_before_it_is_synced(tmp_path: Path, files: Sequence[str]) -> None:
    """What a power cut could undo: content and names that were not synced."""
    base, log = tmp_path / "lake", tmp_path / "log"
    assert traced(log, base, files, "-y") == "acknowledged"
    head = group_in(base).head
    journal = head.with_name("journal.json")
    content: set[Path] = set()
    names: set[Path] = set()
    for name, paths in events(log, base):
        path = paths[0]
        if name in ("mkdir", "create"):
            names |= {path} - {head.with_name("lock")}
        elif name == "write":
            content.add(path)
        elif name == "fsync":
            content.discard(path)
            names = {each for each in names if each.parent != path}
        elif name == "rename" and path == journal:
            # A power cut may undo it: see test_a_journal_that_comes_back_changes_nothing.
            assert not content and not names
        elif name == "rename":
            assert not content
            alone = paths[1] == journal or len(files) == 1
            assert names <= ({path} if alone else set((base / "ohlcv" / "X").iterdir()))
            names = names - {path} | {paths[1]}
        else:
            raise AssertionError(f"{name} {path}")
    assert not content and not names


def events(log: Path, base: Path) -> list[tuple[str, list[Path]]]:
    found = []
    for line in log.read_text().splitlines():
        match = re.match(r"\d+\s+(\w+)\((.*)\) += \d", re.sub("AT_FDCWD<[^>]*>", "", line))
        if match is None:
            continue
        name = "create" if match[1] == "openat" and "O_CREAT" in match[2] else match[1]
        paths = [Path(text) for text in re.findall(r'[<"](/[^>"]*)[>"]', match[2])]
        if name not in ("openat", "flock") and any(base in (path, *path.parents, path / base.name) for path in paths):
            found.append((name, paths))
    return found


def test_a_commit_syncs_what_it_relies_upon_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def count(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path)))
        sync(fd)

    def commit(series: str) -> list[str]:
        synced.clear()
        group = FileGroup(tmp_path / "lake", tmp_path / "lake" / ".tv_etl" / "1m" / series, "head.json")
        with group.writing() as transaction:
            transaction.stage(group.head, head_of(b"new"))
            transaction.stage(tmp_path / "lake" / "ohlcv" / "1m" / series / "one.parquet", b"new")
            transaction.publish()
        return [re.sub(r"[0-9a-f]{32}", "temporary", each) for each in synced]

    monkeypatch.setattr(os, "fsync", count)
    own, data = "lake/.tv_etl/1m", "lake/ohlcv/1m"
    assert commit("A")[:4] == [".", "lake", "lake/.tv_etl", own], "the names of what is above a first series"
    files = [f"{own}/B/temporary.parquet", f"{own}/B/temporary.json", f"{own}/B", f"{own}/B", f"{data}/B"]
    assert commit("B") == [own, files[0], data, *files[1:]]
    assert commit("B") == files
    shutil.rmtree(tmp_path / "lake")
    assert commit("B")[:4] == [".", "lake", "lake/.tv_etl", own], "what was made anew is not known to be durable"


Outcome = tuple[tuple[str, int], str, list[bytes | None], Path]


def run_with_each_call(
    tmp_path: Path, prepare: Callable[[Path], None], files: Sequence[str], fault: str
) -> list[Outcome]:
    """For each call of a commit: run one with the fault injected there; what it printed and left."""
    rehearsal = tmp_path / "rehearsal"
    prepare(rehearsal)
    assert traced(tmp_path / "log", rehearsal, files) == "acknowledged"
    calls = calls_of_commit(tmp_path / "log", rehearsal)
    assert len(calls) > 10

    def run(call: tuple[str, int]) -> Outcome:
        base = tmp_path / f"{call[0]}{call[1]}"
        prepare(base)
        inject = f"inject={call[0]}:{fault}:when={call[1]}"
        printed = traced(tmp_path / f"{base.name}.log", base, files, "-e", inject)
        return call, printed, seen(base), base

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, calls))


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("prepare", [nothing, old, old_and_journal])
def test_killed_before_any_system_call_leaves_old_or_new(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    """Without exception: every state that a kill can leave is one between two such calls."""
    is_recovery = prepare is old_and_journal
    before = NOTHING if prepare is nothing else OLD
    allowed = [NEW] if is_recovery else [before, NEW]
    outcomes = run_with_each_call(tmp_path, prepare, () if is_recovery else ALL, "signal=SIGKILL")
    recovered = [read_all(base) for _, _, _, base in outcomes]
    for (call, printed, _, base), state in zip(outcomes, recovered, strict=True):
        assert printed == "", call
        assert state in allowed, call
        write_all(base, b"next")
        assert read_all(base) == NEXT, call
        assert left_over(base) == ["head.json", "lock"], call
    assert all(state in recovered for state in allowed)
    assert any(one != two for _, _, (one, two, _), _ in outcomes), "no kill hit between the renames"
    assert any(two != head for _, _, (_, two, head), _ in outcomes), "no kill hit before the last rename"


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("prepare", "errno"), [(nothing, "ENOSPC"), (old, "EIO")])
def test_any_refused_system_call_is_a_typed_error_and_leaves_old_or_new(
    tmp_path: Path, prepare: Callable[[Path], None], errno: str
) -> None:
    before = NOTHING if prepare is nothing else OLD
    outcomes = run_with_each_call(tmp_path, prepare, ALL, f"error={errno}")
    answers = []
    for call, answer, _, base in outcomes:
        state = read_all(base)
        assert state in (before, NEW), call
        if answer == "acknowledged":  # only where unlocking was refused: closing the file does it too
            assert state == NEW, call
        else:
            write_all(base, b"next")
            assert left_over(base) == ["head.json", "lock"], call
        answers.append(answer)
    assert set(answers) == {"StoreWriteError", "StoreReadError", "acknowledged"}
    assert (answers.count("acknowledged"), answers.count("StoreReadError")) == (2, 1), "gate and lock are unlocked"
