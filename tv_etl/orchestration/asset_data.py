"""What a project may change of an asset before it is defined: its key, group, owners, kinds, tags and the like."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import dagster as dg

from tv_etl.watchlist.model import Group

AssetKind = Literal["bars", "panel", "daily", "alerts", "lake"]


class AssetData(NamedTuple):
    """An asset that is going to be defined: `spec` is what it is by default, `group` the one that it is of.

    Those of the alerts and of the lake are of no group.
    """

    kind: AssetKind
    spec: dg.AssetSpec
    group: Group | None = None


GetAssetSpec = Callable[[AssetData], dg.AssetSpec]


def asset_spec(data: AssetData, get_asset_spec: GetAssetSpec | None) -> dg.AssetSpec:
    """The asset as the project wants it. Raises ValueError if its partitions are others: they are the stored series."""
    if get_asset_spec is None:
        return data.spec
    spec = get_asset_spec(data)
    for name in ("partitions_def", "skippable"):
        if getattr(spec, name) != getattr(data.spec, name):
            raise ValueError(f"{spec.key.to_user_string()}: the {name} of {data.kind} cannot be changed")
    return spec
