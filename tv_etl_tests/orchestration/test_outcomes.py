"""What a run's events say about its partitions; how runs use that is in test_bars_run."""

from collections.abc import Iterator

import dagster as dg
import pytest

from tv_etl.orchestration.outcomes import SeriesFailure, nothing_new, run_outcomes, stored_by_parents

KEY = dg.AssetKey("bars")
BUSY = SeriesFailure("StoreBusyError: busy", retryable=True)
REFUSED = SeriesFailure("SymbolError: invalid symbol", retryable=False)
PARTS = ["1d|A:A", "1d|A:B", "1d|A:C", "1d|A:D"]


@dg.multi_asset(specs=[dg.AssetSpec("bars", skippable=True), dg.AssetSpec("other", skippable=True)], can_subset=True)
def reporting(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    a, b, c, d = PARTS
    yield BUSY.observation(KEY, a)
    yield BUSY.observation(KEY, b)
    yield dg.AssetMaterialization(KEY, partition=a)
    yield REFUSED.observation(KEY, b)
    yield BUSY.observation(KEY, c)
    yield dg.AssetMaterialization("other", partition=c)
    yield dg.AssetObservation(KEY, partition=d, metadata={"somebody": "else's"})
    yield dg.AssetObservation(KEY, metadata={"reason": "of no partition", "retryable": True})
    yield nothing_new(KEY, ["1d|A:F", "1d|A:E"])
    yield nothing_new(dg.AssetKey("other"), ["1d|A:G"])


@pytest.fixture
def run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return dg.materialize([reporting], instance=instance).dagster_run


def test_the_last_word_of_a_partition_counts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    outcomes = run_outcomes(instance, run.run_id, KEY)
    assert outcomes.stored == {"1d|A:A"}
    assert outcomes.failed == {"1d|A:B": REFUSED, "1d|A:C": BUSY}
    assert outcomes.unchanged == {"1d|A:E", "1d|A:F"}


def test_a_failure_says_whether_a_retry_helps() -> None:
    texts = [each.observation(KEY, "1d|A:A").description for each in (BUSY, REFUSED)]
    assert texts == [
        "Not stored; a retry may help: StoreBusyError: busy",
        "Not stored; a retry will not help until the cause is removed: SymbolError: invalid symbol",
    ]


def test_only_a_run_from_failure_goes_on_where_its_parents_ended(
    instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    def child(parent: dg.DagsterRun, *, from_failure: bool) -> dg.DagsterRun:
        tags = {"dagster/parent_run_id": parent.run_id, "dagster/root_run_id": run.run_id}
        made = dg.DagsterRun(
            job_name=run.job_name,
            parent_run_id=parent.run_id,
            root_run_id=run.run_id,
            tags={**tags, **({"dagster/is_resume_retry": "true"} if from_failure else {})},
        )
        return instance.add_run(made)

    once = child(run, from_failure=True)
    twice = child(once, from_failure=True)
    whole = child(twice, from_failure=False)
    assert stored_by_parents(instance, run, KEY) == {}
    stored = dict.fromkeys(["1d|A:A", "1d|A:E", "1d|A:F"], run.run_id)
    assert stored_by_parents(instance, once, KEY) == stored
    assert stored_by_parents(instance, twice, KEY) == stored
    assert stored_by_parents(instance, whole, KEY) == {}
    assert stored_by_parents(instance, child(whole, from_failure=True), KEY) == {}
