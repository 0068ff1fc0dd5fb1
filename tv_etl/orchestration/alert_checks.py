"""Checks of the alerts as a whole: are the rules judged, did every target get its alerts, is every symbol heard of.

A schedule of their own runs them: where the sensor stands still, it cannot say so itself.
"""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg

from tv_etl.orchestration.lost_runs import BEATS_TAG, beating
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import schedule_status
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Alerts

if TYPE_CHECKING:
    from tv_etl.alerts.store import AlertStore, Memory

FRESH, DELIVERED, HEARD = "alerts_fresh", "alerts_delivered", "alerts_heard"
CRON = "*/15 * * * *"
# A tick that was missed is no reason to wake anybody.
_MISSED_TICKS = 5
_SHOWN = 50
# What a symbol may be without its rules being blind: a delayed feed is as late as it says.
_HEARD = frozenset({"ok", "late"})


def build_alert_checks(
    alerts: Alerts, lake: LakeResources, asset_key: dg.AssetKey
) -> tuple[dg.AssetChecksDefinition, Any, dg.ScheduleDefinition]:
    """The checks of the asset `alerts`, the job that runs them and its schedule."""
    late_s = max(alerts.silence_s, _MISSED_TICKS * alerts.interval_s)
    specs = [
        dg.AssetCheckSpec(FRESH, asset=asset_key, description=f"The rules were judged within the last {late_s:g} s."),
        dg.AssetCheckSpec(DELIVERED, asset=asset_key, description="No alert was given up."),
        dg.AssetCheckSpec(
            HEARD, asset=asset_key, description="Every watched symbol has data, as its hours say it should."
        ),
    ]

    @dg.multi_asset_check(
        name=lake.only("check_alerts"),
        specs=specs,
        can_subset=True,
        required_resource_keys=lake.keys("notifier"),
        op_tags=BEATS_TAG,
    )
    def check_alerts(context: dg.AssetCheckExecutionContext) -> Any:
        with beating(context):
            store, now = lake.notifier(context).store(), time.time()
            memory = store.load()
            results = {
                FRESH: _is_fresh(memory, now, late_s),
                DELIVERED: _is_delivered(store),
                HEARD: _is_heard(memory),
            }
        for key in context.selected_asset_check_keys:
            passed, text, metadata = results[key.name]
            yield dg.AssetCheckResult(
                passed=passed,
                asset_key=asset_key,
                check_name=key.name,
                severity=dg.AssetCheckSeverity.WARN if key.name == HEARD else dg.AssetCheckSeverity.ERROR,
                description=text,
                metadata=metadata,
            )

    job = dg.define_asset_job(
        lake.only("alerts_check_job"),
        selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(asset_key, each.name) for each in specs)),
        description="Checks that the rules are judged, the alerts delivered and the symbols heard of.",
        executor_def=dg.in_process_executor,
    )
    schedule = dg.ScheduleDefinition(
        name=lake.only("alerts_checks"),
        job=job,
        cron_schedule=CRON,
        default_status=schedule_status(alerts),
        description="Checks the alerts: that the rules are judged, the alerts delivered and the symbols heard of.",
    )
    return check_alerts, job, schedule


_Result = tuple[bool, str, dict[str, Any]]


def _is_fresh(memory: "Memory", now: float, late_s: float) -> _Result:
    from tv_etl.alerts.health import duration

    judged_at = memory.flags.get("judged_at", "")
    if not judged_at:
        return False, "the rules have never been judged: is the sensor quote_alerts running?", {}
    age_s = max(0.0, now - float(judged_at))
    metadata = {"judged at": dg.MetadataValue.timestamp(float(judged_at)), "tick": memory.tick}
    return age_s <= late_s, f"the rules were last judged {duration(age_s)} ago", metadata


def _is_delivered(store: "AlertStore") -> _Result:
    stats = store.stats
    if not stats.dead:
        return True, f"{stats.pending:,} on their way, {stats.delivered:,} delivered", {"pending": stats.pending}
    letters = [
        f"{each.target}: {printable(each.text)} ({printable(each.error)})" for each in store.dead_letters(_SHOWN)
    ]
    text = f"{stats.dead:,} were given up: tv-etl alerts dead lists them, tv-etl alerts resend sends them again"
    return False, text, {"given up": dg.MetadataValue.json(letters)}


def _is_heard(memory: "Memory") -> _Result:
    states = {symbol: each.health for symbol, each in sorted(memory.state.symbols.items())}
    bad = {symbol: each for symbol, each in states.items() if each.state not in _HEARD}
    if not bad:
        return True, f"all of {len(states):,} symbols", {}
    shown = {symbol: f"{each.state}: {printable(each.detail)}" for symbol, each in list(bad.items())[:_SHOWN]}
    return (
        False,
        f"{len(bad):,} of {len(states):,} symbols: {', '.join(list(bad)[:5])}",
        {"symbols": dg.MetadataValue.json(shown)},
    )
