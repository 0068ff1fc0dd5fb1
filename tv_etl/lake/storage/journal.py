"""Several files change together or not at all, and a change once acknowledged stays.

Theory of operation
===================

A file system can replace one file atomically: write another one beside it, fsync that, rename it into place, fsync the
directory. It cannot do so for two. A series is several files: its bars by period, its logs, and its record, which says
what the others hold. If a process dies between two renames, the record no longer tells the truth; so the renames have
to be repeatable by whoever comes next, and that needs a list of them which itself appears atomically: the journal.

A file group is a directory of its own with a `lock`, a JSON object as its head, `journal.json` while a commit of
several files is under way, and temporary files. Its other targets lie anywhere under the same root, on the same file
system (a rename across file systems is a copy, and not atomic).

    1. take the lock
    2. write every new file under a temporary name; fsync each
    3. write the journal under a temporary name; fsync it; fsync the directory
    4. rename the journal to `journal.json`; fsync the directory          <- the commit point
    5. rename every temporary file into place; fsync their directories
    6. rename `journal.json` over the head

Whatever instant a process is killed at, or the power is cut, the next holder of the lock finds one of two states.
Before 4 there is no journal: the temporary files are swept, and the old state stands. From 4 on there is one: steps 5
and 6 are done again, those that were done already excepted, and the new state stands. Nobody reads between, because
readers share the lock and complete a journal that they find before they look at anything.

Three things are less obvious.

The journal *is* the new head: the same JSON object, with the moves under one more key, `journal`. So the last rename
both ends the journal's life and puts the head in place, which saves a file to write, to sync and to remove in every
commit. The head is never parsed for this, only prefixed: that of a long history takes longer to parse than all the
rest takes.

The directory is synced before the journal gets its name (end of 3): a journal that survived a power cut which one of
its temporary files did not could not be completed. And nothing is synced after 6: where a power cut undoes that
rename, the journal is back, and all that it asks for is found done.

A commit of a single file needs no journal: its rename is the commit point.

Taking a group out is one rename, too: its targets' directory becomes `removed` in the group's own, and from then on is
gone. Where there is a `removed`, all of the group but its lock and its head is to be deleted, `removed` as the last:
by whoever took it out, or after a kill by the next holder of the lock.

The lock is flock, which the kernel frees when its holder dies: POSIX only, and one host only. Whoever wants it passes
a gate first, the flock of the directory, which a waiting writer holds shut; else readers who overlap each other could
keep a writer out for ever. Nothing here knows bars or Parquet.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from tv_etl.lake.errors import (
    DamagedFileError,
    NewerFormatError,
    StoreBusyError,
    StoreReadError,
    StoreWriteError,
)
from tv_etl.lake.overlap import waiting
from tv_etl.lake.storage.regular import read_regular, require_inside

LOCK_TIMEOUT_S = 30.0  # a commit takes milliseconds; the re-write of a long history seconds
JOURNAL_VERSION = 1

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.005  # a writer must meet the short moments in which no reader has the lock
_TEMPORARY = re.compile(r"[0-9a-f]{32}(\.[^/]*)?")

Result = TypeVar("Result")


class FileGroup:
    """The lock, the head, the journal and the temporary files of files that change together.

    `directory` is the group's own, under `root`, and holds the file named `head`. Nothing is created before the first
    `writing`.
    """

    def __init__(self, root: Path, directory: Path, head: str, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.root = root
        self.directory = directory
        self.head = directory / head
        self._lock_timeout_s = lock_timeout_s
        self._lock = directory / "lock"
        self._journal = directory / "journal.json"
        self._removed = directory / "removed"

    @property
    def has_journal(self) -> bool:
        """True while a commit is half done: by a living process, or by one that was killed."""
        try:
            self._journal.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreReadError(self._journal, str(error)) from error
        return True

    def reading(self, read: Callable[[], Result]) -> Result:
        """Return what `read` returns; it sees no half-done commit, of the living or of the dead.

        `read` itself must not come here again: it would wait for the writer who waits for it.

        Raises StoreBusyError when a writer keeps the lock, and what completing a left journal raises.
        """
        while True:
            with ExitStack() as held:
                try:
                    held.enter_context(self._locked(fcntl.LOCK_SH, os.O_RDONLY))
                except (FileNotFoundError, NotADirectoryError):
                    # Never committed here (or the data was copied without its lock): nobody to wait for, unless the
                    # first commit began meanwhile.
                    result = read()
                    if not self._lock.exists():
                        return result
                    continue
                except OSError as error:
                    raise StoreReadError(self._lock, str(error)) from error
                if not self.has_journal:
                    return read()
            with self.writing():
                pass  # entering completes the journal

    @contextmanager
    def writing(self) -> Iterator["StagedFiles"]:
        """Hold the lock; files staged in the transaction appear when it is published, or never.

        Raises StoreBusyError, StoreWriteError, DamagedFileError or NewerFormatError (both of the journal).
        """
        with ExitStack() as held:
            with _as_write_error(self._lock):
                if not self._lock.exists():
                    make_durable_directory(self.directory, self.root)
                held.enter_context(self._locked(fcntl.LOCK_EX, os.O_RDWR | os.O_CREAT))
            self._recover()
            transaction = StagedFiles(self)
            try:
                yield transaction
            finally:
                transaction.discard()

    @contextmanager
    def _locked(self, operation: int, flags: int) -> Iterator[None]:
        """Hold the lock, having passed the gate, which is the flock of the directory. Raises OSError as well."""
        with ExitStack() as gate:
            gate.enter_context(_locked(_open_directory(self.directory), self._lock, operation, self._lock_timeout_s))
            with _locked(_open_lock(self._lock, flags), self._lock, operation, self._lock_timeout_s):
                gate.close()
                yield

    def _recover(self) -> None:
        """Complete a left journal, then sweep what no journal names."""
        moves = self._left_moves()
        with _as_write_error(self.directory):
            if moves is not None:
                require_inside({(self.root / name).parent for _, name in moves}, self.root)
                self._complete(moves)
            with os.scandir(self.directory) as entries:
                names = [entry.name for entry in entries]
            for name in filter(_TEMPORARY.fullmatch, names):
                (self.directory / name).unlink()
            if self._removed.name in names:
                self._delete_removed()

    def _delete_removed(self) -> None:
        """Delete what was taken out, and whatever else there is of the group but its lock and its head."""
        kept = {self._lock.name, self.head.name, self._removed.name}
        with os.scandir(self.directory) as entries:
            names = [entry.name for entry in entries if entry.name not in kept and not entry.is_dir()]
        for name in names:
            (self.directory / name).unlink()
        _sync_directory(self.directory)  # needed: without `removed` nobody would delete what a power cut brings back
        shutil.rmtree(self._removed)
        _sync_directory(self.directory)

    def _left_moves(self) -> "list[tuple[str, str]] | None":
        text = read_regular(self._journal)
        if text is None:
            return None
        try:
            journal = json.loads(text)["journal"]
            version, moves = int(journal["version"]), [(str(a), str(b)) for a, b in journal["moves"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedFileError(self._journal, f"not a journal: {error!r}") from error
        if version > JOURNAL_VERSION:
            raise NewerFormatError(self._journal, f"journal version {version}, known is {JOURNAL_VERSION}")
        for temporary, target in moves:
            if not _TEMPORARY.fullmatch(temporary) or target.startswith("/") or ".." in target.split("/"):
                raise DamagedFileError(self._journal, f"names {temporary!r} and {target!r}")
        return moves

    def _write_journal(self, moves: "list[tuple[str, str]]", head: bytes) -> None:
        journal = json.dumps({"version": JOURNAL_VERSION, "moves": moves}).encode()
        # The head stays unparsed: that of a long history takes longer to parse than all the rest.
        fields = head.removeprefix(b"{")
        content = b'{"journal": %b%b%b' % (journal, b"" if fields == b"}" else b", ", fields)
        temporary = _write_temporary(self.directory, ".json", content)
        # Both are needed: the journal must not survive a name that it mentions, nor the head of the last commit be
        # lost, whose rename nobody has synced yet; and no file may be renamed before the journal is there for good.
        _sync_directory(self.directory)
        temporary.replace(self._journal)
        _sync_directory(self.directory)

    def _complete(self, moves: "list[tuple[str, str]]") -> None:
        """Do the journal's renames, those that are done already excepted, and make it the head."""
        targets = [(self.directory / temporary, self.root / name) for temporary, name in moves]
        directories = {target.parent for _, target in targets}
        for directory in directories:
            if not directory.exists():  # removed by hand after the writer was killed
                make_durable_directory(directory, self.root)
        for temporary, target in targets:
            try:
                temporary.replace(target)
            except FileNotFoundError:
                if not target.exists():
                    name = target.relative_to(self.root).as_posix()
                    reason = f"neither {temporary.name} nor {name} exists"
                    raise DamagedFileError(self._journal, reason) from None
        # Needed: once the journal is the head, nothing would do these renames again.
        for directory in sorted(directories):
            _sync_directory(directory)
        # Not synced: where a power cut brings it back, all that it asks for is found done. The next one syncs it first.
        self._journal.replace(self.head)


class StagedFiles:
    """Files on their way; used inside `FileGroup.writing`, under its lock."""

    def __init__(self, group: FileGroup) -> None:
        self._group = group
        self._staged: list[tuple[Path, Path]] = []
        self._head: bytes | None = None

    def stage(self, target: Path, content: bytes | memoryview) -> None:
        """Write the future content of `target` beside it, durably; the head, a JSON object, waits for the others.

        Raises StoreWriteError.
        """
        if target == self._group.head:
            self._head = bytes(content)
            return
        with _as_write_error(target):
            temporary = _write_temporary(self._group.directory, target.suffix, content)
        self._staged.append((temporary, target))

    def set_aside(self, path: Path) -> Path:
        """Move a file into the group's directory under a name that nobody reads, durably; return where it is now.

        Raises StoreWriteError.
        """
        aside = self._group.directory / f"damaged-{time.time_ns()}-{path.name}"
        with _as_write_error(path):
            path.replace(aside)
            _sync_directory(path.parent)
            _sync_directory(self._group.directory)
        return aside

    def take_out(self, directory: Path) -> None:
        """Make a directory of targets vanish as a whole, durably, and delete it with all of the group but its head.

        Nothing may be staged yet. Raises StoreWriteError: then the directory is as it was, unless it is gone already.
        """
        group = self._group
        with _as_write_error(directory):
            require_inside([directory], group.root)
            if directory.exists():
                _require_same_device(directory, group.directory)
                directory.replace(group._removed)
                _sync_directory(directory.parent)
            else:
                group._removed.mkdir()
            _sync_directory(group.directory)
            group._delete_removed()

    def publish(self) -> None:
        """Make all staged files appear; on return they survive a power cut. Of several, one must be the head.

        Raises StoreWriteError. Then all or none of them are in place once the lock was taken again.
        """
        group, head = self._group, self._head
        with _as_write_error(group.directory):
            if head is not None and not self._staged:
                self._staged.append((_write_temporary(group.directory, group.head.suffix, head), group.head))
                head = None
            targets = {target.parent for _, target in self._staged}
            require_inside(targets, group.root)
            # Where a target is, somebody has committed it, and so made its directory durable.
            new = {target.parent for _, target in self._staged if not target.exists()}
            for directory in sorted(new - {group.directory}):
                make_durable_directory(directory, group.root)
            for directory in sorted(targets - {group.directory}):
                _require_same_device(directory, group.directory)
            if head is not None:
                moves = [(a.name, b.relative_to(group.root).as_posix()) for a, b in self._staged]
                group._write_journal(moves, head)
                self._staged.clear()
                group._complete(moves)
            elif len(self._staged) > 1:
                raise ValueError(f"a commit of {len(self._staged)} files needs its head, {group.head}")
            elif self._staged:
                [(temporary, target)] = self._staged
                temporary.replace(target)
                self._staged.clear()
                _sync_directory(target.parent)  # needed: no journal would repeat the rename

    def discard(self) -> None:
        """Remove what was staged and not published."""
        if not self._group.has_journal:  # a journal that could not be synced still names these files
            for temporary, _ in self._staged:
                with suppress(OSError):  # the next holder of the lock sweeps it
                    temporary.unlink()
        self._staged.clear()


@contextmanager
def locked_directory(directory: Path, root: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock of a directory itself, created where missing. Raises StoreBusyError or StoreWriteError."""
    with _as_write_error(directory):
        if not directory.exists():
            make_durable_directory(directory, root)
        fd = _open_directory(directory)
    with _locked(fd, directory, fcntl.LOCK_EX, lock_timeout_s):
        yield


# Directories whose names this process has synced, with their inodes: for the thousand series of a lake, its upper ones
# are the same.
_durable: dict[Path, int] = {}


def make_durable_directory(directory: Path, root: Path) -> None:
    """Create the directory and what is missing above it; no power cut loses the name of any of them from `root` down.

    Also of those that exist: whoever created them may have been killed before syncing them.
    """
    lowest_above = len(directory.parts) - len(root.parts) + 1
    named: list[tuple[Path, int | None]] = []
    for height, path in enumerate((directory, *directory.parents)):
        inode = _inode(path)
        if height >= lowest_above and inode is not None:
            break
        named.append((path, inode))
    for path, inode in reversed(named):
        if inode is None:
            path.mkdir(exist_ok=True)
            inode = path.stat().st_ino
        elif _durable.get(path) == inode:
            continue
        # One may use a directory whose parent one may not list.
        with suppress(PermissionError) if path == root else nullcontext():
            _sync_directory(path.parent)
        _durable[path] = inode


def _inode(path: Path) -> int | None:
    """None where nothing is."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _write_temporary(directory: Path, suffix: str, content: bytes | memoryview) -> Path:
    path = directory / f"{uuid.uuid4().hex}{suffix}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            with waiting():
                os.fsync(fd)  # needed: a rename may survive what was never written
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    return path


def _require_same_device(directory: Path, own: Path) -> None:
    """Raise StoreWriteError where a rename would be a copy: found before the commit point, not after it."""
    if directory.stat().st_dev != own.stat().st_dev:
        raise StoreWriteError(directory, f"lies on another device than {own}: a commit could not rename into it")


def _open_lock(path: Path, flags: int) -> int:
    """Raises OSError for anything but a regular file: a pipe would hold us up."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, 0o666)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return fd


def _open_directory(directory: Path | str) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)


def _sync_directory(directory: Path | str) -> None:
    fd = _open_directory(directory)
    try:
        with waiting():
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(fd: int, path: Path, operation: int, timeout_s: float) -> Iterator[None]:
    """Hold flock on the descriptor, which is closed at the end."""
    try:
        _acquire(fd, path, operation, timeout_s)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # closing alone would leave it held by a child forked meanwhile
    finally:
        os.close(fd)


def _acquire(fd: int, path: Path, operation: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise StoreBusyError(path, f"another process held the lock for {timeout_s:g} s") from None
        except OSError as error:
            raise StoreWriteError(path, f"cannot be locked: {error}") from error
        with waiting():
            time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@contextmanager
def _as_write_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreWriteError(Path(error.filename or path), error.strerror or str(error)) from error
