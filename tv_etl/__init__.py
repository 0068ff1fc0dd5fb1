"""A market-data lake on Dagster: TradingView bars as partitioned Parquet, kept up to date, with alerts.

Importing the package imports nothing else. What defines a code location can be imported from here and is loaded on
first use; take the rest from its packages, for example `from tv_etl.tradingview.ohlcv import OHLCV` or
`from tv_etl.lake import BarStore`.
"""

_MODULE_OF = {
    "TradingViewComponent": "orchestration.component",
    "build_definitions": "orchestration.build",
    "load_watchlist": "watchlist.model",
    "Watchlist": "watchlist.model",
    "WatchlistError": "watchlist.model",
}

TYPE_CHECKING = False  # type checkers know the name, and `typing` stays unimported
if TYPE_CHECKING:
    from tv_etl.orchestration.build import build_definitions as build_definitions
    from tv_etl.orchestration.component import TradingViewComponent as TradingViewComponent
    from tv_etl.watchlist.model import Watchlist as Watchlist
    from tv_etl.watchlist.model import WatchlistError as WatchlistError
    from tv_etl.watchlist.model import load_watchlist as load_watchlist

__version__ = "0.1.0"
__all__ = ["TradingViewComponent", "Watchlist", "WatchlistError", "build_definitions", "load_watchlist"]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    # The registry of components looks for them here.
    return sorted({*globals(), *__all__})
