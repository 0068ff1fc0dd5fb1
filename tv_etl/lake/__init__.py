"""The lake, usable alone: plain hive Parquet of bars, kept up to date by one verb, `BarStore.upsert`.

The face is loaded on first use: pyarrow takes a while to import.
"""

TYPE_CHECKING = False  # type checkers know the name, and `typing` stays unimported
if TYPE_CHECKING:
    from tv_etl.lake.errors import AsOfError as AsOfError
    from tv_etl.lake.errors import BadBarsError as BadBarsError
    from tv_etl.lake.errors import BarStoreError as BarStoreError
    from tv_etl.lake.errors import DamagedFileError as DamagedFileError
    from tv_etl.lake.errors import NewerFormatError as NewerFormatError
    from tv_etl.lake.errors import NoLakeError as NoLakeError
    from tv_etl.lake.errors import NoSeamError as NoSeamError
    from tv_etl.lake.errors import NoSeriesError as NoSeriesError
    from tv_etl.lake.errors import NotJoinedError as NotJoinedError
    from tv_etl.lake.errors import ReadjustedError as ReadjustedError
    from tv_etl.lake.errors import SettingsError as SettingsError
    from tv_etl.lake.errors import StoreBusyError as StoreBusyError
    from tv_etl.lake.errors import StoreReadError as StoreReadError
    from tv_etl.lake.errors import StoreWriteError as StoreWriteError
    from tv_etl.lake.store import BarStore as BarStore
    from tv_etl.lake.store import SeriesSummary as SeriesSummary
    from tv_etl.lake.upsert import Commit as Commit

_MODULE_OF = {
    "BarStore": "store",
    "SeriesSummary": "store",
    "Commit": "upsert",
    "AsOfError": "errors",
    "BadBarsError": "errors",
    "BarStoreError": "errors",
    "DamagedFileError": "errors",
    "NewerFormatError": "errors",
    "NoLakeError": "errors",
    "NoSeamError": "errors",
    "NoSeriesError": "errors",
    "NotJoinedError": "errors",
    "ReadjustedError": "errors",
    "SettingsError": "errors",
    "StoreBusyError": "errors",
    "StoreReadError": "errors",
    "StoreWriteError": "errors",
}
__all__ = [
    "AsOfError",
    "BadBarsError",
    "BarStore",
    "BarStoreError",
    "Commit",
    "DamagedFileError",
    "NewerFormatError",
    "NoLakeError",
    "NoSeamError",
    "NoSeriesError",
    "NotJoinedError",
    "ReadjustedError",
    "SeriesSummary",
    "SettingsError",
    "StoreBusyError",
    "StoreReadError",
    "StoreWriteError",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
