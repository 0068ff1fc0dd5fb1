"""One schedule per interval of a group: an increment of all its symbols in one run over one connection."""

import re
from typing import Any

import dagster as dg

from tv_etl.partitions import partition_key, range_tags, symbols_of
from tv_etl.watchlist import Group


def job_name(group: Group) -> str:
    """The name of the job that the schedules of a group launch."""
    return f"{group.name}_job"


def build_job(group: Group) -> Any:  # Dagster does not export the type of what define_asset_job makes
    """The job that the schedules of a group launch: any of its partitions."""
    return dg.define_asset_job(
        job_name(group),
        selection=dg.AssetSelection.assets(group.name),
    )


def build_schedules(group: Group) -> list[dg.ScheduleDefinition]:
    """The schedules of the group's intervals; an interval without a cron expression has none."""
    crons = {interval: group.cron(interval) for interval in group.intervals}
    return [_build_schedule(group, interval, cron) for interval, cron in crons.items() if cron is not None]


def _build_schedule(group: Group, interval: str, cron: str) -> dg.ScheduleDefinition:
    count = f"{len(group.symbols)} " if group.symbols else ""
    name = re.sub(r"[^A-Za-z0-9_]", "_", f"{group.name}_{interval}")

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        job_name=job_name(group),
        execution_timezone="UTC",
        description=f"Fetch what is new at {interval} for the {count}symbols of {group.name}.",
    )
    def increment(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        # Without an instance a schedule can still be evaluated where all symbols are listed.
        symbols = group.symbols or symbols_of(group, context.instance)
        if not symbols:
            return dg.SkipReason(f"no symbols yet: the sensor {group.name}_symbols has found none")
        return dg.RunRequest(tags=range_tags(partition_key(symbol, interval) for symbol in symbols))

    return increment
