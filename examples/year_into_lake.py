"""Daily bars since the beginning of a year into a lake, and that year read back."""

from datetime import datetime, timezone

from tv_etl.lake import BarStore
from tv_etl.tradingview import HistoryRequest
from tv_etl.tradingview.blocking import fetch_history

start, end = datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, tzinfo=timezone.utc)
store = BarStore("lake")
for request, result in fetch_history([HistoryRequest("NASDAQ:AAPL", "1d", start=start)]):
    if isinstance(result, Exception):
        raise SystemExit(f"{request}: {result}")
    commit = store.upsert(request.symbol, request.interval, result)
    print(f"{request}: {commit.added} bars added, {commit.unchanged} known before")  # run it again: no bar comes twice
bars = store.read("NASDAQ:AAPL", "1d", start=start, end=end).to_pandas()
print(f"{len(bars)} bars in {start.year}, low {bars['low'].min()}, high {bars['high'].max()}")
