"""The lake: plain hive Parquet that DuckDB, Polars, pandas and Spark read with no help from us.

    <base>/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-11.parquet    below 5m a file per UTC month (below 1m per day),
    <base>/ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet       below a day per UTC year,
    <base>/ohlcv/interval=1d/symbol=NASDAQ%3AAAPL/all.parquet        else one file
    <base>/.tv_etl/1m/NASDAQ%3AAAPL/series.json                      what is known of the series: record.py; logs:
                                                                     logs.py; what a commit leaves there:
                                                                     storage/journal.py, storage/objects.py

A bar's file is a pure function of its interval and time, so an upsert reads and rewrites just the files its bars
belong to. Only closed bars are kept. The watermark is in the files' footers.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

import pyarrow as pa

from tv_etl.lake.as_of import bars_as_of
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError, NoLakeError, NoSeamError
from tv_etl.lake.frames import duckdb_of_files, duckdb_of_scan, has_files, pandas_frame, polars_frame
from tv_etl.lake.layout import path_segment
from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.provenance import Imported
from tv_etl.lake.record import Refusal, Removal, Rename, SeriesRecord
from tv_etl.lake.removal import is_left, remove_series
from tv_etl.lake.resolution import Resolution, resolve_seam
from tv_etl.lake.scan import SCAN_SCHEMA, scanned
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.storage.directory import DirectoryStorage, local_directory
from tv_etl.lake.storage.files import Storage, Transaction
from tv_etl.lake.storage.journal import LOCK_TIMEOUT_S
from tv_etl.lake.update import Update
from tv_etl.lake.upsert import Commit, commit_update
from tv_etl.lake.written import Writer, Written
from tv_etl.tradingview.errors import IntervalError, MissingExtraError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

Result = TypeVar("Result")
Verdict = TypeVar("Verdict")

_ORDER = attrgetter("order")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class SeriesSummary:
    """The extent of a stored series; `bytes` are those of its data files."""

    rows: int
    first: datetime | None
    last: datetime | None
    bytes: int


class BarStore:
    """Bars of many series, kept up to date by one verb: `upsert`.

    `base` is a directory, whose threads, processes and readers of one host may use it at once, or the address of a
    prefix in an object store (`s3://bucket/prefix`, `gs://`, `az://`), which any number of hosts may. Credentials for
    that come from the environment alone. `clock` tells UTC seconds; it decides what is closed where the bars do not
    say so themselves. The record of a series names the `writer` of the last change, by default this process. Raises
    ValueError for another address, MissingExtraError where obstore is not installed.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        writer: Writer | None = None,
    ) -> None:
        self._storage = _open_storage(base, lock_timeout_s)
        self._clock = clock
        self._writer = Writer.here() if writer is None else writer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"

    @classmethod
    def existing(cls, base: str | Path, *, writer: Writer | None = None) -> "BarStore":
        """The lake in a directory that is there, or in an object store. Raises NoLakeError as well."""
        store = cls(base, writer=writer)
        if isinstance(store._storage, DirectoryStorage) and not Path(store.base).is_dir():
            raise NoLakeError(store.base)
        return store

    @property
    def base(self) -> str:
        """The lake's absolute directory, or its address."""
        return self._storage.base

    @property
    def is_there(self) -> bool:
        """False for a directory in which nothing was ever stored; of an object store that is not looked for."""
        if not isinstance(self._storage, DirectoryStorage):
            return True
        return bool(self._storage.interval_tokens() or self._storage.own_tokens())

    def upsert(self, symbol: str, interval: str | Interval, bars: pa.Table) -> Commit:
        """Merge the closed bars into the series, atomically and durably; the newer value of a bar stands.

        A bar whose low and high do not enclose its open and close goes into quarantine. Where the oldest bars given
        differ from the stored ones by one ratio, or those of a back-adjusted future by one amount, the history was
        re-adjusted: what is stored of the time before is rescaled in the same commit. So give bars back to where they
        agree with the stored ones, or all that the server still has; `tv_etl.collect` sees to that.

        The facts of the series are the table's schema metadata `tv_etl.*`; those that are missing stay as stored.
        `tv_etl.forming_from` (UTC seconds, empty: none) says which bars are not closed, `asked_from` and `asked_until`
        in which span none is missing that the server had, `window_bars` and `window_from` how much it still had.

        Raises SymbolError, IntervalError, BadBarsError, SettingsError or ReadjustedError with nothing stored;
        StoreBusyError; DamagedFileError, NewerFormatError or StoreReadError for what is stored; StoreWriteError.
        """
        series = Series.of(symbol, interval)
        update = self.update_of(series, bars)
        return self.commit(series, update, judge=lambda stored: update, needs_proof=False)

    def update_of(self, series: Series, bars: pa.Table) -> Update:
        """What a table of bars brings into a series, forming bars left out. Raises BadBarsError."""
        return Update.of(bars, series.interval, self._clock())

    def update_of_bars(
        self, series: Series, bars: Bars, facts: Mapping[str, str], imported: tuple[Imported, ...] = ()
    ) -> Update:
        """The same of bars in columns, which nobody checks again; `imported` says what of them came from elsewhere."""
        return Update.of_bars(bars, facts, series.interval, self._clock(), imported)

    def commit(
        self,
        series: Series,
        update: Update,
        *,
        judge: Callable[[StoredSeries], "Update | Verdict"],
        needs_proof: bool = True,
        newest: int = 0,
        begins_with: object = None,
    ) -> Commit | Verdict:
        """Merge an update as `upsert` does, if `judge` has nothing against it.

        It judges what is stored inside the transaction, where no other writer can come between, and returns the update
        to merge, maybe another one; of anything else that it returns nothing is stored, and that is returned. It may
        be called again. Where the update `needs_proof` that it is of the stored bars' scale, and there is none, a
        seam is made. The commit holds so many of the `newest` bars. It may begin with the `state` of what was seen
        before: in an object store that saves looking again, and costs starting again where somebody else has written
        since. Raises as `upsert` does.
        """
        place = self._place(series)
        if not len(update.closed) and not place.files.is_stored:
            return Commit(0, 0, 0, update.forming, SeriesRecord(series))

        def write(transaction: Transaction) -> Commit | Verdict:
            stored = StoredSeries(place, transaction)
            judged = judge(stored)
            if not isinstance(judged, Update):
                return judged
            return commit_update(
                place, stored, transaction, judged, self._written(), needs_proof=needs_proof, newest=newest
            )

        return self._write(place, write, begins_with)

    def look(self, series: Series, read: Callable[[StoredSeries], Result], *, lists: bool = True) -> Result:
        """Return what `read` makes of the series as it is between two commits; it may be called again.

        Unless it `lists` them, an object store is not asked which files of the series there are: that takes as long as
        the rest. Then a file that somebody took away by hand is missed only where it is read, or by the next commit
        that writes one. Raises as `read` of the store does, and what `read` raises.
        """
        place = self._place(series)
        return place.files.reading(lambda snapshot: read(StoredSeries(place, snapshot)), lists=lists)

    def revisions(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return every closed bar that came again with other values, in the order found.

        Columns: timestamp, found_at, old_open ... old_volume, open ... volume. Raises as `read` does.
        """
        return self.look(Series.of(symbol, interval), StoredSeries.revisions)

    def record(self, symbol: str, interval: str | Interval) -> SeriesRecord:
        """Return what is known of the series beside its bars: facts, spans asked, window, re-adjustments, periods.

        Empty for a series never stored. Raises as `read` does.
        """
        return self.look(Series.of(symbol, interval), StoredSeries.record)

    def set_aside_damaged(self, symbol: str, interval: str | Interval) -> list[str]:
        """Move what cannot be read as the series' out of the way, so that its time can be fetched again.

        Returns where it lies now: beside the record, outside the dataset. What is whole stays. Raises StoreBusyError,
        StoreReadError, StoreWriteError, or NewerFormatError for what a later version can read.
        """
        place = self._place(Series.of(symbol, interval))

        def write(transaction: Transaction) -> list[str]:
            stored = StoredSeries(place, transaction)
            names, record = stored.damaged_names(), stored.decoded_record()
            if names and record is not None:
                left = replace(
                    record,
                    revisions=0 if place.revisions_name in names else record.revisions,
                    quarantined=0 if place.quarantine_name in names else record.quarantined,
                    withdrawn=0 if place.withdrawn_name in names else record.withdrawn,
                    logged_from=self._clock(),  # what came when went with them
                    written=self._written().after(record.written),
                )
                transaction.stage(place.record_name, left.encode())
            aside = [transaction.set_aside(name) for name in names]
            transaction.publish()
            return aside

        aside = place.files.mend()
        if place.files.is_stored:
            aside += place.files.writing(write)
        return [self._storage.address(name) for name in aside]

    def withdrawn(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return the closed bars that the server once had, and not any more, in the order found.

        Columns: those of a bar, found_at, came_at, has_left (the dataset, since a served bar overlaps it) and
        returned_at, null until it is served again. Raises as `read` does.
        """
        return self.look(Series.of(symbol, interval), StoredSeries.withdrawn)

    def refuse(self, symbol: str, interval: str | Interval, reason: str, at: float) -> None:
        """Put on record that the server refused the series at a moment (UTC seconds), until it gives an answer.

        Not of stored bars without a record, which the next commit writes. Raises as `upsert` does.
        """
        place = self._place(Series.of(symbol, interval))

        def write(transaction: Transaction) -> None:
            stored = StoredSeries(place, transaction)
            known = stored.record() if stored.periods else stored.decoded_record() or stored.record()
            if stored.periods and not stored.has_record:
                return
            since = at if known.refusal is None else known.refusal.since
            refused = replace(known, refusal=Refusal(reason, since, at))
            transaction.stage(place.record_name, refused.encode())
            transaction.publish()

        self._write(place, write, None)

    def refused(self) -> list[Series]:
        """Return every series that the server refused and of which nothing is stored. Raises as `read` does."""
        stored = set(self.series())
        known = {
            Series(symbol, interval)
            for token in self._storage.own_tokens()
            if (interval := _interval_named(token)) is not None
            for segment in self._storage.own_segments(token)
            if _is_ours(symbol := unquote(segment), segment)
        }
        return sorted((each for each in known - stored if self.record(*each).refusal is not None), key=_ORDER)

    def resolve_seam(self, symbol: str, interval: str | Interval, resolution: Resolution) -> SeriesRecord:
        """Resolve the newest open seam of the series; return what is known of it then.

        Raises NoSeamError where there is none, and as `upsert` does.
        """
        place = self._place(Series.of(symbol, interval))
        if not place.files.is_stored:
            raise NoSeamError(str(place.series))

        def write(transaction: Transaction) -> SeriesRecord:
            stored = StoredSeries(place, transaction)
            return resolve_seam(place, stored, transaction, resolution, self._written())

        return place.files.writing(write)

    def retire(
        self, symbol: str, interval: str | Interval, rename: Rename, *, if_entered: Callable[[StoredSeries], bool]
    ) -> bool:
        """Take a series out of the dataset that has entered another one; True once it is out.

        `if_entered` judges inside the transaction whether all that is stored has; if not, nothing changes. The files,
        data and logs, are kept beside the record, which has the rename from now on. Raises as `upsert` does.
        """
        place = self._place(Series.of(symbol, interval))

        def write(transaction: Transaction) -> bool:
            stored = StoredSeries(place, transaction)
            if not if_entered(stored):
                return False
            known = stored.decoded_record() or stored.record()
            logs = [name for name in place.log_names(known) if transaction.read(name) is not None]
            # What is stored is out with the last data file: until then whoever is killed finds it here again.
            for name in [*logs, *map(place.period_name, stored.periods)]:
                transaction.set_aside(name)
            renames = tuple(dict.fromkeys([*known.renames, rename]))
            left = SeriesRecord(place.series, renames=renames, removals=known.removals)
            transaction.stage(place.record_name, left.encode())
            transaction.publish()
            return True

        return place.files.writing(write)

    def settle(self, symbol: str, interval: str | Interval) -> None:
        """Take out of the dataset what a move or a removal that was killed has left there. Raises as `upsert` does."""
        files = self._place(Series.of(symbol, interval)).files
        if files.is_half_removed:
            files.writing(lambda transaction: None)

    def remove(self, symbol: str, interval: str | Interval) -> Removal | None:
        """Remove a series with all that is known of it, and put on record that it was; None where nothing is stored.

        Every reader of the store has all of it or nothing. What is damaged goes as well. After a kill it is whole or
        gone, and removing it again, or the next commit, clears what is left of it. In an object store a file without
        bars stays in the place of each, which the next fetch replaces. Raises as `upsert` does.
        """
        place = self._place(Series.of(symbol, interval))

        def write(transaction: Transaction) -> Removal | None:
            return remove_series(place, StoredSeries(place, transaction), transaction, self._written())

        if not self._is_left(place):
            return None
        place.files.mend()
        return place.files.writing(write)

    def removable(self, symbol: str) -> list[Series]:
        """Return the series of a symbol that `remove` has something to do for, by width. Raises as `read` does."""
        found = []
        for token in {*self._storage.interval_tokens(), *self._storage.own_tokens()}:
            interval = _interval_named(token)
            if interval is not None:
                place = self._place(Series(symbol, interval))
                if self._is_left(place):
                    found.append(place.series)
        return sorted(found, key=_ORDER)

    def quarantine(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return the closed bars whose low and high do not enclose open and close, ascending, with found_at.

        They are not in the dataset. A fetch that brings a sound version of a bar takes it out. Raises as `read` does.
        """
        return self.look(Series.of(symbol, interval), StoredSeries.quarantine)

    def read(
        self,
        symbol: str,
        interval: str | Interval,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        as_of: datetime | None = None,
    ) -> pa.Table:
        """Return the stored bars of the half-open range, ascending; no rows for a series never stored.

        `as_of` a moment, they are what the lake held then: bars that came later are left out, revisions and
        re-adjustments found later are undone, by the clocks of those who wrote. Raises AsOfError where that is not on
        record: for a lake from before what came when was logged, or one whose logs were lost.

        Raises SymbolError, IntervalError, ValueError for a time without zone, StoreBusyError, DamagedFileError,
        NewerFormatError or StoreReadError.
        """
        start_s, end_s, _ = _ceil_seconds(start), _ceil_seconds(end), _ceil_seconds(as_of)

        def bars(stored: StoredSeries) -> Bars:
            return stored.between(start_s, end_s) if as_of is None else bars_as_of(stored, as_of, start_s, end_s)

        return self.look(Series.of(symbol, interval), bars).to_table()

    def scan(
        self,
        symbols: str | Iterable[str] | None = None,
        intervals: str | Interval | Iterable[str | Interval] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.RecordBatchReader:
        """Stream the stored bars of the half-open range, of all series or those named: by symbol, width and time.

        The columns are symbol, interval as paths have it (1m, 1h, 1d), those of a bar, and trading_day: the date that
        the bar belongs to by the symbol's own trading hours, null where these are not known or cannot be read. A series
        is read soon before its turn, as one commit left it, and only its files of the range; one that is not stored has
        no rows.

        Raises as `read` does: for the arguments at once, for what is stored while the stream is read.
        """
        _ceil_seconds(start), _ceil_seconds(end)
        names, widths = self._selected(symbols, intervals)
        if widths is None:
            widths = self._stored_intervals()
        wanted = {Series(name, width) for width in widths for name in names or ()}
        if names is None:
            wanted = {Series(name, width) for width in widths for name in self._stored_symbols(width)}
        return self.scan_series(wanted, start, end)

    def scan_series(
        self, series: Iterable[Series], start: datetime | None = None, end: datetime | None = None
    ) -> pa.RecordBatchReader:
        """Stream what `scan` does, of these series alone; each batch has bars of one. Raises as `scan` does."""
        start_s, end_s = _ceil_seconds(start), _ceil_seconds(end)
        wanted = sorted({*series}, key=_ORDER)
        for each in wanted:
            self._place(each)
        return pa.RecordBatchReader.from_batches(SCAN_SCHEMA, scanned(self.look, wanted, start_s, end_s))

    def to_polars(
        self,
        symbols: str | Iterable[str] | None = None,
        intervals: str | Interval | Iterable[str | Interval] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> "pl.DataFrame":
        """Return what `scan` streams as a Polars frame. Raises as `scan` does, MissingExtraError without Polars."""
        return polars_frame(lambda: self.scan(symbols, intervals, start, end))

    def to_pandas(
        self,
        symbols: str | Iterable[str] | None = None,
        intervals: str | Interval | Iterable[str | Interval] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> "pd.DataFrame":
        """Return what `scan` streams as a pandas frame: times in UTC, a trading day at midnight without a zone, NaN for
        no volume.

        Raises as `scan` does, MissingExtraError without pandas.
        """
        return pandas_frame(lambda: self.scan(symbols, intervals, start, end))

    def to_duckdb(
        self,
        symbols: str | Iterable[str] | None = None,
        intervals: str | Interval | Iterable[str | Interval] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> "duckdb.DuckDBPyConnection":
        """Return a DuckDB connection, in memory and in UTC, with `bars`: a view of the bars that `scan` selects.

        Its columns are symbol, interval and those of a bar. Of a lake in a directory every query reads the files as
        they are then, and of those only what it needs. Of one in an object store, or with no bar in it yet, `bars` is a
        table, of what is stored now.

        Raises as `scan` does, MissingExtraError without DuckDB.
        """
        names, widths = self._selected(symbols, intervals)
        _ceil_seconds(start), _ceil_seconds(end)
        if not isinstance(self._storage, DirectoryStorage) or not has_files(self.base):
            return duckdb_of_scan(lambda: self.scan(names, widths, start, end))
        tokens = None if widths is None else [each.token for each in widths]
        return duckdb_of_files(self.base, names, tokens, start, end)

    def watermark(self, symbol: str, interval: str | Interval) -> datetime | None:
        """Return the time of the newest stored bar, read from a footer. Raises as `read` does."""

        def last(stored: StoredSeries) -> datetime | None:
            return utc(stored.footer(stored.periods[-1]).last_s) if stored.periods else None

        return self.look(Series.of(symbol, interval), last)

    def summary(self, symbol: str, interval: str | Interval) -> SeriesSummary:
        """Return how much of the series is stored, read from footers. Raises as `read` does."""
        footers = self.look(Series.of(symbol, interval), lambda stored: list(stored.footers()))
        rows, size = sum(each.rows for each in footers), sum(each.bytes for each in footers)
        if not footers:
            return SeriesSummary(0, None, None, 0)
        return SeriesSummary(rows, utc(footers[0].first_s), utc(footers[-1].last_s), size)

    def facts(self, symbol: str, interval: str | Interval) -> dict[str, str]:
        """Return how the series was made: source, adjustment, trading_hours, ...; empty when unknown.

        Raises as `read` does.
        """
        return dict(self.record(symbol, interval).facts)

    def series(self) -> list[Series]:
        """Return every stored series, by symbol and then by width. Raises StoreReadError."""
        found = [Series(name, width) for width in self._stored_intervals() for name in self._stored_symbols(width)]
        return sorted(found, key=_ORDER)

    def renames(self, symbol: str) -> list[Rename]:
        """Return by which renames series of a symbol came or left, oldest first. Raises as `read` does."""
        found = {each for width in self._stored_intervals() for each in self.record(symbol, width).renames}
        return sorted(found, key=attrgetter("at"))

    def uri(self, symbol: str, interval: str | Interval) -> str:
        """Return the directory or the address of the series' files, for readers other than us; it may not exist yet."""
        return self._storage.address(self._place(Series.of(symbol, interval)).data)

    def _selected(
        self, symbols: str | Iterable[str] | None, intervals: str | Interval | Iterable[str | Interval] | None
    ) -> tuple[list[str] | None, list[Interval] | None]:
        """Symbols and intervals as somebody asks for them, checked; None is all. Raises SymbolError, IntervalError."""
        names = [symbols] if isinstance(symbols, str) else symbols if symbols is None else list(symbols)
        given = [intervals] if isinstance(intervals, str | Interval) else intervals
        widths = None if given is None else [Interval.parse(each) for each in given]
        for width in widths or ():
            _require_stored(width)
        for name in names or ():
            path_segment(name)
        return names, widths

    def _is_left(self, place: SeriesPlace) -> bool:
        try:
            return self.look(place.series, partial(is_left, place))
        except DamagedFileError:
            return True

    def _written(self) -> Written:
        return Written(self._clock(), self._writer)

    def _place(self, series: Series) -> SeriesPlace:
        _require_stored(series.interval)
        return SeriesPlace(series, path_segment(series.symbol), self._storage)

    def _write(self, place: SeriesPlace, write: Callable[[Transaction], Result], begins_with: object) -> Result:
        lock = self._storage.creation_lock(place.interval.token)
        if lock is None or place.files.is_stored:
            return place.files.writing(write, lists=False, begins_with=begins_with)
        # Symbols that differ in case only would be one directory on some file systems; so that two new ones cannot
        # miss each other, new series of an interval begin one at a time. From then on each is under its own lock,
        # which whoever looks for twins waits for.
        with ExitStack() as beginning:
            beginning.enter_context(lock)
            for twin in self._storage.twins(place.interval.token, place.segment):
                raise SymbolError(place.series.symbol, f"is already stored as {unquote(twin)!r}")

            def begun(transaction: Transaction) -> Result:
                beginning.close()
                return write(transaction)

            return place.files.writing(begun)

    def _stored_intervals(self) -> list[Interval]:
        found = map(_interval_named, self._storage.interval_tokens())
        return [interval for interval in found if interval is not None]

    def _stored_symbols(self, interval: Interval) -> list[str]:
        segments = self._storage.stored_segments(interval.token)
        return [symbol for segment in segments if _is_ours(symbol := unquote(segment), segment)]


def _open_storage(base: str | Path, timeout_s: float) -> Storage:
    directory = local_directory(base)
    if directory is not None:
        return DirectoryStorage(directory, lock_timeout_s=timeout_s)
    try:
        from tv_etl.lake.storage.objects import ObjectStorage
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise MissingExtraError("a lake in an object store needs obstore: pip install 'tv-etl[s3]'") from error
    return ObjectStorage(str(base), timeout_s=timeout_s)


def _require_stored(interval: Interval) -> None:
    """Raise IntervalError for what no lake has."""
    if not interval.is_time_based:
        raise IntervalError(interval.token, "tick and range bars are not stored: their times are not unique")


def _interval_named(token: str) -> Interval | None:
    """None for somebody else's directory."""
    try:
        interval = Interval.parse(token)
    except IntervalError:
        return None
    return interval if token == interval.token and interval.is_time_based else None


def _is_ours(symbol: str, segment: str) -> bool:
    """False for somebody else's directory."""
    try:
        return path_segment(symbol) == segment
    except SymbolError:
        return False


def _ceil_seconds(moment: datetime | None) -> int | None:
    """The first whole UTC second not before the moment: bars lie on whole seconds."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return -((_EPOCH - moment) // timedelta(seconds=1))
