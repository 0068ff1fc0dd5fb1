"""Parquet bytes with checksums, written by us and trusted by nobody: sealed, and checked before a reader sees them.

Parquet has no checksum for its footer, and pyarrow aborts the process on some single flipped bits there. So 12 bytes
stand between data and footer, where readers do not look: a mark and the CRC-32 of what lies on either side.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tv_etl.lake.errors import DamagedFileError

TAIL_BYTES = 64 * 1024  # hold any footer of ours: they take 2 KB and about 1 KB more per row group

_PARQUET_MAGIC = b"PAR1"
_END = struct.Struct("<I4s")  # length of the footer, magic
_SEAL = struct.Struct("<4sII")  # magic, CRC-32 of the data before it, CRC-32 of the footer after it
_SEAL_MAGIC = b"tvE1"


def encode_sealed(table: pa.Table, stamp: bytes = b"", *, hidden: bytes = b"", **options: Any) -> memoryview:
    """Return the bytes of a sealed Parquet file; `options` are those of `pyarrow.parquet.write_table`.

    The stamp lies before the seal: files of equal tables with other stamps are not equal. Behind it is what is
    `hidden` from the readers of Parquet: see `hidden_bytes`.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return _sealed(sink, stamp + hidden)


def hidden_bytes(content: bytes, size: int, path: str) -> bytes:
    """The hidden bytes of a file that was opened with `open_sealed`, `size` of them. Raises DamagedFileError."""
    end = len(content) - _check_seal(path, content, len(content)).tail_bytes
    if not 0 <= size <= end:
        raise DamagedFileError(path, f"claims {size} hidden bytes before its seal at {end}")
    return bytes(memoryview(content)[end - size : end])


def encode_sealed_groups(groups: Iterable[pa.Table], schema: pa.Schema, **options: Any) -> memoryview:
    """The same of many tables, a row group each and one in memory at a time; `options` are the writer's."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for table in groups:
            writer.write_table(table, row_group_size=table.num_rows)
    return _sealed(sink, b"")


def _sealed(sink: pa.BufferOutputStream, stamp: bytes) -> memoryview:
    parquet = memoryview(sink.getvalue()).cast("B")
    cut = len(parquet) - _END.size - _END.unpack(parquet[-_END.size :])[0]
    body, footer = b"".join((parquet[:cut], stamp)), parquet[cut:]
    seal = _SEAL.pack(_SEAL_MAGIC, zlib.crc32(body), zlib.crc32(footer))
    return memoryview(b"".join((body, seal, footer)))


@contextmanager
def open_sealed(content: bytes, path: str) -> Iterator[pq.ParquetFile]:
    """Open a file whose every byte was checked; what pyarrow raises while it is open is damage.

    `path` is for the error alone. Raises DamagedFileError.
    """
    sealed = _check_seal(path, content, len(content))
    if zlib.crc32(memoryview(content)[: -sealed.tail_bytes]) != sealed.body_crc:
        raise DamagedFileError(path, "its data fail the checksum")
    with _as_damage(path):
        yield pq.ParquetFile(pa.BufferReader(content))


@contextmanager
def open_sealed_footer(tail: bytes, size: int, path: str) -> Iterator[pq.ParquetFile]:
    """Open a file of `size` bytes for its metadata alone, given its last TAIL_BYTES; else as `open_sealed`."""
    _check_seal(path, tail, size)
    with _as_damage(path):
        yield pq.ParquetFile(pa.BufferReader(tail))


@dataclass(frozen=True)
class _Sealed:
    """`tail_bytes` are seal and footer, `body_crc` is that of all before."""

    tail_bytes: int
    body_crc: int


def _check_seal(path: str, tail: bytes, size: int) -> _Sealed:
    """Check the footer at the end of `tail`, which is the end of a file of `size` bytes."""
    if len(tail) < _END.size or not tail.endswith(_PARQUET_MAGIC):
        raise DamagedFileError(path, f"its {size} bytes do not end as Parquet does")
    footer_bytes = _END.size + _END.unpack(tail[-_END.size :])[0]
    start = len(tail) - footer_bytes - _SEAL.size
    if start < 0:
        raise DamagedFileError(path, f"its footer claims {footer_bytes} of {size} bytes")
    magic, body_crc, footer_crc = _SEAL.unpack_from(tail, start)
    if magic != _SEAL_MAGIC:
        raise DamagedFileError(path, "not written by tv_etl: it has no seal")
    if zlib.crc32(memoryview(tail)[-footer_bytes:]) != footer_crc:
        raise DamagedFileError(path, "its footer fails the checksum")
    return _Sealed(_SEAL.size + footer_bytes, body_crc)


@contextmanager
def _as_damage(path: str) -> Iterator[None]:
    """Everything that pyarrow finds wrong with bytes that are in memory already."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise DamagedFileError(path, str(error)) from error
