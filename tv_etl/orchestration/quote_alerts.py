"""The quote sensor: a tick of the alerts, as Dagster's daemon calls it.

What a tick does is `tv_etl.alerts.tick`'s, and all that it must remember is in the store of the alerts; the cursor is
the number of the last tick. One that could judge nothing at all fails, so that it does not look healthy.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from tv_etl.orchestration.alert_events import report_alerts
from tv_etl.orchestration.partitions import symbols_of
from tv_etl.orchestration.resources import BarStoreResource, LakeResources
from tv_etl.orchestration.schedules import sensor_status
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Alerts, Group

if TYPE_CHECKING:
    from tv_etl.alerts.fold import MinuteBar
    from tv_etl.alerts.stored_events import StoredEvent
    from tv_etl.lake.store import BarStore

# What a series must say of itself, if it says anything, to be compared with quotes.
_AS_QUOTED = {"adjustment": "splits", "session": "regular", "backadjustment": "false"}
# Of Dagster's 60 s for a tick; what is not reported until then is by the next one.
REPORT_UNTIL_S = 45.0
_LEAST_REPORT_S = 2.0
# Each is a line in the log of a tick.
SHOWN_PROBLEMS = 50


class BlindError(Exception):
    """No rule could be judged; what had been found before was still delivered."""


def build_quote_alerts(
    alerts: Alerts,
    resources: LakeResources | None = None,
    groups: Sequence[Group] = (),
    *,
    asset_key: dg.AssetKey | None = None,
) -> dg.SensorDefinition:
    """The sensor for all rules of a watchlist; those for a group watch what it collects at the time.

    What is found is told of the asset with this key, by default `alerts`.
    """
    lake = resources or LakeResources()
    alerts_key = asset_key or lake.alerts_key
    named = {rule.group for rule in alerts.rules}
    watched = [group for group in groups if group.name in named]
    converted = [group for group in groups if group.currency is not None]

    @dg.sensor(
        name=lake.only("quote_alerts"),
        minimum_interval_seconds=alerts.interval_s,
        default_status=sensor_status(alerts),
        description=f"Evaluates {len(alerts.rules)} price rules on quotes and one-minute bars; delivers to targets.",
        required_resource_keys=lake.keys("tradingview", "notifier", "bar_store"),
    )
    def quote_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from tv_etl.alerts.database import StoreBusy
        from tv_etl.alerts.tick import run_tick

        started, notifier = time.monotonic(), lake.notifier(context)
        store, bars = notifier.store(), lake.bar_store(context).store()

        def members(group: Group) -> list[str]:
            return symbols_of(group, context.instance)

        try:
            report = run_tick(
                alerts.rules,
                store,
                notifier.usable(),
                lake.tradingview(context).alert_inputs,
                time.time,
                cursor=context.cursor or "",
                lake_close=_last_close(bars),
                lake_bars=lake_bars(bars, {each for group in converted for each in members(group)}),
                groups={group.name: members(group) for group in watched},
                silence_s=alerts.silence_s,
                keep=keep_in(lake.bar_store(context)),
                ping=notifier.ready_ping(),
            )
        except StoreBusy:
            return dg.SensorResult(skip_reason="another evaluation is still running", cursor=context.cursor)
        for problem in [*report.problems, *report.errors, *([report.ping] if report.ping else [])][:SHOWN_PROBLEMS]:
            context.log.warning(printable(problem))
        with suppress(StoreBusy):
            report_alerts(
                context.instance,
                store,
                alerts_key,
                bars,
                budget_s=max(_LEAST_REPORT_S, REPORT_UNTIL_S - (time.monotonic() - started)),
            )
        if report.blind:
            raise BlindError(f"no rule could be judged: {printable(report.blind)}")
        return dg.SensorResult(
            skip_reason=report.summary,
            cursor=str(report.tick),
        )

    return quote_alerts


def keep_in(lake: BarStoreResource) -> "Callable[[Sequence[StoredEvent]], object]":
    """Writes events into the dataset."""

    def keep(events: "Sequence[StoredEvent]") -> None:
        from tv_etl.alerts.dataset import AlertDataset

        AlertDataset(lake.base).put(events)

    return keep


def _last_close(store: "BarStore") -> "Callable[[str], MinuteBar | None]":
    """Finds the newest close of a symbol in the lake: of a minute, else of a day."""

    def find(symbol: str) -> "MinuteBar | None":
        from tv_etl.alerts.fold import MinuteBar

        for interval, width_s in (("1m", 60), ("1d", 86_400)):
            newest = store.watermark(symbol, interval)
            if newest is not None:
                price = store.read(symbol, interval, start=newest).column("close")[-1].as_py()
                return MinuteBar(int(newest.timestamp()), price, price, price, price, width_s)
        return None

    return find


def lake_bars(
    store: "BarStore", converted: Collection[str] = ()
) -> "Callable[[str, str, int], Sequence[Sequence[float | None]]]":
    """Finds the newest bars of a series that is as quotes are: adjusted alike, and not `converted` to a currency."""

    def find(symbol: str, interval: str, count: int) -> "Sequence[Sequence[float | None]]":
        from tv_etl.tradingview.intervals import Interval

        newest = None if symbol in converted else store.watermark(symbol, interval)
        facts = store.facts(symbol, interval) if newest is not None else {}
        if newest is None or any(facts.get(name, value) != value for name, value in _AS_QUOTED.items()):
            return []
        table, width_s = None, Interval.parse(interval).seconds
        # Nights and weekends have no bars: how far back so many reach is not known.
        for spread in (2, 8, None):
            start = None if spread is None else newest - timedelta(seconds=spread * count * width_s + 4 * 86_400)
            table = store.read(symbol, interval, start=start)
            if table.num_rows >= count:
                break
        if table is None:
            return []
        rows = table.slice(max(0, table.num_rows - count)).to_pydict()
        seconds = (int(time.timestamp()) for time in rows["timestamp"])
        columns = (rows[name] for name in ("open", "high", "low", "close", "volume"))
        return list(zip(seconds, *columns, strict=True))

    return find
