"""The table that people read."""

from pathlib import Path

import pytest
from rich.console import Console

from tv_etl.bar_store import BarStore
from tv_etl.resources import TradingViewResource
from tv_etl.status import series_table
from tv_etl.tradingview.models import HistoryRequest


def test_each_series_is_one_row_of_eighty_characters(
    tmp_path: Path, market_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = BarStore(tmp_path)
    requests = [
        HistoryRequest(symbol, interval, bars_count=1_500)
        for symbol in ("BINANCE:BTCUSDT", "NASDAQ:AAPL")
        for interval in ("1d", "1m")
    ]
    for request, table in TradingViewResource(ws_url=market_url).fetch(requests):
        store.upsert(request.symbol, request.interval, table)
    Console(width=80).print(series_table(store))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(requests)
    row = next(line for line in lines if "BINANCE:BTCUSDT" in line and " 1m " in line)
    times = ["2026-11-17", "14:01", "2026-11-18", "14:59"]
    assert row.split() == ["BINANCE:BTCUSDT", "1m", "1,499", *times, "100.00%", "0"]
