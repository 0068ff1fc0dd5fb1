"""What is used of Dagster's internals is still there, and was read in the installed version."""

from importlib.metadata import version
from itertools import islice

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)

from tv_etl.orchestration.dagster_internals import (
    DAGSTER_VERSION,
    AssetCheckEvaluationTargetMaterializationData,
    reverse_cron_string_iterator,
    running_schedules,
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
