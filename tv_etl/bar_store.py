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
from dataclasses import asdict, dataclass
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
_NOT_FACTS = frozenset({"forming_from", "schema_version", "symbol", "interval"})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Commit:
    """What an upsert did.

    `changed` bars are revisions. `forming` bars were refused because they were not closed. `first`, `last` and `rows`
    are the whole series' after the commit, `quarantined` its bars that are kept out of the dataset; `paths` are the
    data files written, none where nothing changed. With a `readjustment` older bars than those given were rescaled.
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
        `tv_etl.forming_from` (UTC seconds, empty: none) says which bars are not closed.

        Raises SymbolError, IntervalError, BadBarsError, SettingsError or ReadjustedError with nothing stored;
        StoreBusyError; DamagedFileError, NewerFormatError or StoreReadError for what is stored; StoreWriteError.
        """
        series = self._series(symbol, interval)
        given = check_bars(bars)
        facts = _facts_of(bars.schema)
        closed = given.between(None, self._forming_from(facts.pop("forming_from", None), series.interval))
        forming = len(given) - len(closed)
        if not len(closed) and not series.is_stored:
            return Commit(0, 0, 0, forming, None, None, 0, ())
        with self._writing(series) as transaction:
            return _commit(series, transaction, closed, forming, facts, self._clock())

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

    def readjustments(self, symbol: str, interval: str | Interval) -> list[tuple[datetime, Readjustment]]:
        """Return when the history was found re-adjusted and how, oldest first. Raises as `read` does."""
        series = self._series(symbol, interval)
        _, records = series.group.reading(lambda: _stored_facts(series, series.files()))
        return [(_moment(record), _readjustment(record)) for record in records]

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
        series = self._series(symbol, interval)
        return series.group.reading(lambda: _stored_facts(series, series.files()))[0]

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


def _commit(
    series: _Series, transaction: Transaction, closed: Bars, forming: int, given: Mapping[str, str], now_s: float
) -> Commit:
    """Merge into the files that the bars belong to, and publish what differs; under the series' lock."""
    files = series.files()
    stored_facts, history = _stored_facts(series, files)
    facts = _agreed_facts(series, stored_facts, given)
    is_sound = closed.is_consistent()
    closed, broken = closed.take(is_sound), closed.take(~is_sound)
    parts = dict(closed.split(period_labels(closed.times, series.interval)))
    stored = {period: series.read(period, files[period]) for period in parts if period in files}
    beside = joined(*stored.values())
    readjustment = find_readjustment(beside, closed)
    if readjustment is not None:
        history = [*history, _on_record(series, files, closed, readjustment, now_s)]
    old, new = revised(beside, closed, readjustment)
    added, extents, written = 0, {}, []
    file_facts = {key: facts.get(key, UNSPECIFIED) for key in _FILE_FACTS}
    for period in sorted({*parts, *files}):
        if period not in parts and (readjustment is None or not _is_before(period, series.interval, readjustment)):
            footer = read_footer(files[period], series.owner)
            extents[period] = (footer.rows, footer.first_s, footer.last_s)
            continue
        before = stored[period] if period in stored else _read_stored(series, period, files)
        base = before if readjustment is None else readjustment.rescale(before)
        merged = merge(base, parts.get(period, Bars.none()))
        added += merged.added
        extents[period] = (len(merged.bars), int(merged.bars.times[0]), int(merged.bars.times[-1]))
        if merged.added or merged.changed or base is not before:
            path = series.data / f"{period}.parquet"
            transaction.stage(path, encode_bars(merged.bars, series.owner, file_facts))
            written.append(path)
    quarantine = _stage_logs(series, transaction, closed, broken, revision_rows(old, new, now_s), now_s)
    if extents and (facts != stored_facts or readjustment is not None or not series.facts_path.exists()):
        transaction.stage(series.facts_path, _encode_facts(series.owner, facts, history))
    transaction.publish()
    return Commit(
        added=added,
        changed=len(old),
        unchanged=len(closed) - added - len(old),
        forming=forming,
        first=_time(extents[min(extents)][1]) if extents else None,
        last=_time(extents[max(extents)][2]) if extents else None,
        rows=sum(each[0] for each in extents.values()),
        paths=tuple(written),
        quarantined=quarantine,
        readjustment=readjustment,
    )


def _read_stored(series: _Series, period: str, files: Mapping[str, Path]) -> Bars:
    return series.read(period, files[period]) if period in files else Bars.none()


def _is_before(period: str, interval: Interval, readjustment: Readjustment) -> bool:
    first, _ = period_range(period, interval)
    return first is None or first < readjustment.until


def _on_record(
    series: _Series, files: Mapping[str, Path], closed: Bars, readjustment: Readjustment, now_s: float
) -> dict[str, float]:
    """The entry for series.json. Raises ReadjustedError where newer stored bars may be concerned."""
    newest = read_footer(files[max(files)], series.owner).last_s
    if newest > closed.times[-1] and readjustment.until > closed.times[-1]:
        raise ReadjustedError(str(series), readjustment.ratio, _time(int(closed.times[-1])))
    return {"found_at": now_s, **asdict(readjustment)}


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
        if key in _NOT_FACTS or value in _UNKNOWN:
            continue
        if key in SETTINGS and stored.get(key, value) not in (value, *_UNKNOWN):
            raise SettingsError(str(series), key, stored[key], value)
        facts[key] = value
    return facts


def _stored_facts(series: _Series, files: Mapping[str, Path]) -> tuple[dict[str, str], list[dict[str, float]]]:
    """What is known of the stored bars, and how they were re-adjusted; without series.json, from the newest file."""
    if not files:
        return {}, []
    path = series.facts_path
    try:
        content = json.loads(path.read_bytes())
        version, owner = int(content["schema_version"]), Owner(content["symbol"], content["interval"])
        facts = {str(key): str(value) for key, value in content["facts"].items()}
        records = [dict(record) for record in content.get("readjustments", [])]
    except FileNotFoundError:
        in_file = read_footer(files[max(files)], series.owner).facts
        return {key: value for key, value in in_file.items() if value != UNSPECIFIED}, []
    except OSError as error:
        raise StoreReadError(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(path, f"not the facts of a series: {error!r}") from error
    if version > SCHEMA_VERSION:
        raise NewerFormatError(path, f"schema version {version}, known is {SCHEMA_VERSION}; upgrade tv_etl")
    if owner != series.owner:
        raise DamagedFileError(path, f"describes {owner.symbol!r} {owner.interval!r}")
    return facts, records


def _encode_facts(owner: Owner, facts: Mapping[str, str], readjustments: list[dict[str, float]]) -> bytes:
    content = {"schema_version": SCHEMA_VERSION, "symbol": owner.symbol, "interval": owner.interval, "facts": facts}
    if readjustments:
        content["readjustments"] = readjustments
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _moment(record: Mapping[str, float]) -> datetime:
    return datetime.fromtimestamp(record["found_at"], tz=timezone.utc)


def _readjustment(record: Mapping[str, float]) -> Readjustment:
    return Readjustment(record["ratio"], record["volume_ratio"], int(record["until"]), int(record["decimals"]))


def _ceil_seconds(moment: datetime | None) -> int | None:
    """The first whole UTC second not before the moment: bars lie on whole seconds."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return -((_EPOCH - moment) // timedelta(seconds=1))


def _time(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
