"""Bars of many series as files for other programs: Parquet, CSV or JSON, one file for all or one for each.

Every row says whose it is, so that files can be read together:

| column | in Parquet | in CSV and JSON |
|---|---|---|
| `symbol` `interval` | string | `NASDAQ:AAPL`, `1d` |
| `timestamp` | timestamp[us, UTC] | ISO 8601 with `+00:00`; the bar's open |
| `open` `high` `low` `close` | double | every digit |
| `volume` | double | empty or null where the instrument has none |

JSON is a list with an object, and a line, for each bar. A file appears whole or not at all.
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
from tv_etl.tradingview.models import HistoryRequest

FileFormat = Literal["parquet", "csv", "json"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

_TEXT_SCHEMA = LABELLED_SCHEMA.set(2, pa.field("timestamp", pa.string(), nullable=False))


Put = Callable[[HistoryRequest, pa.Table], None]


class _Writer(Protocol):
    """What pyarrow's writers have in common."""

    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _TextOfTime:
    """A writer whose timestamps are texts."""

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
    """A list of objects, one a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._before = "[\n"

    def write_table(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._file.write((self._before + json.dumps(row, ensure_ascii=False, allow_nan=False)).encode())
            self._before = ",\n"

    def close(self) -> None:
        self._file.write(b"[]\n" if self._before == "[\n" else b"\n]\n")


class BarStream:
    """Bars written to an open file as they come; what the format ends with is written by `close`."""

    def __init__(self, file: IO[bytes], form: FileFormat) -> None:
        self._file = file
        self._writer: _Writer
        if form == "json":
            self._writer = _TextOfTime(_JsonWriter(file))
        elif form == "csv":
            self._writer = _TextOfTime(pa_csv.CSVWriter(file, _TEXT_SCHEMA))
        else:
            self._writer = pq.ParquetWriter(file, LABELLED_SCHEMA, compression="zstd")

    def put(self, request: HistoryRequest, bars: pa.Table) -> None:
        """Write the bars of one series."""
        names = [pa.repeat(text, len(bars)) for text in (request.symbol, request.width.token)]
        columns = [*names, *bars.columns]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA))
        self._file.flush()

    def abandon(self) -> None:
        """Leave the file without an end."""
        if isinstance(self._writer, pq.ParquetWriter):
            self._writer.is_open = False  # else it writes an end when it is collected, to a file that is closed

    def close(self) -> None:
        """Write the end."""
        self._writer.close()
        self._file.flush()


def destination(out: str | None, form: FileFormat | None) -> "AbstractContextManager[Put | None]":
    """Where bars go: `-` is stdout, an existing directory or a name that ends with / a directory, None nowhere.

    Without a format a file's name tells it; a directory gets Parquet, stdout CSV. Raises ValueError where none can be
    told, and for Parquet on a terminal.
    """
    if out is None:
        return nullcontext()
    if out == "-":
        if form == "parquet" and sys.stdout.isatty():
            raise ValueError("Parquet is not for terminals: name a file with --out, or another --format")
        return open_stream(sys.stdout.buffer, form or "csv")
    if out.endswith(("/", os.sep)) or Path(out).is_dir():
        return file_for_each(Path(out), form or "parquet")
    suffix = Path(out).suffix.lower().removeprefix(".")
    named = next((each for each in FORMATS if each == suffix), None)
    if form is None and named is None:
        raise ValueError(f"--out {out!r} has no ending .{', .'.join(FORMATS)}: name the --format")
    return one_file(Path(out), form or named or "csv")


@contextmanager
def one_file(path: Path, form: FileFormat) -> Iterator[Put]:
    """Put all series into one file, which is made only if one is put. Raises ExportError."""
    with _first_opens(lambda: _whole_stream(path, form)) as put:
        yield put


@contextmanager
def open_stream(file: IO[bytes], form: FileFormat) -> Iterator[Put]:
    """Put all series into an open file, such as a pipe, as they come."""
    with _first_opens(lambda: _bar_stream(file, form)) as put:
        yield put


@contextmanager
def file_for_each(directory: Path, form: FileFormat) -> Iterator[Put]:
    """Put each series into a file of its own, e.g. `NASDAQ%3AAAPL.1d.parquet`. Raises ExportError."""

    def put(request: HistoryRequest, bars: pa.Table) -> None:
        name = f"{path_segment(request.symbol)}.{request.width.token}.{form}"
        with _whole_stream(directory / name, form) as stream:
            stream.put(request, bars)

    yield put


@contextmanager
def _first_opens(make: Callable[[], AbstractContextManager[BarStream]]) -> Iterator[Put]:
    with ExitStack() as stack:
        streams: list[BarStream] = []

        def put(request: HistoryRequest, bars: pa.Table) -> None:
            if not streams:
                streams.append(stack.enter_context(make()))
            streams[0].put(request, bars)

        yield put


@contextmanager
def _whole_stream(path: Path, form: FileFormat) -> Iterator[BarStream]:
    with whole_file(path) as file, _bar_stream(file, form) as stream:
        yield stream


@contextmanager
def _bar_stream(file: IO[bytes], form: FileFormat) -> Iterator[BarStream]:
    stream = BarStream(file, form)
    try:
        yield stream
    except BaseException:
        stream.abandon()
        raise
    stream.close()
