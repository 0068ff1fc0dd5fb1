"""Closes of many symbols side by side, by trading day; one that fails does not stop the others."""

from tv_etl.lake import BarStore
from tv_etl.tradingview import HistoryRequest
from tv_etl.tradingview.blocking import fetch_history

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT", "COMEX:GC1!", "BINANCE:BTCUSDT", "NASDAQ:NOSUCH"]

store = BarStore("lake_of_days")
for request, result in fetch_history(HistoryRequest(symbol, "1d", bars_count=300) for symbol in SYMBOLS):
    if isinstance(result, Exception):
        print(f"{request}: {result}")
    else:
        store.upsert(request.symbol, request.interval, result)
days = store.scan(SYMBOLS, "1d").read_all().to_pandas()
closes = days.pivot(index="trading_day", columns="symbol", values="close").dropna()
print(closes.tail(5).to_string())
print(closes.pct_change().corr().round(2).to_string())
