"""What may be so of a price or a volume: what arms it, what touches it, what holds at a close. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tv_etl.alerts.levels import MAX_BARS, Level, Reference, factor_of, read_level
from tv_etl.alerts.options import fail_at

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Above0 = Annotated[_Number, Field(gt=0)]
_BarCount = Annotated[int, Field(strict=True, ge=1, le=MAX_BARS)]


_Level = Annotated[
    Any,
    BeforeValidator(read_level),
    PlainSerializer(lambda level: str(level) if isinstance(level, Reference) else level),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": r"^(prev_close|last_alert|(high|low|sma)\([0-9]+\))$"},
                {
                    "type": "object",
                    "properties": {"of": {"type": "string"}, "pct": {"type": "number"}},
                    "required": ["of", "pct"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Touch(NamedTuple):
    """A level that was reached: the price of the trade, the level, and whether it was reached falling."""

    price: float
    level: float
    falling: bool


class Candle(Protocol):
    """The prices, or the volumes, of a bar."""

    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...


class Condition(_Model):
    """What may be so of a price or a volume. `levels` are given in the order of `targets`."""

    # It compares volumes, not prices.
    is_of_volume: ClassVar[bool] = False

    @property
    def targets(self) -> tuple[Level, ...]:
        """What is compared with: numbers, or what tells them."""
        raise NotImplementedError

    @property
    def margin(self) -> float:
        """How far beyond a level its far side begins."""
        return 0.0

    def armed_side(self, close: float, levels: Sequence[float]) -> bool | None:
        """The side a close arms: False for a rise to the level, True for a fall, None for neither."""
        raise NotImplementedError

    def touched(self, bar: Candle, levels: Sequence[float], falling: bool) -> Touch | None:
        """The touch of the armed level by a bar; None if there is none."""
        raise NotImplementedError

    def is_within(self, low: float, high: float, levels: Sequence[float], falling: bool | None) -> bool:
        """True if a price between these can fire what is armed (`falling`), or arm what is not (None)."""
        raise NotImplementedError

    def holds(self, close: float, levels: Sequence[float]) -> bool:
        """True if it is so at a close."""
        raise NotImplementedError


class LevelCondition(Condition):
    rises: ClassVar[bool] = False
    falls: ClassVar[bool] = False

    def armed_side(self, close: float, levels: Sequence[float]) -> bool | None:
        [level], margin = levels, self.margin
        if self.rises and (close <= level - margin if margin else close < level):
            return False
        if self.falls and (close >= level + margin if margin else close > level):
            return True
        return None

    def touched(self, bar: Candle, levels: Sequence[float], falling: bool) -> Touch | None:
        [level] = levels
        # Open and close count too: a bar whose high is below its close still proves a trade at its close.
        if falling:
            is_touched = bar.low <= level or bar.close <= level or bar.open <= level
        else:
            is_touched = bar.high >= level or bar.close >= level or bar.open >= level
        is_beyond = bar.open <= level if falling else bar.open >= level
        return Touch(bar.open if is_beyond else level, level, falling) if is_touched else None

    def is_within(self, low: float, high: float, levels: Sequence[float], falling: bool | None) -> bool:
        [level] = levels
        if falling is not None:
            return low <= level if falling else high >= level
        return (self.rises and low <= level - self.margin) or (self.falls and high >= level + self.margin)

    def holds(self, close: float, levels: Sequence[float]) -> bool:
        [level] = levels
        return (self.rises and close >= level) or (self.falls and close <= level)


class OneLevel(LevelCondition):
    level: _Level = Field(
        description="What to watch for: a price, prev_close, last_alert, high(n), low(n), sma(n), or one of these and "
        "some percent, e.g. {of: prev_close, pct: -3}."
    )

    @property
    def targets(self) -> tuple[Level, ...]:
        return (self.level,)


class _Channel(Condition):
    """A span of prices, its edges included."""

    low: _Level = Field(description="Lower edge of the channel: a price, or what a level may be.")
    high: _Level = Field(description="Upper edge of the channel.")

    @property
    def targets(self) -> tuple[Level, ...]:
        return (self.low, self.high)

    @model_validator(mode="after")
    def _check_edges(self) -> "_Channel":
        if isinstance(self.low, float) and isinstance(self.high, float) and self.low >= self.high:
            fail_at("high", f"{self.high:.10g} is not above low, {self.low:.10g}")
        return self


class Inside(_Channel):
    def armed_side(self, close: float, levels: Sequence[float]) -> bool | None:
        (low, high), margin = levels, self.margin
        if close <= low - margin if margin else close < low:
            return False
        if close >= high + margin if margin else close > high:
            return True
        return None

    def touched(self, bar: Candle, levels: Sequence[float], falling: bool) -> Touch | None:
        low, high = levels
        prices = (bar.open, bar.high, bar.low, bar.close)
        if min(prices) > high or max(prices) < low:
            return None
        edge = high if bar.open > high or (falling and bar.open >= low) else low
        return Touch(bar.open if low <= bar.open <= high else edge, edge, edge == high)

    def is_within(self, low: float, high: float, levels: Sequence[float], falling: bool | None) -> bool:
        lower, upper = levels
        if falling is not None:
            return low <= upper and high >= lower
        return low <= lower - self.margin or high >= upper + self.margin

    def holds(self, close: float, levels: Sequence[float]) -> bool:
        low, high = levels
        return low <= close <= high


class Outside(_Channel):
    def armed_side(self, close: float, levels: Sequence[float]) -> bool | None:
        (low, high), margin = levels, self.margin
        return False if low + margin <= close <= high - margin else None

    def touched(self, bar: Candle, levels: Sequence[float], falling: bool) -> Touch | None:
        low, high = levels
        if low <= bar.open <= high:
            prices = (bar.high, bar.low, bar.close)
            if low <= min(prices) and max(prices) <= high:
                return None
            # Which edge came first no bar tells where both were left; its close is the better guess.
            edge = low if bar.close < low or max(prices) <= high else high
            return Touch(edge, edge, edge == low)
        return Touch(bar.open, low if bar.open < low else high, bar.open < low)

    def is_within(self, low: float, high: float, levels: Sequence[float], falling: bool | None) -> bool:
        lower, upper = levels
        if falling is not None:
            return low < lower or high > upper
        return low <= upper - self.margin and high >= lower + self.margin

    def holds(self, close: float, levels: Sequence[float]) -> bool:
        low, high = levels
        return not low <= close <= high


class _Percent(LevelCondition):
    pct: _Number = Field(description="Percent above (5) or below (-5).")

    @field_validator("pct")
    @classmethod
    def _check_pct(cls, pct: float) -> float:
        if pct == 0 or pct <= -100:
            raise ValueError("expected a percentage above -100 that is not 0")
        return pct

    def armed_side(self, close: float, levels: Sequence[float]) -> bool | None:
        [level] = levels
        is_far = close < level if self.pct > 0 else close > level
        return self.pct < 0 if is_far else None

    def is_within(self, low: float, high: float, levels: Sequence[float], falling: bool | None) -> bool:
        [level] = levels
        if falling is not None:
            return low <= level if falling else high >= level
        return low <= level if self.pct > 0 else high >= level

    def holds(self, close: float, levels: Sequence[float]) -> bool:
        [level] = levels
        return close >= level if self.pct > 0 else close <= level


class PercentOfDay(_Percent):
    @property
    def targets(self) -> tuple[Level, ...]:
        return (Reference("prev_close", factor=factor_of(self.pct)),)


class PercentOfWindow(_Percent):
    bars: _BarCount = Field(description="How many bars back the price is compared with.")

    @property
    def targets(self) -> tuple[Level, ...]:
        return (Reference("close", self.bars, factor_of(self.pct)),)


class OfVolume(LevelCondition):
    is_of_volume: ClassVar[bool] = True
    rises: ClassVar[bool] = True
    volume: _Above0 = Field(description="The volume to reach.")

    @property
    def targets(self) -> tuple[Level, ...]:
        return (self.volume,)


class VolumeRatio(LevelCondition):
    is_of_volume: ClassVar[bool] = True
    rises: ClassVar[bool] = True
    ratio: _Above0 = Field(description="How many times the mean volume to reach.")
    bars: _BarCount = Field(default=20, description="Of how many bars before the mean is.")

    @property
    def targets(self) -> tuple[Level, ...]:
        return (Reference("mean_volume", self.bars, self.ratio),)


class AboveCondition(OneLevel):
    """The close is at the level or above."""

    rises: ClassVar[bool] = True
    kind: Literal["above"]


class BelowCondition(OneLevel):
    """The close is at the level or below."""

    falls: ClassVar[bool] = True
    kind: Literal["below"]


class InsideCondition(Inside):
    """The close is inside the channel."""

    kind: Literal["enter_channel"]


class OutsideCondition(Outside):
    """The close is outside the channel."""

    kind: Literal["exit_channel"]


class PctDayCondition(PercentOfDay):
    """The close is so many percent above or below that of the day before."""

    kind: Literal["pct_day"]


class PctWindowCondition(PercentOfWindow):
    """The close is so many percent above or below that of so many bars before."""

    kind: Literal["pct_window"]


class BarVolumeCondition(OfVolume):
    """The bar has so much volume."""

    kind: Literal["bar_volume"]


class VolumeRatioCondition(VolumeRatio):
    """The bar has so many times the mean volume of those before it."""

    kind: Literal["volume_ratio"]


AnyCondition = Annotated[
    AboveCondition
    | BelowCondition
    | InsideCondition
    | OutsideCondition
    | PctDayCondition
    | PctWindowCondition
    | BarVolumeCondition
    | VolumeRatioCondition,
    Field(discriminator="kind"),
]
