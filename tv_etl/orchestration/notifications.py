"""The sensor `notifications`: tells on the alerts' targets when collecting fails, and when it works again.

It reads what the instance and the lake say, by cursors in the store of the alerts, where it writes them together with
what is to be told. Its own cursor is of no use, and neither is any other sensor needed.
"""

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from tv_etl.orchestration.alert_events import report_alerts
from tv_etl.orchestration.dagster_internals import running_schedules
from tv_etl.orchestration.quote_alerts import REPORT_UNTIL_S, SHOWN_PROBLEMS, keep_in
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import schedule_defaults
from tv_etl.orchestration.watched import Watched
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Watchlist
from tv_etl.watchlist.notify import Notify

if TYPE_CHECKING:
    from tv_etl.alerts.notices import Routing
    from tv_etl.alerts.notify import Look
    from tv_etl.alerts.trouble_store import KnownTroubles
    from tv_etl.alerts.troubles import Sighting
    from tv_etl.lake.store import BarStore

NAME = "notifications"
# Deadlines are hours away, and a look reads every record: a look at the lake every so often.
LOOK_EVERY_S = 300.0
_LEAST_REPORT_S = 2.0


def build_notifications(
    watchlist: Watchlist, watched: Watched, resources: LakeResources, asset_key: dg.AssetKey | None = None
) -> dg.SensorDefinition:
    """The sensor, for what was defined of a watchlist that has `notify`; `asset_key` is that of the asset `alerts`."""
    notify, lake = watchlist.notify, resources
    assert notify is not None
    rules_are_judged = bool(watchlist.alerts.rules)
    topics = ", ".join(notify.severities)
    runs_by_itself = watchlist.alerts.running or any(group.running for group in watchlist.groups)

    @dg.sensor(
        name=lake.only(NAME),
        minimum_interval_seconds=notify.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING if runs_by_itself else dg.DefaultSensorStatus.STOPPED,
        description=f"Tells the targets of alerts when collecting fails, and when it works again: {topics}.",
        required_resource_keys=lake.keys("notifier", "bar_store"),
    )
    def notifications(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from tv_etl.alerts.database import StoreBusy
        from tv_etl.alerts.notify import run_notify

        started, notifier = time.monotonic(), lake.notifier(context)
        store, bars = notifier.store(), lake.bar_store(context).store()
        here = replace(
            watched,
            # That it erred itself it tells once it works again.
            sensors=watched.sensors | {lake.only(NAME)},
            repository=context.repository_name or "",
            location=_location_of(context.code_location_origin),
        )

        def read(known: "KnownTroubles") -> "Look":
            return look(notify, context, here, bars, known, time.time())

        try:
            report = run_notify(
                store,
                notifier.usable(),
                read,
                routing_of(watchlist),
                time.time,
                keep=keep_in(lake.bar_store(context)),
                watches_targets=not rules_are_judged,
                silence_s=watchlist.alerts.silence_s,
            )
        except StoreBusy:
            return dg.SensorResult(skip_reason="another evaluation is still running")
        for problem in report.problems[:SHOWN_PROBLEMS]:
            context.log.warning(printable(problem))
        with suppress(StoreBusy):
            report_alerts(
                context.instance,
                store,
                asset_key or lake.alerts_key,
                bars,
                budget_s=max(_LEAST_REPORT_S, REPORT_UNTIL_S - (time.monotonic() - started)),
            )
        return dg.SensorResult(skip_reason=report.summary)

    return notifications


def routing_of(watchlist: Watchlist) -> "Routing":
    """Who is told what, by `notify` and the targets of the alerts."""
    from tv_etl.alerts.notices import Routing

    notify = watchlist.notify or Notify()
    return Routing(notify.severities, notify.named(watchlist.alerts.all_targets), notify.ui)


def look(
    notify: Notify,
    context: dg.SensorEvaluationContext,
    watched: Watched,
    bars: "BarStore",
    known: "KnownTroubles",
    now: float,
) -> "Look":
    """What is seen at `now` (UTC seconds), and how far it was read.

    What there is no mark of yet is read for the first time: of runs and ticks what comes from now on, of verdicts and
    of the lake what is bad now.
    """
    # Reading checks takes Arrow, which definitions need not load.
    from tv_etl.alerts.notify import Look
    from tv_etl.orchestration import run_sightings as runs
    from tv_etl.orchestration.sightings import check_sightings, departed, lake_sightings, tick_sightings

    instance = context.instance
    topics, marks, problems = notify.severities, dict(known.marks), list[str]()
    found: list[Sighting] = []
    if "runs" in topics:
        seen, marks[runs.MARK] = runs.run_sightings(instance, watched, marks.get(runs.MARK, ""), known.open, now)
        found += seen
    if "checks" in topics:
        seen, marks["checks"] = check_sightings(instance, watched, topics, marks.get("checks", ""), now)
        found += seen
    if "sensors" in topics:
        seen, marks["ticks"] = tick_sightings(instance, watched, marks.get("ticks", ""), now)
        found += seen
    of_lake = sorted({"losses", "seams"} & set(topics))
    mark = f"{now} {' '.join(of_lake)}"
    if of_lake and _is_due(marks.get("lake", ""), mark, now):
        on = running_schedules(context, schedule_defaults(watched.groups))
        seen, problems = lake_sightings(watched.groups, instance, bars, topics, now, on.get)
        marks["lake"] = mark
        found += seen
    if known.open:
        found += departed(watched, instance, known.open)
    return Look(found, marks, problems)


def _is_due(last: str, mark: str, now: float) -> bool:
    """True if the lake is to be looked at: it is time, or another topic is told than at the last look."""
    at, _, topics = last.partition(" ")
    # The clock may have been set back.
    return not at or topics != mark.partition(" ")[2] or not 0 <= now - float(at) < LOOK_EVERY_S


def _location_of(origin: object) -> str:
    return str(getattr(origin, "location_name", "") or "")
