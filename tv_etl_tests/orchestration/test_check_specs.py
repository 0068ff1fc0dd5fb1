"""Each check is defined with its partitions, and the page for users says what to do about it."""

from pathlib import Path

import dagster as dg

from tv_etl.orchestration.check_specs import CHECKS, check_specs
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.watchlist.model import Group

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")


def test_each_check_is_on_every_partition_and_in_the_page_for_users() -> None:
    group = Group(name="few", symbols=["NASDAQ:AAPL"], intervals=["1d"])
    specs = check_specs(group)
    assert tuple(each.name for each in specs) == CHECKS
    assert {each.asset_key for each in specs} == {dg.AssetKey("few")}
    assert all(each.partitions_def == series_partitions(group) and each.description for each in specs)
    assert all(f"| `{name}` |" in PAGE for name in CHECKS)
