"""How an exchange writes a price: in decimals or, of bonds and grains, in fractions such as 112'00'5."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_DECIMALS = 12
_MOST_PARTS = 10**MAX_DECIMALS


@dataclass(frozen=True)
class PriceFormat:
    """Prices are multiples of `1 / scale`; written as fractions of which `parts` make a whole, if there are any.

    Of parts that are divided further (`scale` is a multiple of `parts`) a third number counts the divisions as a
    decimal fraction: a half of a 32nd is 5, a quarter 25.
    """

    scale: int = 100
    parts: int = 0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "PriceFormat":
        """As `pricescale`, `minmove2` and `fractional` of a quote or a symbol say; hundredths where they make no sense.

        Source: the symbology of TradingView's charting library.
        """
        scale, divisions = _whole(fields.get("pricescale")), _whole(fields.get("minmove2"))
        if scale is None:
            return cls()
        if fields.get("fractional") not in (True, "true"):
            return cls(scale)
        return cls(scale, scale // divisions if divisions is not None and scale % divisions == 0 else scale)

    def write(self, price: float, sign: str = "") -> str:
        """E.g. 1,234.50, 112'15 or 112'00'5; with the sign "+" a plus stands before what is not negative."""
        if not self.parts or not math.isfinite(price):
            return f"{price:{sign},.{self.decimals}f}"
        ticks = round(abs(price) * self.scale)
        whole, ticks = divmod(ticks, self.scale)
        divisions = self.scale // self.parts
        part, division = divmod(ticks, divisions)
        written = f"{whole:,}'{part:0{len(str(self.parts - 1))}d}"
        if divisions > 1:
            written += f"'{_decimals_of(Fraction(division, divisions))}"
        return ("-" if price < 0 else sign) + written

    @property
    def decimals(self) -> int:
        """The digits behind the point that the smallest step needs, as far as it has an end: 2 for 100, 6 for 64."""
        rest, twos, fives = self.scale, 0, 0
        while rest % 2 == 0:
            rest, twos = rest // 2, twos + 1
        while rest % 5 == 0:
            rest, fives = rest // 5, fives + 1
        endless = math.ceil(math.log10(self.scale)) if rest > 1 else 0
        return min(max(twos, fives, endless), MAX_DECIMALS)


HUNDREDTHS = PriceFormat()


def _decimals_of(fraction: Fraction) -> str:
    text = f"{float(fraction):.4f}".removeprefix("0.").rstrip("0")
    return text or "0"


def _whole(value: object) -> int | None:
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= _MOST_PARTS
    return int(value) if is_whole and isinstance(value, int | float) and value == int(value) else None
