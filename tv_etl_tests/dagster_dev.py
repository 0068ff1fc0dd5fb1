"""Dagster as a person starts it, `dagster dev` in a process of its own, driven by its interface's GraphQL."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import yaml

from tv_etl.market_server.market.bar_source import BarSource
from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.market import Market
from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.processes import free_port, module_process

CHECKOUT = Path(__file__).parent.parent
REFUSED = {
    "NASDAQ:NOPE": "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol",
    "FAULT:SERIES_ERROR": "internal error",
}
INTERVALS = ["1d", "1h", "1m"]
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_REPOSITORY = {"repositoryLocationName": "tv_etl.definitions", "repositoryName": "__repository__"}
QUIET_HOME = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}


def grid_symbols() -> list[str]:
    """Fifty symbols; the two that are refused have good ones on either side."""
    good = list(islice(rule_symbols(), 48))
    first, second = REFUSED
    return [*good[:10], first, *good[10:30], second, *good[30:]]


def grid_keys() -> list[str]:
    """Every partition of the grid."""
    return [f"{interval}|{symbol}" for interval in INTERVALS for symbol in grid_symbols()]


def grid_watchlist(symbols: list[str] | None = None, initial_bars: int = 80) -> dict[str, Any]:
    """A watchlist with the grid as its `bars`, and a rule, so that there is a sensor."""
    rule = {"name": "high", "symbol": "BINANCE:BTCUSDT", "kind": "above", "level": 1_000_000}
    return {
        "groups": [
            {"name": "bars", "symbols": symbols or grid_symbols(), "intervals": INTERVALS, "initial_bars": initial_bars}
        ],
        "alerts": {"rules": [rule], "webhooks": [{"url_env": "TV_ETL_WEBHOOK_URL"}]},
    }


@dataclass(frozen=True)
class GridBackfill:
    """A backfill of the whole grid, all its runs at an end: their statuses by id."""

    backfill_id: str
    runs: dict[str, str]


class CountingMarket(Market):
    """A market that knows how often each symbol was asked for, and can stop answering in the middle of a run."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__(seed)
        self.asked: Counter[str] = Counter()
        self._stands_still = threading.Event()
        self._goes_on = threading.Event()
        self._still_answered = 0

    @contextmanager
    def standing_still_after(self, symbols: int) -> Iterator[threading.Event]:
        """Look up so many symbols more, and then none while the context lasts; the event tells when that is."""
        self._stands_still.clear()
        self._goes_on.clear()
        self._still_answered = symbols
        try:
            yield self._stands_still
        finally:
            self._still_answered = 0
            self._goes_on.set()

    def find(self, symbol: str, session: str = "regular", **settings: Any) -> BarSource | None:
        self.asked[symbol] += 1
        if self._still_answered:
            self._still_answered -= 1
            if not self._still_answered:
                self._stands_still.set()
                self._goes_on.wait()
        return super().find(symbol, session, **settings)

    def source_of(self, listing: Listing, session: str = "regular", **settings: Any) -> BarSource:
        if listing.symbol in REFUSED:  # a fault is not looked for
            self.asked[listing.symbol] += 1
        return super().source_of(listing, session, **settings)


class DagsterDev:
    """A running Dagster; its instance, watchlist and lake lie in `directory`."""

    def __init__(self, directory: Path, url: str, group: int = 0) -> None:
        self.directory = directory
        self.url = url
        self._group = group
        self._http = httpx.Client(base_url=url, timeout=HANG_S)

    def close(self) -> None:
        self._http.close()

    def kill(self) -> None:
        """Kill all of its processes at once, those of runs as well."""
        os.killpg(self._group, signal.SIGKILL)

    def start_schedule(self, name: str) -> None:
        """Switch a schedule on, as the page does."""
        text = """mutation($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
            __typename ... on PythonError { message } } }"""
        started = self.query(text, selector={**_REPOSITORY, "scheduleName": name})["startSchedule"]
        assert started["__typename"] == "ScheduleStateResult", started

    @property
    def lake(self) -> Path:
        return self.directory / "lake"

    def query(self, text: str, **variables: Any) -> Any:
        """The data of a GraphQL query; errors fail the test."""
        response = self._http.post("/graphql", json={"query": text, "variables": variables})
        content = response.json()
        assert "errors" not in content, content
        return content["data"]

    def is_ready(self) -> bool:
        """True once the code location is loaded."""
        text = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        try:
            return bool(self.query(text)["repositoriesOrError"].get("nodes"))
        except (httpx.HTTPError, ValueError):
            return False

    def backfill(self, partitions: list[str]) -> str:
        """Start a backfill as the interface does; its id."""
        text = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        params = {"assetSelection": [{"path": ["bars"]}], "partitionNames": partitions, "fromFailure": False}
        return str(self.query(text, params=params)["launchPartitionBackfill"]["backfillId"])

    def backfill_counts(self, backfill_id: str) -> dict[str, Any]:
        """How far a backfill is: its status, and partitions targeted, materialized, failed."""
        text = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status
            assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""
        found = self.query(text, id=backfill_id)["partitionBackfillOrError"]
        statuses = (found["assetBackfillData"] or {}).get("assetBackfillStatuses") or [{}]
        return {"status": found["status"], **statuses[0]}

    def runs(self, **tags: str) -> dict[str, str]:
        """Status of each run with these tags, by id."""
        text = """query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs {
            results { runId status } } } }"""
        wanted = [{"key": f"dagster/{name}", "value": value} for name, value in tags.items()]
        results = self.query(text, filter={"tags": wanted})["runsOrError"]["results"]
        return {each["runId"]: each["status"] for each in results}

    def reexecute_from_failure(self, run_id: str) -> str:
        """Start what the button "From failure" does; the id of the new run."""
        text = """mutation($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        params = {"parentRunId": run_id, "strategy": "FROM_FAILURE", "useParentRunTags": True}
        return str(self.query(text, params=params)["launchRunReexecution"]["run"]["runId"])

    def launch(self, tags: Mapping[str, str]) -> str:
        """Start the job of the grid as its launchpad does; the id of the run."""
        text = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        selector = {**_REPOSITORY, "jobName": "bars_job"}
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": metadata}
        return str(self.query(text, params=params)["launchRun"]["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """What the button does."""
        text = """mutation($id: String!) { terminateRun(runId: $id) { __typename } }"""
        assert self.query(text, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def partition_states(self) -> dict[str, int]:
        """How many partitions of `bars` Dagster shows in which state."""
        text = """{ assetNodeOrError(assetKey: {path: ["bars"]}) { ... on AssetNode { partitionStats {
            numPartitions numMaterialized numFailed numMaterializing } } } }"""
        return dict(self.query(text)["assetNodeOrError"]["partitionStats"])

    def events(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """The materializations or observations (MaterializationEvent, ObservationEvent) of a run, or its messages."""
        text = """query($id: ID!, $after: String) { logsForRun(runId: $id, afterCursor: $after) {
            ... on EventConnection { cursor hasMore events { __typename ... on MessageEvent { message }
            ... on MaterializationEvent { partition metadataEntries { ...entry } }
            ... on ObservationEvent { partition description metadataEntries { ...entry } } } } } }
            fragment entry on MetadataEntry { label __typename ... on TextMetadataEntry { text }
            ... on MarkdownMetadataEntry { mdStr } ... on IntMetadataEntry { intValue }
            ... on BoolMetadataEntry { boolValue } ... on JsonMetadataEntry { jsonString } }"""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self.query(text, id=run_id, after=after)["logsForRun"]
            found += [event for event in page["events"] if event["__typename"] == kind]
            if not page["hasMore"]:
                return found
            after = page["cursor"]


def prepare(directory: Path, ws_url: str, watchlist: Mapping[str, Any], home: Mapping[str, Any]) -> dict[str, str]:
    """Write the files of an instance; the environment of the processes that use it."""
    (directory / "home").mkdir(parents=True)
    (directory / "home" / "dagster.yaml").write_text(yaml.safe_dump(dict(home)), encoding="utf-8")
    (directory / "watchlist.yaml").write_text(yaml.safe_dump(dict(watchlist)), encoding="utf-8")
    return {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "DAGSTER_HOME": str(directory / "home"),
        "TV_ETL_WATCHLIST": str(directory / "watchlist.yaml"),
        "TV_ETL_LAKE": str(directory / "lake"),
        "TV_ETL_WS_URL": ws_url,
        "TV_ETL_WEBHOOK_URL": "http://127.0.0.1:1/",
    }


@contextmanager
def dagster_dev(directory: Path, ws_url: str, watchlist: Mapping[str, Any]) -> Iterator[DagsterDev]:
    """`dagster dev` on a free port, ready to be used."""
    environment = prepare(directory, ws_url, watchlist, QUIET_HOME)
    with started_dev(directory, environment) as dev:
        yield dev


@contextmanager
def started_dev(
    directory: Path, environment: Mapping[str, str], module: str = "tv_etl.definitions"
) -> Iterator[DagsterDev]:
    """`dagster dev` with what was prepared, or is left of an earlier one."""
    port = free_port()
    arguments = ["dagster", "dev", "-h", "127.0.0.1", "-p", str(port), "-m", module]
    with (
        module_process(arguments, directory, environment) as running,
        closing(DagsterDev(directory, f"http://127.0.0.1:{port}", running.pid)) as dev,
    ):

        def is_ready() -> bool:
            assert running.poll() is None, (directory / "dagster-dev.log").read_text()[-3_000:]
            return dev.is_ready()

        wait_until(is_ready, "dagster dev answers")
        yield dev
