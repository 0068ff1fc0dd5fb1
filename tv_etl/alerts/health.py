"""The state of a symbol: whether its rules can be judged. Each is told once when it begins, and once when it ends.

    dead          the server does not know the symbol (any more)
    refused       the account may not have it, or the server will not give it
    no_data       its own hours say that it should trade, and nothing comes
    no_reference  it answers, but without a price and without bars
    limited       its bars begin later than the last one that is known: what crossed between them is missed
    readjusted    its history was re-adjusted, as by a split, and the levels of its rules are to be checked
    late          its feed is delayed
    ok            none of these

The first that is true counts. Pure: the facts of a tick in, a state and what is to be told of it out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import lru_cache
from typing import get_args

from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import Alert, StateKind
from tv_etl.alerts.state import Health, Registered, SymbolState
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError

# How long nothing may come, of a symbol, of all of them, or from a target, before somebody is told.
SILENCE_S = 600.0
# A thin symbol is not without data because nobody trades it: it is given so many of its usual pauses.
PAUSES = 3.0
_DAY_S = 86_400

_ENTRY = {
    "dead": "the server does not know it; no longer watched",
    "refused": "the server refuses it; not watched",
    "no_data": "no data; its rules wait",
    "no_reference": "neither a price nor bars; its rules wait",
    "limited": "what crossed before is missed",
    "late": "its alerts come late",
}


@dataclass(frozen=True)
class Facts:
    """What a tick saw of one symbol.

    `unknown` and `refusal` are the server's words where it has said so. `answered` is True if anything came, `price`
    if there was a price. `minutes_error` says why its minutes, or other bars of its rules, did not come although they
    matter; it is empty where they came or do not. `missed` says which bars the server no longer had. `traded_at` is the
    newest trade that was seen, by the feed's clock.
    """

    now: float
    delay_s: float = 0.0
    unknown: str = ""
    refusal: str = ""
    answered: bool = False
    has_price: bool = False
    error: str = ""
    minutes_error: str = ""
    minutes_came: bool = False
    missed: str = ""
    traded_at: float | None = None


def session_open(hours: TradingHours | None, at: float) -> tuple[bool, float]:
    """Whether a symbol trades at a time, and since when: the open of its trading day, or of the last one that was.

    Hours that are not known count as open since ever.
    """
    if hours is None:
        return True, -math.inf
    second = math.floor(at)
    found = hours.sessions(second - 15 * _DAY_S, second + 1)
    if not found.opens.size:
        return False, -math.inf
    day = found.days[-1]
    first = int(found.opens[found.days == day].min())
    return bool(found.opens[-1] <= second < found.closes[-1]), float(first)


@lru_cache(maxsize=1_000)
def read_hours(text: str) -> TradingHours | None:
    """The hours that are kept of a symbol; None if they are unknown or cannot be read."""
    try:
        return TradingHours.from_json(text) if text else None
    except (TradingHoursError, ValueError):
        return None


def judge(
    symbol: SymbolState,
    facts: Facts,
    hours: TradingHours | None,
    asked_to_check: bool,
    silence_s: float = SILENCE_S,
) -> SymbolState:
    """The symbol with its state as these facts tell it.

    `asked_to_check` says that rules of the symbol are as they were when it was re-adjusted. After `silence_s` without
    what should come it has no data.
    """
    now, feed_now = facts.now, facts.now - facts.delay_s
    is_open, opened_at = session_open(hours, feed_now)
    quiet_s = max(silence_s, PAUSES * symbol.pause_s)
    is_stale = False
    if facts.answered and is_open and facts.traded_at is not None and hours is not None:
        is_stale = feed_now - max(facts.traded_at, opened_at) > quiet_s
    is_fine = facts.answered and not is_stale
    fine_at = now if is_fine or symbol.fine_at is None or not is_open else symbol.fine_at
    missing_since = (symbol.minutes_missing_since or now) if facts.minutes_error else None
    state, detail = "ok", ""
    if facts.unknown:
        state, detail = "dead", facts.unknown
    elif facts.refusal:
        state, detail = "refused", facts.refusal
    elif is_stale and facts.traded_at is not None:
        state, detail = "no_data", f"its last trade was at {moment(facts.traded_at)}"
    elif not facts.answered and (now - fine_at >= silence_s or symbol.health.state == "no_data"):
        state, detail = "no_data", facts.error
    elif missing_since is not None and is_open and now - missing_since >= silence_s:
        state, detail = "no_data", f"its bars do not come: {facts.minutes_error}"
    elif not facts.answered:
        state, detail = symbol.health.state, symbol.health.detail  # nothing is known that would change it
    elif not facts.has_price and symbol.watermark is None and not facts.minutes_came:
        state, detail = "no_reference", "neither a price nor bars came"
    elif facts.missed:
        state, detail = "limited", facts.missed
    elif asked_to_check:
        state, detail = "readjusted", "its history was re-adjusted"
    elif facts.delay_s > 0:
        state, detail = "late", f"its feed is delayed by {facts.delay_s / 60:.0f} minutes"
    before = symbol.health
    health = Health(state, before.since, detail) if state == before.state else Health(state, now, detail)
    return replace(symbol, health=health, fine_at=fine_at, minutes_missing_since=missing_since)


def tell(
    symbol: str, before: Health, after: Health, registered: Sequence[Registered], new: Sequence[Registered], now: float
) -> list[Alert]:
    """What is to be told of a symbol: its state where it has changed, else of new rules that it cannot serve."""
    if after.state != before.state:
        if after.state == "readjusted":
            return []  # each rule has its own alert, with its level
        return [_alert(symbol, after, registered, now, digest(("state", symbol, after.state, now), size=16))]
    if after.state in ("dead", "refused", "no_reference") and new:
        generations = [each.generation for each in new]
        return [_alert(symbol, after, new, now, digest(("state", symbol, after.state, generations), size=16))]
    return []


def _alert(symbol: str, health: Health, registered: Sequence[Registered], now: float, event_id: str) -> Alert:
    names = [each.rule.name for each in registered]
    rules = f"rule {names[0]}" if len(names) == 1 else f"{len(names)} rules: {', '.join(names[:10])}"
    rules += ", ..." if len(names) > 10 else ""
    if health.state == "ok":
        text = f"{symbol}: all is well again ({rules})"
    else:
        text = f"{symbol}: {health.detail}: {_ENTRY[health.state]} ({rules})"
    return Alert(
        event_id=event_id,
        rule=names[0] if len(names) == 1 else "",
        symbol=symbol,
        kind=_kind(health.state),
        level=None,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=text,
    )


def _kind(state: str) -> StateKind:
    return next(kind for kind in get_args(StateKind) if kind == state)


def duration(seconds: float) -> str:
    """A length of time for people."""
    for unit_s, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def moment(time_s: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
