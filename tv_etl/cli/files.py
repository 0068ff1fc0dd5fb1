"""Bars of many series as files for other programs: Parquet, CSV or JSON, one file for all series or one for each.

Every row names its series, so that files can be read together:

| column | in Parquet | in CSV and JSON |
|---|---|---|
| `symbol` `interval` | string | `NASDAQ:AAPL`, `1d` |
| `timestamp` | timestamp[us, UTC] | ISO 8601 with `+00:00`; the bar's open |
| `open` `high` `low` `close` | double | all digits |
| `volume` | double | empty or null where the instrument has none |

JSON is a list with one object, on a line of its own, for each bar. A file appears complete or not at all.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Literal, Protocol, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tv_etl.lake.layout import path_segment
from tv_etl.tradingview.bar_schema import LABELLED_SCHEMA
from tv_etl.tradingview.export import whole_file
from tv_etl.tradingview.series import Series

FileFormat = Literal["parquet", "csv", "json"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

_TEXT_SCHEMA = LABELLED_SCHEMA.set(2, pa.field("timestamp", pa.string(), nullable=False))


Put = Callable[[Series, pa.Table], None]


class _Writer(Protocol):
    """What pyarrow's writers have in common."""

    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _TimesAsText:
    """Turns timestamps into text for another writer."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def write_table(self, table: pa.Table) -> None:
        seconds = table["timestamp"].cast(pa.timestamp("s", "UTC"))
        self._writer.write_table(
            table.set_column(2, _TEXT_SCHEMA.field(2), pc.strftime(seconds, "%Y-%m-%dT%H:%M:%S+00:00"))
        )

    def close(self) -> None:
        self._writer.close()


class _JsonWriter:
    """A list of objects, one per line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._separator = "[\n"

    def write_table(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._file.write((self._separator + json.dumps(row, ensure_ascii=False, allow_nan=False)).encode())
            self._separator = ",\n"

    def close(self) -> None:
        self._file.write(b"[]\n" if self._separator == "[\n" else b"\n]\n")


class BarStream:
    """Writes bars to an open file as they arrive; `close` writes the format's ending."""

    def __init__(self, file: IO[bytes], form: FileFormat) -> None:
        self._file = file
        self._writer: _Writer
        if form == "json":
            self._writer = _TimesAsText(_JsonWriter(file))
        elif form == "csv":
            self._writer = _TimesAsText(pa_csv.CSVWriter(file, _TEXT_SCHEMA))
        else:
            self._writer = pq.ParquetWriter(file, LABELLED_SCHEMA, compression="zstd")

    def put(self, series: Series, bars: pa.Table) -> None:
        """Write the bars of one series."""
        names = [pa.repeat(text, len(bars)) for text in (series.symbol, series.interval.token)]
        columns = [*names, *bars.columns]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA))
        self._file.flush()

    def abandon(self) -> None:
        """Leave the file without the format's ending."""
        if isinstance(self._writer, pq.ParquetWriter):
            self._writer.is_open = False  # else it writes a footer when garbage-collected, to a closed file

    def close(self) -> None:
        """Write the format's ending."""
        self._writer.close()
        self._file.flush()


def destination(out: str | None, form: FileFormat | None) -> "AbstractContextManager[Put | None]":
    """Where bars go: `-` is stdout; an existing directory, or a name that ends with /, gets a file per series.

    None is nowhere. Without a format the file's extension decides; a directory gets Parquet, stdout CSV. Raises
    ValueError for an unknown extension without a format, and for Parquet on a terminal.
    """
    if out is None:
        return nullcontext()
    if out == "-":
        if form == "parquet" and sys.stdout.isatty():
            raise ValueError("Parquet cannot go to a terminal: name a file with --out, or choose another --format")
        return open_stream(sys.stdout.buffer, form or "csv")
    if out.endswith(("/", os.sep)) or Path(out).is_dir():
        return file_for_each(Path(out), form or "parquet")
    suffix = Path(out).suffix.lower().removeprefix(".")
    named = next((each for each in FORMATS if each == suffix), None)
    if form is None and named is None:
        raise ValueError(f"--out {out!r} does not end with .{' or .'.join(FORMATS)}: choose a --format")
    return one_file(Path(out), form or named or "csv")


@contextmanager
def one_file(path: Path, form: FileFormat) -> Iterator[Put]:
    """Write all series to one file, created with the first of them. Raises ExportError."""
    with _open_on_first_put(lambda: _open_whole_file(path, form)) as put:
        yield put


@contextmanager
def open_stream(file: IO[bytes], form: FileFormat) -> Iterator[Put]:
    """Write all series to an open file, such as a pipe, as they arrive."""
    with _open_on_first_put(lambda: _open_bar_stream(file, form)) as put:
        yield put


@contextmanager
def file_for_each(directory: Path, form: FileFormat) -> Iterator[Put]:
    """Write each series to a file of its own, e.g. `NASDAQ%3AAAPL.1d.parquet`. Raises ExportError."""

    def put(series: Series, bars: pa.Table) -> None:
        name = f"{path_segment(series.symbol)}.{series.interval.token}.{form}"
        with _open_whole_file(directory / name, form) as stream:
            stream.put(series, bars)

    yield put


@contextmanager
def _open_on_first_put(make: Callable[[], AbstractContextManager[BarStream]]) -> Iterator[Put]:
    with ExitStack() as stack:
        streams: list[BarStream] = []

        def put(series: Series, bars: pa.Table) -> None:
            if not streams:
                streams.append(stack.enter_context(make()))
            streams[0].put(series, bars)

        yield put


@contextmanager
def _open_whole_file(path: Path, form: FileFormat) -> Iterator[BarStream]:
    with whole_file(path) as file, _open_bar_stream(file, form) as stream:
        yield stream


@contextmanager
def _open_bar_stream(file: IO[bytes], form: FileFormat) -> Iterator[BarStream]:
    stream = BarStream(file, form)
    try:
        yield stream
    except BaseException:
        stream.abandon()
        raise
    stream.close()
