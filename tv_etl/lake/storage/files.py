"""What the bar store needs of the place where its files are: a file system or an object store.

All names are relative to the base of the lake and written with `/`. What a lake gives is bytes; it knows nothing of
bars or Parquet. A series' data files and its own files beside the dataset change in one transaction, or not at all.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

DATASET = "ohlcv"
RECORD = "series.json"
BESIDE = ".tv_etl"  # what is no data file; engines that read the dataset never look here

Result = TypeVar("Result")


def data_directory(token: str, segment: str) -> str:
    """Where the data files of a series are."""
    return f"{DATASET}/interval={token}/symbol={segment}"


def own_directory(token: str, segment: str) -> str:
    """Where the store keeps what it knows of a series beside its bars."""
    return f"{BESIDE}/{token}/{segment}"


class Snapshot(Protocol):
    """The files of one series as they are between two commits."""

    @property
    def state(self) -> object:
        """What a later transaction may begin with, in place of looking again at what this snapshot has seen."""

    def data_names(self) -> list[str]:
        """Names of the files in the data directory, sorted. Raises StoreReadError."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none. Raises StoreReadError."""

    def has_size(self, name: str, size: int) -> bool:
        """True if a data file has so many bytes, as far as that is known without reading it. Raises StoreReadError."""

    def read_tail(self, name: str, size: int) -> tuple[bytes, int]:
        """The last bytes of a data file, `size` of them or all, and how many it has. Raises StoreReadError."""


class Transaction(Snapshot, Protocol):
    """A snapshot that becomes the next one; it never sees what it has staged itself."""

    @property
    def stamp(self) -> bytes:
        """To be part of every content that is staged, where equal content must not look like the same version."""

    def stage(self, name: str, content: bytes | memoryview) -> None:
        """Give a file its future content; of several, one is the record, a JSON object. Raises StoreWriteError."""

    def set_aside(self, name: str) -> str:
        """Move a file to where nobody reads it, by when it is published at the latest; return its name there.

        Raises StoreReadError or StoreWriteError.
        """

    def take_out(self) -> None:
        """Take all files of the series but the record away at once, before anything is staged.

        They are gone when this returns or, where it takes a commit, once that is published. Raises StoreReadError or
        StoreWriteError, with all in place.
        """

    def publish(self) -> None:
        """Make all that is staged appear at once and durably; called once, as the last. Raises StoreWriteError."""


class SeriesFiles(Protocol):
    """The files of one series. Nothing is created before the first `writing`."""

    @property
    def is_stored(self) -> bool:
        """True with a data file, or with a commit half done that will have some. Raises StoreReadError."""

    @property
    def is_half_removed(self) -> bool:
        """True where a commit that takes all files out was killed when they were gone for us, but not yet for others.

        Raises as above.
        """

    def reading(self, read: Callable[[Snapshot], Result], *, lists: bool = True) -> Result:
        """Return what `read` returns; it may be called again where a commit came between.

        Unless it `lists` them, the last commit may be taken at its word as to which data files there are.

        Raises StoreBusyError where commits leave it no time.
        """

    def mend(self) -> list[str]:
        """Set aside what keeps a commit from being begun; return the names it has now.

        Raises StoreReadError or StoreWriteError.
        """

    def writing(
        self, write: Callable[[Transaction], Result], *, lists: bool = True, begins_with: object = None
    ) -> Result:
        """Return what `write` returns; it may be called again where another writer came first.

        Unless it `lists` them, the last commit may be taken at its word as to which data files there are, as long as
        nothing is published. It may begin with the `state` of an earlier snapshot.

        Raises StoreBusyError where other writers leave it no time.
        """


class Storage(Protocol):
    """Where the series are."""

    @property
    def base(self) -> str:
        """The directory's absolute path, or the address."""

    def address(self, name: str) -> str:
        """The file for readers other than us, and for people."""

    def files(self, token: str, segment: str) -> SeriesFiles:
        """The files of a series, stored or not."""

    def interval_tokens(self) -> list[str]:
        """What follows `interval=` in the dataset. Raises StoreReadError."""

    def stored_segments(self, token: str) -> list[str]:
        """The symbols' path segments of the series that are stored at an interval. Raises StoreReadError."""

    def own_tokens(self) -> list[str]:
        """The names of the directories beside the dataset, among which are intervals. Raises StoreReadError."""

    def own_segments(self, token: str) -> list[str]:
        """The path segments of symbols of which anything is known at an interval. Raises StoreReadError."""

    def twins(self, token: str, segment: str) -> list[str]:
        """Other stored segments that a file system which folds case takes for this one.

        Waits for the first commit of those that are none yet. Raises StoreReadError or StoreBusyError.
        """

    def creation_lock(self, token: str) -> AbstractContextManager[None] | None:
        """What is held while a new series looks for twins and takes its own lock; None where such do not collide."""
