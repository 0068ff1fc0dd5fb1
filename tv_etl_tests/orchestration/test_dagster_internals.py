"""What is used of Dagster's internals is still there, and was read in the installed version."""

from importlib.metadata import version
from itertools import islice

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)

from tv_etl.orchestration.dagster_internals import (
    ASSET_JOB,
    DAGSTER_VERSION,
    RUNLESS,
    AssetCheckEvaluationTargetMaterializationData,
    event_files,
    event_storage,
    history_tables,
    reverse_cron_string_iterator,
    running_schedules,
    tick_log_keys,
    tick_storage,
)


def test_they_were_read_in_the_version_that_is_pinned() -> None:
    assert version("dagster") == DAGSTER_VERSION, "read each of them again, run all tests, then set DAGSTER_VERSION"


def test_a_target_is_an_event_by_its_id() -> None:
    target = AssetCheckEvaluationTargetMaterializationData(storage_id=7, run_id="run", timestamp=1.5)
    assert (target.storage_id, target.run_id, target.timestamp) == (7, "run", 1.5)


def test_ticks_are_counted_backwards() -> None:
    ticks = [tick.minute for tick in islice(reverse_cron_string_iterator(1_790_000_000.0, "*/5 * * * *", "UTC"), 3)]
    assert ticks == [10, 5, 0]


def test_whether_a_schedule_is_on_is_for_the_instance_to_say(instance: dg.DagsterInstance) -> None:
    switched = {"bars_1m": False, "bars_1h": False}

    def on(defaults: dict[str, bool], location: str = "here") -> dict[str, bool]:
        origin = RegisteredCodeLocationOrigin(location)
        with dg.SensorEvaluationContext(None, instance=instance, code_location_origin=origin) as context:
            return running_schedules(context, defaults)

    assert on(switched) == switched
    for status in (InstigatorStatus.RUNNING, InstigatorStatus.STOPPED, InstigatorStatus.DECLARED_IN_CODE):
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
        state = InstigatorState(
            repository.get_instigator_origin("bars_1m"),
            InstigatorType.SCHEDULE,
            status,
            ScheduleInstigatorData("* * * * *", start_timestamp=1.0),
        )
        if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
            instance.add_instigator_state(state)
        else:
            instance.update_instigator_state(state)
        is_on = status is InstigatorStatus.RUNNING
        assert on(switched) == {"bars_1m": is_on, "bars_1h": False}
        assert on(switched, "elsewhere") == switched
    # Declared in code: on, as long as the code says so.
    assert on({"bars_1m": True, "bars_1h": True}) == {"bars_1m": True, "bars_1h": True}


def test_a_history_is_in_these_tables_and_files(instance: dg.DagsterInstance) -> None:
    """What is deleted of it is told by the tests of `event_history`; here, that there is nothing more to delete."""
    assert (ASSET_JOB, RUNLESS) == (IMPLICIT_ASSET_JOB_NAME, RUNLESS_RUN_ID)
    storage, ticks = event_storage(instance), tick_storage(instance)
    assert storage is not None
    assert ticks is not None
    events, tags, checks, _ = history_tables()
    assert [each.name for each in history_tables()] == [
        "event_logs",
        "asset_event_tags",
        "asset_check_executions",
        "job_ticks",
    ]
    # Of all tables of events, these are the ones that grow with the runs.
    assert {name for name, table in events.metadata.tables.items() if "run_id" in table.columns} == {
        events.name,
        checks.name,
        "concurrency_slots",
        "pending_steps",
    }
    assert "event_id" in tags.columns
    files = event_files(storage, "some-run")
    assert [path.name for path in files] == ["some-run.db-wal", "some-run.db-shm", "some-run.db"]
    assert tick_log_keys(instance, "repository", "never_ticked") == []
    with dg.DagsterInstance.ephemeral() as shared:
        in_memory = event_storage(shared)
        assert in_memory is not None
        assert event_files(in_memory, "some-run") == []
        assert tick_log_keys(shared, "repository", "never_ticked") == []
