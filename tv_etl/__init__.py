"""A market-data lake on Dagster: TradingView bars as partitioned Parquet, kept up to date, with alerts.

Importing the package imports nothing else. What defines a code location can be imported from here and is loaded on
first use; take the rest from its modules, for example `from tv_etl.tradingview.ohlcv import OHLCV` or
`from tv_etl.bar_store import BarStore`.
"""

_MODULE_OF = {
    "TradingViewComponent": "component",
    "build_definitions": "definitions",
    "load_watchlist": "watchlist",
    "Watchlist": "watchlist",
    "WatchlistError": "watchlist",
}

TYPE_CHECKING = False  # type checkers know the name, and `typing` stays unimported
if TYPE_CHECKING:
    from tv_etl.component import TradingViewComponent as TradingViewComponent
    from tv_etl.definitions import build_definitions as build_definitions
    from tv_etl.watchlist import Watchlist as Watchlist
    from tv_etl.watchlist import WatchlistError as WatchlistError
    from tv_etl.watchlist import load_watchlist as load_watchlist

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
