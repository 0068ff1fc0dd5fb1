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

from tv_etl.alerts import closes, truth_table
from tv_etl.alerts.events import DEFAULT_SEVERITY, Event, Severity, Status, digest
from tv_etl.alerts.levels import ClosedBars, Reference
from tv_etl.alerts.rules import AlertRule, Kind
from tv_etl.alerts.state import AlertState, ArmingKey, Close, Registered, RuleState, SymbolState
from tv_etl.alerts.truth_table import CREATED, Crossing, Levels, Sample, cooldown_start, is_cooling, is_told
from tv_etl.tradingview.trading_hours import TradingHours

MINUTE_S = 60
# How many committed closes are kept and fetched again, and how many of them must tell of the same factor: where fewer
# do, or by different ones, they are corrections. The prices of a split are rounded, hence `SAME_FACTOR`.
OVERLAP_BARS = 5
READJUSTED_BARS = 3
READJUSTED_BY = 0.02
SAME_FACTOR = 0.01
# How late a bar's last trade may become visible. Lag up to this is exact; beyond it a crossing may be missed.
DEFAULT_GRACE_S = 60.0
_SLACK = 0.001  # a quote's high and low may be rounded otherwise than bars

StateKind = Literal["ok", "late", "limited", "no_data", "no_reference", "refused", "dead", "readjusted"]
HealthKind = Literal["blind", "seeing", "target", "target_ok", "dead_letters", "muted", "unmuted"]
NoticeKind = Literal[
    "run_failed",
    "run_ok",
    "check_failed",
    "check_ok",
    "loss",
    "loss_ok",
    "seam",
    "seam_ok",
    "sensor_failed",
    "sensor_ok",
]


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
    """The last trade's price, and its time if the server gave one; without a time it counts as fresh.

    `volume` is that of its trading day so far.
    """

    price: float
    time_s: float | None
    volume: float | None = None


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
    mean anything; then there is no `price`, but a `reason`. "resolved" says that an earlier one, `ends`, is over,
    "reminder" that it is not, "ack" that somebody has acknowledged it; both have its `incident`. The kinds of
    `StateKind` tell the state of a symbol, those of `HealthKind` what became of the watch itself, those of `NoticeKind`
    how collecting goes; `rule` is then the only rule that is concerned, if it is one. For a `cross` rule `kind` says
    which way it went. `price` is the trade that touched the level: the level itself unless the price jumped over it;
    for what compares volumes it is the volume. `touched_at` is the trade's time if a quote gave it, else the open of
    the minute that touched the level, or the end of the bar that closed there; `detected_at` is the server's clock at
    the evaluation. `not_to` are targets that are not told, such as the one that it is about. What `is_muted` is kept,
    and told nobody. What follows is as in an event; the rules say most of it.
    """

    event_id: str
    rule: str
    symbol: str
    kind: Kind | StateKind | HealthKind | NoticeKind | Literal["check", "resolved", "reminder", "ack"]
    level: float | None
    price: float | None
    touched_at: int | None
    detected_at: float
    reason: str = ""
    not_to: tuple[str, ...] = ()
    ends: str = ""
    is_muted: bool = False
    severity: Severity = DEFAULT_SEVERITY
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    message: str = ""
    status: Status = "firing"
    incident: str = ""
    link: str = ""

    @property
    def event(self) -> Event:
        """The alert as it is told."""
        known = {each.name: getattr(self, each.name) for each in fields(Event)}
        return Event(**(known | {"status": "resolved", "incident": self.ends} if self.ends else known))

    @property
    def text(self) -> str:
        """One line for people."""
        if self.kind != "check" and (self.reason or self.price is None):
            return self.reason
        if self.kind == "check":
            return f"check the level {self.level:.10g} of rule {self.rule}: {self.symbol}: {self.reason}"
        verb = _VERBS.get(self.kind, "crossed")
        level = "" if self.level is None else f" {self.level:.10g}"
        text = f"{self.symbol} {verb}{level} at {self.price:.10g}"
        if self.touched_at is not None:
            text += f", {_format_time(self.touched_at)}"
        return f"{text} (rule {self.rule})"


_VERBS = {
    "above": "is above",
    "below": "is below",
    "cross_up": "crossed above",
    "cross_down": "crossed below",
    "enter_channel": "entered its channel past",
    "exit_channel": "left its channel past",
    "pct_day": "moved in a day past",
    "pct_window": "moved past",
    "bar_volume": "has in a bar a volume above",
    "day_volume": "has in a day a volume above",
    "volume_ratio": "has a volume above",
    "all": "is as all conditions want it",
    "resolved": "is back",
}


class Folded(NamedTuple):
    """What one evaluation found, what it must remember, and the rules that broke it."""

    alerts: list[Alert]
    state: AlertState
    broken: list[tuple[Registered, Exception]]


def evaluate(
    registered: Iterable[Registered],
    state: AlertState,
    bars: Mapping[str, Sequence[MinuteBar]],
    quotes: Mapping[str, QuoteNow],
    now: float,
    grace_s: float = DEFAULT_GRACE_S,
    delays_s: Mapping[str, float] | None = None,
    closed: Mapping[str, Mapping[str, ClosedBars]] | None = None,
    hours: Mapping[str, TradingHours] | None = None,
) -> Folded:
    """Find what is to be told, and the state for the next evaluation.

    `now` is the server's clock. `bars` holds, for each symbol that was fetched, every 1-minute bar from the first that
    is needed on (or a first part of them: the rest follows next time); a symbol that is absent is left as it was.
    `delays_s` says by how much a symbol's feed is delayed. A minute is committed `grace_s` after its end plus that
    delay; until then it may fire but not re-arm. `closed` are bars by symbol and interval, as far as they may matter
    now: what rules of closes and volumes are judged on, and what tells levels; a rule whose bars are absent waits for
    them. `hours` are those of symbols of which more was fetched than what was traded in them: rules of the regular
    session do not see it. Where several known closes have changed by the same factor, a split has moved all prices: the
    symbol's rules begin anew without firing on the jump, and each gets an alert that asks to check it. What breaks on
    one rule is that rule's: it keeps its state, and the others are judged. Store the alerts together with the state.
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
        by_symbol.setdefault(each.symbol, []).append(each)
    for symbol, mine in by_symbol.items():
        try:
            before, feed_now = state.symbol(symbol), now - (delays_s or {}).get(symbol, 0.0)
            is_new = not any(each.key in state.armings for each in mine)
            view = _SymbolView.of(before, bars.get(symbol), quotes.get(symbol), feed_now, grace_s, is_new)
            wider = (closed or {}).get(symbol, {})
            regular = view.within((hours or {}).get(symbol))
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
                found, arming = _judge(
                    each,
                    state.armings.get(each.key),
                    regular if each.rule.active.session == "regular" else view,
                    wider,
                    now,
                )
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

    That is so for rules that are spent or expired, or judged on other bars; where nothing has been traded since the
    watermark; and where all trades since then were too far from the levels to fire or re-arm anything. What is not
    fetched is fetched later, from the same watermark on, so it changes no event but only spares the asking.
    """
    watermark = state.watermark(symbol)
    on_minutes = [each for each in registered if each.rule.interval_watched is None]
    armings = [(each.rule, state.armings.get(each.key)) for each in on_minutes]
    live = [(rule, arming) for rule, arming in armings if _is_live(rule, arming, watermark, now)]
    if not live:
        return False
    if watermark is None or quote is None:
        return True
    if any(arming is not None and _is_behind(arming, watermark) for _, arming in live):
        return True
    if quote.time_s is not None and _minute_of(quote.time_s) <= watermark:
        return False
    if any(arming is None for _, arming in live) or reach is None or reach.since > watermark + MINUTE_S:
        return True
    return any(arming is not None and _is_within(reach, rule, arming, now) for rule, arming in live)


def first_minute(registered: Iterable[Registered], state: AlertState, symbol: str) -> int | None:
    """The first minute that is needed of a symbol, all these rules being its own; None where none is known.

    It reaches back over what shows a re-adjustment, and to where rules stopped whose levels were not known.
    """
    known = state.symbol(symbol)
    since = known.closes[0].time if known.closes else known.watermark
    armings = [state.armings[each.key] for each in registered if each.key in state.armings]
    if since is None:
        # None is committed yet, but rules that have begun are to miss none from there on, nor what was young then.
        begun = min((each.since if each.seen is None else each.seen for each in armings), default=None)
        return None if begun is None else begun - MINUTE_S - int(DEFAULT_GRACE_S)
    return min([since, *(each.seen for each in armings if each.seen is not None and _is_behind(each, known.watermark))])


def _is_behind(arming: RuleState, watermark: int | None) -> bool:
    """True if minutes have been committed that the rule could not judge yet."""
    return arming.seen is not None and watermark is not None and arming.seen < watermark


def _is_live(rule: AlertRule, arming: RuleState | None, watermark: int | None, now: float) -> bool:
    if arming is None:
        return not rule.has_expired(_minute_of(now))
    if arming.ends is not None:
        return True
    # What was touched before it expired, and is not fetched yet, is still to be told.
    return not arming.spent and not rule.has_expired(max(arming.since, (watermark or 0) + MINUTE_S))


def _is_within(reach: Reach, rule: AlertRule, arming: RuleState, now: float) -> bool:
    if rule.fixed_levels is None and now >= arming.levels_until:
        return True
    if rule.is_armed_daily and arming.day != arming.levels_day:
        return True
    known = Levels(rule, {}, arming).at(_minute_of(now), arming.base)
    if known is None or known.levels is None:
        return known is None
    low, high = reach.low - _SLACK * abs(reach.low), reach.high + _SLACK * abs(reach.high)
    return rule.is_within(low, high, known.levels, arming.falling if arming.armed_at is not None else None)


@dataclass(frozen=True)
class _SymbolView:
    """What one evaluation knows of one symbol."""

    ratio: float | None  # by which all earlier prices have been multiplied
    settled: Sequence[MinuteBar]  # all that were fetched and are to be committed, whether or not they were before
    settled_until: int | None  # the newest of them
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
        settled = [bar for time, bar in sorted(fetched.items()) if time + bar.width_s <= feed_now - grace_s]
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
            settled=settled,
            settled_until=settled[-1].timestamp if settled else None,
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

    def within(self, hours: TradingHours | None) -> "_SymbolView":
        """What there is of these hours."""
        bars = [*self.settled, *self.earlier, *self.committed, *self.young]
        if hours is None or not (bars or self.quote):
            return self
        times = sorted({*(bar.timestamp for bar in bars), self.quote_minute})
        sessions = hours.sessions(times[0], times[-1] + MINUTE_S)
        spans = list(zip(sessions.opens.tolist(), sessions.closes.tolist(), strict=True))

        def is_inside(time: int) -> bool:
            return any(opened <= time < closed for opened, closed in spans)

        def inside(bars: Sequence[MinuteBar]) -> list[MinuteBar]:
            return [bar for bar in bars if is_inside(bar.timestamp)]

        return replace(
            self,
            settled=inside(self.settled),
            earlier=inside(self.earlier),
            committed=inside(self.committed),
            young=inside(self.young),
            quote=self.quote if is_inside(self.quote_minute) else None,
            quote_close=self.quote_close if is_inside(self.quote_minute) else None,
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
    def seen_at_creation(self) -> int:
        """The newest minute that a rule that begins now need not judge."""
        return self.minute - MINUTE_S if self.watermark is None else self.watermark

    @property
    def last_minute(self) -> int:
        """That of the last trade that is known."""
        newest = [*self.earlier, *self.committed, *self.young][-1:]
        return self.quote_minute if self.quote is not None or not newest else newest[0].timestamp

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
    registered: Registered,
    before: RuleState | None,
    view: _SymbolView,
    closed: Mapping[str, ClosedBars],
    now: float,
) -> tuple[list[Alert], RuleState | None]:
    rule = registered.rule
    if before is not None and view.ratio is not None and not before.spent:
        anew = _begin_anew(rule, before, view, closed)
        return ([] if _is_relative(rule) else [_make_check_alert(registered, view, now)]), anew
    if rule.interval_watched is not None:
        if before is None and rule.has_expired(view.minute):
            return [], None  # of a bar that opened before that it would still tell
        quote = view.quote
        volume = None if quote is None or quote.volume is None else (view.quote_minute, quote.volume)
        crossings, state = closes.judge(rule, before, closed, volume)
    elif before is None:
        if not view.has_closes and not (rule.is_armed_at_creation and view.quote is not None):
            return [], None
        crossings, state = _create(rule, view, Levels(rule, closed))
    else:
        crossings, state = _advance(rule, before, view, Levels(rule, closed, before))
    return [_make_alert(registered, crossing, now) for crossing in crossings], state


def _is_relative(rule: AlertRule) -> bool:
    """True if a split moves the levels with the prices."""
    return all(isinstance(each, Reference) for each in rule.targets)


def _create(rule: AlertRule, view: _SymbolView, levels: Levels) -> tuple[list[Crossing], RuleState | None]:
    """The first evaluation of a rule.

    A crossing rule takes its arming from the closes at hand, or from the last quote where there are none; it fires from
    the next evaluation on: the epoch depends on how far back bars were fetched, so it must be saved before an id is
    made from it.
    """
    price = view.last_price
    state = RuleState(view.minute, base=price, seen=None if rule.fixed_levels else view.seen_at_creation)
    if rule.is_armed_daily:
        # Its first minute begins the day. What is known of it is kept, so that it is not looked up again and again.
        levels.at(view.last_minute, price)
        return [], levels.kept(state)
    last_word = [] if view.quote_close is None else [view.quote_close]
    past = [*view.earlier, *view.committed, *last_word]
    if not rule.is_armed_at_creation:
        armed = truth_table.fold(rule, state, _samples(past), levels, skips=True)[1]
        if levels.at(view.last_minute, price) is None and not _has_newest_level(past, levels, price):
            return [], None
        return [], levels.kept(armed)
    state = state._replace(armed_at=CREATED, falling=bool(getattr(rule, "falls", False)))
    # The level of the last trade: that of a minute in which nothing was traded may not be known.
    known = levels.at(view.last_minute, price)
    if known is None:
        return [], levels.kept(state) if _has_newest_level(past, levels, price) else None
    state = levels.kept(state)
    touch = None
    if price is not None and known.levels is not None:
        touch = rule.touched(_sample(MinuteBar(view.minute, price, price, price, price)), known.levels, state.falling)
    if price is None or touch is None:
        return _advance(rule, state, view, levels)
    if not is_told(rule, view.minute):
        return [], state._replace(armed_at=None)
    touched_at = None if view.quote is None or view.quote.time_s is None else int(view.quote.time_s)
    crossing = Crossing(CREATED, state.falling, price, touched_at, touch.level)
    reported_at = cooldown_start(rule, view.minute)
    ends = CREATED if rule.resolved else None
    return [crossing], state._replace(armed_at=None, spent=rule.once, reported_at=reported_at, ends=ends)


def _has_newest_level(past: Sequence[MinuteBar], levels: Levels, base: float | None) -> bool:
    """True if the level of the newest close is known.

    That of the minute that is traded in need never be: where bars of a minute tell it, the one before is not final yet.
    The minute is judged once it is.
    """
    return bool(past) and levels.at(past[-1].timestamp, base) is not None


def _begin_anew(
    rule: AlertRule, before: RuleState, view: _SymbolView, closed: Mapping[str, ClosedBars]
) -> RuleState | None:
    """As if the rule were new, except that it is not armed before a close: what armed it is no longer a price."""
    base = None if before.base is None or view.ratio is None else before.base * view.ratio
    if rule.interval_watched is not None:
        return closes.begin_anew(rule, before)._replace(base=base)
    if rule.fixed_levels is None or rule.is_armed_daily:
        return RuleState(view.minute, base=base, seen=view.watermark)
    past = _samples([*view.earlier, *view.committed])
    return truth_table.fold(rule, RuleState(view.minute, base=base), past, Levels(rule, closed), skips=True)[1]


def _advance(rule: AlertRule, state: RuleState, view: _SymbolView, levels: Levels) -> tuple[list[Crossing], RuleState]:
    """Fold what is committed, then look for a touch in what is not."""
    if state.seen is None:
        crossings, state, _ = truth_table.fold(rule, state, _samples(view.committed), levels)
    else:
        seen = state.seen
        later = [bar for bar in view.settled if bar.timestamp > seen]
        crossings, state, judged = truth_table.fold(rule, state, _samples(later), levels)
        is_whole = view.settled_until is not None and (not later or judged == later[-1].timestamp)
        last = view.settled_until if is_whole else judged
        state = state._replace(seen=max(seen, seen if last is None else last))
        if _is_behind(state, view.watermark):
            return crossings, state
    early = _find_early(rule, state, view, levels)
    if early is not None:
        crossings.append(early)
        state = state._replace(reported_early=True)
    return crossings, state


def _find_early(rule: AlertRule, state: RuleState, view: _SymbolView, levels: Levels) -> Crossing | None:
    """The touch of the current arming in a young bar or the quote.

    Whatever the missing minutes will show, the committed fold must come to the same alert: where it might
    find an earlier touch that is not to be reported, the touch waits for the commit.
    """
    armed_at = state.armed_at
    if armed_at is None or state.reported_early:
        return None
    accounted_for = view.accounted_for
    next_minute = MINUTE_S + (armed_at if accounted_for is None else accounted_for)
    if armed_at == CREATED:
        next_minute = max(next_minute, state.since)  # nothing before counts
    else:
        if next_minute < state.since or is_cooling(rule, state.reported_at, next_minute):
            return None
    first = max(state.since, armed_at + 1, 0 if state.seen is None else state.seen + 1)
    young, quoted = [*_samples(view.young)], None
    if view.quote is not None:
        price = view.quote.price
        quoted = _sample(MinuteBar(view.quote_minute, price, price, price, price))
        young.append(quoted)
    found = truth_table.early_touch(rule, state, young, levels, first)
    if found is None:
        return None
    sample, touch = found
    if not truth_table.is_told_throughout(rule, min(next_minute, sample.timestamp), sample.timestamp):
        return None
    touched_at: int | None = sample.touched_at
    if view.quote is not None and sample is quoted:
        touched_at = None if view.quote.time_s is None else int(view.quote.time_s)
    return Crossing(armed_at, touch.falling, touch.price, touched_at, touch.level)


def _samples(bars: Iterable[MinuteBar]) -> Iterable[Sample]:
    return map(_sample, bars)


def _sample(bar: MinuteBar) -> Sample:
    time = bar.timestamp
    return Sample(time, bar.open, bar.high, bar.low, bar.close, time, bar.close, time)


def _make_alert(registered: Registered, crossing: Crossing, now: float) -> Alert:
    rule = registered.rule
    kind: Kind | Literal["resolved"] = rule.kind_name
    ends = ""
    if crossing.is_end:
        kind, ends = "resolved", event_id(registered, crossing.epoch)
    elif kind == "cross":
        kind = "cross_down" if crossing.falling else "cross_up"
    has_level = rule.kind_name != "all" and not (crossing.is_end and rule.is_armed_daily)
    return Alert(
        event_id=event_id(registered, f"resolved {crossing.epoch}" if crossing.is_end else crossing.epoch),
        rule=rule.name,
        symbol=registered.symbol,
        kind=kind,
        level=crossing.level if has_level else None,
        price=crossing.price,
        touched_at=crossing.touched_at,
        detected_at=now,
        ends=ends,
    )


def _make_check_alert(registered: Registered, view: _SymbolView, now: float) -> Alert:
    rule = registered.rule
    numbers = [each for each in rule.targets if not isinstance(each, Reference)]
    return Alert(
        event_id=event_id(registered, f"check {view.watermark}"),
        rule=rule.name,
        symbol=registered.symbol,
        kind="check",
        level=numbers[0] if numbers else None,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=f"its history was re-adjusted by a factor of {view.ratio:.6g}, as by a split",
    )


def event_id(registered: Registered, epoch: int | str) -> str:
    """What was told of one arming of one registered rule."""
    rule = registered.rule
    return digest((rule.name, registered.symbol, rule.revision, registered.generation, epoch), size=16)


def _is_finite(bar: MinuteBar) -> bool:
    return math.isfinite(bar.open + bar.high + bar.low + bar.close)


def _minute_of(time_s: float) -> int:
    return int(time_s // MINUTE_S) * MINUTE_S


def _format_time(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):  # an alert is told whatever time its server gave it
        return "at no time of the calendar"
