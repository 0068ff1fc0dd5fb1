"""The commit protocol under SIGKILL and under refusing system calls, at every one of them."""

import itertools
import json
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
from tv_etl.commit import CommitGroup
from tv_etl.store_errors import DamagedFileError, NewerFormatError, StoreBusyError, StoreWriteError

REPOSITORY = Path(tv_etl.__file__).parents[1]
# Imports neither pyarrow nor anything else that is slow to start: it runs once for each system call.
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tv_etl.commit import CommitGroup
base, content = Path(sys.argv[2]), sys.argv[3].encode()
group = CommitGroup(base, base / ".tv_etl" / "1m" / "X")
try:
    with group.writing() as transaction:
        for name in sys.argv[4:]:
            transaction.stage(base / "ohlcv" / "X" / name, content)
        transaction.publish()
    answer = "acknowledged"
except Exception as error:
    answer = type(error).__name__
print(answer, flush=True)
"""
BOTH = ("one.parquet", "two.parquet")
STATE_CHANGING = ("openat", "mkdir", "rename", "unlink", "write", "fsync", "flock")


def group_in(base: Path, lock_timeout_s: float = 5) -> CommitGroup:
    return CommitGroup(base, base / ".tv_etl" / "1m" / "X", lock_timeout_s=lock_timeout_s)


def write_both(base: Path, content: bytes) -> None:
    with group_in(base).writing() as transaction:
        for name in BOTH:
            transaction.stage(base / "ohlcv" / "X" / name, content)
        transaction.publish()


def seen(base: Path) -> list[bytes | None]:
    files = [base / "ohlcv" / "X" / name for name in BOTH]
    return [path.read_bytes() if path.exists() else None for path in files]


def read_both(base: Path) -> list[bytes | None]:
    return group_in(base).reading(lambda: seen(base))


def left_over(base: Path) -> list[str]:
    return sorted(path.name for path in (base / ".tv_etl" / "1m" / "X").iterdir())


def test_nothing_is_created_before_the_first_commit(tmp_path: Path) -> None:
    base = tmp_path / "lake"
    assert read_both(base) == [None, None]
    assert not base.exists()


def test_a_commit_leaves_only_its_files_and_the_lock(tmp_path: Path) -> None:
    write_both(tmp_path / "a" / "lake", b"new")
    assert read_both(tmp_path / "a" / "lake") == [b"new", b"new"]
    assert left_over(tmp_path / "a" / "lake") == ["lock"]


def test_what_is_staged_and_not_published_vanishes(tmp_path: Path) -> None:
    write_both(tmp_path, b"old")
    with pytest.raises(ZeroDivisionError), group_in(tmp_path).writing() as transaction:
        transaction.stage(tmp_path / "ohlcv" / "X" / "one.parquet", b"new")
        raise ZeroDivisionError
    assert read_both(tmp_path) == [b"old", b"old"]
    assert left_over(tmp_path) == ["lock"]


def test_waiting_for_the_lock_ends_with_an_error(tmp_path: Path) -> None:
    with group_in(tmp_path).writing():
        impatient = group_in(tmp_path, 0.02)
        with pytest.raises(StoreBusyError, match=r"lock: another process held the lock for 0\.02 s") as caught:
            impatient.reading(lambda: seen(tmp_path))
        assert caught.value.retryable
        with pytest.raises(StoreBusyError), impatient.writing():
            pass


def test_readers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    write_both(tmp_path, b"old")
    assert group_in(tmp_path).reading(lambda: group_in(tmp_path, 0).reading(lambda: seen(tmp_path))) == [b"old"] * 2


def test_a_reader_never_sees_half_of_a_commit(tmp_path: Path) -> None:
    def write() -> None:
        for number in range(150):
            write_both(tmp_path, b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    states = []
    while writer.is_alive():
        states.append(read_both(tmp_path))
    writer.join()
    assert all(one == two for one, two in states)
    assert read_both(tmp_path) == [b"149", b"149"]


@pytest.mark.parametrize(
    ("journal", "error"),
    [
        (b"", DamagedFileError),
        (b"[]", DamagedFileError),
        (b'{"version": 2, "moves": []}', NewerFormatError),
        (b'{"version": 1, "moves": [["%s", "../outside"]]}' % (b"0" * 32), DamagedFileError),
        (b'{"version": 1, "moves": [["lock", "ohlcv/X/one.parquet"]]}', DamagedFileError),
        (b'{"version": 1, "moves": [["%s", "ohlcv/X/gone.parquet"]]}' % (b"0" * 32), DamagedFileError),
    ],
)
def test_a_journal_that_cannot_be_followed_is_an_error(tmp_path: Path, journal: bytes, error: type) -> None:
    write_both(tmp_path, b"old")
    path = tmp_path / ".tv_etl" / "1m" / "X" / "journal.json"
    path.write_bytes(journal)
    with pytest.raises(error, match=re.escape(str(path))):
        read_both(tmp_path)
    with pytest.raises(error, match=re.escape(str(path))):
        write_both(tmp_path, b"new")
    assert seen(tmp_path) == [b"old", b"old"]


def test_a_journal_is_followed_although_the_data_directory_was_removed(tmp_path: Path) -> None:
    write_both(tmp_path, b"old")
    shutil.rmtree(tmp_path / "ohlcv")
    leave_journal(tmp_path, b"new")
    assert read_both(tmp_path) == [b"new", b"new"]


def test_a_journal_that_comes_back_changes_nothing(tmp_path: Path) -> None:
    write_both(tmp_path, b"old")
    leave_journal(tmp_path, b"new")
    directory = tmp_path / ".tv_etl" / "1m" / "X"
    journal = (directory / "journal.json").read_bytes()
    write_both(tmp_path, b"newest")
    (directory / "journal.json").write_bytes(journal)
    assert read_both(tmp_path) == [b"newest", b"newest"]
    assert left_over(tmp_path) == ["lock"]


def test_readers_who_overlap_do_not_keep_a_writer_out(tmp_path: Path) -> None:
    write_both(tmp_path, b"old")
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
            write_both(tmp_path, b"new")
    finally:
        is_written.set()
        for each in readers:
            each.join()
    assert next(reads) > 10
    assert seen(tmp_path) == [b"new", b"new"]


def test_a_base_below_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreWriteError, match="file"):
        write_both(tmp_path / "file" / "lake", b"new")


def leave_journal(base: Path, content: bytes) -> None:
    """What a writer leaves that was killed after its commit point."""
    directory = base / ".tv_etl" / "1m" / "X"
    moves = []
    for digit, name in (("0", "one.parquet"), ("1", "two.parquet")):
        (directory / f"{digit * 32}.parquet").write_bytes(content)
        moves.append((f"{digit * 32}.parquet", f"ohlcv/X/{name}"))
    (directory / "journal.json").write_text(json.dumps({"version": 1, "moves": moves}))


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
    write_both(base, b"old")


def old_and_journal(base: Path) -> None:
    """The recovery of a killed commit."""
    write_both(base, b"old")
    leave_journal(base, b"new")


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("strace")
    if shutil.which("strace") is None or traced(path / "log", path / "lake", BOTH) != "acknowledged":
        pytest.skip("strace is missing or may not trace here")


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("files", [BOTH, BOTH[:1]])
def test_nothing_is_relied_upon_before_it_is_synced(tmp_path: Path, files: Sequence[str]) -> None:
    """What a power cut could undo: content and names that were not synced."""
    base, log = tmp_path / "lake", tmp_path / "log"
    assert traced(log, base, files, "-y") == "acknowledged"
    journal = base / ".tv_etl" / "1m" / "X" / "journal.json"
    content: set[Path] = set()
    names: set[Path] = set()
    for name, paths in events(log, base):
        path = paths[0]
        if name in ("mkdir", "create") and path.name != "lock":
            names.add(path)
        elif name == "write":
            content.add(path)
        elif name == "fsync":
            content.discard(path)
            names = {each for each in names if each.parent != path}
        elif name == "rename":
            assert not content
            alone = paths[1] == journal or len(files) == 1
            assert names <= ({path} if alone else set((base / "ohlcv" / "X").iterdir()))
            names = names - {path} | {paths[1]}
        elif path == journal:
            # A power cut may bring it back: see test_a_journal_that_comes_back_changes_nothing.
            assert name == "unlink" and not names
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
    before = [None, None] if prepare is nothing else [b"old", b"old"]
    allowed = [[b"new", b"new"]] if is_recovery else [before, [b"new", b"new"]]
    outcomes = run_with_each_call(tmp_path, prepare, () if is_recovery else BOTH, "signal=SIGKILL")
    recovered = [read_both(base) for _, _, _, base in outcomes]
    for (call, printed, _, base), state in zip(outcomes, recovered, strict=True):
        assert printed == "", call
        assert state in allowed, call
        write_both(base, b"next")
        assert read_both(base) == [b"next", b"next"], call
        assert left_over(base) == ["lock"], call
    assert all(state in recovered for state in allowed)
    assert any(one != two for _, _, (one, two), _ in outcomes), "no kill hit between the renames"


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("prepare", "errno"), [(nothing, "ENOSPC"), (old, "EIO")])
def test_any_refused_system_call_is_a_typed_error_and_leaves_old_or_new(
    tmp_path: Path, prepare: Callable[[Path], None], errno: str
) -> None:
    before = [None, None] if prepare is nothing else [b"old", b"old"]
    outcomes = run_with_each_call(tmp_path, prepare, BOTH, f"error={errno}")
    answers = []
    for call, answer, _, base in outcomes:
        state = read_both(base)
        assert state in (before, [b"new", b"new"]), call
        if answer == "acknowledged":  # only where unlocking was refused: closing the file does it too
            assert state == [b"new", b"new"], call
        else:
            write_both(base, b"next")
            assert left_over(base) == ["lock"], call
        answers.append(answer)
    assert set(answers) == {"StoreWriteError", "StoreReadError", "acknowledged"}
    assert (answers.count("acknowledged"), answers.count("StoreReadError")) == (2, 1), "gate and lock are unlocked"
