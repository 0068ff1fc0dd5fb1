"""The outcomes of a run's partitions so far, read from the events of its earlier tries and of its parents.

A run that Dagster re-executes from failure continues where its parent ended, as that one did after its own parent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg

_REASON = "reason"
_RETRYABLE = "retryable"
_NOTHING_NEW = "nothing new"


@dataclass(frozen=True)
class SeriesFailure:
    """Why a series is not stored, and whether asking again may help."""

    reason: str
    retryable: bool

    def observation(self, asset_key: dg.AssetKey, partition: str) -> dg.AssetObservation:
        """The failure as an event of its partition: its page in the web interface then says why."""
        advice = "a retry may help" if self.retryable else "a retry will not help until the cause is removed"
        return dg.AssetObservation(
            asset_key,
            partition=partition,
            description=f"Not stored; {advice}: {self.reason}",
            metadata={_REASON: dg.MetadataValue.text(self.reason), _RETRYABLE: self.retryable},
        )

    @classmethod
    def of(cls, observation: dg.AssetObservation) -> "SeriesFailure | None":
        """The failure that an observation reports; None if it reports something else."""
        reason, retryable = (observation.metadata.get(name) for name in (_REASON, _RETRYABLE))
        if reason is None or retryable is None:
            return None
        return cls(str(reason.value), bool(retryable.value))


@dataclass(frozen=True)
class RunOutcomes:
    """The partitions of one asset that a run has reported: `failed` are those without a later materialization.

    Of those that it found `unchanged` it told nothing but that.
    """

    stored: frozenset[str] = frozenset()
    failed: Mapping[str, SeriesFailure] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()


def nothing_new(asset_key: dg.AssetKey, partitions: Iterable[str]) -> dg.AssetObservation:
    """An event for the partitions that have none of their own, so that another try of the run leaves them alone."""
    keys = sorted(partitions)
    return dg.AssetObservation(
        asset_key,
        description=f"Nothing new of {len(keys):,} series, which this run does not ask for again.",
        metadata={_NOTHING_NEW: dg.MetadataValue.json(keys)},
    )


def run_outcomes(instance: dg.DagsterInstance, run_id: str, asset_key: dg.AssetKey) -> RunOutcomes:
    """The outcomes of a run up to now, whichever try reported them."""
    stored: set[str] = set()
    failed: dict[str, SeriesFailure] = {}
    unchanged: set[str] = set()
    of_type = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
    for record in instance.get_records_for_run(run_id, of_type=of_type).records:
        materialization = record.event_log_entry.asset_materialization
        observation = record.event_log_entry.asset_observation
        event = materialization or observation
        if event is None or event.asset_key != asset_key:
            continue
        if event.partition is None:
            keys = event.metadata.get(_NOTHING_NEW)
            unchanged.update(keys.value if keys is not None and isinstance(keys.value, list) else ())
        elif materialization is not None:
            stored.add(event.partition)
            failed.pop(event.partition, None)
        elif observation is not None and (failure := SeriesFailure.of(observation)) is not None:
            failed[event.partition] = failure
    return RunOutcomes(frozenset(stored), failed, frozenset(unchanged))


def stored_by_parents(instance: dg.DagsterInstance, run: dg.DagsterRun, asset_key: dg.AssetKey) -> dict[str, str]:
    """Partition to run id for what is stored by the runs that this one re-executes from failure; the newest counts.

    What they found unchanged is stored as well.
    """
    stored: dict[str, str] = {}
    each: dg.DagsterRun | None = run
    while each is not None and each.is_resume_retry and each.parent_run_id is not None:
        parent_id = each.parent_run_id
        outcomes = run_outcomes(instance, parent_id, asset_key)
        for partition in outcomes.stored | outcomes.unchanged:
            stored.setdefault(partition, parent_id)
        each = instance.get_run_by_id(parent_id)
    return stored
