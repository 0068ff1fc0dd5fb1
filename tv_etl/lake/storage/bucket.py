"""Objects under one prefix of a bucket (S3, Google Cloud Storage, Azure), replaced only where nobody else did before.

Names are relative to the prefix. Credentials, region and endpoint come from the environment, as obstore reads them
(AWS_*, GOOGLE_*, AZURE_*); none of them is in any error.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from tv_etl.lake.errors import StoreReadError, StoreWriteError
from tv_etl.lake.overlap import waiting

if TYPE_CHECKING:
    from obstore import UpdateVersion

SCHEMES = ("s3", "gs", "az")

_MOST_RETRIES = 5  # of one request, within the time limit
_SECRET_VARIABLE = re.compile(r"(AWS|AZURE|GOOGLE)_.*(KEY|SECRET|TOKEN|SAS|PASSWORD|CREDENTIAL)")
_SHORTEST_SECRET = 6
_REQUEST = re.compile(r"Error performing (?P<method>\w+) (?P<url>\S+) in .*? - (?P<reason>.*)", re.DOTALL)
_ANSWER = re.compile(r"<Code>(?P<code>[^<]*)</Code>\s*<Message>(?P<message>[^<]*)</Message>")
_USER = re.compile(r"//[^/@\s]*@")
_QUERY = re.compile(r"\?\S*")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")  # where a missing object is told apart from a missing bucket
_FINAL = re.compile(r"status code: 4(?!08|29)")  # the same request would fail again


@dataclass(frozen=True)
class Version:
    """What differs between two versions of an object; each provider needs another part of it."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True)
class Object:
    """A whole object."""

    content: bytes
    version: Version


class ChangedError(Exception):
    """The object is not in the version that was to be replaced; it is as it was."""


class Bucket:
    """The objects at an address such as `s3://bucket/prefix`. Raises ValueError for any other address.

    All raise StoreReadError or StoreWriteError; those are `retryable` where the network or the server is to blame.
    """

    def __init__(self, address: str, *, timeout_s: float) -> None:
        scheme, host, self._prefix = _parsed(address)
        # The API of the others has conditions by definition.
        self._is_conditional = scheme != "s3"
        self._trying_conditions = threading.Lock()
        self.address = f"{scheme}://{host}" + (f"/{self._prefix}" if self._prefix else "")
        try:
            # The prefix stays ours: obstore would decode what looks like percent-encoding in it.
            self._store = from_url(
                f"{scheme}://{host}",
                retry_config={"max_retries": _MOST_RETRIES, "retry_timeout": timedelta(seconds=timeout_s)},
            )
        except BaseError as error:
            raise ValueError(f"{self.address}: {_reason(error)}") from None

    def address_of(self, name: str) -> str:
        """The object's own address."""
        return f"{self.address}/{name}"

    def get(self, name: str) -> Object | None:
        """The object; None if there is none."""
        with self._errors(name, StoreReadError):
            try:
                answer = obstore.get(self._store, self._key(name))
                content = bytes(answer.bytes())
            except (NotFoundError, FileNotFoundError) as error:
                if any(code in str(error) for code in _NO_BUCKET):
                    raise
                return None
            return Object(content, Version(answer.meta["e_tag"], answer.meta["version"]))

    def get_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes of an object from `start` to before `end`; it must have them."""
        if start == end:
            return b""
        with self._errors(name, StoreReadError):
            return bytes(obstore.get_range(self._store, self._key(name), start=start, end=end))

    def version(self, name: str) -> Version:
        """The version of an object that exists."""
        with self._errors(name, StoreReadError):
            meta = obstore.head(self._store, self._key(name))
            return Version(meta["e_tag"], meta["version"])

    def require_conditions(self, name: str) -> None:
        """Raise StoreWriteError if the server ignores conditions: then updates would be lost. `name` is for the try."""
        with waiting(), self._trying_conditions:
            if self._is_conditional:
                return
            try:
                self.replace(name, b"", over=Version('"no such version"', None))
            except ChangedError:
                self._is_conditional = True
                return
        raise StoreWriteError(self.address_of(name), "the server ignores If-Match on PUT; no lake can be kept there")

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Write an object that nobody else writes."""
        with self._errors(name, StoreWriteError):
            obstore.put(self._store, self._key(name), _plain(content), use_multipart=False)

    def replace(self, name: str, content: bytes | memoryview, over: Version | None) -> Version:
        """Write an object if it is in the version `over`, or does not exist where that is None.

        Raises ChangedError if it is not, and also if the answer to a first try was lost that did replace it.
        """
        with self._errors(name, StoreWriteError):
            try:
                done = obstore.put(
                    self._store,
                    self._key(name),
                    _plain(content),
                    mode="create" if over is None else _update(over),
                    use_multipart=False,
                )
            except (PreconditionError, AlreadyExistsError) as error:
                raise ChangedError(self.address_of(name)) from error
            return Version(done["e_tag"], done["version"])

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that do not exist are removed already."""
        if not names:
            return
        with self._errors(names[0], StoreWriteError):
            try:
                obstore.delete(self._store, [self._key(name) for name in names])
            except (NotFoundError, FileNotFoundError) as error:
                if any(code in str(error) for code in _NO_BUCKET):
                    raise

    def sizes(self, directory: str) -> dict[str, int]:
        """The size of every object below a directory, at any depth."""
        with self._errors(directory, StoreReadError):
            return {
                self._name(meta["path"]): meta["size"]
                for page in obstore.list(self._store, self._key(directory))
                for meta in page
            }

    def directories(self, directory: str) -> list[str]:
        """The names of the directories in a directory."""
        with self._errors(directory, StoreReadError):
            found = obstore.list_with_delimiter(self._store, self._key(directory))["common_prefixes"]
        return [path.rpartition("/")[2] for path in found]

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}".strip("/")

    def _name(self, key: str) -> str:
        return key.removeprefix(f"{self._prefix}/") if self._prefix else key

    @contextmanager
    def _errors(self, name: str, kind: type[StoreReadError] | type[StoreWriteError]) -> Iterator[None]:
        try:
            with waiting():
                yield
        except (BaseError, OSError) as error:
            # Not as the cause: its text may quote a signature or a key.
            is_retryable = isinstance(error, GenericError) and not _FINAL.search(str(error))
            raise kind(self.address_of(name), _reason(error), retryable=is_retryable) from None


def _parsed(address: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix."""
    try:
        parts = urlsplit(address)
        is_plain = parts.username is None and parts.port is None and not parts.query and not parts.fragment
    except ValueError:
        is_plain = False
    if not is_plain:
        # The address is not quoted: it may hold a password.
        raise ValueError("the address of a lake is scheme://bucket/prefix and nothing else; credentials and endpoint "
                         "belong in the environment")  # fmt: skip
    prefix = parts.path.strip("/")
    if parts.scheme not in SCHEMES or not parts.netloc:
        known = ", ".join(f"{scheme}://" for scheme in ("file", *SCHEMES))
        raise ValueError(f"{address}: expected a directory, or an address with a bucket that begins with {known}")
    if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise ValueError(f"{address}: a prefix has no empty parts, '.' or '..'")
    return parts.scheme, parts.netloc, prefix


def _update(version: Version) -> "UpdateVersion":
    update: UpdateVersion = {}
    if version.e_tag is not None:
        update["e_tag"] = version.e_tag
    if version.version is not None:
        update["version"] = version.version
    return update


def _plain(content: bytes | memoryview) -> bytes | memoryview:
    return content.cast("B") if isinstance(content, memoryview) else content


def _reason(error: Exception) -> str:
    """What went wrong, in one line without credentials."""
    text = str(error).partition("\n\nDebug source")[0]
    answer, request = _ANSWER.search(text), _REQUEST.search(text)
    if answer is not None:
        text = f"{answer['code']}: {answer['message']}"
    elif isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        text = "access denied"
    elif request is not None:
        text = f"{request['method']} {request['url']}: {request['reason']}"
    text = _QUERY.sub("", _USER.sub("//", " ".join(text.split())))
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.fullmatch(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return text
