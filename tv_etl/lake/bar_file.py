"""One Parquet file of bars: encoded, read back whole, or asked for its footer alone.

A file says in its key-value metadata whose bars it holds and how they were made. Reading trusts nothing: a file that
is truncated, corrupt, of another series or of a later version is an error that names it, never "no rows".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tv_etl.lake.arrivals import encode_arrivals
from tv_etl.lake.bars import PRICES, Bars, Times, Values, ticks_of
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.sealed import encode_sealed, hidden_bytes, open_sealed, open_sealed_footer
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series

SCHEMA_VERSION = 1
PREFIX = "tv_etl."
_ARRIVALS = "arrivals"  # how many bytes say when the bars came

_MICROSECONDS = 1_000_000
# Measured on 43 M bars: a third smaller than pyarrow's defaults, and no slower to read. Regular timestamps cost
# nothing as deltas; a dictionary pays for numbers that come again and again, and beyond 32 KiB it never does.
FORMAT: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "column_encoding": {"timestamp": "DELTA_BINARY_PACKED"},
    "dictionary_pagesize_limit": 32 * 1024,
    "row_group_size": 65_536,
    "write_page_checksum": True,
    "sorting_columns": [pq.SortingColumn(0)],
}
# What a fetch costs is writing its file again. LZ4 takes half the time of zstd and a third more bytes, and is read in a
# third of the time; it makes volumes hardly smaller: for the file that is written every minute, and for a small one.
_QUICK: dict[str, Any] = {
    **FORMAT,
    "compression": {**dict.fromkeys(BAR_SCHEMA.names, "lz4"), "volume": "none"},
    "compression_level": None,
}
_LARGE = 512  # bars; with fewer, a block of the disk is all that there is to save
# Measured: with one number in two alike a dictionary takes bytes, with five in six alike it saves them.
_SAMPLE = 2_048
_DICTIONARY_SHARE = 1 / 3


@dataclass(frozen=True)
class Footer:
    """What a file says without its data being read; times are UTC seconds, facts without their prefix."""

    rows: int
    first_s: int
    last_s: int
    bytes: int
    facts: dict[str, str]


def encode_bars(
    bars: Bars,
    series: Series,
    facts: Mapping[str, str],
    stamp: bytes = b"",
    *,
    came_at: Times | None = None,
    is_growing: bool = False,
) -> memoryview:
    """Return the bytes of a Parquet file; the same arguments always give the same bytes.

    `came_at` says when each bar came into the lake (microseconds UTC). A file that `is_growing` is soon written again,
    and may be larger for being written quickly.
    """
    identity = {"schema_version": str(SCHEMA_VERSION), "symbol": series.symbol, "interval": series.interval.token}
    arrivals = b"" if came_at is None else encode_arrivals(came_at)
    hidden = {_ARRIVALS: str(len(arrivals))} if arrivals else {}
    metadata = {PREFIX + key: value for key, value in {**facts, **identity, **hidden}.items()}
    table = bars.to_table().replace_schema_metadata(metadata)
    dictionaries = [*(PRICES if _repeats(bars.values[3]) else ()), *(["volume"] if _repeats(bars.values[4]) else ())]
    return encode_sealed(
        table, stamp, hidden=arrivals, use_dictionary=dictionaries or False, **_format(bars, is_growing=is_growing)
    )


def grows_larger(bars: Bars) -> bool:
    """True where the file of these bars is larger while it grows, so that it must be written again afterwards."""
    return _format(bars, is_growing=True) is not _format(bars, is_growing=False)


def read_bars(content: bytes, path: str, series: Series) -> tuple[Bars, bytes]:
    """Return all bars of a file, and the block that says when they came, empty where none does: see `arrivals`.

    The path is for errors alone. Raises DamagedFileError or NewerFormatError.
    """
    with open_sealed(content, path) as file:
        facts = _check_identity(path, file, series)
        bars = Bars.from_stored(file.read(use_threads=False))
        arrivals = hidden_bytes(content, int(facts.get(_ARRIVALS, "0")), path)
    _require_ascending(path, bars.times)
    return bars, arrivals


def read_bar_table(content: bytes, path: str, series: Series) -> tuple[pa.Table, Times]:
    """Return all bars of a file as they are in it, and their opens (UTC seconds). As `read_bars` else."""
    with open_sealed(content, path) as file:
        _check_identity(path, file, series)
        table = file.read(use_threads=False)
    times = ticks_of(table.column("timestamp")) // _MICROSECONDS
    _require_ascending(path, times)
    return table.replace_schema_metadata(None), times


def _require_ascending(path: str, times: Times) -> None:
    if not (times[1:] > times[:-1]).all():
        raise DamagedFileError(path, "its bars are not in ascending order of time")


def read_footer(tail: bytes, size: int, path: str, series: Series) -> Footer:
    """Return what the footer of a file of `size` bytes says, given its end. Raises as `read_bars` does."""
    with open_sealed_footer(tail, size, path) as file:
        facts = _check_identity(path, file, series)
        metadata = file.metadata
        times = [metadata.row_group(index).column(0).statistics for index in range(metadata.num_row_groups)]
    if not times:
        raise DamagedFileError(path, "holds no bars")
    facts.pop(_ARRIVALS, None)
    first_s, last_s = times[0].min_raw // _MICROSECONDS, times[-1].max_raw // _MICROSECONDS
    return Footer(metadata.num_rows, first_s, last_s, size, facts)


def _format(bars: Bars, *, is_growing: bool) -> dict[str, Any]:
    return _QUICK if is_growing or len(bars) < _LARGE else FORMAT


def _repeats(numbers: Values) -> bool:
    """True where a dictionary saves bytes."""
    sample = np.sort(numbers[:_SAMPLE])
    different = np.count_nonzero(sample[1:] != sample[:-1]) + 1  # np.unique would import numpy.ma
    return bool(different < _DICTIONARY_SHARE * len(sample))


def _check_identity(path: str, file: pq.ParquetFile, series: Series) -> dict[str, str]:
    """Return the file's facts once it is known to be the series', in a known format."""
    raw: dict[bytes, bytes] = file.metadata.metadata or {}
    facts = {key.decode().removeprefix(PREFIX): value.decode() for key, value in raw.items() if _is_fact(key)}
    version = facts.pop("schema_version", "")
    if not version.isdecimal():
        raise DamagedFileError(path, "not written by tv_etl: it names no schema version")
    if int(version) > SCHEMA_VERSION:
        raise NewerFormatError(path, f"schema version {version}, known is {SCHEMA_VERSION}; upgrade tv_etl")
    symbol, token = facts.pop("symbol", ""), facts.pop("interval", "")
    if (symbol, token) != (series.symbol, series.interval.token):
        raise DamagedFileError(path, f"holds the bars of {symbol!r} {token!r}")
    if not file.schema_arrow.equals(BAR_SCHEMA):
        raise DamagedFileError(path, f"its columns are {file.schema_arrow.remove_metadata()}")
    return facts


def _is_fact(key: bytes) -> bool:
    return key.startswith(PREFIX.encode())
