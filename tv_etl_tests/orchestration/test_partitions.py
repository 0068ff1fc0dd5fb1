"""Partition keys and the series they stand for."""

from tv_etl.orchestration.partitions import partition_key, range_tags, series_of, series_partitions
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

GROUP = Group(symbols=["NSE:M&M", "NASDAQ:AAPL", "COMEX:GC1!"], intervals=["1d", "1m"])


def test_there_is_a_partition_for_each_series() -> None:
    keys = series_partitions(GROUP).get_partition_keys()
    assert [series_of(key) for key in keys] == [
        Series.of(symbol, interval) for interval in ("1d", "1m") for symbol in GROUP.symbols
    ]


def test_a_key_reads_back() -> None:
    assert partition_key(Series.of("NSE:M&M", "1d")) == "1d|NSE:M&M"
    assert series_of("1d|NSE:M&M") == Series.of("NSE:M&M", "1d")


def test_the_partitions_of_an_interval_are_one_range() -> None:
    keys = series_partitions(GROUP).get_partition_keys()
    tags = range_tags(key for key in keys if series_of(key).interval.token == "1m")
    first, last = (keys.index(tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    assert [series_of(key).interval.token for key in keys[first : last + 1]] == ["1m"] * 3
