"""What runs tell of troubles: by name and reason, when retries are used up, and nothing that is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.alerts.troubles import Sighting, Subject
from tv_etl.orchestration.run_sightings import run_sightings
from tv_etl.orchestration.watched import Watched
from tv_etl_tests.lake_runs import QUIET

NOW = 1_790_000_000.0
CLIENTS = dg.StaticPartitionsDefinition(["a", "b"])


class RefusedError(Exception):
    pass


@dg.asset(partitions_def=CLIENTS, config_schema={"how": str})
def prices(context: dg.AssetExecutionContext) -> None:
    """Ends as its config says."""
    how = context.op_execution_context.op_config["how"]
    if how == "failure":
        raise dg.Failure("the disk is full", metadata={"left": 0})
    if how == "error":
        try:
            int("x")
        except ValueError as error:
            raise RefusedError("not for\nus") from error


JOB = dg.define_asset_job("prices_job", [prices])
WATCHED = Watched.of([], [prices], [JOB], [], [])


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that retries runs."""
    settings = {"run_retries": {"enabled": True, "max_retries": 1}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings) as temporary:
        yield temporary


def run(
    instance: dg.DagsterInstance, how: str, partition: str = "a", tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(assets=[prices], jobs=[JOB]).resolve_job_def("prices_job")
    config = {**QUIET, "ops": {"prices": {"config": {"how": how}}}}
    return job.execute_in_process(
        instance=instance, run_config=config, partition_key=partition, tags=tags, raise_on_error=False
    )


class Reader:
    """Reads on from where it was."""

    def __init__(self, instance: dg.DagsterInstance, watched: Watched = WATCHED) -> None:
        self.instance, self.watched, self.mark = instance, watched, ""
        self.open: dict[Subject, object] = {}
        assert self.read() == [], "what was before is told nobody"

    def read(self, now: float = NOW) -> list[Sighting]:
        found, self.mark = run_sightings(self.instance, self.watched, self.mark, self.open, now)
        return found

    def told(self, now: float = NOW) -> list[tuple[Any, ...]]:
        return [(*each.subject[1:], each.is_bad, each.reason) for each in self.read(now)]


def test_what_was_before_the_first_look_is_told_nobody(instance: dg.DagsterInstance) -> None:
    run(instance, "failure")
    Reader(instance)


@pytest.mark.parametrize(("how", "reason"), [("failure", "the disk is full"), ("error", "RefusedError: not for us")])
def test_a_partition_that_failed_is_named_with_the_reason_and_once(
    instance: dg.DagsterInstance, how: str, reason: str
) -> None:
    reader = Reader(instance)
    failed = run(instance, how)
    [seen] = reader.read()
    assert (seen.subject, seen.reason) == (Subject("runs", "prices", "a"), reason)
    assert (seen.is_bad, seen.page) == (True, f"runs/{failed.run_id}")
    assert reader.read() == []
    run(instance, "well")
    assert ("prices", "a", False, "") in reader.told()


def test_another_partition_that_succeeds_is_no_end_of_it(instance: dg.DagsterInstance) -> None:
    reader = Reader(instance)
    run(instance, "failure", "a")
    reader.open = {each.subject: None for each in reader.read()}
    run(instance, "well", "b")
    assert ("prices", "a", False, "") not in reader.told()


def test_a_run_that_is_retried_is_told_when_its_retries_are_used_up(retrying: dg.DagsterInstance) -> None:
    reader = Reader(retrying)
    first = run(retrying, "failure")
    assert reader.read() == []
    tags = {"dagster/parent_run_id": first.run_id, "dagster/max_retries": "0"}  # as if this were the last
    second = run(retrying, "failure", tags=tags)
    retrying.add_run_tags(first.run_id, {"dagster/auto_retry_run_id": second.run_id})
    [seen] = reader.read()
    assert seen.page == f"runs/{second.run_id}"
    assert reader.read(NOW + 1e5) == []


def test_a_retry_that_succeeds_leaves_nothing_to_tell(retrying: dg.DagsterInstance) -> None:
    reader = Reader(retrying)
    first = run(retrying, "failure")
    assert reader.read() == []
    second = run(retrying, "well", tags={"dagster/parent_run_id": first.run_id, "dagster/retry_number": "1"})
    retrying.add_run_tags(first.run_id, {"dagster/auto_retry_run_id": second.run_id})
    assert not any(each.is_bad for each in reader.read())


def test_a_retry_that_never_comes_is_not_waited_for_for_ever(retrying: dg.DagsterInstance) -> None:
    reader = Reader(retrying)
    run(retrying, "failure")
    assert reader.read() == [] == reader.read(NOW + 600)
    assert reader.told(NOW + 1_000) == [("prices", "a", True, "the disk is full")]
    assert reader.read(NOW + 2_000) == []


def test_a_run_that_was_canceled_or_whose_process_died(instance: dg.DagsterInstance) -> None:
    reader = Reader(instance)
    job = dg.Definitions(assets=[prices], jobs=[JOB]).resolve_job_def("prices_job")
    config, tags = {"ops": {"prices": {"config": {"how": "well"}}}}, {"dagster/partition": "a"}
    canceled, died = (instance.create_run_for_job(job, run_config=config, tags=tags) for _ in range(2))
    instance.report_run_canceled(canceled)
    assert reader.read() == [], "is no failure"
    instance.report_run_failed(died, "its process has died")
    assert reader.told() == [("job prices_job", "a", True, "its process has died")]


def test_runs_of_others_are_not_told(instance: dg.DagsterInstance) -> None:
    reader = Reader(instance, Watched([]))
    run(instance, "failure")
    assert reader.read() == []
    started_by_an_alert = run(instance, "failure", tags={"tv_etl/event_id": "e1"})
    assert [each.page for each in reader.read()] == [f"runs/{started_by_an_alert.run_id}"]


def test_another_instance_is_read_from_now_on(instance: dg.DagsterInstance) -> None:
    reader = Reader(instance)
    for _ in range(3):
        run(instance, "well")
    reader.read()
    reader.read(NOW + 1_000)
    with dg.DagsterInstance.local_temp() as other:
        reader.instance = other
        run(other, "failure")
        assert reader.read(NOW + 2_000) == []
        run(other, "failure")
        assert len(reader.read(NOW + 2_001)) == 1
