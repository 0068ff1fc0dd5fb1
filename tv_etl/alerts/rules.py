"""What to watch for, as written in the watchlist: a class for each kind. How a rule is judged is `fold`'s."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasPath,
    AwareDatetime,
    BeforeValidator,
    Field,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from tv_etl.alerts.conditions import (
    AnyCondition,
    Condition,
    Inside,
    LevelCondition,
    OfVolume,
    OneLevel,
    Outside,
    PercentOfDay,
    PercentOfWindow,
    VolumeRatio,
)
from tv_etl.alerts.events import DEFAULT_SEVERITY, Severity, digest
from tv_etl.alerts.levels import DAY_INTERVAL, Level, Reference
from tv_etl.alerts.options import Active, Duration, Label, Message, Run, duration_text, fail_at
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import check_symbol

LevelKind = Literal["above", "below", "cross_up", "cross_down", "cross"]
Kind = Literal[
    "above", "below", "cross_up", "cross_down", "cross", "enter_channel", "exit_channel", "pct_day", "pct_window",
    "bar_volume", "day_volume", "volume_ratio", "all",
]  # fmt: skip

COOLDOWN_S = 900.0
_MINUTE_S = 60

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _read_interval(value: object) -> str:
    # YAML reads a bare 60 as a number.
    interval = Interval.parse(str(value))
    if not interval.is_time_based or interval.seconds < _MINUTE_S:
        raise ValueError(f"{value}: alerts look at minutes and wider bars, e.g. 1m 1h 1d")
    return interval.token


_Interval = Annotated[
    str, BeforeValidator(_read_interval), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
_Symbol = Annotated[str, AfterValidator(check_symbol)]


def _read_symbols(value: object) -> object:
    # `symbols: {group: us}` lists none: the field below reads which group.
    if not isinstance(value, dict):
        return value
    if {str(key) for key in value} != {"group"}:
        found = f", not {', '.join(sorted(map(str, value)))}" if value else ""
        raise ValueError(f"expected a list, or the key group{found}")
    return []


def _check_symbols(values: list[str]) -> list[str]:
    seen = set[str]()
    for number, symbol in enumerate(values):
        if symbol in seen:
            fail_at(number, f"{symbol} is listed twice")
        seen.add(symbol)
    return values


_SYMBOLS_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "properties": {"group": {"type": "string"}},
            "required": ["group"],
            "additionalProperties": False,
        },
    ]
}


# --- rules


class AlertRule(Condition):
    """What to watch on one symbol or many, and how to tell it."""

    name: Label = Field(description="Name of the rule: 1 to 64 characters of a-z 0-9 _ -.")
    symbol: _Symbol | None = Field(default=None, description="What to watch, e.g. BINANCE:BTCUSDT.")
    symbols: Annotated[
        list[_Symbol], AfterValidator(_check_symbols), BeforeValidator(_read_symbols), WithJsonSchema(_SYMBOLS_SCHEMA)
    ] = Field(
        default_factory=list,
        description="Instead of symbol: a list, or {group: us} for all symbols of a group. Each is watched by itself.",
    )
    group: SkipJsonSchema[str | None] = Field(default=None, validation_alias=AliasPath("symbols", "group"))
    once: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Tell a single time, of each symbol; by default, again and again."
    )
    cooldown: Duration | None = Field(
        default=None,
        description="For how long after a told alert further ones stay silent, e.g. 15m, or 0; by default, 15m.",
    )
    cooldown_s: Annotated[_Number, Field(ge=0)] | None = Field(default=None, description="The same in seconds.")
    expires_at: AwareDatetime | None = Field(
        default=None, description="Nothing is reported for minutes that open at or after this time; needs a time zone."
    )
    active: Active = Field(default_factory=Active, description="When to tell, see Active; by default, always.")
    resolved: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Tell as well when it is over: when a close arms the rule again."
    )
    remind: Duration | None = Field(
        default=None,
        description="Tell again every so often, e.g. 4h, until it is over or acknowledged; wants resolved: true.",
    )
    severity: Severity = Field(
        default=DEFAULT_SEVERITY, description="info, warning, error or critical; targets choose by it."
    )
    tags: list[Label] = Field(default_factory=list, description="Words by which targets choose alerts.")
    message: Message = Field(
        default="", description="What to say, with the fields of an alert in braces: '{symbol} is at {price}'."
    )
    run: Run | None = Field(
        default=None, description="What an alert starts: the name of a job, or {assets: [...]} by their keys."
    )

    # Narrowed by each kind.
    @property
    def kind_name(self) -> Kind:
        kind: Kind = getattr(self, "kind")  # noqa: B009
        return kind

    @property
    def interval_watched(self) -> str | None:
        """The interval of the bars that are judged; None for minutes as they come, and quotes."""
        return None

    @property
    def interval_of_references(self) -> str:
        return self.interval_watched or DAY_INTERVAL

    @property
    def is_on_closes(self) -> bool:
        """True if only closes are judged, and touches are not."""
        return False

    @property
    def is_armed_at_creation(self) -> bool:
        """True if the rule fires at once where it is already so."""
        return False

    @property
    def is_armed_daily(self) -> bool:
        """True if each day begins anew, whatever the day before has told."""
        return False

    @property
    def falls_daily(self) -> bool:
        """True if a rule that is armed daily is armed for a fall."""
        return False

    @property
    def closes_in_a_row(self) -> int:
        """How many closes in a row must be beyond the level."""
        return 1

    @property
    def conditions(self) -> Sequence[Condition]:
        """What must be so at once."""
        return (self,)

    @property
    def references(self) -> dict[str, int]:
        """How many bars back of each interval tell the levels."""
        found: dict[str, int] = {DAY_INTERVAL: 1} if self.is_armed_daily else {}
        for condition in self.conditions:
            for each in condition.targets:
                if isinstance(each, Reference) and each.is_of_bars:
                    interval = each.interval or self.interval_of_references
                    found[interval] = max(found.get(interval, 0), each.bars)
        return found

    @property
    def fixed_levels(self) -> tuple[float, ...] | None:
        """The levels, where they are numbers."""
        targets = self.targets
        return None if any(isinstance(each, Reference) for each in targets) else targets  # type: ignore[return-value]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the rule is for."""
        return () if self.group is None else (self.group,)

    @property
    def cooldown_seconds(self) -> float:
        """For how long further alerts stay silent."""
        if self.cooldown_s is not None:
            return self.cooldown_s
        return COOLDOWN_S if self.cooldown is None else float(self.cooldown)

    @model_validator(mode="after")
    def _check_rule(self) -> "AlertRule":
        ways = [self.symbol is not None, bool(self.symbols), self.group is not None]
        if sum(ways) > 1:
            fail_at("symbols", "write symbol or symbols, one of the two")
        if not any(ways):
            raise ValueError("write symbol: EXCHANGE:TICKER, or symbols: a list or {group: name}")
        if self.cooldown is not None and self.cooldown_s is not None:
            fail_at("cooldown_s", "write cooldown or cooldown_s, one of the two")
        if self.remind is not None and not self.resolved:
            fail_at("remind", "until when? write resolved: true as well: then it is known when an alert is over")
        if self.remind is not None and self.remind < _MINUTE_S:
            fail_at("remind", f"{duration_text(self.remind)} is too often; write a minute or more, e.g. 4h")
        return self

    @model_validator(mode="after")
    def _check_margin(self) -> "AlertRule":
        for level in self.fixed_levels or ():
            low, high = level - self.margin, level + self.margin
            if not (math.isfinite(low) and math.isfinite(high)):
                fail_at("hysteresis", "level and hysteresis are too large together")
            if self.margin and (low == level or high == level):
                fail_at("hysteresis", "the hysteresis is too small to matter at this level")
        return self

    @property
    def revision(self) -> str:
        """Hash of what the rule watches for; a rule that differs in it is armed anew.

        Neither its name nor whatever only says what is told, and when, is part of it. Of a rule for many symbols they
        are not either: one that is added does not arm the others anew.
        """
        shown = [each if isinstance(each, str) else each.hex() for each in map(_plain, self.targets)]
        parts = [self.symbol or "", self.kind_name, *shown, self.margin.hex(), self.once, *self._more_of_revision()]
        return digest(parts, size=8)

    def _more_of_revision(self) -> list[object]:
        more: list[object] = []
        if self.is_on_closes or self.interval_watched is not None or self.references:
            more += [self.is_on_closes, self.interval_watched, self.interval_of_references, self.closes_in_a_row]
        if self.active.session != "regular":
            more.append(self.active.session)
        return more

    def has_expired(self, minute: int) -> bool:
        """True if nothing is reported any more for a minute that opens then."""
        return self.expires_at is not None and minute >= self.expires_at.timestamp()


def _plain(target: Level) -> float | str:
    # A reference in words of which none may change: they are part of a hash.
    if isinstance(target, Reference):
        return f"{target.name} {target.bars} {target.factor.hex()}"
    return target


class _BarRule(AlertRule):
    """A rule that may be judged on bars of an interval."""

    interval: _Interval = Field(
        default="1m", description="Width of the bars whose closes, volumes, highs and lows count, e.g. 1m 1h 1d."
    )
    for_: Duration | None = Field(
        default=None,
        alias="for",
        description="Only what is so at every close for so long, e.g. 10m: a multiple of the interval, on closes.",
    )

    @property
    def interval_of_references(self) -> str:
        return self.interval

    @property
    def closes_in_a_row(self) -> int:
        return 1 if self.for_ is None else self.for_ // Interval.parse(self.interval).seconds

    @model_validator(mode="after")
    def _check_for(self) -> "_BarRule":
        if self.for_ is None:
            return self
        if not self.is_on_closes:
            fail_at("for", "it counts closes: write on: close as well")
        width = Interval.parse(self.interval).seconds
        if self.for_ < width or self.for_ % width:
            fail_at("for", f"{duration_text(self.for_)} is not a multiple of the interval, {self.interval}")
        return self


class _PriceRule(_BarRule):
    on: Literal["touch", "close"] = Field(
        default="touch",
        description="touch: the first trade that reaches the level; close: the first bar of the interval that closes "
        "there.",
    )

    @property
    def is_on_closes(self) -> bool:
        return self.on == "close"

    @property
    def interval_watched(self) -> str | None:
        return self.interval if self.is_on_closes else None

    @model_validator(mode="after")
    def _check_interval(self) -> "_PriceRule":
        if "interval" in self.model_fields_set:
            return self
        if self.is_on_closes:
            fail_at("on", "of which bars? write interval as well, e.g. 1h or 1d")
        if any(isinstance(each, Reference) and each.is_of_bars and not each.interval for each in self.targets):
            raise ValueError("write interval as well, e.g. 1d: of which bars is the level?")
        return self


class _LevelRule(_PriceRule):
    hysteresis: Annotated[_Number, Field(ge=0)] = Field(
        default=0.0, description="How far beyond the level the price must close before the rule can fire again."
    )

    @property
    def margin(self) -> float:
        return self.hysteresis


class AboveRule(OneLevel, _LevelRule):
    """The price is at the level or above: fires at once if it is so already."""

    rises: ClassVar[bool] = True
    kind: Literal["above"]

    @property
    def is_armed_at_creation(self) -> bool:
        return True


class BelowRule(OneLevel, _LevelRule):
    """The price is at the level or below: fires at once if it is so already."""

    falls: ClassVar[bool] = True
    kind: Literal["below"]

    @property
    def is_armed_at_creation(self) -> bool:
        return True


class CrossUpRule(OneLevel, _LevelRule):
    """The price rises to the level, after a close below."""

    rises: ClassVar[bool] = True
    kind: Literal["cross_up"]


class CrossDownRule(OneLevel, _LevelRule):
    """The price falls to the level, after a close above."""

    falls: ClassVar[bool] = True
    kind: Literal["cross_down"]


class CrossRule(OneLevel, _LevelRule):
    """Either of the two; the alert says which."""

    rises: ClassVar[bool] = True
    falls: ClassVar[bool] = True
    kind: Literal["cross"]


class EnterChannelRule(Inside, _LevelRule):
    """The price enters the channel, after a close outside."""

    kind: Literal["enter_channel"]


class ExitChannelRule(Outside, _LevelRule):
    """The price leaves the channel, after a close inside."""

    kind: Literal["exit_channel"]

    @model_validator(mode="after")
    def _check_inside(self) -> "ExitChannelRule":
        if isinstance(self.low, float) and isinstance(self.high, float) and self.high - self.low < 2 * self.margin:
            fail_at("hysteresis", "no close is so far inside the channel: the rule could never fire again")
        return self


class PctDayRule(PercentOfDay, _PriceRule):
    """The price is so many percent above or below the close of the day before; each day begins anew."""

    kind: Literal["pct_day"]

    @property
    def is_armed_daily(self) -> bool:
        return True

    @property
    def falls_daily(self) -> bool:
        return self.pct < 0


class PctWindowRule(PercentOfWindow, _PriceRule):
    """The price is so many percent above or below what it closed at so many bars before."""

    kind: Literal["pct_window"]


class BarVolumeRule(OfVolume, _PriceRule):
    """A bar has so much volume, after a bar with less."""

    kind: Literal["bar_volume"]

    @property
    def interval_watched(self) -> str | None:
        return self.interval


class DayVolumeRule(OfVolume, AlertRule):
    """A day has so much volume; each day begins anew."""

    kind: Literal["day_volume"]

    @property
    def interval_watched(self) -> str | None:
        return DAY_INTERVAL

    @property
    def is_armed_daily(self) -> bool:
        return True

    @model_validator(mode="after")
    def _check_active(self) -> "DayVolumeRule":
        if self.active.hours:
            fail_at("active", "a day's volume has no hour; name days, or leave it out")
        return self


class _ClosingRule(_BarRule):
    on: Literal["close"] = Field(default="close", description="It is judged on closes alone.")

    @property
    def is_on_closes(self) -> bool:
        return True

    @property
    def interval_watched(self) -> str | None:
        return self.interval


class VolumeRatioRule(VolumeRatio, _ClosingRule):
    """A bar closes with so many times the mean volume of those before it, after a bar with less."""

    kind: Literal["volume_ratio"]


class AllRule(LevelCondition, _ClosingRule):
    """A bar closes at which all conditions are so, after one at which they are not."""

    rises: ClassVar[bool] = True
    kind: Literal["all"] = "all"
    all: Annotated[list[AnyCondition], Field(min_length=2)] = Field(
        description="Conditions that must be so at one close; as a rule's kind and what it compares with, without "
        "crossings: enter_channel is a close inside, exit_channel one outside."
    )

    @property
    def targets(self) -> tuple[Level, ...]:
        return tuple(target for each in self.all for target in each.targets)

    @property
    def conditions(self) -> Sequence[Condition]:
        return self.all

    @property
    def is_armed_at_creation(self) -> bool:
        return True

    @model_validator(mode="after")
    def _check_interval(self) -> "AllRule":
        if "interval" not in self.model_fields_set:
            raise ValueError("write interval as well, e.g. 1d: at which closes?")
        return self

    def _more_of_revision(self) -> list[object]:
        return [*super()._more_of_revision(), *(type(each).__name__ for each in self.all)]


def _read_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    # YAML reads a bare on as true. A rule with conditions needs no kind.
    named = {"on" if key is True else key: each for key, each in value.items()}
    return {"kind": "all"} | named if "all" in named else named


# A rule of any kind, as a field of a model.
AnyRule = Annotated[
    Annotated[
        AboveRule
        | BelowRule
        | CrossUpRule
        | CrossDownRule
        | CrossRule
        | EnterChannelRule
        | ExitChannelRule
        | PctDayRule
        | PctWindowRule
        | BarVolumeRule
        | DayVolumeRule
        | VolumeRatioRule
        | AllRule,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_read_keys),
]
RULE_KINDS: tuple[type[AlertRule], ...] = (
    AboveRule, BelowRule, CrossUpRule, CrossDownRule, CrossRule, EnterChannelRule, ExitChannelRule, PctDayRule,
    PctWindowRule, BarVolumeRule, DayVolumeRule, VolumeRatioRule, AllRule,
)  # fmt: skip


@cache
def _adapter() -> TypeAdapter[AlertRule]:
    return TypeAdapter(AnyRule)


def read_rule(fields: Mapping[str, Any]) -> AlertRule:
    """A rule from its fields. Raises pydantic's ValidationError."""
    return _adapter().validate_python(fields)
