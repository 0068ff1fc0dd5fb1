"""What is killed in mid-backfill loses nothing that it stored, claims nothing that it did not, and is made good for.

The services are those of deploy/, each a process of its own as there, with its settings of monitoring and retries on a
shorter clock. TV_ETL_KILL_ALL kills every service, not only the run.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.pace import WINDOW
from tv_etl_tests.conftest import NOW
from tv_etl_tests.dagster_dev import (
    CHECKOUT,
    INTERVALS,
    QUIET_HOME,
    CountingMarket,
    DagsterDev,
    grid_watchlist,
    prepare,
)
from tv_etl_tests.patience import PATIENCE, TEST_S, wait_until
from tv_etl_tests.processes import free_port, module_process

pytest.importorskip("dagster_webserver")
pytestmark = pytest.mark.slow

DEPLOY: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy" / "dagster.yaml").read_text(encoding="utf-8"))
SYMBOLS = list(islice(rule_symbols(), 60))
KEYS = {f"{interval}|{symbol}" for interval in INTERVALS for symbol in SYMBOLS}
KILLS_ALL = bool(os.environ.get("TV_ETL_KILL_ALL"))
# Enough for a kill to come in the middle.
LATENCY_MS = 250.0


class Services:
    """Web server, daemon and code server, each of which can be killed and started again."""

    def __init__(self, directory: Path, ws_url: str, stack: ExitStack) -> None:
        home = {
            **QUIET_HOME,
            **{name: DEPLOY[name] for name in ("concurrency", "run_queue", "run_retries", "run_launcher")},
            "run_queue": {"max_user_code_failure_retries": 5, "user_code_failure_retry_delay": 5},
            # A run that dies with its container is given up at the limit of its time.
            "run_monitoring": {
                **DEPLOY["run_monitoring"],
                "poll_interval_seconds": 3,
                "max_runtime_seconds": int(45 * PATIENCE if KILLS_ALL else TEST_S),
            },
        }
        self._environment = prepare(directory, ws_url, grid_watchlist(SYMBOLS), home)
        self._environment["DAGSTER_DAEMON_HEARTBEAT_TOLERANCE"] = "10"
        self._directory, self._stack = directory, stack
        code_port, web_port = free_port(), free_port()
        self._code_port = str(code_port)
        workspace = {
            "load_from": [{"grpc_server": {"host": "127.0.0.1", "port": code_port, "location_name": "tv_etl"}}]
        }
        (directory / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
        host = ["-h", "127.0.0.1", "-p"]
        self._arguments = {
            "code": ["dagster", "code-server", "start", *host, str(code_port), "-m", "tv_etl.definitions"],
            "daemon": ["dagster._daemon", "run", "-w", "workspace.yaml"],
            "web": ["dagster_webserver", *host, str(web_port), "-w", "workspace.yaml"],
        }
        self._running: dict[str, int] = {}
        self.dev = DagsterDev(directory, f"http://127.0.0.1:{web_port}")
        stack.callback(self.dev.close)

    def start(self, name: str) -> None:
        started = self._stack.enter_context(module_process(self._arguments[name], self._directory, self._environment))
        self._running[name] = started.pid

    def has_code(self) -> bool:
        """What the health check of the container asks."""
        command = [sys.executable, "-m", "dagster", "api", "grpc-health-check", "-p", self._code_port]
        return subprocess.run(command, env=self._environment, capture_output=True).returncode == 0

    def kill(self, name: str) -> None:
        """With all its children, as a container dies."""
        os.killpg(self._running[name], signal.SIGKILL)

    def kill_run(self, run_id: str) -> None:
        """The process that executes a run, alone."""
        text = """query($id: ID!) { pipelineRunOrError(runId: $id) { ... on Run { runId eventConnection {
            events { ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } } } } } } } }"""
        events = self.dev.query(text, id=run_id)["pipelineRunOrError"]["eventConnection"]["events"]
        entries = [entry for event in events for entry in event.get("metadataEntries", ())]
        pids = {int(entry["text"]) for entry in entries if entry["label"] == "pid"}
        [pid] = pids
        os.kill(pid, signal.SIGKILL)


@contextmanager
def services(directory: Path) -> Iterator[tuple[Services, CountingMarket]]:
    market = CountingMarket()
    clock = MarketClock(NOW.timestamp(), speed=0)
    with serve_in_thread(market, ServerOptions(clock=clock, latency_ms=LATENCY_MS)) as server, ExitStack() as stack:
        running = Services(directory, server.url, stack)
        running.start("code")
        wait_until(running.has_code, "the code server answers")
        running.start("web")
        wait_until(running.dev.is_ready, "the web server answers")
        running.start("daemon")
        yield running, market


def materialized(dev: DagsterDev, backfill_id: str) -> set[str]:
    runs = dev.runs(backfill=backfill_id)
    return {event["partition"] for run_id in runs for event in dev.events(run_id, "MaterializationEvent")}


def stored(dev: DagsterDev) -> set[str]:
    store = BarStore(dev.lake)
    return {f"{interval.token}|{symbol}" for symbol, interval in store.series() if store.read(symbol, interval)}


VICTIMS = ["run", "daemon", "code"] if KILLS_ALL else ["run"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_in_mid_backfill_costs_nothing(tmp_path: Path, victim: str) -> None:
    with services(tmp_path / "dagster") as (running, market):
        dev = running.dev
        backfill_id = dev.backfill(sorted(KEYS))

        def running_run() -> str:
            """A run that has stored some of its series."""
            runs = dev.runs(backfill=backfill_id)
            started = [run_id for run_id, status in runs.items() if status == "STARTED"]
            return next((each for each in started if len(dev.events(each, "MaterializationEvent")) >= 5), "")

        run_id = wait_until(running_run, "a run stores series")
        if victim == "run":
            running.kill_run(run_id)
        else:
            running.kill(victim)
        claimed = materialized(dev, backfill_id)
        assert 5 <= len(claimed) < len(KEYS), "in the middle"
        assert claimed <= stored(dev), "what is claimed is stored"
        if victim != "run":
            running.start(victim)

        def is_complete() -> bool:
            counts = dev.backfill_counts(backfill_id)
            return str(counts["status"]).startswith("COMPLETED") and dev.partition_states()["numMaterialized"] == 180

        wait_until(is_complete, f"the backfill ends; runs are {dev.runs(backfill=backfill_id)}")
        assert stored(dev) == materialized(dev, backfill_id) == KEYS
        assert dev.partition_states()["numFailed"] == 0
        # Asked for again is only what was in flight at the kill, waited to be stored, or was being stored.
        usual = min(market.asked.values())
        assert len([symbol for symbol, times in market.asked.items() if times > usual]) <= 2 * WINDOW + 2
        store = BarStore(dev.lake)
        assert {store.record(*series).ratio for series in store.series()} == {1.0}
