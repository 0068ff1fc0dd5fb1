"""Which verdicts on a series a run reports, and how its materialization words them.

A check that a run selects is reported whatever it says. Else an evaluation, which takes as much of Dagster's history as
a materialization, is reported when there is something to say. Dagster shows it only beside the materialization that it
judges: a newer one hides it. So what is bad is said again of each materialization, and silence means that nothing is
known to be bad: what was good and stays so is not repeated, what was bad and has become good is reported once.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

import dagster as dg

from tv_etl.orchestration.bar_metadata import GOOD
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.watchlist.model import Group

_SHOWN_TEXT = 400  # characters
_MATERIALIZED, _SUCCEEDED, _FAILED = "MATERIALIZED", "SUCCEEDED", "FAILED"


def verdict_text(evaluations: Iterable[dg.AssetCheckEvaluation]) -> str:
    """All verdicts on a series in a line."""
    bad = [each for each in evaluations if not each.passed]
    if not bad:
        return GOOD
    # What is worst first: the line is cut.
    bad.sort(key=lambda each: each.severity is not dg.AssetCheckSeverity.ERROR)
    text = "; ".join(f"{each.severity.value} {each.check_name}: {each.description}" for each in bad)
    return text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 1]}…"


class Standing:
    """How the partitions of a group stand in Dagster before a run, read for all of them at once when it is needed."""

    def __init__(self, instance: dg.DagsterInstance, group: Group, keys: Sequence[str]) -> None:
        self._instance, self._group, self._keys = instance, group, keys

    def is_materialized(self, key: str) -> bool:
        """True if Dagster shows the partition as materialized: it knows of it, and no later run left it as failed."""
        return key in self._materialized

    def news(
        self, evaluations: Iterable[dg.AssetCheckEvaluation], selected: Collection[str], *, is_materialized: bool
    ) -> list[dg.AssetCheckEvaluation]:
        """The evaluations to report of a series, which the run also reports as materialized, or does not."""
        return [each for each in evaluations if each.check_name in selected or self._is_news(each, is_materialized)]

    def _is_news(self, evaluation: dg.AssetCheckEvaluation, is_materialized: bool) -> bool:
        status, is_current = self._verdicts.get((evaluation.check_name, evaluation.partition or ""), (_SUCCEEDED, True))
        if evaluation.passed:
            # Also where an evaluation was planned and never came, which Dagster may show as failed.
            return status != _SUCCEEDED
        return is_materialized or status != _FAILED or not is_current

    @cached_property
    def _materialized(self) -> frozenset[str]:
        key, partitions = dg.AssetKey(self._group.asset_path), series_partitions(self._group)
        statuses = self._instance.get_status_by_partition(key, self._keys, partitions) or {}
        return frozenset(key for key, each in statuses.items() if each is not None and each.value == _MATERIALIZED)

    @cached_property
    def _verdicts(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """By check and partition: the latest status, and whether it is of the latest materialization."""
        checks = [dg.AssetCheckKey(dg.AssetKey(self._group.asset_path), name) for name in CHECKS]
        found = self._instance.event_log_storage.get_asset_check_partition_info(checks, partition_keys=self._keys)
        return {
            (each.check_key.name, each.partition_key or ""): (each.latest_execution_status.value, each.is_current)
            for each in found
        }
