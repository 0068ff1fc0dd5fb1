"""The checks of the bars asset, on bars that a market really served."""

from datetime import datetime, timezone
from pathlib import Path

import dagster as dg

from tv_etl.definitions import build_definitions
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.server import serve_in_thread
from tv_etl.partitions import range_tags
from tv_etl.watchlist import Group, Watchlist
from tv_etl_tests.lake_runs import FIRST, QUIET, materializations, minute_rows, replay, run

GROUP = Group(symbols=["NASDAQ:SPLT"], intervals=["1m"], initial_bars=100)
KEY = "1m|NASDAQ:SPLT"


def test_a_broken_bar_fails_the_check_of_its_partition(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    rows = minute_rows(300)
    broken = [*rows[:200], (rows[200][0], 100.0, 90.0, 110.0, 100.0, 5.0), *rows[201:]]
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "broken", broken, "1"), clock=clock) as server:
        result = run(instance, lake, server.url, GROUP)
    assert materializations(result)[KEY]["rows in quarantine"] == 1
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.partition, evaluation.passed) == ("ohlc_consistent", KEY, False)
    shown = evaluation.metadata["the first 1"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert (shown.records[0].data["high"], shown.records[0].data["low"]) == ("90.0", "110.0")
    with serve_in_thread(replay(tmp_path / "sound", rows, "1"), clock=clock) as server:
        start = datetime.fromtimestamp(rows[200][0], tz=timezone.utc)
        result = run(instance, lake, server.url, GROUP, start=start.isoformat(), refetch=True)
    assert materializations(result)[KEY]["rows added"] == 1
    assert [each.passed for each in result.get_asset_check_evaluations()] == [True]


def test_checks_alone_fetch_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "market", minute_rows(300), "1"), clock=clock) as server:
        run(instance, tmp_path / "lake", server.url, GROUP)
    definitions = build_definitions(Watchlist(groups=[GROUP]), tmp_path / "lake", ws_url="ws://127.0.0.1:1/")
    job = definitions.resolve_implicit_global_asset_job_def()
    checks = job.get_subset(asset_check_selection={dg.AssetCheckKey(dg.AssetKey("bars"), "ohlc_consistent")})
    done = checks.execute_in_process(instance=instance, tags=range_tags([KEY]), run_config=QUIET)
    assert done.success
    assert not done.get_asset_materialization_events()
    assert [(each.partition, each.passed) for each in done.get_asset_check_evaluations()] == [(KEY, True)]
