"""The definitions of a watchlist and a lake: assets, checks, jobs, schedules, sensors, resources."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from tv_etl.lake.storage.directory import local_directory
from tv_etl.orchestration.alert_checks import build_alert_checks
from tv_etl.orchestration.alert_events import build_alerts_asset
from tv_etl.orchestration.alert_runs import build_alert_runs
from tv_etl.orchestration.asset_data import AssetData, GetAssetSpec, asset_spec
from tv_etl.orchestration.automation import build_automation_sensors
from tv_etl.orchestration.bars import POOL, Execute, bars_spec, build_bars_asset
from tv_etl.orchestration.bars_io_manager import BARS_IO_MANAGER, BarsIOManager
from tv_etl.orchestration.derived_assets import build_derived_assets, build_derived_sensors
from tv_etl.orchestration.expectations import tell_what_starts
from tv_etl.orchestration.found_symbols import build_symbols_sensor
from tv_etl.orchestration.lake_asset import build_lake_asset, lake_spec
from tv_etl.orchestration.lake_changes import build_lake_changes
from tv_etl.orchestration.loaded_watchlist import StandingMistake, build_mistake_sensor
from tv_etl.orchestration.lost_runs import build_lost_runs
from tv_etl.orchestration.notifications import NAME as NOTIFICATIONS
from tv_etl.orchestration.notifications import build_notifications
from tv_etl.orchestration.pruning import build_pruning
from tv_etl.orchestration.quote_alerts import build_quote_alerts
from tv_etl.orchestration.resources import (
    AccountVariables,
    BarStoreResource,
    LakeResources,
    NotifierResource,
    ScannerResource,
    TradingViewResource,
)
from tv_etl.orchestration.schedules import build_jobs, build_schedules
from tv_etl.orchestration.watched import Watched
from tv_etl.watchlist.model import Group, Watchlist


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
    key_prefix: str | Sequence[str] = (),
    account: AccountVariables | None = None,
    pool: str = POOL,
    get_asset_spec: GetAssetSpec | None = None,
    execute: Execute | None = None,
    mistakes: Sequence[StandingMistake] = (),
) -> dg.Definitions:
    """Assets, jobs, schedules, sensors and resources for a watchlist and a lake (a directory or an address).

    `state` is the local directory for the store of alerts. `ws_url` and `scanner_url` replace the servers of the
    environment, or TradingView's, `proxy` that of TV_ETL_PROXY. `source` is the file that the watchlist was read from,
    shown with its assets.

    With a `scope` the definitions can be merged with those of a project or of other lakes: it precedes the keys of the
    resources and the names of what the alerts have, and the executor is left to the project. With a `key_prefix`,
    which is the scope unless there is another, all is named so: assets, jobs, schedules, sensors, partitions; then even
    the groups of two lakes may have one name.

    `account` names the variables of an account of the lake's own, `pool` the one that its runs of bars share.
    `get_asset_spec` may change each asset, `execute` is what runs of bars do in place of `run_bars`. `mistakes` say
    why the watchlist is not what its file holds: a sensor then fails until they are mended.
    Raises ValueError for an address that is not a lake's, and where `get_asset_spec` changes partitions.
    """
    prefix = (key_prefix,) if isinstance(key_prefix, str) and key_prefix else tuple(key_prefix)
    resources = LakeResources(scope or re.sub(r"\W", "_", "_".join(prefix)), prefix)
    specs = [_bars_spec(group, resources, get_asset_spec, source) for group in watchlist.groups]
    groups = [
        group.placed(spec.key.path, resources.name(group.name))
        for group, spec in zip(watchlist.groups, specs, strict=True)
    ]
    directory = Path(state) if state else _state_directory(lake)
    alert_parts = _alert_parts(watchlist, groups, resources, get_asset_spec)
    tell_what_starts(watchlist)
    bar_store = BarStoreResource(base=str(lake))
    bars = [
        build_bars_asset(group, resources, spec=spec, pool=pool, execute=execute)
        for group, spec in zip(groups, specs, strict=True)
    ]
    derived = [build_derived_assets(group, resources, get_asset_spec) for group in groups]
    overview = asset_spec(AssetData("lake", lake_spec(resources, str(lake))), get_asset_spec)
    running = [asset for group, built in zip(groups, derived, strict=True) if group.running for asset in built]
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *(asset for one, others in zip(bars, derived, strict=True) for asset in (one, *others)),
        build_lake_asset(groups, overview, resources),
        *alert_parts.assets,
    ]
    jobs = [*(job for group in groups for job in build_jobs(group)), *alert_parts.jobs]
    schedules = [
        *(schedule for group in groups for schedule in build_schedules(group, resources)),
        *alert_parts.schedules,
    ]
    sensors = [
        build_lake_changes(watchlist, groups, resources, str(lake), overview.key),
        build_lost_runs(resources),
        *build_automation_sensors(groups, resources),
        *build_derived_sensors(running, resources),
        *([build_mistake_sensor(mistakes, resources)] if mistakes else []),
        *alert_parts.sensors,
        *(build_symbols_sensor(group, groups, resources) for group in groups if group.scanner),
    ]
    if watchlist.keep_history:
        defined = Watched.of(groups, [*assets, *alert_parts.checks], jobs, schedules, sensors)
        defined = replace(defined, sensors=defined.sensors | {resources.only(NOTIFICATIONS)})
        # In somebody's project nothing is deleted that he has not asked for.
        is_on = not resources.scope or "keep_history" in watchlist.model_fields_set
        pruning = build_pruning(watchlist.keep_history, defined, resources, is_on=is_on)
        jobs.append(pruning.job)
        schedules.append(pruning)
    if watchlist.notify is not None:
        watched = Watched.of(groups, [*assets, *alert_parts.checks], jobs, schedules, sensors)
        sensors.append(build_notifications(watchlist, watched, resources, alert_parts.assets[0].key))
    return dg.Definitions(
        assets=assets,
        asset_checks=alert_parts.checks,
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        # A process per step would triple the seconds that every run costs.
        executor=None if resources.scope else dg.in_process_executor,
        resources={
            resources.key("tradingview"): TradingViewResource(ws_url=ws_url, proxy=proxy, account=account),
            resources.key("scanner"): ScannerResource(base_url=scanner_url, proxy=proxy),
            resources.key("bar_store"): bar_store,
            resources.key(BARS_IO_MANAGER): BarsIOManager(bar_store),
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
    """What the rules of a watchlist define, and of `notify` the asset."""

    assets: Sequence[dg.AssetSpec] = ()
    checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[Any] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()
    sensors: Sequence[dg.SensorDefinition] = ()


def _bars_spec(
    group: Group, resources: LakeResources, get_asset_spec: GetAssetSpec | None, source: str | Path
) -> dg.AssetSpec:
    """The asset of a group, with the key that it has in the code location."""
    prefixed = group.placed(resources.asset_key(group.name).path, resources.name(group.name))
    spec = bars_spec(prefixed, source=source).with_io_manager_key(resources.key(BARS_IO_MANAGER))
    return asset_spec(AssetData("bars", spec, prefixed), get_asset_spec)


def _alert_parts(
    watchlist: Watchlist, groups: Sequence[Group], resources: LakeResources, get_asset_spec: GetAssetSpec | None
) -> _AlertParts:
    if not watchlist.alerts.rules and watchlist.notify is None:
        return _AlertParts()
    asset = asset_spec(AssetData("alerts", build_alerts_asset(resources)), get_asset_spec)
    if not watchlist.alerts.rules:
        return _AlertParts([asset])
    run_sensors, run_jobs = build_alert_runs(watchlist.alerts, resources)
    checks, check_job, schedule = build_alert_checks(watchlist.alerts, resources, asset.key)
    sensor = build_quote_alerts(watchlist.alerts, resources, groups, asset_key=asset.key)
    return _AlertParts([asset], [checks], [check_job, *run_jobs], [schedule], [sensor, *run_sensors])


def _state_directory(lake: str | Path) -> Path:
    directory = local_directory(lake)
    return Path("tv_etl_state") if directory is None else directory / ".tv_etl"
