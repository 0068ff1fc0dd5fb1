"""The commit of an object store, killed before every request, raced, stalled and refused."""

import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import tv_etl
from tv_etl.lake.errors import DamagedFileError, NewerFormatError, StoreBusyError, StoreReadError, StoreWriteError
from tv_etl.lake.storage.bucket import Bucket
from tv_etl.lake.storage.files import Snapshot, Transaction
from tv_etl.lake.storage.objects import ObjectFiles, ObjectStorage
from tv_etl.lake.storage.void import VOID_BYTES, is_void
from tv_etl_tests.conftest import s3_environment
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.s3_proxy import FORWARD, HANG_UP, IGNORE_CONDITION, LOSE_ANSWER, S3Proxy, s3_proxy

REPOSITORY = Path(tv_etl.__file__).parents[1]
DATA = "ohlcv/interval=1m/symbol=X"
MONTHS = [f"{DATA}/2026-{month}.parquet" for month in ("09", "10", "11")]
HEAD = ".tv_etl/1m/X/series.json"


def files_at(address: str, timeout_s: float = HANG_S) -> ObjectFiles:
    return ObjectStorage(address, timeout_s=timeout_s).files("1m", "X")


def write_all(files: ObjectFiles, content: bytes) -> None:
    def write(transaction: Transaction) -> None:
        for name in MONTHS:
            transaction.read(name)
            transaction.stage(name, content + transaction.stamp)
        transaction.stage(HEAD, json.dumps({"facts": content.decode()}).encode())
        transaction.publish()

    files.writing(write)


def remove_all(files: ObjectFiles) -> None:
    def write(transaction: Transaction) -> None:
        transaction.take_out()
        transaction.stage(HEAD, b'{"facts": "removed"}')
        transaction.publish()

    files.writing(write)


REMOVED = {None, b"removed"}  # what read_all makes of it


# Imports nothing that is slow to start: it runs once for each request.
WRITER = f"""
import json, sys
sys.path.insert(0, sys.argv[1])
from tv_etl.lake.storage.objects import ObjectFiles, ObjectStorage, Transaction
MONTHS, HEAD = {MONTHS!r}, {HEAD!r}
{inspect.getsource(write_all)}
{inspect.getsource(remove_all)}
files = ObjectStorage(sys.argv[2], timeout_s={HANG_S}).files("1m", "X")
sys.stdin.readline()
if sys.argv[3] == "removed":
    remove_all(files)
elif sys.argv[3]:
    write_all(files, sys.argv[3].encode())
else:
    files.writing(lambda transaction: None)
print("acknowledged", flush=True)
"""


def read_all(files: ObjectFiles) -> set[bytes | None]:
    """What the three months and the record hold, without stamps: one element where they are of one commit."""

    def read(snapshot: Snapshot) -> set[bytes | None]:
        contents = {name: snapshot.read(name) for name in MONTHS}
        record = snapshot.read(HEAD)
        assert snapshot.data_names() == [name for name, content in contents.items() if content is not None]
        for name, content in contents.items():
            if content is not None:
                assert snapshot.read_tail(name, 16) == (content[-16:], len(content))
        values = {None if content is None else content[:-16] for content in contents.values()}
        return values | {None if record is None else json.loads(record)["facts"].encode()}

    return files.reading(read)


def objects_at(address: str) -> list[str]:
    return sorted(Bucket(address, timeout_s=5).sizes(""))


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[S3Proxy]:
    with s3_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(s3_lake: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> ObjectFiles:
    """The files of the lake, reached through the proxy; `files_at(s3_lake)` reaches them directly."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        return files_at(s3_lake)


def test_a_commit_leaves_its_objects_and_the_head(s3_lake: str) -> None:
    files = files_at(s3_lake)
    assert not files.is_stored
    assert read_all(files) == {None}
    assert objects_at(s3_lake) == []
    write_all(files, b"old")
    write_all(files, b"new")
    assert files.is_stored
    assert read_all(files) == {b"new"}
    assert objects_at(s3_lake) == [HEAD, *MONTHS]


def test_what_is_staged_and_not_published_vanishes(s3_lake: str) -> None:
    def write(transaction: Transaction) -> None:
        transaction.stage(MONTHS[0], b"new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        files_at(s3_lake).writing(write)
    assert objects_at(s3_lake) == []


def test_a_commit_of_nothing_puts_nothing(through_proxy: ObjectFiles, proxy: S3Proxy) -> None:
    write_all(through_proxy, b"old")
    proxy.requests.clear()
    through_proxy.writing(lambda transaction: transaction.publish())
    assert {method for method, _ in proxy.requests} == {"GET"}


def test_the_lake_knows_its_intervals_and_series(s3_lake: str) -> None:
    lake = ObjectStorage(s3_lake, timeout_s=5)
    assert (lake.interval_tokens(), lake.stored_segments("1m")) == ([], [])
    write_all(files_at(s3_lake), b"old")
    Bucket(s3_lake, timeout_s=5).put("ohlcv/interval=1m/symbol=EMPTY/_SUCCESS", b"")
    Bucket(s3_lake, timeout_s=5).put("ohlcv/notes/a.parquet", b"")
    assert (lake.interval_tokens(), lake.stored_segments("1m")) == (["1m"], ["X"])
    assert lake.address(DATA) == f"{s3_lake}/{DATA}"


# What was there before: nothing, a commit, or a commit that was killed at its commit point.
def nothing(address: str, proxy: S3Proxy) -> None:
    pass


def old(address: str, proxy: S3Proxy) -> None:
    write_all(files_at(address), b"old")


def half_done(address: str, proxy: S3Proxy) -> None:
    old(address, proxy)
    kill_before(address, proxy, b"half", lambda method, path: method == "PUT" and path.endswith(MONTHS[0]))


def run_writer(address: str, proxy: S3Proxy, content: bytes, judge: Callable[[str, str, int], str]) -> str:
    """Commit in a process of its own; what it printed. The judge is told its process id."""
    command = [sys.executable, "-c", WRITER, str(REPOSITORY), address, content.decode()]
    environment = {**os.environ, **s3_environment(proxy.endpoint)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        proxy.judge = lambda method, path: judge(method, path, writer.pid)
        printed, _ = writer.communicate("begin\n")
    proxy.judge = lambda method, path: FORWARD
    return printed.strip()


def kill_before(address: str, proxy: S3Proxy, content: bytes, is_the_one: Callable[[str, str], bool]) -> str:
    def judge(method: str, path: str, writer: int) -> str:
        if not is_the_one(method, path):
            return FORWARD
        os.kill(writer, signal.SIGKILL)
        return HANG_UP

    return run_writer(address, proxy, content, judge)


def nth_request(number: int) -> Callable[[str, str], bool]:
    """True for one request alone, counted from 0."""
    count = itertools.count()
    return lambda method, path: next(count) == number


@pytest.mark.slow
@pytest.mark.usefixtures("s3_lake")
@pytest.mark.parametrize("prepare", [nothing, old, half_done])
def test_killed_before_any_request_leaves_old_or_new(proxy: S3Proxy, prepare: Callable[[str, S3Proxy], None]) -> None:
    """Three months and the record: all or nothing, whoever looks next, and after whoever writes next."""
    is_recovery = prepare is half_done
    before = {"nothing": None, "old": b"old", "half_done": b"half"}[prepare.__name__]
    content = b"" if is_recovery else b"new"
    allowed: list[set[bytes | None]] = [{before}] if is_recovery else [{before}, {b"new"}]
    seen = []
    for number in range(100):
        address = f"s3://lakes/{uuid.uuid4().hex}"
        prepare(address, proxy)
        printed = kill_before(address, proxy, content, nth_request(number))
        state = read_all(files_at(address))
        assert state in allowed, number
        seen.append(state)
        if printed:
            break
        files_at(address).writing(lambda transaction: None)
        assert read_all(files_at(address)) == state, number
        write_all(files_at(address), b"next")
        assert read_all(files_at(address)) == {b"next"}, number
        assert objects_at(address) == [HEAD, *MONTHS], number
    assert printed == "acknowledged"
    assert len(seen) >= 10
    assert all(state in seen for state in allowed)


def voids_at(address: str) -> list[str]:
    bucket = Bucket(address, timeout_s=5)
    return [name for name in objects_at(address) if (found := bucket.get(name)) and is_void(found.content)]


@pytest.mark.slow
@pytest.mark.usefixtures("s3_lake")
@pytest.mark.parametrize("prepare", [old, half_done])
def test_a_removal_killed_before_any_request_is_made_or_not(
    proxy: S3Proxy, prepare: Callable[[str, S3Proxy], None]
) -> None:
    """Whoever writes next, or removes it again, finds one of the two and finishes it."""
    before = {b"old" if prepare is old else b"half"}
    seen, log = [], ".tv_etl/1m/X/log.parquet"
    for number in range(100):
        address = f"s3://lakes/{uuid.uuid4().hex}"
        prepare(address, proxy)
        Bucket(address, timeout_s=5).put(log, b"a log")
        printed = kill_before(address, proxy, b"removed", nth_request(number))
        state, lake = read_all(files_at(address)), ObjectStorage(address, timeout_s=5)
        assert state in (before, REMOVED), number
        seen.append(state)
        assert lake.stored_segments("1m") == ([] if state == REMOVED else ["X"]), number
        assert files_at(address).reading(lambda snapshot: snapshot.read(log)) == (
            None if state == REMOVED else b"a log"
        ), number
        is_half = files_at(address).is_half_removed
        if not is_half and state == REMOVED:
            assert voids_at(address) == [log, *MONTHS], number
        files_at(address).writing(lambda transaction: None)
        assert read_all(files_at(address)) == state, number
        if state == REMOVED:
            assert voids_at(address) == [log, *MONTHS], number
            assert not files_at(address).is_half_removed
        write_all(files_at(address), b"next")
        assert read_all(files_at(address)) == {b"next"}, number
        remove_all(files_at(address))
        assert (read_all(files_at(address)), voids_at(address)) == (REMOVED, [log, *MONTHS]), number
        assert objects_at(address) == [log, HEAD, *MONTHS], number
        if printed:
            break
    assert printed == "acknowledged"
    assert before in seen and REMOVED in seen and len(seen) > 10


@pytest.mark.slow
@pytest.mark.parametrize("slow", [write_all, remove_all])
def test_neither_a_removal_nor_a_write_that_is_held_up_undoes_the_other(
    s3_lake: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch, slow: Callable[..., None]
) -> None:
    """Before any of its requests: then all of the other is done, and the last of the two commits stands."""
    writes, removes = partial(write_all, content=b"new"), remove_all
    seen, was_held = list[set[bytes | None]](), True
    for number in itertools.count():
        address = f"s3://lakes/{uuid.uuid4().hex}"
        direct = files_at(address)
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            through = files_at(address)
        write_all(direct, b"old")
        is_the_one, committed, was_held = nth_request(number), False, False

        def judge(method: str, path: str, direct: ObjectFiles = direct, is_the_one=is_the_one) -> str:  # type: ignore[no-untyped-def]
            nonlocal committed, was_held
            if is_the_one(method, path):
                was_held = True
                committed = read_all(direct) != {b"old"}
                (removes if slow is write_all else writes)(direct)
            return FORWARD

        proxy.judge = judge
        (writes if slow is write_all else removes)(through)
        proxy.judge = lambda method, path: FORWARD
        if not was_held:
            break
        # Who is held up before its commit point comes second, else first.
        wanted: set[bytes | None] = REMOVED if (slow is remove_all) is not committed else {b"new"}
        assert read_all(direct) == wanted, number
        seen.append(wanted)
        if wanted == REMOVED:
            assert voids_at(address) == MONTHS, number
        assert objects_at(address) == [HEAD, *MONTHS], number
    assert REMOVED in seen and {b"new"} in seen


def lose_answer(address: str, proxy: S3Proxy, number: int) -> tuple[str, bool]:
    """Commit without the answer to one request; what the writer printed, and whether it made so many."""
    is_it = nth_request(number)
    lost: list[bool] = []

    def judge(method: str, path: str, writer: int) -> str:
        lost.append(is_it(method, path))
        return LOSE_ANSWER if lost[-1] else FORWARD

    return run_writer(address, proxy, b"new", judge), any(lost)


@pytest.mark.slow
@pytest.mark.usefixtures("s3_lake")
def test_no_lost_answer_loses_or_repeats_a_commit(proxy: S3Proxy) -> None:
    for number in range(100):
        address = f"s3://lakes/{uuid.uuid4().hex}"
        old(address, proxy)
        printed, was_lost = lose_answer(address, proxy, number)
        assert printed == "acknowledged", number
        assert read_all(files_at(address)) == {b"new"}
        assert objects_at(address) == [HEAD, *MONTHS], number
        if not was_lost:
            break
    assert number > 10


@pytest.mark.parametrize("moment", ["before the commit point", "after it"])
def test_a_writer_that_was_held_up_undoes_nothing(
    s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy, moment: str
) -> None:
    """Not even where the contents are again what they were when it began."""
    direct = files_at(s3_lake)
    write_all(direct, b"old")
    held, go_on = threading.Event(), threading.Event()
    target = HEAD if moment == "before the commit point" else MONTHS[0]

    def judge(method: str, path: str) -> str:
        if method == "PUT" and path.endswith(target) and not held.is_set():
            held.set()
            assert go_on.wait(30)
        return FORWARD

    proxy.judge = judge
    slow = threading.Thread(target=write_all, args=(through_proxy, b"slow"))
    slow.start()
    assert held.wait(30)
    write_all(direct, b"newer")
    write_all(direct, b"old")
    go_on.set()
    slow.join()
    # Before the commit point it is the slow writer that comes last; its commit was never one until now.
    assert read_all(direct) == ({b"slow"} if moment == "before the commit point" else {b"old"})
    assert objects_at(s3_lake) == [HEAD, *MONTHS]


def test_a_reader_never_sees_half_of_a_commit(s3_lake: str) -> None:
    def write() -> None:
        for number in range(15):
            write_all(files_at(s3_lake), b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    states = []
    while writer.is_alive():
        states.append(read_all(files_at(s3_lake)))
    writer.join()
    assert all(len(state) == 1 for state in states)
    assert read_all(files_at(s3_lake)) == {b"14"}


def test_readers_need_no_right_to_write(
    s3_lake: str, s3_endpoint: str, through_proxy: ObjectFiles, proxy: S3Proxy
) -> None:
    half_done(s3_lake, proxy)
    proxy.judge = lambda method, path: FORWARD if method == "GET" else "AccessDenied"
    assert read_all(through_proxy) == {b"half"}
    with pytest.raises(StoreWriteError, match="AccessDenied"):
        write_all(through_proxy, b"new")


def test_a_first_commit_that_was_killed_is_a_stored_series(s3_lake: str, proxy: S3Proxy) -> None:
    kill_before(s3_lake, proxy, b"new", lambda method, path: method == "PUT" and path.endswith(MONTHS[0]))
    assert files_at(s3_lake).is_stored
    assert ObjectStorage(s3_lake, timeout_s=5).stored_segments("1m") == ["X"]
    assert read_all(files_at(s3_lake)) == {b"new"}


def test_a_head_that_always_changes_first_is_busy(s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy) -> None:
    write_all(files_at(s3_lake), b"old")
    proxy.judge = lambda method, path: "PreconditionFailed" if method == "PUT" and path.endswith(HEAD) else FORWARD
    hasty = through_proxy
    hasty._timeout_s = 0.3
    with pytest.raises(StoreBusyError, match=r"series\.json: other writers came first for 0\.3 s") as caught:
        write_all(hasty, b"new")
    assert caught.value.retryable
    assert read_all(files_at(s3_lake)) == {b"old"}
    assert objects_at(s3_lake) == [HEAD, *MONTHS], "what it staged is gone"


def test_a_server_that_ignores_conditions_gets_no_lake(
    s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy
) -> None:
    proxy.judge = lambda method, path: IGNORE_CONDITION
    with pytest.raises(StoreWriteError, match="the server ignores If-Match on PUT"):
        write_all(through_proxy, b"new")
    assert objects_at(s3_lake) == [".tv_etl/conditions"]
    proxy.judge = lambda method, path: FORWARD
    write_all(through_proxy, b"new")
    proxy.requests.clear()
    write_all(through_proxy, b"newer")
    assert not any(path.endswith("conditions") for _, path in proxy.requests), "asked once"


def test_a_commit_in_doubt_is_an_error_and_old_or_new(s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy) -> None:
    """Where the answer is lost and asking again fails, what is staged must stay: the head may name it."""
    write_all(files_at(s3_lake), b"old")
    answers = iter([LOSE_ANSWER])
    proxy.judge = lambda method, path: (
        next(answers, "AccessDenied") if method == "PUT" and path.endswith(HEAD) else FORWARD
    )
    with pytest.raises(StoreWriteError, match=r"series\.json: AccessDenied"):
        write_all(through_proxy, b"new")
    assert read_all(files_at(s3_lake)) == {b"new"}


def test_a_commit_whose_answer_was_lost_is_made_once(s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy) -> None:
    answers = iter([LOSE_ANSWER])
    proxy.judge = lambda method, path: next(answers, FORWARD) if method == "PUT" and path.endswith(HEAD) else FORWARD
    calls = []

    def write(transaction: Transaction) -> None:
        calls.append(transaction)
        transaction.stage(MONTHS[0], b"new")
        transaction.publish()

    through_proxy.writing(write)
    assert len(calls) == 1
    assert objects_at(s3_lake) == [HEAD, MONTHS[0]]


@pytest.mark.parametrize("outcome", ["result", "error"])
@pytest.mark.parametrize("way", ["reading", "writing"])
def test_what_was_found_in_two_states_is_looked_for_again(s3_lake: str, way: str, outcome: str) -> None:
    files = files_at(s3_lake)
    write_all(files, b"old")
    contents: list[bytes] = []

    def look(snapshot: Snapshot) -> list[bytes]:
        first = snapshot.read(MONTHS[0])
        if not contents:
            write_all(files_at(s3_lake), b"new")
        second = snapshot.read(MONTHS[1])
        assert first is not None and second is not None
        contents.append(second)
        if first[:3] != second[:3] and outcome == "error":
            raise DamagedFileError("both", "do not fit")
        return [first[:3], second[:3]]

    assert getattr(files, way)(look) == [b"new", b"new"]
    assert len(contents) == 2


def test_a_target_that_was_replaced_by_hand_is_not_overwritten(s3_lake: str, proxy: S3Proxy) -> None:
    half_done(s3_lake, proxy)
    bucket = Bucket(s3_lake, timeout_s=5)
    bucket.put(MONTHS[1], b"by hand")
    with pytest.raises(DamagedFileError, match=f"{MONTHS[1]}: was replaced by something else than tv_etl"):
        write_all(files_at(s3_lake), b"new")
    bucket.delete([MONTHS[1]])
    files_at(s3_lake).writing(lambda transaction: None)
    assert read_all(files_at(s3_lake)) == {b"half"}


@pytest.mark.parametrize("lists", [False, True])
def test_a_head_of_an_older_version_says_less_and_is_understood(s3_lake: str, lists: bool) -> None:
    """It names moves only while they are under way, and no files; and an older version leaves out what it knows not."""
    bucket = Bucket(s3_lake, timeout_s=5)
    write_all(files_at(s3_lake), b"old")
    found = bucket.get(HEAD)
    assert found is not None
    head = json.loads(found.content)
    assert head["commit"].keys() == {"version", "id", "moves", "files"}
    head["commit"].pop("files")
    empty: list[object] = []
    for moves in (head["commit"]["moves"], empty):
        bucket.put(HEAD, json.dumps({**head, "commit": {**head["commit"], "moves": moves}}).encode())
        assert read_all(files_at(s3_lake)) == {b"old"}
        assert files_at(s3_lake).reading(lambda snapshot: snapshot.data_names(), lists=lists) == MONTHS
    write_all(files_at(s3_lake), b"new")
    assert read_all(files_at(s3_lake)) == {b"new"}


def test_a_commit_of_the_record_alone_keeps_the_proof_of_the_moves_before(
    s3_lake: str, through_proxy: ObjectFiles, proxy: S3Proxy
) -> None:
    def write_record(transaction: Transaction) -> None:
        transaction.stage(HEAD, b'{"facts": "newer"}')
        transaction.publish()

    write_all(files_at(s3_lake), b"old")
    files_at(s3_lake).writing(write_record)
    proxy.requests.clear()
    content, record = through_proxy.reading(lambda snapshot: (snapshot.read(MONTHS[2]), snapshot.read(HEAD)))
    assert content is not None and content.startswith(b"old") and record == b'{"facts":"newer"}'
    assert [path.rpartition("/")[2] for _, path in proxy.requests] == ["series.json", "2026-11.parquet"]
    write_all(files_at(s3_lake), b"new")
    assert read_all(files_at(s3_lake)) == {b"new"}
    assert objects_at(s3_lake) == [HEAD, *MONTHS]


def test_a_commit_that_begins_with_an_older_head_begins_again(s3_lake: str) -> None:
    write_all(files_at(s3_lake), b"old")
    state = files_at(s3_lake).reading(lambda snapshot: snapshot.state)
    write_all(files_at(s3_lake), b"newer")
    found: list[bytes] = []

    def write(transaction: Transaction) -> None:
        content = transaction.read(MONTHS[0])
        assert content is not None
        found.append(content[:-16])
        transaction.stage(MONTHS[0], b"newest" + transaction.stamp)
        transaction.publish()

    files_at(s3_lake).writing(write, lists=False, begins_with=state)
    assert found == [b"newer", b"newer"], "what it read was of no state that it knew; then it knew"
    content = files_at(s3_lake).reading(lambda snapshot: snapshot.read(MONTHS[0]))
    assert content is not None and content.startswith(b"newest")


@pytest.mark.parametrize(
    ("commit", "error"),
    [
        ({"version": 2, "id": "", "moves": []}, NewerFormatError),
        ({"version": 1, "id": ""}, DamagedFileError),
        ({"version": 1, "id": "", "moves": [], "files": ["../a"]}, DamagedFileError),
    ],
)
def test_a_head_that_cannot_be_understood_is_an_error(s3_lake: str, commit: object, error: type) -> None:
    write_all(files_at(s3_lake), b"old")
    Bucket(s3_lake, timeout_s=5).put(HEAD, json.dumps({"commit": commit}).encode())
    with pytest.raises(error, match=r"series\.json"):
        read_all(files_at(s3_lake))
    with pytest.raises(error, match=r"series\.json"):
        write_all(files_at(s3_lake), b"new")
    if error is DamagedFileError:
        [aside] = files_at(s3_lake).mend()
        assert aside in objects_at(s3_lake)
        assert files_at(s3_lake).mend() == []
        write_all(files_at(s3_lake), b"new")
        assert read_all(files_at(s3_lake)) == {b"new"}


def test_a_file_that_only_has_the_size_of_a_void_is_one_that_the_head_tells_of(s3_lake: str) -> None:
    """Nothing of a lake has, but what somebody has put there."""
    write_all(files_at(s3_lake), b"old")
    bucket = Bucket(s3_lake, timeout_s=5)
    bucket.put(MONTHS[1], bytes(VOID_BYTES))
    assert files_at(s3_lake).reading(lambda snapshot: (snapshot.data_names(), snapshot.read(MONTHS[1]))) == (
        MONTHS,
        bytes(VOID_BYTES),
    )
    bucket.put(f"{DATA}/stranger.parquet", bytes(VOID_BYTES))
    remove_all(files_at(s3_lake))
    assert voids_at(s3_lake) == [*MONTHS, f"{DATA}/stranger.parquet"], "no engine stumbles over what is left"
    assert files_at(s3_lake).reading(lambda snapshot: snapshot.data_names()) == []


def test_a_record_from_a_backup_tells_of_no_file_where_a_void_is(s3_lake: str) -> None:
    write_all(files_at(s3_lake), b"old")
    bucket = Bucket(s3_lake, timeout_s=5)
    backup = bucket.get(HEAD)
    remove_all(files_at(s3_lake))
    assert backup is not None
    bucket.put(HEAD, backup.content)
    assert files_at(s3_lake).reading(lambda snapshot: snapshot.data_names()) == []
    write_all(files_at(s3_lake), b"new")
    assert read_all(files_at(s3_lake)) == {b"new"}


@pytest.mark.slow
def test_of_two_removals_at_once_one_is_made(s3_lake: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one before any request of the one: what is left is the same as of one alone."""
    for number in itertools.count():
        address, requests = f"s3://lakes/{uuid.uuid4().hex}", itertools.count()
        direct = files_at(address)
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            through = files_at(address)
        write_all(direct, b"old")

        def judge(
            method: str,
            path: str,
            direct: ObjectFiles = direct,
            requests: Iterator[int] = requests,
            number: int = number,
        ) -> str:
            if next(requests) == number:
                remove_all(direct)
            return FORWARD

        proxy.judge = judge
        remove_all(through)
        proxy.judge = lambda method, path: FORWARD
        assert (read_all(direct), direct.is_half_removed) == (REMOVED, False), number
        assert (voids_at(address), objects_at(address)) == (MONTHS, [HEAD, *MONTHS]), number
        if next(requests) <= number:
            break
    assert number > 10


def test_what_is_set_aside_is_gone_and_kept(s3_lake: str) -> None:
    write_all(files_at(s3_lake), b"old")

    def write(transaction: Transaction) -> list[str]:
        aside = [transaction.set_aside(name) for name in (MONTHS[1], HEAD)]
        with pytest.raises(StoreReadError, match="no such object"):
            transaction.set_aside(f"{DATA}/gone.parquet")
        transaction.publish()
        return aside

    month, head = files_at(s3_lake).writing(write)
    assert objects_at(s3_lake) == sorted([HEAD, *MONTHS, month, head])
    assert voids_at(s3_lake) == [MONTHS[1]]
    bucket = Bucket(s3_lake, timeout_s=5)
    found = bucket.get(month), bucket.get(head)
    assert found[0] is not None and found[0].content.startswith(b"old")
    assert found[1] is not None and json.loads(found[1].content) == {"facts": "old"}
    assert files_at(s3_lake).reading(lambda snapshot: snapshot.read(HEAD)) is None
    assert files_at(s3_lake).reading(lambda snapshot: snapshot.data_names()) == [MONTHS[0], MONTHS[2]]
