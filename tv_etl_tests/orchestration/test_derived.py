"""The derived assets as Dagster makes them, from a lake that its own runs have filled."""

import time
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.lake.derived.panel import refresh_panel
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.derived import build_daily, daily_store, no_empty_day
from tv_etl.orchestration.partitions import range_tags
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series
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
    check: str = "",
) -> dg.ExecuteInProcessResult:
    """One run of a derived asset, or of one of its checks alone; it can reach no server."""
    definitions = build_definitions(Watchlist(groups=[group]), lake, ws_url="ws://127.0.0.1:1/")
    job = definitions.resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(name)
    checks = {dg.AssetCheckKey(key, check)}
    subset = job.get_subset(asset_check_selection=checks) if check else job.get_subset(asset_selection={key})
    return subset.execute_in_process(instance=instance, tags=range_tags(keys), run_config=QUIET, raise_on_error=False)


def metadata_by_partition(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    events = [each.step_materialization_data.materialization for each in result.get_asset_materialization_events()]
    return {str(each.partition): {name: value.value for name, value in each.metadata.items()} for each in events}


def evaluations(result: dg.ExecuteInProcessResult, check: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Those of a check by partition."""
    return {str(each.partition): each for each in result.get_asset_check_evaluations() if each.check_name == check}


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
    checks = evaluations(result, "matches_tradingview")
    assert {symbol: each.passed for symbol, each in checks.items()} == dict.fromkeys(GROUP.symbols, True)
    assert "not asked for from 2026-11-18 15:00 UTC on" in str(found["NASDAQ:AAPL"])
    again = metadata_by_partition(derive(instance, lake, "bars_daily_from_5m", GROUP.symbols))
    assert {each["rows added"] for each in again.values()} == {0}


def test_built_days_of_evening_and_morning_stand_beside_each_other(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    symbols = ["COMEX:GC1!", "FX:EURUSD", "NASDAQ:AAPL"]
    group = Group(symbols=symbols, intervals=["1h"], initial_bars=300, panel=True, daily_from="1h")
    assert run(instance, tmp_path / "lake", market_url, group).success
    assert derive(instance, tmp_path / "lake", "bars_daily_from_1h", symbols, group=group).success
    assert derive(instance, tmp_path / "lake", "bars_panel", ["1h"], group=group).success
    store = daily_store(BarStore(tmp_path / "lake"), "1h")
    days: dict[date, list[tuple[str, str]]] = {}
    for row in store.scan().read_all().to_pylist():
        days.setdefault(row["trading_day"], []).append((row["symbol"], f"{row['timestamp']:%d %H:%M}"))
    assert days[date(2026, 11, 17)] == [
        ("COMEX:GC1!", "16 23:00"), ("FX:EURUSD", "16 22:00"), ("NASDAQ:AAPL", "17 14:30"),
    ]  # fmt: skip
    assert days[date(2026, 11, 16)][:2] == [("COMEX:GC1!", "15 23:00"), ("FX:EURUSD", "15 22:00")], "on Sunday evening"
    assert all(len(found) <= 3 and day.isoweekday() < 6 for day, found in days.items())
    panel = pq.read_table(tmp_path / "lake/bars_panel").select(["symbol", "trading_day", "timestamp", "close"])
    for symbol in symbols:  # the close of a day is that of the last bar with that trading day
        hours = [row for row in panel.to_pylist() if row["symbol"] == symbol]
        closes = {row["trading_day"]: row["close"] for row in sorted(hours, key=lambda row: row["timestamp"])}
        built = store.scan(symbol).read_all().to_pylist()
        assert {row["trading_day"]: row["close"] for row in built}.items() <= closes.items()
    [written] = refresh_panel(store, "1d").written
    beside = pq.ParquetFile(written).read()
    assert {each.as_py() for each in beside["trading_day"]} == days.keys()


def test_days_that_differ_are_shown_and_warn(instance: dg.DagsterInstance, lake: Path) -> None:
    store = BarStore(lake)
    table = store.read("NASDAQ:AAPL", "1d")
    changed = table.slice(table.num_rows - 3, 1)
    highs = [changed["high"][0].as_py() + 1.0]
    facts = {f"tv_etl.{name}": text for name, text in store.facts("NASDAQ:AAPL", "1d").items()}
    changed = changed.set_column(2, changed.schema.field(2), [highs])
    store.upsert("NASDAQ:AAPL", "1d", changed.replace_schema_metadata(facts | {"tv_etl.forming_from": ""}))
    result = derive(instance, lake, "bars_daily_from_5m", ["NASDAQ:AAPL"], check="matches_tradingview")
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
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    check = found["matches_tradingview"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == f"no day is built, and none compared: {UNSEEN_PROBLEM}"
    assert not found["no_empty_day"].passed


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


EMPTY = "no_empty_day"
HOURS = '{"session": "0930-1600", "timezone": "America/New_York"}'


def put_days(store: BarStore, days: list[int], *, asked: list[tuple[int, int]], hours: str = HOURS) -> None:
    """Hours of sessions of November 2026 in New York, and the days that were asked for, the last one included."""
    opens = [datetime(2026, 11, day, hour, 30, tzinfo=timezone.utc) for day in days for hour in range(14, 21)]
    columns = [pa.array(opens, BAR_SCHEMA.field(0).type), *[pa.array([1.0] * len(opens))] * 5]
    for begin, end in asked:
        span = [datetime(2026, 11, day, tzinfo=timezone.utc).timestamp() for day in (begin, end + 1)]
        facts = {"forming_from": "", "asked_from": f"{span[0]:.0f}", "asked_until": f"{span[1]:.0f}"}
        facts |= {"trading_hours": hours} if hours else {}
        schema = BAR_SCHEMA.with_metadata({f"tv_etl.{name}": text for name, text in facts.items()})
        store.upsert("NASDAQ:AAPL", "1h", pa.Table.from_arrays(columns, schema=schema))


@pytest.mark.parametrize(
    ("days", "asked", "hours", "verdict", "words"),
    [
        ([16, 17, 18], [(16, 18)], HOURS, "PASS", "every day has 1h bars"),
        ([16, 18], [(16, 18)], HOURS, "WARN", "1 days have nothing to be built of: 2026-11-17; the server had no bar"),
        ([16, 18], [(16, 16), (18, 18)], HOURS, "ERROR", "built of: 2026-11-17; not asked for from 2026-11-17 14:30"),
        ([16, 17], [(16, 17)], HOURS, "ERROR", "1 days have nothing to be built of: 2026-11-18; not asked for from"),
        (
            [16, 17],
            [(16, 17)],
            "",
            "ERROR",
            "built of: 2026-11-17, 2026-11-16; cannot be judged: the server told no trading hours",
        ),
        ([], [], HOURS, "ERROR", "nothing is built: no 1h bar of a trading day of NASDAQ:AAPL is stored"),
    ],
    ids=["whole", "silent", "not asked", "stopped", "no hours", "nothing"],
)
def test_a_day_of_nothing_is_not_green(
    tmp_path: Path, days: list[int], asked: list[tuple[int, int]], hours: str, verdict: str, words: str
) -> None:
    store, series = BarStore(tmp_path), Series.of("NASDAQ:AAPL", "1h")
    put_days(store, days, asked=asked, hours=hours)
    built = build_daily(store, series, until=int(datetime(2026, 11, 19, tzinfo=timezone.utc).timestamp()))
    found = no_empty_day(dg.AssetKey("us_daily_from_1h"), series, built)
    assert ("PASS" if found.passed else found.severity.value) == verdict, found.description
    assert words in str(found.description)


def test_days_of_nothing_fail_the_partition_as_dagster_shows_it(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT"], intervals=["1h"], daily_from="1h", initial_bars=100)
    store, name = BarStore(tmp_path), "bars_daily_from_1h"
    put_days(store, [16, 17], asked=[(16, 17)], hours="")
    now = int(time.time())
    with serve_in_thread(options=ServerOptions(clock=MarketClock(now, speed=0))) as server:
        assert run(instance, tmp_path, server.url, group, keys=["1h|BINANCE:BTCUSDT"]).success
    result = derive(instance, tmp_path, name, group.symbols, group=group)
    assert result.success
    assert {symbol: each.passed for symbol, each in evaluations(result, EMPTY).items()} == {
        "NASDAQ:AAPL": False,
        "BINANCE:BTCUSDT": True,
    }
    assert metadata_by_partition(result)["NASDAQ:AAPL"]["days of nothing"] == 2
    checks = instance.event_log_storage.get_asset_check_partition_info([dg.AssetCheckKey(dg.AssetKey(name), EMPTY)])
    shown = {each.partition_key: (each.latest_execution_status.value, each.is_current) for each in checks}
    assert shown == {"NASDAQ:AAPL": ("FAILED", True), "BINANCE:BTCUSDT": ("SUCCEEDED", True)}
    alone = derive(instance, tmp_path, name, ["NASDAQ:AAPL"], group=group, check=EMPTY)
    assert not alone.get_asset_materialization_events()
    assert evaluations(alone, EMPTY)["NASDAQ:AAPL"].severity == dg.AssetCheckSeverity.ERROR


def test_the_panel_holds_the_symbols_of_the_group_at_an_interval(instance: dg.DagsterInstance, lake: Path) -> None:
    result = derive(instance, lake, "bars_panel", ["1d", "5m"])
    assert result.success
    found = metadata_by_partition(result)
    assert set(found) == {"1d", "5m"}
    files = sorted((lake / "bars_panel/interval=5m").iterdir())
    assert found["5m"]["files written"] == len(files) and found["5m"]["files unchanged"] == 0
    assert found["5m"]["dagster/uri"] == str(lake / "bars_panel/interval=5m")
    bars = pq.ParquetFile(files[-1]).read()
    assert set(bars["symbol"].to_pylist()) == set(GROUP.symbols)
    again = metadata_by_partition(derive(instance, lake, "bars_panel", ["5m"]))
    assert again["5m"]["files written"] == 0 and again["5m"]["files unchanged"] == len(files)


def test_the_panels_of_two_groups_have_their_own_symbols_and_files(instance: dg.DagsterInstance, lake: Path) -> None:
    us = Group(name="us", symbols=["NASDAQ:AAPL", "NASDAQ:MSFT"], intervals=["5m", "1h"], panel=True)
    coins = Group(name="coins", symbols=["BINANCE:BTCUSDT"], intervals=["5m"], panel=True)
    for group in (us, coins):
        assert derive(instance, lake, f"{group.name}_panel", ["5m"], group=group).success
    again = metadata_by_partition(derive(instance, lake, "us_panel", ["5m"], group=us))
    assert (again["5m"]["files written"], again["5m"]["symbols"]) == (0, 1)
    assert again["5m"]["symbols not stored"] == "NASDAQ:MSFT"
    for name, symbol in (("us_panel", "NASDAQ:AAPL"), ("coins_panel", "BINANCE:BTCUSDT")):
        panel = pq.read_table(lake / name)
        assert set(panel["symbol"].to_pylist()) == {symbol}
        assert len(panel) == BarStore(lake).summary(symbol, "5m").rows


def test_a_panel_of_nothing_is_not_green(instance: dg.DagsterInstance, lake: Path) -> None:
    us = Group(name="us", symbols=["NASDAQ:AAPL"], intervals=["1h", "5m"], panel=True)
    result = derive(instance, lake, "us_panel", ["1h", "5m"], group=us)
    assert not result.success
    assert set(metadata_by_partition(result)) == {"5m"}
    [failure] = result.get_step_failure_events()
    assert "1h: no bars of us are stored at that interval: fetch them first" in str(
        failure.step_failure_data.user_failure_data
    )


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


def test_a_day_without_a_figure_is_no_day_of_nothing(tmp_path: Path) -> None:
    """Daily data, though hours were asked for: a day has a point or has none."""
    store, series = BarStore(tmp_path), Series.of("NASDAQ:AAPL", "1h")
    put_days(store, [16, 18], asked=[(16, 18)])
    opens = [datetime(2026, 11, 19, 14, 30, tzinfo=timezone.utc)]
    columns = [pa.array(opens, BAR_SCHEMA.field(0).type), *[pa.array([1.0])] * 5]
    facts = {"tv_etl.forming_from": "", "tv_etl.data_frequency": "1D"}
    store.upsert(*series, pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata(facts)))
    built = build_daily(store, series, until=int(datetime(2026, 11, 19, tzinfo=timezone.utc).timestamp()))
    assert [len(built.bars), *(each.is_silent for each in built.unbuilt)] == [2, False]
    assert str(built.unbuilt[0].day) == "2026-11-19", "which nobody asked for"
