"""Rules that are judged on the bars of an interval: closes, volumes, several conditions at once.

Pure. Final bars are folded like minutes; the forming one may fire what only grows, a volume.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tv_etl.alerts.conditions import Condition
from tv_etl.alerts.levels import DAY_INTERVAL, Bar, ClosedBars
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import ArmingKey, Registered, RuleState
from tv_etl.alerts.truth_table import (
    CREATED,
    Crossing,
    Levels,
    Sample,
    cooldown_start,
    early_touch,
    fold,
    is_cooling,
    is_told,
)
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours

_MINUTE_S = 60
_DAY_S = 86_400
_NEVER = 1 << 53
_SPARE_BARS = 3
MAX_ASKED_BARS = 5_000


def judge(
    rule: AlertRule,
    before: RuleState | None,
    bars: Mapping[str, ClosedBars],
    day_volume: tuple[int, float] | None,
) -> tuple[list[Crossing], RuleState | None]:
    """What is to be told of the bars that became final, and the state.

    `day_volume` is what a quote says of its day, and when. Where its bars are not here, the rule is left as it was.
    """
    watched = bars.get(rule.interval_watched or "")
    if watched is None:
        return _early_day(rule, before, bars, day_volume) if before is not None else ([], None)
    if before is None:
        return _create(rule, watched, bars)
    found, state, judged = fold(rule, before, _samples(rule, watched.after(_seen(before))), Levels(rule, bars, before))
    is_whole = (
        not watched.final or judged == watched.final[-1].timestamp or watched.final[-1].timestamp <= _seen(before)
    )
    seen = max(_seen(before), watched.known_until - 1) if is_whole else max(_seen(before), judged or 0)
    state = state._replace(seen=seen)
    if not is_whole:
        return found, state
    if rule.interval_watched == DAY_INTERVAL and rule.is_armed_daily and day_volume is not None:
        more, last = _early_day(rule, state, bars, day_volume)
        return [*found, *more], last
    more, state = _early(rule, state, watched, bars)
    return [*found, *more], state


def begin_anew(rule: AlertRule, before: RuleState) -> RuleState:
    """After a re-adjustment: what armed it is no price any more, and what it is compared with is looked up again."""
    return RuleState(before.since, seen=before.seen, spent=before.spent, reported_at=before.reported_at)


def _seen(state: RuleState) -> int:
    return -_NEVER if state.seen is None else state.seen


def _create(
    rule: AlertRule, watched: ClosedBars, bars: Mapping[str, ClosedBars]
) -> tuple[list[Crossing], RuleState | None]:
    """The first side of a rule is that of the bars that have closed; what closes from now on is told."""
    if not watched.final:
        return [], None
    base = watched.final[-1].close
    state = RuleState(0, base=base, seen=watched.known_until - 1)
    if rule.is_armed_daily:
        return [], state
    levels = Levels(rule, bars)
    if not rule.is_armed_at_creation:
        past = _samples(rule, watched.final)
        silent = state._replace(since=_NEVER)
        return [], fold(rule, silent, past, levels, skips=True)[1]._replace(since=0, base=base, pending=0)
    state = state._replace(armed_at=CREATED, falling=getattr(rule, "falls", False))
    [last] = _samples(rule, watched.final[-1:])
    now = levels.at(last.timestamp, base)
    touch = None if now is None or now.levels is None else rule.touched(*last.against(now.levels), state.falling)
    if touch is None or rule.closes_in_a_row > 1:
        return [], state
    if not is_told(rule, last.moment):
        return [], state._replace(armed_at=None)
    crossing = Crossing(CREATED, touch.falling, last.price, last.touched_at, touch.level)
    after = state._replace(armed_at=None, spent=rule.once, reported_at=cooldown_start(rule, last.moment))
    return [crossing], after._replace(ends=CREATED if rule.resolved else None)


def _early(
    rule: AlertRule, state: RuleState, watched: ClosedBars, bars: Mapping[str, ClosedBars]
) -> tuple[list[Crossing], RuleState]:
    young = [each for each in watched.young if each.timestamp > _seen(state)]
    if rule.is_on_closes or not young or is_cooling(rule, state.reported_at, young[0].timestamp):
        return [], state
    if not all(is_told(rule, each.timestamp) for each in young):
        return [], state
    samples = list(_samples(rule, young))
    touched = early_touch(rule, state, samples, Levels(rule, bars, state), young[0].timestamp)
    if touched is None or state.armed_at is None:
        return [], state
    sample, touch = touched
    return [Crossing(state.armed_at, False, touch.price, sample.touched_at, touch.level)], state._replace(
        reported_early=True
    )


def _early_day(
    rule: AlertRule, state: RuleState, bars: Mapping[str, ClosedBars], day_volume: tuple[int, float] | None
) -> tuple[list[Crossing], RuleState]:
    """What the volume in a quote says of its day; all days before it are judged, or it is not known to be another."""
    if day_volume is None or not rule.is_armed_daily or not rule.is_of_volume or (state.spent and state.ends is None):
        return [], state
    moment, volume = day_volume
    levels = Levels(rule, bars, state)
    now = levels.at(moment, state.base)
    if now is None or now.levels is None or now.since <= _seen(state):
        return [], state  # not known yet, or the quote is of a day that is over and judged
    state = levels.kept(state)
    ended: list[Crossing] = []
    if now.day != state.day:
        if state.ends is not None:
            ended = [Crossing(state.ends, False, volume, None, now.levels[0], is_end=True)]
        armed_at = None if state.spent else now.day + 1
        state = state._replace(day=now.day, armed_at=armed_at, reported_early=False, ends=None)
    if state.armed_at is None or state.reported_early or not is_told(rule, now.since):
        return ended, state
    if volume < now.levels[0] or is_cooling(rule, state.reported_at, now.since):
        return ended, state
    return [*ended, Crossing(state.armed_at, False, volume, moment, now.levels[0])], state._replace(reported_early=True)


def _samples(rule: AlertRule, watched: Iterable[Bar]) -> Iterator[Sample]:
    """The bars as the truth table takes them: their closes, their volumes, or whether all is so."""
    for bar in watched:
        if len(rule.conditions) > 1:
            yield _flat(rule, bar, bar.close)._replace(truth=partial(_holds, rule, bar))
        else:
            yield _flat(rule, bar, _value(rule, bar))


def _value(condition: Condition, bar: Bar) -> float:
    # A bar without a volume neither fires nor arms.
    volume = math.nan if bar.volume is None else bar.volume
    return volume if condition.is_of_volume else bar.close


def _flat(rule: AlertRule, bar: Bar, value: float) -> Sample:
    # A close is of the bar's last minute; when a volume was reached no bar tells, so it counts from its open.
    moment = bar.ends_at - _MINUTE_S if rule.is_on_closes else bar.timestamp
    touched_at = bar.ends_at if rule.is_on_closes else bar.timestamp
    return Sample(bar.timestamp, value, value, value, value, moment, value, touched_at)


def _holds(rule: AlertRule, bar: Bar, levels: Sequence[float]) -> bool:
    """True if all conditions are so at a close."""
    rest = list(levels)
    for each in rule.conditions:
        mine, rest = rest[: len(each.targets)], rest[len(each.targets) :]
        if not each.holds(_value(each, bar), mine):
            return False
    return True


# --- which bars matter


class BarsNeeded(NamedTuple):
    """How many of the newest bars, and whether the one that forms is among them."""

    bars: int
    is_forming: bool = False

    def joined(self, other: "BarsNeeded") -> "BarsNeeded":
        """What serves both."""
        return BarsNeeded(max(self.bars, other.bars), self.is_forming or other.is_forming)


def needs_bars(
    registered: Iterable[Registered],
    armings: Mapping[ArmingKey, RuleState],
    hours: TradingHours | None,
    traded_at: float | None,
    feed_now: float,
    grace_s: float,
) -> dict[str, BarsNeeded]:
    """The bars of each interval that can change what is told of these rules, all of one symbol.

    `traded_at` is the symbol's last trade, None if that is not known. What is not asked for is asked for later.
    """
    found: dict[str, BarsNeeded] = {}

    def want(interval: str, back: int, since: float | None, is_forming: bool = False) -> None:
        width = Interval.parse(interval).seconds
        missed = 0 if since is None else max(0, math.ceil((feed_now - since) / width))
        need = BarsNeeded(min(back + missed + _SPARE_BARS, MAX_ASKED_BARS), is_forming)
        found[interval] = need.joined(found.get(interval, need))

    for each in registered:
        rule, state = each.rule, armings.get(each.key)
        if rule.has_expired(int(feed_now)) if state is None else (state.spent and state.ends is None):
            continue
        since = None if state is None else state.since if state.seen is None else state.seen
        watched = rule.interval_watched
        is_forming = watched is not None and not rule.is_on_closes and not rule.is_armed_daily
        if watched is None or (rule.is_armed_daily and rule.is_of_volume):
            # Its levels matter at any trade, its bars when one may have closed.
            looks_up = state is None or _is_stale(state, traded_at, feed_now)
        else:
            looks_up = False
        if watched is not None:
            is_due = state is None or _may_have_closed(watched, _seen(state), hours, traded_at, feed_now, grace_s)
            is_due = is_due or (is_forming and (traded_at is None or traded_at > _seen(state or RuleState(0))))
            if is_due:
                want(watched, 1, since, is_forming)
            looks_up = looks_up or is_due
        if looks_up:
            for interval, back in rule.references.items():
                want(interval, back, since)
    return found


def is_up_to_date(
    interval: str, bars: ClosedBars, hours: TradingHours | None, traded_at: float | None, settled_until: float
) -> bool:
    """True if no bar can have become final after these."""
    return bool(bars.final) and not _may_have_closed(
        interval, bars.known_until - 1, hours, traded_at, settled_until, grace_s=0.0
    )


def _is_stale(state: RuleState, traded_at: float | None, feed_now: float) -> bool:
    """True if there may be minutes of which the levels are not known."""
    if state.seen is not None and state.seen + _MINUTE_S < state.levels_from:
        return True
    return feed_now >= state.levels_until and (traded_at is None or traded_at >= state.levels_until)


def _may_have_closed(
    interval: str, seen: int, hours: TradingHours | None, traded_at: float | None, feed_now: float, grace_s: float
) -> bool:
    """True if a bar that opened after `seen` can be final, and something was traded since."""
    first, _ = next_opens(interval, seen, hours)
    if traded_at is not None and traded_at < first:
        return False
    return _ends(interval, [first], hours)[0] + grace_s <= feed_now


# --- bars and trading hours


def next_opens(interval: str, after: int, hours: TradingHours | None) -> tuple[int, int]:
    """When the next two bars after a moment may open at the earliest: by the hours, else one after the other."""
    width = Interval.parse(interval)
    if hours is not None:
        opens = hours.expected_between(width, after + 1, after + 4 * width.seconds + 15 * _DAY_S)
        if len(opens) > 1:
            return int(opens[0]), int(opens[1])
    # Bars open with a minute: a second before one, none is forming that could have begun earlier.
    first = after + 1 if (after + 1) % _MINUTE_S == 0 else after + width.seconds
    return first, first + width.seconds


def _ends(interval: str, opens: Sequence[int], hours: TradingHours | None) -> list[int]:
    """When bars end: by the hours, else when their width is over."""
    width = Interval.parse(interval)
    known: dict[int, int] = {}
    if hours is not None and opens:
        expected = hours.expected_between(width, opens[0], opens[-1] + 1)
        known = dict(zip(expected.tolist(), hours.closes_between(width, opens[0], opens[-1] + 1).tolist(), strict=True))
    return [known.get(each, each + width.seconds) for each in opens]


def closed_bars(
    interval: str,
    rows: Iterable[Sequence[float | None]],
    hours: TradingHours | None,
    settled_until: float,
    known_until: int | None = None,
    forming_from: int | None = None,
) -> ClosedBars:
    """Bars `[time, open, high, low, close, volume]`, ascending, sorted into final and young ones.

    A bar is final that ended by `settled_until`, and does not form from `forming_from` on. Whoever gave them has all
    that opened before `known_until`; None if nothing is known of what opened after the last of them.
    """
    sound = [row for row in rows if all(value is not None and math.isfinite(value) for value in row[:5])]
    opens = [int(row[0] or 0) for row in sound]
    bars = [
        Bar(opened, *_prices(row), end - opened, _volume(row))
        for opened, end, row in zip(opens, _ends(interval, opens, hours), sound, strict=True)
    ]
    forming = _NEVER if forming_from is None else forming_from
    final = [bar for bar in bars if bar.ends_at <= settled_until and bar.timestamp < forming]
    young = bars[len(final) :]
    until = young[0].timestamp if young else (final[-1].timestamp + 1 if final else 0)
    if not young and known_until is not None:
        # What would have ended by now and did not come is none.
        longest_s = Interval.parse(interval).longest_s
        past = min(known_until, math.floor(settled_until - longest_s)) // _MINUTE_S * _MINUTE_S
        until = max(until, past)
    return ClosedBars(final, young, until, next_opens(interval, opens[-1] if opens else until - 1, hours))


def _prices(row: Sequence[float | None]) -> tuple[float, float, float, float]:
    open_, high, low, close = (float(value or 0.0) for value in row[1:5])
    return open_, high, low, close


def _volume(row: Sequence[float | None]) -> float | None:
    volume = row[5] if len(row) > 5 else None
    return float(volume) if volume is not None and math.isfinite(volume) else None
