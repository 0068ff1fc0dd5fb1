"""What to watch for, as written in the watchlist; how a rule is judged is `fold`'s."""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from tv_etl.tradingview.symbols import check_symbol

Kind = Literal["above", "below", "cross_up", "cross_down", "cross"]

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
        return digest(parts, size=8)

    @property
    def is_armed_at_creation(self) -> bool:
        """True if the rule fires at once where the price is already there."""
        return self.kind in ("above", "below")

    def has_expired(self, minute: int) -> bool:
        """True if nothing is reported any more for a minute that opens then."""
        return self.expires_at is not None and minute >= self.expires_at.timestamp()


def digest(parts: Iterable[object], size: int) -> str:
    """A hash of values that JSON can hold, `size` bytes in hex."""
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=size).hexdigest()
