"""Partitions of a group: symbol × interval, one partition per series."""

from collections.abc import Iterable

import dagster as dg

from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

SYMBOL = "symbol"
INTERVAL = "interval"


def series_partitions(group: Group) -> dg.MultiPartitionsDefinition:
    """Every series of the group; keys read `1d|NASDAQ:AAPL`, since Dagster orders the dimensions by name.

    The symbols of a group that a scanner feeds are known to the Dagster instance only.
    """
    return dg.MultiPartitionsDefinition(
        {
            INTERVAL: dg.StaticPartitionsDefinition(group.intervals),
            SYMBOL: found_symbols(group) if group.scanner else dg.StaticPartitionsDefinition(group.symbols),
        }
    )


def found_symbols(group: Group) -> dg.DynamicPartitionsDefinition:
    """The symbols that a scanner has found for the group, the newest last."""
    return dg.DynamicPartitionsDefinition(name=f"{group.qualified_name}_symbols")


def symbols_of(group: Group, instance: dg.DagsterInstance) -> list[str]:
    """The symbols of the group now: those listed in the watchlist, or those found so far."""
    if group.scanner is None:
        return group.symbols
    return list(found_symbols(group).get_partition_keys(dynamic_partitions_store=instance))


def partition_key(series: Series) -> str:
    """The key of a series."""
    return str(dg.MultiPartitionKey({INTERVAL: series.interval.token, SYMBOL: series.symbol}))


def series_of(key: str) -> Series:
    """The series of a partition key."""
    interval, symbol = key.split("|", 1)
    return Series.of(symbol, interval)


def range_tags(keys: Iterable[str]) -> dict[str, str]:
    """Run tags that select the contiguous partitions from the first key to the last."""
    ordered = list(keys)
    return {
        "dagster/asset_partition_range_start": ordered[0],
        "dagster/asset_partition_range_end": ordered[-1],
    }
