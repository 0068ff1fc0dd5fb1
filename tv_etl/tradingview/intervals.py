"""Bar widths, in TradingView's spelling and in the unambiguous one that paths and partition keys use.

| width     | TradingView (`wire`) | ours (`token`) |
|-----------|----------------------|----------------|
| 10 seconds| `10S`                | `10s`          |
| 5 minutes | `5`                  | `5m`           |
| 4 hours   | `240`                | `4h`           |
| a day     | `1D`                 | `1d`           |
| a week    | `1W`                 | `1w`           |
| a month   | `1M`                 | `1mo`          |
| 100 ticks | `100T`               | `100t`         |
| range 10  | `10R`                | `10r`          |
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from tv_etl.tradingview.errors import IntervalError

Unit = Literal["s", "m", "d", "w", "mo", "t", "r"]

_SPELLINGS = re.compile(r"(?P<count>[1-9][0-9]{0,3})?(?P<unit>mo|[smhdwtrSHDWMTR])?")
_UNITS: dict[str, Unit] = {
    "s": "s", "S": "s", "m": "m", "M": "mo", "mo": "mo", "d": "d", "D": "d",
    "w": "w", "W": "w", "t": "t", "T": "t", "r": "r", "R": "r",
}  # fmt: skip
_WIRE_SUFFIX: dict[Unit, str] = {"s": "S", "m": "", "d": "D", "w": "W", "mo": "M", "t": "T", "r": "R"}
_SECONDS: dict[Unit, int] = {"s": 1, "m": 60, "d": 86_400, "w": 604_800, "mo": 30 * 86_400}
_BARE_UNITS = frozenset("SDWM")  # TradingView also writes `D` for `1D`


@dataclass(frozen=True)
class Interval:
    """A bar width; equal widths compare equal however they were spelled.

    `count` is in `unit`: seconds `s`, minutes `m` (hours are 60 of them), days `d`, weeks `w`,
    months `mo`, ticks `t`, range ticks `r`.
    """

    count: int
    unit: Unit

    @classmethod
    def parse(cls, text: "str | Interval") -> "Interval":
        """Read either spelling; `1M` is a month and `1m` a minute.

        Raises IntervalError for any other form. Whether an account may have the interval is for the
        server to say.
        """
        if isinstance(text, Interval):
            return text
        match = _SPELLINGS.fullmatch(text) if isinstance(text, str) else None
        if match is None or not text:
            raise IntervalError(str(text), "expected e.g. 1m 5m 1h 4h 1d 1w 1mo, or TradingView's 1 5 60 1D 1M")
        unit = match["unit"] or "m"
        if match["count"] is None and unit not in _BARE_UNITS:
            raise IntervalError(text, f"the number before {unit!r} is missing")
        count = int(match["count"] or 1)
        return cls(count * 60, "m") if unit in "hH" else cls(count, _UNITS[unit])

    @property
    def wire(self) -> str:
        """TradingView's spelling."""
        return f"{self.count}{_WIRE_SUFFIX[self.unit]}"

    @property
    def token(self) -> str:
        """Our spelling: safe in paths on every file system and in partition keys."""
        if self.unit == "m" and self.count % 60 == 0:
            return f"{self.count // 60}h"
        return f"{self.count}{self.unit}"

    @property
    def is_time_based(self) -> bool:
        """False for tick and range bars, whose width is not a time."""
        return self.unit in _SECONDS

    @property
    def is_intraday(self) -> bool:
        """True below a day, where bars are stamped inside trading hours."""
        return self.unit in ("s", "m")

    @property
    def seconds(self) -> int:
        """Width in seconds; a month counts as 30 days. Raises IntervalError for tick and range bars."""
        if self.unit not in _SECONDS:
            raise IntervalError(self.token, "tick and range bars have no fixed width in time")
        return self.count * _SECONDS[self.unit]

    @property
    def longest_s(self) -> float:
        """How long a bar may last, in seconds: a month up to 31 days, a tick or range bar until the next one (inf)."""
        if not self.is_time_based:
            return math.inf
        return self.count * 31 * 86_400 if self.unit == "mo" else self.seconds

    def __str__(self) -> str:
        return self.token
