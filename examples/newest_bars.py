"""The newest bars of a symbol as a data frame."""

from tv_etl.tradingview import HistoryRequest
from tv_etl.tradingview.blocking import fetch_history

for request, result in fetch_history([HistoryRequest("NASDAQ:AAPL", "1d", bars_count=30)]):
    if isinstance(result, Exception):
        raise SystemExit(f"{request}: {result}")
    frame = result.to_pandas().set_index("timestamp")  # or polars.from_arrow(result); the last bar may be forming
    print(frame.tail(5).to_string())
