"""Alert rules and their evaluation: touch to fire, close to re-arm.

A rule is *armed* by a minute that closed on the far side of its level, *fires* on the first trade at or beyond
the level while armed, in whatever form that trade is seen (quote, forming bar, bar fetched an hour later), and
can only be re-armed by another close. From a bar one cannot know the order of its high and low; these two
decisions are exactly those that a bar does determine, so folding bars equals watching every trade.

No I/O, no clock, no logging: the sensor fetches bars and quotes, stores the alerts, then saves the state.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from tv_etl.alerts.state import KEY_BYTES, RuleState
from tv_etl.alerts.state import AlertState as AlertState
from tv_etl.alerts.state import CursorError as CursorError
from tv_etl.alerts.state import NewerCursorError as NewerCursorError
from tv_etl.tradingview.symbols import check_symbol

Kind = Literal["above", "below", "cross_up", "cross_down", "cross"]

MINUTE_S = 60
# A committed close that comes back this different is not a correction: the history was re-adjusted, as by a split.
READJUSTED_BY = 0.02
# How late a bar's last trade may become visible. Lag up to this is exact; beyond it a crossing may be missed.
DEFAULT_GRACE_S = 60.0
_CREATED = 0  # arming epoch of `above` and `below` until they first fire: the same however often they are created
_NAME = re.compile(r"[a-z0-9_-]{1,64}")

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class AlertRule(BaseModel):
    """One price level to watch, as written in the watchlist.

    `above` and `below` fire at once when the price is already there; the `cross` kinds wait for a crossing.
    With `hysteresis` h the far side begins at h beyond the level, so that noise at the level does not re-arm.
    `once` fires a single time. `cooldown_s` keeps a crossing silent if the rule's last reported one was less
    than this long ago. Nothing is reported for minutes that open at or after `expires_at`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str = Field(description="Name of the rule: 1 to 64 characters of a-z 0-9 _ -.")
    symbol: str = Field(description="What to watch, e.g. BINANCE:BTCUSDT.")
    kind: Kind = Field(
        description="above and below fire at once if the price is already there; cross_up, cross_down and cross "
        "wait for a crossing."
    )
    level: _Number = Field(description="The price to watch for.")
    hysteresis: Annotated[_Number, Field(ge=0)] = Field(
        default=0.0, description="How far beyond the level the price must close before the rule can fire again."
    )
    once: Annotated[bool, Field(strict=True)] = Field(default=False, description="Fire a single time.")
    cooldown_s: Annotated[_Number, Field(ge=0)] = Field(
        default=0.0, description="Seconds after a reported crossing during which further ones stay silent."
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="Nothing is reported for minutes that open at or after this time; needs a time zone."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("expected 1 to 64 characters of a-z 0-9 _ -")
        return name

    @field_validator("symbol")
    @classmethod
    def _check_symbol(cls, symbol: str) -> str:
        return check_symbol(symbol)

    @model_validator(mode="after")
    def _check_hysteresis(self) -> "AlertRule":
        low, high = self.level - self.hysteresis, self.level + self.hysteresis
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("level and hysteresis are too large together")
        if self.hysteresis and (low == self.level or high == self.level):
            raise ValueError("the hysteresis is too small to matter at this level")
        return self

    @property
    def revision(self) -> str:
        """Hash of what the rule watches for; a rule that differs in it is armed anew.

        The name, `cooldown_s` and `expires_at` are not part of it: they may change without a new arming.
        """
        level = self.level + 0.0  # -0.0 and 0.0 are one level
        parts = (self.symbol, self.kind, level.hex(), self.hysteresis.hex(), self.once)
        return _digest(parts, size=8)


@dataclass(frozen=True)
class MinuteBar:
    """A 1-minute bar, stamped at its open in UTC seconds; the last one may still be forming."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class QuoteNow:
    """The last trade's price, and its time if the server gave one; without a time it counts as fresh."""

    price: float
    time_s: float | None


@dataclass(frozen=True)
class Alert:
    """One crossing of one rule; `event_id` is the same however often and however late it is found.

    `kind` "dead" says instead that the rule can no longer be judged, "check" that its symbol was re-adjusted and its
    level may no longer mean anything; then there is no `price`, but a `reason`. For a `cross` rule `kind` says which
    way it went. `price` is the trade that touched the level: the level itself unless the price jumped over it.
    `touched_at` is the trade's time if a quote gave it, else the open of the minute that touched the level;
    `detected_at` is the server's clock at the evaluation.
    """

    event_id: str
    rule: str
    symbol: str
    kind: Kind | Literal["dead", "check"]
    level: float
    price: float | None
    touched_at: int | None
    detected_at: float
    reason: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        if self.kind == "check":
            return f"check the level {self.level:.10g} of rule {self.rule}: {self.symbol}: {self.reason}"
        if self.price is None:
            return f"rule {self.rule} is no longer watched: {self.symbol}: {self.reason}"
        verb = {"above": "is above", "below": "is below", "cross_up": "crossed above", "cross_down": "crossed below"}
        text = f"{self.symbol} {verb.get(self.kind, 'crossed')} {self.level:.10g} at {self.price:.10g}"
        if self.touched_at is not None:
            text += f", {_format_time(self.touched_at)}"
        return f"{text} (rule {self.rule})"


class _Crossing(NamedTuple):
    epoch: int
    falling: bool
    price: float
    touched_at: int | None


def evaluate(
    rules: Sequence[AlertRule],
    state: AlertState,
    bars: Mapping[str, Sequence[MinuteBar]],
    quotes: Mapping[str, QuoteNow],
    now: float,
    grace_s: float = DEFAULT_GRACE_S,
    delays_s: Mapping[str, float] | None = None,
) -> tuple[list[Alert], AlertState]:
    """Return the newly found alerts, and the state for the next evaluation.

    `now` is the server's clock. `bars` holds, for each symbol that was fetched, every 1-minute bar from its
    watermark on (or a first part of them: the rest follows next time); a symbol that is absent is left as it
    was. `delays_s` says by how much a symbol's feed is delayed. A minute is committed `grace_s` after its end
    plus that delay; until then it may fire but not re-arm. Where the close of the watermark's minute has changed, a
    split has moved all prices: the symbol's rules begin anew without firing on the jump, and each gets an alert that
    asks to check it. Store the alerts before the state is saved: the older state gives the same alerts again, with
    the same ids.
    """
    if state.recover_since is not None:
        return [], _begin_recovery(rules, state.recover_since)
    alerts: list[Alert] = []
    rule_states: dict[str, RuleState] = {}
    watermarks: dict[str, int] = {}
    closes: dict[str, float] = {}
    by_symbol: dict[str, list[AlertRule]] = {}
    for rule in rules:
        by_symbol.setdefault(rule.symbol, []).append(rule)
    for symbol, symbol_rules in by_symbol.items():
        view = _SymbolView.of(
            state.watermark(symbol),
            bars.get(symbol),
            quotes.get(symbol),
            now,
            now - (delays_s or {}).get(symbol, 0.0),
            grace_s,
        )
        if view.watermark is not None:
            watermarks[symbol] = view.watermark
            close = view.watermark_close
            if close is not None or symbol in state.closes:
                closes[symbol] = state.closes[symbol] if close is None else close
        ratio = view.readjusted_by(state.closes.get(symbol))
        for rule in symbol_rules:
            key = state_key(rule)
            before = state.rules.get(key)
            if before is None and not _can_create(rule, view):
                continue
            if before is not None and ratio is not None and not before.spent:
                rule_states[key] = _begin_anew(rule, view)
                alerts.append(_make_check_alert(rule, state.watermarks[symbol], ratio, now))
                continue
            crossings, rule_states[key] = _create(rule, view) if before is None else _advance(rule, before, view)
            alerts += (_make_alert(rule, crossing, now) for crossing in crossings)
    return alerts, AlertState(rule_states, watermarks, closes)


@dataclass(frozen=True)
class _SymbolView:
    """What one evaluation knows of one symbol."""

    earlier: Sequence[MinuteBar]  # committed by a previous evaluation
    is_at_watermark: bool  # the last of them is the one at the previous watermark
    committed: Sequence[MinuteBar]
    young: Sequence[MinuteBar]
    quote: QuoteNow | None
    quote_minute: int
    minute: int  # of the evaluation, by the server's clock
    watermark: int | None

    @classmethod
    def of(
        cls,
        watermark: int | None,
        bars: Sequence[MinuteBar] | None,
        quote: QuoteNow | None,
        now: float,
        feed_now: float,
        grace_s: float,
    ) -> "_SymbolView":
        """Sort what was fetched into committed and young."""
        ordered = sorted({bar.timestamp: bar for bar in bars or () if _is_finite(bar)}.items())
        start = -math.inf if watermark is None else watermark
        earlier = [bar for timestamp, bar in ordered if timestamp <= start]
        committed_until = feed_now - grace_s - MINUTE_S
        committed = [bar for timestamp, bar in ordered if start < timestamp <= committed_until]
        if quote is not None and not math.isfinite(quote.price + (quote.time_s or 0.0)):
            quote = None
        quote_time = feed_now if quote is None or quote.time_s is None else quote.time_s
        return cls(
            earlier=earlier,
            is_at_watermark=bool(earlier) and earlier[-1].timestamp == watermark,
            committed=committed,
            young=[bar for timestamp, bar in ordered if timestamp > max(start, committed_until)],
            quote=quote,
            quote_minute=_minute_of(quote_time),
            minute=_minute_of(feed_now),
            watermark=committed[-1].timestamp if committed else watermark,
        )

    @property
    def watermark_close(self) -> float | None:
        """The close of the newest committed minute, if it was fetched."""
        newest = [*self.earlier, *self.committed][-1:]
        return newest[0].close if newest and newest[0].timestamp == self.watermark else None

    def readjusted_by(self, close: float | None) -> float | None:
        """The factor by which earlier prices have been multiplied, judged by the last committed close; None if none."""
        if close is None or close <= 0 or not self.earlier or not self.is_at_watermark:
            return None
        ratio = self.earlier[-1].close / close
        return ratio if ratio > 0 and abs(ratio - 1) > READJUSTED_BY else None

    @property
    def has_bars(self) -> bool:
        return bool(self.earlier or self.committed or self.young)

    @property
    def last_price(self) -> float | None:
        if self.quote is not None:
            return self.quote.price
        newest = [*self.committed, *self.young][-1:] or self.earlier[-1:]
        return newest[0].close if newest else None


def _begin_recovery(rules: Sequence[AlertRule], since: int) -> AlertState:
    # `above` is not armed at creation here: under its fixed first epoch a later crossing would count as known.
    return AlertState(
        {state_key(rule): RuleState(since) for rule in rules},
        {rule.symbol: since - MINUTE_S for rule in rules},
    )


def _can_create(rule: AlertRule, view: _SymbolView) -> bool:
    return view.has_bars or (_is_armed_at_creation(rule) and view.quote is not None)


def _create(rule: AlertRule, view: _SymbolView) -> tuple[list[_Crossing], RuleState]:
    """The first evaluation of a rule.

    A crossing rule takes its arming from the closes at hand, and fires from the next evaluation on: the epoch
    depends on how far back bars were fetched, so it must be saved before an id is made from it.
    """
    if _is_armed_at_creation(rule):
        state = RuleState(view.minute, _CREATED, rule.kind == "below")
        price = view.last_price
        if price is None or not _is_beyond(price, rule.level, state.falling) or _has_expired(rule, view.minute):
            return _advance(rule, state, view)
        touched_at = None if view.quote is None or view.quote.time_s is None else int(view.quote.time_s)
        crossing = _Crossing(_CREATED, state.falling, price, touched_at)
        reported_at = _cooldown_start(rule, view.minute)
        return [crossing], state._replace(armed_at=None, spent=rule.once, reported_at=reported_at)
    _, state = _fold(rule, RuleState(view.minute), [*view.earlier, *view.committed])
    return [], state


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
    keeps_creation = _is_armed_at_creation(rule)
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
            if minute >= since and not _has_expired(rule, minute):
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
        next_minute = MINUTE_S + (armed_at if view.watermark is None else view.watermark)
        if next_minute < state.since or _is_cooling(rule, state.reported_at, next_minute):
            return None
    first = max(state.since, armed_at + 1)
    for bar in view.young:
        if bar.timestamp >= first and _touches(bar, rule.level, state.falling):
            if _has_expired(rule, bar.timestamp):
                return None
            price = _touch_price(bar, rule.level, state.falling)
            return _Crossing(armed_at, state.falling, price, bar.timestamp)
    quote = view.quote
    if quote is None or view.quote_minute < first or _has_expired(rule, view.quote_minute):
        return None
    if not _is_beyond(quote.price, rule.level, state.falling):
        return None
    touched_at = None if quote.time_s is None else int(quote.time_s)
    return _Crossing(armed_at, state.falling, quote.price, touched_at)


def _make_alert(rule: AlertRule, crossing: _Crossing, now: float) -> Alert:
    kind = rule.kind
    if kind == "cross":
        kind = "cross_down" if crossing.falling else "cross_up"
    # A rule that fires once needs one id only: it then stays single even if its state is lost.
    epoch = _CREATED if rule.once else crossing.epoch
    return Alert(
        event_id=_digest((rule.name, rule.revision, epoch), size=16),
        rule=rule.name,
        symbol=rule.symbol,
        kind=kind,
        level=rule.level,
        price=crossing.price,
        touched_at=crossing.touched_at,
        detected_at=now,
    )


def _make_check_alert(rule: AlertRule, watermark: int, ratio: float, now: float) -> Alert:
    return Alert(
        event_id=_digest((rule.name, rule.revision, "check", watermark), size=16),
        rule=rule.name,
        symbol=rule.symbol,
        kind="check",
        level=rule.level,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=f"its history was re-adjusted by a factor of {ratio:.6g}, as by a split",
    )


def make_dead_alert(rule: AlertRule, reason: str, now: float) -> Alert:
    """The alert that a rule can no longer be judged, e.g. for a delisted symbol; one for each revision of the rule.

    The rule's arming is kept: should its symbol come back, it continues where it was.
    """
    return Alert(
        event_id=_digest((rule.name, rule.revision, "dead"), size=16),
        rule=rule.name,
        symbol=rule.symbol,
        kind="dead",
        level=rule.level,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=reason,
    )


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


def _is_armed_at_creation(rule: AlertRule) -> bool:
    return rule.kind in ("above", "below")


def _has_expired(rule: AlertRule, minute: int) -> bool:
    return rule.expires_at is not None and minute >= rule.expires_at.timestamp()


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


def _digest(parts: Iterable[object], size: int) -> str:
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=size).hexdigest()


def state_key(rule: AlertRule) -> str:
    """Under which `AlertState.rules` has the state of a rule."""
    return _digest((rule.name, rule.revision), size=KEY_BYTES)
