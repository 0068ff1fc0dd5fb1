"""Assets of one's own get the bars of their partitions, as what they ask for; nothing else is taken for bars."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tv_etl.lake.derived.panel import read_panel, refresh_panel
from tv_etl.lake.scan import SCAN_SCHEMA
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.asset_data import AssetData
from tv_etl.orchestration.bars_io_manager import ALLOW_MISSING, BarsIOManager, PartitionsNotStoredError
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import found_symbols, range_tags, series_partitions
from tv_etl.orchestration.resources import BarStoreResource
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.watchlist.model import Watchlist
from tv_etl_tests.lake_runs import QUIET

SERIES = [("X:A", "1h"), ("X:A", "1d"), ("X:B", "1h")]  # of X:B nothing is stored at 1d
GROUP = {"name": "bars", "symbols": ["X:A", "X:B"], "intervals": ["1h", "1d"]}
PARTITIONS = series_partitions(Watchlist.model_validate({"groups": [GROUP]}).groups[0])
START = datetime(2026, 11, 16, tzinfo=timezone.utc)


def bars(width: timedelta, close: float = 10.0) -> pa.Table:
    columns: dict[str, list[object]] = {"timestamp": [START + number * width for number in range(3)]}
    columns |= {name: [close] * 3 for name in ("open", "high", "low", "close")}
    columns["volume"] = [1.0, None, 3.0]
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


def fill(base: str, close: float = 10.0) -> BarStore:
    store = BarStore(base)
    for symbol, interval in SERIES:
        store.upsert(symbol, interval, bars(timedelta(hours=1 if interval == "1h" else 24), close))
    return store


@pytest.fixture
def lake(tmp_path: Path) -> BarStore:
    return fill(str(tmp_path / "lake"))


def definitions(store: BarStore, *mine: dg.AssetsDefinition, **group: Any) -> dg.Definitions:
    """Those of a lake and of a project, side by side."""
    watchlist = Watchlist.model_validate({"groups": [{**GROUP, **group}]})
    return dg.Definitions.merge(build_definitions(watchlist, store.base), dg.Definitions(assets=list(mine)))


def run(merged: dg.Definitions, asset: dg.AssetsDefinition, instance: dg.DagsterInstance, **rest: Any) -> Any:
    """What the asset returned: a run of it alone, as the web interface starts one."""
    job = merged.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, asset_selection=[asset.key], run_config=QUIET, **rest)
    return result.output_for_node(asset.op.name)


@pytest.mark.parametrize("kind", [None, Any, pa.Table, pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_a_partition_is_loaded_as_what_is_asked_for(base: str, kind: Any) -> None:
    store = fill(base)
    got = definitions(store).load_asset_value("bars", partition_key="1d|X:A", **({"python_type": kind} if kind else {}))
    assert isinstance(got, pa.Table if kind in (None, Any) else kind)
    frame: Any = got.collect() if isinstance(got, pl.LazyFrame) else got
    wanted = store.scan("X:A", "1d").read_all()
    assert pa.table(frame).column_names == wanted.column_names
    for name in ("symbol", "interval", "timestamp", "close"):
        assert pa.table(frame)[name].to_pylist() == wanted[name].to_pylist()


def test_an_asset_of_the_same_partitions_gets_its_own(lake: BarStore, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=PARTITIONS)
    def rows(bars: pd.DataFrame) -> list[str]:
        assert str(bars["timestamp"].dtype) == "datetime64[us, UTC]"
        return [*bars["symbol"].unique(), *bars["interval"].unique()]

    assert run(definitions(lake, rows), rows, instance, partition_key="1h|X:B") == ["X:B", "1h"]


def test_an_asset_by_symbol_gets_all_intervals_in_one_table(lake: BarStore, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["X:A", "X:B"]))
    def rows(bars: pl.DataFrame) -> Any:
        return bars.select("symbol", "interval").unique(maintain_order=True).rows()

    assert run(definitions(lake, rows), rows, instance, partition_key="X:A") == [("X:A", "1h"), ("X:A", "1d")]


def test_a_range_of_partitions_is_one_table(lake: BarStore, instance: dg.DagsterInstance) -> None:
    seen = []

    @dg.asset(partitions_def=PARTITIONS)
    def rows(bars) -> None:  # type: ignore[no-untyped-def]
        seen.append(bars)

    run(definitions(lake, rows), rows, instance, tags=range_tags(["1h|X:A", "1h|X:B"]))
    assert seen == [lake.scan(None, "1h").read_all()]


def test_an_asset_without_partitions_gets_all_of_them_or_says_which_are_missing(
    lake: BarStore, instance: dg.DagsterInstance
) -> None:
    @dg.asset
    def strict(bars: pa.Table) -> int:
        return len(bars)

    @dg.asset(ins={"bars": dg.AssetIn(metadata={ALLOW_MISSING: True})})
    def lenient(bars: pa.Table) -> int:
        return len(bars)

    merged = definitions(lake, strict, lenient)
    with pytest.raises(PartitionsNotStoredError) as caught:
        run(merged, strict, instance)
    assert caught.value.keys == ["1d|X:B"]
    assert str(caught.value) == (
        f"{lake.base} has no bars of bars, 1 of 4 partitions: 1d|X:B; materialize them first, or give the input the "
        "metadata {'allow_missing_partitions': True} to go without"
    )
    assert run(merged, lenient, instance) == 9
    lake.upsert("X:B", "1d", bars(timedelta(days=1)))
    assert run(merged, strict, instance) == 12


def test_a_partition_that_is_not_stored_is_named(lake: BarStore) -> None:
    with pytest.raises(PartitionsNotStoredError, match=r"has no bars of bars, 1d\|X:B; materialize it first$"):
        definitions(lake).load_asset_value("bars", partition_key="1d|X:B")
    many = definitions(lake, symbols=[f"X:{number}" for number in range(10)])
    with pytest.raises(PartitionsNotStoredError, match=r"20 of 20 partitions: 1h\|X:0, .*1h\|X:4 and 15 more; "):
        many.load_asset_value("bars")


def test_nothing_that_is_stored_of_all_is_a_table_without_rows(lake: BarStore) -> None:
    nothing = definitions(lake, symbols=["X:C"])
    found = nothing.get_asset_value_loader().load_asset_value("bars", input_definition_metadata={ALLOW_MISSING: True})
    assert found == SCAN_SCHEMA.empty_table()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(int, "builtins.int"), (dict[str, pd.DataFrame], r"typing.Dict\[str, pandas.*DataFrame\]"), (pd.Series, "pandas")],
)
def test_another_annotation_is_named_with_those_that_are_right(lake: BarStore, kind: Any, name: str) -> None:
    wanted = f"bars cannot be loaded as {name}.*: annotate the input with pyarrow.Table, pandas.DataFrame, polars"
    with pytest.raises(TypeError, match=wanted):
        definitions(lake).load_asset_value("bars", partition_key="1h|X:A", python_type=kind)


def test_panels_and_daily_bars_are_loaded_as_well(lake: BarStore, instance: dg.DagsterInstance) -> None:
    merged = definitions(lake, panel=True, daily_from="1h")
    refresh_panel(lake, "1h", symbols=["X:A", "X:B"], name="bars_panel")
    panel = merged.load_asset_value("bars_panel", partition_key="1h")
    assert panel == read_panel(lake, "1h", name="bars_panel") and len(read_panel(lake, "1h", name="bars_panel")) == 6
    with pytest.raises(PartitionsNotStoredError, match=r"has no bars of bars_panel, 1 of 2 partitions: 1d;"):
        merged.load_asset_value("bars_panel")
    built = BarStore(f"{lake.base}/daily_from_1h")
    built.upsert("X:A", "1d", bars(timedelta(days=1), 7.0))
    assert merged.load_asset_value("bars_daily_from_1h", partition_key="X:A") == built.scan().read_all()


def test_two_lakes_in_a_project_are_loaded_each_from_its_own(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    watchlist = Watchlist.model_validate({"groups": [GROUP]})
    lakes = {"us": fill(str(tmp_path / "us"), 1.0), "eu": fill(str(tmp_path / "eu"), 2.0)}

    @dg.asset(
        partitions_def=PARTITIONS,
        ins={name: dg.AssetIn([name, "bars"]) for name in lakes},
    )
    def closes(us: pd.DataFrame, eu: pl.DataFrame) -> list[float]:
        return [us["close"].max(), eu["close"].max()]

    parts = [build_definitions(watchlist, store.base, key_prefix=name) for name, store in lakes.items()]
    merged = dg.Definitions.merge(*parts, dg.Definitions(assets=[closes]))
    assert {"us_bars_io_manager", "eu_bars_io_manager"} < set(merged.resources or {})
    assert run(merged, closes, instance, partition_key="1h|X:A") == [1.0, 2.0]


def test_symbols_that_a_scanner_found_are_the_partitions(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store = fill(str(tmp_path))
    scanned = {"name": "liquid", "symbols": {"scanner": {"market": "america"}}, "intervals": ["1h"]}
    watchlist = Watchlist.model_validate({"groups": [scanned]})
    instance.add_dynamic_partitions(str(found_symbols(watchlist.groups[0]).name), ["X:B"])
    found = build_definitions(watchlist, store.base).load_asset_value("liquid", instance=instance)
    assert found == store.scan("X:B").read_all()


def test_a_project_may_load_them_by_an_io_manager_of_its_own(lake: BarStore) -> None:
    class Seven(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None: ...

        def load_input(self, context: dg.InputContext) -> int:
            return 7

    def spec(data: AssetData) -> dg.AssetSpec:
        return data.spec.with_io_manager_key("seven")

    watchlist = Watchlist.model_validate({"groups": [GROUP]})
    merged = dg.Definitions.merge(
        build_definitions(watchlist, lake.base, get_asset_spec=spec), dg.Definitions(resources={"seven": Seven()})
    )
    assert merged.load_asset_value("bars", partition_key="1h|X:A") == 7


def test_a_code_location_without_the_lakes_definitions_loads_it_too(lake: BarStore) -> None:
    theirs = dg.AssetSpec("bars", partitions_def=PARTITIONS).with_io_manager_key("bars_io_manager")
    other = dg.Definitions(
        assets=[theirs], resources={"bars_io_manager": BarsIOManager(BarStoreResource(base=lake.base))}
    )
    assert other.load_asset_value("bars", partition_key="1h|X:A") == lake.scan("X:A", "1h").read_all()


def test_nothing_is_stored_by_it(lake: BarStore, instance: dg.DagsterInstance) -> None:
    @dg.asset(io_manager_key="bars_io_manager")
    def mine() -> int:
        return 1

    with pytest.raises(
        dg.DagsterInvariantViolationError, match=r"^mine: BarsIOManager cannot store int: it only loads"
    ):
        run(definitions(lake, mine), mine, instance)
    BarsIOManager(BarStoreResource(base=lake.base)).handle_output(dg.build_output_context(), None)
