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

from tv_etl.orchestration.asset_data import AssetData, GetAssetSpec, asset_spec
from tv_etl.orchestration.bars_io_manager import BARS_IO_MANAGER, DAILY, DATASET
from tv_etl.orchestration.check_targets import attach_targets
from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.outputs import StepEvent, outputs
from tv_etl.orchestration.partitions import INTERVAL, SYMBOL, found_symbols
from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.model import Group

MATCHES_TRADINGVIEW = "matches_tradingview"
NO_EMPTY_DAY = "no_empty_day"

# Days end once a day, but not everywhere at the same time.
_CRON = "15 */6 * * *"


def build_derived_assets(
    group: Group, resources: LakeResources | None = None, get_asset_spec: GetAssetSpec | None = None
) -> list[dg.AssetsDefinition]:
    """The derived assets that the group has switched on."""
    lake = resources or LakeResources()
    panel = [_build_panel(group, lake, get_asset_spec)] if group.panel else []
    daily = [_build_daily(group, group.daily_from, lake, get_asset_spec)] if group.daily_from else []
    return [*panel, *daily]


def build_derived_sensors(
    derived: Sequence[dg.AssetsDefinition], resources: LakeResources | None = None
) -> list[dg.AutomationConditionSensorDefinition]:
    """The sensor that builds what is derived from the groups that are running; Dagster's own would be off."""
    if not derived:
        return []
    names = [each.key.to_user_string() for each in derived]
    sensor = dg.AutomationConditionSensorDefinition(
        (resources or LakeResources()).only("derived"),
        target=dg.AssetSelection.assets(*derived),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Builds {', '.join(names)} four times a day, once the bars that they are made of are there.",
    )
    return [sensor]


def _bars_of(group: Group, dimension: str) -> dg.AssetDep:
    """The bars of a group at one interval, or of one symbol."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Class `MultiToSingleDimensionPartitionMapping`", dg.BetaWarning)
        return dg.AssetDep(
            dg.AssetKey(group.asset_path), partition_mapping=dg.MultiToSingleDimensionPartitionMapping(dimension)
        )


def _build_panel(group: Group, lake: LakeResources, get_asset_spec: GetAssetSpec | None) -> dg.AssetsDefinition:
    spec = dg.AssetSpec(
        lake.asset_key(f"{group.name}_panel"),
        partitions_def=dg.StaticPartitionsDefinition(group.intervals),
        deps=[_bars_of(group, INTERVAL)],
        automation_condition=dg.AutomationCondition.on_cron(_CRON),
        skippable=True,
        kinds={"parquet"},
        description=(
            "The symbols of the group side by side, for questions across them: every series that the lake has of "
            "them at an interval, sorted by day, then by symbol, with the trading day of each bar. Only months "
            "whose bars or days have changed are written again. An interval of which nothing is stored fails. For "
            "a lake in a directory only."
        ),
        metadata={DATASET: f"{group.name}_panel"},
    ).with_io_manager_key(lake.key(BARS_IO_MANAGER))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)

        @dg.multi_asset(
            name=f"{group.qualified_name}_panel",
            specs=[asset_spec(AssetData("panel", spec, group), get_asset_spec)],
            backfill_policy=dg.BackfillPolicy.single_run(),
            required_resource_keys=lake.keys("bar_store"),
            op_tags=BEATS_TAG,
        )
        def panel(context: dg.AssetExecutionContext) -> Iterator[StepEvent]:
            # The lake is a run's alone: definitions load without pyarrow and numpy.
            from tv_etl.orchestration.derived import panel_reports

            with beating(context):
                yield from panel_reports(context, group, lake)
                yield from outputs(context)

    return panel


def daily_name(group: str, interval: str) -> str:
    """The name of the asset of the daily bars built from an interval of a group."""
    return f"{group}_daily_from_{interval}"


def _build_daily(
    group: Group, interval: str, lake: LakeResources, get_asset_spec: GetAssetSpec | None
) -> dg.AssetsDefinition:
    partitions = found_symbols(group) if group.scanner else dg.StaticPartitionsDefinition(group.symbols)
    default = dg.AssetSpec(
        lake.asset_key(daily_name(group.name, interval)),
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
        metadata={DATASET: f"{DAILY}{interval}"},
    ).with_io_manager_key(lake.key(BARS_IO_MANAGER))
    spec = asset_spec(AssetData("daily", default, group), get_asset_spec)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        empty = dg.AssetCheckSpec(
            NO_EMPTY_DAY,
            asset=spec.key,
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
            asset=spec.key,
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
            name=daily_name(group.qualified_name, interval),
            specs=[spec],
            check_specs=[empty, check] if "1d" in group.intervals else [empty],
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.single_run(),
            required_resource_keys=lake.keys("bar_store"),
            op_tags=BEATS_TAG,
        )
        def daily(context: dg.AssetExecutionContext) -> Iterator[StepEvent]:
            # As for a panel.
            from tv_etl.orchestration.derived import daily_reports

            with beating(context):
                yield from attach_targets(context, spec.key, daily_reports(context, group, interval, lake, spec.key))
                yield from outputs(context)

    return daily
