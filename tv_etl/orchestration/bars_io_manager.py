"""Loads what the lake holds of a partition for assets of one's own, such as `def sma(bars: pd.DataFrame)`.

It only loads: the run of an asset has stored its bars itself, and what it hands on is None.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from tv_etl.orchestration.partitions import series_of
from tv_etl.orchestration.resources import BarStoreResource

if TYPE_CHECKING:
    import pyarrow as pa

    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.series import Series

# The key of the resource, which has the scope of its lake.
BARS_IO_MANAGER = "bars_io_manager"

# Metadata of an asset: the folder of the lake that its bars are in, which says what its partitions are.
DATASET = "tv_etl/dataset"
OHLCV, DAILY = "ohlcv", "daily_from_"

# Metadata of an input, of the same name and meaning as for the IO managers of Dagster that keep files.
ALLOW_MISSING = "allow_missing_partitions"

_NAMED = 5


class PartitionsNotStoredError(LookupError):
    """The lake has no bar of partitions that an asset is to be made from; `keys` are theirs."""

    def __init__(self, asset_key: dg.AssetKey, base: str, keys: Sequence[str], asked: int) -> None:
        name, more = asset_key.to_user_string(), len(keys) - _NAMED
        which = f"{', '.join(keys[:_NAMED])}{f' and {more:,} more' if more > 0 else ''}"
        advice = f"materialize {'it' if asked == 1 else 'them'} first"
        if asked > 1:
            which = f"{len(keys):,} of {asked:,} partitions: {which}"
            advice += f", or give the input the metadata {{{ALLOW_MISSING!r}: True}} to go without"
        super().__init__(f"{base} has no bars of {name}, {which}; {advice}")
        self.asset_key = asset_key
        self.keys = keys


class BarsIOManager(dg.IOManager):
    """Loads partitions of bars, panels and daily bars as what the input is annotated with.

    That is a pyarrow.Table (also without an annotation), pandas.DataFrame, polars.DataFrame or polars.LazyFrame, with
    the columns of `BarStore.scan`, of however many partitions: one after the other, by symbol, width and time; a panel
    in its own order. Without a partition it is all of them.

    Raises TypeError for another annotation, PartitionsNotStoredError where nothing is stored of a partition, unless
    the metadata of the input has `allow_missing_partitions`, and as `BarStore.read` does.
    """

    def __init__(self, bar_store: BarStoreResource) -> None:
        self.bar_store = bar_store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Raises DagsterInvariantViolationError for anything but None."""
        if obj is not None:
            name = context.asset_key.to_user_string() if context.has_asset_key else context.name
            raise dg.DagsterInvariantViolationError(
                f"{name}: BarsIOManager cannot store {type(obj).__name__}: it "
                "only loads bars from the lake; give the asset an io_manager_key of your own"
            )

    def load_input(self, context: dg.InputContext) -> object:
        # Definitions load without pyarrow.
        from tv_etl.lake.frames import frame_maker

        kind: object = context.dagster_type.typing_type
        make = frame_maker(kind)
        if make is None:
            raise TypeError(
                f"{context.asset_key.to_user_string()} cannot be loaded as {_name(kind)}: annotate the input with "
                "pyarrow.Table, pandas.DataFrame, polars.DataFrame or polars.LazyFrame, or not at all, which is a "
                "pyarrow.Table, of one partition and of several alike"
            )
        keys = _keys(context)
        table, missing = self._read(_dataset(context), keys)
        if missing and not (context.definition_metadata or {}).get(ALLOW_MISSING):
            raise PartitionsNotStoredError(context.asset_key, self.bar_store.base, missing, len(keys))
        if missing:
            context.log.warning(f"{len(missing):,} of {len(keys):,} partitions are not stored, and left out")
        return make(table)

    def _read(self, dataset: str, keys: Sequence[str]) -> "tuple[pa.Table, list[str]]":
        """The bars of the partitions, and the keys of those that have none."""
        import pyarrow as pa

        from tv_etl.lake.derived.panel import read_panel
        from tv_etl.lake.scan import SCAN_SCHEMA
        from tv_etl.lake.store import BarStore
        from tv_etl.tradingview.series import Series

        store = self.bar_store.store()
        if dataset.startswith(DAILY):
            return _read_series(BarStore(f"{store.base}/{dataset}"), {Series.of(key, "1d"): key for key in keys})
        if dataset == OHLCV:
            return _read_series(store, {series_of(key): key for key in keys})
        panels = {key: read_panel(store, key, name=dataset) for key in keys}
        missing = [key for key, panel in panels.items() if not panel.num_rows]
        return pa.concat_tables([SCAN_SCHEMA.empty_table(), *panels.values()]), missing


def _read_series(store: "BarStore", keys: "Mapping[Series, str]") -> "tuple[pa.Table, list[str]]":
    import pyarrow as pa

    from tv_etl.lake.scan import SCAN_SCHEMA

    batches = [batch for batch in store.scan_series(keys) if batch.num_rows]
    # A batch has bars of one series.
    found = {(batch["symbol"][0].as_py(), batch["interval"][0].as_py()) for batch in batches}
    missing = [key for series, key in keys.items() if (series.symbol, series.interval.token) not in found]
    return pa.Table.from_batches(batches, SCAN_SCHEMA), missing


def _dataset(context: dg.InputContext) -> str:
    """The folder of the asset that is loaded; bars for an asset that somebody else has declared."""
    upstream = context.upstream_output
    return str(((upstream.definition_metadata if upstream else None) or {}).get(DATASET, OHLCV))


def _keys(context: dg.InputContext) -> list[str]:
    """The partitions that are asked for; all of the asset where none is."""
    if context.has_asset_partitions:
        return [str(key) for key in context.asset_partition_keys]
    try:
        instance = context.instance
    except dg.DagsterInvariantViolationError:
        instance = None  # as in a notebook; it only knows the symbols that a scanner has found
    return list(context.asset_partitions_def.get_partition_keys(dynamic_partitions_store=instance))


def _name(kind: object) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)
