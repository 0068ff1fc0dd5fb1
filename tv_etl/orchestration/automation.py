"""Declarative automation, for the groups that want it: series that were never stored are fetched once listed.

What has been stored is left to the schedules: they know when a bar has closed.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.model import Group

SENSOR = "new_series"
_INTERVAL_S = 30


def automation_condition(group: Group) -> dg.AutomationCondition[Any] | None:
    """True of a partition once it is listed and not stored, unless a run is about to store it."""
    if not group.automation:
        return None
    condition = dg.AutomationCondition
    # `on_missing` alone leaves out what is missing when the sensor is first started. A series that fails is asked for
    # again by the next tick of its schedule, not here, which would be at every evaluation.
    appeared = condition.missing().newly_true() | (condition.missing() & condition.initial_evaluation())
    wanted = appeared.since(condition.newly_requested() | condition.newly_updated())
    return (wanted & ~condition.in_progress()).with_label("listed and never stored")


def build_automation_sensors(
    groups: Sequence[Group], resources: LakeResources | None = None
) -> list[dg.AutomationConditionSensorDefinition]:
    """The sensor that evaluates the conditions, if any group has one; Dagster's own would be off by default."""
    wanted = [group for group in groups if group.automation]
    if not wanted:
        return []
    sensor = dg.AutomationConditionSensorDefinition(
        (resources or LakeResources()).name(SENSOR),
        target=dg.AssetSelection.assets(*(dg.AssetKey(group.asset_path) for group in wanted)),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Fetches series of {', '.join(each.name for each in wanted)} that are listed and not stored.",
    )
    return [sensor]
