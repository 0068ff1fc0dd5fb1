"""What schedules and sensors will do, in words: when they tick and why then, how much they ask for, how far back."""

import logging
from collections.abc import Iterator

from tv_etl.orchestration.dagster_internals import is_first_load
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import counted
from tv_etl.tradingview.series import ASSUMED_WINDOW_BARS
from tv_etl.watchlist.model import Alerts, Group, Watchlist

# Below Dagster's own logger, which a code server shows.
_LOG = logging.getLogger("dagster.tv_etl")
_DAY_S = 86_400
# Why the default ticks are where they are.
_TICKS = {
    "s": "every minute",
    "m": "a minute past each fifth minute, since bars close at full minutes and take seconds to arrive",
    "h": "three minutes past each quarter of an hour, since sessions begin at full, half and quarter hours, and their "
    "hours close as they do",
    "d": "20 and 50 minutes past each hour, since somewhere in the world a session ends at each half hour, its bar is "
    "settled by an auction a quarter of an hour later, and many feeds are as late",
    "w": "40 minutes past each sixth hour, since a week ends with its last session, wherever that is",
    "mo": "50 minutes past each sixth hour, since a month ends with its last session, wherever that is",
}


def ticks_text(group: Group, interval: str) -> str:
    """When the schedule of the interval ticks, why then, and what comes of it."""
    width = Interval.parse(interval)
    unit = "h" if width.unit == "m" and width.count >= 60 else width.unit
    why = "" if group.ticks_apart_s(interval) is None else f": {_TICKS[unit]}"
    return (
        f"Ticks are in UTC{why}. A tick looks into the lake; where nothing has closed, it starts no run and asks the "
        "server for nothing."
    )


def requests_text(group: Group, interval: str) -> str:
    """How much the schedule of the interval asks for, and how far back."""
    return f"{_series(group)}: first {_first_fetch(group, interval)}; then {_increments(group, interval)}."


def tell_what_starts(watchlist: Watchlist) -> None:
    """Say in the log of a code server that loads what will run by itself; runs, which load the same, say nothing."""
    if is_first_load():
        for line in what_starts(watchlist):
            _LOG.info(line)


def what_starts(watchlist: Watchlist) -> Iterator[str]:
    """A line for each group, and one for the alerts."""
    for group in watchlist.groups:
        scheduled = [interval for interval in group.intervals if group.cron(interval) is not None]
        if not group.running:
            names = ", ".join(scheduled)
            yield (
                f"{group.name}: its schedules ({names or 'none'}) wait for somebody to switch them on; with "
                "`running: true` they start with the code location"
            )
            continue
        finds = f"asks the screener every {group.scan_interval_s:,} s" if group.scanner else ""
        plans = [f"{interval} ({group.cron(interval)} UTC): {requests_text(group, interval)}" for interval in scheduled]
        yield f"{group.name}: running. {' '.join([*([f'It {finds}.'] if finds else []), *plans])}"
    if watchlist.alerts.rules:
        yield f"alerts: {_alerts(watchlist.alerts)}"


def _alerts(alerts: Alerts) -> str:
    count = f"{counted(len(alerts.rules), 'rule')} and {counted(len(alerts.all_targets), 'target')}"
    if not alerts.running:
        return f"{count} wait for somebody to switch on the sensor quote_alerts; `running: true` starts it"
    return f"running. {count}, judged every {alerts.interval_s:,} s"


def _series(group: Group) -> str:
    if group.scanner is None:
        return f"{len(group.symbols):,} series"
    return (
        f"Up to {group.scanner.limit:,} series a scan" if group.scanner.limit else "All series that the scanner finds"
    )


def _first_fetch(group: Group, interval: str) -> str:
    width = Interval.parse(interval)
    if group.initial_bars is not None:
        reach = f"the newest {group.initial_bars:,} bars"
    elif not width.is_intraday:
        reach = "all bars there are"
    else:
        days = ASSUMED_WINDOW_BARS * width.seconds / _DAY_S
        span = f"{days:,.1f} days" if days >= 1 else f"{days * 24:,.1f} hours"
        reach = f"all that the server still has, about {ASSUMED_WINDOW_BARS:,} bars, which are {span} of an open market"
    return f"a request for each, for {reach}"


def _increments(group: Group, interval: str) -> str:
    apart_s = group.ticks_apart_s(interval)
    if apart_s is None:
        return "one for each in which a bar has closed, at each tick"
    a_day = _DAY_S // max(apart_s, Interval.parse(interval).seconds)
    often = f"at most {a_day:,} times a day" if a_day > 1 else "at most once a day"
    return f"one for each in which a bar has closed, {often}"
