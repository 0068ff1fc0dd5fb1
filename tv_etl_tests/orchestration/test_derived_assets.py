"""Which derived assets a group has, and where they stand in Dagster's graph."""

import dagster as dg
import pytest

from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.derived_assets import NO_EMPTY_DAY, build_derived_assets
from tv_etl.watchlist.model import Group, Watchlist

GROUP = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT"], intervals=["1d", "5m"], panel=True, daily_from="5m")


def test_they_are_downstream_of_the_bars_in_runs_of_their_own() -> None:
    definitions = build_definitions(Watchlist(groups=[GROUP]), "lake")
    graph = definitions.resolve_asset_graph()
    for name in ("bars_panel", "bars_daily_from_5m"):
        node = graph.get(dg.AssetKey(name))
        assert node.parent_keys == {dg.AssetKey("bars")}
        assert node.automation_condition is not None
        assert node.partitions_def != graph.get(dg.AssetKey("bars")).partitions_def
    assert definitions.resolve_job_def("bars_job").asset_layer.executable_asset_keys == {dg.AssetKey("bars")}


def test_a_group_has_them_only_where_they_are_switched_on() -> None:
    group = GROUP.model_copy(update={"panel": False, "daily_from": None})
    assert build_derived_assets(group) == []
    minutes_alone = Group(symbols=["NASDAQ:AAPL"], intervals=["5m"], daily_from="5m")
    [daily] = build_derived_assets(minutes_alone)
    checks = [each.name for each in daily.check_specs]
    assert checks == [NO_EMPTY_DAY], "without TradingView's days there is nothing to compare with"


@pytest.mark.parametrize(
    ("daily_from", "reason"), [("1m", "1m is not among the intervals"), ("1d", "1d is not shorter than a day")]
)
def test_days_are_built_from_intervals_that_are_collected(daily_from: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Group(symbols=["NASDAQ:AAPL"], intervals=["1d", "5m"], daily_from=daily_from)
