"""What is pruned of an instance's history: runs of ours that nothing depends on, and nothing of anybody else."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.test_utils import create_run_for_test, freeze_time

from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.orchestration.pruning import Pruned, prune
from tv_etl.orchestration.watched import Watched
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.lake_runs import QUIET, run
from tv_etl_tests.orchestration.test_event_history import KEY, OURS, Told, standing, tell
from tv_etl_tests.patience import HANG_S

GROUP = Group(symbols=["NASDAQ:AAPL", "FAULT:SERIES_ERROR", "BINANCE:BTCUSDT"], intervals=["1m"], initial_bars=20)
AAPL, BAD, BTC = (f"1m|{symbol}" for symbol in GROUP.symbols)
SUCCESS = "success"


def soon() -> float:
    return time.monotonic() + 600


def now() -> datetime:
    return datetime.now(timezone.utc)


def files_of(instance: dg.DagsterInstance) -> dict[str, int]:
    """The size of every file of an instance."""
    folder = Path(instance.root_directory)
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def bars_standing(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the pages of the partitions of GROUP say."""
    keys, partitions = series_partitions(GROUP).get_partition_keys(), series_partitions(GROUP)
    checks = [dg.AssetCheckKey(KEY, name) for name in CHECKS]
    storage = instance.event_log_storage
    storage.wipe_asset_cached_status(KEY)
    found: dict[str, Any] = {"status": instance.get_status_by_partition(KEY, keys, partitions)}
    for key in keys:
        wanted = dg.AssetRecordsFilter(KEY, asset_partitions=[key])
        found[key] = [each.asset_materialization for each in instance.fetch_materializations(wanted, limit=1).records]
        found[f"why {key}"] = [each.event_log_entry for each in instance.fetch_observations(wanted, limit=1).records]
    verdicts = storage.get_asset_check_partition_info(checks)
    found["verdicts"] = sorted(verdicts, key=lambda each: (each.check_key.name, str(each.partition_key)))
    return found


def test_of_many_runs_those_are_left_that_tell_how_the_series_stand(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str
) -> None:
    lake = tmp_path / "lake"
    first = run(instance, lake, market_url, GROUP)
    quiet = [run(instance, lake, market_url, GROUP, keys=[], only=[AAPL, BTC]) for _ in range(3)]
    newer = run(instance, lake, later_market_url, GROUP, keys=[], only=[AAPL])
    last = run(instance, lake, later_market_url, GROUP, keys=[], only=[AAPL])
    assert [each.success for each in (first, *quiet, newer, last)] == [False, True, True, True, True, True]
    known, files = bars_standing(instance), files_of(instance)
    stored = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    assert {key: each and each.value for key, each in known["status"].items()} == {
        AAPL: "MATERIALIZED",
        BAD: "FAILED",
        BTC: "MATERIALIZED",
    }
    pruned = prune(instance, OURS, now(), until=soon())
    # The first tells of BTC and of what failed, the next to last of AAPL, the last is the newest of the asset.
    assert {each.run_id for each in instance.get_runs()} == {first.run_id, newer.run_id, last.run_id}
    assert (pruned.runs, pruned.kept, pruned.is_all) == (3, 3, True)
    assert bars_standing(instance) == known
    assert {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()} == stored
    left = files_of(instance)
    assert set(left) == {name for name in files if not any(each.run_id in name for each in quiet)}
    assert sum(left.values()) < sum(files.values()) - 3 * 100_000


def test_what_is_younger_stays(instance: dg.DagsterInstance) -> None:
    old, before, young = tell(instance, Told((), SUCCESS), 0), now(), tell(instance, Told((), SUCCESS), 1)
    assert prune(instance, OURS, before - timedelta(days=1), until=soon()).runs == 0
    assert prune(instance, OURS, before, until=soon()).runs == 1
    assert [each.run_id for each in instance.get_runs()] == [young]
    assert not [name for name in files_of(instance) if old in name]


def origin(location: str) -> Any:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    return repository.get_job_origin("bars_job")


def made(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS, **rest: Any) -> str:
    """A run, by default one that has succeeded."""
    rest = {"job_name": "bars_job", **rest}
    return str(create_run_for_test(instance, status=status, **rest).run_id)


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING", "MANAGED"])
def test_what_has_not_ended_stays(instance: dg.DagsterInstance, status: str) -> None:
    queued = made(instance, dg.DagsterRunStatus.QUEUED, remote_job_origin=origin("here"))
    going, over = made(instance, dg.DagsterRunStatus(status)), made(instance, dg.DagsterRunStatus.CANCELED)
    assert prune(instance, OURS, now(), until=soon()).runs == 1
    assert instance.has_run(going)
    assert instance.has_run(queued)
    assert not instance.has_run(over)


def test_what_was_retried_stays_as_long_as_the_retry(instance: dg.DagsterInstance) -> None:
    failed = dg.DagsterRunStatus.FAILURE

    def retry(root: str, parent: str, status: dg.DagsterRunStatus) -> str:
        tags = {"dagster/root_run_id": root, "dagster/parent_run_id": parent}
        return made(instance, status, root_run_id=root, parent_run_id=parent, tags=tags)

    root, lone, over = (made(instance, failed) for _ in range(3))
    second = retry(root, root, failed)
    going = retry(root, second, dg.DagsterRunStatus.STARTED)
    done = retry(over, over, dg.DagsterRunStatus.SUCCESS)
    assert prune(instance, OURS, now(), until=soon()).runs == 3
    assert {each.run_id for each in instance.get_runs()} == {root, second, going}
    assert not any(instance.has_run(each) for each in (lone, over, done))
    before = now()
    instance.report_run_failed(instance.get_runs(filters=dg.RunsFilter(run_ids=[going]))[0])
    assert prune(instance, OURS, before, until=soon()).runs == 0, "it ended after that"
    assert prune(instance, OURS, now(), until=soon()).runs == 3


def test_runs_of_a_backfill_stay_until_it_is_over(instance: dg.DagsterInstance) -> None:
    backfill = PartitionBackfill(
        "grid",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=1.0,
        asset_selection=[KEY],
    )
    instance.add_backfill(backfill)
    of_backfill = made(instance, tags={"dagster/backfill": "grid"})
    of_unknown = made(instance, tags={"dagster/backfill": "deleted"})
    assert prune(instance, OURS, now(), until=soon()).runs == 1
    assert (instance.has_run(of_backfill), instance.has_run(of_unknown)) == (True, False)
    instance.update_backfill(backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS))
    assert prune(instance, OURS, now(), until=soon()).runs == 1
    assert not instance.has_run(of_backfill)


def test_runs_of_others_stay(instance: dg.DagsterInstance) -> None:
    """Also where they have fetched of ours, or were started by an alert."""

    theirs, check = dg.AssetKey("theirs"), dg.AssetCheckKey(dg.AssetKey("theirs"), "any")
    others = [
        made(instance, job_name="their_job"),
        made(instance, job_name="their_job", tags={"tv_etl/event_id": "alert"}),
        made(instance, job_name="__ASSET_JOB", asset_selection=frozenset({theirs})),
        made(instance, job_name="__ASSET_JOB", asset_selection=frozenset({KEY, theirs})),
        made(instance, job_name="__ASSET_JOB", asset_check_selection=frozenset({check})),
        made(instance, remote_job_origin=origin("elsewhere")),
    ]
    ours = [
        made(instance, job_name="__ASSET_JOB", asset_selection=frozenset({KEY})),
        made(instance, remote_job_origin=origin("here")),
        made(instance),
    ]
    mixed = made(instance, dg.DagsterRunStatus.STARTED)
    planned = AssetMaterializationPlannedData(theirs)
    instance.report_dagster_event(
        DagsterEvent.build_asset_materialization_planned_event("bars_job", "theirs", planned), mixed
    )
    instance.report_dagster_event(DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "bars_job"), mixed)
    here = Watched((), OURS.jobs, OURS.assets, repository="__repository__", location="here")
    assert prune(instance, here, now(), until=soon()).runs == len(ours)
    assert {each.run_id for each in instance.get_runs()} == {*others, mixed}


def test_the_oldest_go_first_and_the_rest_later(instance: dg.DagsterInstance) -> None:
    runs = [made(instance) for _ in range(7)]
    pruned = prune(instance, OURS, now(), until=soon(), most=4)
    assert (pruned.runs, pruned.is_all) == (4, False)
    assert sorted(each.run_id for each in instance.get_runs()) == sorted(runs[4:])
    assert prune(instance, OURS, now(), until=time.monotonic()).runs == 0
    pruned = prune(instance, OURS, now(), until=soon(), most=4)
    assert (pruned.runs, pruned.is_all) == (3, True)
    assert not instance.get_runs()


def test_more_than_a_page_goes_at_once() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        kept = []
        for number in range(450):
            made(instance)
            if number % 150 == 0:
                kept.append(
                    tell(instance, Told((("materialized", "ab"[number % 2]), ("bad", str(number))), SUCCESS), 0)
                )
        pruned = prune(instance, OURS, now(), until=soon())
        assert (pruned.runs, pruned.kept) == (450, 3)
        assert sorted(each.run_id for each in instance.get_runs()) == sorted(kept)


# --- the job


def definitions(lake: Path, **rest: Any) -> dg.Definitions:
    keys = {name: rest.pop(name) for name in ("keep_history",) if name in rest}
    return build_definitions(Watchlist(groups=[GROUP], **keys), lake, **rest)


def test_the_job_deletes_what_is_older_than_the_watchlist_says(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with freeze_time(now() - timedelta(days=31)):
        old = tell(instance, Told((), SUCCESS), 0)
    with freeze_time(now() - timedelta(days=29)):
        young = tell(instance, Told((), SUCCESS), 1)
    job = definitions(tmp_path).resolve_job_def("prune_history")
    done = job.execute_in_process(instance=instance, run_config=QUIET)
    assert (instance.has_run(old), instance.has_run(young)) == (False, True)
    [handled] = [each for each in done.all_events if each.event_type_value == "STEP_OUTPUT"]
    metadata = {key: each.value for key, each in handled.step_output_data.metadata.items()}
    del metadata["before"]
    assert metadata == {
        "runs deleted": 1,
        "older runs kept": 0,
        "events without a run deleted": 0,
        "logs of ticks deleted": 0,
        "all": True,
    }
    assert not list(Path(instance.storage_directory()).rglob("result")), "its output is nothing"
    shorter = definitions(tmp_path, keep_history=7).resolve_job_def("prune_history")
    shorter.execute_in_process(instance=instance, run_config=QUIET)
    assert not instance.has_run(young)
    # Its own runs go as well, once they are old.
    assert {each.job_name for each in instance.get_runs()} == {"prune_history"}
    with freeze_time(now() + timedelta(days=31)):
        job.execute_in_process(instance=instance, run_config=QUIET)


@pytest.mark.parametrize(
    ("rest", "is_on"),
    [
        ({}, True),
        ({"keep_history": 30}, True),
        ({"scope": "desk"}, False),
        ({"scope": "desk", "keep_history": 30}, True),
        ({"key_prefix": "us"}, False),
        ({"key_prefix": "us", "keep_history": 90}, True),
    ],
)
def test_it_is_on_in_a_code_location_of_its_own_and_where_the_key_is_written(
    tmp_path: Path, rest: dict[str, Any], is_on: bool
) -> None:
    name = "desk_prune_history" if "scope" in rest else "us_prune_history" if "key_prefix" in rest else "prune_history"
    schedule = definitions(tmp_path, **rest).resolve_schedule_def(name)
    assert schedule.default_status.value == ("RUNNING" if is_on else "STOPPED")
    assert schedule.job_name == name


def test_nothing_is_deleted_where_the_watchlist_says_so(tmp_path: Path) -> None:
    built = definitions(tmp_path, keep_history=0)
    names = [each.name for each in (*(built.jobs or []), *(built.schedules or []))]
    assert names
    assert not [name for name in names if "prune" in name]


def test_what_became_of_it_is_said() -> None:
    before = datetime(2026, 11, 1, 3, 50, tzinfo=timezone.utc)
    assert str(Pruned(before, 17_280, 12, 300, 5_760, is_all=False)) == (
        "17,280 runs deleted that ended before 2026-11-01 03:50Z, and 12 of that time kept, on which something still "
        "depends; 300 older events without a run and the logs of 5,760 ticks deleted; the rest follows in the next run "
        "of this job"
    )
    assert str(Pruned(before, storage="CloudStorage")) == (
        "nothing deleted: CloudStorage keeps no history in tables that can be read here"
    )


# Prunes, and kills itself after so many statements and files that it has deleted.
_KILLED = """
import os, signal, sys, time
from datetime import datetime, timezone
import dagster as dg
import sqlalchemy as sa
from tv_etl.orchestration.pruning import prune
from tv_etl_tests.orchestration.test_event_history import OURS

left = int(sys.argv[1])

def deleted():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def executed(connection, cursor, statement, *rest):
    if statement.startswith("DELETE"):
        deleted()

with dg.DagsterInstance.get() as instance:
    sa.event.listen(sa.Engine, "after_cursor_execute", executed)
    sys.addaudithook(lambda event, rest: deleted() if event == "os.remove" else None)
    prune(instance, OURS, datetime.now(timezone.utc), until=time.monotonic() + 600)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    failed = Told((("planned", "a"), ("observed", "a")), "failure")
    fetched = Told((("planned", "b"), ("materialized", "b"), ("bad", "b")), SUCCESS)
    runless = Told((("materialized", "a"),), "without a run")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        ids = [tell(instance, told, number) for number, told in enumerate([fetched, runless, failed] * 4)]
        for run_id in filter(None, ids):
            with instance.compute_log_manager.open_log_stream([run_id, "compute_logs", "x"], ComputeIOType.STDERR):
                pass
        known, needed = standing(instance), {ids[9], ids[11]}
        environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
        for number in (0, 1, 2, 3, 5, 7, 9, 1_000):
            command = [sys.executable, "-c", _KILLED, str(number)]
            code = subprocess.run(command, env=environment, timeout=HANG_S).returncode
            assert code == (0 if number == 1_000 else -signal.SIGKILL)
            assert standing(instance) == known
            assert needed <= {each.run_id for each in instance.get_runs()}
        assert needed == {each.run_id for each in instance.get_runs()}
        assert prune(instance, OURS, now(), until=soon()).runs == 0
        gone = set(filter(None, ids)) - needed
        assert not [path for path in tmp_path.rglob("*") if any(run_id in path.name for run_id in gone)]
