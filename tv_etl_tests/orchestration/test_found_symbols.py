"""Symbols from a real screener become partitions of a real instance, and their bars reach a real lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import found_symbols, partition_key, series_partitions, symbols_of
from tv_etl.orchestration.resources import BarStoreResource
from tv_etl.orchestration.schedules import build_schedules
from tv_etl.tradingview.errors import ScannerError
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.tradingview.lying_screener import Liar, page

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CRYPTO = ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BITSTAMP:BTCUSD", "COINBASE:ETHUSD"]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


def group_of(
    limit: int = 50, *, name: str = "crypto", intervals: tuple[str, ...] = ("1d", "1h"), **scanner: Any
) -> Group:
    coins = [
        {"left": "type", "operation": "equal", "right": "spot"},
        {"left": "exchange", "operation": "in_range", "right": ["BINANCE", "BITSTAMP", "COINBASE"]},
        {"left": "typespecs", "operation": "has", "right": ["defi"]},
    ]
    wanted = {"market": "crypto", "filters": coins, "sort": {"by": "exchange"}, "limit": limit, **scanner}
    symbols = {"scanner": wanted, "interval_s": 600}
    return Group.model_validate({"name": name, "symbols": symbols, "intervals": intervals, "initial_bars": 20})


def tick(
    instance: dg.DagsterInstance, url: str, *groups: Group, lake: Path = Path("lake")
) -> tuple[dg.SensorDefinition, Any]:
    """One evaluation of the first group's sensor; its requests for partitions are granted as the daemon grants them."""
    definitions = build_definitions(Watchlist(groups=list(groups)), lake, scanner_url=url)
    sensor = definitions.resolve_sensor_def(f"{groups[0].name}_symbols")
    with dg.build_sensor_context(instance=instance, resources=definitions.resources) as context:
        result = sensor.evaluate_tick(context)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    return sensor, result


def selected(instance: dg.DagsterInstance, group: Group, tags: dict[str, str]) -> list[str]:
    """The partitions of a range, as Dagster counts them."""
    ends = dg.PartitionKeyRange(*(tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")))
    return list(series_partitions(group).get_partition_keys_in_range(ends, dynamic_partitions_store=instance))


def test_found_symbols_are_registered_and_fetched_in_one_run(
    instance: dg.DagsterInstance, tmp_path: Path, market_server: MarketServer
) -> None:
    group = group_of(2)
    sensor, result = tick(instance, market_server.http_url, group)
    assert (sensor.minimum_interval_seconds, sensor.job_name) == (600, "crypto_job")
    (request,) = result.run_requests
    assert symbols_of(group, instance) == CRYPTO[:2]
    definitions = build_definitions(Watchlist(groups=[group]), tmp_path, ws_url=market_server.url)
    run = definitions.resolve_job_def("crypto_job").execute_in_process(
        instance=instance, tags=request.tags, run_config=QUIET, raise_on_error=False
    )
    assert run.success
    keys = {partition_key(Series.of(symbol, interval)) for symbol in CRYPTO[:2] for interval in ("1d", "1h")}
    assert instance.get_materialized_partitions(dg.AssetKey("crypto")) == keys
    assert BarStore(tmp_path).read("BINANCE:ETHUSDT", "1h").num_rows == 19


def test_only_what_is_new_is_requested_and_nothing_is_ever_removed(
    instance: dg.DagsterInstance, market_server: MarketServer
) -> None:
    tick(instance, market_server.http_url, group_of(2))
    more = group_of(4)
    (request,) = tick(instance, market_server.http_url, more)[1].run_requests
    assert selected(instance, more, request.tags) == [
        partition_key(Series.of(symbol, interval)) for interval in ("1d", "1h") for symbol in CRYPTO[2:]
    ]
    for group in (more, group_of(1)):
        _, result = tick(instance, market_server.http_url, group)
        assert not result.run_requests
        assert "none of them new" in result.skip_message
    assert symbols_of(more, instance) == CRYPTO


def test_what_another_group_collects_at_the_same_interval_stays_there(
    instance: dg.DagsterInstance, market_server: MarketServer
) -> None:
    same = Group(name="same", symbols=[CRYPTO[0]], intervals=["1h"])
    other = Group(name="other", symbols=[CRYPTO[1]], intervals=["1w"])
    first = group_of(3)
    tick(instance, market_server.http_url, first, same, other)
    assert symbols_of(first, instance) == CRYPTO[1:3]
    second = group_of(name="second")
    tick(instance, market_server.http_url, second, same, other, first)
    assert symbols_of(second, instance) == CRYPTO[3:]


def test_a_screener_that_does_not_answer_is_a_skipped_tick(instance: dg.DagsterInstance) -> None:
    with serve_in_thread(Market(7), ServerOptions(http_busy=1, http_retry_after_s=3_000)) as busy:
        _, result = tick(instance, busy.http_url, group_of())
    assert "HTTP 429" in result.skip_message
    assert symbols_of(group_of(), instance) == []


def test_a_scan_that_is_refused_is_a_failed_tick(instance: dg.DagsterInstance, market_server: MarketServer) -> None:
    wrong = group_of(filters=[{"left": "change.5", "operation": "nempty"}])
    with pytest.raises(ScannerError, match=r'Unknown field "change\.5"'):
        tick(instance, market_server.http_url, wrong)


@contextmanager
def lying(*symbols: str) -> Iterator[str]:
    liar = Liar(page(len(symbols), *symbols, columns=1))
    serving = liar.serving()
    with LoopThread() as loop:
        loop.run(serving.__aenter__())
        yield liar.url
        loop.run(serving.__aexit__(None, None, None))


def test_symbols_that_cannot_be_partitions_are_skipped(instance: dg.DagsterInstance) -> None:
    with lying("A:B|C", "A:B", "no symbol", "A:[X]", "A:B...C", "NSE:M&M", "KRX:삼성") as url:
        tick(instance, url, group_of())
    assert symbols_of(group_of(), instance) == ["A:B", "NSE:M&M", "KRX:삼성"]


def test_schedules_follow_the_symbols_that_were_found(
    instance: dg.DagsterInstance, market_server: MarketServer, tmp_path: Path
) -> None:
    group = group_of(3)
    (daily, *_) = build_schedules(group)
    moment = datetime(2026, 11, 18, tzinfo=timezone.utc)

    def evaluate() -> Any:
        resources = {"bar_store": BarStoreResource(base=str(tmp_path))}
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=moment, resources=resources
        ) as context:
            return daily.evaluate_tick(context)

    assert "crypto_symbols has found none" in str(evaluate().skip_message)
    tick(instance, market_server.http_url, group)
    (request,) = evaluate().run_requests
    only = request.run_config["ops"][group.name]["config"]["only"]
    assert only == [partition_key(Series.of(symbol, "1d")) for symbol in CRYPTO[:3]]


def test_some_series_of_what_was_found_can_be_fetched_alone(
    instance: dg.DagsterInstance, tmp_path: Path, market_server: MarketServer
) -> None:
    group = group_of(2)
    tick(instance, market_server.http_url, group)
    job = build_definitions(Watchlist(groups=[group]), tmp_path, ws_url=market_server.url).resolve_job_def("crypto_job")
    for key, is_known in (("1d|BINANCE:ETHUSDT", True), ("1d|COINBASE:ETHUSD", False)):
        config = {**QUIET, "ops": {"crypto": {"config": {"only": [key]}}}}
        assert job.execute_in_process(instance=instance, run_config=config, raise_on_error=False).success is is_known
    assert instance.get_materialized_partitions(dg.AssetKey("crypto")) == {"1d|BINANCE:ETHUSDT"}


def test_definitions_load_without_a_screener_and_validate(tmp_path: Path) -> None:
    groups = [group_of(), Group(symbols=["A:B"], intervals=["1d"])]
    definitions = build_definitions(Watchlist(groups=groups), tmp_path, scanner_url="http://127.0.0.1:1")
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    assert {each.name for each in repository.sensor_defs} == {"crypto_symbols", "lake_changes", "lost_runs"}
    assert found_symbols(groups[0]).name == "crypto_symbols"
