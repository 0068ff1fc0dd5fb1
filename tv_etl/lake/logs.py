"""What is known of a series beside its bars: revisions, re-adjusted bars as they were, and bars in quarantine.

All are Parquet files in the series' own directory outside the dataset, changed in the same commit as the bars.

    revisions.parquet     every closed bar that came again with other values: old, new, and when that was found
    readjusted-1.parquet  all bars that the first re-adjustment changed, as they were before it, and when it was found
    quarantine.parquet    closed bars whose low and high do not enclose open and close, in their last version; a sound
                          version takes a bar out
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.sealed import encode_sealed, open_sealed
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.columns import column_of, no_rows

LOG_VERSION = 1

_TIME = BAR_SCHEMA.field("timestamp").type
_FOUND_AT = pa.field("found_at", _TIME, nullable=False)
_VALUES = [field for field in BAR_SCHEMA if field.name != "timestamp"]
_VERSION_KEY = b"tv_etl.log_version"

REVISION_SCHEMA = pa.schema(
    [BAR_SCHEMA.field("timestamp"), _FOUND_AT, *(field.with_name(f"old_{field.name}") for field in _VALUES), *_VALUES]
)
QUARANTINE_SCHEMA = pa.schema([*BAR_SCHEMA, _FOUND_AT])
READJUSTED_SCHEMA = QUARANTINE_SCHEMA


def read_log(content: bytes | None, path: str, schema: pa.Schema) -> pa.Table:
    """Return a log, without rows where none was written. Raises DamagedFileError or NewerFormatError."""
    if content is None:
        return no_rows(schema)
    with open_sealed(content, path) as file:
        table = file.read(use_threads=False)
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"")
    if version.isdigit() and int(version) > LOG_VERSION:
        raise NewerFormatError(path, f"log version {version.decode()}, known is {LOG_VERSION}; upgrade tv_etl")
    if not table.schema.equals(schema):
        raise DamagedFileError(path, f"its columns are {table.schema.remove_metadata()}")
    return table.replace_schema_metadata(None)


def encode_log(table: pa.Table, stamp: bytes = b"") -> memoryview:
    """Return the bytes of a log's file."""
    return encode_sealed(table.replace_schema_metadata({_VERSION_KEY: str(LOG_VERSION)}), stamp, compression="zstd")


def revision_rows(old: Bars, new: Bars, found_at_s: float) -> pa.Table:
    """Rows for the revision log: two versions of the same bars."""
    before, after = old.to_table(), new.to_table()
    columns = [before["timestamp"], moments(len(old), found_at_s), *before.columns[1:], *after.columns[1:]]
    return pa.Table.from_arrays(columns, schema=REVISION_SCHEMA)


def readjusted_rows(before: Bars, found_at_s: float) -> pa.Table:
    """Rows for the log of a re-adjustment: the bars that it changed, as they were."""
    return before.to_table().append_column(_FOUND_AT, moments(len(before), found_at_s)).cast(READJUSTED_SCHEMA)


def replaced_by_revisions(log: pa.Table) -> pa.Table:
    """The old versions in the log of revisions, as the log of a re-adjustment has them."""
    columns = [log["timestamp"], *(log[f"old_{field.name}"] for field in _VALUES), log["found_at"]]
    return pa.Table.from_arrays(columns, schema=READJUSTED_SCHEMA)


def quarantined(log: pa.Table, sound: Bars, broken: Bars, found_at_s: float) -> pa.Table:
    """The quarantine after a fetch: its sound bars leave it, its broken ones are in it."""
    if not len(broken) and not log.num_rows:
        return log
    settled = np.concatenate([sound.times, broken.times]) * 1_000_000
    stays = pc.invert(pc.is_in(log["timestamp"], column_of(settled, _TIME)))
    rows = broken.to_table().append_column(_FOUND_AT, moments(len(broken), found_at_s))
    table = pa.concat_tables([log.filter(stays), rows.cast(QUARANTINE_SCHEMA)])
    return log if table.drop_columns("found_at").equals(log.drop_columns("found_at")) else table.sort_by("timestamp")


def moments(count: int, moment_s: float) -> pa.Array:
    """A moment (UTC seconds) for each of so many rows."""
    return column_of(np.full(count, int(moment_s * 1_000_000)), _TIME)
