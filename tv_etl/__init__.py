"""A market-data lake on Dagster: TradingView bars as partitioned Parquet, kept up to date, with alerts.

Importing the package imports nothing else; take what you need from its modules, for example
`from tv_etl.tradingview.ohlcv import OHLCV` or `from tv_etl.bar_store import BarStore`.
"""

__version__ = "0.1.0"
