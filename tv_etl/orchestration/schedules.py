"""One schedule per interval of a group: it fetches, in one run, what has closed since it was last asked for.

A tick looks at what the lake knows of each series. Where no market of the group has closed a bar since, it asks for
nothing and says when the next one closes. What the server has refused for good (an unknown symbol, a delisted one) is
left out: a schedule of its own asks for that once a day, in one run for all intervals, so that what fails is told once
a day by name, and the runs of the others succeed. One more schedule checks all that is stored, whether it was fetched
or not: where fetching stands still, nothing else would say so.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.expectations import requests_text, ticks_text
from tv_etl.orchestration.partitions import partition_key, series_partitions, symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import counted, printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Alerts, Group

if TYPE_CHECKING:
    from tv_etl.lake.coverage import Coverage
    from tv_etl.lake.store import BarStore

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Before the checks, which then judge by its answers.
_REFUSED_CRON = "20 5 * * *"
_LONGEST_REFUSED_S = 2 * 86_400
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_PARTITION = "dagster/partition"


def schedule_name(group: Group, interval: str) -> str:
    """The name of the schedule that fetches a group at an interval."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"{group.qualified_name}_{interval}")


def schedule_defaults(groups: Iterable[Group]) -> dict[str, bool]:
    """Of each schedule that fetches, whether it is on until somebody switches it."""
    return {
        schedule_name(group, interval): group.running
        for group in groups
        for interval in group.intervals
        if group.cron(interval) is not None
    }


def schedule_status(group: Group | Alerts) -> dg.DefaultScheduleStatus:
    """What the schedules of a group or of the alerts are until somebody switches them."""
    return dg.DefaultScheduleStatus.RUNNING if group.running else dg.DefaultScheduleStatus.STOPPED


def sensor_status(group: Group | Alerts) -> dg.DefaultSensorStatus:
    """What the sensors of a group or of the alerts are until somebody switches them."""
    return dg.DefaultSensorStatus.RUNNING if group.running else dg.DefaultSensorStatus.STOPPED


def job_name(group: Group) -> str:
    """The name of the job that the schedules of a group launch."""
    return f"{group.qualified_name}_job"


def checks_job_name(group: Group) -> str:
    """The name of the job that checks what is stored of a group."""
    return f"{group.qualified_name}_checks_job"


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
        checks_job_name(group),
        selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(group.asset_path), name) for name in CHECKS)),
        description=f"Checks what is stored of {group.name}, bar by bar, without asking the server for anything.",
        executor_def=dg.in_process_executor,
    )


def build_schedules(group: Group, resources: LakeResources | None = None) -> list[dg.ScheduleDefinition]:
    """The schedules of the group's intervals and of its checks; what has no cron expression has none."""
    lake = resources or LakeResources()
    crons = {interval: group.cron(interval) for interval in group.intervals}
    increments = [_build_schedule(group, interval, cron, lake) for interval, cron in crons.items() if cron is not None]
    refused = [_build_refused_schedule(group, lake)] if increments else []
    return [
        *increments,
        *refused,
        *([_build_check_schedule(group, group.check_schedule)] if group.check_schedule else []),
    ]


def _build_refused_schedule(group: Group, lake: LakeResources) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=_refused_name(group),
        default_status=schedule_status(group),
        cron_schedule=_REFUSED_CRON,
        job_name=job_name(group),
        execution_timezone="UTC",
        required_resource_keys=lake.keys("bar_store"),
        description=(
            f"Asks once a day for the series of {group.name} that the server refuses, such as unknown or delisted "
            "symbols, in a run of their own: the other schedules leave them out."
        ),
    )
    def refused(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        symbols = symbols_of(group, context.instance)
        series = [Series.of(symbol, interval) for interval in group.intervals for symbol in symbols]
        now = context.scheduled_execution_time.timestamp()
        known = _read_coverage(context, lake.bar_store(context).store(), series, now)
        keys = [
            partition_key(each)
            for each, found in known.items()
            if found is not None and found.record.refusal is not None
        ]
        if not keys:
            return dg.SkipReason(f"the server refuses no series of {group.name}")
        busy = partitions_under_way(group, context.instance)
        wanted = [key for key in keys if key not in busy]
        if not wanted:
            return dg.SkipReason(f"the server refuses {len(keys)} series, and runs under way are asking for them all")
        return dg.RunRequest(run_config=_config_for(group, wanted))

    return refused


def _refused_name(group: Group) -> str:
    return f"{group.qualified_name}_refused"


def _is_left(group: Group, coverage: "Coverage") -> bool:
    """True if the server refused the series lately: its next chance is the daily run.

    Where that does not run, or bars would be lost before, the schedule of the interval asks as well.
    """
    refusal = coverage.record.refusal
    if refusal is None:
        return False
    pause_s = group.longest_pause_s(coverage.record.series.interval.token)
    return coverage.now - refusal.at < (_LONGEST_REFUSED_S if pause_s is None else pause_s / 2)


def _build_check_schedule(group: Group, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{group.qualified_name}_checks",
        default_status=schedule_status(group),
        cron_schedule=cron,
        job_name=checks_job_name(group),
        execution_timezone="UTC",
        description=(
            f"Checks what is stored of {group.name}, including the series that no run has fetched for long: those are "
            "the ones that lose bars. It reads files and asks the server for nothing. The time is UTC."
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
    members = counted(len(group.symbols), "symbol") if group.symbols else "symbols"
    pause = group.longest_pause_s(interval)
    warning = "" if pause is None else f" A pause of more than {pause / 3600:.1f} hours loses bars."

    @dg.schedule(
        name=schedule_name(group, interval),
        default_status=schedule_status(group),
        cron_schedule=cron,
        job_name=job_name(group),
        execution_timezone="UTC",
        required_resource_keys=lake.keys("bar_store"),
        description=(
            f"Fetches what has closed at {interval} for the {members} of {group.name}; nothing while their "
            f"markets are closed and their bars complete. {ticks_text(group, interval)} "
            f"{requests_text(group, interval)}{warning}"
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
        refused = {series for series, found in known.items() if found is not None and _is_left(group, found)}
        due = [series for series, found in known.items() if found is None or (found.is_due and series not in refused)]
        if not due:
            return dg.SkipReason(_skip_reason(group, width, known, refused))
        busy = partitions_under_way(group, context.instance)
        wanted = [series.symbol for series in due if partition_key(series) not in busy]
        if not wanted:
            return dg.SkipReason(f"{len(due)} series are due at {interval}, and runs under way are fetching them all")
        return _request(group, width, wanted)

    return increment


def partitions_under_way(group: Group, instance: dg.DagsterInstance) -> set[str]:
    """Partitions of the group whose newest bars a queued or running run is going to fetch."""
    asset_key = dg.AssetKey(group.asset_path)
    found: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        is_ours = run.job_name == job_name(group) if not run.asset_selection else asset_key in run.asset_selection
        only_checks = bool(run.asset_check_selection) and not run.asset_selection
        config = _config_of(run, group)
        if is_ours and not only_checks and not config.get("end"):
            found.update(_partitions_of(run, config, group, instance))
    return found


def fetched_partitions(run: dg.DagsterRun, group: Group, instance: dg.DagsterInstance) -> Sequence[str] | None:
    """The partitions of the group that a run fetches; None for one that fetches nothing of it."""
    asset_key = dg.AssetKey(group.asset_path)
    is_ours = asset_key in run.asset_selection if run.asset_selection else run.job_name == job_name(group)
    if not is_ours or (run.asset_check_selection and not run.asset_selection):
        return None
    return _partitions_of(run, _config_of(run, group), group, instance)


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


def _skip_reason(
    group: Group, width: Interval, known: "Mapping[Series, Coverage | None]", refused: Collection[Series]
) -> str:
    left = [found for series, found in known.items() if series not in refused]
    asks = f"{len(refused)} that the server refuses are asked for once a day, by {_refused_name(group)}"
    if not left:
        return f"no series of {group.name} at {width} is left to ask for: {asks}"
    closings = [each.closing() for each in left if each is not None]
    closes = [each.next_close for each in closings if each.next_close is not None]
    next_close = (
        f"at {datetime.fromtimestamp(min(closes), tz=timezone.utc):%Y-%m-%d %H:%M:%S}Z" if closes else "unknown"
    )
    return (
        f"all {len(left)} series of {group.name} at {width} are complete: no bar has closed since they were asked "
        f"for; next close {next_close}" + f"; {asks}" * bool(refused)
    )


def _request(group: Group, width: Interval, wanted: Sequence[str]) -> dg.RunRequest:
    # Partitions that are no range would be a run each, at a cost of seconds. And Dagster stores an event for each that
    # it plans, whether anything comes of it or not; one that is refused would stay failed, and the asset red.
    return dg.RunRequest(run_config=_config_for(group, [partition_key(Series(symbol, width)) for symbol in wanted]))


def _config_for(group: Group, keys: Sequence[str]) -> dict[str, Any]:
    return {"ops": {group.qualified_name: {"config": {"only": list(keys)}}}}
