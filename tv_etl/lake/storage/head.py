"""The head of a series in an object store: its record, and the last commit under the key `commit` of the same JSON."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.storage.bucket import Object, Version

COMMIT_VERSION = 1
STAGED = re.compile(r"[0-9a-f]{32}\.[a-z]+")  # the names of what commits stage

_COMMIT = "commit"


@dataclass(frozen=True)
class Move:
    """`target` gets the content of `staged`, if it is in the version `over` or does not exist where that is None."""

    staged: str
    target: str
    over: Version | None


@dataclass(frozen=True)
class Head:
    """`version` is None where there is no head yet, `record` where it holds only a commit.

    The moves are those of the last commit that had any, which is `moved_by`. `files` are the names in the data
    directory after the commit, None where it does not say.
    """

    version: Version | None = None
    commit: str = ""
    moves: tuple[Move, ...] = ()
    record: bytes | None = None
    moved_by: str = ""
    files: tuple[str, ...] | None = None

    @property
    def stamp(self) -> bytes:
        """What the contents of its moves carry."""
        try:
            return bytes.fromhex(self.moved_by or self.commit)
        except ValueError:
            return b""

    def is_same_state(self, other: "Head") -> bool:
        """True although one of the two may have moves left and the other none."""
        return self.commit == other.commit and (bool(self.commit) or self.version == other.version)

    def encode(self) -> bytes:
        """The content of the object."""
        fields = {} if self.record is None else msgspec.json.decode(self.record)
        commit: dict[str, Any] = {"version": COMMIT_VERSION, "id": self.commit}
        commit["moves"] = [asdict(move) for move in self.moves]
        if self.moves and self.moved_by:
            commit["moved_by"] = self.moved_by
        if self.files is not None:
            commit["files"] = self.files
        return msgspec.json.encode({**fields, _COMMIT: commit}, order="sorted")

    @classmethod
    def decode(cls, found: Object, address: str) -> "Head":
        """Read a head; the address is for errors alone. Raises DamagedFileError or NewerFormatError."""
        try:
            fields: dict[str, Any] = msgspec.json.decode(found.content)
            commit = fields.pop(_COMMIT, None)
            if commit is None:  # copied from a directory
                return cls(found.version, record=found.content)
            if commit["version"] > COMMIT_VERSION:
                reason = f"commit version {commit['version']}, known is {COMMIT_VERSION}; upgrade tv_etl"
                raise NewerFormatError(address, reason)
            moves = tuple(_decoded_move(**move) for move in commit["moves"])
            record = msgspec.json.encode(fields, order="sorted") if fields else None
            files = None if "files" not in commit else tuple(map(str, commit["files"]))
            return cls(found.version, str(commit["id"]), moves, record, str(commit.get("moved_by", "")), files)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedFileError(address, f"not the record of a series: {error!r}") from error

    def require_inside(self, data: str, own: str, address: str) -> None:
        """Raise DamagedFileError if the head names anything outside the two directories of its series."""
        for move in self.moves:
            directory, _, name = move.staged.rpartition("/")
            is_ours = directory == own and STAGED.fullmatch(name)
            if not is_ours or move.target.rpartition("/")[0] not in (data, own):
                raise DamagedFileError(address, f"names {move.staged!r} and {move.target!r}")
        if any("/" in name for name in self.files or ()):
            raise DamagedFileError(address, f"names {self.files!r}")


def _decoded_move(staged: str, target: str, over: dict[str, str | None] | None) -> Move:
    return Move(staged, target, None if over is None else Version(**over))
