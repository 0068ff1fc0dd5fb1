"""What differs between the stored bars and those fetched again: revisions of single bars, or another adjustment; pure.

Theory of operation
===================

After a split or a dividend the server serves all bars before it with other prices, and says so nowhere. The older end
of the overlap then differs by one constant ratio, new = old × r. When a back-adjusted future goes on with its next
contract, it differs by one constant amount, new = old + s (tradingview.com/support/solutions/43000685266). From there
on no old bar may stand beside a new one: whoever stores the fetched bars rescales what is older than they are.
Differences of any other kind are revisions, bar by bar.

The difficulty is rounding. The server rounds adjusted prices to some tick, so r is not new / old of any one price, and
a ratio that is only nearly right is wrong by more the higher the older prices are. Hence intervals:

* Each price allows a range of ratios: what maps the old price, give or take half its tick, onto the new one, give or
  take half of its. A bar allows what all four of its prices do. The ratio lies in the range that most bars of the
  stretch allow; a bar that does not was revised beside, wherever it lies. The range shrinks with the number of bars,
  and is the error bound.
* Volumes tell apart what prices cannot. A split changes them by its own ratio, a fraction of whole numbers, and a
  dividend not at all. So a range of volume ratios without 1 in it is a split: the plainest fraction in it is exact, and
  if the prices allow its inverse, that is their ratio, exact as well. If they do not, a dividend went with the split.
* A ratio that is not exact counts only if it is known so well that the highest of the older prices comes out within a
  part of its rounding. Otherwise it is not known: nothing is scaled on doubt.

The oldest bars decide. A split leaves the bars after its day as they were, so an overlap may agree at its newer end
and differ at its older one: the longest stretch from the oldest bar on is taken that one ratio explains, but for a few
bars. `until` is then the first bar to which the ratio does not apply. One or two bars differ by one ratio by chance;
MIN_BARS is the least that prove anything.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tv_etl.lake.bars import Bars, Mask, Values

# Fewer bars may differ by one ratio by chance: a revised bar whose four prices are one, or two of them.
MIN_BARS = 3
MIN_PRICES = 4  # or as many bars

_SHARED = 0.6  # of the bars in question: so many have a value in common
_EXPLAINED = 0.8  # of a stretch; the others were revised beside
_MAX_DECIMALS = 10
_LARGEST_TICK = 0.05  # of the price: prices that are few look like multiples of a huge tick
_PLAIN = 1_000  # numerator and denominator of a split at most
_SHARE = 0.5  # of an older price's rounding, by which an inexact ratio may be wrong
_SLACK = 1e-9
_HARDLY = 4
_ROUNDED = 0.29  # ticks, the deviation of a number that was rounded
_DEVIATIONS = 3.0
_VAGUE = 0.02
_TOO_COARSE = 0.5  # of a ratio, what a bar allows: whole prices of one and two are explained by nearly any
_MANY = 20
# A ratio as far from 1 as no dividend: where volumes are too small to tell, it is a split.
_NO_DIVIDEND = 0.2
_CHANCE = 0.05
_NO_GAIN = 0.005


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


@dataclass(frozen=True)
class Unproven:
    """The scale of the older bars is not known; `reason` says what is known of it."""

    reason: str


def find_readjustment(
    stored: Bars,
    fetched: Bars,
    *,
    highest_older: Callable[[], float] = lambda: 0.0,
    is_backadjusted: bool = False,
    has_dividends: bool = False,
) -> Readjustment | Unproven | None:
    """How the history was re-adjusted between two fetches of the same bars; None if it was not.

    The oldest bars decide: they must agree, or differ by one ratio, or where the contracts of a future are
    back-adjusted by one amount; over a short stretch the one looks like the other. `until` is the first bar to which it
    does not apply, as far as one sees: after the overlap it is the next bar fetched. Where the history was re-adjusted
    more than once, the bars between count as revised. `highest_older` tells the highest price of the stored bars
    before, which must come out right; it is called only where that matters. Prices adjusted for dividends as well
    (`has_dividends`) differ by ratios that no volume tells.
    """
    old, new = overlap(stored, fetched)
    if not len(old):
        return Unproven("no bar is both stored and served")
    is_same = np.asarray((old.values[:4] == new.values[:4]).all(axis=0))
    if is_same.all():
        return None
    identity = 0.0 if is_backadjusted else 1.0
    allowed = _allowed_shifts(old, new) if is_backadjusted else _allowed_ratios(old, new)
    stretch = _oldest_stretch(allowed, is_same, identity)
    if stretch is None:
        return Unproven("the bars that both have differ, and by no one ratio")
    if stretch.low <= identity <= stretch.high:
        if _is_identity(old, new, is_same, stretch, highest_older):
            return None
        return Unproven("the prices that both have are too few or too coarse to tell a ratio")
    if is_backadjusted:
        shift = float(
            np.round((stretch.low + stretch.high) / 2, max(_decimals(old.values[:4]), _decimals(new.values[:4])))
        )
        return _extent(old, new, _Scale(1.0, 1.0, shift), stretch, fetched)
    stretch = _narrowed(stretch, old, _allowed_ratios(old, new, is_old_exact=True))
    inside = old.take(stretch.fits), new.take(stretch.fits)
    scale = _scale(*inside, stretch, highest_older, has_dividends)
    if isinstance(scale, _Scale) and not _is_likely(*inside, scale):
        scale = Unproven(f"the bars that both have differ by × {scale.ratio:.8g}, but not on the mean")
    return scale if isinstance(scale, Unproven) else _extent(old, new, scale, stretch, fetched)


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


def _is_identity(old: Bars, new: Bars, is_same: Mask, stretch: "_Stretch", highest_older: Callable[[], float]) -> bool:
    """True if the oldest bars agree, and any ratio that rounding may hide leaves the highest older price as it is."""
    if is_same[:MIN_BARS].sum() <= MIN_BARS // 2:
        return False
    first = slice(0, stretch.end)
    agreed = is_same[first].sum()
    width = stretch.high - stretch.low if 2 * agreed > stretch.end else math.inf
    if agreed >= _EXPLAINED * stretch.end:
        ratio, error = _mean_ratio(old.take(first), new.take(first))
        width = min(width, abs(ratio - 1) + error)
    return highest_older() * width <= max(_tick_of(old), _tick_of(new))


def _is_likely(old: Bars, new: Bars, scale: "_Scale") -> bool:
    """False if a ratio is not that of the means, or is more than its split: a dividend takes from a price."""
    if scale.ratio * scale.volume_ratio > 1 + _NO_GAIN:
        return False
    whole = _fits(old.values[:4], new.values[:4], scale.ratio)
    if whole.sum() < MIN_BARS:
        return True
    before, after = old.take(whole), new.take(whole)
    ratio, error = _mean_ratio(before, after)
    # Of exact prices a plain ratio makes halves, which may all be rounded one way.
    halves = _tick_of(after) / (2 * Fraction(scale.ratio).limit_denominator(_PLAIN).denominator)
    return abs(ratio - scale.ratio) <= error + halves / max(float(np.abs(before.values[:4]).mean()), halves)


def _mean_ratio(old: Bars, new: Bars) -> tuple[float, float]:
    """The ratio of the means of all prices, and how far it may be off: of many prices rounding averages out.

    What moved by more than two ticks was revised, and counts as that.
    """
    before, after = old.values[:4], new.values[:4]
    ticks = np.array([_tick_of(old), _tick_of(new)])
    total = max(float(np.abs(before).sum()), float(ticks.sum()))
    middle = float(np.median(after / np.where(before == 0, ticks[0], before)))
    within = 2 * float(max(ticks[0] * abs(middle), ticks[1]))
    ratio = middle + float(np.clip(after - middle * before, -within, within).sum()) / total
    # Prices that are the same are rounded the same way.
    _, counts = np.unique(before, return_counts=True)
    error = (
        _DEVIATIONS
        * _ROUNDED
        * float(np.hypot(ticks[0] * abs(ratio), ticks[1]))
        * math.sqrt(float((counts.astype(np.float64) ** 2).sum()))
    )
    return ratio, error / total


class _Allowed(NamedTuple):
    """For each bar the least and the greatest ratio (or shift) that its prices allow; none where they cross.

    Of a bar that is not `whole` one price is left out, as the others agree without it.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    whole: Mask

    def take(self, index: "Mask | slice") -> "_Allowed":
        return _Allowed(self.low[index], self.high[index], self.whole[index])

    def within(self, low: float, high: float) -> Mask:
        """True for each bar that allows a value of the range."""
        return np.asarray((self.low <= self.high) & (self.low <= high) & (self.high >= low))


class _Stretch(NamedTuple):
    """The oldest bars that one value of a range explains: those of a mask before the place `end`.

    It `is_vague` where bars allow so much that others than it explains may be those that count.
    """

    low: float
    high: float
    fits: Mask
    end: int
    is_vague: bool


class _Scale(NamedTuple):
    ratio: float
    volume_ratio: float
    shift: float = 0.0


def _allowed_ratios(old: Bars, new: Bars, *, is_old_exact: bool = False) -> _Allowed:
    old_error = 0.0 if is_old_exact else 0.5
    return _allowed(old.values[:4], new.values[:4], _tick(old.values[:4]) * old_error, _tick(new.values[:4]) / 2)


def _allowed(old: Values, new: Values, old_error: Values, new_error: Values) -> _Allowed:
    """From rows of numbers; what is as small as its error allows anything."""
    corners = [
        (new + new_sign * new_error) / np.where(np.abs(old) > old_error, old + old_sign * old_error, np.nan)
        for new_sign in (-1, 1)
        for old_sign in (-1, 1)
    ]
    low = np.nan_to_num(np.min(corners, axis=0), nan=-np.inf)
    high = np.nan_to_num(np.max(corners, axis=0), nan=np.inf)
    slack = _SLACK * np.where(np.isfinite(high), np.abs(high), 0.0)
    return _in_common(low - slack, high + slack)


def _in_common(low: Values, high: Values) -> _Allowed:
    """What all rows allow; of four, where they do not agree, three: one price of a bar is often revised alone."""
    lowest, highest = low.max(axis=0), high.min(axis=0)
    whole = lowest <= highest
    if len(low) > 1:
        for row in range(len(low)):
            but_one = np.delete(low, row, axis=0).max(axis=0), np.delete(high, row, axis=0).min(axis=0)
            is_better = (lowest > highest) & (but_one[0] <= but_one[1])
            lowest, highest = np.where(is_better, but_one[0], lowest), np.where(is_better, but_one[1], highest)
    return _Allowed(lowest, highest, np.asarray(whole))


def _allowed_shifts(old: Bars, new: Bars) -> _Allowed:
    moved = new.values[:4] - old.values[:4]
    # The difference of two prices is itself one that needs no rounding.
    slack = _SLACK * (1 + np.abs(new.values[:4]).max(axis=0))
    return _in_common(moved - slack, moved + slack)


def _oldest_stretch(allowed: _Allowed, is_same: Mask, identity: float) -> _Stretch | None:
    """The longest stretch from the oldest bar on that one value explains, but for a few bars; None if there is none."""
    count = len(is_same)
    while count >= MIN_BARS:
        first = allowed.take(slice(0, count))
        low, high = _most_allowed(first)
        fits = first.within(low, high)
        if fits.sum() >= max(MIN_BARS, _EXPLAINED * count) and not _share_another(first, fits):
            if low <= identity <= high:
                return _Stretch(*_most_allowed(first, is_careful=True), fits, count, is_vague=False)
            return _extended(allowed, is_same, low, high)
        count //= 2
    return None


def _share_another(first: _Allowed, fits: Mask) -> bool:
    """True if the oldest bars, which do not fit, have a value of their own: then that is what older bars have."""
    leading = int(np.argmax(fits))
    if not leading:
        return False
    others = first.take(slice(0, leading))
    return bool(others.within(*_most_allowed(others)).sum() >= _SHARED * leading)


def _extended(allowed: _Allowed, is_same: Mask, low: float, high: float) -> _Stretch:
    fits = allowed.within(low, high)
    # After the day of a split bars are as they were: the first of them in a row end the stretch, and the last one that
    # is not, and fits, was the last before it.
    in_a_row = np.convolve(is_same & ~fits, np.ones(MIN_BARS, np.int64))[MIN_BARS - 1 :] == MIN_BARS
    reach = int(np.argmax(in_a_row)) if in_a_row.any() else len(fits)
    changed = np.flatnonzero((fits & ~is_same)[:reach])
    end = int(changed[-1]) + 1 if changed.size else reach
    fits[end:] = False
    stretch = allowed.take(slice(0, end))
    width = float(np.median((stretch.high - stretch.low)[fits[:end]])) if fits.any() else math.inf
    are_all = (fits & allowed.whole)[:end].all()
    is_vague = width > (_TOO_COARSE if are_all else _VAGUE) * abs(high)
    return _Stretch(*_most_allowed(stretch, is_careful=True), fits, end, is_vague)


def _narrowed(stretch: _Stretch, old: Bars, allowed: _Allowed) -> _Stretch:
    """The stretch if the old prices were exact, as raw ones are: where that explains all of its many prices."""
    inside = allowed.take(stretch.fits)
    if len(np.unique(old.values[:4, stretch.fits])) < _MANY:
        return stretch
    low, high = _most_allowed(inside, is_careful=True)
    if not (inside.within(low, high) & inside.whole).all():
        return stretch
    return stretch._replace(low=max(low, stretch.low), high=min(high, stretch.high))


def _most_allowed(allowed: _Allowed, *, is_careful: bool = False) -> tuple[float, float]:
    """The range of values that most bars allow; to be careful, as wide as it is if the others are right.

    Only whole bars make it narrower, if there are enough of them.
    """
    usable = allowed.whole if allowed.whole.sum() >= MIN_BARS else allowed.low <= allowed.high
    lows, highs = allowed.low[usable], allowed.high[usable]
    if not lows.size:
        return math.nan, math.nan
    edges = np.concatenate([lows, highs])
    kinds = np.repeat([1, -1], len(lows))
    order = np.lexsort((-kinds, edges))
    edges, depth = edges[order], np.cumsum(kinds[order])
    first = last = int(np.argmax(depth))
    if is_careful:
        doubtful = len(lows) - int(depth[first])
        # Bars that hardly meet are rather some that do not than a ratio known by chance to many digits.
        if not doubtful and edges[first + 1] - edges[first] < np.median(highs - lows) / (_HARDLY * len(lows)):
            doubtful = 1
        least = max(1, int(depth[first]) - 2 * doubtful)
        below = np.flatnonzero(depth < least)
        first = int(below[below < first][-1]) + 1 if (below < first).any() else 0
        last = int(below[below > last][0]) - 1 if (below > last).any() else len(edges) - 2
    return float(edges[first]), float(edges[last + 1])


def _scale(
    old: Bars, new: Bars, stretch: _Stretch, highest_older: Callable[[], float], has_dividends: bool
) -> _Scale | Unproven:
    """The ratios of prices and volumes, if they are known well enough."""
    low, high = stretch.low, stretch.high
    unknown = Unproven(f"the prices that both have differ by a ratio that is known only as {low:.8g} to {high:.8g}")
    if not 0 < low <= high < math.inf:
        return unknown
    prices = len(np.unique(old.values[:4]))
    if prices < MIN_PRICES and len(old) < MIN_PRICES:
        return Unproven("the bars that both have differ, and are too few to tell by what ratio")
    known, split = (low, high), None
    volumes = _split_in_volumes(old, new)
    if volumes is not None and not _holds_one(volumes):
        both = max(low, volumes[0]), min(high, volumes[1])
        known = both if both[0] <= both[1] else known
        split = _plainest(*both) or _plainest(*volumes)
        if split is None or not _is_no_chance(split, *(both if low <= split <= high else volumes)):
            return Unproven(
                f"volumes say a split, the ratio of which is known only as {volumes[0]:.6g} to {volumes[1]:.6g}"
            )
    elif abs((low + high) / 2 - 1) >= _NO_DIVIDEND and (
        volumes is None or max(low, volumes[0]) <= min(high, volumes[1])
    ):
        split = _plainest(low, high)
    is_told_twice = split is not None and low <= split <= high and volumes is not None and not _holds_one(volumes)
    if stretch.is_vague and not is_told_twice:
        return Unproven("the prices that both have are too few or too coarse to tell a ratio")
    if prices < 2 and not is_told_twice:
        return Unproven("all bars that both have are of one price, which any ratio fits")
    volume_ratio = 1.0 if split is None else float(1 / split)
    plain = split if split is not None and low <= split <= high else _plainest(low, high)
    if plain is not None and not has_dividends and _is_no_chance(plain, *known):
        return _Scale(float(plain), volume_ratio)
    ratio = float(plain) if plain is not None and plain == split else (low + high) / 2
    rounding = (_tick_of(new) + _tick_of(old) * ratio) / 2
    return unknown if highest_older() * (high - low) > _SHARE * rounding else _Scale(ratio, volume_ratio)


def _holds_one(bounds: tuple[float, float]) -> bool:
    return bounds[0] <= 1 <= bounds[1]


def _split_in_volumes(old: Bars, new: Bars) -> tuple[float, float] | None:
    """The range of the ratios of prices in a split by which the volumes changed so; None if they do not tell."""
    before, after = old.values[4:5], new.values[4:5]
    error = max(10.0 ** -_decimals(row) for row in (before, after)) / 2
    traded = old.has_volume & new.has_volume & (before[0] > error)
    if not traded.any():
        return None
    rows = before[:, traded], after[:, traded]
    allowed = _allowed(*rows, np.full_like(rows[0], error), np.full_like(rows[1], error))
    low, high = _most_allowed(allowed)
    if allowed.within(low, high).sum() < _SHARED * traded.sum() or not 0 < high < math.inf:
        return None
    return 1 / high, 1 / low if low > 0 else math.inf


def _plainest(low: float, high: float) -> Fraction | None:
    """The fraction of the smallest numbers in a range, as splits have them: 1/4, 3/2, 1/50; None for large ones."""
    if not 0 < low <= high:
        return None
    # Walks the tree of all fractions to the first in the range.
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole) if whole <= _PLAIN else None
    floor = math.floor(low)
    if high - floor <= 0 or low == floor:
        return None
    inner = _plainest(1 / (high - floor), 1 / (low - floor))
    if inner is None:
        return None
    found = floor + 1 / inner
    return found if max(found.numerator, found.denominator) <= _PLAIN else None


def _is_no_chance(plain: Fraction, low: float, high: float) -> bool:
    """True if a range so narrow would hardly hold a fraction so plain by chance."""
    width = high - low if high <= 1 else 1 / low - 1 / high
    return 0.3 * max(plain.numerator, plain.denominator) ** 2 * width < _CHANCE


def _extent(old: Bars, new: Bars, scale: _Scale, stretch: _Stretch, fetched: Bars) -> Readjustment:
    last = int(old.times[-1])
    beyond = fetched.between(last + 1, None).times[:1].tolist() or [last + 1]
    until = int(old.times[stretch.end]) if stretch.end < len(old) else int(beyond[0])
    before, after = old.take(stretch.fits), new.take(stretch.fits)
    exact = before.values[:4] * scale.ratio + scale.shift
    is_rounded = not np.allclose(exact, after.values[:4], rtol=1e-12, atol=0)
    decimals = max(map(_decimals, (old.values[:4], new.values[:4]))) if is_rounded else _MAX_DECIMALS
    return Readjustment(scale.ratio, scale.volume_ratio, until, decimals, scale.shift)


def _fits(old: Values, new: Values, ratio: float, shift: float = 0.0) -> Mask:
    """True for each bar whose new prices are the old ones times the ratio, to the rounding of both, or moved."""
    # The difference of two prices is itself one that needs no rounding.
    rounding = 1e-9 if shift else (_tick(new) + _tick(old) * ratio) / 2
    return np.asarray((np.abs(new - old * ratio - shift) <= rounding + 1e-9 * np.abs(new)).all(axis=0))


def _tick(prices: Values) -> npt.NDArray[np.float64]:
    """What the prices are multiples of, as far as one sees."""
    decimals = _decimals(prices)
    if decimals == _MAX_DECIMALS:
        return np.full(prices.shape, 10.0**-decimals)
    units = np.round(np.abs(prices) * 10.0**decimals).astype(np.int64)
    common = max(float(np.gcd.reduce(units, axis=None)), 1.0) * 10.0**-decimals
    return np.minimum(common, np.maximum(10.0**-decimals, _LARGEST_TICK * np.abs(prices)))


def _tick_of(bars: Bars) -> float:
    return float(np.median(_tick(bars.values[:4])))


def finest_decimals(bars: Bars) -> int:
    """The digits behind the point that the prices of some bars use at most."""
    return _decimals(bars.values[:4])


def _decimals(prices: Values) -> int:
    """The digits behind the point that the prices use."""
    for decimals in range(_MAX_DECIMALS):
        if np.allclose(np.round(prices, decimals), prices, rtol=1e-13, atol=0):
            return decimals
    return _MAX_DECIMALS
