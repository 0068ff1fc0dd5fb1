"""What the runs of the schedules tell Dagster of their verdicts: little, and never so that something bad looks good."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.dagster_internals import AssetCheckEvaluationTargetMaterializationData as Target
from tv_etl.orchestration.verdicts import Standing, verdict_text
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import FIRST, QUIET, materializations, minute_rows, replay, run

GROUP = Group(symbols=["NASDAQ:SPLT"], intervals=["1m"])
KEY = "1m|NASDAQ:SPLT"
BARS = dg.AssetKey("bars")
ROWS = minute_rows(400)
BROKEN = [*ROWS[:250], (ROWS[250][0], 100.0, 90.0, 110.0, 100.0, 5.0), *ROWS[251:]]
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@contextmanager
def market(folder: Path, rows: list[tuple[float, ...]], bars: int) -> Iterator[str]:
    """One that has so many bars by now."""
    clock = MarketClock(FIRST + bars * 60, speed=0)
    with serve_in_thread(replay(folder, rows, "1"), ServerOptions(clock=clock)) as server:
        yield server.url


def increment(instance: dg.DagsterInstance, lake: Path, url: str) -> dg.ExecuteInProcessResult:
    """A run as a schedule asks for it."""
    result = run(instance, lake, url, GROUP, keys=[], only=[KEY])
    assert result.success
    return result


def told(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = {each.check_name: "PASS" if each.passed else each.severity.value for each in _evaluations(result)}
    assert len(found) == len(_evaluations(result)), "each once"
    return found


def _evaluations(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    return list(result.get_asset_check_evaluations())


def shown(instance: dg.DagsterInstance, key: str = KEY) -> dict[str, str]:
    """What the page of the partition shows of each check; nothing unless it judges the newest bars."""
    keys = [dg.AssetCheckKey(BARS, name) for name in CHECKS]
    found = instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=[key])
    return {each.check_key.name: each.latest_execution_status.value for each in found if each.is_current}


def test_a_good_series_costs_one_event_that_carries_the_verdict(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with market(tmp_path / "market", ROWS, 300) as url:
        increment(instance, lake, url)
    with market(tmp_path / "market", ROWS, 301) as url:
        result = increment(instance, lake, url)
    assert told(result) == {}
    assert materializations(result)[KEY]["verdict"] == "all checks pass"
    of_partition = [each for each in result.all_events if each.partition == KEY]
    assert [each.event_type for each in of_partition] == [dg.DagsterEventType.ASSET_MATERIALIZATION]


def test_what_is_bad_stays_in_sight_until_it_is_good(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with market(tmp_path / "broken", BROKEN, 300) as url:
        first = increment(instance, lake, url)
        assert told(first) == {"ohlc_consistent": "ERROR"}
        verdict = materializations(first)[KEY]["verdict"]
        assert verdict.startswith("ERROR ohlc_consistent: 1 bars are kept out of the dataset")
        assert told(increment(instance, lake, url)) == {}, "nothing is new, and it is still shown"
        assert shown(instance) == {"ohlc_consistent": "FAILED"}
    with market(tmp_path / "broken", BROKEN, 310) as url:
        assert told(increment(instance, lake, url)) == {"ohlc_consistent": "ERROR"}
    assert shown(instance) == {"ohlc_consistent": "FAILED"}, "the newer bars have not hidden it"
    with market(tmp_path / "sound", ROWS, 311) as url:
        mended = run(instance, lake, url, GROUP, keys=[], only=[KEY], refetch=True)
        assert told(mended)["ohlc_consistent"] == "PASS"
        assert shown(instance)["ohlc_consistent"] == "SUCCEEDED"
    with market(tmp_path / "sound", ROWS, 312) as url:
        assert told(increment(instance, lake, url)) == {}, "it was good, and is"
    assert shown(instance) == {}


def test_the_daily_checks_judge_everything_and_nothing_contradicts_them(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, revised = tmp_path / "lake", list(ROWS)
    moment, opened, high, *rest = revised[297]
    revised[297] = (moment, opened, high + 9.0, *rest)
    with market(tmp_path / "before", ROWS, 300) as url:
        increment(instance, lake, url)
    with market(tmp_path / "after", revised, 300) as url:
        assert told(increment(instance, lake, url)) == {"revisions": "WARN"}
        # The last commit is still the one that revised.
        assert told(increment(instance, lake, url)) == {}
        assert shown(instance) == {"revisions": "FAILED"}
        definitions = build_definitions(Watchlist(groups=[GROUP]), lake, ws_url=url)
        judged = definitions.resolve_job_def("bars_checks_job").execute_in_process(instance=instance, run_config=QUIET)
    found = told(judged)
    assert set(found) == set(CHECKS) and found["revisions"] == "WARN"
    [target] = {each.target_materialization_data for each in judged.get_asset_check_evaluations()}
    assert target is not None
    assert (
        target.storage_id
        == instance.get_latest_storage_id_by_partition(BARS, dg.DagsterEventType.ASSET_MATERIALIZATION)[KEY]
    )
    assert target.run_id != judged.run_id, "it is of the run that stored the bars"


def test_nothing_is_told_where_nothing_was_stored_unless_dagster_knows_nothing(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    with market(tmp_path / "market", ROWS, 300) as url:
        assert set(materializations(increment(instance, lake, url))) == {KEY}
        silent = increment(instance, lake, url)
        assert [each for each in silent.all_events if each.partition] == []
        with dg.DagsterInstance.ephemeral() as other:
            again = [materializations(increment(other, lake, url)) for _ in range(2)]
    assert again[0][KEY]["rows added"] == 0 and again[0][KEY]["dagster/partition_row_count"] == 300
    assert again[1] == {}


def test_it_is_the_same_for_symbols_that_a_scanner_found(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = Group.model_validate({"symbols": {"scanner": {"market": "america"}}, "intervals": ["1d"]})
    instance.add_dynamic_partitions("bars_symbols", ["NASDAQ:AAPL"])
    told = [set(materializations(run(instance, tmp_path, market_url, group, keys=[], only=["1d|NASDAQ:AAPL"])))
            for _ in range(2)]  # fmt: skip
    assert told == [{"1d|NASDAQ:AAPL"}, set()]


def test_a_partition_that_was_asked_for_by_itself_or_first_is_told_with_its_picture(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    with market(tmp_path / "first", ROWS, 290) as url:
        first = materializations(increment(instance, lake, url))[KEY]
    with market(tmp_path / "market", ROWS, 300) as url:
        by_schedule = materializations(increment(instance, lake, url))[KEY]
        by_hand = materializations(run(instance, lake, url, GROUP))[KEY]
    assert first["newest bars"].startswith("![bars]")
    assert not by_schedule.keys() & {"newest bars", "dagster/uri"}
    assert (by_hand["rows added"], by_hand["dagster/uri"]) == (0, BarStore(lake).uri("NASDAQ:SPLT", "1m"))
    assert by_hand["newest bars"].startswith("![bars]")


def evaluation(name: str, severity: dg.AssetCheckSeverity | None) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=BARS,
        check_name=name,
        partition=KEY,
        passed=severity is None,
        severity=severity or WARN,
        description=f"what {name} says",
    )


@pytest.mark.parametrize(
    ("before", "now", "is_materialized", "is_told"),
    [
        (None, None, False, False), (None, None, True, False), (None, WARN, False, True), (None, WARN, True, True),
        ("good", None, False, False), ("good", None, True, False), ("good", WARN, False, True),
        ("good", WARN, True, True), ("bad", None, False, True), ("bad", None, True, True),
        ("bad", WARN, False, False), ("bad", WARN, True, True), ("hidden", WARN, False, True),
        ("hidden", None, False, True),
    ],
)  # fmt: skip
def test_a_verdict_is_told_if_it_changed_or_would_be_hidden(
    instance: dg.DagsterInstance, before: str | None, now: dg.AssetCheckSeverity | None, is_materialized: bool,
    is_told: bool,
) -> None:  # fmt: skip
    instance.report_runless_asset_event(dg.AssetMaterialization(BARS, partition=KEY))
    if before is not None:
        report_judged(instance, evaluation("fresh", None if before == "good" else WARN))
    if before == "hidden":
        instance.report_runless_asset_event(dg.AssetMaterialization(BARS, partition=KEY))
    found = Standing(instance, GROUP, [KEY]).news([evaluation("fresh", now)], (), is_materialized=is_materialized)
    assert bool(found) == is_told
    selected = Standing(instance, GROUP, [KEY]).news(
        [evaluation("fresh", now)], {"fresh"}, is_materialized=is_materialized
    )
    assert selected, "what a run selects it reports"


def report_judged(instance: dg.DagsterInstance, found: dg.AssetCheckEvaluation) -> None:
    [latest] = instance.fetch_materializations(BARS, limit=1).records
    target = Target(storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=found.asset_key,
            check_name=found.check_name,
            partition=found.partition,
            passed=found.passed,
            severity=found.severity,
            target_materialization_data=target,
        )
    )


def test_a_line_of_verdicts_begins_with_the_worst_and_is_bounded() -> None:
    found = [evaluation("fresh", WARN), evaluation("gap_free", ERROR), evaluation("seamless", None)]
    assert verdict_text(found) == "ERROR gap_free: what gap_free says; WARN fresh: what fresh says"
    assert verdict_text(found[2:]) == "all checks pass"
    assert len(verdict_text([evaluation("x" * 1_000, ERROR)])) == 400
