"""Draws the prices of listings: whole days first, then finer and finer parts of them. Pure.

Prices are whole ticks. The close of a day is a sum of noises of 1, 2, 4, ... days, each a hash, so any day is reached
without walking. A day is then cut into hours, these into quarters, and so on down to seconds; each part is drawn
inside its parent so that all together have exactly the parent's open, high, low, close and volume. Hence a 60 is made
of its 1s, a forming bar's range never shrinks, and what it ends with is what history shows later.

Several listings with the same trading hours are drawn at once: their arrays have a row for each.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.sessions import Calendar, Integers

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

# The widths, in seconds, that parts have on the way from a day to its seconds; each divides the one before.
LEVELS = (3_600, 900, 300, 60, 15, 5, 1)

_REFERENCE_DAY = 20_779  # 2026-11-22: where the listings' price levels hold

# Ratios that make the ranges look like a random walk's: the midpoint of a walk deviates by about a third of its range.
_MIDPOINT_SPREAD = 0.35
_VOLUME_SPREAD = 0.7
_DAY_WICK = 0.6
_OPENING_GAP = 0.3


class Ticks(NamedTuple):
    """Bars in whole ticks and volume units; five arrays of one shape.

    Volumes are whole unless a split has scaled them. Where the volume is 0 there may be no bar.
    """

    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: npt.NDArray[Any]

    def take(self, index: Any) -> "Ticks":
        """The bars at an index of the arrays."""
        return Ticks(*(column[index] for column in self))

    def reshape(self, *shape: int) -> "Ticks":
        """The same bars in arrays of another shape."""
        return Ticks(*(column.reshape(shape) for column in self))

    def merged(self, starts: Integers) -> "Ticks":
        """Fewer, wider bars: each begins at one of `starts` and ends before the next."""
        ends = np.append(starts[1:], len(self.open)) - 1
        return Ticks(
            self.open[starts],
            np.maximum.reduceat(self.high, starts),
            np.minimum.reduceat(self.low, starts),
            self.close[ends],
            np.add.reduceat(self.volume, starts),
        )

    @classmethod
    def joined(cls, parts: "Sequence[Ticks]", axis: int = 0) -> "Ticks":
        """Bars one after the other."""
        return cls(*(np.concatenate(columns, axis=axis) for columns in zip(*parts, strict=True)))


class Parts(NamedTuple):
    """What some days are cut into: bars `(days, parts)`, and the traded seconds where each part begins and its size.

    `keys` has one hash a day.
    """

    bars: Ticks
    keys: Hashes
    positions: Integers
    sizes: Integers

    def window(self, start: int, end: int) -> "Parts":
        """The parts that hold anything of the traded seconds [start, end)."""
        first = int(np.searchsorted(self.positions + self.sizes, start, side="right"))
        last = int(np.searchsorted(self.positions, end))
        kept = slice(first, max(last, first))
        return self._replace(
            bars=self.bars.take((slice(None), kept)), positions=self.positions[kept], sizes=self.sizes[kept]
        )


class PricePaths:
    """The days of some listings, and their parts. All must have the hours of one calendar."""

    def __init__(self, listings: Sequence[Listing], seed: int, calendar: Calendar) -> None:
        self.calendar = calendar
        self._listings = listings
        self._base = np.array(
            [_text_hash(f"{seed}\n{listing.drawn_as or listing.symbol}") for listing in listings], np.uint64
        )[:, None]
        self._tick = _column([listing.minmov / listing.pricescale for listing in listings])
        self._price = _column([listing.price for listing in listings])
        self._volatility = _column([listing.volatility for listing in listings])
        self._daily_volume = _column([listing.daily_volume or 0 for listing in listings])
        self._growth = np.log1p(_column([listing.yearly_growth for listing in listings])) / 365.25
        self._octaves = _column([listing.swing_octaves for listing in listings])
        self._is_thin = any(listing.is_thin for listing in listings)
        self._level_at_reference = self._wander(np.array([_REFERENCE_DAY]))

    def days(self, index: Integers) -> Ticks:
        """The regular sessions of whole trading days, by index: arrays `(listings, days)`."""
        numbers = self.calendar.days[index]
        previous = np.where(index > 0, self.calendar.days[np.maximum(index - 1, 0)], numbers - 1)
        wick, traded = self._volatility * _DAY_WICK, self._as_traded(numbers)
        gap = 0.0 if self.calendar.is_round_the_clock else self._volatility * _OPENING_GAP
        both = np.unique(np.concatenate([previous, numbers]))
        levels = self._closes(both)
        before, after = levels[:, np.searchsorted(both, previous)], levels[:, np.searchsorted(both, numbers)]
        opens = self._ticks(before * traded * np.exp(gap * self._noise("gap", numbers)))
        closes = self._ticks(after * traded)
        return self._bars(opens, closes, wick, numbers, "")

    def outside_hours(self, index: Integers, block: str) -> Ticks:
        """What trades before (`pre`) or after (`post`) the regular sessions of some days."""
        numbers = self.calendar.days[index]
        days, traded = self.days(index), self._as_traded(numbers)
        if block == "pre":
            opens, closes = self._post_close(np.maximum(index - 1, 0), traded), days.open
        else:
            opens, closes = days.close, self._post_close(index, traded)
        bars = self._bars(opens, closes, self._volatility * 0.15, numbers, block)
        return bars._replace(volume=bars.volume // 40)

    def as_one_part(self, index: Integers, block: str = "regular", size: int = 0) -> Parts:
        """Each block of some days, `size` traded seconds long, uncut; a row for each listing and day."""
        bars = self.days(index) if block == "regular" else self.outside_hours(index, block)
        keys = _mix(self._key(block) ^ self.calendar.days[index].astype(np.uint64))
        return Parts(bars.reshape(-1, 1), keys.reshape(-1), np.zeros(1, np.int64), np.array([size], np.int64))

    def cut(self, parts: Parts, width: int, segments: Sequence[int] = ()) -> Parts:
        """Finer parts, `width` seconds long but for the last of each; `segments` are the sizes a day falls into."""
        if segments:
            layout = _leaves(tuple(segments), width)
            layouts = {0: layout}
            counts, kinds = np.array([len(layout)]), np.zeros(1, np.int64)
        else:
            counts, kinds = -(-parts.sizes // width), parts.sizes
            if (counts == 1).all():
                return parts
            layouts = {size: _leaves((size,), width) for size in np.unique(kinds).tolist()}
        ends = np.cumsum(counts)
        bars = Ticks(*(np.empty((len(parts.keys), int(ends[-1])), np.int64) for _ in Ticks._fields))
        sizes = np.empty(int(ends[-1]), np.int64)
        for kind, layout in layouts.items():
            columns = np.flatnonzero(kinds == kind)
            tags = _mix((parts.positions[columns] + (width << 32)).astype(np.uint64))
            keys = _mix(parts.keys[:, None] ^ tags).reshape(-1, 1)
            cut = _cut(parts.bars.take((slice(None), columns)).reshape(-1, 1), keys, layout, self._is_thin)
            places = ((ends - counts)[columns][:, None] + np.arange(len(layout))).ravel()
            sizes[places] = layout * len(columns)
            for column, values in zip(bars, cut, strict=True):
                column[:, places] = values.reshape(len(parts.keys), -1)
        return Parts(bars, parts.keys, int(parts.positions[0]) + np.cumsum(sizes) - sizes, sizes)

    def bar_so_far(self, parts: Parts, segments: Sequence[int], elapsed: int) -> Ticks:
        """What the first `elapsed` traded seconds of each row's one part amount to, one bar a row."""
        pieces, at = [], 0
        for width in LEVELS:
            parts = self.cut(parts, width, segments)
            segments = ()
            full = int(np.searchsorted(parts.positions + parts.sizes, elapsed, side="right"))
            if full:
                pieces.append(parts.bars.take((slice(None), slice(0, full))))
                at = int(parts.positions[full - 1] + parts.sizes[full - 1])
            if at >= elapsed:
                break
            parts = parts.window(at, at + 1)
        whole = Ticks.joined(pieces, axis=1)
        return Ticks(
            whole.open[:, 0], whole.high.max(axis=1), whole.low.min(axis=1), whole.close[:, -1],
            whole.volume.sum(axis=1),
        )  # fmt: skip

    def _key(self, purpose: str) -> Hashes:
        return _mix(self._base ^ np.uint64(_text_hash(purpose)))

    def _noise(self, purpose: str, at: Integers) -> Floats:
        """A standard normal number for each listing and integer (nearly: the sum of four uniform ones)."""
        bits = _mix(self._key(purpose) ^ at.astype(np.uint64))
        mask, width = np.uint64(0xFFFF), np.uint64(16)
        total = bits & mask
        for _ in range(3):
            bits >>= width
            total += bits & mask
        return np.asarray((total / 65_536.0 - 2.0) * np.sqrt(3.0), np.float64)

    def _wander(self, days: Integers) -> Floats:
        """Logarithm of the price level at the end of each calendar day."""
        level = days * self._growth
        for octave in range(int(self._octaves.max()) + 1):
            before, beyond = np.divmod(days, 1 << octave)
            share = beyond / (1 << octave)
            name, first, last = f"swing {octave}", int(before.min()), int(before.max())
            if last - first < 2 * len(days):  # many days lie in one swing: each swing is drawn once
                swings = self._noise(name, np.arange(first, last + 2))
                left, right = swings[:, before - first], swings[:, before - first + 1]
            else:
                left, right = self._noise(name, before), self._noise(name, before + 1)
            swing = left * (1 - share) + right * share
            level = level + np.where(octave <= self._octaves, 0.5 * 2 ** (octave / 2), 0.0) * self._volatility * swing
        return np.asarray(level, np.float64)

    def _closes(self, days: Integers) -> Floats:
        return self._price * np.exp(self._wander(days) - self._level_at_reference)

    def _as_traded(self, numbers: Integers) -> Floats:
        """What a price of today's shares was in the shares of each day: splits to come multiply it."""
        factors = np.ones((len(self._listings), len(numbers)))
        for row, listing in enumerate(self._listings):
            for ex_date, ratio in listing.splits:
                factors[row, numbers < day_number(ex_date)] *= ratio
        return factors

    def _bars(self, opens: Integers, closes: Integers, reach: Floats, numbers: Integers, block: str) -> Ticks:
        highest, lowest = np.maximum(opens, closes), np.minimum(opens, closes)
        up, down = (np.abs(self._noise(f"{block} {end}", numbers)) for end in ("high", "low"))
        highs = self._ticks(highest * self._tick * np.exp(reach * up))
        lows = self._ticks(lowest * self._tick * np.exp(-reach * down))
        volumes = self._daily_volume * np.exp(0.3 * self._noise(f"{block} volume", numbers))
        volumes = volumes / self._as_traded(numbers)
        return Ticks(
            opens, np.maximum(highs, highest), np.minimum(lows, lowest), closes, volumes.astype(np.int64)
        )  # fmt: skip

    def _post_close(self, index: Integers, traded: Floats) -> Integers:
        numbers = self.calendar.days[index]
        moved = self._closes(numbers) * np.exp(self._volatility * 0.2 * self._noise("post close", numbers))
        return self._ticks(moved * traded)

    def _ticks(self, prices: Floats) -> Integers:
        return np.maximum(np.rint(prices / self._tick), 1).astype(np.int64)


def day_number(day: object) -> int:
    """Days since 1970-01-01."""
    return int(np.datetime64(str(day), "D").astype(np.int64))


@lru_cache(maxsize=512)
def _leaves(sizes: tuple[int, ...], width: int) -> tuple[int, ...]:
    """The sizes of the parts of one or more segments."""
    leaves: list[int] = []
    for size in sizes:
        leaves += [width] * (size // width) + ([size % width] if size % width else [])
    return tuple(leaves)


class _Halving(NamedTuple):
    """One step of cutting: which parts are too small to cut, and how much of the others lies in their left half."""

    has_whole: bool
    exists: Flags
    is_whole: Flags
    left_share: Floats


@lru_cache(maxsize=512)
def _halvings(leaves: tuple[int, ...]) -> list[_Halving]:
    steps, spans = [], [(0, len(leaves))]
    ends = np.concatenate([[0], np.cumsum(leaves)])
    while any(last - first > 1 for first, last in spans):
        middles = [first + (last - first + 1) // 2 for first, last in spans]
        is_whole = np.array([last - first == 1 for first, last in spans])
        lefts = [ends[middle] - ends[first] for (first, _), middle in zip(spans, middles, strict=True)]
        shares = np.array(lefts) / [ends[last] - ends[first] for first, last in spans]
        exists = np.stack([np.ones_like(is_whole), ~is_whole], axis=1).ravel()
        steps.append(_Halving(bool(is_whole.any()), exists, is_whole, shares))
        halves = [((first, middle), (middle, last)) for (first, last), middle in zip(spans, middles, strict=True)]
        spans = [half for pair in halves for half in pair if half[0] < half[1]]
    return steps


def _cut(bars: Ticks, keys: Hashes, leaves: tuple[int, ...], is_thin: bool) -> Ticks:
    """Cut each row's one bar into bars of the given sizes that together are exactly it."""
    for level, step in enumerate(_halvings(leaves), start=1):
        left, right = _halves(bars, keys, level, step.left_share, is_thin)
        columns = []
        for parent, first, second in zip(bars, left, right, strict=True):
            pairs = np.empty((len(parent), 2 * parent.shape[1]), np.int64)
            pairs[:, ::2], pairs[:, 1::2] = first, second
            if step.has_whole:
                pairs[:, ::2][:, step.is_whole] = parent[:, step.is_whole]
                pairs = pairs[:, step.exists]
            columns.append(pairs)
        bars = Ticks(*columns)
    return bars


def _halves(bars: Ticks, keys: Hashes, level: int, left_share: Floats, is_thin: bool) -> tuple[Ticks, Ticks]:
    """Two bars inside each bar: one of them reaches its high, one its low."""
    places = np.arange(bars.open.shape[1], dtype=np.uint64) + np.uint64(level << 32)
    bits = _mix(keys ^ _mix(places))
    more = _mix(bits)
    spread = (_sixteen_bits(bits, 0) + _sixteen_bits(bits, 1) - 1.0) * (np.sqrt(6.0) * _MIDPOINT_SPREAD)
    drift = bars.open + (bars.close - bars.open) * left_share
    middle = np.rint(drift + spread * (bars.high - bars.low)).astype(np.int64)
    # Reflected, not clipped: a price at the edge of its range must be able to leave it.
    middle = bars.high - np.abs(bars.high - (bars.low + np.abs(middle - bars.low)))
    middle = np.clip(middle, bars.low, bars.high)
    left_top, left_bottom = np.maximum(bars.open, middle), np.minimum(bars.open, middle)
    right_top, right_bottom = np.maximum(middle, bars.close), np.minimum(middle, bars.close)
    # A falling bar has its high early, mostly; and high and low are seldom in the same half, or a few minutes
    # would have all the range of their day and the others none.
    high_is_left = (bars.open > bars.close) ^ ((more & np.uint64(0x3)) == 0)
    low_is_left = high_is_left ^ ((more & np.uint64(0x1C)) != 0)
    up, down = _sixteen_bits(more, 1) ** 2, _sixteen_bits(more, 2) ** 2
    left_high = np.where(high_is_left, bars.high, left_top + (up * (bars.high - left_top)).astype(np.int64))
    right_high = np.where(high_is_left, right_top + (up * (bars.high - right_top)).astype(np.int64), bars.high)
    left_low = np.where(low_is_left, bars.low, left_bottom - (down * (left_bottom - bars.low)).astype(np.int64))
    right_low = np.where(low_is_left, right_bottom - (down * (right_bottom - bars.low)).astype(np.int64), bars.low)
    uneven = _VOLUME_SPREAD * (_sixteen_bits(more, 3) - 0.5) * np.minimum(left_share, 1 - left_share)
    # A few trades must not all fall into the right half.
    carried = _sixteen_bits(_mix(more), 0) if is_thin else 0.0
    left_volume = (bars.volume * (left_share + uneven) + carried).astype(np.int64)
    left = Ticks(bars.open, left_high, left_low, middle, left_volume)
    right = Ticks(middle, right_high, right_low, bars.close, bars.volume - left_volume)
    if not is_thin:
        return left, right
    # Where one half has no trade, the other has all of the bar.
    return _unless(right.volume == 0, left, bars), _unless(left.volume == 0, right, bars)


def _unless(is_other_empty: Flags, half: Ticks, whole: Ticks) -> Ticks:
    columns = [np.where(is_other_empty, all_, part) for part, all_ in zip(half, whole, strict=True)]
    return Ticks(*columns)._replace(volume=half.volume)


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, np.float64)[:, None]


@lru_cache(maxsize=4_096)
def _text_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _sixteen_bits(bits: Hashes, part: int) -> Floats:
    """A number in [0, 1) from one of the four parts of a hash."""
    return np.asarray(((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65_536.0, np.float64)


def _mix(bits: Hashes) -> Hashes:
    """Spread the bits of each integer over all 64 (the finaliser of splitmix64)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits
