"""The files that a replay serves: CSV or Parquet, of any source, or the lake that this package writes.

A file is named `EXCHANGE_TICKER_INTERVAL.csv` or `.parquet` (`NASDAQ_AAPL_1D.csv`; the ticker may hold `_` itself); in
a lake the folders say it: `interval=1m/symbol=NASDAQ%3AAAPL/2026-11.parquet`. The columns are `timestamp`, `open`,
`high`, `low`, `close` and maybe `volume`. In a CSV file times are UTC seconds and every number is what `float(text)`
reads; in Parquet times may also be timestamps, and a volume missing among others is 0.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import check_symbol

Floats = npt.NDArray[np.float64]

_COLUMNS = ["timestamp", "open", "high", "low", "close"]
_SYMBOL, _INTERVAL = "symbol=", "interval="


class ReplayError(ValueError):
    """A file that cannot be replayed; the message names it and says why."""


def read_folder(folder: Path) -> dict[str, dict[Interval, Floats]]:
    """The rows `[time, open, high, low, close]`, or with volume, of all files: by symbol and interval.

    Raises ReplayError.
    """
    found: dict[str, dict[Interval, Floats]] = {}
    for path in sorted(folder.glob("*.csv")):
        symbol, interval = _name_parts(path)
        found.setdefault(symbol, {})[interval] = _checked(path, _read_csv(path))
    for path in sorted(folder.glob("*.parquet")):
        symbol, interval = _name_parts(path)
        found.setdefault(symbol, {})[interval] = _checked(path, _read_parquet(path))
    for directory in _series_of(folder):
        symbol, interval = _folder_parts(directory)
        parts = [_read_parquet(path) for path in sorted(directory.glob("*.parquet"))]
        if any(map(len, parts)):  # of a series that was removed, files without rows may be left
            width = max(part.shape[1] for part in parts)
            rows = np.concatenate([_widened(part, width) for part in parts])
            found.setdefault(symbol, {})[interval] = _checked(directory, rows)
    if not found:
        raise ReplayError(f"{folder}: no CSV or Parquet files to replay")
    return found


def _series_of(folder: Path) -> Iterator[Path]:
    """The folders of series in a lake; what begins with a dot is a program's own."""
    for directory in sorted(folder.rglob(f"{_INTERVAL}*/{_SYMBOL}*")):
        if directory.is_dir() and not any(part.startswith(".") for part in directory.relative_to(folder).parts):
            yield directory


def _folder_parts(directory: Path) -> tuple[str, Interval]:
    symbol, interval = directory.name.removeprefix(_SYMBOL), directory.parent.name.removeprefix(_INTERVAL)
    try:
        return check_symbol(unquote(symbol)), Interval.parse(interval)
    except (IntervalError, SymbolError) as error:
        raise ReplayError(f"{directory}: expected folders like interval=1m/symbol=NASDAQ%3AAAPL: {error}") from None


def _name_parts(path: Path) -> tuple[str, Interval]:
    exchange, _, rest = path.stem.partition("_")
    ticker, _, interval = rest.rpartition("_")
    try:
        if not (exchange and ticker):
            raise IntervalError(path.stem, "the name has fewer than three parts")
        return f"{exchange}:{ticker}", Interval.parse(interval)
    except IntervalError as error:
        raise ReplayError(f"{path}: expected a name like NASDAQ_AAPL_1D{path.suffix}: {error}") from None


def _read_csv(path: Path) -> Floats:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header not in (_COLUMNS, [*_COLUMNS, "volume"]):
            raise ReplayError(f"{path}: the first line is {','.join(header)!r}: expected {','.join(_COLUMNS)}[,volume]")
        try:
            rows = np.array([[float(value) for value in line] for line in reader], np.float64)
        except ValueError as error:
            raise ReplayError(f"{path}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != len(header):
        raise ReplayError(f"{path}: no bars, or a line that is not {len(header)} numbers")
    return rows


def _read_parquet(path: Path) -> Floats:
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError:
        raise ReplayError(f"{path}: Parquet files need pyarrow, which is not installed") from None
    try:
        # As one file: what the folders say would be columns otherwise.
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise ReplayError(f"{path}: {error}") from None
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise ReplayError(f"{path}: missing columns: {', '.join(missing)}")
    times = table["timestamp"]
    try:
        if pa.types.is_timestamp(times.type):
            times = pc.divide(times.cast(pa.timestamp("us", times.type.tz)).cast(pa.int64()), 1_000_000)
        columns = [times, *(table[name] for name in _COLUMNS[1:])]
        if "volume" in table.column_names and table["volume"].null_count < len(table):
            columns.append(table["volume"].fill_null(0))
        return np.column_stack([column.cast(pa.float64()).to_numpy() for column in columns])
    except pa.ArrowException as error:
        raise ReplayError(f"{path}: {error}") from None


def _widened(rows: Floats, width: int) -> Floats:
    return rows if rows.shape[1] == width else np.column_stack([rows, np.zeros(len(rows))])


def _checked(path: Path, rows: Floats) -> Floats:
    if not len(rows) or not np.isfinite(rows).all():
        raise ReplayError(f"{path}: no bars, or a line that is not {rows.shape[1]} numbers")
    if (np.diff(rows[:, 0]) <= 0).any():
        raise ReplayError(f"{path}: the timestamps do not ascend")
    return rows
