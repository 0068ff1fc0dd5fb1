"""Files brought into a lake: which series each has bars of, and each series from all of its files in one commit.

    files ─ opened, by name and columns ─> their series ─┬─ read, checked, joined ─> the bars of a series ─> commit
                                                         └─ one file is refused ─> nothing of the series is stored

The files of one call are of one scale, so those of a series are one answer: where two have a bar it must be the same.
How it joins what is stored `collect.entry` decides. At most one series is in memory; rows of files with many wait in a
temporary file.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tv_etl.collect.entry import enter_imported
from tv_etl.imports.errors import FileImportError, FormError, RowError
from tv_etl.imports.forms import Form, forms_of
from tv_etl.imports.hours import NO_OPEN, Ask, HoursBook, opens_of_days, require_known_groups
from tv_etl.imports.names import Named, named_after, symbol_of
from tv_etl.imports.options import ImportOptions
from tv_etl.imports.reading import SUFFIXES, Source, open_source, stem_of
from tv_etl.imports.rows import checked_bars, wrong_spacing
from tv_etl.imports.times import NO_DATE, Fail, Seconds, days, moments
from tv_etl.lake.bars import Bars, joined
from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.provenance import Imported
from tv_etl.lake.record import Period
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl.tradingview.columns import column_of, numbers_of
from tv_etl.tradingview.errors import IntervalError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import TradingHours

_OUTSIDE = 0.5  # of the rows: more cannot lie outside the trading hours


@dataclass(frozen=True)
class RefusedFile:
    """A file that is of no series; nothing of it is stored."""

    path: Path
    error: Exception


@dataclass(frozen=True)
class ImportedSeries:
    """What became of a series: the bars of each of its files, and the commit, or the error why nothing is stored.

    `left_out` is the open of the newest bar if that may have been forming when its file was written. `notes` are for
    people.
    """

    series: Series
    files: Mapping[Path, int]
    commit: Commit | None = None
    error: Exception | None = None
    left_out: int | None = None
    notes: tuple[str, ...] = ()


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and of directories all beneath whose names are those of files of bars; each once."""
    found = dict[Path, None]()
    for path in paths:
        inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        bars = (each for each in inside if not path.is_dir() or each.name.lower().endswith((*SUFFIXES, *_ZIPPED)))
        found.update(dict.fromkeys(bars))
    return list(found)


_ZIPPED = (".csv.gz", ".txt.gz", ".json.gz")


def import_files(
    store: BarStore,
    paths: Iterable[str | Path],
    options: ImportOptions | None = None,
    *,
    ask: Ask | None = None,
    opened: Callable[[int, int], None] = lambda done, series: None,
) -> Iterator[RefusedFile | ImportedSeries]:
    """Bring the bars of files, and of those in directories, into a lake; yields what became of each series.

    The bars of a series are one commit: they have to join what is stored, and are brought to its scale; a bar that the
    server has sent stands. `ask` tells the facts of a symbol (`tradingview.history.symbol_facts`) where only its
    trading hours tell when its days open and the lake does not know them. `opened` is told how many files are open,
    and how many series they have, so far. A series or file that fails is an outcome; raises OSError where there is no
    room for temporary files.
    """
    options = options or ImportOptions()
    with ExitStack() as stack:
        room = _Room(stack)
        parts = dict[Series, list[_Part | FormError]]()
        for done, path in enumerate(files_in(map(Path, paths)), start=1):
            try:
                for part in _parts_of(path, options, room):
                    parts.setdefault(part.series, []).append(part)
            except FileImportError as error:
                if isinstance(error, FormError) and error.series is not None:
                    parts.setdefault(error.series, []).append(error)
                else:
                    yield RefusedFile(path, error)
            opened(done, len(parts))
        hours = HoursBook(store, options.hours, ask)
        while parts:
            series = next(iter(parts))
            yield _imported(store, series, parts.pop(series), options, hours)


# --- whose bars a file has --------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """Rows of one series, and the places that they have among the rows of their file."""

    columns: pa.Table
    places: Seconds | None = None


@dataclass
class _Part:
    """The bars of one series in one file."""

    series: Series
    source: Source
    form: Form
    read: Callable[[], _Table] = field(repr=False)

    @property
    def path(self) -> Path:
        return self.source.path


class _Room:
    """A directory for rows that wait for their turn, made when it is needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._directory: Path | None = None
        self._count = 0

    def file(self) -> Path:
        if self._directory is None:
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tv_etl-import-")))
        self._count += 1
        return self._directory / f"{self._count}.arrow"


def _parts_of(path: Path, options: ImportOptions, room: _Room) -> Iterator[_Part]:
    named = named_after(stem_of(path))
    own = _own_series(named, options)
    try:
        source = open_source(path, options)
        forms = forms_of(path, source.names, options.columns, source.tickers)
    except FormError as error:
        raise FormError(path, error.reason, own) from error
    except RowError as error:
        raise FormError(path, f"row {error.row:,}: {error.reason}", own) from error
    for form in forms:
        if form.is_labelled or source.is_whole:
            yield from _labelled(source, form, named, options, room)
        else:
            name = Named(form.ticker) if form.ticker else named
            series = _series(path, name, named.interval, options, is_only=len(forms) == 1)

            def read(form: Form = form, series: Series = series) -> _Table:
                return _Table(pa.concat_tables(source.batches(form, are_days=not series.interval.is_intraday)))

            yield _Part(series, source, form, read)
    source.close()


def _own_series(named: Named, options: ImportOptions) -> Series | None:
    symbol = options.symbol or options.symbols.get(named.name) or _symbol_of(named, options)
    interval = options.interval or named.interval
    return None if symbol is None or interval is None else Series(symbol, interval)


def _symbol_of(named: Named, options: ImportOptions) -> str | None:
    """The symbol that a name means by itself, or by the list."""
    if options.index is None:
        return symbol_of(named, options.exchange)
    meant = options.index.meant_by(named)
    return meant[0] if len(meant) == 1 else None


def _series(path: Path, named: Named, interval: Interval | None, options: ImportOptions, *, is_only: bool) -> Series:
    """Whose bars a name means. Raises FormError where it does not say so, or says something else than was said."""
    own = _symbol_of(named, options)
    if options.symbol is not None and not is_only:
        told = f"it has several series: --symbol {named.name}=SYMBOL says whose is {named.name!r}, for each"
        raise FormError(path, told)
    if options.symbol is not None and own not in (None, options.symbol) and options.exchange is None:
        raise FormError(
            path, f"it is of {own}, and not of {options.symbol}; --symbol {named.name}={options.symbol} renames"
        )
    symbol = options.symbol or options.symbols.get(named.name) or own
    if symbol is None and options.index is not None:
        meant = " or ".join(options.index.meant_by(named)[:3])
        told = f"may be {meant}, all of them in the list" if meant else "names no symbol of the list"
        example = f"--symbol {named.name}=EXCHANGE:TICKER"
        raise FormError(path, f"{named.name!r} {told}: {example} says whose bars they are")
    if symbol is None:
        example = f"--symbol {named.name}=EXCHANGE:TICKER"
        raise FormError(path, f"{named.name!r} may be a symbol of many exchanges: {example} says which, or --exchange")
    if options.interval is not None and interval not in (None, options.interval):
        raise FormError(
            path,
            f"by its rows or its name it is of {interval}, and not of {options.interval}",
            Series(symbol, interval),
        )
    width = options.interval or interval
    if width is None:
        raise FormError(path, "nothing says how wide its bars are: --interval does, e.g. --interval 1d")
    if not width.is_time_based:
        raise FormError(path, f"{width}: bars of ticks and ranges are not stored, as their times are not unique")
    return Series(symbol, width)


def _labelled(source: Source, form: Form, named: Named, options: ImportOptions, room: _Room) -> Iterator[_Part]:
    """The series of a file whose rows say of which they are, or are read whole; the rows wait in a file by series."""
    waiting = room.file()
    pieces = dict[tuple[str | None, str | None], list[int]]()
    writer: pa.ipc.RecordBatchFileWriter | None = None
    place = written = 0
    are_days = None if options.interval is None else not options.interval.is_intraday
    try:
        for table in source.batches(form, are_days=are_days):
            for labels, indices in _by_label(table):
                columns = table.drop_columns([name for name in ("symbol", "interval") if name in table.column_names])
                taken = columns if indices is None else columns.take(indices)
                own = (
                    np.arange(len(table), dtype=np.int64)
                    if indices is None
                    else numbers_of(pa.chunked_array([indices]))
                )
                taken = taken.append_column("place", column_of(own + place, pa.int64())).combine_chunks()
                for batch in taken.to_batches():
                    writer = writer or pa.ipc.new_file(str(waiting), taken.schema)
                    writer.write_batch(batch)
                    pieces.setdefault(labels, []).append(written)
                    written += 1
            place += len(table)
    finally:
        if writer is not None:
            writer.close()
    if not pieces:
        raise FormError(source.path, "it has no rows")
    names = {name for name, _ in pieces}
    for (label, width), numbers in pieces.items():
        series = _labelled_series(source, label, width, named, options, is_only=len(names) == 1)
        yield _Part(series, source, form, _reader(waiting, numbers))


def _reader(waiting: Path, numbers: Sequence[int]) -> Callable[[], _Table]:
    def read() -> _Table:
        with pa.memory_map(str(waiting)) as file:
            reader = pa.ipc.open_file(file)
            table = pa.Table.from_batches([reader.get_batch(number) for number in numbers])
        return _Table(table.drop_columns("place"), numbers_of(table["place"]))

    return read


def _labelled_series(
    source: Source, label: str | None, width: str | None, named: Named, options: ImportOptions, *, is_only: bool
) -> Series:
    try:
        interval = named.interval if not width else Interval.parse(width)
    except IntervalError as error:
        raise FormError(source.path, f"a row's {error}") from None
    return _series(source.path, Named(label) if label else named, interval, options, is_only=is_only)


def _by_label(table: pa.Table) -> Iterator[tuple[tuple[str | None, str | None], pa.Array | None]]:
    """The symbols and intervals of the rows, and the places of the rows of each, None for all."""
    codes, words = np.zeros(len(table), np.int64), []
    for name in ("symbol", "interval"):
        if name not in table.column_names:
            words.append([None])
            continue
        column = table.column(name).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        texts = [*column.dictionary.to_pylist(), None]
        own = numbers_of(pa.chunked_array([column.indices.fill_null(len(texts) - 1)]))
        codes = codes * len(texts) + own
        words.append(texts)
    for code in np.unique(codes).tolist():
        label = (words[0][code // len(words[1])], words[1][code % len(words[1])])
        chosen = np.flatnonzero(codes == code)
        yield label, None if len(chosen) == len(codes) else column_of(chosen, pa.int64())


# --- the bars of a series ---------------------------------------------------------------------------------------


class _Read(NamedTuple):
    """The bars of one part, and the row of each."""

    part: _Part
    bars: Bars
    fail: Fail


def _imported(
    store: BarStore,
    series: Series,
    parts: Sequence["_Part | FormError"],
    options: ImportOptions,
    hours: HoursBook,
) -> ImportedSeries:
    files = dict.fromkeys((part.path for part in parts), 0)
    try:
        for part in parts:
            if isinstance(part, FormError):
                raise part
        whole = [part for part in parts if isinstance(part, _Part)]
        adjustment = _adjustment(whole, options)
        facts = {"adjustment": adjustment, "session": options.session}
        read = []
        for part in whole:
            one, news = _bars_of(part, options, hours)
            facts |= news
            files[part.path] += len(one.bars)
            read.append(one)
        bars, imported = _joined(read, adjustment)
        left_out, notes = None, []
        if len(bars) and _leaves_newest(read, bars, options):
            left_out, bars = int(bars.times[-1]), bars.take(slice(0, len(bars) - 1))
        if len(bars) > 1 and bars.has_volume.any() and not bars.values[4].any():
            bars = replace(bars, has_volume=np.zeros(len(bars), np.bool_))
            notes.append("every volume is 0: taken for none")
        update = store.update_of_bars(series, bars, facts, imported)
        commit = enter_imported(store, series, update)
        return ImportedSeries(series, files, commit, left_out=left_out, notes=tuple(notes))
    except (FileImportError, BarStoreError, TradingViewError) as error:
        return ImportedSeries(series, files, error=error)


def _adjustment(parts: Sequence[_Part], options: ImportOptions) -> str:
    """Of what scale the bars are, by what was said, or by their form."""
    if options.adjustment is not None:
        return options.adjustment
    for part in parts:
        if not part.form.adjustment:
            told = "--adjustment splits does, or --adjustment dividends where prices are adjusted for these as well"
            extra = " (yfinance, unless auto_adjust=False)" if part.form.name == "yfinance" else ""
            raise FormError(part.path, f"nothing says of what scale its prices are: {told}{extra}")
    return parts[0].form.adjustment


def _bars_of(part: _Part, options: ImportOptions, hours: HoursBook) -> tuple[_Read, Mapping[str, str]]:
    table, places = part.read()
    path, source, interval = part.path, part.source, part.series.interval
    if not len(table):
        raise FormError(path, "it has no rows")

    def fail(place: int, reason: str) -> RowError:
        return RowError(path, source.row(place if places is None else int(places[place])), reason)

    news: Mapping[str, str] = {}
    if interval.is_intraday:
        times = moments(table.column("time"), options.zone, fail)
        spaced = times
    else:
        times, spaced, news = _opens(part, table, options, hours, fail)
    bars = checked_bars(times, table, fail)
    wrong = wrong_spacing(spaced, interval, is_sparse=options.sparse)
    if wrong is not None:
        declared = "; --interval says what is right, --sparse that bars may be missing"
        raise fail(wrong.place, f"{wrong.reason}{declared}")
    if interval.is_intraday:
        _require_in_hours(part, times, hours, options, fail)
    return _Read(part, bars, fail), news


def _opens(
    part: _Part, table: pa.Table, options: ImportOptions, hours: HoursBook, fail: Fail
) -> tuple[Seconds, Seconds, Mapping[str, str]]:
    """When bars of a day or more open, and the days that they are of, in seconds."""
    interval, symbol = part.series.interval, part.series.symbol
    told = days(table.column("time"), options.zone, fail)
    by_date = told.dates != NO_DATE
    if not by_date.any():
        _require_opens(part, told.moments, hours.stored(symbol, "regular"), fail)
        return told.moments, told.moments // 86_400 * 86_400, {}
    require_known_groups(interval)
    known = hours.of(symbol)
    # A midnight that is an open is itself; any other names its day.
    opens = told.moments.copy()
    expected = known.hours.expected_between(interval, int(told.moments.min()) - 1, int(told.moments.max()) + 1)
    by_date &= ~(told.are_moments & np.isin(told.moments, expected))
    _require_ascending(told.dates[by_date], np.flatnonzero(by_date), fail)
    opens[by_date] = opens_of_days(known.hours, interval, told.dates[by_date])
    if (opens == NO_OPEN).any():
        place = int(np.argmax(opens == NO_OPEN))
        day = utc(int(told.dates[place]) * 86_400).date()
        raise fail(place, f"{day} is no trading day of {symbol} by its trading hours: remove the row, or say --hours")
    spaced = np.where(told.dates != NO_DATE, told.dates * 86_400, opens // 86_400 * 86_400)
    return opens, spaced, known.facts


def _require_opens(part: _Part, times: Seconds, hours: TradingHours | None, fail: Fail) -> None:
    """Moments of another zone than was said are no opens, where these are known without a question."""
    interval, symbol = part.series.interval, part.series.symbol
    if hours is None or not Period.can_be_judged(interval, hours) or not len(times):
        return
    expected = hours.expected_between(interval, int(times.min()), int(times.max()) + 1)
    is_other = ~np.isin(times, expected)
    if is_other.mean() > _OUTSIDE:
        place = int(np.argmax(is_other))
        share = f"{is_other.mean():.0%} of its rows are no opens of {interval} of {symbol} by its trading hours"
        raise fail(place, f"{_minute(int(times[place]))}: {share}; are the times of another zone?")


def _require_ascending(dates: Seconds, places: Seconds, fail: Fail) -> None:
    wrong = dates[1:] <= dates[:-1]
    if wrong.any():
        place = int(np.argmax(wrong)) + 1
        before, after = (utc(int(dates[each]) * 86_400).date() for each in (place - 1, place))
        if before == after:
            raise fail(int(places[place]), f"{after} is there twice: keep one of the rows")
        raise fail(int(places[place]), f"{after} comes after {before}; rows must ascend in time: sort the file by it")


def _require_in_hours(part: _Part, times: Seconds, hours: HoursBook, options: ImportOptions, fail: Fail) -> None:
    """Rows of another zone than was said lie outside the trading hours, where these are known without a question."""
    known = hours.stored(part.series.symbol, options.session)
    if known is None:
        return
    since, until = int(times[0]), int(times[-1]) + part.series.interval.seconds
    sessions = known.sessions(since, until)
    outside = sessions.day_of(times) < -(1 << 61)
    if outside.mean() > _OUTSIDE:
        zone = f"; is {options.timezone} their zone?" if options.timezone else ""
        share = (
            f"{outside.mean():.0%} of its rows are outside the {options.session} trading hours of {part.series.symbol}"
        )
        raise fail(int(np.argmax(outside)), f"{_minute(int(times[np.argmax(outside)]))}: {share}{zone}")


def _joined(read: Sequence[_Read], adjustment: str) -> tuple[Bars, tuple[Imported, ...]]:
    """The bars of all files of a series, and which came from where; one that two files have must be the same."""
    ordered = sorted(read, key=lambda each: int(each.bars.times[0]))
    texts = [_provenance(each.part, adjustment) for each in ordered]
    follows = all(before.bars.times[-1] < after.bars.times[0] for before, after in pairwise(ordered))
    if follows:
        spans = [
            Imported(int(each.bars.times[0]), int(each.bars.times[-1]) + 1, text)
            for each, text in zip(ordered, texts, strict=True)
        ]
        return joined(*(each.bars for each in ordered)), tuple(spans)
    times = np.concatenate([each.bars.times for each in ordered])
    values = np.concatenate([each.bars.values for each in ordered], axis=1)
    has_volume = np.concatenate([each.bars.has_volume for each in ordered])
    origin = np.repeat(np.arange(len(ordered)), [len(each.bars) for each in ordered])
    order = np.argsort(times, kind="stable")
    times, values, has_volume, origin = times[order], values[:, order], has_volume[order], origin[order]
    is_again = np.r_[False, times[1:] == times[:-1]]
    same = np.r_[True, (values[:, 1:] == values[:, :-1]).all(axis=0) & (has_volume[1:] == has_volume[:-1])]
    differs = is_again & ~same
    if differs.any():
        _refuse_two(ordered, int(np.argmax(differs)), times, values, origin)
    kept = ~is_again
    times, origin = times[kept], origin[kept]
    firsts = np.flatnonzero(np.r_[True, origin[1:] != origin[:-1]])
    lasts = [*(firsts[1:] - 1).tolist(), len(times) - 1]
    found = tuple(
        Imported(int(times[first]), int(times[last]) + 1, texts[origin[first]])
        for first, last in zip(firsts.tolist(), lasts, strict=True)
    )
    return Bars(times, values[:, kept], has_volume[kept]), found


def _refuse_two(ordered: Sequence[_Read], place: int, times: Seconds, values: Seconds, origin: Seconds) -> None:
    one, two = ordered[origin[place - 1]], ordered[origin[place]]
    at = int(np.searchsorted(two.bars.times, times[place]))
    closes = f"closes at {values[3, place]:.10g} here and at {values[3, place - 1]:.10g} in {one.part.path}"
    raise two.fail(
        at,
        f"the bar of {_minute(int(times[place]))} {closes}: files of one call are of one scale, and agree; "
        "import the older file first, in a call of its own, then the newer one, whose bars stand",
    )


def _leaves_newest(read: Sequence[_Read], bars: Bars, options: ImportOptions) -> bool:
    """True where the newest bar may have been forming when its file was written, and nobody says that it had closed."""
    if options.closed is not None:
        return not options.closed
    newest = int(bars.times[-1])
    return any(each.part.form.may_form for each in read if int(each.bars.times[-1]) == newest)


def _minute(second: int) -> str:
    return f"{utc(second):%Y-%m-%d %H:%M}Z"


def _provenance(part: _Part, adjustment: str) -> str:
    scale = "splits" if adjustment == "splits" else "splits and dividends"
    return f"{part.path.name}, {part.form.name}, adjusted for {scale}, sha256 {part.source.digest}"
