"""A synthetic market: the same seed and the same moment give the same bars, at any interval, in any order.

Prices are whole ticks. The days of an instrument come first: the close of a day is a sum of noises of 1, 2, 4, ...
days, each a hash, so any day is reached without walking. A day is then cut in two again and again, until minutes
(and a minute until seconds) remain; each half is drawn inside its parent so that both together have exactly the
parent's open, high, low, close and volume. Hence a 60 is made of its 1s, a forming bar's range never shrinks, and
what it ends with is what history shows later. Pure: knows no clock, no file, no wire.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tv_etl.market_server.listings import Listing, listings
from tv_etl.market_server.sessions import Calendar, Integers, calendar_of
from tv_etl.tradingview.intervals import Interval

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

_REFERENCE_DAY = 20_779  # 2026-11-22: where the listings' price levels hold
_CHUNK_DAYS = 256  # so that a chunk of minutes stays in the processor's cache
_CACHED_DAYS = 8

# Ratios that make the ranges look like a random walk's: the midpoint of a walk deviates by about a third of its range.
_MIDPOINT_SPREAD = 0.35
_VOLUME_SPREAD = 0.35
_DAY_WICK = 0.6
_OPENING_GAP = 0.3


class Ticks(NamedTuple):
    """Bars in whole ticks and whole volume units; five arrays of one shape."""

    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: Integers

    def take(self, index: slice) -> "Ticks":
        """The bars at an index."""
        return Ticks(*(column[index] for column in self))

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


@dataclass(frozen=True)
class Bars:
    """Bars as the wire has them: rows `[time, open, high, low, close]` or with volume, ascending in time.

    `is_start` is true if no bar lies before the first.
    """

    rows: Floats
    is_start: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def times(self) -> Integers:
        """The bars' opens, UTC seconds."""
        return self.rows[:, 0].astype(np.int64)


class BarSource(Protocol):
    """Where the bars of one instrument in one session come from."""

    listing: Listing
    calendar: Calendar
    has_volume: bool

    def supports(self, interval: Interval) -> bool:
        """True if there are bars of this interval."""

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """The bars opened at or before `now`: of those before `before` (all if None) the newest `count`, or
        those from `start` on."""

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """The open of the `count`th newest intraday bar, None if there are fewer."""


class Market:
    """The instruments of one seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._sources: dict[tuple[str, str], SyntheticBars] = {}

    def listed(self) -> list[str]:
        """Every symbol, in the listings' order."""
        return list(listings())

    def find(self, symbol: str, session: str = "regular") -> BarSource | None:
        """The bars of a symbol in its regular or extended session, None if the symbol is unknown."""
        listing = listings().get(symbol)
        return None if listing is None else self.source_of(listing, session)

    def source_of(self, listing: Listing, session: str = "regular") -> "SyntheticBars":
        """The bars of a listing, also of one that the market does not list."""
        key = (listing.symbol, session if listing.extended is not None else "regular")
        if key not in self._sources:
            self._sources[key] = SyntheticBars(listing, self.seed, key[1])
        return self._sources[key]


class SyntheticBars:
    """The bars of one listing in one session."""

    def __init__(self, listing: Listing, seed: int, session: str = "regular") -> None:
        self.listing = listing
        self.has_volume = listing.daily_volume is not None
        self.calendar = calendar_of(listing.schedule_of(session), listing.first_day_number)
        self._regular = calendar_of(listing.schedule, listing.first_day_number)
        self._is_extended = session == "extended"
        self._path = _PricePath(listing, seed, self._regular)
        self._minutes_of_day: OrderedDict[int, Ticks] = OrderedDict()

    def supports(self, interval: Interval) -> bool:
        """Seconds, ticks and ranges are not offered."""
        return interval.unit in ("m", "d", "w", "mo")

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        return self.calendar.open_back(interval, now, count)

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        limit = now if before is None else min(now, before - 1)
        last = self.calendar.last_opened(limit)
        if last < 0 or (count is not None and count < 1):
            return Bars(np.empty((0, 6 if self.has_volume else 5)), is_start=last < 0)
        if start is not None:
            return self._between(interval, now, self.calendar.last_opened(start), last, start, limit)
        assert count is not None
        # The newest day may have begun with none of its bars before the limit: one bar more, to be cut off.
        bars = self._between(interval, now, self.calendar.days_back(interval, last, count + 1), last, None, limit)
        return Bars(bars.rows[-count:], bars.is_start and len(bars) <= count)

    def _between(self, interval: Interval, now: float, first: int, last: int, start: int | None, limit: float) -> Bars:
        """Bars of the trading days `first` to `last` (indices), those that open in [start, limit]."""
        first = max(first, 0)
        if interval.is_intraday:
            times, ticks = self._intraday(interval.count, first, last, now)
        else:
            times, ticks = self._grouped(interval, first, last, now)
        keep = slice(
            0 if start is None else int(np.searchsorted(times, start)), int(np.searchsorted(times, limit, "right"))
        )
        return Bars(self._rows(times[keep], ticks.take(keep)), is_start=first == 0 and keep.start == 0)

    def _rows(self, times: Integers, ticks: Ticks) -> Floats:
        rows = np.empty((len(times), 6 if self.has_volume else 5))
        rows[:, 0] = times
        for column, values in enumerate(ticks[:4], start=1):
            rows[:, column] = values * self.listing.minmov / self.listing.pricescale
        if self.has_volume:
            rows[:, 5] = ticks.volume / 10**self.listing.volume_decimals
        return rows

    def _grouped(self, interval: Interval, first: int, last: int, now: float) -> tuple[Integers, Ticks]:
        """Daily and wider bars, from the start of the group that `first` is in."""
        groups = self.calendar.groups(interval)
        first = int(np.searchsorted(groups, groups[first]))
        # What has begun by `now` is in the newest bar, even if only older bars were asked for.
        end = int(np.searchsorted(groups, groups[last], side="right"))
        last = min(end - 1, self.calendar.last_opened(now))
        days = self._whole_days(np.arange(first, last + 1, dtype=np.int64))
        if now < self.calendar.closes[last]:
            _, minutes = self._forming_day(last, now)
            today = minutes.merged(np.zeros(1, np.int64))
            days = Ticks(*(np.append(column[:-1], new) for column, new in zip(days, today, strict=True)))
        starts = np.flatnonzero(np.diff(groups[first : last + 1], prepend=-1))
        return self.calendar.opens[first : last + 1][starts], days.merged(starts)

    def _whole_days(self, index: Integers) -> Ticks:
        days = self._path.days(index)
        if not self._is_extended:
            return days
        before, after = self._path.outside_hours(index, "pre"), self._path.outside_hours(index, "post")
        return Ticks(
            before.open,
            np.maximum(np.maximum(before.high, days.high), after.high),
            np.minimum(np.minimum(before.low, days.low), after.low),
            after.close,
            before.volume + days.volume + after.volume,
        )

    def _intraday(self, width: int, first: int, last: int, now: float) -> tuple[Integers, Ticks]:
        times: list[Integers] = []
        parts: list[Ticks] = []
        closed = last if now < self.calendar.closes[last] else last + 1
        for begin in range(first, closed, _CHUNK_DAYS):
            end = min(begin + _CHUNK_DAYS, closed)
            minutes, starts, opens = self._closed_minutes(begin, end, width)
            times.append(opens)
            parts.append(minutes.merged(starts) if width > 1 else minutes)
        if closed == last:
            hours = self.calendar.hours[self.calendar.kinds[last]]
            opens, minutes = self._forming_day(last, now)
            starts = hours.bar_starts(width)
            starts = starts[starts < len(opens)]
            times.append(opens[starts])
            parts.append(minutes.merged(starts))
        return np.concatenate(times), Ticks(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _closed_minutes(self, begin: int, end: int, width: int) -> tuple[Ticks, Integers, Integers]:
        """All minutes of the days [begin, end), where bars of the width begin among them, and their opens."""
        counts = self.calendar.minutes[begin:end]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        flat = Ticks(*(np.empty(offsets[-1], np.int64) for _ in Ticks._fields))
        starts: list[Integers] = []
        opens: list[Integers] = []
        for kind, hours in enumerate(self.calendar.hours):
            days = np.flatnonzero(self.calendar.kinds[begin:end] == kind)
            if not len(days):
                continue
            places = offsets[days][:, None] + np.arange(hours.minutes)
            for column, values in zip(flat, self._cut_days(days + begin), strict=True):
                column[places] = values
            firsts = hours.bar_starts(width)
            starts.append((offsets[days][:, None] + firsts).ravel())
            midnights = self.calendar.midnights[days + begin]
            opens.append((midnights[:, None] + 60 * hours.clock_minutes()[firsts]).ravel())
        order = np.argsort(all_starts := np.concatenate(starts))
        return flat, all_starts[order], np.concatenate(opens)[order]

    def _cut_days(self, days: Integers) -> Ticks:
        """The minutes of trading days of one kind, one row a day."""
        length = int(self._regular.minutes[days[0]])
        regular = self._path.minutes(days, "regular", length)
        if not self._is_extended:
            return regular
        before = int(self._regular.opens[days[0]] - self.calendar.opens[days[0]]) // 60
        after = int(self.calendar.closes[days[0]] - self._regular.closes[days[0]]) // 60
        blocks = [self._path.minutes(days, "pre", before), regular, self._path.minutes(days, "post", after)]
        return Ticks(*(np.concatenate(columns, axis=1) for columns in zip(*blocks, strict=True)))

    def _forming_day(self, day: int, now: float) -> tuple[Integers, Ticks]:
        """The minutes of a day up to `now`; the newest holds what its seconds so far amount to."""
        if day not in self._minutes_of_day:
            while len(self._minutes_of_day) >= _CACHED_DAYS:
                self._minutes_of_day.popitem(last=False)
            cut = self._cut_days(np.array([day]))
            self._minutes_of_day[day] = Ticks(*(column[0] for column in cut))
        whole = self._minutes_of_day[day]
        hours = self.calendar.hours[self.calendar.kinds[day]]
        opens = self.calendar.midnights[day] + 60 * hours.clock_minutes()
        count = int(np.searchsorted(opens, now, side="right"))
        minutes = whole.take(slice(0, count))
        elapsed = int(now - opens[count - 1]) + 1
        if elapsed < 60:
            newest = self._path.first_seconds(whole.take(slice(count - 1, count)), int(opens[count - 1]), elapsed)
            minutes = Ticks(*(np.append(column[:-1], new) for column, new in zip(minutes, newest, strict=True)))
        return opens[:count], minutes


class _PricePath:
    """Draws the days of a listing, and cuts them."""

    def __init__(self, listing: Listing, seed: int, calendar: Calendar) -> None:
        self.listing = listing
        self.calendar = calendar
        self.seed = seed
        self._tick = listing.minmov / listing.pricescale
        self._level_at_reference = float(self._wander(np.array([_REFERENCE_DAY]))[0])

    def minutes(self, days: Integers, block: str, length: int) -> Ticks:
        """The minutes of a block (`pre`, `regular`, `post`) of some days, one row a day."""
        bars = self.days(days) if block == "regular" else self.outside_hours(days, block)
        keys = _mix(self._key(block) ^ self.calendar.days[days].astype(np.uint64))
        return _cut(Ticks(*(column[:, None] for column in bars)), keys[:, None], length)

    def first_seconds(self, minute: Ticks, minute_open: int, elapsed: int) -> Ticks:
        """What the first seconds of a minute amount to."""
        keys = _mix(self._key("seconds") ^ np.array([[minute_open]], np.uint64))
        seconds = _cut(Ticks(*(column[:, None] for column in minute)), keys, 60)
        return Ticks(*(column[0, :elapsed] for column in seconds)).merged(np.zeros(1, np.int64))

    def _key(self, purpose: str) -> np.uint64:
        text = f"{self.seed}\n{self.listing.symbol}\n{purpose}".encode()
        key: np.uint64 = np.uint64(int.from_bytes(blake2b(text, digest_size=8).digest(), "little"))
        return key

    def _noise(self, purpose: str, at: Integers) -> Floats:
        """A standard normal number for each integer (nearly: the sum of four uniform ones)."""
        bits = _mix(self._key(purpose) ^ at.astype(np.uint64))
        total = sum((_sixteen_bits(bits, part) for part in range(4)), start=np.zeros(at.shape))
        return np.asarray((total - 2.0) * np.sqrt(3.0), np.float64)

    def _wander(self, days: Integers) -> Floats:
        """Logarithm of the price level at the end of each calendar day."""
        level = days * (np.log1p(self.listing.yearly_growth) / 365.25)
        for octave in range(self.listing.swing_octaves + 1):
            before, beyond = np.divmod(days, 1 << octave)
            share = beyond / (1 << octave)
            name = f"swing {octave}"
            swing = self._noise(name, before) * (1 - share) + self._noise(name, before + 1) * share
            level = level + 0.5 * self.listing.volatility * 2 ** (octave / 2) * swing
        return np.asarray(level, np.float64)

    def _closes(self, days: Integers) -> Floats:
        return self.listing.price * np.exp(self._wander(days) - self._level_at_reference)

    def days(self, index: Integers) -> Ticks:
        """The regular sessions of whole trading days, by index."""
        numbers = self.calendar.days[index]
        previous = np.where(index > 0, self.calendar.days[np.maximum(index - 1, 0)], numbers - 1)
        wick = self.listing.volatility * _DAY_WICK
        gap = 0.0 if self.calendar.is_round_the_clock else self.listing.volatility * _OPENING_GAP
        opens = self._ticks(self._closes(previous) * np.exp(gap * self._noise("gap", numbers)))
        closes = self._ticks(self._closes(numbers))
        highest, lowest = np.maximum(opens, closes), np.minimum(opens, closes)
        highs = self._ticks(highest * self._tick * np.exp(wick * np.abs(self._noise("high", numbers))))
        lows = self._ticks(lowest * self._tick * np.exp(-wick * np.abs(self._noise("low", numbers))))
        return Ticks(
            opens, np.maximum(highs, highest), np.minimum(lows, lowest), closes, self._volumes(numbers, "regular")
        )

    def outside_hours(self, index: Integers, block: str) -> Ticks:
        """What trades before (`pre`) or after (`post`) the regular sessions of some days."""
        numbers = self.calendar.days[index]
        days = self.days(index)
        if block == "pre":
            opens, closes = self._post_close(np.maximum(index - 1, 0)), days.open
        else:
            opens, closes = days.close, self._post_close(index)
        reach = self.listing.volatility * 0.15
        highest, lowest = np.maximum(opens, closes), np.minimum(opens, closes)
        highs = self._ticks(highest * self._tick * np.exp(reach * np.abs(self._noise(f"{block} high", numbers))))
        lows = self._ticks(lowest * self._tick * np.exp(-reach * np.abs(self._noise(f"{block} low", numbers))))
        volumes = self._volumes(numbers, block) // 40
        return Ticks(opens, np.maximum(highs, highest), np.minimum(lows, lowest), closes, volumes)

    def _post_close(self, index: Integers) -> Integers:
        numbers = self.calendar.days[index]
        moved = self._closes(numbers) * np.exp(self.listing.volatility * 0.2 * self._noise("post close", numbers))
        return self._ticks(moved)

    def _ticks(self, prices: Floats) -> Integers:
        return np.maximum(np.rint(prices / self._tick), 1).astype(np.int64)

    def _volumes(self, numbers: Integers, block: str) -> Integers:
        if self.listing.daily_volume is None:
            return np.zeros(len(numbers), np.int64)
        return (self.listing.daily_volume * np.exp(0.3 * self._noise(f"{block} volume", numbers))).astype(np.int64)


def _cut(bars: Ticks, keys: Hashes, length: int) -> Ticks:
    """Cut each row's one bar into `length` bars that together are exactly it."""
    sizes = np.array([length], np.int64)
    level = 0
    while sizes.max() > 1:
        level += 1
        left, right = _halves(bars, keys, level)
        left_sizes, right_sizes = (sizes + 1) // 2, sizes // 2
        whole = right_sizes == 0  # all sizes are 1 or 2 now; a bar of size 1 stays as it is
        exists = np.stack([np.ones_like(whole), ~whole], axis=1).ravel()
        columns = []
        for parent, first, second in zip(bars, left, right, strict=True):
            pair = np.stack([np.where(whole, parent, first), second], axis=2)
            columns.append(pair.reshape(len(pair), -1)[:, exists])
        bars = Ticks(*columns)
        sizes = np.stack([left_sizes, right_sizes], axis=1).ravel()[exists]
    return bars


def _halves(bars: Ticks, keys: Hashes, level: int) -> tuple[Ticks, Ticks]:
    """Two bars inside each bar: one of them reaches its high, one its low."""
    places = np.arange(bars.open.shape[1], dtype=np.uint64) + np.uint64(level << 32)
    bits = _mix(keys ^ _mix(places))
    more = _mix(bits)
    spread = (_sixteen_bits(bits, 0) + _sixteen_bits(bits, 1) - 1.0) * (np.sqrt(6.0) * _MIDPOINT_SPREAD)
    middle = np.rint((bars.open + bars.close) / 2 + spread * (bars.high - bars.low)).astype(np.int64)
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
    share = 0.5 + _VOLUME_SPREAD * (_sixteen_bits(more, 3) - 0.5)
    left_volume = (bars.volume * share).astype(np.int64)
    return (
        Ticks(bars.open, left_high, left_low, middle, left_volume),
        Ticks(middle, right_high, right_low, bars.close, bars.volume - left_volume),
    )


def _sixteen_bits(bits: Hashes, part: int) -> Floats:
    """A number in [0, 1) from one of the four parts of a hash."""
    return np.asarray(((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65_536.0, np.float64)


def _mix(bits: Hashes) -> Hashes:
    """Spread the bits of each integer over all 64 (the finaliser of splitmix64)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)), np.uint64)
