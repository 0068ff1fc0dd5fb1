"""What can be wrong with the bars of an answer, and how it is told: the same to lists, tables, files and lakes.

* Rows that are no bars (PROTOCOL.md §5.1) are in no result. What they would have been nobody knows: a list with a hole
  is an error unless it was asked for so, and no lake takes one.
* Bars whose low and high do not enclose open and close are handed on as served; a lake keeps them in quarantine.
* Bars that open later than the server's own clock are in no result: no bar of the future is closed, and one at the end
  would make the forming one before it look as if it were.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.moments import utc

# What to make of rows that are no bars: an error, or fewer bars than were asked for.
Damaged = Literal["raise", "drop"]


class DamageWarning(UserWarning):
    """Bars of an answer are missing, or are not what bars should be; the message says how many and where."""


class DamagedRow(NamedTuple):
    """A row that is no bar, by where it lies: its own open (UTC seconds), or the bars that it came between.

    Its open is both `since` and `until` if it can be read, else those of its neighbours; infinite where it has none.
    """

    since: float
    until: float

    @property
    def own(self) -> float | None:
        """Its own open, if that can be read."""
        return self.since if self.since == self.until else None

    @property
    def place(self) -> float:
        """Where to count it among bars, by their opens."""
        if self.own is not None:
            return self.own
        return math.nextafter(self.since, math.inf) if math.isfinite(self.since) else _just_before(self.until)

    def is_in(self, start_s: float, end_s: float) -> bool:
        """True if it may belong to a half-open span of opens."""
        return (self.until > start_s if self.own is None else self.own >= start_s) and self.since < end_s

    def __str__(self) -> str:
        if self.own is not None:
            return f"at {utc(self.own).isoformat()}"
        sides = (("after", self.since), ("before", self.until))
        known = [f"{word} {utc(moment).isoformat()}" for word, moment in sides if math.isfinite(moment)]
        return " and ".join(known) or "at no known time"


def _just_before(moment: float) -> float:
    return math.nextafter(moment, -math.inf) if math.isfinite(moment) else -math.inf


def where(rows: Sequence[DamagedRow]) -> str:
    """Where rows that are no bars lie, for people."""
    if len(rows) < 2:
        return "".join(map(str, rows))
    return f"the first {min(rows)}, the last {max(rows)}"


def is_enclosed(
    opens: npt.NDArray[np.float64],
    highs: npt.NDArray[np.float64],
    lows: npt.NDArray[np.float64],
    closes: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """True for each bar whose low and high enclose its open and close."""
    enclosed: npt.NDArray[np.bool_] = (lows <= np.minimum(opens, closes)) & (highs >= np.maximum(opens, closes))
    return enclosed


def dropped(rows: Sequence[DamagedRow]) -> str:
    """What to say of rows that are no bars and were left out."""
    return f"{len(rows):,} rows of the answer were not bars and are left out, {where(rows)}"


def unenclosed(times: npt.NDArray[np.float64], enclosed: npt.NDArray[np.bool_]) -> str:
    """What to say of bars whose low and high do not enclose open and close; empty if all do."""
    at_fault = times[~enclosed]
    if not len(at_fault):
        return ""
    first = utc(float(at_fault[0])).isoformat()
    return f"{len(at_fault):,} bars have a low and high that do not enclose open and close, the first at {first}"


def ahead(opens: Sequence[float]) -> str:
    """What to say of bars of the future."""
    first = utc(opens[0]).isoformat()
    return f"{len(opens):,} bars are left out that open later than the server's clock, the first at {first}"


def check_damaged(damaged: str) -> None:
    """Raise ValueError unless this is one of the ways to go about damage."""
    if damaged not in get_args(Damaged):
        raise ValueError(f"damaged {damaged!r}: expected {' or '.join(map(repr, get_args(Damaged)))}")
