"""What others stored becomes materializations, each once, and what runs report themselves is left to them."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from tv_etl.collect.renaming import rename_symbol
from tv_etl.lake.store import BarStore
from tv_etl.lake.written import Writer
from tv_etl.orchestration.bar_metadata import WRITTEN, facts_in, state_of
from tv_etl.orchestration.partitions import partition_key, series_partitions
from tv_etl.orchestration.unreported import GRACE_S, Told, known_states, look, report
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group
from tv_etl_tests.collect.served_market import PLAIN, table
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import run
from tv_etl_tests.patience import HANG_S, wait_until

GROUP = Group(symbols=["NASDAQ:AAPL", "NASDAQ:MSFT"], intervals=["1d", "1m"], initial_bars=20)
BARS = dg.AssetKey("bars")
BY_HAND = Writer("tv-etl fetch", "elsewhere")
AAPL, MSFT = "1m|NASDAQ:AAPL", "1m|NASDAQ:MSFT"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(home(tmp_path, "dagster")) as temporary:
        yield temporary


def home(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return str(folder / name)


def put(lake: Path | str, symbol: str, count: int = 20, *, by: Writer = BY_HAND, at: float | None = None) -> None:
    clock = time.time if at is None else lambda: at
    asked = {"asked_from": int(PLAIN[0][0]), "asked_until": int(PLAIN[count - 1][0]) + 60}
    BarStore(lake, clock=clock, writer=by).upsert(symbol, "1m", table(PLAIN[:count], **asked))


def tell(
    instance: dg.DagsterInstance, lake: Path | str, group: Group = GROUP, *, most: int = 500, now: float | None = None
) -> Told:
    """As a tick does that looks at everything."""
    store, until = BarStore(lake), time.monotonic() + HANG_S
    wanted = [Series.of(symbol, interval) for interval in group.intervals for symbol in group.symbols]
    seen = look(store, group, wanted, until)
    moment = time.time() if now is None else now
    return report(instance, store, seen, list(seen.records), moment, most=most, until=until)


def told(instance: dg.DagsterInstance, asset: str = "bars") -> list[dg.AssetMaterialization]:
    """Every materialization, the oldest first."""
    found = instance.fetch_materializations(dg.AssetKey(asset), limit=1_000, ascending=True).records
    return [each.asset_materialization for each in found if each.asset_materialization is not None]


def rows_told(instance: dg.DagsterInstance, asset: str = "bars") -> list[tuple[str | None, object]]:
    return [(each.partition, each.metadata["dagster/partition_row_count"].value) for each in told(instance, asset)]


def test_what_a_command_stored_is_told_once_with_what_is_on_record(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(tmp_path, "NASDAQ:AAPL", at=NOW.timestamp())
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    assert tell(instance, tmp_path) == Told(0, 0, 0)
    [materialization] = told(instance)
    assert (
        materialization.description == "Found in the lake, stored by tv-etl fetch on elsewhere, 2026-11-18 15:00:30Z."
    )
    facts, record = facts_in(materialization), BarStore(tmp_path).record("NASDAQ:AAPL", "1m")
    assert materialization.partition == AAPL
    assert (facts["dagster/partition_row_count"], facts["written by"]) == (20, "tv-etl fetch on elsewhere")
    assert facts[WRITTEN] == state_of(record) == "2026-11-18 15:00:30.000000Z"
    assert {"first bar", "last bar", "loss deadline", "completeness", "verdict"} <= facts.keys()
    assert instance.get_materialized_partitions(BARS) == {AAPL}


def test_a_run_reports_what_it_stores_and_nobody_does_again(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    result = run(instance, tmp_path, market_url, GROUP)
    assert result.success
    assert tell(instance, tmp_path) == Told(0, 0, 0)
    assert len(told(instance)) == 4
    assert BarStore(tmp_path).record("NASDAQ:AAPL", "1m").written[1][2:] == (result.run_id, "bars")  # type: ignore[index]
    # What a run finds stored, and nothing new in it, is no state that anybody has to be told of either.
    assert run(instance, tmp_path, market_url, GROUP, keys=[], only=[AAPL, MSFT]).success
    assert tell(instance, tmp_path) == Told(0, 0, 0)


def test_what_is_stored_after_a_run_by_somebody_else_is_told(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str
) -> None:
    assert run(instance, tmp_path, market_url, GROUP).success
    with dg.DagsterInstance.local_temp(home(tmp_path, "another host")) as other:
        assert run(other, tmp_path, later_market_url, GROUP, keys=[], only=[AAPL]).success
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    newest = told(instance)[-1]
    assert newest.partition == AAPL
    assert str(facts_in(newest)["written by"]).startswith("run ")
    assert newest.metadata["dagster/partition_row_count"].value == BarStore(tmp_path).record("NASDAQ:AAPL", "1m").rows


def test_a_renamed_group_keeps_its_history(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    assert run(instance, tmp_path, market_url, GROUP).success
    renamed = GROUP.model_copy(update={"name": "us"})
    assert tell(instance, tmp_path, renamed) == Told(4, 0, 0)
    assert instance.get_materialized_partitions(dg.AssetKey("us")) == set(
        series_partitions(renamed).get_partition_keys()
    )
    assert sorted(rows_told(instance, "us")) == sorted(rows_told(instance))


def test_a_renamed_symbol_is_told_under_its_new_name(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path, "NASDAQ:MSFT")
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    assert len(list(rename_symbol(BarStore(tmp_path), "NASDAQ:MSFT", "NASDAQ:AAPL"))) == 1
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    assert rows_told(instance) == [(MSFT, 20), (AAPL, 20)]


def test_a_restored_lake_is_told_though_it_is_older(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    put(lake, "NASDAQ:AAPL", 20)
    shutil.copytree(lake, tmp_path / "backup")
    assert tell(instance, lake) == Told(1, 0, 0)
    put(lake, "NASDAQ:AAPL", 30)
    assert tell(instance, lake) == Told(1, 0, 0)
    shutil.rmtree(lake)
    shutil.copytree(tmp_path / "backup", lake)
    assert tell(instance, lake) == Told(1, 0, 0)
    assert tell(instance, lake) == Told(0, 0, 0)
    assert rows_told(instance) == [(AAPL, 20), (AAPL, 30), (AAPL, 20)]


def test_files_whose_record_was_not_copied_along_are_told_by_their_extent(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(tmp_path, "NASDAQ:AAPL", 20)
    (tmp_path / ".tv_etl" / "1m" / "NASDAQ%3AAAPL" / "series.json").unlink()
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    assert tell(instance, tmp_path) == Told(0, 0, 0)
    assert rows_told(instance) == [(AAPL, 20)]
    assert told(instance)[0].description == "Found in the lake, stored."


def test_what_a_run_under_way_wrote_is_left_to_it_until_it_has_ended(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    running = create_run_for_test(instance, job_name="bars_job", status=dg.DagsterRunStatus.STARTED)
    put(tmp_path, "NASDAQ:AAPL", by=Writer("dagster", "here", running.run_id, "bars"))
    assert tell(instance, tmp_path) == Told(0, 1, 0)
    # One that was killed between the two never reports it.
    instance.report_run_failed(running)
    assert tell(instance, tmp_path) == Told(1, 0, 0)


def test_a_run_that_has_not_reported_for_minutes_is_not_waited_for(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    running = create_run_for_test(instance, job_name="bars_job", status=dg.DagsterRunStatus.STARTED)
    put(tmp_path, "NASDAQ:AAPL", by=Writer("dagster", "here", running.run_id, "bars"))
    assert tell(instance, tmp_path, now=time.time() + GRACE_S + 60) == Told(1, 0, 0)


def test_what_a_run_is_going_to_fetch_is_left_to_it_where_dagster_has_not_got_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """It reports what it finds stored, as it stands."""
    put(tmp_path, "NASDAQ:AAPL", at=NOW.timestamp())
    put(tmp_path, "NASDAQ:MSFT", at=NOW.timestamp())
    waiting = create_run_for_test(
        instance,
        job_name="bars_job",
        status=dg.DagsterRunStatus.STARTING,
        run_config={"ops": {"bars": {"config": {"only": [AAPL]}}}},
    )
    assert tell(instance, tmp_path) == Told(1, 1, 0)
    assert rows_told(instance) == [(MSFT, 20)]
    instance.report_run_canceled(waiting)
    assert tell(instance, tmp_path) == Told(1, 0, 0)


def test_so_many_are_told_at_once_and_the_rest_later(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    group = Group(symbols=[f"NASDAQ:A{number}" for number in range(7)], intervals=["1m"])
    for symbol in group.symbols:
        put(tmp_path, symbol)
    assert [tell(instance, tmp_path, group, most=3) for _ in range(4)] == [
        Told(3, 0, 4),
        Told(3, 0, 1),
        Told(1, 0, 0),
        Told(0, 0, 0),
    ]
    assert sorted(str(each.partition) for each in told(instance)) == [f"1m|{symbol}" for symbol in group.symbols]


def _tell(home: str, lake: Path, group: Group) -> None:
    with dg.DagsterInstance.local_temp(home) as instance:
        tell(instance, lake, group)


def test_each_is_told_once_though_whoever_tells_is_killed_again_and_again(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    group = Group(symbols=[f"NASDAQ:A{number}" for number in range(60)], intervals=["1m"])
    for symbol in group.symbols:
        put(tmp_path, symbol)
    spawn, before = multiprocessing.get_context("spawn"), 0
    for _ in range(3):
        process = spawn.Process(target=_tell, args=(str(tmp_path / "dagster"), tmp_path, group))
        process.start()
        wait_until(partial(_has_more, instance, before), "some are told")
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        before = len(told(instance))
    assert before < 60, "none was killed in time"
    assert tell(instance, tmp_path, group).reported == 60 - before
    assert sorted(str(each.partition) for each in told(instance)) == sorted(f"1m|{each}" for each in group.symbols)


def _has_more(instance: dg.DagsterInstance, count: int) -> bool:
    return len(told(instance)) > count


def test_what_is_bad_is_named(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path, "NASDAQ:AAPL")
    broken = [(PLAIN[20][0], 100.0, 1.0, 99.0, 100.0, 5.0)]
    BarStore(tmp_path, writer=BY_HAND).upsert("NASDAQ:AAPL", "1m", table([*PLAIN[10:20], *broken]))
    put(tmp_path, "NASDAQ:MSFT")
    # A minute after the newest bar, when nothing else is wrong.
    found = tell(instance, tmp_path, now=PLAIN[19][0] + 120)
    assert (found.reported, found.bad) == (2, [AAPL])
    assert [facts_in(each)["verdict"] for each in told(instance)] == [
        "ERROR ohlc_consistent: 1 bars are kept out of the dataset: low and high do not enclose open and close",
        "all checks pass",
    ]


def test_a_materialization_that_names_no_state_is_judged_by_its_time(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """As a version wrote it that knew of none."""
    put(tmp_path, "NASDAQ:AAPL", at=time.time() - 60)
    instance.report_runless_asset_event(dg.AssetMaterialization(BARS, partition=AAPL))
    assert known_states(instance, BARS, [AAPL, MSFT])[AAPL].state == ""
    assert tell(instance, tmp_path) == Told(0, 0, 0)
    put(tmp_path, "NASDAQ:AAPL", 21, at=time.time() + 60)
    assert tell(instance, tmp_path) == Told(1, 0, 0)


def test_what_changes_while_it_is_told_is_left_to_the_next_look(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path, "NASDAQ:AAPL")
    store, until = BarStore(tmp_path), time.monotonic() + HANG_S
    seen = look(store, GROUP, [Series.of("NASDAQ:AAPL", "1m")], until)
    put(tmp_path, "NASDAQ:AAPL", 25)
    report(instance, store, seen, list(seen.records), time.time(), most=9, until=until)
    assert not told(instance)
    assert replace(seen.records[AAPL], written=None) != BarStore(tmp_path).record("NASDAQ:AAPL", "1m")
    assert tell(instance, tmp_path) == Told(1, 0, 0)
    assert rows_told(instance) == [(AAPL, 25)]


def test_what_cannot_be_read_holds_up_nothing_else(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path, "NASDAQ:AAPL")
    put(tmp_path, "NASDAQ:MSFT")
    (tmp_path / ".tv_etl" / "1m" / "NASDAQ%3AAAPL" / "series.json").write_text("{", encoding="utf-8")
    seen = look(BarStore(tmp_path), GROUP, [Series.of(each, "1m") for each in GROUP.symbols], time.monotonic() + HANG_S)
    assert (list(seen.records), list(seen.errors)) == ([MSFT], [partition_key(Series.of("NASDAQ:AAPL", "1m"))])
    assert tell(instance, tmp_path) == Told(1, 0, 0)
