"""The lake: plain hive Parquet that DuckDB, Polars, pandas and Spark read with no help from us.

    <base>/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-11.parquet    below 5m a file per UTC month (below 1m per day),
    <base>/ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet       below a day per UTC year,
    <base>/ohlcv/interval=1d/symbol=NASDAQ%3AAAPL/all.parquet        else one file
    <base>/.tv_etl/1m/NASDAQ%3AAAPL/series.json                      what is known of the series: series_record.py;
                                                                     logs: bar_log.py; what a commit leaves there:
                                                                     commit.py, object_lake.py

A bar's file is a pure function of its interval and time, so an upsert reads and rewrites just the files its bars
belong to. Only closed bars are kept. The watermark is in the files' footers.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from tv_etl.bar_file import PREFIX, SCHEMA_VERSION, Footer, Owner, encode_bars
from tv_etl.bar_layout import path_segment, period_labels, period_range
from tv_etl.bar_log import encode_log, quarantined, revision_rows
from tv_etl.bar_table import Bars, check_bars, joined, merge
from tv_etl.commit import LOCK_TIMEOUT_S
from tv_etl.lake import Lake, Snapshot, Transaction
from tv_etl.local_lake import LocalLake, local_directory
from tv_etl.revisions import Readjustment, agrees_at_start, find_readjustment, revised
from tv_etl.series_record import FoundReadjustment, Period, SeriesRecord, Window
from tv_etl.spans import Span
from tv_etl.spans import merged as merged_spans
from tv_etl.store_errors import (
    BadBarsError,
    BarStoreError,
    DamagedFileError,
    NewerFormatError,
    ReadjustedError,
    SettingsError,
    StoreBusyError,
    StoreReadError,
    StoreWriteError,
)
from tv_etl.stored_series import UNSPECIFIED, Series, StoredSeries
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import IntervalError, MissingExtraError, SymbolError
from tv_etl.tradingview.intervals import Interval

__all__ = [
    "BAR_SCHEMA",
    "SCAN_SCHEMA",
    "SCHEMA_VERSION",
    "BadBarsError",
    "BarStore",
    "BarStoreError",
    "Commit",
    "DamagedFileError",
    "NewerFormatError",
    "ReadjustedError",
    "Readjustment",
    "SeriesSummary",
    "SettingsError",
    "StoreBusyError",
    "StoreReadError",
    "StoreWriteError",
]

SCAN_SCHEMA = pa.schema(
    [pa.field("symbol", pa.string(), nullable=False), pa.field("interval", pa.string(), nullable=False), *BAR_SCHEMA]
)
SETTINGS = ("adjustment", "session", "currency", "backadjustment")  # different ones never mix in a series
_UNKNOWN = (UNSPECIFIED, "")

_FILE_FACTS = ("source", *SETTINGS, "time_zone")
# What a table says of itself, not of the series.
_NOT_FACTS = frozenset(
    {"forming_from", "asked_from", "asked_until", "window_bars", "window_from", "schema_version", "symbol", "interval"}
)
_SCAN_ROWS = 65_536  # in a batch, at most
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Commit:
    """What an upsert did.

    `changed` bars are revisions. `forming` bars were refused because they were not closed. `first`, `last` and `rows`
    are the whole series' after the commit, `quarantined` its bars that are kept out of the dataset; `paths` are the
    data files written, relative to the base of the lake, none where nothing changed. With a `readjustment` older bars
    than those given were rescaled. `record` is what is known of the series now.
    """

    added: int
    changed: int
    unchanged: int
    forming: int
    first: datetime | None
    last: datetime | None
    rows: int
    paths: tuple[str, ...]
    quarantined: int = 0
    readjustment: Readjustment | None = None
    record: SeriesRecord = field(default_factory=SeriesRecord)


@dataclass(frozen=True)
class SeriesSummary:
    """The extent of a stored series; `bytes` are those of its data files."""

    rows: int
    first: datetime | None
    last: datetime | None
    bytes: int


@dataclass(frozen=True)
class _Given:
    """What an upsert was given: closed bars, and what their table says of itself and of the series."""

    closed: Bars
    forming: int
    facts: Mapping[str, str]
    asked: tuple[Span, ...]
    window: Window | None


class BarStore:
    """Bars of many series, kept up to date by one verb: `upsert`.

    `base` is a directory, whose threads, processes and readers of one host may use it at once, or the address of a
    prefix in an object store (`s3://bucket/prefix`, `gs://`, `az://`), which any number of hosts may. Credentials for
    that come from the environment alone. `clock` tells UTC seconds; it decides what is closed where the bars do not
    say so themselves. Raises ValueError for another address, MissingExtraError where obstore is not installed.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self._lake = _open_lake(base, lock_timeout_s)
        self._clock = clock

    @property
    def base(self) -> str:
        """The lake's absolute directory, or its address."""
        return self._lake.base

    def upsert(self, symbol: str, interval: str | Interval, bars: pa.Table) -> Commit:
        """Merge the closed bars into the series, atomically and durably; the newer value of a bar stands.

        A bar whose low and high do not enclose its open and close goes into quarantine. Where the oldest bars given
        differ from the stored ones by one ratio, the history was re-adjusted: what is stored of the time before is
        rescaled by it in the same commit. So give bars back to where they agree with the stored ones, or all that the
        server still has: `agrees` tells.

        The facts of the series are the table's schema metadata `tv_etl.*`; those that are missing stay as stored.
        `tv_etl.forming_from` (UTC seconds, empty: none) says which bars are not closed, `asked_from` and `asked_until`
        in which span none is missing that the server had, `window_bars` and `window_from` how much it still had.

        Raises SymbolError, IntervalError, BadBarsError, SettingsError or ReadjustedError with nothing stored;
        StoreBusyError; DamagedFileError, NewerFormatError or StoreReadError for what is stored; StoreWriteError.
        """
        series = self._series(symbol, interval)
        given = check_bars(bars)
        facts = _facts_of(bars.schema)
        closed = given.between(None, self._forming_from(facts.get("forming_from"), series.interval))
        update = _Given(closed, len(given) - len(closed), facts, _asked_in(facts), _window_in(facts))
        if not len(closed) and not series.files.is_stored:
            return Commit(0, 0, 0, update.forming, None, None, 0, ())
        return self._write(series, lambda transaction: _commit(series, transaction, update, self._clock()))

    def agrees(self, symbol: str, interval: str | Interval, bars: pa.Table) -> bool:
        """True unless the oldest bar that is both given and stored differs: then older ones may differ as well.

        Raises BadBarsError, and as `read` does.
        """
        given = check_bars(bars)
        given = given.take(given.is_consistent())
        if not len(given):
            return True
        first, last = _time(int(given.times[0])), _time(int(given.times[-1]) + 1)
        return agrees_at_start(Bars.from_stored(self.read(symbol, interval, first, last)), given)

    def revisions(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return every closed bar that came again with other values, in the order found.

        Columns: timestamp, found_at, old_open ... old_volume, open ... volume. Raises as `read` does.
        """
        series = self._series(symbol, interval)
        return series.files.reading(lambda snapshot: StoredSeries(series, snapshot).revisions())

    def record(self, symbol: str, interval: str | Interval) -> SeriesRecord:
        """Return what is known of the series beside its bars: facts, spans asked, window, re-adjustments, periods.

        Empty for a series never stored. Raises as `read` does.
        """
        series = self._series(symbol, interval)
        return series.files.reading(lambda snapshot: StoredSeries(series, snapshot).record())

    def set_aside_damaged(self, symbol: str, interval: str | Interval) -> list[str]:
        """Move what cannot be read as the series' out of the way, so that its time can be fetched again.

        Returns where it lies now: beside the record, outside the dataset. What is whole stays. Raises StoreBusyError,
        StoreReadError, StoreWriteError, or NewerFormatError for what a later version can read.
        """
        series = self._series(symbol, interval)

        def write(transaction: Transaction) -> list[str]:
            aside = [transaction.set_aside(name) for name in StoredSeries(series, transaction).damaged_names()]
            transaction.publish()
            return aside

        aside = series.files.mend()
        if series.files.is_stored:
            aside += series.files.writing(write)
        return [self._lake.address(name) for name in aside]

    def quarantine(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return the closed bars whose low and high do not enclose open and close, ascending, with found_at.

        They are not in the dataset. A fetch that brings a sound version of a bar takes it out. Raises as `read` does.
        """
        series = self._series(symbol, interval)
        return series.files.reading(lambda snapshot: StoredSeries(series, snapshot).quarantine())

    def read(
        self,
        symbol: str,
        interval: str | Interval,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the stored bars of the half-open range, ascending; no rows for a series never stored.

        Raises SymbolError, IntervalError, ValueError for a time without zone, StoreBusyError, DamagedFileError,
        NewerFormatError or StoreReadError.
        """
        series = self._series(symbol, interval)
        start_s, end_s = _ceil_seconds(start), _ceil_seconds(end)

        def read(snapshot: Snapshot) -> list[Bars]:
            stored = StoredSeries(series, snapshot)
            return [
                stored.bars(period).between(start_s, end_s)
                for period in stored.periods
                if _overlaps(period_range(period, series.interval), start_s, end_s)
            ]

        tables = [bars.to_table() for bars in series.files.reading(read)]
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *tables]).combine_chunks()

    def scan(
        self,
        symbols: str | Iterable[str] | None = None,
        intervals: str | Interval | Iterable[str | Interval] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.RecordBatchReader:
        """Stream the stored bars of the half-open range, of all series or those named: by symbol, width and time.

        The columns are symbol, interval as paths have it (1m, 1h, 1d) and those of a bar. A series is read when its
        turn comes, as one commit left it, and only its files of the range; one that is not stored has no rows.

        Raises as `read` does: for the arguments at once, for what is stored while the stream is read.
        """
        _ceil_seconds(start), _ceil_seconds(end)
        if intervals is None:
            widths = self._stored_intervals()
        else:
            given = [intervals] if isinstance(intervals, str | Interval) else intervals
            widths = [Interval.parse(each) for each in given]
        names = [symbols] if isinstance(symbols, str) else symbols if symbols is None else list(symbols)
        wanted = {(name, width) for width in widths for name in names or ()}
        if names is None:
            wanted = {(name, width) for width in widths for name in self._stored_symbols(width)}
        for name, width in wanted:
            self._series(name, width)
        batches = (
            batch
            for name, width in sorted(wanted, key=_by_symbol_and_width)
            for batch in _labelled(self.read(name, width, start, end), name, width)
        )
        return pa.RecordBatchReader.from_batches(SCAN_SCHEMA, batches)

    def watermark(self, symbol: str, interval: str | Interval) -> datetime | None:
        """Return the time of the newest stored bar, read from a footer. Raises as `read` does."""
        series = self._series(symbol, interval)

        def newest(snapshot: Snapshot) -> Footer | None:
            stored = StoredSeries(series, snapshot)
            return stored.footer(stored.periods[-1]) if stored.periods else None

        footer = series.files.reading(newest)
        return None if footer is None else _time(footer.last_s)

    def summary(self, symbol: str, interval: str | Interval) -> SeriesSummary:
        """Return how much of the series is stored, read from footers. Raises as `read` does."""
        series = self._series(symbol, interval)
        footers = series.files.reading(lambda snapshot: list(StoredSeries(series, snapshot).footers()))
        rows, size = sum(each.rows for each in footers), sum(each.bytes for each in footers)
        if not footers:
            return SeriesSummary(0, None, None, 0)
        return SeriesSummary(rows, _time(footers[0].first_s), _time(footers[-1].last_s), size)

    def facts(self, symbol: str, interval: str | Interval) -> dict[str, str]:
        """Return how the series was made: source, adjustment, trading_hours, ...; empty when unknown.

        Raises as `read` does.
        """
        return dict(self.record(symbol, interval).facts)

    def series(self) -> list[tuple[str, Interval]]:
        """Return every stored series, by symbol and then by width. Raises StoreReadError."""
        found = [(name, width) for width in self._stored_intervals() for name in self._stored_symbols(width)]
        return sorted(found, key=_by_symbol_and_width)

    def uri(self, symbol: str, interval: str | Interval) -> str:
        """Return the directory or the address of the series' files, for readers other than us; it may not exist yet."""
        return self._lake.address(self._series(symbol, interval).data)

    def _series(self, symbol: str, interval: str | Interval) -> Series:
        width = Interval.parse(interval)
        if not width.is_time_based:
            raise IntervalError(width.token, "tick and range bars are not stored: their times are not unique")
        return Series(Owner(symbol, width.token), width, path_segment(symbol), self._lake)

    def _write(self, series: Series, write: Callable[[Transaction], Commit]) -> Commit:
        lock = self._lake.creation_lock(series.interval.token)
        if lock is None or series.files.is_stored:
            return series.files.writing(write)
        # Symbols that differ in case only would be one directory on some file systems; so that two new ones cannot
        # miss each other, new series of an interval are made one at a time.
        with lock:
            for twin in self._lake.twins(series.interval.token, series.segment):
                raise SymbolError(series.owner.symbol, f"is stored as {unquote(twin)!r} already")
            return series.files.writing(write)

    def _stored_intervals(self) -> list[Interval]:
        found = []
        for token in self._lake.interval_tokens():
            with suppress(IntervalError):  # somebody else's directory
                interval = Interval.parse(token)
                if token == interval.token and interval.is_time_based:
                    found.append(interval)
        return found

    def _stored_symbols(self, interval: Interval) -> list[str]:
        segments = self._lake.stored_segments(interval.token)
        return [symbol for segment in segments if _is_ours(symbol := unquote(segment), segment)]

    def _forming_from(self, stated: str | None, interval: Interval) -> int | None:
        """UTC seconds of the first bar that is not closed; None when all are."""
        if stated is None:
            # A month lasts up to 31 days: better a bar a few days late than one half formed.
            width_s = interval.count * 31 * 86_400 if interval.unit == "mo" else interval.seconds
            return math.floor(self._clock() - width_s) + 1
        return _second({"forming_from": stated}, "forming_from")


def _open_lake(base: str | Path, timeout_s: float) -> Lake:
    directory = local_directory(base)
    if directory is not None:
        return LocalLake(directory, lock_timeout_s=timeout_s)
    try:
        from tv_etl.object_lake import ObjectLake
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise MissingExtraError("for an object store obstore is missing: pip install 'tv-etl[s3]'") from error
    return ObjectLake(str(base), timeout_s=timeout_s)


def _commit(series: Series, transaction: Transaction, given: _Given, now_s: float) -> Commit:
    """Merge into the files that the bars belong to, and publish what differs."""
    stored = StoredSeries(series, transaction)
    known = stored.record()
    is_sound = given.closed.is_consistent()
    sound, broken = given.closed.take(is_sound), given.closed.take(~is_sound)
    parts = dict(sound.split(period_labels(sound.times, series.interval)))
    read = {period: stored.bars(period) for period in parts if period in stored.periods}
    beside = joined(*read.values())
    readjustment = find_readjustment(beside, sound)
    if readjustment is not None:
        _refuse_unless_newest(series, stored, sound, readjustment)
    old, new = revised(beside, sound, readjustment)
    record = _next_record(known, series, given, readjustment, len(old), now_s)
    added, sizes = 0, dict[str, int]()
    for period in sorted({*parts, *stored.periods}):
        if period not in parts and (readjustment is None or not _is_before(period, series.interval, readjustment)):
            continue
        before = read[period] if period in read else stored.bars(period)
        base = before if readjustment is None else readjustment.rescale(before)
        merged = merge(base, parts.get(period, Bars.none()))
        read[period] = merged.bars
        added += merged.added
        if merged.added or merged.changed or base is not before:
            file_facts = {key: record.facts.get(key, UNSPECIFIED) for key in _FILE_FACTS}
            content = encode_bars(merged.bars, series.owner, file_facts, transaction.stamp)
            transaction.stage(series.period_name(period), content)
            sizes[period] = len(content)
    quarantine = _stage_logs(series, stored, transaction, sound, broken, (old, new), now_s)
    periods = _described_periods(series, stored, known, record, read, sizes)
    record = replace(record, quarantined=quarantine, periods=periods)
    if periods and (record != known or not stored.has_record):
        transaction.stage(series.record_name, record.encode(series.owner))
    transaction.publish()
    return Commit(
        added=added,
        changed=len(old),
        unchanged=len(sound) - added - len(old),
        forming=given.forming,
        first=_time(periods[min(periods)].first) if periods else None,
        last=_time(periods[max(periods)].last) if periods else None,
        rows=sum(period.rows for period in periods.values()),
        paths=tuple(map(series.period_name, sizes)),
        quarantined=quarantine,
        readjustment=readjustment,
        record=record,
    )


def _next_record(
    known: SeriesRecord,
    series: Series,
    given: _Given,
    readjustment: Readjustment | None,
    revisions: int,
    now_s: float,
) -> SeriesRecord:
    found = () if readjustment is None else (FoundReadjustment(now_s, readjustment),)
    return replace(
        known,
        facts=_agreed_facts(series, known.facts, given.facts),
        asked=tuple(merged_spans([*known.asked, *given.asked])),
        window=given.window or known.window,
        readjustments=(*known.readjustments, *found),
        revisions=known.revisions + revisions,
    )


def _described_periods(
    series: Series,
    stored: StoredSeries,
    known: SeriesRecord,
    record: SeriesRecord,
    read: Mapping[str, Bars],
    sizes: Mapping[str, int],
) -> dict[str, Period]:
    """What the record says of each period file after the commit; `read` holds the bars that are in memory already."""
    names = sorted({*stored.periods, *read})
    if not names:
        return {}
    hours = record.trading_hours(series.interval)
    has_new_hours = hours != known.trading_hours(series.interval)
    first, _ = _extent(names[0], stored, known, read)
    _, last = _extent(names[-1], stored, known, read)
    # What is expected of a file ends with the series, so that only the ends can be concerned beside what was written.
    ends = {names[0], names[-1], min(known.periods, default=""), max(known.periods, default="")}
    described = dict[str, Period]()
    for name in names:
        if name in known.periods and name not in ends and name not in sizes and not has_new_hours:
            described[name] = known.periods[name]
            continue
        period_start, period_end = period_range(name, series.interval)
        span = (max(first, period_start or first), min(last + 1, period_end or last + 1))
        before = known.periods.get(name)
        is_same = before is not None and (before.start, before.end) == span and not has_new_hours
        if is_same and before is not None and name not in sizes:
            described[name] = before
            continue
        bars = read[name] if name in read else stored.bars(name)
        size = sizes[name] if name in sizes else stored.footer(name).bytes
        described[name] = Period.of(bars, size, series.interval, hours, span)
    return described


def _extent(name: str, stored: StoredSeries, known: SeriesRecord, read: Mapping[str, Bars]) -> tuple[int, int]:
    """The first and the last time in a period file."""
    if name in read:
        return int(read[name].times[0]), int(read[name].times[-1])
    if name in known.periods:
        return known.periods[name].first, known.periods[name].last
    footer = stored.footer(name)
    return footer.first_s, footer.last_s


def _is_before(period: str, interval: Interval, readjustment: Readjustment) -> bool:
    first, _ = period_range(period, interval)
    return first is None or first < readjustment.until


def _refuse_unless_newest(series: Series, stored: StoredSeries, sound: Bars, readjustment: Readjustment) -> None:
    """Raise ReadjustedError where newer stored bars may be concerned, too."""
    newest = stored.footer(stored.periods[-1]).last_s
    if newest > sound.times[-1] and readjustment.until > sound.times[-1]:
        raise ReadjustedError(str(series), readjustment.ratio, _time(int(sound.times[-1])))


def _stage_logs(
    series: Series,
    stored: StoredSeries,
    transaction: Transaction,
    sound: Bars,
    broken: Bars,
    versions: tuple[Bars, Bars],
    now_s: float,
) -> int:
    """Write down what was revised and what is kept out; return how many bars are in quarantine."""
    old, new = versions
    if len(old):
        log = pa.concat_tables([stored.revisions(), revision_rows(old, new, now_s)])
        transaction.stage(series.revisions_name, encode_log(log, transaction.stamp))
    kept_out = stored.quarantine()
    after = quarantined(kept_out, sound, broken, now_s)
    if after is not kept_out:
        transaction.stage(series.quarantine_name, encode_log(after, transaction.stamp))
    return len(after)


def _by_symbol_and_width(series: tuple[str, Interval]) -> tuple[str, int, str]:
    symbol, interval = series
    return symbol, interval.seconds, interval.token


def _labelled(bars: pa.Table, symbol: str, interval: Interval) -> Iterator[pa.RecordBatch]:
    """The bars with the columns of SCAN_SCHEMA."""
    for batch in bars.to_batches(max_chunksize=_SCAN_ROWS):
        labels = [pa.repeat(pa.scalar(text), len(batch)) for text in (symbol, interval.token)]
        yield pa.RecordBatch.from_arrays([*labels, *batch.columns], schema=SCAN_SCHEMA)


def _is_ours(symbol: str, segment: str) -> bool:
    """False for somebody else's directory."""
    try:
        return path_segment(symbol) == segment
    except SymbolError:
        return False


def _overlaps(span: tuple[int | None, int | None], start_s: int | None, end_s: int | None) -> bool:
    first, after = span
    return (end_s is None or first is None or first < end_s) and (start_s is None or after is None or start_s < after)


def _facts_of(schema: pa.Schema) -> dict[str, str]:
    raw: dict[bytes, bytes] = schema.metadata or {}
    ours = {key: value for key, value in raw.items() if key.startswith(PREFIX.encode())}
    try:
        return {key.decode().removeprefix(PREFIX): value.decode() for key, value in ours.items()}
    except UnicodeDecodeError as error:
        raise BadBarsError("timestamp", None, f"the schema metadata is not UTF-8: {error}") from None


def _asked_in(facts: Mapping[str, str]) -> tuple[Span, ...]:
    start, until = _second(facts, "asked_from"), _second(facts, "asked_until")
    return () if start is None or until is None else ((start, until),)


def _window_in(facts: Mapping[str, str]) -> Window | None:
    bars, start = _second(facts, "window_bars"), _second(facts, "window_from")
    return None if bars is None or start is None else Window(bars, start)


def _second(facts: Mapping[str, str], key: str) -> int | None:
    text = facts.get(key, "")
    try:
        return int(text) if text else None
    except ValueError:
        raise BadBarsError("timestamp", None, f"tv_etl.{key} {text!r} is no whole number") from None


def _agreed_facts(series: Series, stored: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    facts = dict(stored)
    for key, value in given.items():
        if key in _NOT_FACTS or value in _UNKNOWN:
            continue
        if key in SETTINGS and stored.get(key, value) not in (value, *_UNKNOWN):
            raise SettingsError(str(series), key, stored[key], value)
        facts[key] = value
    return facts


def _ceil_seconds(moment: datetime | None) -> int | None:
    """The first whole UTC second not before the moment: bars lie on whole seconds."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return -((_EPOCH - moment) // timedelta(seconds=1))


def _time(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
