"""Somebody who sees every trade, one by one, and reads rules as the documentation words them.

It knows no quotes, no commits and no ticks, and none of the package's ways to judge: bars are what it adds up itself.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import RuleState
from tv_etl.tradingview.intervals import Interval

DAY_S = 86_400


class Trade(NamedTuple):
    time_s: int
    price: float
    size: float = 1.0


@dataclass
class Sum:
    """A bar, as far as its trades have come."""

    open_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    def add(self, trade: Trade) -> None:
        self.high, self.low, self.close = max(self.high, trade.price), min(self.low, trade.price), trade.price
        self.volume += trade.size


def sums_of(trades: Iterable[Trade], width_s: int) -> list[Sum]:
    found: list[Sum] = []
    for trade in trades:
        open_s = trade.time_s // width_s * width_s
        if found and found[-1].open_s == open_s:
            found[-1].add(trade)
        else:
            found.append(Sum(open_s, trade.price, trade.price, trade.price, trade.price, trade.size))
    return found


class Oracle:
    """Watches one rule from its beginning on."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self.kind: str = rule.kind_name
        self.on_closes = self.kind in ("volume_ratio", "all") or getattr(rule, "on", "touch") == "close"
        self.is_volume = self.kind in ("bar_volume", "day_volume", "volume_ratio")
        self.interval_s = Interval.parse(getattr(rule, "interval", "1d")).seconds
        self.unit_s = self.interval_s if self.on_closes or self.is_volume else 60
        self.told: list[int | str] = []
        self.since = 0
        self.armed: tuple[int, str] | None = None
        self.spent = False
        self.reported_at: int | None = None
        self.in_a_row = 0
        self.base: float | None = None
        self.fired_in_unit = self.was_told = False
        self.open: int | None = None
        self.day: int | None = None

    # --- how it begins

    def begin(self, created_at: float, price: float | None) -> None:
        """A rule of fixed levels whose symbol is new: `above` and `below` may be so already."""
        self.since = int(created_at // 60 * 60)
        if self.kind in ("above", "below"):
            side = "up" if self.kind == "above" else "down"
            self.armed = (0, side)
            if price is not None and self.reaches(price, self.levels_of({}), side):
                self.fire(0, self.since, self.since)
                self.fired_in_unit = False

    def take_over(self, state: RuleState) -> None:
        """Where what is at hand at its creation decides."""
        self.since = state.since
        if state.armed_at is not None:
            self.armed = (state.armed_at, "down" if state.falling else "up")
        self.spent, self.reported_at, self.base = state.spent, state.reported_at, state.base
        self.open, self.day, self.in_a_row = state.ends, None if state.day == -1 else state.day, state.pending

    # --- what it sees

    def watch(self, trades: Sequence[Trade], first: int = 0, closed_before: float = math.inf) -> list[int | str]:
        """What is told; units that open before `first` were before its time, those from `closed_before` on go on."""
        seen: list[Trade] = []
        unit: list[Trade] = []
        for index, trade in enumerate(trades):
            seen.append(trade)
            open_s = self.unit_of(trade)
            unit = [*unit, trade] if unit and self.unit_of(unit[0]) == open_s else [trade]
            is_last = index + 1 == len(trades) or self.unit_of(trades[index + 1]) > open_s
            if open_s < first or (self.kind in ("above", "below", "pct_day") and open_s < self.since):
                continue
            levels = self.levels_at(seen, open_s)
            if len(unit) == 1:
                self.begin_day(seen, trade)
            if not self.on_closes:
                self.look(unit, levels, open_s)
            if is_last and open_s < closed_before:
                self.close(unit, levels, open_s)
        return self.told

    def unit_of(self, trade: Trade) -> int:
        return trade.time_s // self.unit_s * self.unit_s

    def begin_day(self, seen: Sequence[Trade], trade: Trade) -> None:
        if self.kind not in ("pct_day", "day_volume"):
            return
        today = trade.time_s // DAY_S * DAY_S
        before = [each.time_s // DAY_S * DAY_S for each in seen if each.time_s < today]
        day = before[-1] if before else 0
        if day == self.day:
            return
        self.day, self.in_a_row = day, 0
        self.resolve()
        falls = self.kind == "pct_day" and self.rule.pct < 0  # type: ignore[attr-defined]
        self.armed = None if self.spent else (day + 1, "down" if falls else "up")

    def look(self, unit: Sequence[Trade], levels: Any, open_s: int) -> None:
        if self.armed is None or levels is None:
            return
        epoch, side = self.armed
        price = sum(each.size for each in unit) if self.is_volume else unit[-1].price
        is_reached = self.reaches(price, levels, side)
        if self.kind == "enter_channel":
            # Gone through within a minute is entered, if no trade was inside.
            low, high = levels
            prices = [each.price for each in unit]
            is_reached = min(prices) <= high and max(prices) >= low
        if is_reached:
            self.fire(epoch, open_s, open_s)

    def close(self, unit: Sequence[Trade], levels: Any, open_s: int) -> None:
        price = unit[-1].price
        fired = self.fired_in_unit
        if levels is None:
            self.in_a_row = 0
        elif not (self.spent and self.open is None and not fired):
            value: Any = sum(each.size for each in unit) if self.is_volume else price
            if self.kind == "all":
                value = [price, sum(each.size for each in unit)]
            fired = self.judge_close(value, levels, open_s) or fired
            side = None if self.armed is not None else self.arms(value, levels)
            if side is not None:
                self.resolve()
                if not self.spent:
                    self.armed = (open_s, side)
        self.fired_in_unit = False
        if fired and self.was_told:
            self.base = price

    def judge_close(self, value: Any, levels: Any, open_s: int) -> bool:
        if not self.on_closes or self.armed is None:
            return False
        epoch, side = self.armed
        self.in_a_row = self.in_a_row + 1 if self.reaches(value, levels, side) else 0
        wanted = getattr(self.rule, "for_", None)
        if self.in_a_row < (1 if wanted is None else wanted // self.interval_s):
            return False
        self.in_a_row = 0
        self.fire(epoch, open_s, open_s + self.unit_s - 60)
        return True

    def fire(self, epoch: int, open_s: int, moment: int) -> None:
        self.armed, self.fired_in_unit, self.was_told = None, True, False
        if open_s < self.since or self.is_silent(moment):
            return
        self.spent = self.rule.once
        wait = self.rule.cooldown_s
        wait = wait if wait is not None else 900 if self.rule.cooldown is None else self.rule.cooldown
        if self.reported_at is None or moment >= self.reported_at + wait:
            self.reported_at, self.was_told = moment, True
            self.told.append(epoch)
            if self.rule.resolved:
                self.open = epoch

    def resolve(self) -> None:
        if self.open is not None:
            self.told.append(f"resolved {self.open}")
            self.open = None

    def is_silent(self, moment: int) -> bool:
        if self.rule.expires_at is not None and moment >= self.rule.expires_at.timestamp():
            return True
        minute = moment % DAY_S // 60
        for hours in self.rule.active.hours:
            (first, last) = (int(each[:2]) * 60 + int(each[3:]) for each in hours.split("-"))
            if (first <= minute < last) if first < last else (minute >= first or minute < last):
                return False
        return bool(self.rule.active.hours)

    # --- how it reads its rule

    def reaches(self, value: Any, levels: Any, side: str) -> bool:
        if self.kind == "all":
            return self.all_hold(value, levels)
        if self.kind == "enter_channel":
            return bool(levels[0] <= value <= levels[1])
        if self.kind == "exit_channel":
            return bool(value < levels[0] or value > levels[1])
        return bool(value >= levels[0] if side == "up" else value <= levels[0])

    def arms(self, value: Any, levels: Any) -> str | None:
        margin = getattr(self.rule, "hysteresis", 0.0)
        if self.kind == "all":
            return None if self.all_hold(value, levels) else "up"
        if self.kind == "exit_channel":
            return "up" if levels[0] + margin <= value <= levels[1] - margin else None
        below, above = levels[0] - margin, levels[-1] + margin
        is_below = value < below or (margin > 0 and value == below)
        is_above = value > above or (margin > 0 and value == above)
        rises = self.kind in ("above", "cross_up", "cross", "enter_channel") or self.is_volume
        falls = self.kind in ("below", "cross_down", "cross", "enter_channel")
        if self.kind in ("pct_day", "pct_window"):
            rises = self.rule.pct > 0  # type: ignore[attr-defined]
            falls = not rises
        return "up" if rises and is_below else "down" if falls and is_above else None

    def all_hold(self, value: Any, levels: Any) -> bool:
        price, volume = value
        rest = list(levels)
        for each in self.rule.all:  # type: ignore[attr-defined]
            if each.kind in ("enter_channel", "exit_channel"):
                low, high = rest.pop(0), rest.pop(0)
                holds = (low <= price <= high) is (each.kind == "enter_channel")
            elif each.kind in ("bar_volume", "volume_ratio"):
                holds = volume >= rest.pop(0)
            else:
                rises = each.kind == "above" or (each.kind != "below" and each.pct > 0)
                level = rest.pop(0)
                holds = price >= level if rises else price <= level
            if not holds:
                return False
        return True

    def levels_at(self, seen: Sequence[Trade], moment: int) -> Any:
        bars = {
            width_s: [bar for bar in sums_of(seen, width_s) if bar.open_s < moment // width_s * width_s]
            for width_s in {self.interval_s, DAY_S}
        }
        return self.levels_of(bars)

    def levels_of(self, bars: dict[int, list[Sum]]) -> Any:
        conditions = self.rule.all if self.kind == "all" else [self.rule]  # type: ignore[attr-defined]
        found = [value for each in conditions for value in self.levels_of_condition(each, bars)]
        return None if None in found else found

    def levels_of_condition(self, each: Any, bars: dict[int, list[Sum]]) -> list[float | None]:
        if each.kind in ("bar_volume", "day_volume"):
            return [each.volume]
        if each.kind == "pct_day":
            return [self.times(self.last(bars[DAY_S], 1, "close"), 1 + each.pct / 100)]
        if each.kind == "pct_window":
            return [self.times(self.last(bars[self.interval_s], each.bars, "close"), 1 + each.pct / 100)]
        if each.kind == "volume_ratio":
            volumes = [bar.volume for bar in bars[self.interval_s][-each.bars :]]
            return [each.ratio * (math.fsum(volumes) / each.bars) if len(volumes) == each.bars else None]
        names = ("low", "high") if "channel" in each.kind else ("level",)
        return [self.level(getattr(each, name), bars) for name in names]

    def level(self, level: Any, bars: dict[int, list[Sum]]) -> float | None:
        if isinstance(level, float):
            return level
        if level.name == "last_alert":
            return self.times(self.base, level.factor)
        if level.name == "prev_close":
            return self.times(self.last(bars[DAY_S], 1, "close"), level.factor)
        mine = bars[self.interval_s][-level.bars :]
        if len(mine) < level.bars:
            return None
        if level.name == "sma":
            return self.times(math.fsum(bar.close for bar in mine) / level.bars, level.factor)
        pick = max if level.name == "high" else min
        return self.times(pick(getattr(bar, level.name) for bar in mine), level.factor)

    @staticmethod
    def last(bars: Sequence[Sum], back: int, name: str) -> float | None:
        return getattr(bars[-back], name) if len(bars) >= back else None

    @staticmethod
    def times(value: float | None, factor: float) -> float | None:
        return None if value is None or (factor != 1 and value <= 0) else value * factor
