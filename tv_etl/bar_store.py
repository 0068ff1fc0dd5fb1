"""The lake on a file system: plain hive Parquet that DuckDB, Polars, pandas and Spark read with no help from us.

    <base>/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-11.parquet    below 5m a file per UTC month (below 1m per day),
    <base>/ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet       below a day per UTC year,
    <base>/ohlcv/interval=1d/symbol=NASDAQ%3AAAPL/all.parquet        else one file
    <base>/.tv_etl/1m/NASDAQ%3AAAPL/series.json                      what is known of the series: series_record.py;
                                                                     logs: bar_log.py; lock and journal: commit.py

A bar's file is a pure function of its interval and time, so an upsert reads and rewrites just the files its bars
belong to. Only closed bars are kept. The watermark is in the files' footers.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from tv_etl.bar_file import (
    PREFIX,
    SCHEMA_VERSION,
    Footer,
    Owner,
    encode_bars,
    read_bars,
    read_footer,
)
from tv_etl.bar_layout import is_period, path_segment, period_labels, period_range
from tv_etl.bar_log import QUARANTINE_SCHEMA, REVISION_SCHEMA, encode_log, quarantined, read_log, revision_rows
from tv_etl.bar_table import Bars, check_bars, joined, merge
from tv_etl.commit import LOCK_TIMEOUT_S, CommitGroup, Transaction, locked_directory
from tv_etl.revisions import Readjustment, agrees_at_start, find_readjustment, revised
from tv_etl.series_record import FoundReadjustment, Period, SeriesRecord, Window
from tv_etl.spans import Span, without
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
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.intervals import Interval

__all__ = [
    "BAR_SCHEMA",
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

SETTINGS = ("adjustment", "session", "currency", "backadjustment")  # different ones never mix in a series
UNSPECIFIED = "unspecified"
_UNKNOWN = (UNSPECIFIED, "")

_FILE_FACTS = ("source", *SETTINGS, "time_zone")
# What a table says of itself, not of the series.
_NOT_FACTS = frozenset(
    {"forming_from", "asked_from", "asked_until", "window_bars", "window_from", "schema_version", "symbol", "interval"}
)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Commit:
    """What an upsert did.

    `changed` bars are revisions. `forming` bars were refused because they were not closed. `first`, `last` and `rows`
    are the whole series' after the commit, `quarantined` its bars that are kept out of the dataset; `paths` are the
    data files written, none where nothing changed. With a `readjustment` older bars than those given were rescaled.
    `record` is what is known of the series now.
    """

    added: int
    changed: int
    unchanged: int
    forming: int
    first: datetime | None
    last: datetime | None
    rows: int
    paths: tuple[Path, ...]
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
class _Series:
    """A series and where it lives."""

    owner: Owner
    interval: Interval
    data: Path
    group: CommitGroup

    def __str__(self) -> str:
        return f"{self.owner.symbol} {self.owner.interval}"

    @property
    def record_path(self) -> Path:
        return self.group.directory / "series.json"

    @property
    def revisions_path(self) -> Path:
        return self.group.directory / "revisions.parquet"

    @property
    def quarantine_path(self) -> Path:
        return self.group.directory / "quarantine.parquet"

    @property
    def is_stored(self) -> bool:
        return self.group.has_journal or bool(self.files())

    def files(self) -> dict[str, Path]:
        """Path of each stored period, oldest first."""
        found = {path.stem: path for path in sorted(_listed(self.data)) if path.suffix == ".parquet"}
        for period, path in found.items():
            if not is_period(period, self.interval):
                raise DamagedFileError(path, f"is not named as a period of {self}; nothing else belongs here")
        return found

    def read(self, period: str, path: Path) -> Bars:
        bars = read_bars(path, self.owner)
        if len(bars.between(*period_range(period, self.interval))) != len(bars):
            raise DamagedFileError(path, f"holds bars outside {period}")
        return bars


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

    Threads, processes and readers of one host may use the same directory at once. `clock` tells UTC seconds; it
    decides what is closed where the bars do not say so themselves.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        if "://" in str(base):
            raise ValueError(f"{base}: expected a directory of this host")
        self.base = Path(base).absolute()
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s

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
        if not len(closed) and not series.is_stored:
            return Commit(0, 0, 0, update.forming, None, None, 0, ())
        with self._writing(series) as transaction:
            return _commit(series, transaction, update, self._clock())

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
        return series.group.reading(lambda: read_log(series.revisions_path, REVISION_SCHEMA))

    def record(self, symbol: str, interval: str | Interval) -> SeriesRecord:
        """Return what is known of the series beside its bars: facts, spans asked, window, re-adjustments, periods.

        Empty for a series never stored. Raises as `read` does.
        """
        series = self._series(symbol, interval)
        return series.group.reading(lambda: _stored_record(series, series.files()))

    def set_aside_damaged(self, symbol: str, interval: str | Interval) -> list[Path]:
        """Move what cannot be read as the series' out of the way, so that its time can be fetched again.

        Returns where it lies now: beside the record, outside the dataset. What is whole stays. Raises StoreBusyError,
        StoreReadError, StoreWriteError, or NewerFormatError for what a later version can read.
        """
        series = self._series(symbol, interval)
        if not series.is_stored:
            return []
        with series.group.writing() as transaction:
            return [transaction.set_aside(path) for path in _damaged_files(series)]

    def quarantine(self, symbol: str, interval: str | Interval) -> pa.Table:
        """Return the closed bars whose low and high do not enclose open and close, ascending, with found_at.

        They are not in the dataset. A fetch that brings a sound version of a bar takes it out. Raises as `read` does.
        """
        series = self._series(symbol, interval)
        return series.group.reading(lambda: read_log(series.quarantine_path, QUARANTINE_SCHEMA))

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

        def read() -> list[Bars]:
            return [
                series.read(period, path).between(start_s, end_s)
                for period, path in series.files().items()
                if _overlaps(period_range(period, series.interval), start_s, end_s)
            ]

        tables = [bars.to_table() for bars in series.group.reading(read)]
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *tables]).combine_chunks()

    def watermark(self, symbol: str, interval: str | Interval) -> datetime | None:
        """Return the time of the newest stored bar, read from a footer. Raises as `read` does."""
        series = self._series(symbol, interval)

        def newest() -> Footer | None:
            files = series.files()
            return read_footer(files[max(files)], series.owner) if files else None

        footer = series.group.reading(newest)
        return None if footer is None else _time(footer.last_s)

    def summary(self, symbol: str, interval: str | Interval) -> SeriesSummary:
        """Return how much of the series is stored, read from footers. Raises as `read` does."""
        series = self._series(symbol, interval)
        footers = series.group.reading(lambda: [read_footer(path, series.owner) for path in series.files().values()])
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
        found = []
        for directory in _listed(self.base / "ohlcv", "interval="):
            try:
                interval = Interval.parse(directory.name.removeprefix("interval="))
            except IntervalError:
                continue  # somebody else's directory
            if directory.name == f"interval={interval.token}" and interval.is_time_based:
                found += [(symbol, interval) for symbol in self._stored_symbols(interval)]
        return sorted(found, key=lambda each: (each[0], each[1].seconds, each[1].token))

    def path(self, symbol: str, interval: str | Interval) -> Path:
        """Return the directory of the series' files, for readers other than us; it may not exist yet."""
        return self._series(symbol, interval).data

    def _series(self, symbol: str, interval: str | Interval) -> _Series:
        width = Interval.parse(interval)
        if not width.is_time_based:
            raise IntervalError(width.token, "tick and range bars are not stored: their times are not unique")
        segment = path_segment(symbol)
        data = self.base / "ohlcv" / f"interval={width.token}" / f"symbol={segment}"
        directory = self.base / ".tv_etl" / width.token / segment
        group = CommitGroup(self.base, directory, lock_timeout_s=self._lock_timeout_s)
        return _Series(Owner(symbol, width.token), width, data, group)

    @contextmanager
    def _writing(self, series: _Series) -> Iterator[Transaction]:
        if series.is_stored:
            with series.group.writing() as transaction:
                yield transaction
            return
        # Symbols that differ in case only would be one directory on some file systems; so that two new ones cannot
        # miss each other, new series of an interval are made one at a time.
        parent = series.group.directory.parent
        with locked_directory(parent, self.base, lock_timeout_s=self._lock_timeout_s):
            for other in self._stored_symbols(series.interval):
                if other != series.owner.symbol and other.casefold() == series.owner.symbol.casefold():
                    raise SymbolError(series.owner.symbol, f"is stored as {other!r} already")
            with series.group.writing() as transaction:
                yield transaction

    def _stored_symbols(self, interval: Interval) -> list[str]:
        directory = self.base / "ohlcv" / f"interval={interval.token}"
        found = [unquote(each.name.removeprefix("symbol=")) for each in _listed(directory, "symbol=")]
        return [symbol for symbol in found if self._is_stored(symbol, interval)]

    def _is_stored(self, symbol: str, interval: Interval) -> bool:
        try:
            return self._series(symbol, interval).is_stored
        except SymbolError:
            return False  # somebody else's directory

    def _forming_from(self, stated: str | None, interval: Interval) -> int | None:
        """UTC seconds of the first bar that is not closed; None when all are."""
        if stated is None:
            # A month lasts up to 31 days: better a bar a few days late than one half formed.
            width_s = interval.count * 31 * 86_400 if interval.unit == "mo" else interval.seconds
            return math.floor(self._clock() - width_s) + 1
        return _second({"forming_from": stated}, "forming_from")


def _commit(series: _Series, transaction: Transaction, given: _Given, now_s: float) -> Commit:
    """Merge into the files that the bars belong to, and publish what differs; under the series' lock."""
    files = series.files()
    known = _stored_record(series, files)
    is_sound = given.closed.is_consistent()
    sound, broken = given.closed.take(is_sound), given.closed.take(~is_sound)
    parts = dict(sound.split(period_labels(sound.times, series.interval)))
    stored = {period: series.read(period, files[period]) for period in parts if period in files}
    beside = joined(*stored.values())
    readjustment = find_readjustment(beside, sound)
    if readjustment is not None:
        _refuse_unless_newest(series, files, sound, readjustment)
    old, new = revised(beside, sound, readjustment)
    record = _next_record(known, series, given, readjustment, len(old), now_s)
    added, encoded = 0, dict[str, memoryview]()
    for period in sorted({*parts, *files}):
        if period not in parts and (readjustment is None or not _is_before(period, series.interval, readjustment)):
            continue
        before = stored[period] if period in stored else _read_stored(series, period, files)
        base = before if readjustment is None else readjustment.rescale(before)
        merged = merge(base, parts.get(period, Bars.none()))
        stored[period] = merged.bars
        added += merged.added
        if merged.added or merged.changed or base is not before:
            file_facts = {key: record.facts.get(key, UNSPECIFIED) for key in _FILE_FACTS}
            encoded[period] = encode_bars(merged.bars, series.owner, file_facts)
            transaction.stage(series.data / f"{period}.parquet", encoded[period])
    quarantine = _stage_logs(series, transaction, sound, broken, revision_rows(old, new, now_s), now_s)
    sizes = {period: len(content) for period, content in encoded.items()}
    periods = _described_periods(series, files, known, record, stored, sizes)
    record = replace(record, quarantined=quarantine, periods=periods)
    if periods and (record != known or not series.record_path.exists()):
        transaction.stage(series.record_path, record.encode(series.owner))
    transaction.publish()
    return Commit(
        added=added,
        changed=len(old),
        unchanged=len(sound) - added - len(old),
        forming=given.forming,
        first=_time(periods[min(periods)].first) if periods else None,
        last=_time(periods[max(periods)].last) if periods else None,
        rows=sum(period.rows for period in periods.values()),
        paths=tuple(series.data / f"{period}.parquet" for period in encoded),
        quarantined=quarantine,
        readjustment=readjustment,
        record=record,
    )


def _next_record(
    known: SeriesRecord,
    series: _Series,
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
    series: _Series,
    files: Mapping[str, Path],
    known: SeriesRecord,
    record: SeriesRecord,
    read: Mapping[str, Bars],
    sizes: Mapping[str, int],
) -> dict[str, Period]:
    """What the record says of each period file after the commit; `read` holds the bars that are in memory already."""
    names = sorted({*files, *read})
    if not names:
        return {}
    hours = record.trading_hours(series.interval)
    has_new_hours = hours != known.trading_hours(series.interval)
    first = _first_of(series, names[0], files, read)
    last = _last_of(series, names[-1], files, read)
    described = {}
    for name in names:
        period_start, period_end = period_range(name, series.interval)
        span = (max(first, period_start or first), min(last + 1, period_end or last + 1))
        before = known.periods.get(name)
        is_same = before is not None and (before.start, before.end) == span and not has_new_hours
        if is_same and before is not None and name not in sizes:
            described[name] = before
            continue
        bars = read[name] if name in read else series.read(name, files[name])
        size = sizes[name] if name in sizes else _size(files[name])
        described[name] = Period.of(bars, size, series.interval, hours, span)
    return described


def _first_of(series: _Series, name: str, files: Mapping[str, Path], read: Mapping[str, Bars]) -> int:
    return int(read[name].times[0]) if name in read else read_footer(files[name], series.owner).first_s


def _last_of(series: _Series, name: str, files: Mapping[str, Path], read: Mapping[str, Bars]) -> int:
    return int(read[name].times[-1]) if name in read else read_footer(files[name], series.owner).last_s


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StoreReadError(path, error.strerror or str(error)) from error


def _read_stored(series: _Series, period: str, files: Mapping[str, Path]) -> Bars:
    return series.read(period, files[period]) if period in files else Bars.none()


def _is_before(period: str, interval: Interval, readjustment: Readjustment) -> bool:
    first, _ = period_range(period, interval)
    return first is None or first < readjustment.until


def _refuse_unless_newest(series: _Series, files: Mapping[str, Path], sound: Bars, readjustment: Readjustment) -> None:
    """Raise ReadjustedError where newer stored bars may be concerned, too."""
    newest = read_footer(files[max(files)], series.owner).last_s
    if newest > sound.times[-1] and readjustment.until > sound.times[-1]:
        raise ReadjustedError(str(series), readjustment.ratio, _time(int(sound.times[-1])))


def _stage_logs(
    series: _Series, transaction: Transaction, sound: Bars, broken: Bars, revisions: pa.Table, now_s: float
) -> int:
    """Write down what was revised and what is kept out; return how many bars are in quarantine."""
    if revisions.num_rows:
        log = read_log(series.revisions_path, REVISION_SCHEMA)
        transaction.stage(series.revisions_path, encode_log(pa.concat_tables([log, revisions])))
    kept_out = read_log(series.quarantine_path, QUARANTINE_SCHEMA)
    after = quarantined(kept_out, sound, broken, now_s)
    if after is not kept_out:
        transaction.stage(series.quarantine_path, encode_log(after))
    return len(after)


def _damaged_files(series: _Series) -> list[Path]:
    damaged = []
    for path in _listed(series.data):
        try:
            if path.suffix != ".parquet" or not is_period(path.stem, series.interval):
                raise DamagedFileError(path, "does not belong here")
            series.read(path.stem, path)
        except DamagedFileError:
            damaged.append(path)
    for path, schema in ((series.revisions_path, REVISION_SCHEMA), (series.quarantine_path, QUARANTINE_SCHEMA)):
        try:
            read_log(path, schema)
        except DamagedFileError:
            damaged.append(path)
    try:
        if series.record_path.exists():
            SeriesRecord.decode(series.record_path.read_bytes(), series.record_path, series.owner)
    except DamagedFileError:
        damaged.append(series.record_path)
    return damaged


def _listed(directory: Path, prefix: str = "") -> list[Path]:
    # Path.glob would take a directory that may not be read for an empty one.
    try:
        return [path for path in directory.iterdir() if path.name.startswith(prefix)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreReadError(directory, error.strerror or str(error)) from error


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


def _agreed_facts(series: _Series, stored: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    facts = dict(stored)
    for key, value in given.items():
        if key in _NOT_FACTS or value in _UNKNOWN:
            continue
        if key in SETTINGS and stored.get(key, value) not in (value, *_UNKNOWN):
            raise SettingsError(str(series), key, stored[key], value)
        facts[key] = value
    return facts


def _stored_record(series: _Series, files: Mapping[str, Path]) -> SeriesRecord:
    """What is known of the stored bars; where the record was not copied along, what the newest file says."""
    if not files:
        return SeriesRecord()
    path = series.record_path
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        in_file = read_footer(files[max(files)], series.owner).facts
        return SeriesRecord({key: value for key, value in in_file.items() if value != UNSPECIFIED})
    except OSError as error:
        raise StoreReadError(path, error.strerror or str(error)) from error
    record = SeriesRecord.decode(content, path, series.owner)
    gone = {name: period_range(name, series.interval) for name in record.periods if name not in files}
    if not gone:
        return record
    # Files that somebody took away hold nothing that was asked for any more.
    taken = [
        (_FIRST_SECOND if start is None else start, _LAST_SECOND if end is None else end)
        for start, end in gone.values()
    ]
    left = {name: period for name, period in record.periods.items() if name in files}
    return replace(record, asked=tuple(without(record.asked, taken)), periods=left)


def _ceil_seconds(moment: datetime | None) -> int | None:
    """The first whole UTC second not before the moment: bars lie on whole seconds."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return -((_EPOCH - moment) // timedelta(seconds=1))


def _time(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
