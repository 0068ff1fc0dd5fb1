"""What rules would have told of stored bars, as a table and as pictures of the price."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.replay import Replayed, replay
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.stored_history import StoredHistory
from tv_etl.lake.chart import Mark, chart
from tv_etl.lake.picture import Candle
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Watchlist

_SPAN = timedelta(days=30)


class RehearsalError(Exception):
    """There is nothing to test."""


def span_of(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The span to test: by default the last 30 days. Raises ValueError if it ends before it begins."""
    until = end or now
    since = start or until - _SPAN
    if since >= until:
        raise ValueError(f"--from {since.isoformat()} is not before --to {until.isoformat()}")
    return since, until


def chosen_rules(watchlist: Watchlist, names: Sequence[str]) -> list[AlertRule]:
    """The rules of these names, or all. Raises RehearsalError for a name that is none's, and where there are none."""
    rules = list(watchlist.alerts.rules)
    known = {rule.name for rule in rules}
    for name in names:
        if name not in known:
            raise RehearsalError(f"no rule is named {name}; there are: {', '.join(sorted(known)) or 'none'}")
    if not rules:
        raise RehearsalError("the watchlist has no rules")
    return [rule for rule in rules if not names or rule.name in names]


def rehearse(
    watchlist: Watchlist, rules: Sequence[AlertRule], history: StoredHistory, start: datetime, end: datetime
) -> Replayed:
    """What the rules would have told. Of a group that a scanner feeds the symbols are those that the lake has."""
    groups = {
        group.name: group.symbols or history.symbols(group.intervals)
        for group in watchlist.groups
        if group.name in {rule.group for rule in rules}
    }
    return replay(rules, history, int(start.timestamp()), int(end.timestamp()), groups)


def alerts_table(alerts: Iterable[Alert], start: datetime, end: datetime) -> Table:
    """One row per alert, in order of time."""
    title = f"What would have been told, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))
    for column in ("time", "rule", "symbol", "kind"):
        table.add_column(column, no_wrap=True)
    for column in ("level", "price"):
        table.add_column(column, justify="right", no_wrap=True)
    for alert in alerts:
        moment = "" if alert.touched_at is None else f"{utc(alert.touched_at):%Y-%m-%d %H:%M}"
        numbers = ["" if value is None else f"{value:.10g}" for value in (alert.level, alert.price)]
        table.add_row(*(Text(printable(text)) for text in (moment, alert.rule, alert.symbol, alert.kind, *numbers)))
    return table


def write_pictures(
    directory: Path, rules: Iterable[AlertRule], alerts: Sequence[Alert], history: StoredHistory
) -> list[Path]:
    """A picture of the price for each rule and symbol that has alerts, with these on it."""
    directory.mkdir(parents=True, exist_ok=True)
    of_volume = {rule.name for rule in rules if rule.is_of_volume}
    written = []
    for rule, symbol in dict.fromkeys((alert.rule, alert.symbol) for alert in alerts):
        candles = history.candles(symbol)
        if not candles:
            continue
        mine = [alert for alert in alerts if (alert.rule, alert.symbol) == (rule, symbol)]
        path = directory / f"{rule}_{''.join(each if each.isalnum() else '_' for each in symbol)}.png"
        path.write_bytes(chart(candles, [_mark(alert, candles, rule in of_volume) for alert in mine]))
        written.append(path)
    return written


def _mark(alert: Alert, candles: Sequence[Candle], is_of_volume: bool) -> Mark:
    second = float(alert.touched_at or 0)
    if is_of_volume or alert.price is None:
        before = [each for each in candles if each.second <= second] or candles[:1]
        return Mark(second, before[-1].close)
    return Mark(second, alert.price, alert.level)


def now_utc() -> datetime:
    return datetime.now(timezone.utc)
