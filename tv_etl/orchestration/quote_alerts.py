"""The quote sensor: judges the alert rules every tick and delivers what they found through the outbox.

Alerts are stored before the cursor is, and delivered from the store: a tick that is killed, repeated or overlapped
finds the same alerts under the same ids again, and nobody is told twice or not at all.
"""

import time
from collections.abc import Mapping

import dagster as dg

from tv_etl.alerts.outbox import OutboxBusy
from tv_etl.alerts.rules import Alert, MinuteBar, QuoteNow, evaluate, make_dead_alert
from tv_etl.alerts.state import AlertState, CursorError, NewerCursorError
from tv_etl.alerts.webhooks import deliver
from tv_etl.orchestration.resources import AlertInputs, LakeResources, TradingViewResource
from tv_etl.tradingview.errors import SymbolError, TradingViewError
from tv_etl.tradingview.models import feed_delay_s
from tv_etl.watchlist.model import Alerts

# How far back to look for crossings when the cursor is lost.
RECOVERY_S = 3600.0


def build_quote_alerts(alerts: Alerts, resources: LakeResources | None = None) -> dg.SensorDefinition:
    """The sensor for all rules of a watchlist."""
    lake = resources or LakeResources()

    @dg.sensor(
        name=lake.key("quote_alerts"),
        minimum_interval_seconds=alerts.interval_s,
        description=f"Evaluates {len(alerts.rules)} price rules on quotes and one-minute bars; delivers to webhooks.",
        required_resource_keys=lake.keys("tradingview", "notifier"),
    )
    def quote_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tradingview, notifier = lake.tradingview(context), lake.notifier(context)
        outbox, webhooks = notifier.outbox(), notifier.webhooks()
        state = _read_cursor(context)
        try:
            with outbox.exclusive():
                found, dead, state, problems = _judge(alerts, state, tradingview)
                outbox.add(found, webhooks)
                # Reported once: the outbox knows which dead rules it already has.
                found += dead if outbox.add(dead, webhooks) else []
                report = deliver(outbox, webhooks, time.time())
        except OutboxBusy:
            return dg.SensorResult(skip_reason="another evaluation is still running", cursor=context.cursor)
        for problem in [*problems, *report.errors]:
            context.log.warning(problem)
        summary = f"{len(found)} alerts found, {report.sent} delivered"
        if report.retried or report.dead:
            summary += f", {report.retried} to be retried, {report.dead} given up"
        if problems:
            summary += f"; {len(problems)} problems: {problems[0]}"
        return dg.SensorResult(
            skip_reason=summary,
            cursor=state.encode(),
            asset_events=[_observation(alert, lake.key("quote_alerts")) for alert in found],
        )

    return quote_alerts


def _judge(
    alerts: Alerts, state: AlertState, tradingview: TradingViewResource
) -> tuple[list[Alert], list[Alert], AlertState, list[str]]:
    """Alerts found, rules that cannot be judged, the state to keep, and what went wrong.

    Without an answer the state stays as it was.
    """
    symbols = sorted({rule.symbol for rule in alerts.rules})
    try:
        inputs = tradingview.alert_inputs({symbol: state.watermark(symbol) for symbol in symbols})
    except TradingViewError as error:
        return [], [], state, [str(error)]
    bars, quotes, delays_s, problems = _separate_problems(inputs)
    found, state = evaluate(alerts.rules, state, bars, quotes, inputs.now, delays_s=delays_s)
    refusals = {symbol: quote for symbol, quote in inputs.quotes.items() if isinstance(quote, SymbolError)}
    dead = [
        make_dead_alert(rule, refusals[rule.symbol].reason, inputs.now)
        for rule in alerts.rules
        if rule.symbol in refusals
    ]
    return found, dead, state, problems


def _read_cursor(context: dg.SensorEvaluationContext) -> AlertState:
    if not context.cursor:
        return AlertState()
    try:
        return AlertState.decode(context.cursor)
    except NewerCursorError:
        raise
    except CursorError as error:
        context.log.error(f"the cursor cannot be used ({error}); looking back {RECOVERY_S / 60:.0f} minutes")
        return AlertState.recovering(time.time() - RECOVERY_S)


def _separate_problems(
    inputs: AlertInputs,
) -> tuple[dict[str, list[MinuteBar]], dict[str, QuoteNow], dict[str, float], list[str]]:
    """Bars, quotes and feed delays of the symbols that answered, and what went wrong with the others."""
    bars: dict[str, list[MinuteBar]] = {}
    quotes: dict[str, QuoteNow] = {}
    delays_s: dict[str, float] = {}
    problems: list[str] = []
    for symbol, minutes in inputs.minutes.items():
        quote = inputs.quotes.get(symbol)
        if isinstance(minutes, TradingViewError):
            problems.append(f"{symbol}: {minutes}")
        elif isinstance(quote, TradingViewError):
            problems.append(str(quote))
        else:
            bars[symbol] = [MinuteBar(int(row[0]), *row[1:5]) for row in minutes.rows]
            if minutes.reach == "limited":
                problems.append(f"{symbol}: the server's one-minute bars begin too late; earlier crossings are missed")
            if quote is not None and quote.current_price is not None:
                quotes[symbol] = QuoteNow(quote.current_price, _trade_time(quote.symbol_info))
                delays_s[symbol] = feed_delay_s(str(quote.symbol_info.get("update_mode", ""))) or 0.0
    return bars, quotes, delays_s, problems


def _trade_time(fields: Mapping[str, object]) -> float | None:
    value = fields.get("lp_time")
    return float(value) if isinstance(value, int | float) else None


def _observation(alert: Alert, asset_key: str) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=asset_key,
        description=alert.text,
        metadata={
            "event_id": alert.event_id,
            "rule": alert.rule,
            "symbol": alert.symbol,
            "price": alert.price or alert.reason,
        },
    )
