"""Bars to Polars, JSON, CSV and Parquet.

JSON and CSV need only the standard library; data frames and Parquet need the extra `export` (Polars), which is
imported on first use. Bars are exported as given: neither sorted nor filtered.

| column | dtype | in files |
|---|---|---|
| `timestamp` | `Datetime("us", "UTC")` | ISO 8601 with `+00:00` in JSON and CSV; the bar's open |
| `open` `high` `low` `close` | `Float64` | every digit |
| `volume` | `Float64` | null where the instrument has none: `null` in JSON, empty in CSV |

With analysis these `Float64` columns follow; each is null until its window is full, and where it has no meaning:

| column | meaning |
|---|---|
| `simple_return` | close / previous close - 1 |
| `log_return` | ln(close / previous close); null unless both are positive |
| `sma_20` `sma_50` | mean of the last 20 and 50 closes |
| `ema_12` `ema_26` | exponential mean with weight 2 / (n + 1), starting from the mean of the first n closes |
| `rsi_14` | Wilder's: rises and falls smoothed by 1 / 14, starting from their mean; 100 where nothing fell |
| `volatility_20` | sample standard deviation of the last 20 log returns: per bar, not annualised |

EMA and RSI start as TradingView's own `ta.ema` and `ta.rsi` do, so that the columns agree with the chart.
"""

import asyncio
import codecs
import csv
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tv_etl.tradingview.errors import ExportError, MissingExtraError
from tv_etl.tradingview.models import OHLCVBar, convert_timestamp_to_iso

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
SMA_WINDOWS = (20, 50)
EMA_WINDOWS = (12, 26)
RSI_WINDOW = 14
VOLATILITY_WINDOW = 20


class DataExporter:
    """Turns bars into a data frame or a file; a file is written whole or not at all.

    The methods that write a file create its directory, replace an older file of the same name in one step, return its
    path, and raise ExportError if it cannot be written. They work in a thread and do not block the event loop.
    """

    async def to_polars(self, bars: Sequence[OHLCVBar], add_analysis: bool = False) -> "pl.DataFrame":
        """A data frame of the bars, with the indicators of the module's table if `add_analysis`.

        Raises MissingExtraError without Polars, and ExportError for an analysis of bars whose timestamps do not ascend.
        """
        return await asyncio.to_thread(_frame, bars, add_analysis)

    async def to_json(self, bars: Sequence[OHLCVBar], path: str | Path) -> Path:
        """Write a JSON list with one object per bar. Raises ExportError, also for a price that is not a number."""
        return await asyncio.to_thread(_write, Path(path), lambda file: _dump_json(bars, file))

    async def to_csv(self, bars: Sequence[OHLCVBar], path: str | Path) -> Path:
        """Write CSV (RFC 4180, UTF-8) with a header. Raises ExportError."""
        return await asyncio.to_thread(_write, Path(path), lambda file: _dump_csv(bars, file))

    async def to_parquet(self, bars: Sequence[OHLCVBar], path: str | Path, add_analysis: bool = False) -> Path:
        """Write the data frame of `to_polars` as Parquet. Raises the same errors."""
        frame = await self.to_polars(bars, add_analysis)
        return await asyncio.to_thread(_write, Path(path), frame.write_parquet)


# --- files ----------------------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when the block ends, and not at all if it raises.

    Its directory is created, an older file of the same name replaced. Raises ExportError for what the system refuses.
    """
    # Beside the target, since a rename is atomic only within one file system; the name fits wherever the target's did.
    part = path.parent / f".tv_etl-{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror or error}") from error


def _write(path: Path, dump: Callable[[IO[bytes]], object]) -> Path:
    with whole_file(path) as file:
        dump(file)
    return path


def _dump_json(bars: Iterable[OHLCVBar], file: IO[bytes]) -> None:
    before = b"[\n"
    for bar in bars:
        fields = dict(zip(COLUMNS, _values(bar), strict=True))
        try:
            file.write(before + json.dumps(fields, allow_nan=False).encode())
        except ValueError:
            raise ExportError(f"the bar at {fields['timestamp']} holds a value that is not a number") from None
        before = b",\n"
    file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _dump_csv(bars: Iterable[OHLCVBar], file: IO[bytes]) -> None:
    writer = csv.writer(codecs.getwriter("utf-8")(file))
    writer.writerow(COLUMNS)
    writer.writerows(_values(bar) for bar in bars)


def _values(bar: OHLCVBar) -> tuple[Any, ...]:
    time = convert_timestamp_to_iso(bar.timestamp)
    return time, bar.open, bar.high, bar.low, bar.close, bar.volume


# --- data frames ----------------------------------------------------------------------------------------------


def _frame(bars: Sequence[OHLCVBar], add_analysis: bool) -> "pl.DataFrame":
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtraError("Polars is not installed: pip install 'tv-etl[export]'") from error

    times = [bar.timestamp * 1_000_000 for bar in bars]
    frame = pl.DataFrame(
        [
            pl.Series("timestamp", times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            *(pl.Series(name, [getattr(bar, name) for bar in bars], dtype=pl.Float64) for name in COLUMNS[1:]),
        ]
    )
    if not add_analysis:
        return frame
    for before, bar in itertools.pairwise(bars):
        if before.timestamp >= bar.timestamp:
            at = convert_timestamp_to_iso(bar.timestamp)
            raise ExportError(
                f"the bar at {at} is not later than the one before: sort the bars, and keep one per timestamp"
            )
    return frame.with_columns(_returns(pl)).with_columns(_indicators(pl))


def _returns(polars: Any) -> "list[pl.Expr]":
    close, previous = polars.col("close"), polars.col("close").shift(1)
    return [
        polars.when(previous != 0).then(close / previous - 1).alias("simple_return"),
        # Futures have been below zero, and a logarithm of that would be NaN.
        polars.when((previous > 0) & (close > 0)).then((close / previous).log()).alias("log_return"),
    ]


def _indicators(polars: Any) -> "list[pl.Expr]":
    close = polars.col("close")
    change = close.diff()
    rise = _smoothed(polars, change.clip(lower_bound=0), RSI_WINDOW, 1 / RSI_WINDOW, first_row=1)
    fall = _smoothed(polars, (-change).clip(lower_bound=0), RSI_WINDOW, 1 / RSI_WINDOW, first_row=1)
    return [
        *(close.rolling_mean(window).alias(f"sma_{window}") for window in SMA_WINDOWS),
        *(_smoothed(polars, close, window, 2 / (window + 1)).alias(f"ema_{window}") for window in EMA_WINDOWS),
        polars.when(fall == 0).then(100.0).otherwise(100 - 100 / (1 + rise / fall)).alias(f"rsi_{RSI_WINDOW}"),
        polars.col("log_return").rolling_std(VOLATILITY_WINDOW).alias(f"volatility_{VOLATILITY_WINDOW}"),
    ]


def _smoothed(polars: Any, values: "pl.Expr", window: int, weight: float, first_row: int = 0) -> "pl.Expr":
    """Exponential mean that begins, once the window is full, with the plain mean of it."""
    row = polars.int_range(polars.len())
    full_at = first_row + window - 1
    begun = polars.when(row == full_at).then(values.rolling_mean(window)).when(row > full_at).then(values)
    mean: pl.Expr = begun.ewm_mean(alpha=weight, adjust=False, ignore_nulls=True)
    return mean
