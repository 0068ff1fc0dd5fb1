"""A run whose process died is marked as failed in minutes; one that is slow, or waits, never is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.test_utils import create_run_for_test

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.bar_source import BarSource
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.lost_runs import ALIVE, BEATS_TAG, IDLE_LOOKS, SILENT_LOOKS, build_lost_runs
from tv_etl.orchestration.schedules import partitions_under_way
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.conftest import NOW
from tv_etl_tests.dagster_dev import CountingMarket
from tv_etl_tests.lake_runs import QUIET, run
from tv_etl_tests.orchestration.test_schedules import symbols_of, tick
from tv_etl_tests.patience import wait_until

GROUP = Group(symbols=["NASDAQ:AAPL", "NSE:M&M"], intervals=["1m"], initial_bars=20)
EVENING = datetime(2026, 11, 18, 22, 0, 30, tzinfo=timezone.utc)
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


class Watcher:
    """The sensor, evaluated by the daemon look after look."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, self._cursor = instance, ""
        self.said = ""

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            with dg.build_sensor_context(instance=self._instance, cursor=self._cursor or None) as context:
                done = build_lost_runs().evaluate_tick(context)
            self._cursor, self.said = done.cursor or "", done.skip_message or ""


@contextmanager
def run_that_stops(
    instance: dg.DagsterInstance, job: dg.JobDefinition, after: str, **config: object
) -> Iterator[dg.DagsterRun]:
    """A run of which nothing more comes after an event of a type."""
    started = instance.create_run_for_job(job, run_config={**QUIET, **config})
    events = execute_run_iterator(InMemoryJob(job), started, instance)
    assert any(event.event_type_value == after for event in events)
    yield started
    # As of a process that goes on after all, so that nothing is left behind.
    list(events)


def status_of(instance: dg.DagsterInstance, started: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(started.run_id)
    assert found is not None
    return found.status


def bars_job(lake: Path, url: str = "ws://127.0.0.1:1/", group: Group = GROUP) -> dg.JobDefinition:
    return build_definitions(Watchlist(groups=[group]), lake, ws_url=url).resolve_job_def("bars_job")


def test_a_run_that_died_is_marked_as_failed_and_its_series_are_planned_again(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    watcher = Watcher(instance)
    with run_that_stops(instance, bars_job(tmp_path, market_url), "STEP_START") as died:
        # A slot of the pool that the step has claimed.
        instance.event_log_storage.set_concurrency_slots("tradingview", 1)
        instance.event_log_storage.claim_concurrency_slot("tradingview", died.run_id, "bars")
        watcher.look(SILENT_LOOKS)
        assert status_of(instance, died) == STARTED, "it has a few minutes"
        assert "runs under way are fetching them all" in str(tick(instance, tmp_path, EVENING, GROUP))
        watcher.look()
        assert status_of(instance, died) == FAILURE
        assert died.run_id in watcher.said
        [event] = instance.all_logs(died.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "No sign of life for 3 minutes: the process of this run has died" in str(event.message)
        assert instance.event_log_storage.get_concurrency_info("tradingview").active_slot_count == 0
        assert not partitions_under_way(GROUP, instance)
        assert symbols_of(tick(instance, tmp_path, EVENING, GROUP), GROUP) == GROUP.symbols
        watcher.look()
        assert watcher.said == "0 runs under way, none of them lost"


def test_a_run_that_is_slow_shows_that_it_lives(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tv_etl.orchestration.lost_runs.BEAT_S", 0.01)
    watcher = Watcher(instance)

    def is_heard(run_id: str, more_than: int) -> bool:
        found = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        return len([each for each in found if each.message == ALIVE]) > more_than

    def looks_on() -> bool:
        """From the side of the market, while it keeps the run waiting."""
        [living] = instance.get_runs(filters=dg.RunsFilter(statuses=[STARTED]))
        for beats in range(IDLE_LOOKS + 2):
            watcher.look()
            wait_until(partial(is_heard, living.run_id, beats), "the run beats")
        return status_of(instance, living) == STARTED

    class Slow(CountingMarket):
        is_watched = False

        def find(self, symbol: str, session: str = "regular", **settings: Any) -> BarSource | None:
            self.is_watched = self.is_watched or looks_on()
            return super().find(symbol, session, **settings)

    market = Slow()
    with serve_in_thread(market, ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as server:
        assert run(instance, tmp_path, server.url, GROUP).success
    assert market.is_watched


def test_a_run_that_waits_for_its_first_step_has_longer(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """In a pool, where steps wait and not runs, Dagster tells of it every five minutes."""
    watcher = Watcher(instance)
    with run_that_stops(instance, bars_job(tmp_path), "PIPELINE_START") as waiting:
        watcher.look(IDLE_LOOKS)
        assert status_of(instance, waiting) == STARTED
        watcher.look()
        assert status_of(instance, waiting) == FAILURE


def test_a_new_event_is_a_sign_of_life(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    watcher = Watcher(instance)
    with run_that_stops(instance, bars_job(tmp_path), "STEP_START") as living:
        for _ in range(4):
            watcher.look(SILENT_LOOKS)
            instance.report_engine_event(ALIVE, living)
        assert status_of(instance, living) == STARTED


def test_a_step_of_somebody_else_may_be_silent_for_as_long_as_it_likes(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def theirs() -> None: ...

    job = dg.Definitions(assets=[theirs], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    watcher = Watcher(instance)
    for after in ("PIPELINE_START", "STEP_START"):
        with run_that_stops(instance, job, after) as silent:
            watcher.look(2 * IDLE_LOOKS)
            assert status_of(instance, silent) == STARTED
    create_run_for_test(instance, job_name="bars_job", status=STARTED)
    watcher.look(2 * IDLE_LOOKS)
    assert len(instance.get_runs(filters=dg.RunsFilter(statuses=[STARTED]))) == 1, "nothing is known of its steps"


def test_every_step_of_ours_beats(tmp_path: Path) -> None:
    rule = {"name": "high", "symbol": "BINANCE:BTCUSDT", "kind": "above", "level": 1}
    group = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d", "1m"], "panel": True, "daily_from": "1m"}
    watchlist = Watchlist.model_validate({"groups": [group], "alerts": {"rules": [rule]}})
    repository = build_definitions(watchlist, tmp_path).get_repository_def()
    steps = {node.name: node.tags for job in repository.get_all_jobs() for node in job.nodes}
    assert steps.keys() == {"bars", "bars_panel", "bars_daily_from_1m", "lake", "check_alerts", "delete_old_history"}
    assert [name for name, tags in steps.items() if not BEATS_TAG.items() <= tags.items()] == []


def test_a_run_that_was_never_launched_is_given_up_unless_dagster_does_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    left = instance.create_run_for_job(bars_job(tmp_path))
    watcher = Watcher(instance)
    watcher.look(IDLE_LOOKS + 1)
    assert status_of(instance, left) == FAILURE
    with dg.instance_for_test(overrides={"run_monitoring": {"enabled": True}}) as monitored:
        left = monitored.create_run_for_job(bars_job(tmp_path))
        Watcher(monitored).look(2 * IDLE_LOOKS)
        assert status_of(monitored, left) == dg.DagsterRunStatus.NOT_STARTED
