"""Alerts as Dagster sees them: the external asset `alerts`, and a materialization of it for every event.

They are reported without a run, after each tick, so that asset sensors and automation conditions of other people follow
them. The store of the alerts says which were reported: a tick that is killed or takes too long leaves the rest to the
next one, and what it had begun is looked for among Dagster's events before it is told again.
"""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.printable import printable

if TYPE_CHECKING:
    from tv_etl.alerts.store import AlertStore
    from tv_etl.alerts.stored_events import StoredEvent
    from tv_etl.lake.store import BarStore

EVENT_ID = "event_id"
# Reported between two notes in the store; after a kill so many are looked for among Dagster's events.
_AT_ONCE = 20
_MOST = 2_000
_PAGE = 500
_CLOCK_SLACK_S = 60.0
_SHOWN_TEXT = 1_000


def build_alerts_asset(resources: LakeResources) -> dg.AssetSpec:
    """The asset that stands for the alerts: nothing makes it, the sensor reports what it found."""
    return dg.AssetSpec(
        resources.alerts_key,
        group_name="alerts",
        kinds={"parquet"},
        description=(
            "Every alert is a materialization of this asset, reported by the sensor that judges the rules, with the "
            "rule, the symbol, the price and the time; and a row of the dataset `alerts` in the lake."
        ),
    )


def report_alerts(
    instance: dg.DagsterInstance,
    store: "AlertStore",
    asset_key: dg.AssetKey,
    bars: "BarStore | None" = None,
    *,
    budget_s: float,
) -> int:
    """Tell Dagster of the events that it was not told of, the oldest first, and return of how many.

    What the budget leaves is told next time. `bars` are for the picture of the price. Raises StoreBusy while a tick or
    another report runs, and StoreError.
    """
    from tv_etl.alerts.stored_events import REPORTED, REPORTING, ids_of

    ends_at, told = time.monotonic() + budget_s, 0
    with store.exclusive():
        waiting = store.to_report(_MOST)
        begun = store.begun(REPORTING, ids_of(waiting))
        known = _reported_since(instance, asset_key, min(begun.values())) & begun.keys() if begun else set()
        for start in range(0, len(waiting), _AT_ONCE):
            if time.monotonic() >= ends_at:
                break
            part = waiting[start : start + _AT_ONCE]
            store.mark(REPORTING, [each.event_id for each in part if each.event_id not in begun], time.time())
            for event in part:
                if event.event_id not in known:
                    instance.report_runless_asset_event(_materialization(event, asset_key, bars))
            store.mark(REPORTED, ids_of(part), time.time())
            told += len(part)
    return told


def _reported_since(instance: dg.DagsterInstance, asset_key: dg.AssetKey, since: float) -> set[str]:
    """The events that were reported since then."""
    found: set[str] = set()
    cursor, records_filter = None, dg.AssetRecordsFilter(asset_key, after_timestamp=since - _CLOCK_SLACK_S)
    while True:
        page = instance.fetch_materializations(records_filter, limit=_PAGE, cursor=cursor)
        for record in page.records:
            materialization = record.event_log_entry.asset_materialization
            value = materialization.metadata.get(EVENT_ID) if materialization is not None else None
            if value is not None:
                found.add(str(value.value))
        if not page.has_more:
            return found
        cursor = page.cursor


def _materialization(event: "StoredEvent", asset_key: dg.AssetKey, bars: "BarStore | None") -> dg.AssetMaterialization:
    from tv_etl.alerts.stored_events import moment_of

    body = event.body
    metadata: dict[str, Any] = {EVENT_ID: event.event_id}
    for name, value in body.items():
        if name in (EVENT_ID, "text") or value in (None, "", [], ()):
            continue
        moment = moment_of(value) if name in ("touched_at", "detected_at") else None
        if moment is not None:
            metadata[name] = dg.MetadataValue.timestamp(moment)
        elif isinstance(value, str):
            metadata[name] = printable(value, _SHOWN_TEXT)
        elif isinstance(value, int | float):
            metadata[name] = value
        else:
            metadata[name] = dg.MetadataValue.json(value)
    picture = _picture(body, bars)
    if picture:
        metadata["price around it"] = dg.MetadataValue.md(picture)
    return dg.AssetMaterialization(asset_key, description=printable(body["text"], _SHOWN_TEXT), metadata=metadata)


def _picture(body: "dict[str, Any]", bars: "BarStore | None") -> str:
    """The minutes around the touch, as far as the lake has them; nothing where it has none."""
    from tv_etl.alerts.stored_events import moment_of

    symbol, moment = body.get("symbol"), moment_of(body.get("touched_at"))
    if bars is None or not isinstance(symbol, str) or not symbol or moment is None:
        return ""
    from tv_etl.lake.errors import BarStoreError
    from tv_etl.lake.picture import SHOWN_BARS, Candle, markdown

    half = timedelta(minutes=SHOWN_BARS // 2)
    try:
        table = bars.read(symbol, "1m", start=moment - 2 * half, end=moment + half)
    except (BarStoreError, OverflowError, ValueError):  # the alert is told without its picture
        return ""
    rows = table.to_pylist()[-SHOWN_BARS:]
    candles = [
        Candle(int(row["timestamp"].timestamp()), *(row[name] for name in ("open", "high", "low", "close", "volume")))
        for row in rows
    ]
    return markdown(candles) if candles else ""
