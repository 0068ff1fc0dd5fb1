"""Every error of the bar store, in one tree.

    BarStoreError
    ├── BadBarsError (ValueError)     the table given is not a table of bars; nothing was stored
    ├── SettingsError (ValueError)    the bars were made with other settings than the stored ones
    ├── NotJoinedError (ValueError)   the bars given do not join the stored ones; nothing was stored
    ├── NoSeamError (ValueError)      there is no open seam to resolve
    ├── NoSeriesError (ValueError)    nothing is stored of a symbol
    ├── NoLakeError (ValueError)      there is no lake where one is to be read
    ├── ReadjustedError               the history was re-adjusted beyond the bars given; nothing was stored
    ├── AsOfError (ValueError)        what a series was at a moment is not on record
    ├── DamagedFileError              a stored file cannot be read as what it should be
    ├── NewerFormatError              a stored file was written by a later version of tv_etl
    ├── StoreBusyError                other writers kept the series busy for too long; retryable
    ├── StoreReadError                the system refused to read (EACCES, EIO, no such bucket, ...)
    └── StoreWriteError               the system refused to write (ENOSPC, EROFS, EIO, access denied, ...)

A symbol that cannot be stored is a `SymbolError`, an interval an `IntervalError`: those are the client's.
`retryable` says whether the same call may succeed later without anybody's help.
"""

import math
from datetime import datetime, timezone
from pathlib import Path


class BarStoreError(Exception):
    """Anything that keeps the store from doing what it is asked."""

    retryable = False


class BadBarsError(BarStoreError, ValueError):
    """The table is not a table of bars; `column` and `row` (from 0) say where, as far as one row is to blame."""

    def __init__(self, column: str, row: int | None, reason: str) -> None:
        where = f"column {column!r}" if row is None else f"column {column!r}, row {row}"
        super().__init__(f"{where}: {reason}")
        self.column = column
        self.row = row
        self.reason = reason


class SettingsError(BarStoreError, ValueError):
    """Bars made with one setting must not be mixed into a series made with another."""

    def __init__(self, series: str, setting: str, stored: str, given: str) -> None:
        super().__init__(
            f"{series} is stored with {setting} {stored!r}; bars with {setting} {given!r} cannot be mixed into it"
        )
        self.series = series
        self.setting = setting
        self.stored = stored
        self.given = given


class NotJoinedError(BarStoreError, ValueError):
    """The bars given, from `begins` to `ends`, may be of another scale than the stored ones; nothing proves it is one.

    `reason` says how far they would have to reach for a proof.
    """

    def __init__(self, series: str, begins: datetime, ends: datetime, reason: str) -> None:
        super().__init__(
            f"{series}: the bars given, {begins:%Y-%m-%d %H:%M}Z to {ends:%Y-%m-%d %H:%M}Z, do not join the stored "
            f"ones; {reason}"
        )
        self.series = series
        self.begins = begins
        self.ends = ends
        self.reason = reason


class NoSeamError(BarStoreError, ValueError):
    """The series has no open seam."""

    def __init__(self, series: str) -> None:
        super().__init__(f"{series} has no open seam: nothing is to be resolved")
        self.series = series


class NoSeriesError(BarStoreError, ValueError):
    """Nothing is stored of the symbol; `known` says what the lake at `base` knows of it, empty if nothing."""

    def __init__(self, symbol: str, base: str, known: str = "") -> None:
        super().__init__(f"{symbol!r} is not stored in {base}{f'; {known}' if known else ''}")
        self.symbol = symbol
        self.base = base
        self.known = known


class NoLakeError(BarStoreError, ValueError):
    """There is no lake where one is to be read."""

    def __init__(self, base: str) -> None:
        super().__init__(
            f"no lake at {base}: there is no such directory; is the path right, and the file system mounted?"
        )
        self.base = base


class ReadjustedError(BarStoreError):
    """The bars given are re-adjusted as `how` says, and end at `last`, before the stored ones do."""

    def __init__(self, series: str, how: str, last: datetime) -> None:
        super().__init__(
            f"{series} was re-adjusted, {how}; the bars given end at {last:%Y-%m-%d %H:%M}Z and newer ones are stored: "
            "fetch up to now"
        )
        self.series = series
        self.how = how
        self.last = last


class AsOfError(BarStoreError, ValueError):
    """What was known of a series at `moment` is not on record; from `known_from` (UTC seconds) on it is.

    `known_from` is inf where that is known of no moment yet, or no more.
    """

    def __init__(self, series: str, moment: datetime, known_from: float) -> None:
        reason = "what came when was not logged before the next commit, or its log was lost"
        if known_from != math.inf:
            since = datetime.fromtimestamp(known_from, tz=timezone.utc).isoformat()
            reason = f"the record of what came when begins at {since}"
        super().__init__(f"{series}: what was known of it at {moment.isoformat()} is not on record; {reason}")
        self.series = series
        self.moment = moment
        self.known_from = known_from


class _FileError(BarStoreError):
    """`path` is the file, directory or object concerned, `reason` says what is wrong with it."""

    def __init__(self, path: str | Path, reason: str, *, retryable: bool | None = None) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        if retryable is not None:
            self.retryable = retryable


class DamagedFileError(_FileError):
    """A stored file is truncated, corrupt or foreign; move it away and fetch its period again."""


class NewerFormatError(_FileError):
    """A stored file has a format that only a later version of tv_etl understands."""


class StoreBusyError(_FileError):
    """Other writers kept the series busy for longer than the caller wanted to wait."""

    retryable = True


class StoreReadError(_FileError):
    """The system refused to read (an OSError is the cause), or an object store did or could not be reached."""


class StoreWriteError(_FileError):
    """The system or the object store refused to write, or could not be reached; what was stored before is intact."""
