"""Asset checks of the `bars` assets: what is wrong with a stored series, and what to do about it.

Each is evaluated for a partition when it is stored, by the run that stores it, or alone on what is stored.
"""

import warnings

import dagster as dg

from tv_etl.bar_store import BarStore
from tv_etl.partitions import partition_key, series_partitions
from tv_etl.watchlist import Group

OHLC_CONSISTENT = "ohlc_consistent"

_SHOWN_BARS = 20


def check_specs(group: Group) -> list[dg.AssetCheckSpec]:
    """The checks on every partition of a group's asset."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                OHLC_CONSISTENT,
                asset=group.name,
                partitions_def=series_partitions(group),
                description=(
                    "The low and high of every bar enclose its open and close. A bar that fails is kept in quarantine, "
                    "outside the dataset: fetch its time again by a run with `refetch`, `start` and `end`; a sound "
                    "version replaces it."
                ),
            )
        ]


def evaluate(store: BarStore, asset_key: dg.AssetKey, symbol: str, interval: str) -> list[dg.AssetCheckEvaluation]:
    """Judge a series as it is stored. Raises as `BarStore.read` does."""
    return [_ohlc_consistent(store, asset_key, symbol, interval)]


def _ohlc_consistent(store: BarStore, asset_key: dg.AssetKey, symbol: str, interval: str) -> dg.AssetCheckEvaluation:
    kept_out = store.quarantine(symbol, interval)
    metadata: dict[str, dg.MetadataValue | int] = {"bars in quarantine": kept_out.num_rows}
    if kept_out.num_rows:
        rows = kept_out.slice(0, _SHOWN_BARS).to_pylist()
        records = [dg.TableRecord({name: str(value) for name, value in row.items()}) for row in rows]
        metadata[f"the first {len(rows)}"] = dg.MetadataValue.table(records)
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=OHLC_CONSISTENT,
        partition=partition_key(symbol, interval),
        passed=kept_out.num_rows == 0,
        metadata=metadata,
    )
