"""The asset `lake`: all that a lake holds at a glance, what `tv-etl status` prints, as observations of the asset.

Nothing makes it. The sensor `lake_changes` reports what its tick has seen, if that is something else than before;
whoever wants it now presses Observe.
"""

import time
import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.dagster_internals import add_step_tags
from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.partitions import symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

if TYPE_CHECKING:
    from tv_etl.lake.glance import Glance, Listed

UNLISTED = "on no watchlist"
# Of groups that nobody could look through any more.
_SHOWN_ROWS = 200


def lake_spec(resources: LakeResources, base: str) -> dg.AssetSpec:
    """The asset of the lake at `base`, by default."""
    return dg.AssetSpec(
        resources.lake_key,
        kinds={"parquet"},
        description=(
            "The lake at a glance, by group and interval: the series that are stored, their bars, what is wrong with "
            "them, and when the next bar will be lost. Overdue is what nobody has asked for since a bar closed, for an "
            "hour or as long as the schedule takes. Reported by the sensor "
            f"`{resources.only('lake_changes')}` every ten minutes, if something has changed, and by Observe at once; "
            "`tv-etl status` lists every series."
        ),
        metadata={"dagster/uri": base},
    )


def build_lake_asset(
    groups: Sequence[Group], spec: dg.AssetSpec, resources: LakeResources | None = None
) -> dg.AssetsDefinition:
    """The asset, which can be observed by hand."""
    lake = resources or LakeResources()

    def observe(context: dg.AssetExecutionContext) -> dg.ObserveResult:
        from tv_etl.lake.glance import glances
        from tv_etl.lake.status import lake_status
        from tv_etl.tradingview.moments import utc

        now = utc(time.time())
        with beating(context):
            statuses = lake_status(lake.bar_store(context).store(), now)
        members = [(group, series_in(group, context.instance)) for group in groups]
        return dg.ObserveResult(
            asset_key=spec.key, metadata=glance_metadata(glances(statuses, now, listed(members, now)))
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Function `multi_observable_source_asset`", dg.BetaWarning)
        observable = dg.multi_observable_source_asset(
            specs=[spec], name=lake.only("lake"), required_resource_keys=lake.keys("bar_store")
        )
    return add_step_tags(observable(observe), BEATS_TAG)


def series_in(group: Group, instance: dg.DagsterInstance) -> list[Series]:
    """Every series of a group, those of the symbols that a scanner has found as well."""
    symbols = symbols_of(group, instance)
    return [Series(symbol, width) for width in map(Interval.parse, group.intervals) for symbol in symbols]


def listed(members: Iterable[tuple[Group, Sequence[Series]]], now: datetime) -> "dict[Series, Listed]":
    """Where each series is listed, and by when it should have been asked for."""
    from tv_etl.lake.glance import PATIENCE_S, Listed
    from tv_etl.orchestration.checks import tick_before_last

    second = int(now.timestamp())
    found: dict[Series, Listed] = {}
    for group, series in members:
        for each in series:
            tick = tick_before_last(group.cron(each.interval.token), second, each.interval.seconds)
            found[each] = Listed(group.name, min(tick, second - PATIENCE_S))
    return found


def glance_metadata(rows: "Sequence[Glance]") -> dict[str, Any]:
    """What Dagster shows: a table, and numbers of all together, which it draws over time."""
    from tv_etl.lake.glance import total

    all_of_it = total(rows)
    records = [*(_record(row.group or UNLISTED, row) for row in rows[:_SHOWN_ROWS]), _record("all", all_of_it)]
    values = {name: value for name, value in all_of_it.values.items() if isinstance(value, int)}
    deadline = all_of_it.loss_deadline
    return {
        "at a glance": dg.MetadataValue.table(records),
        **values,
        **({} if deadline is None else {"next loss": dg.MetadataValue.timestamp(deadline)}),
    }


def digest(rows: "Sequence[Glance]", now: datetime) -> str:
    """Tells one state of the lake from another, and from that of another day: a page is seen to be alive."""
    text = "\n".join([f"{now:%Y-%m-%d}", *map(repr, rows)])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _record(group: str, row: "Glance") -> dg.TableRecord:
    """The row of a table, what matters most first: it is cut where a page is narrow."""
    return dg.TableRecord(
        {
            "group": group,
            "interval": row.interval,
            "series": row.series,
            "bars": f"{row.bars:,}",
            "trouble": row.trouble or "none",
            "newest bar": _minute(row.newest),
            "next loss": _minute(row.loss_deadline) or "never",
            "gaps": row.gaps,
            "bytes": f"{row.bytes:,}",
            "first bar": _minute(row.first),
        }
    )


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"
