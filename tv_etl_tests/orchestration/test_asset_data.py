"""A project has its say about an asset, and none about what its partitions stand for."""

from typing import Any

import dagster as dg
import pytest

from tv_etl.orchestration.asset_data import AssetData, asset_spec
from tv_etl.orchestration.bars import bars_spec
from tv_etl.watchlist.model import Group

GROUP = Group.model_validate({"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]})
DATA = AssetData("bars", bars_spec(GROUP), GROUP)


def test_it_is_what_it_would_be_unless_somebody_changes_it() -> None:
    assert asset_spec(DATA, None) is DATA.spec
    changed = asset_spec(DATA, lambda data: data.spec.replace_attributes(key="mine", owners=["team:x"]))
    assert (changed.key, changed.owners) == (dg.AssetKey("mine"), ["team:x"])


@pytest.mark.parametrize("name", ["partitions_def", "skippable"])
def test_what_is_stored_is_not_changed(name: str) -> None:
    other: Any = {"partitions_def": dg.StaticPartitionsDefinition(["x"]), "skippable": False}[name]
    with pytest.raises(ValueError, match=f"bars: the {name} of bars cannot be changed"):
        asset_spec(DATA, lambda data: data.spec.replace_attributes(**{name: other}))
