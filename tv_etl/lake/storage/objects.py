"""A lake in an object store: a commit of any number of objects by one conditional put, from any number of hosts.

Each series has a head (head.py), its `series.json`. A commit stages the new contents beside it and then replaces the
head, if it is still the one that the commit began with:

    read head and data -> put staged objects -> replace the head, which names the moves     (the commit point)
         -> put what is staged in the place of its target -> delete it

A writer that came second starts again from the head that came first. A writer killed after the commit point leaves
what it staged, and whoever reads it for a commit, or writes next, completes its moves first: each target is replaced
only in the version that the commit found, so that one who is slow undoes nothing. Readers of the store write nothing:
they take what is staged for the target. Other engines see the targets alone, and between commit point and last move
some old, some new.

Each request takes as long as the way there and back, so none is made twice, or to learn what is known:

* The contents of a commit carry its stamp: first of all because the version of an object may be no more than its
  checksum, but a target that has the stamp of the moves which the head names also proves that they were made, and that
  it is of this state. So the moves stay in the head until a commit has others, and nobody looks at the head again to
  see whether it still is as it was, if all that was read beside it proves to be of it.
* The head names the data files that its commit left. A commit goes by that; if it has something to publish, it first
  lists what is there, and starts again from there if somebody took files away or put others there by hand.
* A commit may begin with a head that was read before, when its caller looked at the series: if that is not the newest
  any more, it is refused at its commit point.

Nothing is deleted that anybody may write again, since no condition holds up a delete that comes late: a commit moves a
void there (void.py), as it moves any other content.

Knows nothing of bars or Parquet; the head is a JSON object.
"""

import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import TypeVar

from tv_etl.lake.errors import DamagedFileError, NewerFormatError, StoreBusyError, StoreReadError, StoreWriteError
from tv_etl.lake.overlap import COMMITS_AT_ONCE, LOOKS_AT_ONCE, overlapped, read_once, waiting
from tv_etl.lake.storage.bucket import Bucket, ChangedError, Object, Version
from tv_etl.lake.storage.files import BESIDE, DATASET, RECORD, Snapshot, Transaction, data_directory, own_directory
from tv_etl.lake.storage.head import STAGED, Head, Move
from tv_etl.lake.storage.void import VOID_BYTES, is_void, void

_ASIDE = "damaged-"  # no name that begins so is ever written twice
_CONDITIONS = f"{BESIDE}/conditions"  # a name to try them on
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0

Result = TypeVar("Result")


class ObjectStorage:
    """Threads, processes, hosts and readers may use the same address at once.

    Names are case-sensitive, as the keys of objects are.
    """

    def __init__(self, address: str, *, timeout_s: float) -> None:
        self._bucket = Bucket(address, timeout_s=timeout_s)
        self._timeout_s = timeout_s

    @property
    def base(self) -> str:
        return self._bucket.address

    def address(self, name: str) -> str:
        return self._bucket.address_of(name)

    def files(self, token: str, segment: str) -> "ObjectFiles":
        return ObjectFiles(
            self._bucket, data_directory(token, segment), own_directory(token, segment), timeout_s=self._timeout_s
        )

    def interval_tokens(self) -> list[str]:
        found = self._bucket.directories(DATASET)
        return [name.removeprefix("interval=") for name in found if name.startswith("interval=")]

    def stored_segments(self, token: str) -> list[str]:
        data, own = f"{DATASET}/interval={token}/symbol=", f"{BESIDE}/{token}/"
        found = {
            name.removeprefix(data).partition("/")[0]
            for name, size in self._bucket.sizes(f"{DATASET}/interval={token}").items()
            if name.startswith(data) and name.endswith(".parquet") and size != VOID_BYTES
        }
        # A first commit that was killed may have no data file yet, and a removal still some.
        staged = (name.removeprefix(own).split("/") for name in self._bucket.sizes(f"{BESIDE}/{token}"))
        unfinished = {path[0] for path in staged if len(path) == 2 and STAGED.fullmatch(path[1])}
        are_stored = overlapped(partial(self._is_stored, token), unfinished, at_once=LOOKS_AT_ONCE)
        return sorted((found - unfinished) | set(compress(unfinished, are_stored)))

    def _is_stored(self, token: str, segment: str) -> bool:
        try:
            return self.files(token, segment).is_stored
        except (DamagedFileError, NewerFormatError):
            return True  # whoever reads it is told

    def own_tokens(self) -> list[str]:
        return self._bucket.directories(BESIDE)

    def own_segments(self, token: str) -> list[str]:
        own = f"{BESIDE}/{token}/"
        paths = (name.removeprefix(own).split("/") for name in self._bucket.sizes(f"{BESIDE}/{token}"))
        return sorted({path[0] for path in paths if len(path) > 1})

    def twins(self, token: str, segment: str) -> list[str]:
        return []

    def creation_lock(self, token: str) -> None:
        return None


class ObjectFiles:
    """The files of one series; `data` and `own` are its two directories."""

    def __init__(self, bucket: Bucket, data: str, own: str, *, timeout_s: float) -> None:
        self._bucket = bucket
        self._data = data
        self._own = own
        self._record_name = f"{own}/{RECORD}"
        self._timeout_s = timeout_s

    @property
    def is_stored(self) -> bool:
        return any(name.endswith(".parquet") for name in self.reading(lambda snapshot: snapshot.data_names()))

    @property
    def is_half_removed(self) -> bool:
        head = self._head()
        voids = {move.staged for move in head.moves if move.target.startswith(f"{self._data}/")}
        return head.files == () and any(self._bucket.get(staged) is not None for staged in voids)

    def reading(self, read: Callable[[Snapshot], Result], *, lists: bool = True) -> Result:
        for head in self._attempts():
            snapshot = _ObjectSnapshot(self._bucket, self._data, self._own, head, lists=lists)
            try:
                result = read(snapshot)
            except Exception:
                # What went wrong may be of two states, or of a file that is not there any more.
                if snapshot.goes_by_head:
                    lists = True
                    continue
                if snapshot.is_of_head or self._is_current(head):
                    raise
                continue
            if snapshot.is_of_head or self._is_current(head):
                return result
        raise AssertionError("unreachable: attempts end with an error")

    def mend(self) -> list[str]:
        try:
            self._head()
        except DamagedFileError:
            found = self._bucket.get(self._record_name)
            if found is None:
                return []
            aside = _name_aside(self._record_name)
            self._bucket.put(aside, found.content)
            try:
                self._bucket.replace(self._record_name, Head(commit=uuid.uuid4().hex).encode(), over=found.version)
            except ChangedError:  # somebody else mended it
                self._bucket.delete([aside])
                return []
            return [aside]
        return []

    def writing(
        self, write: Callable[[Transaction], Result], *, lists: bool = True, begins_with: object = None
    ) -> Result:
        first = begins_with if isinstance(begins_with, Head) else None
        for head in self._attempts(first):
            transaction = _ObjectTransaction(self, self._bucket, self._data, self._own, head, lists=lists)
            try:
                result = write(transaction)
                if transaction.is_published:
                    return result
                transaction.settle()
            except ChangedError:
                continue
            except _OtherFilesError:
                lists = True
                continue
            except Exception as error:
                if transaction.is_published:
                    raise
                transaction.discard()
                if transaction.goes_by_head and not isinstance(error, StoreWriteError):
                    lists = True
                    continue
                if transaction.is_of_head or self._is_current(head):
                    raise
                continue
            transaction.discard()
            if transaction.is_of_head or self._is_current(head):
                return result
        raise AssertionError("unreachable: attempts end with an error")

    def _attempts(self, first: Head | None = None) -> Iterator[Head]:
        """The head, the first one maybe as it was before, again and again until time is up. Raises StoreBusyError."""
        deadline = time.monotonic() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            yield self._head() if first is None else first
            first = None
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                address = self._bucket.address_of(self._record_name)
                raise StoreBusyError(address, f"other writers came first for {self._timeout_s:g} s")
            with waiting():
                time.sleep(min(random.uniform(0, pause_s), left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _head(self) -> Head:
        found = self._bucket.get(self._record_name)
        if found is None:
            return Head()
        head = Head.decode(found, address := self._bucket.address_of(self._record_name))
        head.require_inside(self._data, self._own, address)
        return head

    def _is_current(self, head: Head) -> bool:
        return self._head().is_same_state(head)

    def commit(self, head: Head) -> Head:
        """Replace the head in the version that it has by its successor. Raises ChangedError if another one did."""
        try:
            return replace(head, version=self._bucket.replace(self._record_name, head.encode(), over=head.version))
        except ChangedError:
            found = self._head()
            if found.commit != head.commit:
                raise
            return found  # the answer to the first try was lost

    def settle(self, head: Head) -> None:
        """Make the moves of a head that are not made yet."""
        for move in head.moves:
            staged = self._bucket.get(move.staged)
            if staged is not None:  # else it was done, and removed
                self.move(head, move, staged.content)

    def move(self, head: Head, move: Move, content: bytes | memoryview) -> None:
        """Put the content of a commit in its place unless it is there, or a later commit is."""
        try:
            self._bucket.replace(move.target, content, over=move.over)
            return
        except ChangedError:
            found = self._bucket.get(move.target)
        if (found is not None and found.content == content) or not self._is_current(head):
            return
        if found is not None:
            reason = "was replaced by something else than tv_etl while a commit was half done; remove it to keep ours"
            raise DamagedFileError(self._bucket.address_of(move.target), reason)
        try:
            self._bucket.replace(move.target, content, over=None)  # removed by hand
        except ChangedError:
            return


class _OtherFilesError(Exception):
    """There are other data files than the head says."""


class _ObjectSnapshot:
    def __init__(self, bucket: Bucket, data: str, own: str, head: Head, *, lists: bool) -> None:
        self._bucket = bucket
        self._data = data
        self._own = own
        self._head = head
        self._stamp = head.stamp
        self._moves = {move.target: move for move in head.moves}
        # The head alone says which data files there are.
        self.goes_by_head = not lists and head.files is not None
        # Nothing was read that may be of another state than the head.
        self.is_of_head = True

    @property
    def state(self) -> object:
        return self._head

    @read_once
    def _sizes(self) -> dict[str, int]:
        return self._bucket.sizes(self._data)

    def data_names(self) -> list[str]:
        if self.goes_by_head:
            return [f"{self._data}/{name}" for name in self._head.files or ()]
        names = self._listed_names()
        self.is_of_head &= (
            self._head.files is not None and [f"{self._data}/{each}" for each in self._head.files] == names
        )
        return names

    def read(self, name: str) -> bytes | None:
        if name == f"{self._own}/{RECORD}":
            return self._head.record
        found = self._find(name)
        return None if found is None or is_void(found.content) else found.content

    def has_size(self, name: str, size: int) -> bool:
        # What the head moves there is as its record has it.
        return self.goes_by_head or name in self._moves or self._sizes.get(name) == size

    def read_tail(self, name: str, size: int) -> tuple[bytes, int]:
        if name in self._moves or name not in self._sizes:
            content = self.read(name)
            if content is None:
                raise StoreReadError(self._bucket.address_of(name), "no such object")
            return content[-size:], len(content)
        whole = self._sizes[name]
        self.is_of_head = False
        return self._bucket.get_range(name, max(0, whole - size), whole), whole

    def _listed_names(self) -> list[str]:
        """What is in the data directory, or will be once all moves are made."""
        coming = [target for target in self._moves if target not in self._sizes and self._is_staged(target)]
        names = sorted(name for name in [*self._sizes, *coming] if name.rpartition("/")[0] == self._data)
        return [name for name in names if self._is_there(name)]

    def _is_there(self, name: str) -> bool:
        """False for a void, or where one is on its way."""
        has_its_size = self._sizes.get(name) == VOID_BYTES
        if self._head.files is None:
            return not has_its_size
        if name.removeprefix(f"{self._data}/") in self._head.files:
            return not has_its_size or self.read(name) is not None
        return not has_its_size and (name not in self._moves or self.read(name) is not None)

    def _is_staged(self, target: str) -> bool:
        return self._bucket.get(self._moves[target].staged) is not None

    def _find(self, name: str) -> Object | None:
        found = self._bucket.get(name)
        if name in self._moves:
            if found is not None and self._stamp and self._stamp in found.content:
                self._is_moved(name)
                return found
            if (staged := self._bucket.get(self._moves[name].staged)) is not None:
                return self._staged(name, staged)
            found = self._bucket.get(name)  # it was moved meanwhile
        self.is_of_head = False
        return found

    def _staged(self, name: str, staged: Object) -> Object | None:
        """The object that a name will have once all moves are made."""
        return staged

    def _is_moved(self, name: str) -> None:
        """The move to a name is known to be made."""


class _ObjectTransaction(_ObjectSnapshot):
    """A snapshot, and what is to follow it."""

    def __init__(self, files: ObjectFiles, bucket: Bucket, data: str, own: str, head: Head, *, lists: bool) -> None:
        super().__init__(bucket, data, own, head, lists=lists)
        self.stamp = uuid.uuid4().bytes
        self.is_published = False
        self._files = files
        self._seen: dict[str, Version | None] = {}
        self._staging: list[tuple[Move, bytes | memoryview]] = []
        self._record = head.record
        self._aside: dict[str, str] = {}
        self._voided: set[str] = set()
        self._deleted: list[str] = []  # what only others have put there
        self._is_settled = not head.moves

    @read_once
    def _own_names(self) -> frozenset[str]:
        """What is beside the data: before this commit, with what dead writers left, and perhaps what it has staged."""
        return frozenset(self._bucket.sizes(self._own))

    def settle(self) -> None:
        """Make the moves of the head, unless they are known to be made."""
        if not self._is_settled and any(move.staged in self._own_names for move in self._head.moves):
            self._files.settle(self._head)
            self._bucket.delete([move.staged for move in self._head.moves])
        self._is_settled = True

    def stage(self, name: str, content: bytes | memoryview) -> None:
        if name == f"{self._own}/{RECORD}":
            self._record = bytes(content)
            return
        self._bucket.require_conditions(_CONDITIONS)
        over = self._seen[name] if name in self._seen else self._version(name)
        staged = f"{self._own}/{uuid.uuid4().hex}.{name.rpartition('.')[2]}"
        self._staging.append((Move(staged, name, over), content))

    def set_aside(self, name: str) -> str:
        content = self.read(name)
        if content is None:
            raise StoreReadError(self._bucket.address_of(name), "no such object")
        self._bucket.require_conditions(_CONDITIONS)
        aside = _name_aside(f"{self._own}/{name.rpartition('/')[2]}")
        self._bucket.put(aside, content)
        self._aside[name] = aside
        if name == f"{self._own}/{RECORD}":
            self._record = None
        else:
            self._remove([name])
        return aside

    def take_out(self) -> None:
        self._bucket.require_conditions(_CONDITIONS)
        self.settle()
        own = {name for name in self._own_names if not STAGED.fullmatch(name.rpartition("/")[2])}
        suspects = [name for name, size in self._sizes.items() if size == VOID_BYTES]
        contents = overlapped(self.read, suspects, at_once=COMMITS_AT_ONCE)
        voids = {name for name, content in zip(suspects, contents, strict=True) if content is None}
        self._remove(sorted(({*self._sizes} - voids) | {*self._moves, *own} - {f"{self._own}/{RECORD}"}))

    def _remove(self, names: Sequence[str]) -> None:
        """Make objects voids, or delete them where no commit ever writes."""
        voided = [name for name in names if self._is_written_again(name)]
        self._voided.update(voided)
        self._deleted += [name for name in names if name not in self._voided]
        unseen = [name for name in voided if name not in self._seen]
        self._seen |= zip(unseen, overlapped(self._version, unseen, at_once=COMMITS_AT_ONCE), strict=True)
        self._staging += [(Move(self._staged_void, name, self._seen[name]), self._void) for name in voided]

    def _is_written_again(self, name: str) -> bool:
        directory, _, file = name.rpartition("/")
        return directory in (self._data, self._own) and file.endswith(".parquet") and not file.startswith(_ASIDE)

    @read_once
    def _staged_void(self) -> str:
        """One for all."""
        return f"{self._own}/{uuid.uuid4().hex}.parquet"

    @read_once
    def _void(self) -> memoryview:
        return void(self.stamp)

    def publish(self) -> None:
        if not self._staging and not self._aside and not self._deleted and self._record == self._head.record:
            return
        self._bucket.require_conditions(_CONDITIONS)
        self._put_staged()
        names = self._listed_names()
        if self.goes_by_head and names != self.data_names():
            self.discard()
            raise _OtherFilesError
        # The newest data file last: it is what the next commit reads, and where it is, all others are.
        self._staging.sort(key=lambda each: (each[0].target.startswith(f"{self._data}/"), each[0].target))
        moves = tuple(move for move, _ in self._staging)
        garbage, moved_by = list[str](), ""
        if moves or self._aside or self._deleted:
            self.settle()
            # What is listed while it is put may be among them.
            others = sorted(self._own_names - {*self._staged_names})
            garbage = [name for name in others if STAGED.fullmatch(name.rpartition("/")[2])]
        else:
            moves, moved_by = self._head.moves, self._head.moved_by or self._head.commit
        left = {*names, *(move.target for move, _ in self._staging)} - self._voided - {*self._deleted}
        files = tuple(sorted(name.removeprefix(f"{self._data}/") for name in left if name.startswith(f"{self._data}/")))
        successor = Head(self._head.version, self.stamp.hex(), moves, self._record, moved_by, files)
        try:
            head = self._files.commit(successor)
        except ChangedError:
            self.discard()
            raise
        except BaseException:
            self.is_published = True  # perhaps: then the head names what is staged
            raise
        self.is_published = True
        for move, content in self._staging:
            self._files.move(head, move, content)
        # Whoever staged the garbage began before this commit, which keeps theirs from ever being one.
        # What is staged as the last: while it is there, the commit is under way.
        self._bucket.delete([*garbage, *self._deleted])
        self._bucket.delete(self._staged_names)

    def _put_staged(self) -> None:
        """Put what is staged, and list meanwhile what is there."""
        requests: list[Callable[[], object]] = [lambda: self._sizes]
        if self._staging:
            requests.append(lambda: self._own_names)
        contents = {move.staged: content for move, content in self._staging}
        requests += [partial(self._bucket.put, staged, content) for staged, content in contents.items()]

        def make(request: Callable[[], object]) -> None:
            request()

        deque(overlapped(make, requests, at_once=COMMITS_AT_ONCE), maxlen=0)

    @property
    def _staged_names(self) -> list[str]:
        return list(dict.fromkeys(move.staged for move, _ in self._staging))

    def discard(self) -> None:
        """Remove what was staged and not published."""
        with suppress(StoreWriteError):  # a later commit sweeps it
            self._bucket.delete([*self._staged_names, *self._aside.values()])
        self._staging.clear()
        self._aside.clear()

    def _find(self, name: str) -> Object | None:
        is_absent = name.startswith(f"{self._own}/") and name not in self._moves and name not in self._own_names
        self.is_of_head &= not is_absent
        found = None if is_absent else super()._find(name)
        self._seen[name] = None if found is None else found.version
        return found

    def _staged(self, name: str, staged: Object) -> Object | None:
        self.settle()
        self.is_of_head = False
        return self._bucket.get(name)

    def _is_moved(self, name: str) -> None:
        # Moves are made one after the other.
        self._is_settled |= name == self._head.moves[-1].target

    def _version(self, name: str) -> Version | None:
        if name in self._moves:
            self.settle()
            found = self._bucket.get(name)  # or somebody took it away since it was moved
            return None if found is None else found.version
        return self._bucket.version(name) if name in self._sizes or name in self._own_names else None


def _name_aside(name: str) -> str:
    directory, _, file = name.rpartition("/")
    return f"{directory}/{_ASIDE}{time.time_ns()}-{file}"
