"""Files of bars opened: the names of their columns first, then the columns that are wanted, batch by batch.

CSV, Parquet and Arrow are read by pyarrow, JSON by msgspec. A conversion that fails is tried again from its text, to
find the row: that takes longer, and nobody waits for it but whose file is wrong.
"""

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tv_etl.imports.errors import FileImportError, FormError, RowError
from tv_etl.imports.forms import FREQTRADE_COLUMNS, Form
from tv_etl.imports.options import ImportOptions
from tv_etl.imports.times import RIGHT
from tv_etl.lake.bars import PRICES
from tv_etl.tradingview.printable import printable

SUFFIXES = (".csv", ".txt", ".json", ".parquet", ".pq", ".feather", ".arrow", ".ipc")

_SAMPLE_BYTES = 1 << 18
_SEPARATORS = ",;\t|"
_NULLS = ["", "NaN", "nan", "NA", "N/A", "<NA>", "null", "None"]
_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?(?:[eE][-+]?[0-9]+)?")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,}(?P<zone>Z|z|[-+][0-9]{2}:?[0-9]{2})?")
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_CODE = (".pkl", ".pickle")


class Source(Protocol):
    """An open file: its columns by name, those of several tickers side by side, and its rows."""

    @property
    def path(self) -> Path: ...

    @property
    def digest(self) -> str:
        """The SHA-256 of the file's bytes, once its rows are read."""

    @property
    def is_whole(self) -> bool:
        """True where the rows are in memory until they are read."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def tickers(self) -> Sequence[str]: ...

    def batches(self, form: Form, *, are_days: bool | None) -> Iterator[pa.Table]:
        """The rows of a form's columns, by field; times as they are, from which a zone is not lost where it matters.

        Whether the bars are of a day or more may not be known yet. Raises FileImportError.
        """

    def row(self, place: int) -> int:
        """The row of a place among the rows, as people count it."""

    def close(self) -> None:
        """Let go of rows that are in memory: they have been read."""


def open_source(path: Path, options: ImportOptions) -> Source:
    """Open a file by its name. Raises FormError, also for what the system refuses."""
    suffixes = [each.lower() for each in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    with _readable(path):
        if kind in (".csv", ".txt"):
            return CsvSource(path, options)
        if kind == ".json":
            return JsonSource(path)
        if kind in (".parquet", ".pq"):
            return ArrowSource(path, is_parquet=True)
        if kind in (".feather", ".arrow", ".ipc"):
            return ArrowSource(path, is_parquet=False)
    if kind in _CODE:
        raise FormError(
            path, "a pickle is a program that is run by reading it: write the frame with to_csv or to_parquet"
        )
    raise FormError(path, f"not a file of bars by its name; known are {' '.join(SUFFIXES)}, and .csv.gz and .json.gz")


def stem_of(path: Path) -> str:
    """The name of a file without what says of its format."""
    name = path.name
    for suffix in (".gz", *SUFFIXES):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


@dataclass
class CsvSource:
    """A text file of lines, its header in one of them, or as pandas writes two levels in three."""

    path: Path
    options: ImportOptions
    names: Sequence[str] = ()
    tickers: Sequence[str] = ()
    digest: str = ""
    is_whole: bool = False
    _separator: str = ","
    _header_lines: int = 1
    _lines: Sequence[str] = field(default=(), repr=False)  # the first ones

    def __post_init__(self) -> None:
        is_zipped = self.path.suffix.lower() == ".gz"
        with gzip.open(self.path) if is_zipped else self.path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
        if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise FormError(self.path, "it is UTF-16: save it as UTF-8")
        if not sample.strip():
            raise FormError(self.path, "it is empty; expected a line with the names of columns, and rows")
        text = sample.decode("utf-8-sig", "replace")
        lines = text.splitlines()
        self._lines = lines if len(sample) < _SAMPLE_BYTES else lines[:-1] or lines
        first = self._lines[0]
        self._separator = max(_SEPARATORS, key=first.count)
        self.names = self._cells(0)
        if _NUMBER.fullmatch(self.names[0].strip()):
            raise FormError(
                self.path, f"its first line is a row, {printable(first, 80)!r}: expected the names of columns"
            )
        self._read_levels()

    def _content(self) -> pa.Buffer:
        # Not kept: thousands of files may wait for their turn.
        raw = _mapped(self.path)
        self.digest = hashlib.sha256(raw).hexdigest()
        with _readable(self.path):
            return pa.py_buffer(gzip.decompress(raw)) if self.path.suffix.lower() == ".gz" else raw

    def _cells(self, line: int) -> list[str]:
        return next(csv.reader([self._lines[line]], delimiter=self._separator), [""])

    def _read_levels(self) -> None:
        """Names and tickers where pandas wrote a frame whose columns have two levels."""
        if len(self._lines) < 3:
            return
        levels = [self._cells(line) or [""] for line in range(3)]
        index, *rest = levels[2]
        if index.strip().lower() not in ("date", "datetime") or any(rest) or len(levels[1]) != len(levels[0]):
            return
        fields = 0 if any(cell.strip().lower() == "close" for cell in levels[0]) else 1
        self.names = [index, *levels[fields][1:]]
        self.tickers = ["", *levels[1 - fields][1:]]
        self._header_lines = 3

    def batches(self, form: Form, *, are_days: bool | None) -> Iterator[pa.Table]:
        decimal, content = self._decimal(form), self._content()
        types = {name: self._type(name, place, are_days) for name, place in form.places.items()}
        arguments: dict[str, Any] = {
            "parse_options": pa_csv.ParseOptions(delimiter=self._separator),
            "convert_options": pa_csv.ConvertOptions(
                column_types={str(place): types[name] for name, place in form.places.items()},
                include_columns=[str(place) for place in form.places.values()],
                null_values=_NULLS,
                strings_can_be_null=True,
                decimal_point=decimal,
            ),
        }
        try:
            if form.is_labelled:
                with pa_csv.open_csv(
                    pa.BufferReader(content), read_options=self._read_options(), **arguments
                ) as reader:
                    for batch in reader:
                        yield pa.Table.from_batches([batch]).rename_columns(list(form.places))
            else:
                table = pa_csv.read_csv(pa.BufferReader(content), read_options=self._read_options(), **arguments)
                yield table.rename_columns(list(form.places))
        except pa.ArrowInvalid as error:
            raise self._fault(content, form, types, decimal, error) from error

    def row(self, place: int) -> int:
        """The line, which of a file with empty lines is another one than the row's number says."""
        left = place
        for line, text in enumerate(io.StringIO(bytes(self._content()).decode("utf-8-sig", "replace"))):
            if line >= self._header_lines and text.strip("\r\n"):
                if not left:
                    return line + 1
                left -= 1
        return place + self._header_lines + 1

    def close(self) -> None:
        pass

    def _read_options(self, *, use_threads: bool = True) -> pa_csv.ReadOptions:
        names = [str(place) for place in range(len(self.names))]
        return pa_csv.ReadOptions(column_names=names, skip_rows=self._header_lines, use_threads=use_threads)

    def _samples(self, places: Sequence[int]) -> Iterator[str]:
        """The texts of some columns in the first lines."""
        for line in range(self._header_lines, min(len(self._lines), 1_000)):
            row = self._cells(line)
            yield from (row[place].strip() for place in places if len(row) > place)

    def _decimal(self, form: Form) -> str:
        """The sign before decimals. Raises FormError where a comma may as well part thousands."""
        if self.options.decimal is not None:
            return self.options.decimal
        if self._separator == "," and not any('"' in line for line in self._lines):
            return "."
        prices = list(self._samples([form.places[name] for name in PRICES]))
        commas = [text for text in prices if "," in text]
        if not commas or any("." in text for text in prices):  # one that has both is told with its row
            return "."
        if all(re.fullmatch(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+", text) for text in commas):
            raise FormError(
                self.path,
                f"the comma in {commas[0]!r} may stand before decimals or between thousands: --decimal , says the "
                "former; else write the numbers without it",
            )
        return ","

    def _type(self, name: str, place: int, are_days: bool | None) -> pa.DataType:
        if name in ("symbol", "interval"):
            return pa.dictionary(pa.int32(), pa.string())
        if name != "time":
            return pa.float64()
        first = next(self._samples([place]), "")
        if _NUMBER.fullmatch(first):
            return pa.float64() if "." in first else pa.int64()
        is_utc = first.endswith(("Z", "z", "+00:00", "+0000"))
        if len(first) <= 10 or (are_days is not False and not is_utc):
            return pa.string()
        return pa.timestamp("us", "UTC") if is_utc or any(sign in first[10:] for sign in "+-") else pa.timestamp("us")

    def _fault(
        self,
        content: pa.Buffer,
        form: Form,
        types: Mapping[str, pa.DataType],
        decimal: str,
        error: pa.ArrowInvalid,
    ) -> FileImportError:
        """What the file is to blame for: read again as text, in one thread, which counts its rows."""
        try:
            str(content, "utf-8")
        except UnicodeDecodeError as wrong:
            row = wrong.object.count(b"\n", 0, wrong.start) + 1
            return RowError(
                self.path, row, f"its byte {wrong.object[wrong.start]:#x} is no UTF-8: save the file as UTF-8"
            )
        found: list[pa_csv.InvalidRow] = []

        def note(row: pa_csv.InvalidRow) -> str:
            found.append(row)
            return "error"

        try:
            texts = pa_csv.read_csv(
                pa.BufferReader(content),
                read_options=self._read_options(use_threads=False),
                parse_options=pa_csv.ParseOptions(delimiter=self._separator, invalid_row_handler=note),
                convert_options=pa_csv.ConvertOptions(
                    column_types={str(place): pa.string() for place in form.places.values()},
                    include_columns=[str(place) for place in form.places.values()],
                    null_values=_NULLS,
                    strings_can_be_null=True,
                ),
            ).rename_columns(list(form.places))
        except pa.ArrowInvalid:
            if not found:
                return FormError(self.path, f"it cannot be read as CSV: {printable(str(error))}")
            row = found[0]
            return RowError(self.path, self.row(row.number - self._header_lines - 1), self._wrong_count(row))
        faults = []
        for name, kind in types.items():
            place = _first_fault(texts.column(name), kind, decimal)
            if place is not None:
                faults.append((place, name, texts.column(name)[place].as_py()))
        if not faults:
            return FormError(self.path, f"it cannot be read as CSV: {printable(str(error))}")
        place, name, text = min(faults)
        return RowError(self.path, self.row(place), _wrong_cell(name, text, types[name], decimal))

    def _wrong_count(self, row: pa_csv.InvalidRow) -> str:
        counts = f"{row.actual_columns} column{'s' * (row.actual_columns > 1)}, expected {row.expected_columns}"
        others = [each for each in _SEPARATORS if each != self._separator and each in (row.text or "")]
        if row.actual_columns == 1 and others:
            told = f"it is parted by {others[0]!r}, and the first line by {self._separator!r}"
            return f"{counts}: {told}; write all alike"
        if row.actual_columns < row.expected_columns:
            return f"{counts}: the row is not whole; was the file written to its end?"
        hint = "; where commas stand before decimals, columns have to be parted by ;" if self._separator == "," else ""
        return f"{counts}: {printable(row.text, 80)!r}{hint}"


@dataclass
class ArrowSource:
    """A Parquet file, or one of Arrow's (feather): the columns have types."""

    path: Path
    is_parquet: bool
    names: Sequence[str] = ()
    tickers: Sequence[str] = ()
    digest: str = ""
    is_whole: bool = False

    def __post_init__(self) -> None:
        self.names = self._opened(lambda file: file.schema_arrow if self.is_parquet else file.schema).names

    def _opened(self, read: Callable[[Any], Any]) -> Any:
        try:
            if self.is_parquet:
                return read(pq.ParquetFile(pa.BufferReader(_mapped(self.path))))
            return read(self._open_arrow())
        except (pa.ArrowException, OSError) as error:
            kind = "Parquet" if self.is_parquet else "Arrow"
            told = f"it cannot be read as {kind}; was it written to its end? {printable(str(error))}"
            raise FormError(self.path, told) from error

    def _open_arrow(self) -> Any:
        raw = _mapped(self.path)
        try:
            return pa.ipc.open_file(pa.BufferReader(raw))
        except pa.ArrowInvalid:
            return pa.ipc.open_stream(pa.BufferReader(raw))

    def batches(self, form: Form, *, are_days: bool | None) -> Iterator[pa.Table]:
        wanted = [self.names[place] for place in form.places.values()]
        self.digest = hashlib.sha256(_mapped(self.path)).hexdigest()
        if self.is_parquet:
            if not form.is_labelled:
                yield self._cast(form, self._opened(lambda file: file.read(columns=wanted)).select(wanted))
                return
            for group in range(self._opened(lambda file: file.num_row_groups)):
                yield self._cast(form, self._opened(partial(_row_group, group=group, columns=wanted)).select(wanted))
            return
        yield self._cast(form, self._opened(lambda file: file.read_all()).select(wanted))

    def _cast(self, form: Form, table: pa.Table) -> pa.Table:
        table = table.rename_columns(list(form.places))
        for place, name in enumerate(table.column_names):
            column = table.column(name)
            if name in ("symbol", "interval"):
                kind = pa.dictionary(pa.int32(), pa.string())
                column = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
                table = table.set_column(place, name, column.unify_dictionaries().cast(kind))
            elif name != "time" and column.type != pa.float64():
                if not any(is_kind(column.type) for is_kind in _NUMBERS):
                    own = self.names[form.places[name]]
                    raise FormError(self.path, f"column {own!r} is of type {column.type}; expected numbers")
                table = table.set_column(place, name, column.cast(pa.float64()))
        return table

    def row(self, place: int) -> int:
        return place + 1

    def close(self) -> None:
        pass


@dataclass
class JsonSource:
    """A list of objects, one beneath the key `data`, or a list of lists as freqtrade writes it; read whole."""

    path: Path
    names: Sequence[str] = ()
    tickers: Sequence[str] = ()
    digest: str = ""
    is_whole: bool = True
    _rows: list[Any] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        raw = self.path.read_bytes()
        self.digest = hashlib.sha256(raw).hexdigest()
        text = gzip.decompress(raw) if self.path.suffix.lower() == ".gz" else raw
        try:
            content = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            row = max(1, text.count(b"{") - text.count(b'"data"') or text.count(b"[") - 1)
            is_cut = "truncated" in str(error)
            what = (
                "the file ends within it: was it written to its end?" if is_cut else f"no JSON: {printable(str(error))}"
            )
            raise RowError(self.path, row, what) from error
        rows = content.get("data") if isinstance(content, dict) else content
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict | list):
            raise FormError(self.path, 'it holds no bars: expected a list of objects or of rows, or {"data": [...]}')
        self._rows = rows
        self.names = list(rows[0]) if isinstance(rows[0], dict) else FREQTRADE_COLUMNS
        for place, row in enumerate(rows):
            if type(row) is not type(rows[0]) or (isinstance(row, list) and len(row) != len(FREQTRADE_COLUMNS)):
                raise RowError(self.path, place + 1, f"expected {_shape(rows[0])}, as in the first row")

    def batches(self, form: Form, *, are_days: bool | None) -> Iterator[pa.Table]:
        columns = {}
        for name, place in form.places.items():
            key: Any = self.names[place] if isinstance(self._rows[0], dict) else place
            cells = [row.get(key) if isinstance(row, dict) else row[key] for row in self._rows]
            columns[name] = self._column(name, cells)
        yield pa.table(columns)

    def close(self) -> None:
        self._rows = []

    def _column(self, name: str, cells: list[Any]) -> pa.Array:
        kinds: tuple[type, ...] = (str,) if name in ("symbol", "interval") else (int, float)
        if name == "time" and isinstance(cells[0], str):
            kinds = (str,)
        for place, cell in enumerate(cells):
            if cell is not None and (not isinstance(cell, kinds) or isinstance(cell, bool)):
                expected = "text" if str in kinds else "a number"
                raise RowError(self.path, place + 1, f"{name} {printable(str(cell), 40)!r} is not {expected}")
        if str in kinds:
            column = pa.array(cells, pa.string())
            return column if name == "time" else column.dictionary_encode()
        is_whole = name == "time" and all(isinstance(cell, int) for cell in cells)
        return pa.array(cells, pa.int64() if is_whole else pa.float64())

    def row(self, place: int) -> int:
        return place + 1


def _mapped(path: Path) -> pa.Buffer:
    """The bytes of a file; it is open as long as these are held."""
    with _readable(path):
        return pa.memory_map(str(path)).read_buffer() if path.stat().st_size else pa.py_buffer(b"")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the system or a compression refuses is the file's fault."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FormError(path, f"it cannot be read: {printable(reason)}") from error


def _row_group(file: pq.ParquetFile, *, group: int, columns: Sequence[str]) -> pa.Table:
    return file.read_row_group(group, columns=columns)


def _shape(row: Any) -> str:
    return "an object" if isinstance(row, dict) else f"{len(FREQTRADE_COLUMNS)} numbers, {', '.join(FREQTRADE_COLUMNS)}"


def _first_fault(texts: pa.ChunkedArray, kind: pa.DataType, decimal: str) -> int | None:
    """The place of the first text that is none of a type."""
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        return None
    column = pc.utf8_trim_whitespace(texts)
    if decimal == "," and pa.types.is_floating(kind):
        column = pc.replace_substring(pc.replace_substring(column, ".", "?"), ",", ".")
    if not _fails(column, kind):
        return None
    first, after = 0, len(column)  # the first that fails lies there
    while after - first > 1:
        middle = (first + after) // 2
        first, after = (first, middle) if _fails(column.slice(first, middle - first), kind) else (middle, after)
    return first


def _fails(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return True
    return False


def _wrong_cell(name: str, text: str | None, kind: pa.DataType, decimal: str) -> str:
    shown = printable(text or "", 40)
    if name != "time":
        comma = "; if all decimals have a comma, --decimal , says so" if decimal == "." and "," in shown else ""
        return f"{name} {shown!r} is not a number; expected e.g. 101{decimal}25{comma}"
    if pa.types.is_timestamp(kind) and (found := _ISO.fullmatch(shown)) and (kind.tz is None) == bool(found["zone"]):
        others = "has no zone, and the rows before have one" if kind.tz else "has a zone, and the rows before have none"
        return f"the time {shown!r} {others}: write all alike"
    return f"the time {shown!r} cannot be read; {RIGHT}"
