"""Checks of the alerts as a whole."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.alerts.state import AlertState, Health, SymbolState
from tv_etl.alerts.store import AlertStore
from tv_etl.orchestration.alert_checks import DELIVERED, FRESH, HEARD
from tv_etl.orchestration.build import build_definitions
from tv_etl.watchlist.model import Watchlist
from tv_etl_tests.alerts.test_deliveries import HERE, make_alerts

RULES = [{"name": "a", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 1.0}]


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / ".tv_etl" / "alerts.sqlite")


def tick(store: AlertStore, judged_at: float, states: dict[str, Health] | None = None, **more: Any) -> None:
    memory = store.load()
    symbols = {symbol: SymbolState(None, (), health) for symbol, health in (states or {}).items()}
    flags = {"judged_at": str(judged_at)}
    alerts, targets = more.get("alerts", []), more.get("targets", [])
    store.commit(memory, [], memory.registry, AlertState({}, symbols), alerts, targets, judged_at, flags, {})


def checked(lake: Path) -> dict[str, dg.AssetCheckEvaluation]:
    """The verdicts of a run of the job."""
    group = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}
    watchlist = Watchlist.model_validate({"groups": [group], "alerts": {"rules": RULES}})
    job = build_definitions(watchlist, lake).resolve_job_def("alerts_check_job")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_all_is_well(tmp_path: Path, store: AlertStore) -> None:
    tick(store, time.time(), {"NASDAQ:AAPL": Health("ok", 0.0, ""), "LSE:VODL": Health("late", 0.0, "15 minutes")})
    assert {name: each.passed for name, each in checked(tmp_path).items()} == {
        FRESH: True,
        DELIVERED: True,
        HEARD: True,
    }


def test_rules_that_nobody_judges_are_not_fresh(tmp_path: Path, store: AlertStore) -> None:
    assert "never been judged" in str(checked(tmp_path)[FRESH].description)
    tick(store, time.time() - 7_200)
    found = checked(tmp_path)[FRESH]
    assert not found.passed and "2 hours" in str(found.description)


def test_an_alert_that_was_given_up_is_told_with_the_way_out(tmp_path: Path, store: AlertStore) -> None:
    tick(store, time.time(), alerts=make_alerts(2), targets=[HERE])
    store.mark_dead(store.pending(1.0), 1.0, "HTTP 410")
    found = checked(tmp_path)[DELIVERED]
    assert not found.passed and "tv-etl alerts resend" in str(found.description)
    assert "HTTP 410" in str(found.metadata["given up"].value)
    store.resend()
    assert checked(tmp_path)[DELIVERED].passed


def test_a_symbol_without_data_is_named(tmp_path: Path, store: AlertStore) -> None:
    tick(store, time.time(), {"A:B": Health("ok", 0.0, ""), "C:D": Health("refused", 0.0, "invalid symbol")})
    found = checked(tmp_path)[HEARD]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["symbols"].value == {"C:D": "refused: invalid symbol"}
