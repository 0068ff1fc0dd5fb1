"""What keeping the lake costs, against what it promises: `python benchmarks/lake.py [directory of CSV files]`.

    one bar into ten years of minutes, against into one month     <= 1.1 x
    300 bars into a full month file                               <= 10 ms CPU
    200 series incremented                                        <= 0.7 s CPU
    a bar of real data                                            <= 24 bytes
    the status of 5,000 series                                    <= 2 s
    a scan of 2,000 series, against DuckDB                        (no promise)
    a day of all symbols from the panel, against from the lake    (no promise)

Beside the two promises that depend on the machine stands what a bare script takes for the same here: it reads the file,
puts the bars behind, writes with zstd, syncs and renames, and knows of no revisions, records, checksums or other
writers. Where the promises were made it took 7.8 ms for a coin. On two busy cores, where it takes 16.4, a coin's month
took 12.5 (a growing month is written with LZ4), a stock's 5.3 (4.6 by the script), and 200 series 0.99 s (0.86).

Times are CPU, medians of several rounds in one run; compared costs take turns, so that none has a quieter machine. The
bars are random walks on a price grid: a stock's month has 8,190 minutes, a coin's 43,200 and prices that compress
badly. For bytes per bar the directory holds CSV files as the market server replays them; their few bars are charged
without the footer, which a full file has once for some 10,000 bars.
"""

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tv_etl.lake.bar_file import FORMAT, encode_bars
from tv_etl.lake.bars import Bars, check_bars
from tv_etl.lake.derived.panel import refresh_panel
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series

RECORDED = Path(__file__).parents[1] / "tv_etl_tests" / "recordings" / "market"
END = datetime(2026, 12, 1, tzinfo=timezone.utc)
DAY = (datetime(2026, 11, 17, tzinfo=timezone.utc), datetime(2026, 11, 17, 23, 59, tzinfo=timezone.utc))
DAYS = 30  # in a month
OVERLAP = 300
ROUNDS = 9
SERIES = 5_000
SCANNED = 2_000
METADATA = {"tv_etl.forming_from": "", "tv_etl.source": "benchmark", "tv_etl.adjustment": "splits"}
# Of each kind: symbols, minutes of a day, tick, price, decimals of the volume.
MIX = {"stock": (130, 390, 0.01, 200.0, 0), "coin": (30, 1440, 0.01, 60_000.0, 5), "pair": (40, 1380, 1e-5, 1.1, 0)}


def main() -> None:
    recorded = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDED
    print_row("bytes of a real bar", f"{bytes_per_bar(recorded):.1f}", "24")
    for measure in (depth_of_history, full_month, many_series, status, scan, panel):
        with tempfile.TemporaryDirectory() as base:
            measure(BarStore(base))


def depth_of_history(store: BarStore) -> None:
    for kind in ("stock", "coin"):
        walk = minutes(kind, 120)
        costs = increments(store, kind, {"month": walk.slice(len(walk) - len(walk) // 120), "decade": walk}, 1)
        ratio = costs["decade"] / costs["month"]
        print_row(f"one bar into ten years of a {kind}, against into a month", f"{ratio:.2f} x", "1.1 x")


def full_month(store: BarStore) -> None:
    for kind in ("stock", "coin"):
        walk = minutes(kind, 1)
        path = write_bare(store, kind, walk)
        bare = [cpu(partial(append_bare, path, part), 1) for part in tails(walk)]
        cost = increments(store, kind, {"full": walk}, OVERLAP)["full"]
        print_row(f"{OVERLAP} bars into a {kind}'s full month file", f"{cost * 1e3:.1f} ms", "10 ms")
        print_row("  by a bare script", f"{statistics.median(bare[1:]) * 1e3:.1f} ms", "")


def many_series(store: BarStore) -> None:
    """A month that is half over: what an increment costs grows with it."""
    series = [(f"{kind}:{n}", minutes(kind, 0.5, n)) for kind, (count, *_) in MIX.items() for n in range(count)]
    paths = {symbol: write_bare(store, symbol.replace(":", ""), walk) for symbol, walk in series}
    for symbol, walk in series:
        store.upsert(symbol, "1m", walk.slice(0, len(walk) - ROUNDS - 1))
    ours, bare = list[float](), list[float]()
    for parts in zip(*(tails(walk) for _, walk in series), strict=True):
        given = dict(zip(paths, parts, strict=True))
        ours.append(cpu(partial(upsert_each, store, given), 1))
        bare.append(cpu(partial(append_each, paths, given), 1))
    print_row(f"{len(series)} series incremented", f"{statistics.median(ours[1:]):.2f} s", "0.7 s")
    print_row("  by a bare script", f"{statistics.median(bare[1:]):.2f} s", "")


def upsert_each(store: BarStore, given: Mapping[str, pa.Table]) -> None:
    for symbol, part in given.items():
        store.upsert(symbol, "1m", part)


def append_each(paths: Mapping[str, Path], given: Mapping[str, pa.Table]) -> None:
    for symbol, part in given.items():
        append_bare(paths[symbol], part)


def tails(walk: pa.Table) -> list[pa.Table]:
    """What fetch after fetch brings: each time one new bar."""
    return [walk.slice(len(walk) - number - OVERLAP, OVERLAP) for number in range(ROUNDS, -1, -1)]


def write_bare(store: BarStore, name: str, walk: pa.Table) -> Path:
    path = Path(store.base) / "bare" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(walk.slice(0, len(walk) - ROUNDS - 1), path, use_dictionary=False, **FORMAT)
    return path


def append_bare(path: Path, given: pa.Table) -> None:
    """The least that an increment can be which survives a power cut."""
    stored = pq.read_table(path, partitioning=None, use_threads=False)
    times = stored["timestamp"].cast("int64").to_numpy()
    kept = stored.slice(0, int(np.searchsorted(times, given["timestamp"][0].value)))
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        pq.write_table(pa.concat_tables([kept, given]).combine_chunks(), file, use_dictionary=False, **FORMAT)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def status(store: BarStore) -> None:
    walk = asked(minutes("stock", 1)).slice(0, 100)
    for number in range(SERIES):
        store.upsert(f"STOCK:{number}", "1m", walk)
    created = cpu(lambda: store.upsert("STOCK:NEW", "1m", walk), 1)
    print_row(f"one more series, beside {SERIES:,}", f"{created * 1e3:.0f} ms", "")
    print_row(f"{SERIES:,} series listed", f"{cpu(store.series):.2f} s", "")
    print_row(f"{SERIES:,} series listed, and the record of each", f"{cpu(partial(records, store)):.2f} s", "")
    print_row(f"the status of {SERIES:,} series", f"{cpu(partial(lake_status, store, END)):.2f} s", "2 s")


def scan(store: BarStore) -> None:
    walk = asked(minutes("stock", 0.1))
    for number in range(SCANNED):
        store.upsert(f"STOCK:{number}", "1m", walk)
    ours = cpu(lambda: store.scan().read_all(), 3)
    with duckdb.connect() as connection:
        query = f"select * from read_parquet('{store.base}/ohlcv/**/*.parquet', hive_partitioning=true)"
        theirs = cpu(lambda: connection.sql(query).to_arrow_table(), 3)
    print_row(f"a scan of {SCANNED:,} series", f"{ours:.2f} s", "")
    print_row("  by DuckDB, which proves nothing and dates no bar", f"{theirs:.2f} s", "")


def asked(bars: pa.Table) -> pa.Table:
    """The bars as the server's answer: with its trading hours, and up to when it was asked."""
    described = json.loads((RECORDED.parent / "symbol_hours.json").read_text(encoding="utf-8"))[0]["symbol_resolved"]
    times = bars.column("timestamp").cast("int64").to_numpy() // 1_000_000
    facts = {"trading_hours": json.dumps(described), "asked_from": str(times[0]), "asked_until": str(times[100])}
    return bars.replace_schema_metadata({**METADATA, **{f"tv_etl.{key}": value for key, value in facts.items()}})


def records(store: BarStore) -> None:
    for symbol, interval in store.series():
        store.record(symbol, interval)


def panel(store: BarStore) -> None:
    """A day of all symbols, as an engine sums it up."""
    for kind, (count, *_) in MIX.items():
        for number in range(count):
            store.upsert(f"{kind}:{number}", "1m", minutes(kind, 1, number))
    print_row("the panel of a month of 200 symbols made", f"{cpu(partial(refresh_panel, store, '1m'), 1):.2f} s", "")
    print_row("the panel found to be as it should", f"{cpu(partial(refresh_panel, store, '1m')):.2f} s", "")
    roots = [Path(store.base) / name for name in ("ohlcv", "panel")]
    for engine, ask in (("DuckDB", day_in_duckdb), ("Polars", day_in_polars), ("pyarrow", day_in_pyarrow)):
        lake, beside = (cpu(partial(ask, root), 7) for root in roots)
        print_row(f"a day of 200 symbols in {engine}, from the lake", f"{lake * 1e3:.0f} ms", "")
        print_row(f"a day of 200 symbols in {engine}, from the panel", f"{lake / beside:.1f} x less", "")


def day_in_duckdb(root: Path) -> int:
    with duckdb.connect() as connection:
        source = "read_parquet(?, hive_partitioning=true)"
        query = f"select symbol, max(close) from {source} where timestamp between ? and ? group by 1"
        return len(connection.execute(query, [f"{root}/**/*.parquet", *DAY]).fetchall())


def day_in_polars(root: Path) -> int:
    of_day = pl.col("timestamp").is_between(*DAY)
    return pl.scan_parquet(root).filter(of_day).group_by("symbol").agg(pl.col("close").max()).collect().height


def day_in_pyarrow(root: Path) -> int:
    of_day = (ds.field("timestamp") >= DAY[0]) & (ds.field("timestamp") <= DAY[1])
    table = ds.dataset(root, partitioning="hive").to_table(columns=["symbol", "close"], filter=of_day)
    return len(table.group_by("symbol").aggregate([("close", "max")]))


def increments(store: BarStore, kind: str, series: dict[str, pa.Table], bars: int) -> dict[str, float]:
    """CPU seconds of an upsert of so many bars, the last of them new, by name of the series."""
    for name, walk in series.items():
        store.upsert(f"{kind}:{name}", "1m", walk.slice(0, len(walk) - ROUNDS - 1))
    times: dict[str, list[float]] = {name: [] for name in series}
    for number in range(ROUNDS, -1, -1):
        for name, walk in series.items():
            given = walk.slice(len(walk) - number - bars, bars)
            times[name].append(cpu(partial(store.upsert, f"{kind}:{name}", "1m", given), 1))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def bytes_per_bar(directory: Path) -> float:
    """Of all files together; one bar's file tells what the footer takes."""
    taken, count = 0, 0
    for path in sorted(directory.glob("*.csv")):
        bars = read_csv(path)
        whole, one = (len(encode_bars(part, Series.of(path.stem, "1m"), {})) for part in (bars, bars.take(slice(0, 1))))
        taken, count = taken + whole - one, count + len(bars) - 1
    return taken / count


def read_csv(path: Path) -> Bars:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [float(row[name]) if row.get(name) else None for row in rows] for name in BAR_SCHEMA.names[1:]}
    times = pa.array([int(float(row["timestamp"])) for row in rows]).cast(pa.timestamp("s", "UTC"))
    return check_bars(pa.table({"timestamp": times, **columns}))


def minutes(kind: str, months: float, seed: int = 0) -> pa.Table:
    """A random walk on the grid of the kind's prices, in the minutes that it trades, up to the end of the month."""
    _, minutes_of_day, tick, price, decimals = MIX[kind]
    dice = np.random.default_rng([seed, len(kind)])
    days = np.arange(round(months * DAYS)) - round(months * DAYS)
    if kind != "coin":
        days = days[np.isin((days + 2) % 7, (0, 1), invert=True)]
    times = (int(END.timestamp()) + days[:, None] * 86_400 + np.arange(minutes_of_day) * 60).ravel()
    closes = price * np.exp(np.cumsum(dice.normal(0, 4e-4, len(times))))
    opens = np.r_[closes[0], closes[:-1]]
    wicks = dice.exponential(2 * tick + price * 1e-4, (2, len(times)))
    prices = [opens, np.maximum(opens, closes) + wicks[0], np.minimum(opens, closes) - wicks[1], closes]
    volumes = np.round(dice.lognormal(3, 1.5, len(times)), decimals)
    values = np.vstack([*(np.round(np.round(each / tick) * tick, 8) for each in prices), volumes])
    return Bars(times, values, np.ones(len(times), np.bool_)).to_table().replace_schema_metadata(METADATA)


def cpu(work: Callable[[], object], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def print_row(name: str, value: str, promise: str) -> None:
    print(f"{name:64} {value:>10}   {promise and '<= ' + promise}", flush=True)


if __name__ == "__main__":
    main()
