"""The truth table: armed by a close, fired by a touch, whatever the bars are of and whatever is compared.

Pure. Prices of minutes, closes of bars, volumes and whether all conditions are so are bars to it alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tv_etl.alerts.conditions import Touch
from tv_etl.alerts.levels import DAY_INTERVAL, ClosedBars, Reference, Step
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import RuleState

CREATED = 0  # arming epoch of rules that are armed at creation until they first fire
NOT_BEGUN = -1  # no day of a rule that is armed daily has begun yet
_MINUTE_S = 60
_FOREVER = 1 << 53


class Sample(NamedTuple):
    """What is judged of one bar. `moment` is the minute that counts for when it is told; `price` its close.

    `truth` tells whether all conditions are so, given their levels, where it is that which is judged.
    """

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    moment: int
    price: float
    touched_at: int
    truth: Callable[[Sequence[float]], bool] | None = None

    def against(self, levels: tuple[float, ...]) -> "tuple[Sample, tuple[float, ...]]":
        """What is compared with what."""
        if self.truth is None:
            return self, levels
        value = float(self.truth(levels))
        return self._replace(open=value, high=value, low=value, close=value), (1.0,)


class Crossing(NamedTuple):
    """A touch to be told, or what ended one that was."""

    epoch: int
    falling: bool
    price: float
    touched_at: int | None
    level: float
    is_end: bool = False


class Now(NamedTuple):
    """The levels of a rule at a moment, None if it has no reference then; of which day they are, and since when."""

    levels: tuple[float, ...] | None
    day: int
    since: int


class Levels:
    """The levels of a rule from moment to moment, as far as they are known."""

    def __init__(self, rule: AlertRule, bars: Mapping[str, ClosedBars], known: RuleState | None = None) -> None:
        self._rule, self._bars = rule, bars
        fixed = None if rule.is_armed_daily else rule.fixed_levels
        self._fixed = None if fixed is None else Now(fixed, 0, 0)
        self._targets = rule.targets
        self._raw: tuple[float | None, ...] = () if known is None else known.levels
        self._until = 0 if known is None else known.levels_until
        self._day = NOT_BEGUN if known is None else known.levels_day
        self._from = 0 if known is None else known.levels_from

    def at(self, moment: int, base: float | None) -> Now | None:
        """None where they are not known yet. `base` is what `last_alert` is."""
        if self._fixed is not None:
            return self._fixed
        if not self._from <= moment < self._until and not self._look_up(moment):
            return None
        found = [
            self._value(target, raw, base) if isinstance(target, Reference) else target
            for target, raw in zip(self._targets, self._raw, strict=True)
        ]
        levels = tuple(value for value in found if value is not None)
        return Now(levels if len(levels) == len(found) else None, self._day, self._from)

    def kept(self, state: RuleState) -> RuleState:
        """The state with what holds until the next bar, so that it need not be looked up again."""
        if self._fixed is not None:
            return state
        return state._replace(levels=self._raw, levels_from=self._from, levels_until=self._until, levels_day=self._day)

    @staticmethod
    def _value(target: Reference, raw: float | None, base: float | None) -> float | None:
        if target.is_of_bars:
            return raw
        return None if base is None or (target.factor != 1 and base <= 0) else target.of(base)

    def _look_up(self, moment: int) -> bool:
        steps: list[Step | None] = []
        for target in self._targets:
            if isinstance(target, Reference) and target.is_of_bars:
                bars = self._bars.get(target.interval or self._rule.interval_of_references)
                step = None if bars is None else bars.step(target, moment)
                if step is None:
                    return False
                steps.append(step)
            else:
                steps.append(None)
        day = None
        if self._rule.is_armed_daily:
            days = self._bars.get(DAY_INTERVAL)
            day = None if days is None else days.step(Reference("prev_close"), moment)
            if day is None:
                return False
            self._day = day.after
        known = [each for each in (*steps, day) if each is not None]
        self._raw = tuple(None if step is None else step.value for step in steps)
        self._from = max((each.begins_at for each in known), default=0)
        self._until = min((each.until for each in known), default=_FOREVER)
        return True


def fold(
    rule: AlertRule, state: RuleState, samples: Iterable[Sample], levels: Levels, *, skips: bool = False
) -> tuple[list[Crossing], RuleState, int | None]:
    """Apply final bars in order: what is to be told, the state, and the last bar that was judged.

    It stops before a bar whose levels are not known yet; one that `skips` leaves such bars out.
    """
    armed_at, falling, early, spent = state.armed_at, state.falling, state.reported_early, state.spent
    reported_at, pending, base, day, ends = state.reported_at, state.pending, state.base, state.day, state.ends
    since, in_a_row, is_daily = state.since, rule.closes_in_a_row, rule.is_armed_daily
    keeps_creation = rule.is_armed_at_creation or is_daily
    found: list[Crossing] = []
    judged: int | None = None
    for sample in samples:
        if keeps_creation and sample.timestamp < since:
            judged = sample.timestamp
            continue
        if spent and ends is None:
            judged = sample.timestamp
            continue
        now = levels.at(sample.timestamp, base)
        if now is None:
            if skips:
                continue
            break
        judged = sample.timestamp
        if is_daily and now.day != day:
            day, armed_at, early, pending = now.day, None if spent else now.day + 1, False, 0
            if ends is not None:
                found.append(Crossing(ends, falling, sample.price, sample.touched_at, 0.0, is_end=True))
                ends = None
        if now.levels is None:
            pending = 0
            continue
        bar, values = sample.against(now.levels)
        if is_daily:
            falling = rule.falls_daily
        if armed_at is not None:
            touch = rule.touched(bar, values, falling)
            if touch is None:
                pending = 0
                continue
            pending += 1
            if pending < in_a_row:
                continue
            pending = 0
            if sample.timestamp >= since and is_told(rule, sample.moment):
                if not is_cooling(rule, reported_at, sample.moment):
                    if not early:
                        price = sample.price if rule.is_on_closes else touch.price
                        found.append(Crossing(armed_at, touch.falling, price, sample.touched_at, touch.level))
                    reported_at, base = cooldown_start(rule, sample.moment), sample.price
                    ends = armed_at if rule.resolved else None
                spent = rule.once
            armed_at, early = None, False
        side = rule.armed_side(bar.close, values)
        if side is not None:
            if ends is not None:
                found.append(Crossing(ends, side, sample.price, sample.touched_at, values[0], is_end=True))
                ends = None
            if not spent:
                armed_at, falling = sample.timestamp, side
    after = state._replace(
        armed_at=armed_at, falling=falling, reported_early=early, spent=spent, reported_at=reported_at,
        pending=pending, base=base, day=day, ends=ends,
    )  # fmt: skip
    return found, levels.kept(after), judged


def early_touch(
    rule: AlertRule, state: RuleState, young: Sequence[Sample], levels: Levels, first: int
) -> tuple[Sample, Touch] | None:
    """The touch of the current arming in bars that are not final, from `first` on; None if it is not to be told yet.

    Whatever the bars will show once they are final, the fold must come to the same alert.
    """
    if state.armed_at is None or state.reported_early or rule.is_on_closes:
        return None
    for sample in young:
        if sample.timestamp < first:
            continue
        now = levels.at(sample.timestamp, state.base)
        if now is None or (rule.is_armed_daily and now.day != state.day):
            return None
        if now.levels is None:
            continue
        touch = rule.touched(sample, now.levels, state.falling)
        if touch is not None:
            return (sample, touch) if is_told(rule, sample.moment) else None
    return None


def is_told(rule: AlertRule, moment: int) -> bool:
    """True if what happens in that minute is told at all."""
    return not rule.has_expired(moment) and rule.active.is_active(moment)


def is_told_throughout(rule: AlertRule, first: int, last: int) -> bool:
    """True if so is what happens in every minute from the first to the last."""
    if not rule.active.hours and not rule.active.days:
        return True
    # Longer spans are left to their final bars: it is later, and never wrong.
    return last - first <= 86_400 and all(rule.active.is_active(each) for each in range(first, last + 1, _MINUTE_S))


def is_cooling(rule: AlertRule, reported_at: int | None, moment: int) -> bool:
    """True if too little time has passed since the last told alert."""
    return reported_at is not None and moment - reported_at < rule.cooldown_seconds


def cooldown_start(rule: AlertRule, moment: int) -> int | None:
    """What is kept of the moment of a told alert."""
    return moment if rule.cooldown_seconds else None
