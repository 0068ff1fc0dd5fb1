"""The files of a lake behind the store's back, wherever they are."""

from pathlib import Path
from typing import Protocol

from tv_etl.lake.storage.bucket import Bucket
from tv_etl.lake.store import BarStore


class LakeFiles(Protocol):
    """Names are relative to the base of the lake."""

    def names(self) -> list[str]:
        """Every file but locks."""

    def versions(self) -> dict[str, object]:
        """What differs between two versions of a file."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def remove(self, name: str) -> None: ...


class DirectoryFiles:
    """A lake in a directory."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def names(self) -> list[str]:
        return sorted(self.versions())

    def versions(self) -> dict[str, object]:
        files = [path for path in self.base.rglob("*") if path.is_file() and path.name != "lock"]
        return {path.relative_to(self.base).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def read(self, name: str) -> bytes:
        return (self.base / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.base / name).parent.mkdir(parents=True, exist_ok=True)
        (self.base / name).write_bytes(content)

    def remove(self, name: str) -> None:
        (self.base / name).unlink()


class BucketFiles:
    """A lake in an object store."""

    def __init__(self, address: str) -> None:
        self._bucket = Bucket(address, timeout_s=5)

    def names(self) -> list[str]:
        return sorted(self._bucket.sizes(""))

    def versions(self) -> dict[str, object]:
        return {name: self._bucket.version(name) for name in self.names()}

    def read(self, name: str) -> bytes:
        found = self._bucket.get(name)
        assert found is not None, name
        return found.content

    def write(self, name: str, content: bytes) -> None:
        self._bucket.put(name, content)

    def remove(self, name: str) -> None:
        self._bucket.delete([name])


def files_of(store: BarStore) -> LakeFiles:
    return BucketFiles(store.base) if "://" in store.base else DirectoryFiles(Path(store.base))
