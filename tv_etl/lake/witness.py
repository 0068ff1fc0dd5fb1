"""A second witness, who knows nothing of joins: where prices step by nearly a split's ratio, for no reason; pure.

A step between two neighbouring bars is a reason to look if all of this is true: it is nearly one of the ratios that
splits have; the bars around it hardly move in comparison; the new level stays; and volumes step by the inverse, as far
as there are any. A crash, an earnings gap or a memecoin's day fails at one of these.
"""

from typing import NamedTuple

import numpy as np

from tv_etl.lake.bars import Bars, Values

RATIOS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 3 / 2, 4 / 3, 5 / 2, 5 / 4)

_AROUND = 30  # bars on either side that show how much the market moves
_LEAST_AROUND = 8
_CALM = 12.0  # the step in widths of what the market moves from bar to bar
_NEARLY = 1.5  # how many usual gaps between two bars a step may be from a split's ratio
_VOLUME = 1.4  # by how much medians of volumes may miss the inverse ratio


class Step(NamedTuple):
    """From the bar that opens at `time` (UTC seconds) on prices are nearly × `ratio` what they were."""

    time: int
    before: float
    after: float
    ratio: float


def suspicious_steps(bars: Bars) -> list[Step]:
    """The steps of a series that look like a split which was not applied to one side, oldest first."""
    opens, _, lows, closes = bars.values[:4]
    if len(bars) < 2 * _LEAST_AROUND or (lows <= 0).any():
        return []
    moves = np.log(opens[1:] / closes[:-1])
    ratios = np.log(np.array([*RATIOS, *(1 / ratio for ratio in RATIOS)]))
    nearest = ratios[np.argmin(np.abs(moves[:, None] - ratios[None, :]), axis=1)]
    # Steps far from any split are most of all: what is left is looked at one by one.
    places = np.flatnonzero(np.abs(moves - nearest) < 0.1)
    found = []
    for place in places.tolist():
        if _is_unexplained(bars, place + 1, float(moves[place]), float(nearest[place])):
            before, after = float(closes[place]), float(opens[place + 1])
            found.append(Step(int(bars.times[place + 1]), before, after, float(np.exp(nearest[place]))))
    return found


def _is_unexplained(bars: Bars, at: int, move: float, split: float) -> bool:
    """True if the step between the bars `at` - 1 and `at` is nearly a split and nothing that the market did."""
    before, after = slice(max(0, at - _AROUND), at), slice(at, at + _AROUND)
    if len(bars.times[before]) < _LEAST_AROUND or len(bars.times[after]) < _LEAST_AROUND:
        return False
    ranges, gaps = zip(*(_usual_moves(bars.values[:, side]) for side in (before, after)), strict=True)
    if abs(move) < _CALM * max(*ranges, *gaps) or abs(move - split) > _NEARLY * max(gaps) + 0.002:
        return False
    levels = np.log(np.median(bars.values[3, after]) / np.median(bars.values[3, before]))
    if abs(levels - split) > 0.3 * abs(split):
        return False
    return _volumes_step(bars, before, after, split)


def _usual_moves(values: Values) -> tuple[float, float]:
    """How much the market moves within a bar and between two: what nine in ten of them stay below."""
    opens, highs, lows, closes = values[:4]
    gaps = np.abs(np.log(opens[1:] / closes[:-1]))
    return float(np.quantile(np.log(highs / lows), 0.9)) + 1e-4, float(np.quantile(gaps, 0.9)) + 1e-4


def _volumes_step(bars: Bars, before: slice, after: slice, split: float) -> bool:
    """False if volumes are known and do not step by the inverse ratio."""
    sides = [bars.values[4, side][bars.has_volume[side] & (bars.values[4, side] > 0)] for side in (before, after)]
    if min(map(len, sides)) < _LEAST_AROUND:
        return True
    step = float(np.log(np.median(sides[1]) / np.median(sides[0])))
    return bool(abs(step + split) < np.log(_VOLUME))
