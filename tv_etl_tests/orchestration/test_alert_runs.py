"""Runs that alerts start."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.state import AlertState
from tv_etl.alerts.store import AlertStore
from tv_etl.orchestration.alert_runs import MOST_RUNS, build_alert_runs
from tv_etl.orchestration.build import build_definitions
from tv_etl.watchlist.model import Watchlist

AAPL, COIN = "NASDAQ:AAPL", "BINANCE:BTCUSDT"
GROUP = {"name": "us", "symbols": [AAPL], "intervals": ["1m", "1d"]}


@dg.op
def note() -> None:
    """What somebody wants to happen."""


@dg.job
def rebalance() -> None:
    note()


@dg.asset
def signals() -> None:
    """An asset without partitions."""


@dg.asset(partitions_def=dg.StaticPartitionsDefinition([AAPL]))
def by_symbol() -> None:
    """One of each symbol."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


def rule(name: str, run: Any, symbol: str = AAPL, **more: Any) -> dict[str, Any]:
    return {"name": name, "symbol": symbol, "kind": "above", "level": 1.0, "run": run, **more}


def definitions(lake: Path, *rules: dict[str, Any]) -> dg.Definitions:
    """A project with a job and assets of its own beside a watchlist's."""
    watchlist = Watchlist.model_validate({"groups": [GROUP], "alerts": {"rules": list(rules)}})
    own = dg.Definitions(jobs=[rebalance], assets=[signals, by_symbol])
    return dg.Definitions.merge(build_definitions(watchlist, lake), own)


def found(lake: Path, *alerts: tuple[str, str, str], at: float = 4e9) -> None:
    """A tick that found alerts `(event id, rule, kind)` of AAPL."""
    store = AlertStore(lake / ".tv_etl" / "alerts.sqlite")
    memory = store.load()
    events = [Alert(event_id, name, AAPL, kind, 1.0, 2.0, 60, at) for event_id, name, kind in alerts]  # type: ignore[arg-type]
    store.commit(memory, [], memory.registry, AlertState(), events, [], 4e9, {}, {})


def look(instance: dg.DagsterInstance, defs: dg.Definitions, cursor: str | None = None) -> Any:
    """One evaluation of the sensor as the daemon would make it."""
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("alert_runs")
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=repository, resources=defs.resources
    ) as context:
        return sensor.evaluate_tick(context)


def test_an_event_starts_the_job_that_its_rule_names_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    defs = definitions(tmp_path, rule("a", "rebalance"), rule("b", "rebalance"), {**rule("c", None), "run": None})
    found(tmp_path, ("e1", "a", "above"), ("e2", "c", "above"))
    first = look(instance, defs)
    [request] = first.run_requests
    assert (request.job_name, request.run_key, request.partition_key) == ("rebalance", "e1", None)
    assert request.tags["tv_etl/rule"] == "a" and request.tags["tv_etl/symbol"] == AAPL
    assert look(instance, defs, first.cursor).run_requests == []
    found(tmp_path, ("e3", "b", "above"))
    assert [each.run_key for each in look(instance, defs, first.cursor).run_requests] == ["e3"]
    # Killed before the cursor was kept: the same keys again, which Dagster launches once.
    assert [each.run_key for each in look(instance, defs).run_requests] == ["e1", "e3"]


def test_a_sensor_that_is_switched_on_later_starts_nothing_for_what_is_old(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    defs = definitions(tmp_path, rule("a", "rebalance"))
    for number in range(MOST_RUNS + 20):
        found(tmp_path, (f"old{number}", "a", "above"), at=1e9)
    first = look(instance, defs)
    assert first.run_requests == []
    assert look(instance, defs, first.cursor).run_requests == []
    found(tmp_path, ("new", "a", "above"))
    assert [each.run_key for each in look(instance, defs, first.cursor).run_requests] == ["new"]


def test_assets_of_one_last_name_have_jobs_of_their_own(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lists = [["x/signals"], ["y/signals"], ["signals"], ["x_signals"], ["x", "signals"]]
    named = [rule(f"r{number}", {"assets": keys}) for number, keys in enumerate(lists)]
    watchlist = Watchlist.model_validate({"groups": [GROUP], "alerts": {"rules": named}})
    _, jobs = build_alert_runs(watchlist.alerts)
    assert len({job.name for job in jobs}) == 5
    assert {"alert_run_signals", "alert_run_x_signals"} <= {job.name for job in jobs}


def test_what_is_told_of_a_symbol_or_is_over_starts_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    defs = definitions(tmp_path, rule("a", "rebalance"))
    found(tmp_path, ("e1", "a", "resolved"), ("e2", "a", "no data"), ("e3", "", "blind"))
    result = look(instance, defs)
    assert result.run_requests == [] and result.cursor == "1"


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")  # Dagster's own, of two dimensions
def test_an_asset_with_partitions_gets_that_of_the_series_or_of_the_symbol(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    daily = rule("b", {"assets": ["us"]}, on="close", interval="1d")
    rules = [
        rule("a", {"assets": ["us"]}),
        daily,
        rule("c", {"assets": ["by_symbol"]}),
        rule("d", {"assets": ["signals"]}),
    ]
    defs = definitions(tmp_path, *rules)
    found(tmp_path, *((name, name, "above") for name in "abcd"))
    requests = {each.run_key: each for each in look(instance, defs).run_requests}
    keys = {name: request.partition_key for name, request in requests.items()}
    assert keys == {"a": f"1m|{AAPL}", "b": f"1d|{AAPL}", "c": AAPL, "d": None}
    assert requests["d"].job_name == "alert_run_signals"


def test_a_symbol_that_has_no_partition_keeps_no_other_from_its_run(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    watched = rule("a", {"assets": ["by_symbol"]}, symbols=[AAPL, COIN])
    del watched["symbol"]
    defs = definitions(tmp_path, watched, rule("b", "rebalance"))
    store = AlertStore(tmp_path / ".tv_etl" / "alerts.sqlite")
    memory = store.load()
    events = [Alert(f"e{n}", "a", symbol, "above", 1.0, 2.0, 60, 4e9) for n, symbol in enumerate((COIN, AAPL))]
    store.commit(memory, [], memory.registry, AlertState(), events, [], 4e9, {}, {})
    assert [each.run_key for each in look(instance, defs).run_requests] == ["e1"]


@pytest.mark.parametrize("run", ["no_such_job", {"assets": ["no_such_asset"]}])
def test_a_name_that_nothing_has_fails_at_load(tmp_path: Path, run: Any) -> None:
    with pytest.raises(Exception, match="no_such"):
        dg.Definitions.validate_loadable(definitions(tmp_path, rule("a", run)))


def test_rules_that_start_nothing_make_no_sensor() -> None:
    alerts = Watchlist.model_validate(
        {"groups": [GROUP], "alerts": {"rules": [{**rule("a", None), "run": None}]}}
    ).alerts
    assert build_alert_runs(alerts) == ([], [])
