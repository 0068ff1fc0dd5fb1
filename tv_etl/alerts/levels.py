"""What a rule's price is compared with: a number, or what closed bars say of one.

A reference is read from text, never computed from an expression. Pure.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Literal, NamedTuple

ReferenceName = Literal["prev_close", "last_alert", "high", "low", "sma", "close", "mean_volume"]

MAX_BARS = 1_000
DAY_INTERVAL = "1d"
_FORMS = "a number, prev_close, last_alert, high(n), low(n), sma(n), or {of: prev_close, pct: 5}"
_TEXT = re.compile(r"(?P<name>prev_close|last_alert)|(?P<of_bars>high|low|sma)\((?P<bars>[1-9][0-9]{0,3})\)")
_SHOWN = {"close": "the close of {} bars before", "mean_volume": "the mean volume of {} bars"}


@dataclass(frozen=True)
class Reference:
    """What closed bars tell: `name` of the newest `bars` of them, times `factor`.

    It is fixed for as long as a bar forms: what has closed before that bar began is what counts. `last_alert` is the
    close at which the rule last told something, or at which it began.
    """

    name: ReferenceName
    bars: int = 1
    factor: float = 1.0

    @property
    def is_of_bars(self) -> bool:
        """False for what the rule itself remembers."""
        return self.name != "last_alert"

    @property
    def interval(self) -> str:
        """The interval of its bars, if that is not the rule's."""
        return DAY_INTERVAL if self.name == "prev_close" else ""

    def of(self, value: float) -> float:
        """The level, from what the bars or the rule say."""
        return value * self.factor

    def __str__(self) -> str:
        text = self.name if self.name in ("prev_close", "last_alert") else f"{self.name}({self.bars})"
        text = _SHOWN.get(self.name, text).format(self.bars)
        if self.name == "mean_volume":
            return f"{self.factor:.10g} times {text}"
        return text if self.factor == 1 else f"{text} {100 * (self.factor - 1):+.10g} %"


Level = float | Reference


def read_level(value: Any) -> Level:
    """A level as written in the watchlist. Raises ValueError."""
    if isinstance(value, Reference):
        return value
    if isinstance(value, dict):
        return _read_mapping(value)
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {_FORMS}, not {value!r}")
    try:
        number = float(value) + 0.0  # -0.0 and 0.0 are one level
    except OverflowError:
        number = float("inf")
    if number - number != 0:
        raise ValueError(f"expected a finite number, not {value!r}")
    return number


def _read_text(text: str) -> Reference:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected {_FORMS}, not {text!r}")
    if match["name"]:
        return Reference("prev_close" if match["name"] == "prev_close" else "last_alert")
    bars = int(match["bars"])
    if bars > MAX_BARS:
        raise ValueError(f"{text}: {MAX_BARS:,} bars at most")
    names: dict[str, ReferenceName] = {"high": "high", "low": "low", "sma": "sma"}
    return Reference(names[match["of_bars"]], bars)


def _read_mapping(value: dict[Any, Any]) -> Reference:
    if set(value) != {"of", "pct"} or not isinstance(value["of"], str):
        raise ValueError(f"expected {_FORMS}, not {value!r}")
    pct = read_level(value["pct"])
    if isinstance(pct, Reference) or not pct > -100 or abs(pct) > 1_000_000:
        raise ValueError(f"pct: expected a number of percent above -100, not {value['pct']!r}")
    found = _read_text(value["of"])
    return Reference(found.name, found.bars, factor_of(pct))


def factor_of(pct: float) -> float:
    """By what a price is multiplied to be so many percent higher."""
    return 1 + pct / 100


# --- bars


@dataclass(frozen=True)
class Bar:
    """A bar, stamped at its open in UTC seconds; it ends `width_s` later."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    width_s: int
    volume: float | None = None

    @property
    def ends_at(self) -> int:
        return self.timestamp + self.width_s


class Step(NamedTuple):
    """What bars say at a moment, and from when until when nothing can change it.

    `value` is None where there are too few bars, or one of them has not what is asked for. `after` is the open of the
    last bar before: it tells one step from another, whatever else is known.
    """

    value: float | None
    after: int
    begins_at: int
    until: int


@dataclass(frozen=True)
class ClosedBars:
    """The bars of a symbol at an interval, ascending: those that are final, and those that are not yet.

    Every bar that opened before `known_until` and is final is among the final ones, back to the first. `next_opens` are
    when the two bars after the newest of all may open at the earliest.
    """

    final: Sequence[Bar]
    young: Sequence[Bar]
    known_until: int
    next_opens: tuple[int, int]

    def step(self, reference: Reference, moment: int) -> Step | None:
        """What the reference is at a moment: by the bars before the one that the moment lies in.

        None where that is not known yet: a bar that must be among them may not be final, or not be here.
        """
        opens = self._opens
        place = bisect_right(opens, moment, hi=len(opens) - 1) - 1
        is_unknown = place == len(opens) - 2 and moment >= opens[-1]
        if is_unknown or place > len(self.final):
            return None
        begins_at = opens[place] if place >= 0 else moment
        after = self.final[place - 1].timestamp if place > 0 else 0
        return Step(_value(reference, self.final, max(place, 0)), after, begins_at, opens[place + 1])

    @cached_property
    def _opens(self) -> list[int]:
        """When each bar opens, and the next two may."""
        return [*(bar.timestamp for bar in (*self.final, *self.young)), *self.next_opens]

    def after(self, moment: int) -> list[Bar]:
        """The final bars that open later."""
        return [bar for bar in self.final if bar.timestamp > moment]


_VALUES: dict[ReferenceName, Callable[[Sequence[Bar]], float | None]] = {
    "prev_close": lambda bars: bars[-1].close,
    "high": lambda bars: max(bar.high for bar in bars),
    "low": lambda bars: min(bar.low for bar in bars),
    "sma": lambda bars: fmean(bar.close for bar in bars),
    "close": lambda bars: bars[0].close,
    "mean_volume": lambda bars: _mean_volume(bars),
}


def _mean_volume(bars: Sequence[Bar]) -> float | None:
    volumes = [bar.volume for bar in bars if bar.volume is not None]
    return fmean(volumes) if len(volumes) == len(bars) else None


def _value(reference: Reference, bars: Sequence[Bar], place: int) -> float | None:
    """Of the bars before a place."""
    if place < reference.bars:
        return None
    value = _VALUES[reference.name](bars[place - reference.bars : place])
    # A percentage of what is not above zero says nothing.
    return None if value is None or (reference.factor != 1 and value <= 0) else reference.of(value)
