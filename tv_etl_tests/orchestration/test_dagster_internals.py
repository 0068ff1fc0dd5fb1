"""What is used of Dagster's internals is still there, and was read in the installed version."""

from importlib.metadata import version
from itertools import islice

from tv_etl.orchestration.dagster_internals import (
    DAGSTER_VERSION,
    AssetCheckEvaluationTargetMaterializationData,
    reverse_cron_string_iterator,
)


def test_they_were_read_in_the_version_that_is_pinned() -> None:
    assert version("dagster") == DAGSTER_VERSION, "read each of them again, run all tests, then set DAGSTER_VERSION"


def test_a_target_is_an_event_by_its_id() -> None:
    target = AssetCheckEvaluationTargetMaterializationData(storage_id=7, run_id="run", timestamp=1.5)
    assert (target.storage_id, target.run_id, target.timestamp) == (7, "run", 1.5)


def test_ticks_are_counted_backwards() -> None:
    ticks = [tick.minute for tick in islice(reverse_cron_string_iterator(1_790_000_000.0, "*/5 * * * *", "UTC"), 3)]
    assert ticks == [10, 5, 0]
