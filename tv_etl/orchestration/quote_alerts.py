"""The quote sensor: judges the alert rules every tick and delivers what they found through the outbox.

Alerts are stored before the cursor is, and delivered from the store: a tick that is killed, repeated or overlapped
finds the same alerts under the same ids again, and nobody is told twice or not at all.
"""

import time
from typing import TYPE_CHECKING

import dagster as dg

from tv_etl.alerts.isolation import evaluate_apart
from tv_etl.alerts.rules import Alert, MinuteBar, QuoteNow, make_dead_alert
from tv_etl.alerts.state import AlertState, CursorError, NewerCursorError, without_future
from tv_etl.orchestration.resources import LakeResources, TradingViewResource, described
from tv_etl.tradingview.errors import SymbolError, TradingViewError
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Alerts

if TYPE_CHECKING:
    from tv_etl.orchestration.alert_inputs import AlertInputs

# How far back to look for crossings when the cursor is lost.
RECOVERY_S = 3600.0
# Each is a line in the log of a tick.
SHOWN_PROBLEMS = 50


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
        # What reaches out is a tick's alone: definitions load without httpx and sqlite3.
        from tv_etl.alerts.outbox import OutboxBusy
        from tv_etl.alerts.webhooks import deliver

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
        for problem in [*problems, *report.errors][:SHOWN_PROBLEMS]:
            context.log.warning(printable(problem))
        summary = f"{len(found)} alerts found, {report.sent} delivered"
        if report.retried or report.dead:
            summary += f", {report.retried} to be retried, {report.dead} given up"
        if problems:
            summary += f"; {len(problems):,} problems: {printable(problems[0])}"
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
    except Exception as error:  # what was found earlier must still be delivered
        return [], [], state, [described(error)]
    bars, quotes, delays_s, problems = _separate_problems(inputs)
    found, state, broken = evaluate_apart(
        alerts.rules, without_future(state, inputs.now), bars, quotes, inputs.now, delays_s
    )
    failed = [f"rule {rule.name}: {described(error)}" for rule, error in broken]
    refusals = {symbol: quote for symbol, quote in inputs.quotes.items() if isinstance(quote, SymbolError)}
    dead = [
        make_dead_alert(rule, printable(refusals[rule.symbol].reason), inputs.now)
        for rule in alerts.rules
        if rule.symbol in refusals
    ]
    return found, dead, state, [*([inputs.doubt] if inputs.doubt else []), *problems, *failed]


def _read_cursor(context: dg.SensorEvaluationContext) -> AlertState:
    if not context.cursor:
        return AlertState()
    try:
        return AlertState.decode(context.cursor)
    except NewerCursorError:
        raise
    except CursorError as error:
        context.log.error(
            f"the cursor cannot be used ({printable(str(error))}); looking back {RECOVERY_S / 60:.0f} minutes"
        )
        return AlertState.recovering(time.time() - RECOVERY_S)


def _separate_problems(
    inputs: "AlertInputs",
) -> tuple[dict[str, list[MinuteBar]], dict[str, QuoteNow], dict[str, float], list[str]]:
    """Bars, quotes and feed delays of the symbols that answered, and what went wrong with the others."""
    from tv_etl.orchestration.alert_inputs import delay_s, trade_time

    bars: dict[str, list[MinuteBar]] = {}
    quotes: dict[str, QuoteNow] = {}
    delays_s: dict[str, float] = {}
    problems: list[str] = []
    for symbol, minutes in inputs.minutes.items():
        quote = inputs.quotes.get(symbol)
        if isinstance(minutes, TradingViewError):
            problems.append(f"{symbol}: {minutes}")
            continue
        if isinstance(quote, TradingViewError):
            problems.append(str(quote))
            continue
        try:
            known = [MinuteBar(int(row[0]), *row[1:5]) for row in minutes.rows]
            price = None if quote is None else quote.current_price
            now = None if price is None else QuoteNow(price, trade_time(quote, inputs.now))
        except Exception as error:  # whatever it is, it is this symbol's alone
            problems.append(f"{symbol}: {described(error)}")
            continue
        bars[symbol] = known
        if minutes.reach == "limited":
            problems.append(f"{symbol}: the server's one-minute bars begin too late; earlier crossings are missed")
        if now is not None:
            quotes[symbol] = now
            delays_s[symbol] = delay_s(quote)
    return bars, quotes, delays_s, problems


def _observation(alert: Alert, asset_key: str) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=asset_key,
        description=alert.text,
        metadata={
            "event_id": alert.event_id,
            "rule": alert.rule,
            "symbol": alert.symbol,
            "price": alert.reason if alert.price is None else alert.price,
        },
    )
