"""What docs/reading.md shows is executed, and every engine finds the bars that the store has."""

import importlib.util
import json
import re
import subprocess
import sys
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.patience import HANG_S

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "reading.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
OTHERS = "DataFusion, ClickHouse and fastparquet"
MODULES = {"DuckDB": "duckdb", "Polars": "polars", "pandas": "pandas", "Spark": "pyspark", OTHERS: "datafusion"}
FRAMES = "Data frames in one call"
SERIES = [("NASDAQ:AAPL", "1m"), ("NASDAQ:AAPL", "1d"), ("BINANCE:BTCUSDT", "1m"), ("KRX:005930", "1h")]
# Where and when each of the daily bars that are joined opens, and how many days before its trading day.
OPENS = {
    "NASDAQ:AAPL": ("America/New_York", time(9, 30), 0),
    "BINANCE:BTCUSDT": ("Etc/UTC", time(0), 0),
    "COMEX:GC1!": ("America/New_York", time(18), 1),
    "FX:EURUSD": ("America/New_York", time(17), 1),
}

# Whatever an engine returns as Arrow, and of that whose bars of when.
REPORT = """
import json
import pyarrow as pa

def to_arrow(result):
    for method in ("toArrow", "to_arrow_table", "to_arrow"):
        if hasattr(result, method):
            return getattr(result, method)()
    return result if isinstance(result, pa.Table) else pa.Table.from_pandas(result)

def report(result):
    table = to_arrow(result)
    [name] = [each for each in table.column_names if "timestamp" in each]
    times = table.column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    keys = [map(str, table.column(each).to_pylist()) for each in ("symbol", "interval")]
    return sorted(zip(*keys, times))

print(json.dumps([report(result) for result in (whole, one, day, newest)]))
"""

# The rows of a join, in the order of its columns.
REPORT_JOIN = """
import json

def rows(result):
    columns = result.columns
    values = result.fetchall() if hasattr(result, "fetchall") else result.rows()
    return [dict(zip(columns, [str(row[0]), *row[1:]])) for row in values]

print(json.dumps([rows(result) for result in (closes, shared, pair)]))
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, market_url: str) -> Path:
    """A working directory with a lake in it; the market's time is 2026-11-18 15:00 UTC."""
    path = tmp_path_factory.mktemp("reader")
    series = [*SERIES, *((symbol, "1d") for symbol in OPENS if (symbol, "1d") not in SERIES)]
    requests = [HistoryRequest(symbol, interval, bars_count=5_000) for symbol, interval in series]
    for request, table in TradingViewResource(ws_url=market_url).fetch(requests):
        BarStore(path / "lake").upsert(request.symbol, request.interval, table)
    codecs = [pq.read_metadata(file).row_group(0).column(1).compression for file in (path / "lake").rglob("*.parquet")]
    assert set(codecs) == {"LZ4", "ZSTD"}, "both are to be read"
    return path


def run(code: str, directory: Path, *options: str) -> str:
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(store: BarStore) -> list[list[list[object]]]:
    """What the four questions of each block are to find."""
    found = store.scan().read_all()
    times = found.column("timestamp").cast("int64").to_pylist()
    rows = sorted(zip(found.column("symbol").to_pylist(), found.column("interval").to_pylist(), times, strict=True))
    whole = [list(row) for row in rows]
    first, last = (int(datetime(2026, 11, day, tzinfo=timezone.utc).timestamp() * 1e6) for day in (17, 18))
    newest = {(symbol, interval): time for symbol, interval, time in rows}
    return [
        whole,
        [row for row in whole if row[:2] == ["NASDAQ:AAPL", "1m"]],
        [row for row in whole if row[1] == "1m" and first <= int(str(row[2])) < last],
        [[*series, time] for series, time in sorted(newest.items())],
    ]


@pytest.mark.parametrize("engine", [FRAMES, "DuckDB", "Polars", "pandas", "pyarrow.dataset", "Spark", OTHERS])
def test_every_engine_finds_what_the_store_has(engine: str, directory: Path) -> None:
    module = MODULES.get(engine, "pyarrow")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: the block {engine} of docs/reading.md was not run")
    options = [] if engine == "Spark" else ["-W", "error"]
    printed = run(BLOCKS[engine] + REPORT, directory, *options)
    wanted = expected(BarStore(directory / "lake"))
    assert all(wanted)
    assert json.loads(printed.splitlines()[-1]) == wanted


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than exchange_calendars
@pytest.mark.parametrize("title", ["Trading days", "Trading days in Polars"])
def test_daily_bars_of_one_trading_day_stand_beside_each_other(title: str, directory: Path) -> None:
    closes, shared, pair = json.loads(run(BLOCKS[title] + REPORT_JOIN, directory, "-W", "error").splitlines()[-1])
    store = BarStore(directory / "lake")
    by_open = {
        symbol: dict(zip(*store.read(symbol, "1d").select(["timestamp", "close"]).to_pydict().values(), strict=True))
        for symbol in OPENS
    }
    days = [date.fromisoformat(row["trading_day"]) for row in closes]
    assert days == sorted(set(days)), "one row a day"
    assert sum(value is not None for row in closes for value in row.values()) == len(days) + sum(
        map(len, by_open.values())
    )
    for day, row in zip(days, closes, strict=True):
        for symbol, (zone, clock, evenings) in OPENS.items():
            opened = datetime.combine(day - timedelta(days=evenings), clock, ZoneInfo(zone))
            assert row[symbol] == by_open[symbol].get(opened.astimezone(timezone.utc)), (day, symbol)
    # All four trade on each day of the New York exchanges; that of the market's time is not over.
    calendar = exchange_calendars.get_calendar("XNYS", start="2024-01-01", end="2026-11-17")
    wanted = [str(session.date()) for session in calendar.sessions]
    assert [row["trading_day"] for row in shared if row["trading_day"] >= "2024"] == wanted
    assert shared == [row for row in closes if None not in row.values()]
    sides = [
        {"trading_day": row["trading_day"], "aapl": row["NASDAQ:AAPL"], "gold": row["COMEX:GC1!"]} for row in closes
    ]
    assert pair == [row for row in sides if None not in row.values()]


def test_the_table_of_opens_is_what_the_market_serves(directory: Path) -> None:
    table = re.findall(r"^\| `([A-Z:0-9!]+)` \| (\w+), (\d\d:\d\d) \| (2026-11-17) \|$", PAGE, re.MULTILINE)
    rows = BarStore(directory / "lake").scan(OPENS, "1d").read_all().to_pylist()
    found = [
        (row["symbol"], f"{row['timestamp']:%A}", f"{row['timestamp']:%H:%M}", str(row["trading_day"]))
        for row in rows
        if row["trading_day"] == date(2026, 11, 17)
    ]
    assert sorted(table) == found


@pytest.mark.parametrize("title", ["tv_etl", "The panel"])
def test_our_own_blocks_run(title: str, directory: Path) -> None:
    assert run(BLOCKS[title], directory, "-W", "error")


def test_every_block_is_run_by_a_test() -> None:
    days = ["Trading days", "Trading days in Polars"]
    engines = [FRAMES, *list(MODULES)[:3], "pyarrow.dataset", "Spark", OTHERS]
    assert list(BLOCKS) == ["tv_etl", *engines, *days, "The panel"]
    assert PAGE.count("```python") == len(BLOCKS)
