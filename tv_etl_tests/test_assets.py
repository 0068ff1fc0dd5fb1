"""The bars asset in a real Dagster instance, on a real market, into a real lake."""

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from tv_etl.bar_store import BarStore
from tv_etl.definitions import build_definitions
from tv_etl.partitions import range_tags, series_partitions
from tv_etl.tradingview.intervals import Interval
from tv_etl.watchlist import Group, Watchlist

GROUP = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT", "NASDAQ:NDX"], intervals=["1d", "1m"], initial_bars=100)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


def run(
    instance: dg.DagsterInstance,
    lake: Path,
    url: str,
    group: Group = GROUP,
    *,
    keys: list[str] | None = None,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """One run over the partitions from the first key to the last; all of them by default."""
    definitions = build_definitions(Watchlist(groups=[group]), lake, ws_url=url)
    selected = series_partitions(group).get_partition_keys() if keys is None else keys
    return definitions.resolve_job_def("bars_job").execute_in_process(
        instance=instance,
        tags=range_tags(selected) if selected else None,
        run_config={**QUIET, "ops": {"bars": {"config": config}}},
        raise_on_error=False,
    )


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        assert materialization.partition not in found
        found[str(materialization.partition)] = {key: each.value for key, each in materialization.metadata.items()}
    return found


def test_one_run_stores_and_reports_every_series(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    result = run(instance, tmp_path, market_url)
    assert result.success
    reported = materializations(result)
    assert sorted(reported) == sorted(series_partitions(GROUP).get_partition_keys())
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == set(reported)
    minutes = reported["1m|BINANCE:BTCUSDT"]
    # The newest of the hundred is forming and is not stored.
    assert (minutes["rows added"], minutes["dagster/partition_row_count"], minutes["reach"]) == (99, 99, "complete")
    assert (minutes["completeness"], minutes["gaps"]) == (1.0, 0)
    assert Path(minutes["dagster/uri"]).is_dir()
    closes_before = datetime(2026, 11, 18, 15, 0, tzinfo=timezone.utc)
    watermark = BarStore(tmp_path).watermark("BINANCE:BTCUSDT", "1m")
    assert watermark is not None
    assert watermark < closes_before
    assert BarStore(tmp_path).read("NASDAQ:NDX", "1m")["volume"].null_count == 99


def test_a_second_run_adds_only_what_is_new(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str
) -> None:
    run(instance, tmp_path, market_url)
    again = materializations(run(instance, tmp_path, market_url))
    assert {each["rows added"] for each in again.values()} == {0}
    later = materializations(run(instance, tmp_path, later_market_url))
    added = {key: each["rows added"] for key, each in later.items()}
    assert added == {key: 5 if key.startswith("1m") else 0 for key in added}
    assert {each["rows revised"] for each in later.values()} == {0}
    assert {each["rows in overlap"] for key, each in later.items() if key.startswith("1m")} == {6}
    files = f"{tmp_path}/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT count(*), count(DISTINCT timestamp) FROM '{files}'").fetchall()
    assert rows == [(104, 104)]


def test_a_bad_symbol_fails_alone_by_name(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NASDAQ:NOPE", "FAULT:SERIES_ERROR", "NASDAQ:NDX"]})
    result = run(instance, tmp_path, market_url, group)
    assert not result.success
    good = {f"{interval}|{symbol}" for interval in ("1d", "1m") for symbol in ("NASDAQ:AAPL", "NASDAQ:NDX")}
    assert set(materializations(result)) == good
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == good
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    reasons = {key: str(each.value) for key, each in failure.user_failure_data.metadata.items()}
    assert set(reasons) == {
        f"{interval}|{symbol}" for interval in ("1d", "1m") for symbol in ("NASDAQ:NOPE", "FAULT:SERIES_ERROR")
    }
    assert reasons["1d|NASDAQ:NOPE"] == "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol"
    assert "internal error" in reasons["1m|FAULT:SERIES_ERROR"]
    # What the server refuses for good is not asked for again.
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert BarStore(tmp_path).series() == [(each.split("|")[1], _interval(each)) for each in sorted(good, key=_order)]


def _interval(key: str) -> Interval:
    return Interval.parse(key.split("|")[0])


def _order(key: str) -> tuple[str, int]:
    return key.split("|")[1], _interval(key).seconds


def test_a_backfill_stores_exactly_its_range(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    start, end = "2026-11-16T15:00:00Z", "2026-11-16T15:30:00+00:00"
    keys = ["1m|NASDAQ:AAPL", "1m|BINANCE:BTCUSDT"]
    result = run(instance, tmp_path, market_url, keys=keys, start=start, end=end)
    assert result.success
    for symbol in ("NASDAQ:AAPL", "BINANCE:BTCUSDT"):
        times = BarStore(tmp_path).read(symbol, "1m")["timestamp"].to_pylist()
        assert len(times) == 30
        assert (times[0].isoformat(), times[-1].isoformat()) == (
            "2026-11-16T15:00:00+00:00",
            "2026-11-16T15:29:00+00:00",
        )


def test_scattered_partitions_are_one_run_by_config(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    only = ["1d|NASDAQ:NDX", "1m|NASDAQ:AAPL"]
    result = run(instance, tmp_path, market_url, keys=[], only=only)
    assert result.success
    assert sorted(materializations(result)) == only


@pytest.mark.parametrize(
    ("config", "words"),
    [({"start": "yesterday"}, "'yesterday' is no time"), ({"end": "2026-01-01"}, "no time with a zone"),
     ({"only": ["1d|NASDAQ:NOPE"]}, "1d|NASDAQ:NOPE is no partition")],
)  # fmt: skip
def test_bad_run_config_is_named_and_not_tried_again(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, config: dict[str, Any], words: str
) -> None:
    result = run(instance, tmp_path, market_url, **config)
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.error is not None
    assert words in failure.error.message
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_a_damaged_file_fails_its_series_and_is_not_read_as_empty(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    run(instance, tmp_path, market_url)
    damaged = next(BarStore(tmp_path).path("NASDAQ:AAPL", "1d").glob("*.parquet"))
    os.truncate(damaged, damaged.stat().st_size // 2)
    result = run(instance, tmp_path, market_url)
    assert len(materializations(result)) == 5
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    reason = failure.user_failure_data.metadata["1d|NASDAQ:AAPL"].value
    assert str(damaged) in str(reason)


def test_symbols_that_one_path_would_hold_fail_alone(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    """They differ in case only, which some file systems do not tell apart."""
    run(instance, tmp_path, market_url)
    path = BarStore(tmp_path).path("NASDAQ:AAPL", "1d")
    path.rename(path.with_name("symbol=NASDAQ%3Aaapl"))
    result = run(instance, tmp_path, market_url)
    assert len(materializations(result)) == 5
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "NASDAQ:aapl" in str(failure.user_failure_data.metadata["1d|NASDAQ:AAPL"].value)
