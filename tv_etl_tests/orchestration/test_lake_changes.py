"""A tick of the sensor: what it reports and asks for, what it remembers, and that a quiet one asks Dagster nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from tv_etl.lake.store import BarStore
from tv_etl.lake.written import Writer
from tv_etl.market_server.server import MarketServer
from tv_etl.orchestration import lake_changes
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.expectations import what_starts
from tv_etl.orchestration.lake_changes import BUCKET_INTERVAL_S, INTERVAL_S, Cursor, build_lake_changes
from tv_etl.orchestration.partitions import found_symbols, symbols_of
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.collect.served_market import table
from tv_etl_tests.lake_runs import QUIET
from tv_etl_tests.orchestration.test_unreported import AAPL, BY_HAND, GROUP, MSFT, home, put, rows_told

WATCHLIST = Watchlist(groups=[GROUP])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(home(tmp_path, "dagster")) as temporary:
        yield temporary


def tick(
    instance: dg.DagsterInstance, lake: Path | str, *groups: Group, cursor: str | None = None
) -> SensorExecutionData:
    definitions = build_definitions(Watchlist(groups=list(groups or [GROUP])), lake)
    sensor, repository = definitions.resolve_sensor_def("lake_changes"), definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources=definitions.resources, cursor=cursor
    ) as context:
        return sensor.evaluate_tick(context)


def put_recent(
    lake: Path | str, symbol: str, ended_s: float = 60, *, at: float | None = None, by: Writer = BY_HAND
) -> None:
    """A minute that ended so long ago, up to which the series was asked for; written now, or at another time."""
    opened = int(time.time() - ended_s) // 60 * 60 - 60
    bars = table([(opened, 1.0, 1.0, 1.0, 1.0, 1.0)], asked_from=opened, asked_until=opened + 60)
    BarStore(lake, clock=time.time if at is None else lambda: at, writer=by).upsert(symbol, "1m", bars)


def test_the_first_tick_says_what_will_run(
    instance: dg.DagsterInstance, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    [line] = what_starts(WATCHLIST)
    cursor = tick(instance, tmp_path).cursor
    assert line in capfd.readouterr().err
    tick(instance, tmp_path, cursor=cursor)
    assert line not in capfd.readouterr().err


def test_what_others_stored_is_reported_wherever_the_lake_is(instance: dg.DagsterInstance, base: str) -> None:
    put_recent(base, "NASDAQ:AAPL", 60)
    first = tick(instance, base)
    assert first.skip_message == "1 of 4 series are stored; 1 reported that Dagster did not know"
    second = tick(instance, base, cursor=first.cursor)
    assert second.skip_message == "1 of 4 series are stored; Dagster knows them all"
    assert rows_told(instance) == [(AAPL, 1)]


def test_a_tick_that_was_killed_before_its_cursor_was_kept_repeats_nothing(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put_recent(tmp_path, "NASDAQ:AAPL", 60)
    for _ in range(3):
        tick(instance, tmp_path, cursor=None)
    tick(instance, tmp_path, cursor="no cursor of ours")
    assert rows_told(instance) == [(AAPL, 1)]


def test_a_quiet_tick_compares_nothing_and_a_later_change_is_seen(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    long_ago = time.time() - 7_200
    put_recent(tmp_path, "NASDAQ:AAPL", at=long_ago)
    cursor = tick(instance, tmp_path, cursor=tick(instance, tmp_path).cursor).cursor
    assert cursor is not None and Cursor.read(cursor).known_at > long_ago
    # Were it compared, it would be reported: Dagster has forgotten it.
    instance.wipe_assets([dg.AssetKey("bars")])
    assert "Dagster knows them all" in str(tick(instance, tmp_path, cursor=cursor).skip_message)
    put_recent(tmp_path, "NASDAQ:MSFT")
    assert "1 reported" in str(tick(instance, tmp_path, cursor=cursor).skip_message)
    # Once an hour all is compared.
    known = Cursor.read(cursor)
    aged = known._replace(compared_at=known.compared_at - 3_600).text
    assert "1 reported" in str(tick(instance, tmp_path, cursor=aged).skip_message)
    assert sorted(rows_told(instance)) == [(AAPL, 1), (MSFT, 1)]


def test_what_is_listed_anew_is_compared_at_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put_recent(tmp_path, "NASDAQ:AAPL", at=time.time() - 7_200)
    cursor = tick(instance, tmp_path, cursor=tick(instance, tmp_path).cursor).cursor
    renamed = GROUP.model_copy(update={"name": "us"})
    assert "1 reported" in str(tick(instance, tmp_path, renamed, cursor=cursor).skip_message)
    assert rows_told(instance, "us") == [(AAPL, 1)]


def test_so_many_are_reported_in_a_tick_over_all_groups(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_changes, "MOST", 3)
    groups = [
        Group(name=name, symbols=[f"{name.upper()}:A{number}" for number in range(2)], intervals=["1m"])
        for name in ("one", "two")
    ]
    for group in groups:
        for symbol in group.symbols:
            put_recent(tmp_path, symbol)
    first = tick(instance, tmp_path, *groups)
    assert "3 reported that Dagster did not know; 1 are left to the next tick" in str(first.skip_message)
    tick(instance, tmp_path, *groups, cursor=first.cursor)
    assert len(rows_told(instance, "one")) == len(rows_told(instance, "two")) == 2


def test_what_is_bad_is_checked_by_a_run_that_puts_it_onto_the_page(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(tmp_path, "NASDAQ:AAPL")
    put_recent(tmp_path, "NASDAQ:MSFT", 60)
    found = tick(instance, tmp_path)
    requests = {str(each.run_key): each for each in found.run_requests or []}
    [bad] = [each for key, each in requests.items() if key.startswith("found bars ")]
    assert (bad.job_name, bad.run_config) == ("bars_checks_job", {"ops": {"bars": {"config": {"only": [AAPL]}}}})
    assert {str(each.run_key) for each in tick(instance, tmp_path).run_requests or []} == requests.keys() - {
        bad.run_key
    }
    job = build_definitions(Watchlist(groups=[GROUP]), tmp_path).resolve_job_def("bars_checks_job")
    assert job.execute_in_process(instance=instance, run_config={**QUIET, **bad.run_config}).success
    check = dg.AssetCheckKey(dg.AssetKey("bars"), "fresh")
    [shown] = instance.event_log_storage.get_asset_check_partition_info([check], partition_keys=[AAPL])
    assert (shown.latest_execution_status.value, shown.is_current) == ("FAILED", True)


def test_bars_that_nothing_fetches_are_told_before_they_are_lost(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put_recent(tmp_path, "BINANCE:BTCUSDT", 3 * 86_400)
    put_recent(tmp_path, "BINANCE:ETHUSDT", 60)
    group = Group(symbols=["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"], intervals=["1m"])
    cursor = tick(instance, tmp_path, group).cursor
    [request] = tick(instance, tmp_path, group, cursor=cursor).run_requests or []
    assert str(request.run_key).startswith("unfetched bars_1m 20")
    assert request.run_config == {"ops": {"bars": {"config": {"only": ["1m|BINANCE:BTCUSDT"]}}}}
    job = build_definitions(Watchlist(groups=[group]), tmp_path).resolve_job_def("bars_checks_job")
    result = job.execute_in_process(instance=instance, run_config={**QUIET, **request.run_config})
    [verdict] = [each for each in result.get_asset_check_evaluations() if each.check_name == "loss_deadline"]
    assert not verdict.passed
    assert "is the schedule bars_1m on, and do its runs succeed?" in str(verdict.description)


def test_the_symbols_that_a_scanner_had_found_are_those_of_a_new_instance_too(
    instance: dg.DagsterInstance, tmp_path: Path, market_server: MarketServer
) -> None:
    group = Group.model_validate({"name": "found", "symbols": {"scanner": {"limit": 5}}, "intervals": ["1m"]})
    put(tmp_path, "NASDAQ:AAPL", by=Writer("dagster", "old", "7f", "found"))
    put(tmp_path, "NASDAQ:MSFT", by=BY_HAND)
    first = tick(instance, tmp_path, group)
    assert symbols_of(group, instance) == ["NASDAQ:AAPL"]
    assert rows_told(instance, "found") == [(AAPL, 20)]
    # Who takes one off keeps it off.
    instance.delete_dynamic_partition(str(found_symbols(group).name), "NASDAQ:AAPL")
    tick(instance, tmp_path, group, cursor=first.cursor)
    tick(instance, tmp_path, group)
    assert symbols_of(group, instance) == []


def test_a_bucket_is_looked_at_less_often() -> None:
    assert build_lake_changes(WATCHLIST, WATCHLIST.groups, base="lake").minimum_interval_seconds == INTERVAL_S
    assert (
        build_lake_changes(WATCHLIST, WATCHLIST.groups, base="file:///srv/lake").minimum_interval_seconds == INTERVAL_S
    )
    assert (
        build_lake_changes(WATCHLIST, WATCHLIST.groups, base="s3://lakes/mine").minimum_interval_seconds
        == BUCKET_INTERVAL_S
    )
