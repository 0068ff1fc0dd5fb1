"""Rules judged apart from each other, so that one that breaks stops no other; pure."""

from collections.abc import Mapping, Sequence

from tv_etl.alerts.rules import Alert, AlertRule, MinuteBar, QuoteNow, evaluate, state_key
from tv_etl.alerts.state import AlertState


def evaluate_apart(
    rules: Sequence[AlertRule],
    state: AlertState,
    bars: Mapping[str, Sequence[MinuteBar]],
    quotes: Mapping[str, QuoteNow],
    now: float,
    delays_s: Mapping[str, float],
) -> tuple[list[Alert], AlertState, list[tuple[AlertRule, Exception]]]:
    """As `evaluate`, but what breaks on one rule is that rule's.

    It keeps its state and is among the last of what is returned, with the error; the others are judged.
    """
    found: list[Alert] = []
    broken: list[tuple[AlertRule, Exception]] = []
    after = AlertState()
    for symbol in dict.fromkeys(rule.symbol for rule in rules):
        mine = [rule for rule in rules if rule.symbol == symbol]
        try:
            alerts, judged = evaluate(mine, state, bars, quotes, now, delays_s=delays_s)
        except Exception:
            for rule in mine:
                try:
                    alerts, judged = evaluate([rule], state, bars, quotes, now, delays_s=delays_s)
                except Exception as error:
                    broken.append((rule, error))
                    alerts, judged = [], _untouched(rule, state)
                found += alerts
                after = _joined(after, judged)
        else:
            found += alerts
            after = _joined(after, judged)
    return found, after, broken


def _untouched(rule: AlertRule, state: AlertState) -> AlertState:
    key, symbol = state_key(rule), rule.symbol
    return AlertState(
        {key: state.rules[key]} if key in state.rules else {},
        {symbol: state.watermarks[symbol]} if symbol in state.watermarks else {},
        {symbol: state.closes[symbol]} if symbol in state.closes else {},
    )


def _joined(one: AlertState, other: AlertState) -> AlertState:
    """Both states; of two watermarks of a symbol the later, with its close."""
    later = [symbol for symbol, mark in other.watermarks.items() if mark >= one.watermarks.get(symbol, mark)]
    return AlertState(
        {**one.rules, **other.rules},
        {**one.watermarks, **{symbol: other.watermarks[symbol] for symbol in later}},
        {**one.closes, **{symbol: other.closes[symbol] for symbol in later if symbol in other.closes}},
    )
