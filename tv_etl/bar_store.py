"""The lake on a file system: plain hive Parquet that DuckDB, Polars, pandas and Spark read with no help from us.

    <base>/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-11.parquet    below 5m a file per UTC month (below 1m per day),
    <base>/ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet       below a day per UTC year,
    <base>/ohlcv/interval=1d/symbol=NASDAQ%3AAAPL/all.parquet        else one file
    <base>/.tv_etl/1m/NASDAQ%3AAAPL/series.json                      the facts of the series; lock, journal: commit.py

A bar's file is a pure function of its interval and time, so an upsert reads and rewrites just the files its bars
belong to. Only closed bars are kept. There is no other state: the watermark is in the files' footers.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from tv_etl.bar_table import Bars, check_bars, merge
from tv_etl.commit import LOCK_TIMEOUT_S, CommitGroup, Transaction, locked_directory
from tv_etl.store_errors import (
    BadBarsError,
    BarStoreError,
    DamagedFileError,
    NewerFormatError,
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
    "SeriesSummary",
    "SettingsError",
    "StoreBusyError",
    "StoreReadError",
    "StoreWriteError",
]

SETTINGS = ("adjustment", "session", "currency", "backadjustment")  # different ones never mix in a series
UNSPECIFIED = "unspecified"

_FILE_FACTS = ("source", *SETTINGS, "time_zone")
_NOT_FACTS = frozenset({"forming_from", "schema_version", "symbol", "interval"})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Commit:
    """What an upsert did.

    `forming` bars were refused because they were not closed. `first`, `last` and `rows` are the whole series' after
    the commit; `paths` are the data files written, none where nothing changed.
    """

    added: int
    changed: int
    unchanged: int
    forming: int
    first: datetime | None
    last: datetime | None
    rows: int
    paths: tuple[Path, ...]


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
    def facts_path(self) -> Path:
        return self.group.directory / "series.json"

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

        The facts of the series are the table's schema metadata `tv_etl.*`; those that are missing stay as stored.
        `tv_etl.forming_from` (UTC seconds, empty: none) says which bars are not closed.

        Raises SymbolError, IntervalError, BadBarsError or SettingsError with nothing stored; StoreBusyError;
        DamagedFileError, NewerFormatError or StoreReadError for what is stored; StoreWriteError.
        """
        series = self._series(symbol, interval)
        given = check_bars(bars)
        facts = _facts_of(bars.schema)
        closed = given.between(None, self._forming_from(facts.pop("forming_from", None), series.interval))
        forming = len(given) - len(closed)
        if not len(closed) and not series.is_stored:
            return Commit(0, 0, 0, forming, None, None, 0, ())
        with self._writing(series) as transaction:
            return _commit(series, transaction, closed, forming, facts)

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
        series = self._series(symbol, interval)
        return series.group.reading(lambda: _stored_facts(series, series.files()))

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
        if not stated:
            return None
        try:
            return int(stated)
        except ValueError:
            raise BadBarsError("timestamp", None, f"tv_etl.forming_from {stated!r} is no UTC second") from None


def _commit(series: _Series, transaction: Transaction, closed: Bars, forming: int, given: Mapping[str, str]) -> Commit:
    """Merge into the files that the bars belong to, and publish what differs; under the series' lock."""
    files = series.files()
    stored = _stored_facts(series, files)
    facts = _agreed_facts(series, stored, given)
    file_facts = {key: facts.get(key, UNSPECIFIED) for key in _FILE_FACTS}
    added = changed = unchanged = 0
    extents: dict[str, tuple[int, int, int]] = {}
    written = []
    for period, part in closed.split(period_labels(closed.times, series.interval)):
        path = series.data / f"{period}.parquet"
        merged = merge(series.read(period, path) if period in files else Bars.none(), part)
        added, changed, unchanged = added + merged.added, changed + merged.changed, unchanged + merged.unchanged
        times = merged.bars.times
        extents[period] = (len(times), int(times[0]), int(times[-1]))
        if merged.added or merged.changed:
            transaction.stage(path, encode_bars(merged.bars, series.owner, file_facts))
            written.append(path)
    for period, path in files.items():
        if period not in extents:
            footer = read_footer(path, series.owner)
            extents[period] = (footer.rows, footer.first_s, footer.last_s)
    if extents and (facts != stored or not series.facts_path.exists()):
        transaction.stage(series.facts_path, _encode_facts(series.owner, facts))
    transaction.publish()
    if not extents:
        return Commit(0, 0, 0, forming, None, None, 0, ())
    rows = sum(each[0] for each in extents.values())
    first, last = _time(extents[min(extents)][1]), _time(extents[max(extents)][2])
    return Commit(added, changed, unchanged, forming, first, last, rows, tuple(written))


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


def _agreed_facts(series: _Series, stored: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    facts = dict(stored)
    for key, value in given.items():
        if key in _NOT_FACTS or value == UNSPECIFIED:
            continue
        if key in SETTINGS and stored.get(key, value) != value:
            raise SettingsError(str(series), key, stored[key], value)
        facts[key] = value
    return facts


def _stored_facts(series: _Series, files: Mapping[str, Path]) -> dict[str, str]:
    """What is known of the stored bars; where series.json was not copied along, from the newest file."""
    if not files:
        return {}
    path = series.facts_path
    try:
        content = json.loads(path.read_bytes())
        version, owner = int(content["schema_version"]), Owner(content["symbol"], content["interval"])
        facts = {str(key): str(value) for key, value in content["facts"].items()}
    except FileNotFoundError:
        in_file = read_footer(files[max(files)], series.owner).facts
        return {key: value for key, value in in_file.items() if value != UNSPECIFIED}
    except OSError as error:
        raise StoreReadError(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(path, f"not the facts of a series: {error!r}") from error
    if version > SCHEMA_VERSION:
        raise NewerFormatError(path, f"schema version {version}, known is {SCHEMA_VERSION}; upgrade tv_etl")
    if owner != series.owner:
        raise DamagedFileError(path, f"describes {owner.symbol!r} {owner.interval!r}")
    return facts


def _encode_facts(owner: Owner, facts: Mapping[str, str]) -> bytes:
    identity = {"schema_version": SCHEMA_VERSION, "symbol": owner.symbol, "interval": owner.interval}
    return json.dumps({**identity, "facts": facts}, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _ceil_seconds(moment: datetime | None) -> int | None:
    """The first whole UTC second not before the moment: bars lie on whole seconds."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return -((_EPOCH - moment) // timedelta(seconds=1))


def _time(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
