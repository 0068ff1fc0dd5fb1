"""A symbol that the server refuses fails once a day by name, and costs the others of its group nothing.

Virtual days: each tick of the schedules is evaluated as the daemon does, and what it asks for is run.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.bar_source import BarSource
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.partitions import partition_key, range_tags, series_partitions
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import QUIET
from tv_etl_tests.orchestration.test_schedules import tick

BAD, LEAVING = "NASDAQ:NOPE", "BINANCE:ETHUSDT"
GROUP = Group(
    symbols=["BINANCE:BTCUSDT", BAD, LEAVING],
    intervals=["1d", "4h"],
    initial_bars=20,
    schedules={"1d": "25 0 * * *", "4h": "5 */8 * * *"},
)
GOOD = ["1d|BINANCE:BTCUSDT", "4h|BINANCE:BTCUSDT"]
# As a day of the schedules goes by.
TICKS = [("4h", 0, 5), ("1d", 0, 25), ("refused", 5, 20), ("4h", 8, 5), ("4h", 16, 5)]
# A run puts a refusal on record by the machine's own clock: these days are before it.
FIRST_DAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=14)


class ListingMarket(Market):
    """A market that lists and delists symbols."""

    def __init__(self) -> None:
        super().__init__(7)
        self.delisted: set[str] = set()

    def find(self, symbol: str, session: str = "regular", **settings: Any) -> BarSource | None:
        return None if symbol in self.delisted else super().find(symbol, session, **settings)


@dataclass
class Days:
    """A Dagster instance, a lake and a market, in which days go by."""

    instance: dg.DagsterInstance
    lake: Path
    market: ListingMarket
    clock: MarketClock
    url: str
    day: datetime = FIRST_DAY
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def pass_one(self) -> Counter[str]:
        """Evaluate all ticks of the next day; how many runs ended in which way."""
        ended: Counter[str] = Counter()
        self.asked.clear()
        for schedule, hour, minute in TICKS:
            at = self.day + timedelta(hours=hour, minutes=minute)
            self.clock.move_to(at.timestamp())
            request = tick(self.instance, self.lake, at, GROUP, schedule)
            if isinstance(request, dg.RunRequest):
                ended["succeeded" if self.run(request.tags, request.run_config).success else "failed"] += 1
                self.asked.append(
                    (
                        schedule,
                        list(request.run_config.get("ops", {}).get("bars", {}).get("config", {}).get("only", [])),
                    )
                )
        self.day += timedelta(days=1)
        return ended

    def run(self, tags: Any, run_config: Any, job: str = "bars_job") -> dg.ExecuteInProcessResult:
        definitions = build_definitions(Watchlist(groups=[GROUP]), self.lake, ws_url=self.url)
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, tags=tags, run_config={**QUIET, **run_config}, raise_on_error=False
        )

    def statuses(self) -> dict[str, str]:
        partitions = series_partitions(GROUP)
        keys = partitions.get_partition_keys()
        found = self.instance.get_status_by_partition(dg.AssetKey("bars"), keys, partitions) or {}
        return {key: each.value for key, each in found.items() if each is not None}

    def verdicts(self) -> dict[tuple[str, str], tuple[str, str]]:
        """By check and partition: status of the newest evaluation, and what it says."""
        found = {}
        for name in CHECKS:
            key = dg.AssetCheckKey(dg.AssetKey("bars"), name)
            history = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
            for record in reversed(history):
                text = "" if record.evaluation is None else str(record.evaluation.description)
                found[name, str(record.partition)] = record.status.value, text
        return found


@pytest.fixture
def days(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Days]:
    market, clock = ListingMarket(), MarketClock(FIRST_DAY.timestamp(), speed=0)
    with serve_in_thread(market, ServerOptions(clock=clock)) as server:
        yield Days(instance, tmp_path / "lake", market, clock, server.url)


def keys_of(symbol: str) -> list[str]:
    return [partition_key(Series.of(symbol, interval)) for interval in GROUP.intervals]


@pytest.mark.slow
def test_a_bad_symbol_fails_one_run_a_day_until_it_is_listed(days: Days) -> None:
    store = BarStore(days.lake)
    # Each interval's first run does not know it yet.
    assert days.pass_one() == {"failed": 3, "succeeded": 2}
    stored = dict.fromkeys([*GOOD, *keys_of(LEAVING)], "MATERIALIZED")
    assert days.statuses() == stored, "what is refused is missing, and makes the asset no red one"
    assert days.pass_one() == {"failed": 1, "succeeded": 4}
    assert [keys for schedule, keys in days.asked if schedule == "refused"] == [keys_of(BAD)], "in one run"
    assert not [keys for schedule, keys in days.asked if schedule != "refused" and set(keys) & set(keys_of(BAD))]
    [refused] = [each for each in lake_status(store, days.day, BAD) if each.series.interval.token == "1d"]
    assert "refused by the server since" in str(refused.to_dict()["refused"])
    assert "SymbolError: symbol 'NASDAQ:NOPE'" in str(refused.to_dict()["refused"])

    # What has bars, and is delisted.
    days.market.delisted = {LEAVING}
    days.pass_one()
    assert days.pass_one() == {"failed": 1, "succeeded": 4}
    assert [keys for schedule, keys in days.asked if schedule == "refused"] == [
        [key for interval in GROUP.intervals for key in (f"{interval}|{BAD}", f"{interval}|{LEAVING}")]
    ]
    assert store.record(LEAVING, "4h").rows > 20, "its bars stay"
    assert days.statuses() == stored
    verdicts = days.verdicts()
    for key in [*keys_of(BAD), *keys_of(LEAVING)]:
        status, text = verdicts["fresh", key]
        assert status == "FAILED" and "refused by the server since" in text and "once a day" in text, key
    assert {each for name_and_key, (each, _) in verdicts.items() if name_and_key[1] in GOOD} <= {"SUCCEEDED"}

    # And comes back.
    days.market.delisted = set()
    assert days.pass_one() == {"failed": 1, "succeeded": 4}
    assert days.pass_one() == {"failed": 1, "succeeded": 4}
    assert [keys for schedule, keys in days.asked if schedule == "refused"] == [keys_of(BAD)]
    assert store.record(LEAVING, "4h").refusal is None
    assert {days.statuses()[key] for key in keys_of(LEAVING)} == {"MATERIALIZED"}
    newest = store.record(LEAVING, "4h").last
    assert newest == store.record("BINANCE:BTCUSDT", "4h").last


def test_the_verdicts_on_the_others_stand_and_no_check_fails_to_execute(days: Days) -> None:
    """In a run of all partitions with all checks, as the page of the asset starts it."""
    keys = series_partitions(GROUP).get_partition_keys()
    days.clock.move_to((days.day + timedelta(hours=12)).timestamp())
    result = days.run(range_tags(keys), {}, "__ASSET_JOB")
    assert not result.success
    failure = result.failure_data_for_node("bars")
    assert failure is not None and failure.user_failure_data is not None
    assert set(failure.user_failure_data.metadata) == set(keys_of(BAD))
    verdicts = days.verdicts()
    assert {key for _, key in verdicts} == set(keys)
    assert {status for status, _ in verdicts.values()} == {"SUCCEEDED", "FAILED"}, "none is left as planned"
    assert {name for name, key in verdicts if key in keys_of(BAD) and verdicts[name, key][0] == "FAILED"} == {"fresh"}
    assert "nothing is stored; refused by the server since" in verdicts["fresh", keys_of(BAD)[0]][1]


def test_where_nobody_asks_once_a_day_or_bars_would_be_lost_the_interval_asks_itself(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    store, at = BarStore(tmp_path), FIRST_DAY + timedelta(hours=5)
    for interval in ("1m", "5s"):
        store.refuse(BAD, interval, "SymbolError: unknown", at.timestamp())
    with pytest.warns(UserWarning):
        group = Group(symbols=[BAD], intervals=["1m", "5s"])
    left = "no series of bars at 1m is left to ask for: 1 that the server refuses are asked for once a day"
    assert left in str(tick(instance, tmp_path, at + timedelta(days=1, hours=23), group))
    assert isinstance(tick(instance, tmp_path, at + timedelta(days=2), group), dg.RunRequest)
    assert isinstance(tick(instance, tmp_path, at + timedelta(hours=3), group, "5s"), str)
    assert isinstance(tick(instance, tmp_path, at + timedelta(hours=4), group, "5s"), dg.RunRequest)


def test_one_run_a_day_asks_for_all_that_is_refused(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    at = FIRST_DAY + timedelta(hours=5)
    assert tick(instance, tmp_path, at, GROUP, "refused") == "the server refuses no series of bars"
    for interval in GROUP.intervals:
        BarStore(tmp_path).refuse(BAD, interval, "SymbolError: unknown", at.timestamp())
    request = tick(instance, tmp_path, at, GROUP, "refused")
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"ops": {"bars": {"config": {"only": keys_of(BAD)}}}}
    asked = tick(instance, tmp_path, at, GROUP, "4h")
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_config["ops"]["bars"]["config"]["only"] == ["4h|BINANCE:BTCUSDT", f"4h|{LEAVING}"]
    create_run_for_test(
        instance, job_name="bars_job", status=dg.DagsterRunStatus.STARTED, run_config=request.run_config
    )
    assert "runs under way are asking" in str(tick(instance, tmp_path, at, GROUP, "refused"))
