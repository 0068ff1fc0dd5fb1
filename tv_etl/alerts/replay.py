"""Stored bars replayed through the rules: what would have been told, and when.

A function of bars, without a store, a server or a clock; it is the fold of the ticks, so it tells what they would have
told. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tv_etl.alerts.closes import closed_bars
from tv_etl.alerts.fold import Alert, MinuteBar, evaluate
from tv_etl.alerts.levels import ClosedBars
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Registered
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import described
from tv_etl.tradingview.trading_hours import TradingHours

# What touches are looked for in, the finest that there is.
TOUCH_INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")

Row = Sequence[float | None]


class StoredBars(NamedTuple):
    """Closed bars of a series, ascending: [time, open, high, low, close, volume]; and the symbol's hours, if known."""

    rows: Sequence[Row]
    hours: TradingHours | None = None


# The bars of a symbol at an interval, all that there are up to the end of the replay.
BarsOf = Callable[[str, str], StoredBars]


@dataclass
class Replayed:
    """What would have been told, in order of time; and what could not be judged, or not so finely."""

    alerts: list[Alert] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def replay(
    rules: Iterable[AlertRule],
    bars_of: BarsOf,
    start: int,
    end: int,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Replayed:
    """Replay bars of `start` <= open < `end` through rules that began at `start`; bars before tell their first sides.

    The cap on a rule that fires too often is not applied: it depends on when ticks come.
    """
    replayed = Replayed()
    for rule in rules:
        for symbol in [rule.symbol] if rule.symbol else rule.symbols or (groups or {}).get(rule.group or "", ()):
            try:
                replayed.alerts += _replay_one(Registered(rule, 1, symbol), bars_of, start, end, replayed.notes)
            except Exception as error:  # whatever it is, it is this rule's alone
                replayed.notes.append(f"rule {rule.name}: {symbol}: {described(error)}")
    replayed.alerts.sort(key=lambda alert: (alert.touched_at or 0, alert.rule, alert.symbol))
    return replayed


def _replay_one(registered: Registered, bars_of: BarsOf, start: int, end: int, notes: list[str]) -> list[Alert]:
    rule, symbol = registered.rule, registered.symbol
    name = f"rule {rule.name}: {symbol}"
    wider: dict[str, StoredBars] = {}
    for interval in dict.fromkeys([*rule.references, *([rule.interval_watched] if rule.interval_watched else [])]):
        wider[interval] = bars_of(symbol, interval)
        if not wider[interval].rows:
            notes.append(f"{name}: no bars of {interval} are stored")
            return []
    minutes, hours = _minutes(rule, symbol, bars_of, end, name, notes)
    if rule.interval_watched is None and not minutes:
        return []
    found: list[Alert] = []
    state = AlertState()
    # It begins with the first bar after `start` that is there, if there is none before to begin with.
    firsts = [start, *(bar.timestamp + bar.width_s for bar in minutes[:1])]
    firsts += [int(each.rows[0][0] or 0) + Interval.parse(interval).seconds for interval, each in wider.items()]
    for now in (max(firsts), end):
        until = {interval: _until(interval, each, now) for interval, each in wider.items()}
        known = [bar for bar in minutes if bar.timestamp + bar.width_s <= now]
        folded = evaluate(
            [registered], state, {symbol: known} if known else {}, {}, now, grace_s=0.0, closed={symbol: until}
        )
        for _, error in folded.broken:
            raise error
        found += [replace(each, touched_at=each.touched_at or now) for each in folded.alerts]
        state = folded.state
    if not state.armings:
        notes.append(f"{name}: its level is not known from what is stored")
    if hours is None and wider:
        notes.append(f"{name}: its trading hours are not known: bars count as closed when their width is over")
    return found


def _until(interval: str, stored: StoredBars, now: int) -> ClosedBars:
    """What was stored, and what of it was final by then."""
    rows = [row for row in stored.rows if (row[0] or 0) < now]
    width = Interval.parse(interval).seconds
    # Of a bar that was forming then the open is known, not the volume that it came to.
    seen = [row if (row[0] or 0) + width <= now else row[:5] for row in rows]
    return closed_bars(interval, seen, stored.hours, now, now)


def _minutes(
    rule: AlertRule, symbol: str, bars_of: BarsOf, end: int, name: str, notes: list[str]
) -> tuple[list[MinuteBar], TradingHours | None]:
    """What touches are looked for in, of a rule that looks for them; and the symbol's hours."""
    if rule.interval_watched is not None:
        return [], bars_of(symbol, rule.interval_watched).hours
    for interval in TOUCH_INTERVALS:
        stored = bars_of(symbol, interval)
        width = Interval.parse(interval).seconds
        bars = [_minute(row, width) for row in stored.rows if (row[0] or 0) < end and None not in row[:5]]
        if bars:
            if interval != "1m":
                notes.append(f"{name}: no minutes are stored; judged by bars of {interval}: arms by their closes alone")
            return bars, stored.hours
    notes.append(f"{name}: no bars are stored")
    return [], None


def _minute(row: Row, width_s: int) -> MinuteBar:
    time, open_, high, low, close = (float(value or 0.0) for value in row[:5])
    return MinuteBar(int(time), open_, high, low, close, width_s)
