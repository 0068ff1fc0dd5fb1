"""How rules are judged: touch to fire, close to re-arm.

A rule is *armed* by a minute that closed on the far side of its level, *fires* on the first trade at or beyond
the level while armed, in whatever form that trade is seen (quote, forming bar, bar fetched an hour later), and
can only be re-armed by another close. From a bar one cannot know the order of its high and low; these two
decisions are exactly those that a bar does determine, so folding bars equals watching every trade.

No I/O, no clock, no logging.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from statistics import median
from typing import Literal, NamedTuple

from tv_etl.alerts.events import DEFAULT_SEVERITY, Event, Severity, Status
from tv_etl.alerts.rules import AlertRule, Kind, digest
from tv_etl.alerts.state import AlertState, ArmingKey, Close, Registered, RuleState, SymbolState

MINUTE_S = 60
# How many committed closes are kept and fetched again, and how many of them must tell of the same factor: where fewer
# do, or by different ones, they are corrections. The prices of a split are rounded, hence `SAME_FACTOR`.
OVERLAP_BARS = 5
READJUSTED_BARS = 3
READJUSTED_BY = 0.02
SAME_FACTOR = 0.01
# How late a bar's last trade may become visible. Lag up to this is exact; beyond it a crossing may be missed.
DEFAULT_GRACE_S = 60.0
_CREATED = 0  # arming epoch of `above` and `below` until they first fire: the same however often they are created
_SLACK = 0.001  # a quote's high and low may be rounded otherwise than bars

StateKind = Literal["ok", "late", "limited", "no_data", "no_reference", "refused", "dead", "readjusted"]
HealthKind = Literal["blind", "seeing", "target", "target_ok", "dead_letters"]


@dataclass(frozen=True)
class MinuteBar:
    """A 1-minute bar, stamped at its open in UTC seconds; the last one may still be forming.

    Where an instrument has no minutes it is a bar of another width: touches and closes are told as exactly, but later.
    """

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    width_s: int = MINUTE_S


@dataclass(frozen=True)
class QuoteNow:
    """The last trade's price, and its time if the server gave one; without a time it counts as fresh."""

    price: float
    time_s: float | None


@dataclass(frozen=True)
class Reach:
    """Between which prices all trades from `since` on have been, as a quote tells it of its trading day."""

    since: float
    low: float
    high: float


@dataclass(frozen=True)
class Alert:
    """One thing to tell; `event_id` is the same however often and however late it is found.

    Mostly a crossing of one rule. `kind` "check" says that a rule's symbol was re-adjusted and its level may no longer
    mean anything; then there is no `price`, but a `reason`. The kinds of `StateKind` tell the state of a symbol, those
    of `HealthKind` what became of the watch itself; `rule` is then the only rule that is concerned, if it is one. For a
    `cross` rule `kind` says which way it went. `price` is the trade that touched the level: the level itself unless the
    price jumped over it. `touched_at` is the trade's time if a quote gave it, else the open of the minute that touched
    the level; `detected_at` is the server's clock at the evaluation. `not_to` are targets that are not told, such as
    the one that it is about. `ends` is the id of an earlier one that it ends. What follows is as in an event; the
    rules say most of it.
    """

    event_id: str
    rule: str
    symbol: str
    kind: Kind | StateKind | HealthKind | Literal["check"]
    level: float | None
    price: float | None
    touched_at: int | None
    detected_at: float
    reason: str = ""
    not_to: tuple[str, ...] = ()
    ends: str = ""
    severity: Severity = DEFAULT_SEVERITY
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    message: str = ""
    status: Status = "firing"
    incident: str = ""

    @property
    def event(self) -> Event:
        """The alert as it is told."""
        known = {each.name: getattr(self, each.name) for each in fields(Event)}
        return Event(**(known | {"status": "resolved", "incident": self.ends} if self.ends else known))

    @property
    def text(self) -> str:
        """One line for people."""
        if self.level is None:
            return self.reason
        if self.kind == "check":
            return f"check the level {self.level:.10g} of rule {self.rule}: {self.symbol}: {self.reason}"
        verb = {"above": "is above", "below": "is below", "cross_up": "crossed above", "cross_down": "crossed below"}
        text = f"{self.symbol} {verb.get(self.kind, 'crossed')} {self.level:.10g} at {self.price:.10g}"
        if self.touched_at is not None:
            text += f", {_format_time(self.touched_at)}"
        return f"{text} (rule {self.rule})"


class Folded(NamedTuple):
    """What one evaluation found, what it must remember, and the rules that broke it."""

    alerts: list[Alert]
    state: AlertState
    broken: list[tuple[Registered, Exception]]


class _Crossing(NamedTuple):
    epoch: int
    falling: bool
    price: float
    touched_at: int | None


def evaluate(
    registered: Iterable[Registered],
    state: AlertState,
    bars: Mapping[str, Sequence[MinuteBar]],
    quotes: Mapping[str, QuoteNow],
    now: float,
    grace_s: float = DEFAULT_GRACE_S,
    delays_s: Mapping[str, float] | None = None,
) -> Folded:
    """Find what is to be told, and the state for the next evaluation.

    `now` is the server's clock. `bars` holds, for each symbol that was fetched, every 1-minute bar from the oldest of
    its known closes on (or a first part of them: the rest follows next time); a symbol that is absent is left as it
    was. `delays_s` says by how much a symbol's feed is delayed. A minute is committed `grace_s` after its end plus
    that delay; until then it may fire but not re-arm. Where several known closes have changed by the same factor, a
    split has moved all prices: the symbol's rules begin anew without firing on the jump, and each gets an alert that
    asks to check it. What breaks on one rule is that rule's: it keeps its state, and the others are judged. Store the
    alerts together with the state.
    """
    alerts: list[Alert] = []
    armings: dict[ArmingKey, RuleState] = {}
    symbols = dict(state.symbols)
    broken: list[tuple[Registered, Exception]] = []

    def keep(each: Registered, error: Exception) -> None:
        broken.append((each, error))
        if each.key in state.armings:
            armings[each.key] = state.armings[each.key]

    by_symbol: dict[str, list[Registered]] = {}
    for each in registered:
        by_symbol.setdefault(each.rule.symbol, []).append(each)
    for symbol, mine in by_symbol.items():
        try:
            before, feed_now = state.symbol(symbol), now - (delays_s or {}).get(symbol, 0.0)
            is_new = not any(each.key in state.armings for each in mine)
            view = _SymbolView.of(before, bars.get(symbol), quotes.get(symbol), feed_now, grace_s, is_new)
        except Exception as error:
            for each in mine:
                keep(each, error)
            continue
        symbols[symbol] = replace(
            before,
            watermark=view.watermark,
            closes=view.closes,
            check_up_to=before.check_up_to if view.ratio is None else max(each.generation for each in mine),
        )
        for each in mine:
            try:
                found, arming = _judge(each, state.armings.get(each.key), view, now)
            except Exception as error:
                keep(each, error)
                continue
            alerts += found
            if arming is not None:
                armings[each.key] = arming
    return Folded(alerts, AlertState(armings, symbols), broken)


def needs_minutes(
    registered: Sequence[Registered],
    state: AlertState,
    symbol: str,
    quote: QuoteNow | None,
    reach: Reach | None,
    now: float,
) -> bool:
    """False where no minute of a symbol can change what is told of these rules, all of its own.

    That is so for rules that are spent or expired; where nothing has been traded since the watermark; and where all
    trades since then were too far from the levels to fire or re-arm anything. What is not fetched is fetched later,
    from the same watermark on, so it changes no event but only spares the asking.
    """
    watermark = state.watermark(symbol)
    armings = [(each.rule, state.armings.get(each.key)) for each in registered]
    live = [(rule, arming) for rule, arming in armings if _is_live(rule, arming, watermark, now)]
    if not live:
        return False
    if watermark is None or quote is None:
        return True
    if quote.time_s is not None and _minute_of(quote.time_s) <= watermark:
        return False
    if any(arming is None for _, arming in live) or reach is None or reach.since > watermark + MINUTE_S:
        return True
    return any(arming is not None and _is_within(reach, rule, arming) for rule, arming in live)


def _is_live(rule: AlertRule, arming: RuleState | None, watermark: int | None, now: float) -> bool:
    if arming is None:
        return not rule.has_expired(_minute_of(now))
    # What was touched before it expired, and is not fetched yet, is still to be told.
    return not arming.spent and not rule.has_expired(max(arming.since, (watermark or 0) + MINUTE_S))


def _is_within(reach: Reach, rule: AlertRule, arming: RuleState) -> bool:
    low, high = reach.low - _SLACK * abs(reach.low), reach.high + _SLACK * abs(reach.high)
    rises, falls = rule.kind not in ("below", "cross_down"), rule.kind not in ("above", "cross_up")
    if arming.armed_at is not None:
        return low <= rule.level if arming.falling else high >= rule.level
    return (rises and low <= rule.level - rule.hysteresis) or (falls and high >= rule.level + rule.hysteresis)


@dataclass(frozen=True)
class _SymbolView:
    """What one evaluation knows of one symbol."""

    ratio: float | None  # by which all earlier prices have been multiplied
    earlier: Sequence[MinuteBar]  # committed by a previous evaluation
    committed: Sequence[MinuteBar]
    young: Sequence[MinuteBar]
    quote: QuoteNow | None
    quote_minute: int
    quote_close: MinuteBar | None  # the quote of a minute that is over, where no bar is known
    minute: int  # of the evaluation, by the server's clock
    committed_until: float
    watermark: int | None

    @classmethod
    def of(
        cls,
        symbol: SymbolState,
        bars: Sequence[MinuteBar] | None,
        quote: QuoteNow | None,
        feed_now: float,
        grace_s: float,
        is_new: bool,
    ) -> "_SymbolView":
        """Sort what was fetched into committed and young.

        The last quote stands in for bars only of a symbol that `is_new`: no rule has missed any of its minutes.
        """
        fetched = {bar.timestamp: bar for bar in bars or () if _is_finite(bar)}
        ratio = _readjusted_by([(fetched[time].close, price) for time, price in symbol.closes if time in fetched])
        known = {time: MinuteBar(time, price, price, price, price) for time, price in symbol.closes}
        every = fetched if ratio is not None else known | fetched
        ordered = [every[time] for time in sorted(every)]
        start = -math.inf if symbol.watermark is None else symbol.watermark
        until = feed_now - grace_s
        later = [bar for bar in ordered if bar.timestamp > start]
        committed = [bar for bar in later if bar.timestamp + bar.width_s <= until]
        if quote is not None and not math.isfinite(quote.price + (quote.time_s or 0.0)):
            quote = None
        quote_time = feed_now if quote is None or quote.time_s is None else quote.time_s
        quote_minute = _minute_of(quote_time)
        quote_close = None
        is_over = quote is not None and quote.time_s is not None and quote_minute <= until - MINUTE_S
        if is_new and not ordered and quote is not None and is_over:
            price = quote.price
            quote_close = MinuteBar(quote_minute, price, price, price, price)
        watermark = committed[-1].timestamp if committed else symbol.watermark
        if watermark is None and quote_close is not None:
            watermark = quote_minute
        return cls(
            ratio=ratio,
            earlier=[bar for bar in ordered if bar.timestamp <= start],
            committed=committed,
            young=[bar for bar in later if bar.timestamp + bar.width_s > until],
            quote=quote,
            quote_minute=quote_minute,
            quote_close=quote_close,
            minute=_minute_of(feed_now),
            committed_until=until - MINUTE_S,
            watermark=watermark,
        )

    @property
    def closes(self) -> tuple[Close, ...]:
        """Of the newest committed minutes."""
        newest = [*self.earlier, *self.committed][-OVERLAP_BARS:]
        if not newest and self.quote_close is not None and self.watermark == self.quote_close.timestamp:
            newest = [self.quote_close]
        return tuple(Close(bar.timestamp, bar.close) for bar in newest)

    @property
    def has_closes(self) -> bool:
        return bool(self.earlier or self.committed or self.young or self.quote_close)

    @property
    def last_price(self) -> float | None:
        if self.quote is not None:
            return self.quote.price
        newest = [*self.committed, *self.young][-1:] or self.earlier[-1:]
        return newest[0].close if newest else None

    @property
    def accounted_for(self) -> int | None:
        """The last minute of which all trades are known: a young minute that is there has all before it there."""
        if not self.young or self.watermark is None:
            return self.watermark
        return max(self.watermark, _minute_of(self.committed_until))


def _readjusted_by(overlap: Sequence[tuple[float, float]]) -> float | None:
    """The factor between closes as they were fetched again and as they were known; None if there is no such factor."""
    ratios = [now / before for now, before in overlap if now > 0 and before > 0]
    if len(ratios) < READJUSTED_BARS:
        return None
    ratio = median(ratios)
    is_same = all(abs(each / ratio - 1) <= SAME_FACTOR for each in ratios)
    return ratio if is_same and abs(ratio - 1) > READJUSTED_BY else None


def _judge(
    registered: Registered, before: RuleState | None, view: _SymbolView, now: float
) -> tuple[list[Alert], RuleState | None]:
    rule = registered.rule
    if before is None:
        if not view.has_closes and not (rule.is_armed_at_creation and view.quote is not None):
            return [], None
        crossings, state = _create(rule, view)
    elif view.ratio is not None and not before.spent:
        return [_make_check_alert(registered, view, now)], _begin_anew(rule, view)
    else:
        crossings, state = _advance(rule, before, view)
    return [_make_alert(registered, crossing, now) for crossing in crossings], state


def _create(rule: AlertRule, view: _SymbolView) -> tuple[list[_Crossing], RuleState]:
    """The first evaluation of a rule.

    A crossing rule takes its arming from the closes at hand, or from the last quote where there are none; it fires from
    the next evaluation on: the epoch depends on how far back bars were fetched, so it must be saved before an id is
    made from it.
    """
    if rule.is_armed_at_creation:
        state = RuleState(view.minute, _CREATED, rule.kind == "below")
        price = view.last_price
        if price is None or not _is_beyond(price, rule.level, state.falling) or rule.has_expired(view.minute):
            return _advance(rule, state, view)
        touched_at = None if view.quote is None or view.quote.time_s is None else int(view.quote.time_s)
        crossing = _Crossing(_CREATED, state.falling, price, touched_at)
        reported_at = _cooldown_start(rule, view.minute)
        return [crossing], state._replace(armed_at=None, spent=rule.once, reported_at=reported_at)
    last_word = [] if view.quote_close is None else [view.quote_close]
    return [], _fold(rule, RuleState(view.minute), [*view.earlier, *view.committed, *last_word])[1]


def _begin_anew(rule: AlertRule, view: _SymbolView) -> RuleState:
    """As if the rule were new, except that it is not armed before a close: what armed it is no longer a price."""
    return _fold(rule, RuleState(view.minute), [*view.earlier, *view.committed])[1]


def _advance(rule: AlertRule, state: RuleState, view: _SymbolView) -> tuple[list[_Crossing], RuleState]:
    """Fold what is committed, then look for a touch in what is not."""
    crossings, state = _fold(rule, state, view.committed)
    early = _find_early(rule, state, view)
    if early is not None:
        crossings.append(early)
        state = state._replace(reported_early=True)
    return crossings, state


def _fold(rule: AlertRule, state: RuleState, bars: Iterable[MinuteBar]) -> tuple[list[_Crossing], RuleState]:
    """Apply final minutes in order: the truth table of the module's rule."""
    since, armed_at, falling, reported_early, spent, reported_at = state
    keeps_creation = rule.is_armed_at_creation
    crossings: list[_Crossing] = []
    for bar in bars:
        if spent:
            break
        minute = bar.timestamp
        if keeps_creation and minute < since:
            continue
        if armed_at is not None:
            if not _touches(bar, rule.level, falling):
                continue
            if minute >= since and not rule.has_expired(minute):
                if not _is_cooling(rule, reported_at, minute):
                    if not reported_early:
                        crossings.append(_Crossing(armed_at, falling, _touch_price(bar, rule.level, falling), minute))
                    reported_at = _cooldown_start(rule, minute)
                spent = rule.once
            armed_at, reported_early = None, False
        side = None if spent else _armed_side(rule, bar.close)
        if side is not None:
            armed_at, falling = minute, side
    return crossings, RuleState(since, armed_at, falling, reported_early, spent, reported_at)


def _find_early(rule: AlertRule, state: RuleState, view: _SymbolView) -> _Crossing | None:
    """The touch of the current arming in a young bar or the quote.

    Whatever the missing minutes will show, the committed fold must come to the same alert: where it might
    find an earlier touch that is not to be reported, the touch waits for the commit.
    """
    armed_at = state.armed_at
    if armed_at is None or state.reported_early:
        return None
    if armed_at != _CREATED:
        accounted_for = view.accounted_for
        next_minute = MINUTE_S + (armed_at if accounted_for is None else accounted_for)
        if next_minute < state.since or _is_cooling(rule, state.reported_at, next_minute):
            return None
    first = max(state.since, armed_at + 1)
    for bar in view.young:
        if bar.timestamp >= first and _touches(bar, rule.level, state.falling):
            if rule.has_expired(bar.timestamp):
                return None
            price = _touch_price(bar, rule.level, state.falling)
            return _Crossing(armed_at, state.falling, price, bar.timestamp)
    quote = view.quote
    if quote is None or view.quote_minute < first or rule.has_expired(view.quote_minute):
        return None
    if not _is_beyond(quote.price, rule.level, state.falling):
        return None
    touched_at = None if quote.time_s is None else int(quote.time_s)
    return _Crossing(armed_at, state.falling, quote.price, touched_at)


def _make_alert(registered: Registered, crossing: _Crossing, now: float) -> Alert:
    rule = registered.rule
    kind = rule.kind
    if kind == "cross":
        kind = "cross_down" if crossing.falling else "cross_up"
    return Alert(
        event_id=event_id(registered, crossing.epoch),
        rule=rule.name,
        symbol=rule.symbol,
        kind=kind,
        level=rule.level,
        price=crossing.price,
        touched_at=crossing.touched_at,
        detected_at=now,
    )


def _make_check_alert(registered: Registered, view: _SymbolView, now: float) -> Alert:
    rule = registered.rule
    return Alert(
        event_id=event_id(registered, f"check {view.watermark}"),
        rule=rule.name,
        symbol=rule.symbol,
        kind="check",
        level=rule.level,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=f"its history was re-adjusted by a factor of {view.ratio:.6g}, as by a split",
    )


def event_id(registered: Registered, epoch: int | str) -> str:
    """What was told of one arming of one registered rule."""
    rule = registered.rule
    return digest((rule.name, rule.symbol, rule.revision, registered.generation, epoch), size=16)


def _armed_side(rule: AlertRule, close: float) -> bool | None:
    """The side a close arms: False for a rise to the level, True for a fall, None for neither."""
    level, margin = rule.level, rule.hysteresis
    if rule.kind not in ("below", "cross_down") and (close <= level - margin if margin else close < level):
        return False
    if rule.kind not in ("above", "cross_up") and (close >= level + margin if margin else close > level):
        return True
    return None


def _touches(bar: MinuteBar, level: float, falling: bool) -> bool:
    # Open and close count too: a bar whose high is below its close still proves a trade at its close.
    if falling:
        return bar.low <= level or bar.close <= level or bar.open <= level
    return bar.high >= level or bar.close >= level or bar.open >= level


def _touch_price(bar: MinuteBar, level: float, falling: bool) -> float:
    return bar.open if _is_beyond(bar.open, level, falling) else level


def _is_beyond(price: float, level: float, falling: bool) -> bool:
    return price <= level if falling else price >= level


def _is_cooling(rule: AlertRule, reported_at: int | None, minute: int) -> bool:
    return reported_at is not None and minute - reported_at < rule.cooldown_s


def _cooldown_start(rule: AlertRule, minute: int) -> int | None:
    return minute if rule.cooldown_s else None


def _is_finite(bar: MinuteBar) -> bool:
    return math.isfinite(bar.open + bar.high + bar.low + bar.close)


def _minute_of(time_s: float) -> int:
    return int(time_s // MINUTE_S) * MINUTE_S


def _format_time(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):  # an alert is told whatever time its server gave it
        return "at no time of the calendar"
