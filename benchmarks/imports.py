"""What an import costs above reading its files: `python -m benchmarks.imports [symbols [rounds]]`.

    five years of minutes of shares, a file each, into an empty lake <= 0.6 µs of CPU a bar above the best reader

A file is read by each library that reads its form, into a table whose times are times; the quickest of them is what an
import is held against. Both take turns, in one process; each figure is the median of its rounds.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq

from tv_etl.imports import ImportedSeries, ImportOptions, import_files
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours

SYMBOLS, ROUNDS = 10, 5
FIRST, AFTER = datetime(2021, 1, 1, tzinfo=ZoneInfo("UTC")), datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
PRICES = ("open", "high", "low", "close")
ZONED = pa.timestamp("us", "UTC")


def opens() -> np.ndarray:
    hours = TradingHours("0930-1600", "America/New_York")
    return hours.expected(Interval.parse("1m"), FIRST, AFTER)


def bars(times: np.ndarray, seed: int) -> pa.Table:
    """A walk on a grid of cents, as a file has it: of text where that is its form."""
    random = np.random.default_rng(seed)
    closes = np.round(np.maximum(100 + np.cumsum(random.normal(0, 0.02, len(times))), 5), 2)
    begun = np.round(closes + random.normal(0, 0.02, len(times)), 2)
    highs, lows = np.round(np.maximum(begun, closes) + 0.03, 2), np.round(np.minimum(begun, closes) - 0.03, 2)
    volume = random.integers(1, 50_000, len(times)).astype(np.float64)
    return pa.table({"date": pa.array(times * 1_000_000).cast(ZONED), "open": begun, "high": highs, "low": lows,
                     "close": closes, "volume": volume})  # fmt: skip


def write_chart(table: pa.Table, path: Path) -> None:
    pa_csv.write_csv(renamed(table, table["date"].cast(pa.int64()).to_numpy() // 1_000_000), path)


def write_iso(table: pa.Table, path: Path) -> None:
    texts = table["date"].cast(pa.timestamp("s", "UTC"))
    pa_csv.write_csv(renamed(table, pa.compute.strftime(texts, "%Y-%m-%dT%H:%M:%SZ")), path)


def renamed(table: pa.Table, times: object) -> pa.Table:
    return pa.table({"time": times, **{name: table[name] for name in PRICES}, "Volume": table["volume"]})


Reader = Callable[[Path], object]
ISO = pa_csv.ConvertOptions(column_types={"time": ZONED})
FORMS: dict[str, tuple[Callable[[pa.Table, Path], object], dict[str, Reader]]] = {
    "{}, 1.csv": (write_chart, {"pyarrow": pa_csv.read_csv, "polars": pl.read_csv}),
    "{}, 1_abcde.csv": (
        write_iso,
        {
            "pyarrow": lambda path: pa_csv.read_csv(path, convert_options=ISO),
            "polars": lambda path: pl.read_csv(path, try_parse_dates=True),
        },
    ),
    "{}-1m.parquet": (lambda table, path: pq.write_table(table, path), {
        "pyarrow": lambda path: pq.ParquetFile(path).read(), "polars": pl.read_parquet,
    }),
    "{}-1m.feather": (lambda table, path: feather.write_feather(table, str(path)), {
        "pyarrow": lambda path: feather.read_table(str(path), memory_map=False), "polars": pl.read_ipc,
    }),
}  # fmt: skip
LABELS = ("CSV, Unix times", "CSV, ISO 8601", "Parquet", "feather")


def cpu_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def imported(lake: Path, paths: Sequence[Path]) -> None:
    options = ImportOptions(exchange="NASDAQ", interval=Interval.parse("1m"), closed=True)
    outcomes = list(import_files(BarStore(lake), paths, options))
    assert len(outcomes) == len(paths)
    assert all(isinstance(each, ImportedSeries) and each.commit is not None for each in outcomes), outcomes


def measure(directory: Path, symbols: int, rounds: int) -> None:
    times = opens()
    print(f"{symbols} shares x {len(times):,} minutes of five years, median of {rounds}; µs of CPU a bar")
    print(f"{'form':<18}{'best reader':<20}{'import':>8}{'above':>8}{'spread':>16}")
    for label, (name, (write, readers)) in zip(LABELS, FORMS.items(), strict=True):
        paths = [
            directory / name.format(f"NASDAQ_S{number}" if "csv" in name else f"S{number}_X")
            for number in range(symbols)
        ]
        for number, path in enumerate(paths):
            write(bars(times, number), path)
        lake, count = directory / "lake", symbols * len(times)
        takes: dict[str, list[float]] = {reader: [] for reader in (*readers, "import")}
        for _ in range(rounds):
            for reader, read in readers.items():
                takes[reader].append(sum(cpu_of(partial(read, path)) for path in paths) / count * 1e6)
            takes["import"].append(cpu_of(partial(imported, lake, paths)) / count * 1e6)
            shutil.rmtree(lake)
        medians = {reader: statistics.median(each) for reader, each in takes.items()}
        best = min(readers, key=medians.__getitem__)
        above = [one - two for one, two in zip(takes["import"], takes[best], strict=True)]
        spread = f"{min(above):.2f} to {max(above):.2f}"
        figures = f"{medians['import']:>8.2f}{medians['import'] - medians[best]:>8.2f}{spread:>16}"
        print(f"{label:<18}{f'{best} {medians[best]:.2f}':<20}{figures}", flush=True)
        for path in paths:
            path.unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        given = [int(each) for each in sys.argv[1:3]]
        measure(Path(place), *[*given, *(SYMBOLS, ROUNDS)[len(given) :]])
