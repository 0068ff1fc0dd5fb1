"""A lake in a directory of this host; commits, locks and recovery are journal.py's.

There are no voids here (void.py) but those that a copy of a lake in an object store has brought along: no files for us.
"""

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tv_etl.lake.errors import StoreReadError
from tv_etl.lake.storage import journal
from tv_etl.lake.storage.files import BESIDE, DATASET, RECORD, Snapshot, Transaction, data_directory, own_directory
from tv_etl.lake.storage.journal import FileGroup, locked_directory
from tv_etl.lake.storage.regular import open_regular, read_regular
from tv_etl.lake.storage.void import VOID_BYTES, is_void

_BEYOND_ASCII = re.compile(r"%(?!3A)")

Result = TypeVar("Result")


def local_directory(base: str | Path) -> Path | None:
    """The directory that is meant by a path or a `file://` address; None for any other address. Raises ValueError."""
    scheme, separator, _ = str(base).partition("://")
    if not separator:
        return Path(base)
    if scheme != "file":
        return None
    parts = urlsplit(str(base))
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise ValueError(f"{base}: expected file:// and an absolute path, e.g. file:///srv/lake")
    return Path(unquote(parts.path))


class DirectoryStorage:
    """Threads, processes and readers of one host may use the same directory at once."""

    def __init__(self, directory: Path, *, lock_timeout_s: float) -> None:
        self._root = directory.absolute()
        self._lock_timeout_s = lock_timeout_s

    @property
    def base(self) -> str:
        return str(self._root)

    def address(self, name: str) -> str:
        return f"{self._root}/{name}"

    def files(self, token: str, segment: str) -> "DirectoryFiles":
        own = self._root / own_directory(token, segment)
        group = FileGroup(self._root, own, RECORD, lock_timeout_s=self._lock_timeout_s)
        return DirectoryFiles(self._root, data_directory(token, segment), group)

    def interval_tokens(self) -> list[str]:
        return list(_listed(self._root / DATASET, "interval="))

    def stored_segments(self, token: str) -> list[str]:
        found = _listed(self._root / DATASET / f"interval={token}", "symbol=")
        return [segment for segment in found if self.files(token, segment).is_stored]

    def own_tokens(self) -> list[str]:
        return _listed_directories(self._root / BESIDE)

    def own_segments(self, token: str) -> list[str]:
        return _listed_directories(self._root / BESIDE / token)

    def twins(self, token: str, segment: str) -> list[str]:
        found = {*_listed(self._root / DATASET / f"interval={token}", "symbol="), *_listed(self._root / BESIDE / token)}
        twins = [other for other in found if other != segment and _folded(other) == _folded(segment)]
        return [other for other in twins if self._comes_to_be_stored(token, other)]

    def _comes_to_be_stored(self, token: str, segment: str) -> bool:
        """True if the series is stored once whoever holds its lock has freed it."""
        files = self.files(token, segment)
        return files.reading(lambda snapshot: files.is_stored)

    def creation_lock(self, token: str) -> AbstractContextManager[None]:
        # Some file systems fold case: there, two such symbols would share one directory.
        return locked_directory(self._root / BESIDE / token, self._root, lock_timeout_s=self._lock_timeout_s)


class DirectoryFiles:
    """The files of one series, under its lock."""

    def __init__(self, root: Path, data: str, group: FileGroup) -> None:
        self._root = root
        self._data = data
        self._group = group

    @property
    def is_stored(self) -> bool:
        directory = f"{self._root}/{self._data}"
        names = (name for name in _listed(directory) if name.endswith(".parquet"))
        return self._group.has_journal or any(not _is_void(f"{directory}/{name}") for name in names)

    @property
    def is_half_removed(self) -> bool:
        return False  # nobody sees any of the files once the first is gone

    def reading(self, read: Callable[[Snapshot], Result], *, lists: bool = True) -> Result:
        return self._group.reading(lambda: read(_DirectorySnapshot(self._root, self._data)))

    def mend(self) -> list[str]:
        return []

    def writing(
        self, write: Callable[[Transaction], Result], *, lists: bool = True, begins_with: object = None
    ) -> Result:
        with self._group.writing() as transaction:
            return write(_DirectoryTransaction(self._root, self._data, transaction))


class _DirectorySnapshot:
    state: object = None  # under the lock it costs nothing to look again

    def __init__(self, root: Path, data: str) -> None:
        self._root = root
        self._data = data

    def data_names(self) -> list[str]:
        names = [f"{self._data}/{name}" for name in sorted(_listed(f"{self._root}/{self._data}"))]
        return [name for name in names if not _is_void(f"{self._root}/{name}")]

    def read(self, name: str) -> bytes | None:
        content = read_regular(f"{self._root}/{name}")
        return None if content is None or is_void(content) else content

    def has_size(self, name: str, size: int) -> bool:
        path = f"{self._root}/{name}"
        try:
            return os.lstat(path).st_size == size
        except OSError as error:
            raise StoreReadError(path, error.strerror or str(error)) from error

    def read_tail(self, name: str, size: int) -> tuple[bytes, int]:
        path = self._root / name
        try:
            with open_regular(path) as source:
                whole = source.seek(0, os.SEEK_END)
                source.seek(max(0, whole - size))
                return source.read(), whole
        except OSError as error:
            raise StoreReadError(path, error.strerror or str(error)) from error


class _DirectoryTransaction(_DirectorySnapshot):
    stamp = b""  # nobody else can commit under the lock

    def __init__(self, root: Path, data: str, staged: journal.StagedFiles) -> None:
        super().__init__(root, data)
        self._staged = staged

    def stage(self, name: str, content: bytes | memoryview) -> None:
        self._staged.stage(self._root / name, content)

    def set_aside(self, name: str) -> str:
        return self._staged.set_aside(self._root / name).relative_to(self._root).as_posix()

    def take_out(self) -> None:
        self._staged.take_out(self._root / self._data)

    def publish(self) -> None:
        self._staged.publish()


def _is_void(path: str) -> bool:
    """False also for what cannot be looked at: whoever reads it is told."""
    try:
        has_its_size = os.lstat(path).st_size == VOID_BYTES
    except OSError:
        return False
    return has_its_size and is_void(read_regular(path) or b"")


def _folded(segment: str) -> str:
    """The same for segments that a file system which folds case takes for one."""
    # Nearly all are ASCII but for the escaped colon, and of a thousand others only one may be a twin.
    return unquote(segment).casefold() if _BEYOND_ASCII.search(segment) else segment.lower().replace("%3a", ":")


def _listed_directories(directory: Path) -> list[str]:
    return [name for name in _listed(directory) if (directory / name).is_dir()]


def _listed(directory: Path | str, prefix: str = "") -> list[str]:
    """What follows the prefix in the names that have it."""
    # Path.glob would take a directory that may not be read for an empty one.
    try:
        with os.scandir(directory) as found:
            names = [entry.name for entry in found]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreReadError(directory, error.strerror or str(error)) from error
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)] if prefix else names
