"""Series without a cadence: figures that are published, not traded, and of which trading hours tell nothing; pure.

A point of them is stamped with the time that it is of, and served some time after it: the price index of a month in the
middle of the next one. Which points there must be nobody says; how far apart they are, the newest ones tell themselves.
"""

from dataclasses import dataclass

import numpy as np

from tv_etl.lake.bars import Times
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval

RHYTHM_POINTS = 60  # the newest, which tell the rhythm

_PUBLISHED = frozenset({"economic", "fundamental"})  # as TradingView calls the types of such symbols
_LEAST_POINTS = 8
# A month's figure that comes two months later is four months old when the next one comes; one may be left out.
_LATE_DISTANCES = 5
_LATE_PAUSES = 2
_LEAST_LATE_S = 14 * 86_400  # the longest closure of a market: figures of every day pause with it
_DAY_S = 86_400


def has_cadence(kind: str, data_frequency: str, interval: Interval) -> bool:
    """True if trading hours tell which bars of an interval there must be.

    They do not where the symbol is of a type that is published, and not traded; nor where the server says that data
    come less often (`1M`) than the interval wants bars. What it does not say, or says in another way, tells nothing.
    """
    if kind in _PUBLISHED:
        return False
    try:
        return not data_frequency or Interval.parse(data_frequency).seconds <= interval.seconds
    except IntervalError:
        return True


@dataclass(frozen=True)
class Rhythm:
    """How far apart the newest points are, in seconds: as a rule, and at most."""

    usual_s: int
    longest_s: int

    @classmethod
    def of(cls, times: Times) -> "Rhythm | None":
        """That of the newest of some points, ascending; None where they are too few to tell."""
        if len(times) < _LEAST_POINTS:
            return None
        distances = np.diff(times[-RHYTHM_POINTS:])
        return cls(int(np.median(distances)), int(distances.max()))

    @property
    def late_after_s(self) -> int:
        """How old the newest point may be: several times the usual distance, and more than any pause of before."""
        return max(_LATE_DISTANCES * self.usual_s, _LATE_PAUSES * self.longest_s, _LEAST_LATE_S)

    def __str__(self) -> str:
        """E.g. `30 days`, the usual distance."""
        days = self.usual_s / _DAY_S
        return "a day" if days == 1 else f"{days:.3g} days"
