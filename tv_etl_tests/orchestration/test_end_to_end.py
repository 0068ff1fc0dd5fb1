"""Real bars, replayed by the market server, arrive in the lake bit for bit.

Set TV_ETL_MARKET_DATA to a directory of more CSV files (EXCHANGE_TICKER_INTERVAL.csv) to replay those as well.
"""

import csv
import os
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayMarket
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest

FOLDERS = [Path(__file__).parents[1] / "recordings" / "market"]
if "TV_ETL_MARKET_DATA" in os.environ:
    FOLDERS.append(Path(os.environ["TV_ETL_MARKET_DATA"]))

Row = tuple[int, float, float, float, float, float | None]


def rows_of(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (
                int(row["timestamp"]),
                float(row["open"]),
                float(row["high"]),
                float(row["low"]),
                float(row["close"]),
                float(row["volume"]) if row.get("volume") else None,
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_replayed_bars_arrive_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    paths = {}
    for path in folder.glob("*.csv"):
        exchange, ticker, interval = path.stem.split("_")
        paths[f"{exchange}:{ticker}", Interval.parse(interval).token] = path
    store = BarStore(tmp_path)
    requests = [HistoryRequest(symbol, interval) for symbol, interval in paths]
    with serve_in_thread(ReplayMarket(folder, Market())) as server:
        for request, table in TradingViewResource(ws_url=server.url).fetch(requests):
            commit = store.upsert(request.symbol, request.interval, table)
            assert commit.added == len(rows_of(paths[request.symbol, request.width.token]))
    for (symbol, interval), path in paths.items():
        query = (
            "SELECT epoch_us(timestamp) // 1000000, open, high, low, close, volume "
            f"FROM read_parquet('{tmp_path}/ohlcv/**/*.parquet', hive_partitioning = true) "
            "WHERE symbol = ? AND interval = ? ORDER BY timestamp"
        )
        with duckdb.connect() as connection:
            assert connection.execute(query, [symbol, interval]).fetchall() == rows_of(path)
        frame = pl.scan_parquet(tmp_path / "ohlcv", hive_partitioning=True)
        volumes = frame.filter(symbol=symbol, interval=interval).sort("timestamp").collect()["volume"]
        assert volumes.to_list() == [row[5] for row in rows_of(path)]
