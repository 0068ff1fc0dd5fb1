"""Datasets derived from the lake, as assets that a group of the watchlist may have beside its bars.

    panel: true      asset `<group>_panel`            the group's symbols side by side, by interval: panel.py; in
                                                      <lake>/<group>_panel
    daily_from: 1m   asset `<group>_daily_from_1m`    daily bars built from the minutes, in a store of their own under
                                                      <lake>/daily_from_1m, checked against TradingView's daily bars
                                                      and for days of nothing

They read the lake and fetch nothing. Their partitions (an interval, a symbol) differ from those of the bars, so
Dagster never puts them into the run that fetches, where a symbol that failed would keep them from being made.
"""

import warnings
from collections.abc import Iterator, Sequence

import dagster as dg

from tv_etl.orchestration.check_targets import Report, attach_targets, check_outputs
from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.partitions import INTERVAL, SYMBOL, found_symbols
from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.model import Group

MATCHES_TRADINGVIEW = "matches_tradingview"
NO_EMPTY_DAY = "no_empty_day"

# Days end once a day, but not everywhere at the same time.
_CRON = "15 */6 * * *"


def build_derived_assets(group: Group, resources: LakeResources | None = None) -> list[dg.AssetsDefinition]:
    """The derived assets that the group has switched on."""
    lake = resources or LakeResources()
    panel = [_build_panel(group, lake)] if group.panel else []
    return [*panel, *([_build_daily(group, group.daily_from, lake)] if group.daily_from else [])]


def build_derived_sensors(
    groups: Sequence[Group], resources: LakeResources | None = None
) -> list[dg.AutomationConditionSensorDefinition]:
    """The sensor that builds what is derived from the groups that are running; Dagster's own would be off."""
    names = [name for group in groups if group.running for name in _derived_names(group)]
    if not names:
        return []
    sensor = dg.AutomationConditionSensorDefinition(
        (resources or LakeResources()).key("derived"),
        target=dg.AssetSelection.assets(*names),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Builds {', '.join(names)} four times a day, once the bars that they are made of are there.",
    )
    return [sensor]


def _derived_names(group: Group) -> list[str]:
    panel = [f"{group.name}_panel"] if group.panel else []
    return [*panel, *([daily_name(group, group.daily_from)] if group.daily_from else [])]


def _bars_of(group: Group, dimension: str) -> dg.AssetDep:
    """The bars of a group at one interval, or of one symbol."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Class `MultiToSingleDimensionPartitionMapping`", dg.BetaWarning)
        return dg.AssetDep(group.name, partition_mapping=dg.MultiToSingleDimensionPartitionMapping(dimension))


def _build_panel(group: Group, lake: LakeResources) -> dg.AssetsDefinition:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)

        @dg.asset(
            name=f"{group.name}_panel",
            partitions_def=dg.StaticPartitionsDefinition(group.intervals),
            deps=[_bars_of(group, INTERVAL)],
            automation_condition=dg.AutomationCondition.on_cron(_CRON),
            backfill_policy=dg.BackfillPolicy.single_run(),
            output_required=False,
            required_resource_keys=lake.keys("bar_store"),
            op_tags=BEATS_TAG,
            kinds={"parquet"},
            description=(
                "The symbols of the group side by side, for questions across them: every series that the lake has of "
                "them at an interval, sorted by day, then by symbol, with the trading day of each bar. Only months "
                "whose bars or days have changed are written again. An interval of which nothing is stored fails. For "
                "a lake in a directory only."
            ),
        )
        def panel(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization]:
            # The lake is a run's alone: definitions load without pyarrow and numpy.
            from tv_etl.orchestration.derived import panel_reports

            with beating(context):
                yield from panel_reports(context, group, lake)

    return panel


def daily_name(group: Group, interval: str) -> str:
    """The name of the asset of the daily bars built from an interval."""
    return f"{group.name}_daily_from_{interval}"


def _build_daily(group: Group, interval: str, lake: LakeResources) -> dg.AssetsDefinition:
    name = daily_name(group, interval)
    partitions = found_symbols(group) if group.scanner else dg.StaticPartitionsDefinition(group.symbols)
    spec = dg.AssetSpec(
        name,
        partitions_def=partitions,
        deps=[_bars_of(group, SYMBOL)],
        automation_condition=dg.AutomationCondition.on_cron(_CRON),
        skippable=True,
        kinds={"parquet"},
        description=(
            f"Daily bars built from the stored {interval} bars by trading day, even for days whose {interval} bars "
            "TradingView no longer has, and from nothing but what the lake holds. A day that is not wholly stored is "
            "not built, and is named in the metadata: fetch it in a run of the bars with `start` and `end`. Where the "
            "trading hours are not known or cannot be read, no day is built, and each is named. A day of which nothing "
            f"is stored fails the check `{NO_EMPTY_DAY}`."
        ),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        empty = dg.AssetCheckSpec(
            NO_EMPTY_DAY,
            asset=name,
            partitions_def=partitions,
            description=(
                f"Every trading day from the first stored {interval} bar to the day before yesterday has {interval} "
                "bars to be built of. WARN: of the days named the server was asked for all, and had none; was the "
                "exchange closed? ERROR: they were not asked for, are in quarantine, or cannot be told apart, since "
                "the symbol's trading hours are not known; or nothing is stored at all. What `gap_free` of the "
                f"{interval} bars says shows how to fetch them."
            ),
        )
        check = dg.AssetCheckSpec(
            MATCHES_TRADINGVIEW,
            asset=name,
            partitions_def=partitions,
            description=(
                f"A day built from {interval} bars equals TradingView's own stored bar of that day. It only warns, as "
                "there are good reasons to differ: official opening and closing prices come from auctions that no "
                "minute shows; the volume of a day counts block trades and late reports; some trades of thinly traded "
                "or delayed symbols are in no minute; a revision has reached one of the two but not yet the other. "
                "Days that differ in high or low deserve a look: fetch them again in a run with `refetch`, `start` and "
                "`end`."
            ),
        )

        @dg.multi_asset(
            name=name,
            specs=[spec],
            check_specs=[empty, check] if "1d" in group.intervals else [empty],
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.single_run(),
            required_resource_keys=lake.keys("bar_store"),
            op_tags=BEATS_TAG,
        )
        def daily(context: dg.AssetExecutionContext) -> Iterator[Report | dg.Output[None]]:
            # As for a panel.
            from tv_etl.orchestration.derived import daily_reports

            with beating(context):
                yield from attach_targets(context, dg.AssetKey(name), daily_reports(context, group, interval, lake))
                yield from check_outputs(context)

    return daily
