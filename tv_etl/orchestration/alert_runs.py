"""Runs that alerts start: the sensor `alert_runs` launches what a rule names under `run:`, once for each event.

It reads the events that ticks have stored, after them: a delivery waits for no run, and a run for no delivery. Dagster
knows the run of an event by its key, so that an evaluation which is killed and repeated launches nothing twice.
"""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

import dagster as dg

from tv_etl.orchestration.dagster_internals import AssetJob, JobsSensor
from tv_etl.orchestration.partitions import partition_key
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import sensor_status
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Alerts

if TYPE_CHECKING:
    from tv_etl.alerts.rules import AlertRule
    from tv_etl.alerts.stored_events import StoredEvent

MINUTES = "1m"
# Requested in one evaluation; what is left follows in the next.
MOST_RUNS = 100
# Without a cursor, and without knowing since when it runs, a sensor looks so far back.
_FIRST_LOOK_S = 600.0


def build_alert_runs(
    alerts: Alerts, resources: LakeResources | None = None
) -> tuple[list[dg.SensorDefinition], list[AssetJob]]:
    """The sensor, if a rule starts anything, and the jobs for the assets that rules name.

    A name that no job or asset of the code location has makes the location fail to load.
    """
    lake = resources or LakeResources()
    rules = {rule.name: rule for rule in alerts.rules if rule.run is not None}
    if not rules:
        return [], []
    jobs = {
        name: dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*(dg.AssetKey.from_user_string(key) for key in assets)),
            description=f"What alerts start: {', '.join(assets)}",
        )
        for name, assets in sorted({_job_name(rule, lake): _assets(rule) for rule in rules.values()}.items())
        if assets
    }

    def alert_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store = lake.notifier(context).store()
        if context.cursor:
            seen = int(context.cursor)
        else:
            seen = store.tick_before(context.last_sensor_start_time or time.time() - _FIRST_LOOK_S)
        events = store.since_tick(seen, MOST_RUNS)
        requests = [request for event in events if (request := _request(context, event, rules, lake)) is not None]
        return dg.SensorResult(run_requests=requests, cursor=str(events[-1].tick if events else seen))

    names = sorted({_job_name(rule, lake) for rule in rules.values()})
    sensor = JobsSensor(
        name=lake.only("alert_runs"),
        evaluation_fn=alert_runs,
        jobs=names,
        minimum_interval_seconds=alerts.interval_s,
        default_status=sensor_status(alerts),
        description=f"Starts what {len(rules)} alert rules name, once for each event: {', '.join(names)}.",
        required_resource_keys=lake.keys("notifier"),
    )
    return [sensor], list(jobs.values())


def _assets(rule: "AlertRule") -> tuple[str, ...]:
    return tuple(rule.run.assets) if rule.run is not None else ()


def _job_name(rule: "AlertRule", lake: LakeResources) -> str:
    """The job that a rule names, or the one that is made for its assets."""
    from tv_etl.alerts.events import digest

    assert rule.run is not None
    if rule.run.job is not None:
        return rule.run.job
    assets = rule.run.assets
    name = "_".join(re.sub(r"[^A-Za-z0-9_]", "_", key) for key in assets)
    # Other assets may read alike: what the name does not tell, the digest does.
    told = name if assets == [name] else f"{name}_{digest(assets, size=4)}"
    return lake.only(f"alert_run_{told}")


def _request(
    context: dg.SensorEvaluationContext, event: "StoredEvent", rules: "Mapping[str, AlertRule]", lake: LakeResources
) -> dg.RunRequest | None:
    """The run of an event; none for one that starts nothing, or whose partition the job does not have."""
    from tv_etl.alerts.rules import Kind

    rule = rules.get(str(event.body.get("rule")))
    symbol, kind = str(event.body.get("symbol", "")), event.body.get("kind")
    # What else is told, of a symbol or that something is over, starts nothing.
    if rule is None or not symbol or event.body.get("is_muted") or kind not in get_args(Kind):
        return None
    assert context.repository_def is not None
    name = _job_name(rule, lake)
    partitions = context.repository_def.get_job(name).partitions_def
    interval = rule.interval_watched or MINUTES
    key = None if partitions is None else _partition_key(partitions, interval, symbol, context.instance)
    if partitions is not None and key is None:
        context.log.warning(
            f"rule {rule.name}: alert {event.event_id} starts no run: "
            f"job {name} has neither a partition {interval}|{printable(symbol)} nor {printable(symbol)}"
        )
        return None
    tags = {"tv_etl/rule": rule.name, "tv_etl/symbol": symbol, "tv_etl/event_id": event.event_id}
    return dg.RunRequest(run_key=event.event_id, job_name=name, partition_key=key, tags=tags)


def _partition_key(
    partitions: dg.PartitionsDefinition, interval: str, symbol: str, instance: dg.DagsterInstance
) -> str | None:
    """The partition of a symbol's series, or of the symbol."""
    known = {str(key): key for key in partitions.get_partition_keys(dynamic_partitions_store=instance)}
    return known.get(partition_key(Series.of(symbol, interval))) or known.get(symbol)
