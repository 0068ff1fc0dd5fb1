"""What is downstream of an asset of tv_etl runs with it once all that was selected is stored, and not before."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_run
from dagster._core.execution.plan.state import KnownExecutionState

from tv_etl.orchestration.bars import build_bars_asset
from tv_etl.orchestration.bars_config import MAX_RETRIES
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.resources import BarStoreResource, TradingViewResource
from tv_etl.tradingview.errors import NoBarsError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import QUIET, materializations
from tv_etl_tests.patience import HANG_S

GROUP = Group(symbols=["NASDAQ:AAPL", "NASDAQ:NDX"], intervals=["1m"], initial_bars=100, check_each_run=True)
AAPL, NDX = "1m|NASDAQ:AAPL", "1m|NASDAQ:NDX"
BARS = dg.AssetKey("bars")

pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`:dagster.BetaWarning")


def build_sma(group: Group = GROUP) -> dg.AssetsDefinition:
    """An asset of somebody's own, of the same partitions."""

    @dg.asset(deps=["bars"], partitions_def=series_partitions(group), backfill_policy=dg.BackfillPolicy.single_run())
    def sma() -> None: ...

    return sma


def run(
    instance: dg.DagsterInstance,
    lake: Path,
    tradingview: TradingViewResource,
    *,
    keys: list[str] | None = None,
    group: Group = GROUP,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """One run of bars and what is downstream, over the partitions from the first key to the last, or without any."""
    return dg.materialize(
        [build_bars_asset(group), build_sma(group)],
        instance=instance,
        tags=range_tags(keys) if keys else None,
        resources={"tradingview": tradingview, "bar_store": BarStoreResource(base=str(lake))},
        run_config={**QUIET, "ops": {"bars": {"config": config}}},
        raise_on_error=False,
    )


def reported(result: dg.ExecuteInProcessResult, step: str) -> list[tuple[str | None, bool]]:
    """The materializations of a step, sorted: of which partition each is, and whether it says what came of it."""
    found = [
        (event.partition, "series" in event.step_materialization_data.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.step_key == step
    ]
    return sorted(found, key=str)


@pytest.mark.parametrize("keys", [[AAPL], [AAPL, NDX]])
def test_it_runs_when_all_selected_partitions_are_stored(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, keys: list[str]
) -> None:
    """The second run finds nothing new, and a partition that is asked for by itself is told of all the same."""
    for _ in range(2):
        result = run(instance, tmp_path, TradingViewResource(market_url), keys=keys)
        assert result.success
        assert reported(result, "bars") == [(key, True) for key in keys]
        assert reported(result, "sma") == [(key, False) for key in keys]
    latest = instance.get_latest_storage_id_by_partition(BARS, dg.DagsterEventType.ASSET_MATERIALIZATION)
    judged = {each.partition: each.target_materialization_data for each in result.get_asset_check_evaluations()}
    assert {key: each and each.storage_id for key, each in judged.items()} == latest


def test_it_runs_in_a_run_that_names_its_partitions_by_config(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    """Of what is not new such a run writes no materialization, and never one of no partition.

    To Dagster it has no partitions: what is downstream has none either.
    """

    @dg.asset(deps=["bars"])
    def report() -> None: ...

    definitions = dg.Definitions.merge(
        build_definitions(Watchlist(groups=[GROUP]), tmp_path, ws_url=market_url),
        dg.Definitions(assets=[report], jobs=[dg.define_asset_job("mine", selection=["bars", "report"])]),
    )
    told: tuple[tuple[list[str], list[str]], ...] = ([NDX], [NDX]), ([], [AAPL]), ([], [])
    for only, keys in told:
        result = definitions.resolve_job_def("mine").execute_in_process(
            instance=instance, run_config={**QUIET, "ops": {"bars": {"config": {"only": only}}}}
        )
        assert reported(result, "bars") == [(key, True) for key in keys]
        assert reported(result, "report") == [(None, False)]
    assert instance.get_materialized_partitions(BARS) == {AAPL, NDX}


def test_it_does_not_run_when_a_series_failed(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NASDAQ:NOPE"]})
    keys = series_partitions(group).get_partition_keys()
    result = run(instance, tmp_path, TradingViewResource(market_url), keys=[*keys], group=group)
    assert result.is_node_failed("bars") and result.is_node_untouched("sma")
    assert reported(result, "bars") == [(AAPL, True)]


@dataclass(frozen=True)
class LateTradingView(TradingViewResource):
    """It has no bars of one symbol the first time that it is asked for it."""

    late: str = ""
    asked: list[str] = field(default_factory=list)

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request, result in super().fetch(requests):
            is_late = request.symbol == self.late and request.symbol not in self.asked
            self.asked.append(request.symbol)
            yield request, NoBarsError("no bars in time") if is_late else result


def test_it_runs_after_the_try_that_succeeds(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tv_etl.orchestration.bars.RETRY_POLICY", dg.RetryPolicy(max_retries=MAX_RETRIES))
    tradingview = LateTradingView(market_url, late="NASDAQ:NDX")
    result = run(instance, tmp_path, tradingview, keys=[AAPL, NDX])
    assert result.success
    assert len([event for event in result.all_events if event.is_step_restarted]) == 1
    assert sorted(tradingview.asked) == ["NASDAQ:AAPL", "NASDAQ:NDX", "NASDAQ:NDX"]
    assert reported(result, "bars") == [(AAPL, True), (NDX, True)]
    assert reported(result, "sma") == [(AAPL, False), (NDX, False)]


def test_a_re_execution_from_failure_runs_it_alone(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    faults = [dg.Failure("a fault of its own")]

    @dg.asset(deps=["bars"], partitions_def=series_partitions(GROUP), backfill_policy=dg.BackfillPolicy.single_run())
    def sma() -> None:
        if faults:
            raise faults.pop()

    job = dg.Definitions.merge(
        build_definitions(Watchlist(groups=[GROUP]), tmp_path, ws_url=market_url),
        dg.Definitions(assets=[sma], jobs=[dg.define_asset_job("mine", selection=["bars", "sma"])]),
    ).resolve_job_def("mine")
    tags = range_tags([AAPL])
    first = job.execute_in_process(instance=instance, tags=tags, run_config=QUIET, raise_on_error=False).dagster_run
    # As the button of the interface does.
    steps, known = KnownExecutionState.build_resume_retry_reexecution(instance, first)
    plan = create_execution_plan(job, QUIET, step_keys_to_execute=steps, known_state=known, tags=tags)
    child = instance.create_run_for_job(
        job, plan, run_config=QUIET, tags=first.tags, root_run_id=first.run_id, parent_run_id=first.run_id
    )
    execute_run(InMemoryJob(job), child, instance)
    told = instance.get_records_for_run(child.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS).records
    assert [each.event_log_entry.step_key for each in told] == ["sma"]


def test_it_runs_by_an_automation_condition_after_runs_that_have_left_it_out(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    """Once for each partition that is stored, and not again after a run of both."""

    @dg.asset(
        deps=["bars"], partitions_def=series_partitions(GROUP), automation_condition=dg.AutomationCondition.eager()
    )
    def sma() -> None: ...

    lake = build_definitions(Watchlist(groups=[GROUP]), tmp_path, ws_url=market_url)
    project = dg.Definitions.merge(lake, dg.Definitions(assets=[sma]))
    seen = dg.evaluate_automation_conditions(project, instance, dg.AssetSelection.assets("sma"))

    def materialize(**config: Any) -> None:
        job = project.resolve_job_def("bars_job")
        job.execute_in_process(instance=instance, run_config={**QUIET, "ops": {"bars": {"config": config}}})

    def requested() -> set[str | None]:
        nonlocal seen
        seen = dg.evaluate_automation_conditions(project, instance, dg.AssetSelection.assets("sma"), cursor=seen.cursor)
        return set(seen.get_requested_partitions(dg.AssetKey("sma")))

    materialize(only=[NDX])
    assert requested() == {NDX}
    materialize()
    assert requested() == {AAPL}
    materialize()
    assert requested() == set()
    assert run(instance, tmp_path, TradingViewResource(market_url), keys=[AAPL, NDX]).success
    assert requested() == set()


def test_it_runs_in_memory(tmp_path: Path, market_url: str) -> None:
    lake = {"bar_store": BarStoreResource(base=str(tmp_path)), "tradingview": TradingViewResource(market_url)}
    result = dg.materialize_to_memory(
        [build_bars_asset(GROUP), build_sma()], resources=lake, partition_key=AAPL, run_config=QUIET
    )
    assert reported(result, "sma") == [(AAPL, False)]


@pytest.mark.parametrize(("name", "key"), [("bars_panel", "1m"), ("bars_daily_from_1m", "NASDAQ:AAPL")])
def test_it_runs_after_what_is_derived_as_well(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, name: str, key: str
) -> None:
    group = GROUP.model_copy(update={"panel": True, "daily_from": "1m"})
    keys = series_partitions(group).get_partition_keys()
    assert run(instance, tmp_path, TradingViewResource(market_url), keys=[*keys], group=group).success

    @dg.asset(deps=[name])
    def downstream() -> None: ...

    job = dg.Definitions.merge(
        build_definitions(Watchlist(groups=[group]), tmp_path, ws_url=market_url),
        dg.Definitions(assets=[downstream], jobs=[dg.define_asset_job("mine", selection=[name, "downstream"])]),
    ).resolve_job_def("mine")
    result = job.execute_in_process(instance=instance, tags=range_tags([key]), run_config=QUIET)
    assert result.is_node_success("downstream")
    assert list(materializations(result)) == [key, "None"]


_PROJECT = """
import dagster as dg
from tv_etl import Watchlist, build_definitions

lake = build_definitions(
    Watchlist.model_validate({{"groups": [{{"symbols": ["NASDAQ:AAPL"], "intervals": ["1m"], "initial_bars": 20}}]}}),
    "lake",
    ws_url={url!r},
)

@dg.asset(deps=["bars"], partitions_def=lake.resolve_assets_def("bars").partitions_def)
def sma() -> None:
    print("SMA RAN")

defs = dg.Definitions.merge(lake, dg.Definitions(assets=[sma]))
"""


def test_it_runs_from_the_command_line(tmp_path: Path, market_url: str) -> None:
    (tmp_path / "project.py").write_text(_PROJECT.format(url=market_url), encoding="utf-8")
    command = ["asset", "materialize", "--select", "bars,sma", "--partition", AAPL, "-f", "project.py", "-a", "defs"]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *command],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert "SMA RAN" in done.stdout + done.stderr
