"""Opening what somebody else may have put into a lake: regular files only, of bounded size, inside the lake.

A pipe or a device in place of a file would hold a reader up for ever or fill its memory, and a symbolic link in place
of a directory would let a commit write outside the lake.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from tv_etl.lake.errors import DamagedFileError, StoreReadError, StoreWriteError
from tv_etl.lake.overlap import waiting

# The largest files of a series, a month of bars of one second, are a fifth of it.
MAX_BYTES = 512 * 1024 * 1024


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading.

    Raises FileNotFoundError where nothing is there, StoreReadError where the system refuses, DamagedFileError for
    anything but a regular file of at most MAX_BYTES.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        if Path(path).is_symlink():
            raise DamagedFileError(path, "is a symbolic link, not a file of a lake") from None
        raise StoreReadError(path, error.strerror or str(error)) from error
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
        return os.fdopen(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        raise StoreReadError(path, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(path, "is not a regular file")
    raise DamagedFileError(path, f"has {status.st_size:,} bytes, more than {MAX_BYTES:,}")


def read_regular(path: Path | str) -> bytes | None:
    """The content of a file, None where nothing is there. Raises as `open_regular`."""
    try:
        with open_regular(path) as source, waiting():
            return source.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreReadError(path, error.strerror or str(error)) from error


def require_inside(directories: Iterable[Path], root: Path) -> None:
    """Raise StoreWriteError if symbolic links lead one of the directories out of the root; they need not exist yet."""
    inside = ""
    for directory in directories:
        if not _has_links(directory, root):
            continue
        inside = inside or os.path.realpath(root)
        real = os.path.realpath(directory)
        if os.path.commonpath([real, inside]) != inside:
            raise StoreWriteError(directory, f"leads out of the lake, to {real}: it is or lies behind a symbolic link")


def _has_links(directory: Path, root: Path) -> bool:
    """True unless the directory lies below the root by names alone, none of them a link: that takes no realpath."""
    path, top = str(directory), str(root)
    while path != top:
        cut = path.rfind("/")
        if cut <= 0 or path[cut + 1 :] == "..":
            return True
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                return True
        except OSError:  # it does not exist yet, or whoever uses it will be told
            pass
        path = path[:cut]
    return False
