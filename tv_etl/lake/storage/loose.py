"""Files of a lake that belong to no series: read and written whole, in a directory or a bucket.

Whoever writes one is its only writer at a time. Each write is atomic and, in a directory, survives a power cut.
"""

from pathlib import Path

from tv_etl.lake.storage.directory import local_directory
from tv_etl.lake.storage.files import BESIDE
from tv_etl.lake.storage.journal import LOCK_TIMEOUT_S, FileGroup
from tv_etl.lake.storage.regular import read_regular
from tv_etl.tradingview.errors import MissingExtraError


class LooseFiles:
    """The files in one folder of a lake (a directory or an address). Raises ValueError for an address of none.

    Reading raises StoreReadError or DamagedFileError, writing StoreWriteError or StoreBusyError.
    """

    def __init__(self, base: str | Path, folder: str) -> None:
        self._folder = folder
        self._directory = local_directory(base)
        if self._directory is not None:
            own = self._directory / BESIDE / folder
            self._group = FileGroup(self._directory, own, f"{folder}.json", lock_timeout_s=LOCK_TIMEOUT_S)
            return
        try:
            from tv_etl.lake.storage.bucket import Bucket
        except ModuleNotFoundError as error:
            if error.name != "obstore":
                raise
            raise MissingExtraError("a lake in an object store needs obstore: pip install 'tv-etl[s3]'") from error
        self._bucket = Bucket(str(base), timeout_s=LOCK_TIMEOUT_S)

    def uri(self, name: str = "") -> str:
        """The file, or the folder, for other readers and for people."""
        path = f"{self._folder}/{name}".rstrip("/")
        return self._bucket.address_of(path) if self._directory is None else str(self._directory / path)

    def names(self) -> list[str]:
        """The files there, with the folders below this one that they are in, sorted."""
        if self._directory is None:
            return sorted(name.removeprefix(f"{self._folder}/") for name in self._bucket.sizes(self._folder))
        top = self._directory / self._folder
        return sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        if self._directory is None:
            found = self._bucket.get(f"{self._folder}/{name}")
            return None if found is None else found.content
        return read_regular(self._directory / self._folder / name)

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Put a file in the place of what was there."""
        if self._directory is None:
            self._bucket.put(f"{self._folder}/{name}", content)
            return
        with self._group.writing() as transaction:
            transaction.stage(self._directory / self._folder / name, content)
            transaction.publish()
