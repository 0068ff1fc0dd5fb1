"""A tick asks in one run for the series in which a bar has closed, or says why it asks for nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._utils.schedules import cron_string_iterator

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.partitions import range_tags, series_of
from tv_etl.orchestration.resources import BarStoreResource
from tv_etl.orchestration.schedules import build_schedules, job_name, partitions_under_way
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import run
from tv_etl_tests.yardstick import cpu_ratio

GROUP = Group(symbols=["NASDAQ:AAPL", "NSE:M&M"], intervals=["1d", "1h", "1m"], schedules={"1h": None})
MIXED = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT", "XETR:SAP", "NASDAQ:NDX"], intervals=["1m"], initial_bars=50)
UTC = timezone.utc
# Wednesday evening: New York closed at 21:00Z.
EVENING = datetime(2026, 11, 18, 22, 0, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def evening_url() -> Iterator[str]:
    with serve_in_thread(
        Market(7), ServerOptions(clock=MarketClock(EVENING.timestamp(), speed=0), update_ms=50)
    ) as server:
        yield server.url


def tick(
    instance: dg.DagsterInstance, lake: Path, at: datetime, group: Group = GROUP, interval: str = "1m"
) -> dg.RunRequest | str:
    """What the schedule of the interval asks for at a time, or why it asks for nothing."""
    [schedule] = [each for each in build_schedules(group) if each.name == f"{group.name}_{interval}"]
    resources = {"bar_store": BarStoreResource(base=str(lake))}
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=at, resources=resources) as context:
        done = schedule.evaluate_tick(context)
    if done.skip_message is not None:
        return done.skip_message
    [request] = done.run_requests or []
    return request


def keys_of(request: dg.RunRequest | str, group: Group) -> list[str]:
    assert isinstance(request, dg.RunRequest), request
    return list(request.run_config["ops"][group.name]["config"]["only"])


def symbols_of(request: dg.RunRequest | str, group: Group) -> list[str]:
    return [series_of(key)[0] for key in keys_of(request, group)]


def test_there_is_a_schedule_for_each_interval_that_wants_one() -> None:
    schedules = build_schedules(GROUP)
    assert [(each.name, each.cron_schedule) for each in schedules] == [
        ("bars_1d", "20,50 * * * *"),
        ("bars_1m", "1-59/5 * * * *"),
        ("bars_refused", "20 5 * * *"),
        ("bars_checks", "40 5 * * *"),
    ]
    assert [each.job_name for each in schedules] == [*[job_name(GROUP)] * 3, "bars_checks_job"]
    silent = GROUP.model_copy(update={"check_schedule": None})
    assert [each.name for each in build_schedules(silent)] == ["bars_1d", "bars_1m", "bars_refused"]
    without = GROUP.model_copy(update={"schedules": dict.fromkeys(GROUP.intervals)})
    assert [each.name for each in build_schedules(without)] == ["bars_checks"]


def test_what_was_never_stored_is_asked_for_in_one_run(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    request = tick(instance, tmp_path, EVENING)
    assert keys_of(request, GROUP) == ["1m|NASDAQ:AAPL", "1m|NSE:M&M"]


def test_a_schedule_plans_no_partitions(instance: dg.DagsterInstance, tmp_path: Path, evening_url: str) -> None:
    """Dagster stores an event for each that it plans, even where nothing comes of it, and one that is refused fails."""
    group = Group(symbols=["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"], intervals=["1m"], initial_bars=50)
    first = tick(instance, tmp_path, EVENING, group)
    assert run(instance, tmp_path, evening_url, group).success
    for request in (first, tick(instance, tmp_path, EVENING + timedelta(minutes=5), group)):
        assert isinstance(request, dg.RunRequest)
        assert not {name for name in request.tags if "partition" in name}
        assert keys_of(request, group) == ["1m|BINANCE:BTCUSDT", "1m|BINANCE:ETHUSDT"]


def test_nothing_is_asked_while_every_market_is_closed_and_complete(
    instance: dg.DagsterInstance, tmp_path: Path, evening_url: str
) -> None:
    assert run(instance, tmp_path, evening_url, GROUP).success
    weekday, after = EVENING + timedelta(minutes=1), EVENING + timedelta(hours=4)
    for interval in ("1m", "1d"):
        for at in (weekday, after):
            reason = tick(instance, tmp_path, at, interval=interval)
            assert isinstance(reason, str), reason
            assert f"all 2 series of bars at {interval} are complete" in reason
    # Mumbai opens at 03:45Z; its first minute closes a minute and some grace later.
    assert "next close at 2026-11-19 03:46:05Z" in str(tick(instance, tmp_path, after))
    assert symbols_of(tick(instance, tmp_path, datetime(2026, 11, 19, 3, 46, 5, tzinfo=UTC)), GROUP) == ["NSE:M&M"]
    assert isinstance(tick(instance, tmp_path, datetime(2026, 11, 19, 3, 46, 4, tzinfo=UTC)), str)


def test_a_daily_bar_is_asked_for_when_its_session_is_over(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    """Not a whole day after its open: at 21:00Z in winter, and a quarter of an hour for the auction."""
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1d"])
    assert run(instance, tmp_path, market_url, group).success
    close = datetime(2026, 11, 18, 21, 0, tzinfo=UTC)
    assert isinstance(tick(instance, tmp_path, close + timedelta(minutes=14), group, "1d"), str)
    assert symbols_of(tick(instance, tmp_path, close + timedelta(minutes=15), group, "1d"), group) == ["NASDAQ:AAPL"]


def test_only_what_has_closed_is_asked_for_and_a_late_feed_has_its_delay(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, evening_url: str
) -> None:
    assert run(instance, tmp_path, market_url, MIXED).success
    # At 15:00:30Z all four trade; Frankfurt's feed is a quarter of an hour late.
    assert (
        symbols_of(tick(instance, tmp_path, datetime(2026, 11, 18, 15, 1, 5, tzinfo=UTC), MIXED), MIXED)
        == MIXED.symbols
    )
    assert run(instance, tmp_path, evening_url, MIXED).success
    assert symbols_of(tick(instance, tmp_path, EVENING + timedelta(minutes=5), MIXED), MIXED) == ["BINANCE:BTCUSDT"]
    # Frankfurt's first minute closes at 08:01Z.
    opened = datetime(2026, 11, 19, 8, 0, tzinfo=UTC)
    assert symbols_of(tick(instance, tmp_path, opened + timedelta(minutes=16), MIXED), MIXED) == ["BINANCE:BTCUSDT"]
    request = tick(instance, tmp_path, opened + timedelta(minutes=16, seconds=5), MIXED)
    assert symbols_of(request, MIXED) == ["BINANCE:BTCUSDT", "XETR:SAP"]


def test_a_scattered_subset_is_one_run_by_its_config(
    instance: dg.DagsterInstance, tmp_path: Path, evening_url: str
) -> None:
    group = Group(symbols=["BINANCE:BTCUSDT", "NASDAQ:AAPL", "BINANCE:ETHUSDT"], intervals=["1m"], initial_bars=50)
    assert run(instance, tmp_path, evening_url, group).success
    request = tick(instance, tmp_path, EVENING + timedelta(minutes=5), group)
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"ops": {"bars": {"config": {"only": ["1m|BINANCE:BTCUSDT", "1m|BINANCE:ETHUSDT"]}}}}
    # The run takes it as it is.
    assert run(instance, tmp_path, evening_url, group, keys=[], only=keys_of(request, group)).success


def test_a_series_that_cannot_be_read_is_asked_for(
    instance: dg.DagsterInstance, tmp_path: Path, evening_url: str
) -> None:
    run(instance, tmp_path, evening_url, GROUP)
    [path] = (tmp_path / ".tv_etl" / "1m").glob("NSE*/series.json")
    path.write_text("{", encoding="utf-8")
    assert symbols_of(tick(instance, tmp_path, EVENING + timedelta(minutes=1)), GROUP) == ["NSE:M&M"]


@pytest.mark.parametrize(
    ("tags", "config", "left"),
    [
        (range_tags(["1m|NASDAQ:AAPL"]), {}, ["NSE:M&M"]),
        ({"dagster/partition": "1m|NSE:M&M"}, {}, ["NASDAQ:AAPL"]),
        ({}, {"only": ["1m|NSE:M&M", "1d|NSE:M&M"]}, ["NASDAQ:AAPL"]),
        (range_tags(["1d|NASDAQ:AAPL", "1d|NSE:M&M"]), {}, ["NASDAQ:AAPL", "NSE:M&M"]),
        ({}, {}, []),
        # A backfill of the past brings nothing new.
        ({}, {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}, ["NASDAQ:AAPL", "NSE:M&M"]),
    ],
)
def test_what_a_run_under_way_will_fetch_is_not_asked_for_again(
    instance: dg.DagsterInstance, tmp_path: Path, tags: dict[str, str], config: dict[str, Any], left: list[str]
) -> None:
    create_run_for_test(
        instance,
        job_name="bars_job",
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
        run_config={"ops": {"bars": {"config": config}}} if config else {},
    )
    request = tick(instance, tmp_path, EVENING)
    if left:
        assert symbols_of(request, GROUP) == left
    else:
        assert "runs under way are fetching them all" in str(request)


def test_runs_of_others_and_finished_ones_fetch_nothing_for_us(instance: dg.DagsterInstance) -> None:
    create_run_for_test(instance, job_name="other_job", status=dg.DagsterRunStatus.STARTED)
    create_run_for_test(instance, job_name="bars_job", status=dg.DagsterRunStatus.SUCCESS)
    assert partitions_under_way(GROUP, instance) == set()
    asset_key = dg.AssetKey("bars")
    create_run_for_test(
        instance, job_name="__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({asset_key})
    )
    assert len(partitions_under_way(GROUP, instance)) == 6


def test_after_a_pause_what_is_lost_next_is_asked_for_first(
    instance: dg.DagsterInstance, tmp_path: Path, evening_url: str
) -> None:
    group = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT"], intervals=["1d", "1h", "1m"], initial_bars=50)
    assert run(instance, tmp_path, evening_url, group).success
    later = EVENING + timedelta(days=3)
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(later.timestamp(), speed=0))) as server:
        result = run(instance, tmp_path, server.url, group)
    order = [str(event.partition) for event in result.get_asset_materialization_events()]
    # Eight are in flight together, so they finish in about the order they were asked for; the minutes of a market that
    # never closes are lost first.
    assert order.index("1m|BINANCE:BTCUSDT") < order.index("1d|BINANCE:BTCUSDT")


WIDTHS = ["5s", "10s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "45m", "1h", "2h", "3h", "4h", "1d", "1w", "1mo"]


@pytest.mark.parametrize("interval", WIDTHS)
@pytest.mark.filterwarnings("ignore::tv_etl.watchlist.model.LossWarning")
def test_no_bar_is_lost_by_a_day_of_downtime_unless_the_watchlist_warns(interval: str) -> None:
    group = Group(symbols=["A:B"], intervals=[interval])
    cron = group.cron(interval)
    assert cron is not None
    begin = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    ticks = cron_string_iterator(begin, cron, "UTC")
    times = [next(ticks).timestamp() for _ in range(1_500)]
    # A bar that closes just after a tick; the next tick is missed, and all others for a day; a market without breaks.
    pauses = [next(after for after in times[i:] if after >= at + 86_400) - at for i, at in enumerate(times[:50])]
    window_s = ASSUMED_WINDOW_BARS * Interval.parse(interval).seconds
    is_safe = max(pauses) < window_s
    assert is_safe == (group.longest_pause_s(interval) is None)
    assert is_safe == (interval not in ("5s", "10s", "15s"))
    schedule = build_schedules(group)[0]
    assert ("loses bars" in str(schedule.description)) != is_safe


def test_a_tick_over_200_series_takes_well_under_a_second(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    group = Group(symbols=[f"NASDAQ:S{number}" for number in range(200)], intervals=["1m"])
    store = BarStore(tmp_path)
    opened = int(EVENING.timestamp()) // 60 * 60 - 600
    for number, symbol in enumerate(group.symbols):
        store.upsert(symbol, "1m", one_bar(opened, opened + 60 + number))
    for at in (EVENING - timedelta(minutes=9, seconds=20), EVENING + timedelta(hours=1)):
        assert cpu_ratio(partial(tick, instance, tmp_path, at, group)) < 125


def one_bar(opened: int, asked_until: int) -> pa.Table:
    facts = {
        "tv_etl.forming_from": "",
        "tv_etl.trading_hours": '{"session": "0930-1600", "timezone": "America/New_York"}',
        "tv_etl.asked_from": str(opened),
        "tv_etl.asked_until": str(asked_until),
    }
    moment = pa.array([opened * 1_000_000], pa.int64()).view(BAR_SCHEMA.field(0).type)
    return pa.Table.from_arrays([moment, *[pa.array([1.0])] * 5], schema=BAR_SCHEMA.with_metadata(facts))


def test_one_more_schedule_judges_what_is_stored_and_asks_nobody(
    instance: dg.DagsterInstance, tmp_path: Path, evening_url: str
) -> None:
    """Where fetching stands still, it is the one that says so; runs may leave the checks to it."""
    group = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT"], intervals=["1d"], initial_bars=5, check_each_run=False)
    fetched = run(instance, tmp_path, evening_url, group)
    assert fetched.success and not fetched.get_asset_check_evaluations()
    request = tick(instance, tmp_path, EVENING, group, "checks")
    assert isinstance(request, dg.RunRequest)
    definitions = build_definitions(Watchlist(groups=[group]), tmp_path, ws_url="ws://127.0.0.1:1/")
    job = definitions.resolve_job_def("bars_checks_job")
    judged = job.execute_in_process(instance=instance, tags=request.tags, run_config=request.run_config)
    assert not judged.get_asset_materialization_events()
    found = {(each.partition, each.check_name): each.passed for each in judged.get_asset_check_evaluations()}
    assert len(found) == 2 * len(CHECKS)
    assert found["1d|NASDAQ:AAPL", "ordered_and_unique"]
    # This machine's clock is far from the market's: nobody has fetched for long.
    assert not found["1d|NASDAQ:AAPL", "fresh"] and not found["1d|BINANCE:BTCUSDT", "fresh"]


def test_a_group_without_symbols_has_nothing_to_judge(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    group = Group.model_validate({"symbols": {"scanner": {"market": "america"}}, "intervals": ["1d"]})
    assert "no symbols yet" in str(tick(instance, tmp_path, EVENING, group, "checks"))


def test_figures_are_asked_for_once_a_day(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = Group(symbols=["ECONOMICS:USCPI", "ECONOMICS:USIJC"], intervals=["1d"], initial_bars=50)
    assert run(instance, tmp_path, market_url, group).success
    asked = [BarStore(tmp_path).record(symbol, "1d").asked_at for symbol in group.symbols]
    next_day = datetime.fromtimestamp(max(asked), UTC).replace(hour=0, minute=15, second=0, microsecond=0)
    next_day += timedelta(days=1)
    reason = tick(instance, tmp_path, next_day - timedelta(minutes=1), group, "1d")
    assert "all 2 series of bars at 1d are complete" in str(reason)
    assert f"next close at {next_day:%Y-%m-%d} 00:15:00Z" in str(reason)
    assert symbols_of(tick(instance, tmp_path, next_day, group, "1d"), group) == group.symbols
