"""README's own set-up: everything is killed in mid-run, and what was under way is collected after all."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.lost_runs import LOOK_S, SILENT_LOOKS
from tv_etl_tests.dagster_dev import CHECKOUT, CountingMarket, DagsterDev, prepare, started_dev
from tv_etl_tests.patience import HANG_S, wait_until

pytest.importorskip("dagster_webserver")
pytestmark = pytest.mark.slow

# Of two of them a bar closes every minute.
SYMBOLS = [*islice(rule_symbols(), 10), "BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]
GROUP = {"name": "bars", "symbols": SYMBOLS, "intervals": ["1m"], "initial_bars": 50, "schedules": {"1m": "* * * * *"}}


def runs(dev: DagsterDev) -> list[dict[str, Any]]:
    """All runs, the oldest first."""
    text = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
    found: list[dict[str, Any]] = dev.query(text)["runsOrError"]["results"]
    return [{**each, "tags": {tag["key"]: tag["value"] for tag in each["tags"]}} for each in reversed(found)]


def is_of_tick(run: Mapping[str, Any]) -> bool:
    """True unless it repeats another one."""
    return "dagster/schedule_name" in run["tags"] and "dagster/parent_run_id" not in run["tags"]


def test_what_a_killed_run_was_fetching_is_fetched_by_the_next_tick(tmp_path: Path) -> None:
    home = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text(encoding="utf-8"))
    directory, market = tmp_path / "dagster", CountingMarket()
    with serve_in_thread(market, ServerOptions()) as server:
        environment = prepare(directory, server.url, {"groups": [GROUP]}, home)
        with market.standing_still_after(5) as stands_still, started_dev(directory, environment) as dev:
            dev.start_schedule("bars_1m")
            assert stands_still.wait(HANG_S)
            [died] = [run for run in runs(dev) if run["status"] == "STARTED"]
            dev.kill()
        with started_dev(directory, environment) as dev:
            assert {run["runId"]: run["status"] for run in runs(dev)}[died["runId"]] == "STARTED"

            def is_given_up() -> bool:
                return died["runId"] in {run["runId"] for run in runs(dev) if run["status"] == "FAILURE"}

            wait_until(is_given_up, "the run is marked as failed", after_s=(SILENT_LOOKS + 1) * LOOK_S)
            [failure] = dev.events(died["runId"], "RunFailureEvent")
            assert "No sign of life for 3 minutes: the process of this run has died" in failure["message"]

            def is_repeated() -> bool:
                return any(run["status"] == "SUCCESS" and not is_of_tick(run) for run in runs(dev))

            def has_gone_on() -> bool:
                return any(run["status"] == "SUCCESS" and is_of_tick(run) for run in runs(dev))

            wait_until(is_repeated, "Dagster repeats the run, which has its place in the pool")
            wait_until(has_gone_on, "a tick plans the series again, and its run succeeds")
            stored = {symbol for symbol, _ in BarStore(dev.lake).series()}
            assert stored == set(SYMBOLS)
            states = dev.partition_states()
            assert (states["numMaterialized"], states["numFailed"]) == (len(SYMBOLS), 0)
