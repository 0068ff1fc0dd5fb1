"""The derived assets as Dagster makes them, from a lake that its own runs have filled."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.derived import build_derived_assets, daily_store
from tv_etl.orchestration.partitions import range_tags
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import QUIET, UNSEEN, UNSEEN_PROBLEM, market_of_unseen_hours, run

GROUP = Group(
    symbols=["NASDAQ:AAPL", "NASDAQ:NDX", "BINANCE:BTCUSDT"],
    intervals=["1d", "5m"],
    initial_bars=3_000,
    panel=True,
    daily_from="5m",
)


def derive(
    instance: dg.DagsterInstance,
    lake: Path | str,
    name: str,
    keys: list[str],
    *,
    group: Group = GROUP,
    checks_only: bool = False,
) -> dg.ExecuteInProcessResult:
    """One run of a derived asset; it can reach no server."""
    definitions = build_definitions(Watchlist(groups=[group]), lake, ws_url="ws://127.0.0.1:1/")
    job = definitions.resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(name)
    check = {dg.AssetCheckKey(key, "matches_tradingview")}
    subset = job.get_subset(asset_check_selection=check) if checks_only else job.get_subset(asset_selection={key})
    return subset.execute_in_process(instance=instance, tags=range_tags(keys), run_config=QUIET, raise_on_error=False)


def metadata_by_partition(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    events = [each.step_materialization_data.materialization for each in result.get_asset_materialization_events()]
    return {str(each.partition): {name: value.value for name, value in each.metadata.items()} for each in events}


@pytest.fixture
def lake(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> Path:
    """A lake with the bars of the group."""
    assert run(instance, tmp_path / "lake", market_url, GROUP).success
    return tmp_path / "lake"


def test_days_built_from_minutes_match_tradingview(instance: dg.DagsterInstance, lake: Path) -> None:
    result = derive(instance, lake, "bars_daily_from_5m", GROUP.symbols)
    assert result.success
    found = metadata_by_partition(result)
    assert set(found) == set(GROUP.symbols)
    for symbol in GROUP.symbols:
        built = daily_store(BarStore(lake), "5m").read(symbol, "1d")
        assert built.num_rows == found[symbol]["rows added"] == found[symbol]["dagster/partition_row_count"] > 8
        theirs = BarStore(lake).read(symbol, "1d")
        assert set(built["timestamp"].to_pylist()) <= set(theirs["timestamp"].to_pylist())
        assert found[symbol]["days not wholly stored"] >= 1, "that of the last bar is not over"
    checks = {each.partition: each for each in result.get_asset_check_evaluations()}
    assert {symbol: each.passed for symbol, each in checks.items()} == dict.fromkeys(GROUP.symbols, True)
    assert "not asked for from 2026-11-18 15:00 UTC on" in str(found["NASDAQ:AAPL"])
    again = metadata_by_partition(derive(instance, lake, "bars_daily_from_5m", GROUP.symbols))
    assert {each["rows added"] for each in again.values()} == {0}


def test_days_that_differ_are_shown_and_warn(instance: dg.DagsterInstance, lake: Path) -> None:
    store = BarStore(lake)
    table = store.read("NASDAQ:AAPL", "1d")
    changed = table.slice(table.num_rows - 3, 1)
    highs = [changed["high"][0].as_py() + 1.0]
    facts = {f"tv_etl.{name}": text for name, text in store.facts("NASDAQ:AAPL", "1d").items()}
    changed = changed.set_column(2, changed.schema.field(2), [highs])
    store.upsert("NASDAQ:AAPL", "1d", changed.replace_schema_metadata(facts | {"tv_etl.forming_from": ""}))
    result = derive(instance, lake, "bars_daily_from_5m", ["NASDAQ:AAPL"], checks_only=True)
    assert not result.get_asset_materialization_events()
    [check] = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["days that differ"].value == 1
    assert check.metadata["high differs"].value == 1
    assert str(highs[0]) in str(check.metadata["the last 1 differences"])


def test_days_that_nobody_can_judge_are_named(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    group = Group(symbols=[UNSEEN], intervals=["1d", "5m"], initial_bars=150, daily_from="5m")
    with market_of_unseen_hours() as server:
        assert run(instance, tmp_path / "lake", server.url, group).success
    result = derive(instance, tmp_path / "lake", "bars_daily_from_5m", [UNSEEN], group=group)
    assert result.success
    shown = metadata_by_partition(result)[UNSEEN]
    assert (shown["days not judged"], shown["days not wholly stored"], shown["rows added"]) == (3, 0, 0)
    rows = [record.data for record in shown["the last 3 not built"].records]
    assert [row["day"] for row in rows] == ["2026-11-16", "2026-11-17", "2026-11-18"]
    assert {row["why"] for row in rows} == {f"cannot be judged: {UNSEEN_PROBLEM}"}
    [check] = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == f"no day is built, and none compared: {UNSEEN_PROBLEM}"


def test_a_damaged_series_fails_alone(instance: dg.DagsterInstance, lake: Path) -> None:
    [path] = (lake / "ohlcv/interval=5m/symbol=NASDAQ%3ANDX").glob("*.parquet")
    path.write_bytes(b"no parquet")
    result = derive(instance, lake, "bars_daily_from_5m", GROUP.symbols)
    assert not result.success
    assert set(metadata_by_partition(result)) == {"NASDAQ:AAPL", "BINANCE:BTCUSDT"}
    [failure] = result.get_step_failure_events()
    assert "NASDAQ:NDX" in str(failure.step_failure_data.user_failure_data)


def test_days_are_kept_on_s3_beside_the_lake(instance: dg.DagsterInstance, s3_lake: str, market_url: str) -> None:
    assert run(instance, s3_lake, market_url, GROUP, keys=["5m|NASDAQ:AAPL"]).success
    result = derive(instance, s3_lake, "bars_daily_from_5m", ["NASDAQ:AAPL"])
    assert result.success
    assert BarStore(f"{s3_lake}/daily_from_5m").summary("NASDAQ:AAPL", "1d").rows > 8
    refused = derive(instance, s3_lake, "bars_panel", ["5m"])
    [failure] = refused.get_step_failure_events()
    assert "a panel is kept in a directory of this host only" in str(failure.step_failure_data.error)


def test_the_panel_holds_all_symbols_of_an_interval(instance: dg.DagsterInstance, lake: Path) -> None:
    result = derive(instance, lake, "bars_panel", ["1d", "5m"])
    assert result.success
    found = metadata_by_partition(result)
    assert set(found) == {"1d", "5m"}
    files = sorted((lake / "panel/interval=5m").iterdir())
    assert found["5m"]["files written"] == len(files) and found["5m"]["files unchanged"] == 0
    bars = pq.ParquetFile(files[-1]).read()
    assert set(bars["symbol"].to_pylist()) == set(GROUP.symbols)
    again = metadata_by_partition(derive(instance, lake, "bars_panel", ["5m"]))
    assert again["5m"]["files written"] == 0 and again["5m"]["files unchanged"] == len(files)


def test_they_are_downstream_of_the_bars_in_runs_of_their_own() -> None:
    definitions = build_definitions(Watchlist(groups=[GROUP]), "lake")
    graph = definitions.resolve_asset_graph()
    for name in ("bars_panel", "bars_daily_from_5m"):
        node = graph.get(dg.AssetKey(name))
        assert node.parent_keys == {dg.AssetKey("bars")}
        assert node.automation_condition is not None
        assert node.partitions_def != graph.get(dg.AssetKey("bars")).partitions_def
    assert definitions.resolve_job_def("bars_job").asset_layer.executable_asset_keys == {dg.AssetKey("bars")}


def test_a_group_that_a_scanner_feeds_has_days_for_what_was_found(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    fields = {"symbols": {"scanner": {"market": "america"}}, "intervals": ["1d", "5m"], "daily_from": "5m"}
    group = Group.model_validate({**fields, "initial_bars": 1_000})
    instance.add_dynamic_partitions("bars_symbols", ["NASDAQ:AAPL"])
    keys = ["5m|NASDAQ:AAPL"]
    assert run(instance, tmp_path / "lake", market_url, group, keys=keys).success
    result = derive(instance, tmp_path / "lake", "bars_daily_from_5m", ["NASDAQ:AAPL"], group=group)
    assert set(metadata_by_partition(result)) == {"NASDAQ:AAPL"}


def test_they_are_made_once_after_each_tick_when_new_bars_have_come(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    definitions = build_definitions(Watchlist(groups=[GROUP]), tmp_path / "lake")
    requested: list[dict[str, set[str]]] = []
    cursor = None
    names = ("bars_panel", "bars_daily_from_5m")
    for minute, has_new_bars in ((0, False), (20, False), (25, True), (30, True)):
        if has_new_bars:
            assert run(instance, tmp_path / "lake", market_url, GROUP, keys=["5m|NASDAQ:AAPL"]).success
        result = dg.evaluate_automation_conditions(
            definitions,
            instance,
            asset_selection=dg.AssetSelection.assets(*names),
            evaluation_time=datetime(2026, 11, 18, 18, minute, tzinfo=timezone.utc),
            cursor=cursor,
        )
        cursor = result.cursor
        requested.append({name: {*map(str, result.get_requested_partitions(dg.AssetKey(name)))} for name in names})
    nothing: dict[str, set[str]] = {"bars_panel": set(), "bars_daily_from_5m": set()}
    wanted = {"bars_panel": {"5m"}, "bars_daily_from_5m": {"NASDAQ:AAPL"}}
    assert requested == [nothing, nothing, wanted, nothing]


def test_a_group_has_them_only_where_they_are_switched_on() -> None:
    group = GROUP.model_copy(update={"panel": False, "daily_from": None})
    assert build_derived_assets(group) == []
    minutes_alone = Group(symbols=["NASDAQ:AAPL"], intervals=["5m"], daily_from="5m")
    [daily] = build_derived_assets(minutes_alone)
    assert not list(daily.check_specs), "without TradingView's days there is nothing to compare with"


@pytest.mark.parametrize(
    ("daily_from", "reason"), [("1m", "1m is not among the intervals"), ("1d", "1d is not shorter than a day")]
)
def test_days_are_built_from_intervals_that_are_collected(daily_from: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Group(symbols=["NASDAQ:AAPL"], intervals=["1d", "5m"], daily_from=daily_from)
