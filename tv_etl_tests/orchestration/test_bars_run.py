"""What a run asks for, and asks for again; what becomes of it is in test_assets and test_checks."""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.bars import build_bars_asset
from tv_etl.orchestration.bars_config import MAX_RETRIES
from tv_etl.orchestration.bars_run import _moment
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.outcomes import run_outcomes
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.resources import BarStoreResource, TradingViewResource
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.conftest import NOW
from tv_etl_tests.dagster_dev import CountingMarket
from tv_etl_tests.lake_runs import QUIET, materializations, run


def test_a_time_needs_a_zone() -> None:
    moment = _moment("start", "2026-11-02T14:30:00Z")
    assert moment is not None
    assert moment.isoformat() == "2026-11-02T14:30:00+00:00"
    assert _moment("start", "") is None
    for text in ("2026-11-02", "2026-11-02T14:30:00"):
        with pytest.raises(dg.Failure, match=f"^start: '{text}' is not a time with an offset; write e.g. 2026-"):
            _moment("start", text)


def test_a_wrong_value_is_named_in_bounds() -> None:
    with pytest.raises(dg.Failure, match=r"^end: 'soon' is not a time with an offset"):
        _moment("end", "soon")
    with pytest.raises(dg.Failure) as caught:
        _moment("end", "\x1b]0;" + "x" * 100_000)
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 300


GROUP = Group(symbols=["NASDAQ:AAPL", "NASDAQ:NOPE", "FAULT:EMPTY"], intervals=["1m"], initial_bars=20)


def reasons_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    return {key: str(each.value) for key, each in failure.user_failure_data.metadata.items()}


def test_a_retry_asks_only_for_what_may_succeed_and_is_missing(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tv_etl.orchestration.bars.RETRY_POLICY", dg.RetryPolicy(max_retries=MAX_RETRIES))
    market = CountingMarket()
    with serve_in_thread(market, ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as server:
        result = dg.materialize(
            [build_bars_asset(GROUP)],
            instance=instance,
            tags=range_tags(series_partitions(GROUP).get_partition_keys()),
            resources={
                "tradingview": TradingViewResource(ws_url=server.url),
                "bar_store": BarStoreResource(base=str(tmp_path)),
            },
            run_config=QUIET,
            raise_on_error=False,
        )
    assert len([event for event in result.all_events if event.is_step_restarted]) == 2
    assert market.asked["NASDAQ:NOPE"] == market.asked["NASDAQ:AAPL"] == 1
    assert list(materializations(result)) == ["1m|NASDAQ:AAPL"]
    # The end names all that failed, also what was asked for in the first try only.
    reasons = reasons_of(result)
    assert set(reasons) == {"1m|NASDAQ:NOPE", "1m|FAULT:EMPTY"}
    assert "without a bar" in reasons["1m|FAULT:EMPTY"]
    # And each partition reported why once, not once per try.
    observed = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    assert {event.partition: event.metadata["retryable"].value for event in observed} == {
        "1m|NASDAQ:NOPE": False,
        "1m|FAULT:EMPTY": True,
    }
    assert len(observed) == 2


def from_failure(definitions: dg.Definitions, instance: dg.DagsterInstance, parent: dg.DagsterRun) -> dg.DagsterRun:
    """Re-execute a run as the button of the interface does."""
    job = definitions.resolve_job_def("bars_job")
    child = instance.create_run_for_job(
        job,
        run_config=parent.run_config,
        tags={**parent.tags, "dagster/is_resume_retry": "true"},
        root_run_id=parent.root_run_id or parent.run_id,
        parent_run_id=parent.run_id,
    )
    execute_run(InMemoryJob(job), child, instance)
    return child


def test_a_re_execution_from_failure_fetches_what_no_parent_stored(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NASDAQ:NDX", "NASDAQ:NOPE"]})
    keys = set(series_partitions(group).get_partition_keys())
    market = CountingMarket()
    with serve_in_thread(market, ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as server:
        definitions = build_definitions(Watchlist(groups=[group]), tmp_path, ws_url=server.url)
        parent = run(instance, tmp_path, server.url, group).dagster_run
        assert market.asked == dict.fromkeys(group.symbols, 1)
        child = from_failure(definitions, instance, parent)
        assert market.asked == {"NASDAQ:AAPL": 1, "NASDAQ:NDX": 1, "NASDAQ:NOPE": 2}
        outcomes = run_outcomes(instance, child.run_id, dg.AssetKey("bars"))
        assert outcomes.stored | outcomes.failed.keys() == keys
        # What a parent stored, and the lake has lost since, is fetched again.
        shutil.rmtree(BarStore(tmp_path).uri("NASDAQ:NDX", "1m"))
        grandchild = from_failure(definitions, instance, child)
    assert market.asked == {"NASDAQ:AAPL": 1, "NASDAQ:NDX": 2, "NASDAQ:NOPE": 3}
    assert BarStore(tmp_path).record("NASDAQ:NDX", "1m").rows == 19
    assert run_outcomes(instance, grandchild.run_id, dg.AssetKey("bars")).failed.keys() == {"1m|NASDAQ:NOPE"}


AAPL, EMPTY = "1m|NASDAQ:AAPL", "1m|FAULT:EMPTY"
WHOLE = GROUP.model_copy(update={"initial_bars": None})


def statuses(instance: dg.DagsterInstance) -> dict[str, str]:
    """What the page of the asset shows of each partition."""
    partitions = series_partitions(GROUP)
    keys = partitions.get_partition_keys()
    found = instance.get_status_by_partition(dg.AssetKey("bars"), keys, partitions) or {}
    return {key: each.value for key, each in found.items() if each is not None}


def test_a_series_that_fails_in_a_run_of_a_schedule_is_shown_as_failed_until_it_is_fine(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Such a run has planned no partitions; and when the series is fine again, nothing may be new of it."""
    clock = MarketClock(NOW.timestamp(), speed=0)
    with serve_in_thread(CountingMarket(), ServerOptions(clock=clock)) as server:
        assert run(instance, tmp_path / "lake", server.url, WHOLE, keys=[], only=[AAPL]).success
        assert statuses(instance) == {AAPL: "MATERIALIZED"}
        with serve_in_thread(CountingMarket(8), ServerOptions(clock=clock)) as other:  # which has other bars
            failed = run(instance, tmp_path / "lake", other.url, WHOLE, keys=[], only=[AAPL])
        assert set(reasons_of(failed)) == {AAPL}
        assert statuses(instance) == {AAPL: "FAILED"}
        again = run(instance, tmp_path / "lake", server.url, WHOLE, keys=[], only=[AAPL])
        assert materializations(again)[AAPL]["rows added"] == 0
        assert statuses(instance) == {AAPL: "MATERIALIZED"}
        assert not materializations(run(instance, tmp_path / "lake", server.url, WHOLE, keys=[], only=[AAPL]))


def test_what_a_run_found_unchanged_and_told_nothing_of_is_not_asked_for_again(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tv_etl.orchestration.bars.RETRY_POLICY", dg.RetryPolicy(max_retries=MAX_RETRIES))
    market = CountingMarket()
    with serve_in_thread(market, ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as server:
        assert run(instance, tmp_path, server.url, WHOLE, keys=[], only=[AAPL]).success
        result = run(instance, tmp_path, server.url, WHOLE, keys=[], only=[AAPL, EMPTY])
        assert len([event for event in result.all_events if event.is_step_restarted]) == MAX_RETRIES
        assert not materializations(result)
        assert market.asked["NASDAQ:AAPL"] == 2, "once by each run, whatever the second tried again"
        definitions = build_definitions(Watchlist(groups=[WHOLE]), tmp_path, ws_url=server.url)
        from_failure(definitions, instance, result.dagster_run)
    assert market.asked["NASDAQ:AAPL"] == 2
    assert statuses(instance) == {AAPL: "MATERIALIZED", EMPTY: "FAILED"}


def test_a_message_names_some_failures_and_counts_the_rest(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = GROUP.model_copy(update={"symbols": [f"NASDAQ:NOPE{number:02}" for number in range(23)]})
    result = run(instance, tmp_path, market_url, group)
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.error is not None
    assert re.search(r"23 of 23 series failed: 1m.NASDAQ:NOPE00, .*NOPE19 and 3 more", failure.error.message)
    assert len(reasons_of(result)) == 23


def test_a_group_can_do_without_pictures(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL"]})
    [shown] = materializations(run(instance, tmp_path, market_url, group)).values()
    assert shown["newest bars"].startswith("![bars](data:image/png;base64,")
    plain = group.model_copy(update={"pictures": False})
    [without] = materializations(run(instance, tmp_path, market_url, plain)).values()
    assert "newest bars" not in without


class OddTradingView(TradingViewResource):
    """Its answers for some symbols say of themselves what nobody understands, or nothing."""

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request, result in super().fetch(requests):
            said = {"NASDAQ:NDX": {"fetch.rejected": "some"}, "NASDAQ:MSFT": {}}.get(request.symbol)
            assert isinstance(result, pa.Table)
            yield request, result if said is None else result.replace_schema_metadata(said)


def test_a_series_that_breaks_our_code_fails_by_name_and_the_others_are_stored(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NASDAQ:NDX", "NASDAQ:MSFT", "NYSE:JNJ"]})
    result = dg.materialize(
        [build_bars_asset(group)],
        instance=instance,
        tags=range_tags(series_partitions(group).get_partition_keys()),
        resources={
            "tradingview": OddTradingView(ws_url=market_url),
            "bar_store": BarStoreResource(base=str(tmp_path)),
        },
        run_config=QUIET,
        raise_on_error=False,
    )
    assert set(materializations(result)) == {"1m|NASDAQ:AAPL", "1m|NYSE:JNJ"}
    reasons = reasons_of(result)
    assert reasons.pop("1m|NASDAQ:NDX").startswith("unexpected ValueError: invalid literal for int()")
    assert list(reasons) == ["1m|NASDAQ:MSFT"]
    assert reasons["1m|NASDAQ:MSFT"].startswith(
        "UnvouchedAnswerError: NASDAQ:MSFT 1m: the table does not say whether it is a whole answer (no 'fetch.rejected'"
    )


def test_the_metadata_of_a_failure_is_bounded(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": [f"NASDAQ:NOPE{number:03}" for number in range(203)]})
    reasons = reasons_of(run(instance, tmp_path, market_url, group))
    assert len(reasons) == 201 and reasons["and more"] == "3"
