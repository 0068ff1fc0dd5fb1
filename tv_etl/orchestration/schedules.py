"""One schedule per interval of a group: it fetches, in one run, what has closed since it was last asked for.

A tick looks at what the lake knows of each series. Where no market of the group has closed a bar since, it asks for
nothing and says when the next one closes. One more schedule checks all that is stored, whether it was fetched or not:
where fetching stands still, nothing else would say so.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.partitions import partition_key, range_tags, series_partitions, symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

if TYPE_CHECKING:
    from tv_etl.lake.coverage import Coverage
    from tv_etl.lake.store import BarStore

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_PARTITION = "dagster/partition"


def job_name(group: Group) -> str:
    """The name of the job that the schedules of a group launch."""
    return f"{group.qualified_name}_job"


def build_jobs(group: Group) -> list[Any]:  # Dagster does not export the type of what define_asset_job makes
    """The jobs that the schedules of a group launch: to fetch any of its partitions, and to check them."""
    return [_build_job(group), _build_check_job(group)]


def _build_job(group: Group) -> Any:
    bars = dg.AssetSelection.assets(dg.AssetKey(group.asset_path))
    return dg.define_asset_job(
        job_name(group),
        selection=bars if group.check_each_run else bars.without_checks(),
        description=(
            f"Fetches any series of {group.name} in one run, over one connection: for the schedules, and for the "
            "launchpad with `start`, `end`, `refetch` and `only`."
        ),
        executor_def=dg.in_process_executor,
    )


def _build_check_job(group: Group) -> Any:
    return dg.define_asset_job(
        _check_job_name(group),
        selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(group.asset_path), name) for name in CHECKS)),
        description=f"Checks what is stored of {group.name}, bar by bar, without asking the server for anything.",
        executor_def=dg.in_process_executor,
    )


def _check_job_name(group: Group) -> str:
    return f"{group.qualified_name}_checks_job"


def build_schedules(group: Group, resources: LakeResources | None = None) -> list[dg.ScheduleDefinition]:
    """The schedules of the group's intervals and of its checks; what has no cron expression has none."""
    lake = resources or LakeResources()
    crons = {interval: group.cron(interval) for interval in group.intervals}
    increments = [_build_schedule(group, interval, cron, lake) for interval, cron in crons.items() if cron is not None]
    return [*increments, *([_build_check_schedule(group, group.check_schedule)] if group.check_schedule else [])]


def _build_check_schedule(group: Group, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{group.qualified_name}_checks",
        cron_schedule=cron,
        job_name=_check_job_name(group),
        execution_timezone="UTC",
        description=(
            f"Checks what is stored of {group.name}, including the series that no run has fetched for long: those are "
            "the ones that lose bars."
        ),
    )
    def checks(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not symbols_of(group, context.instance):
            return _no_symbols(group)
        return dg.RunRequest()

    return checks


def _no_symbols(group: Group) -> dg.SkipReason:
    return dg.SkipReason(f"no symbols yet: the sensor {group.qualified_name}_symbols has found none")


def _build_schedule(group: Group, interval: str, cron: str, lake: LakeResources) -> dg.ScheduleDefinition:
    count = f"{len(group.symbols)} " if group.symbols else ""
    name = re.sub(r"[^A-Za-z0-9_]", "_", f"{group.qualified_name}_{interval}")
    pause = group.longest_pause_s(interval)
    warning = "" if pause is None else f" A pause of more than {pause / 3600:.1f} hours loses bars."

    @dg.schedule(
        name=name,
        cron_schedule=cron,
        job_name=job_name(group),
        execution_timezone="UTC",
        required_resource_keys=lake.keys("bar_store"),
        description=(
            f"Fetches what has closed at {interval} for the {count}symbols of {group.name}; nothing while their "
            f"markets are closed and their bars complete.{warning}"
        ),
    )
    def increment(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        symbols = symbols_of(group, context.instance)
        if not symbols:
            return _no_symbols(group)
        now = context.scheduled_execution_time.timestamp()
        width = Interval.parse(interval)
        known = _read_coverage(
            context, lake.bar_store(context).store(), [Series(symbol, width) for symbol in symbols], now
        )
        due = [series for series, found in known.items() if found is None or found.is_due]
        if not due:
            return dg.SkipReason(_skip_reason(group, width, known.values()))
        busy = partitions_under_way(group, context.instance)
        wanted = [series.symbol for series in due if partition_key(series) not in busy]
        if not wanted:
            return dg.SkipReason(f"{len(due)} series are due at {interval}, and runs under way are fetching them all")
        is_first = all(found is not None and not found.record.periods for found in map(known.get, due))
        return _request(group, width, symbols, wanted, is_first=is_first)

    return increment


def partitions_under_way(group: Group, instance: dg.DagsterInstance) -> set[str]:
    """Partitions of the group whose newest bars a queued or running run is going to fetch."""
    asset_key = dg.AssetKey(group.asset_path)
    found: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        is_ours = run.job_name == job_name(group) if not run.asset_selection else asset_key in run.asset_selection
        only_checks = bool(run.asset_check_selection) and not run.asset_selection
        config = _config_of(run, group)
        if is_ours and not only_checks and not config.get("end"):
            found.update(_partitions_of(run, config, group, instance))
    return found


def _config_of(run: dg.DagsterRun, group: Group) -> Mapping[str, Any]:
    ops: Any = run.run_config.get("ops") or {}
    config = (ops.get(group.qualified_name) or {}).get("config")
    return config if isinstance(config, Mapping) else {}


def _partitions_of(
    run: dg.DagsterRun, config: Mapping[str, Any], group: Group, instance: dg.DagsterInstance
) -> Sequence[str]:
    if config.get("only"):
        return list(config["only"])
    if _PARTITION in run.tags:
        return [run.tags[_PARTITION]]
    keys = series_partitions(group).get_partition_keys(dynamic_partitions_store=instance)
    start, end = run.tags.get(_RANGE_START), run.tags.get(_RANGE_END)
    if start is None or end is None:
        return keys
    # A key may have left the watchlist since.
    return keys[keys.index(start) : keys.index(end) + 1] if start in keys and end in keys else []


def _read_coverage(
    context: dg.ScheduleEvaluationContext, store: "BarStore", series: Sequence[Series], now: float
) -> "dict[Series, Coverage | None]":
    """What is known of each series; None where it cannot be read, which the run that asks for it will report."""
    # A tick reads the lake, and loads what that needs; a definition does not.
    from tv_etl.lake.coverage import Coverage
    from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
    from tv_etl.lake.snapshot import StoredSeries

    def look(each: Series) -> Coverage | Exception:
        try:
            # By the word of the last commit, as the run goes that asks for what is due.
            return Coverage(store.look(each, StoredSeries.record, lists=False), now)
        except Exception as error:  # whatever it is, it is this series' alone
            return error

    found: dict[Series, Coverage | None] = {}
    for each, seen in zip(series, overlapped(look, series, at_once=LOOKS_AT_ONCE), strict=True):
        if isinstance(seen, Exception):
            text = printable(str(seen), 1_000)
            context.log.warning(f"{partition_key(each)}: {type(seen).__name__}: {text}")
        found[each] = None if isinstance(seen, Exception) else seen
    return found


def _skip_reason(group: Group, width: Interval, known: "Collection[Coverage | None]") -> str:
    closings = [each.closing() for each in known if each is not None]
    closes = [each.next_close for each in closings if each.next_close is not None]
    next_close = (
        f"at {datetime.fromtimestamp(min(closes), tz=timezone.utc):%Y-%m-%d %H:%M:%S}Z" if closes else "unknown"
    )
    return (
        f"all {len(known)} series of {group.name} at {width} are complete: no bar has closed since they were asked "
        f"for; next close {next_close}"
    )


def _request(
    group: Group, width: Interval, symbols: Sequence[str], wanted: Sequence[str], *, is_first: bool
) -> dg.RunRequest:
    keys = [partition_key(Series(symbol, width)) for symbol in wanted]
    first = symbols.index(wanted[0])
    if is_first and list(symbols[first : first + len(wanted)]) == list(wanted):
        return dg.RunRequest(tags=range_tags(keys))
    # Partitions that are no range would be a run each, at a cost of seconds. And Dagster stores an event for each that
    # it plans, whether anything comes of it or not: worth it for a first fetch, which people like to watch.
    return dg.RunRequest(run_config={"ops": {group.qualified_name: {"config": {"only": keys}}}})
