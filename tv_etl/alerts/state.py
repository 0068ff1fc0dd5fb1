"""What is remembered from one tick to the next: which rules are registered, how they are armed, what symbols are like.

Pure values; `store` keeps them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tv_etl.alerts.rules import AlertRule

_DAY_S = 86_400


class ArmingKey(NamedTuple):
    """A registered rule on one symbol, since it was first seen there."""

    rule: str
    generation: int
    symbol: str


class RuleState(NamedTuple):
    since: int  # touches in minutes that opened before this are not reported: the rule did not exist yet
    armed_at: int | None = None  # the minute whose close armed it
    falling: bool = False  # armed for a fall to the level, not a rise
    reported_early: bool = False  # this arming's alert was reported ahead of its bar's commit
    spent: bool = False
    reported_at: int | None = None  # minute of the last reported touch, while a cooldown needs it
    seen: int | None = None  # no bar that opened later is judged yet; None where the symbol's watermark tells
    pending: int = 0  # closes in a row that were beyond the level
    base: float | None = None  # the close at which it last told something, or at which it began
    ends: int | None = None  # the epoch of what was told and is not over
    day: int = -1  # of a rule that each day arms anew: the last one that did
    # What bars say of its levels from one moment until another, and of which day that is.
    levels: tuple[float | None, ...] = ()
    levels_from: int = 0
    levels_until: int = 0
    levels_day: int = -1


class Registered(NamedTuple):
    """A rule of the watchlist on one symbol, since it was first seen there.

    Removed and added again, or edited and back, it is another. `generation` is the moment of that in milliseconds, or
    the next number if that is taken: no two are ever the same, in no two stores. `member` is the symbol, where the rule
    is for many.
    """

    rule: AlertRule
    generation: int
    member: str = ""

    @property
    def symbol(self) -> str:
        return self.member or self.rule.symbol or ""

    @property
    def key(self) -> ArmingKey:
        return ArmingKey(self.rule.name, self.generation, self.symbol)


class Close(NamedTuple):
    time: int
    price: float


class Health(NamedTuple):
    """The state of a symbol (`health` has them), since when, and what there is to say about it."""

    state: str = "ok"
    since: float = 0.0
    detail: str = ""


HEALTHY = Health()


@dataclass(frozen=True)
class SymbolState:
    """What is known of one symbol.

    `watermark` is its newest committed minute, `closes` are the newest committed ones with their prices, ascending.
    `fine_at` is when it last was as it should be, `minutes_missing_since` when its minutes first failed to come,
    `check_up_to` the last generation of rules whose levels its last re-adjustment put in question. `failures` counts
    how often in a row it failed; it is left alone until `retry_at`. `quote_fault` is "late" if its quote did not come,
    "broke" if asking for it broke the connection. `served` is "1m" for an instrument that has minutes, "1d" for one
    that has only days, "" for one without any bars; `minutes_asked_at` is when minutes were last tried. `hours` are its
    trading hours as JSON, `pause_s` is how long it went without a trade while open.
    """

    watermark: int | None = None
    closes: tuple[Close, ...] = ()
    health: Health = HEALTHY
    fine_at: float | None = None
    minutes_missing_since: float | None = None
    check_up_to: int | None = None
    failures: int = 0
    retry_at: float = 0.0
    quote_fault: str = ""
    served: str = "1m"
    minutes_asked_at: float = 0.0
    hours: str = ""
    pause_s: float = 0.0


@dataclass(frozen=True)
class AlertState:
    """All that a tick must remember for the next."""

    armings: Mapping[ArmingKey, RuleState] = field(default_factory=dict)
    symbols: Mapping[str, SymbolState] = field(default_factory=dict)

    def symbol(self, symbol: str) -> SymbolState:
        return self.symbols.get(symbol) or SymbolState()

    def watermark(self, symbol: str) -> int | None:
        """The newest committed minute, from which bars are needed; None for a new symbol: any recent bars will do."""
        return self.symbol(symbol).watermark


class Generation(NamedTuple):
    """What the store knows of a registered rule; `members` are the symbols of one for many, and since when they are.

    They are kept: a rule for a group goes on where nobody can say what is in it.
    """

    generation: int
    revision: str
    registered_at: float
    members: Mapping[str, int] | None = None

    @property
    def generations(self) -> Iterable[int]:
        """Those of each of its symbols."""
        return (self.generation,) if self.members is None else self.members.values()


@dataclass(frozen=True)
class Registry:
    """The rules that are registered, by name, and the last generation that was given."""

    rules: Mapping[str, Generation] = field(default_factory=dict)
    last: int = 0

    def register(
        self, rules: Iterable[AlertRule], now: float, groups: Mapping[str, Sequence[str]] | None = None
    ) -> "Registry":
        """With these rules, and none but these; `groups` are the symbols of those that are known now."""
        last, known = self.last, dict[str, Generation]()
        for rule in rules:
            before = self.rules.get(rule.name)
            if before is None or before.revision != rule.revision:
                last = max(int(now * 1000), last + 1)
                before = Generation(last, rule.revision, now)
            if rule.symbol is None:
                kept = before.members or {}
                symbols = (groups or {}).get(rule.group, list(kept)) if rule.group is not None else rule.symbols
                if not set(symbols) <= set(kept) and before.members is not None:
                    last = max(int(now * 1000), last + 1)
                added = last if before.members is not None else before.generation
                before = before._replace(members={symbol: kept.get(symbol, added) for symbol in symbols})
            known[rule.name] = before
        return Registry(known, last)

    def registered(self, rules: Iterable[AlertRule]) -> list[Registered]:
        found: list[Registered] = []
        for rule in rules:
            known = self.rules[rule.name]
            if known.members is None:
                found.append(Registered(rule, known.generation))
            else:
                found += [Registered(rule, generation, symbol) for symbol, generation in known.members.items()]
        return found


def without_future(state: AlertState, now: float) -> AlertState:
    """The state without what a clock that was days ahead has left in it: it would hold for years."""
    until = now + _DAY_S
    return AlertState(
        {
            key: each
            for key, each in state.armings.items()
            if max(each.since, each.armed_at or 0, each.seen or 0) <= until
        },
        {symbol: _up_to(each, until) for symbol, each in state.symbols.items()},
    )


def _up_to(symbol: SymbolState, until: float) -> SymbolState:
    if symbol.watermark is not None and symbol.watermark > until:
        return SymbolState(health=symbol.health, hours=symbol.hours)
    if max(symbol.fine_at or 0.0, symbol.minutes_missing_since or 0.0, symbol.minutes_asked_at) > until:
        return replace(symbol, fine_at=None, minutes_missing_since=None, minutes_asked_at=0.0)
    return symbol
