"""The definitions of a watchlist and a lake: assets, checks, jobs, schedules, sensors, resources."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from tv_etl.lake.storage.directory import local_directory
from tv_etl.orchestration.alert_checks import build_alert_checks
from tv_etl.orchestration.alert_events import build_alerts_asset
from tv_etl.orchestration.alert_runs import build_alert_runs
from tv_etl.orchestration.automation import build_automation_sensors
from tv_etl.orchestration.bars import build_bars_asset
from tv_etl.orchestration.derived_assets import build_derived_assets, build_derived_sensors
from tv_etl.orchestration.expectations import tell_what_starts
from tv_etl.orchestration.found_symbols import build_symbols_sensor
from tv_etl.orchestration.lake_changes import build_lake_changes
from tv_etl.orchestration.lost_runs import build_lost_runs
from tv_etl.orchestration.notifications import build_notifications
from tv_etl.orchestration.quote_alerts import build_quote_alerts
from tv_etl.orchestration.resources import (
    BarStoreResource,
    LakeResources,
    NotifierResource,
    ScannerResource,
    TradingViewResource,
)
from tv_etl.orchestration.schedules import build_jobs, build_schedules
from tv_etl.orchestration.watched import Watched
from tv_etl.watchlist.model import Watchlist


def build_definitions(
    watchlist: Watchlist,
    lake: str | Path = "lake",
    *,
    state: str | Path = "",
    ws_url: str = "",
    scanner_url: str = "",
    proxy: str = "",
    source: str | Path = "",
    scope: str = "",
) -> dg.Definitions:
    """Assets, jobs, schedules, sensors and resources for a watchlist and a lake (a directory or an address).

    `state` is the local directory for the store of alerts. `ws_url` and `scanner_url` replace the servers of the
    environment, or TradingView's, `proxy` that of TV_ETL_PROXY. `source` is the file that the watchlist was read from,
    shown with its assets. With a `scope` the definitions can be merged with those of other lakes: it precedes the keys
    of the resources and the names of the sensors `quote_alerts` and `notifications`, the executor is left to the code
    location, and no two groups may share a name.
    Raises ValueError for an address that is not a lake's.
    """
    resources = LakeResources(scope)
    directory = Path(state) if state else _state_directory(lake)
    alert_parts = _alert_parts(watchlist, resources) if watchlist.alerts.rules else _AlertParts()
    tell_what_starts(watchlist)
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *(
            asset
            for group in watchlist.groups
            for asset in (
                build_bars_asset(group, resources, source=source),
                *build_derived_assets(group, resources),
            )
        ),
        *alert_parts.assets,
    ]
    jobs = [*(job for group in watchlist.groups for job in build_jobs(group)), *alert_parts.jobs]
    schedules = [
        *(schedule for group in watchlist.groups for schedule in build_schedules(group, resources)),
        *alert_parts.schedules,
    ]
    sensors = [
        build_lake_changes(watchlist, resources, str(lake)),
        build_lost_runs(resources),
        *build_automation_sensors(watchlist.groups),
        *build_derived_sensors(watchlist.groups, resources),
        *alert_parts.sensors,
        *(build_symbols_sensor(group, watchlist.groups, resources) for group in watchlist.groups if group.scanner),
    ]
    if watchlist.notify is not None:
        if not alert_parts.assets:
            assets.append(build_alerts_asset(resources))
        watched = Watched.of(watchlist.groups, [*assets, *alert_parts.checks], jobs, schedules, sensors)
        sensors.append(build_notifications(watchlist, watched, resources))
    return dg.Definitions(
        assets=assets,
        asset_checks=alert_parts.checks,
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        # A process per step would triple the seconds that every run costs.
        executor=None if scope else dg.in_process_executor,
        resources={
            resources.key("tradingview"): TradingViewResource(ws_url=ws_url, proxy=proxy),
            resources.key("scanner"): ScannerResource(base_url=scanner_url, proxy=proxy),
            resources.key("bar_store"): BarStoreResource(base=str(lake)),
            resources.key("notifier"): NotifierResource(
                # Two lakes may share a directory, but not a store: each would wait for the other.
                store_path=str(directory / resources.key("alerts.sqlite")),
                outbox_path=str(directory / resources.key("outbox.sqlite")),
                scope=resources.scope,
                targets=[target.model_dump() for target in watchlist.alerts.all_targets],
                ping=watchlist.alerts.ping,
            ),
        },
    )


class _AlertParts(NamedTuple):
    """What the rules of a watchlist define."""

    assets: Sequence[dg.AssetSpec] = ()
    checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[Any] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()
    sensors: Sequence[dg.SensorDefinition] = ()


def _alert_parts(watchlist: Watchlist, resources: LakeResources) -> _AlertParts:
    run_sensors, run_jobs = build_alert_runs(watchlist.alerts, resources)
    checks, check_job, schedule = build_alert_checks(watchlist.alerts, resources)
    sensor = build_quote_alerts(watchlist.alerts, resources, watchlist.groups)
    return _AlertParts(
        [build_alerts_asset(resources)], [checks], [check_job, *run_jobs], [schedule], [sensor, *run_sensors]
    )


def _state_directory(lake: str | Path) -> Path:
    directory = local_directory(lake)
    return Path("tv_etl_state") if directory is None else directory / ".tv_etl"
