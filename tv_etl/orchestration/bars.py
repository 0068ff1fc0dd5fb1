"""The `bars` assets: every series of a watchlist group, fetched over one connection, stored as it arrives."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from tv_etl.orchestration.automation import automation_condition
from tv_etl.orchestration.bars_config import CONFIG_SCHEMA, MAX_RETRIES, BarsConfig
from tv_etl.orchestration.bars_io_manager import DATASET, OHLCV
from tv_etl.orchestration.check_specs import check_specs
from tv_etl.orchestration.check_targets import attach_targets
from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.outputs import StepEvent, outputs
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.orchestration.resources import BarStoreResource, LakeResources, TradingViewResource
from tv_etl.tradingview.printable import counted
from tv_etl.watchlist.model import Group

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore

# Through this pool all runs on all hosts together respect the server's limits.
POOL = "tradingview"
# For what may succeed when asked again; what is refused for good is not retried (see `BarsRun`).
RETRY_POLICY = dg.RetryPolicy(max_retries=MAX_RETRIES, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)

# What a run of bars executes, given the group and where its bars come from and go to.
Execute = Callable[[dg.AssetExecutionContext, TradingViewResource, BarStoreResource, Group], Iterator[StepEvent]]

_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("timestamp", "timestamp[us, UTC]", description="Opening time of the bar."),
        dg.TableColumn("open", "double"),
        dg.TableColumn("high", "double"),
        dg.TableColumn("low", "double"),
        dg.TableColumn("close", "double"),
        dg.TableColumn("volume", "double", description="Null where the instrument has no volume."),
    ]
)


def bars_spec(group: Group, *, source: str | Path = "") -> dg.AssetSpec:
    """The asset of one group as it is by default; `source` is the file that defines the group, if any."""
    return dg.AssetSpec(
        dg.AssetKey(group.asset_path),
        partitions_def=series_partitions(group),
        skippable=True,
        automation_condition=automation_condition(group),
        kinds={"parquet", "tradingview"},
        tags={"tv_etl/adjustment": group.adjustment, "tv_etl/session": group.session},
        metadata={
            DATASET: OHLCV,
            "dagster/column_schema": _COLUMNS,
            "dagster/code_references": _code_references(source),
        },
        description=(
            f"OHLCV bars of {_symbols_text(group)} at {', '.join(group.intervals)}, closed bars only, UTC. "
            "A run fetches what is new since the watermark of each selected series over one connection; "
            "a series that fails is named, and the others stay materialized. Each materialization says in its metadata "
            "what the checks found; a check that fails is shown until it passes, one that passes not in every run."
        ),
    )


def build_bars_asset(
    group: Group,
    resources: LakeResources | None = None,
    *,
    spec: dg.AssetSpec | None = None,
    pool: str = POOL,
    execute: Execute | None = None,
) -> dg.AssetsDefinition:
    """The asset of one group, by default as `bars_spec` has it; its runs do what `execute` does, or `run_bars`."""
    lake, run = resources or LakeResources(), execute or run_bars

    with warnings.catch_warnings():
        # Beta in Dagster 1.13, and the only way to give one run many partitions.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)

        # A multi_asset of one: only that makes its checks optional, as they must be where a partition may fail.
        @dg.multi_asset(
            name=group.qualified_name,
            specs=[spec or bars_spec(group)],
            check_specs=check_specs(group),
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.single_run(),
            pool=pool,
            op_tags=BEATS_TAG,
            config_schema=CONFIG_SCHEMA,
            required_resource_keys=lake.keys("tradingview", "bar_store"),
            retry_policy=RETRY_POLICY,
        )
        def bars(context: dg.AssetExecutionContext) -> Iterator[StepEvent]:
            with beating(context):
                yield from run(context, lake.tradingview(context), lake.bar_store(context), group)

    return bars


def run_bars(
    context: dg.AssetExecutionContext, tradingview: TradingViewResource, bar_store: BarStoreResource, group: Group
) -> Iterator[StepEvent]:
    """Fetch and store the selected series, or check them if only checks are selected, and yield what came of each.

    Raises dagster.Failure at the end, which names the series that failed.
    """
    # The lake and the client are a run's alone: definitions load without pyarrow, numpy and httpx.
    from tv_etl.orchestration.bars_run import BarsRun

    # Yielded one by one, each is durable at once.
    config = BarsConfig(**context.op_execution_context.op_config)
    store, asset_key = bar_store.store(run=context.run.run_id, asset=group.name), dg.AssetKey(group.asset_path)
    _require_lake(context.instance, store, asset_key)
    run = BarsRun(context, config, group, store)
    reports = run.fetch_all(tradingview) if context.selected_asset_keys else run.check_all()
    yield from attach_targets(context, asset_key, reports)
    yield from outputs(context)


def _require_lake(instance: dg.DagsterInstance, store: "BarStore", asset_key: dg.AssetKey) -> None:
    """Raise dagster.Failure if nothing is stored where Dagster knows of bars: a disk not mounted is no new lake."""
    if not store.is_there and instance.get_latest_materialization_event(asset_key) is not None:
        raise dg.Failure(
            f"there are no bars at {store.base}, and Dagster knows that {asset_key.to_user_string()} had some: is the "
            "path right, and the file system mounted? To begin anew, wipe the materializations of the asset first",
            allow_retries=False,
        )


def _code_references(source: str | Path) -> dg.CodeReferencesMetadataValue:
    with warnings.catch_warnings():
        # Beta in Dagster 1.13; without them nobody finds the way from an asset to the file that defines it.
        warnings.filterwarnings("ignore", "Class `(LocalFile|)CodeReference", dg.BetaWarning)
        _, line = inspect.getsourcelines(run_bars)
        code = dg.LocalFileCodeReference(file_path=__file__, line_number=line, label="how it is fetched")
        references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [code]
        if source:
            path = str(Path(source).absolute())
            references.insert(0, dg.LocalFileCodeReference(file_path=path, label="what is fetched"))
        return dg.CodeReferencesMetadataValue(code_references=references)


def _symbols_text(group: Group) -> str:
    return "the symbols that the scanner finds" if group.scanner else counted(len(group.symbols), "symbol")
