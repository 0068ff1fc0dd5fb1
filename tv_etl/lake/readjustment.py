"""What differs between the stored bars and those fetched again: revisions of single bars, or another adjustment; pure.

Theory of operation
===================

After a split or a dividend the server serves all bars before it with other prices, and says so nowhere. The older end
of the overlap then differs by one constant ratio, new = old × r. When a back-adjusted future goes on with its next
contract, it differs by one constant amount, new = old + s (tradingview.com/support/solutions/43000685266). From there
on no old bar may stand beside a new one: whoever stores the fetched bars rescales what is older than they are.
Differences of any other kind are revisions, bar by bar.

The difficulty is rounding. The server rounds adjusted prices to some tick, so r is not new / old of any one price, and
a ratio that is only nearly right is wrong by more the higher the older prices are. Hence:

* The estimate is the least-squares ratio of all prices of the sample, Σ old·new / Σ old². Its error shrinks with the
  number of prices, and the highest, whose rounding matters least, count most.
* A split's ratio is a fraction of small numbers. Of the fractions near the estimate the plainest that explains every
  price is taken, before the estimate itself: 1/4 is exact where 0.2500013 is not.
* To explain a price is to be within its rounding: half a tick of the new price, and half a tick of the old one times r.
  The tick is what the prices are multiples of, as far as one sees.
* Too few bars, or too few distinct prices, explain anything: three bars at one price fit any ratio. MIN_BARS and
  MIN_PRICES say what is enough; below that nothing is re-adjusted.

The oldest bars decide. A split leaves the bars after its day as they were, so an overlap may agree at its newer end
and differ at its older one; the sample starts with the oldest 50 bars and is halved until a ratio explains all of it,
since the stretch before the split may be short. `until` is then the first bar to which the ratio does not apply.
Volumes change by 1/r with a split and not at all with a dividend; the median of their ratios tells which, as small
volumes move far when they are rounded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tv_etl.lake.bars import Bars, Mask, Values

# Fewer bars may differ by one ratio by chance: a revised bar whose four prices are one, or two of them.
MIN_BARS = 3
MIN_PRICES = 4

_SAMPLE_BARS = 50
_MAX_DECIMALS = 10
_LARGEST_TICK = 0.01  # of the price, or 1: equal integer prices would else look like one huge tick
_DENOMINATORS = (10, 100, 1_000)  # of split ratios, the plainest first
_VOLUME_TOLERANCE = 0.01  # volumes are whole numbers, and small ones move far when rounded


@dataclass(frozen=True)
class Readjustment:
    """All prices before `until` (UTC seconds) became × `ratio` + `shift`, all volumes × `volume_ratio`.

    A split four for one has the ratio 0.25 and the volume ratio 4; a dividend leaves volumes as they are. The older
    contracts of a future are moved, with the ratio 1.
    """

    ratio: float
    volume_ratio: float
    until: int
    decimals: int  # to which the server rounds the adjusted prices
    shift: float = 0.0

    def __str__(self) -> str:
        """E.g. `× 0.25 (volume × 4) before 2026-11-02 14:30Z`."""
        until = f"before {datetime.fromtimestamp(self.until, tz=timezone.utc):%Y-%m-%d %H:%M}Z"
        if self.shift:
            return f"{self.shift:+.10g} {until}"
        return f"× {self.ratio:.6g} (volume × {self.volume_ratio:.6g}) {until}"

    def rescale(self, bars: Bars) -> Bars:
        """The bars from `until` on unchanged, those before as the server would serve them now."""
        old = bars.between(None, self.until)
        values = bars.values.copy()
        values[:4, : len(old)] = np.round(old.values[:4] * self.ratio + self.shift, self.decimals)
        values[4, : len(old)] = old.values[4] * self.volume_ratio
        return Bars(bars.times, values, bars.has_volume)


def find_readjustment(stored: Bars, fetched: Bars, *, is_backadjusted: bool = False) -> Readjustment | None:
    """How the history was re-adjusted between two fetches of the same bars; None if it was not.

    The oldest bars decide: they must differ by one ratio, to the rounding of their prices, or where the contracts of a
    future are back-adjusted by one amount; over a short stretch the one looks like the other. `until` is the first bar
    to which it does not apply, as far as one sees: after the overlap it is the next bar fetched. Where the history was
    re-adjusted more than once, the bars between count as revised.
    """
    old, new = overlap(stored, fetched)
    if not len(old) or not _differs(old, new)[0]:
        return None
    sample = min(len(old), _SAMPLE_BARS)
    # The stretch with the oldest bar's ratio may be shorter than a sample.
    while sample >= MIN_BARS:
        before, after = old.values[:4, :sample], new.values[:4, :sample]
        ratio, shift = (1.0, _shift_of(before, after)) if is_backadjusted else (_ratio_of(before, after), 0.0)
        if ratio is not None and shift is not None:
            return _extent(old, new, ratio, shift, fetched)
        sample //= 2
    return None


def agrees_at_start(stored: Bars, fetched: Bars) -> bool:
    """True if the oldest bar of the overlap is the same in both, or there is no overlap.

    Where it differs, bars older than the fetched ones may differ as well.
    """
    old, new = overlap(stored, fetched)
    return not len(old) or not bool(_differs(old, new)[0])


def differs(stored: Bars, fetched: Bars) -> bool:
    """True if any bar of the overlap is not the same in both."""
    return bool(_differs(*overlap(stored, fetched)).any())


def overlap(stored: Bars, fetched: Bars) -> tuple[Bars, Bars]:
    """The bars whose times both have, in their stored and their fetched version."""
    position = np.searchsorted(stored.times, fetched.times)
    both = position < len(stored)
    both[both] = stored.times[position[both]] == fetched.times[both]
    return stored.take(position[both]), fetched.take(both)


def revised(stored: Bars, fetched: Bars, readjustment: Readjustment | None) -> tuple[Bars, Bars]:
    """The bars of the overlap that were revised, old and new; what a re-adjustment explains is no revision."""
    old, new = overlap(stored, fetched)
    is_other = _differs(old, new)
    if readjustment is not None:
        fits = _fits(old.values[:4], new.values[:4], readjustment.ratio, readjustment.shift)
        is_other &= ~(fits & (old.times < readjustment.until))
    return old.take(is_other), new.take(is_other)


def _differs(old: Bars, new: Bars) -> Mask:
    is_other = np.vstack([old.values != new.values, old.has_volume != new.has_volume])
    return np.asarray(is_other.any(axis=0))


def _ratio_of(old: Values, new: Values) -> float | None:
    """The one ratio of all prices, None if there is none, if it is 1, or if they are too few to tell."""
    if len(np.unique(old)) < MIN_PRICES or not np.any(old) or _fits(old, new, 1.0).all():
        return None
    ratio = float(np.vdot(old, new) / np.vdot(old, old))
    if not math.isfinite(ratio) or ratio <= 0:
        return None
    for candidate in (*_plain_ratios(ratio), ratio):
        if _fits(old, new, candidate).all():
            return candidate
    return None


def _shift_of(old: Values, new: Values) -> float | None:
    """The one amount by which all prices moved, None if there is none, or if they are too few to tell."""
    shift = float(np.round(np.median(new - old), max(_decimals(old), _decimals(new))))
    is_plain = len(np.unique(old)) >= MIN_PRICES and shift != 0.0
    return shift if is_plain and _fits(old, new, 1.0, shift).all() else None


def _plain_ratios(ratio: float) -> Iterator[float]:
    """Ratios of small numbers nearby, as splits have them: 1/4, 3/2, 1/50."""
    for limit in _DENOMINATORS:
        yield float(Fraction(ratio).limit_denominator(limit))
        if inverse := Fraction(1 / ratio).limit_denominator(limit):
            yield float(1 / inverse)


def _extent(old: Bars, new: Bars, ratio: float, shift: float, fetched: Bars) -> Readjustment:
    fits = _fits(old.values[:4], new.values[:4], ratio, shift)
    # After the day of a split bars are as they were: the last one that is not, and fits, was the last before it. Those
    # that do not fit were revised beside.
    end = int(np.flatnonzero(fits & _differs(old, new))[-1]) + 1
    last = int(old.times[-1])
    beyond = fetched.between(last + 1, None).times[:1].tolist() or [last + 1]
    until = int(old.times[end]) if end < len(fits) else int(beyond[0])
    before, after = old.take(fits & (old.times < until)), new.take(fits & (old.times < until))
    exact = before.values[:4] * ratio + shift
    is_rounded = not np.allclose(exact, after.values[:4], rtol=1e-12, atol=0)
    decimals = _decimals(after.values[:4]) if is_rounded else _MAX_DECIMALS
    return Readjustment(ratio, _volume_ratio(before, after, ratio), until, decimals, shift)


def _volume_ratio(old: Bars, new: Bars, ratio: float) -> float:
    traded = old.has_volume & new.has_volume & (old.values[4] > 0) & (new.values[4] > 0)
    if not traded.any():
        return 1.0
    change = float(np.median(new.values[4, traded] / old.values[4, traded]))
    return 1 / ratio if abs(change * ratio - 1) < min(_VOLUME_TOLERANCE, abs(change - 1)) else 1.0


def _fits(old: Values, new: Values, ratio: float, shift: float = 0.0) -> Mask:
    """True for each bar whose new prices are the old ones times the ratio, to the rounding of both, or moved."""
    # The difference of two prices is itself one that needs no rounding.
    rounding = 1e-9 if shift else (_tick(new) + _tick(old) * ratio) / 2
    return np.asarray((np.abs(new - old * ratio - shift) <= rounding + 1e-9 * np.abs(new)).all(axis=0))


def _tick(prices: Values) -> npt.NDArray[np.float64]:
    """What the prices are multiples of, as far as one sees."""
    decimals = _decimals(prices)
    if decimals:
        return np.full(prices.shape, 10.0**-decimals)
    whole = max(float(np.gcd.reduce(np.abs(prices).astype(np.int64), axis=None)), 1.0)
    return np.minimum(whole, np.maximum(1.0, _LARGEST_TICK * np.abs(prices)))


def _decimals(prices: Values) -> int:
    """The digits behind the point that the prices use."""
    for decimals in range(_MAX_DECIMALS):
        if np.allclose(np.round(prices, decimals), prices, rtol=1e-13, atol=0):
            return decimals
    return _MAX_DECIMALS
