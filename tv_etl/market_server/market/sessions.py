"""Trading days of an instrument: which there are, when each opens and closes, which bars it is cut into.

A *trading day* is the date a session belongs to; an overnight session opens on the evening before. Sessions are read
as far as the server's own schedules need it: ranges with auctions, parts by day, days before, versions by date. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.intervals import Interval

Integers = npt.NDArray[np.int64]

DAY_S = 86_400
DAY_MINUTES = 1_440
ROUND_THE_CLOCK = "24x7"

_EPOCH = datetime(1970, 1, 1)
_WEEKDAYS, _ALL_DAYS = "23456", "1234567"  # as sessions name them, Sunday first
_AUCTION = re.compile(r"[AE]\d{4}(-\d{4})?")
_LAST_DAY = 24_105  # 2035-12-31
_CLOSED = -1


@dataclass(frozen=True)
class Hours:
    """The segments of one trading day, in minutes after the day's local midnight; negative on the evening before."""

    segments: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read `0930-1600`, `1700-1700` (overnight), `2300F-2300`, `0900-1130,1230-1530` or `24x7`.

        Of `0930-1200A0900E0920-1206U1300-1600` the auctions are left out: nothing of them comes as a bar.
        """
        if text == ROUND_THE_CLOCK:
            return cls(((0, DAY_MINUTES),))
        segments = []
        for part in re.split("[,US]", _AUCTION.sub("", text)):
            start, end = map(_minute, part.split("-"))
            segments.append((start - DAY_MINUTES if start >= end else start, end))
        return cls(tuple(segments))

    @property
    def minutes(self) -> int:
        """How many minutes are traded."""
        return sum(end - start for start, end in self.segments)

    def bar_starts(self, width: int) -> Integers:
        """Which traded minutes (counted from 0) begin a bar: every `width`th of each segment."""
        starts, first = [], 0
        for start, end in self.segments:
            starts.append(np.arange(first, first + end - start, width, dtype=np.int64))
            first += end - start
        return np.concatenate(starts)

    def bar_offsets(self, interval: Interval) -> Integers:
        """Where each bar of an intraday interval opens, in seconds after local midnight."""
        step = interval.seconds
        return np.concatenate([np.arange(60 * start, 60 * end, step, dtype=np.int64) for start, end in self.segments])

    def clock_minutes(self) -> Integers:
        """Where each traded minute lies, in minutes after local midnight."""
        return np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in self.segments])


def _minute(clock: str) -> int:
    """Minutes after midnight of the trading day; `2300F2` is two days before, a bare F one."""
    time, is_earlier, days = clock.partition("F")
    return int(time[:2]) * 60 + int(time[2:]) - (int(days or 1) * DAY_MINUTES if is_earlier else 0)


def versions_of(text: str) -> list[tuple[int | None, str]]:
    """The versions of `0915-1530#20260803/0915-1515`, each with the day (since 1970-01-01) that it begins on."""
    first, *changes = text.split("#")
    dated = [change.split("/") for change in changes]
    return [(None, first), *((_day_numbers([day])[0], version) for day, version in dated)]


def weekly_hours(text: str) -> dict[int, Hours]:
    """The hours by weekday (Monday is 0) of one version, `0100-2300|2300F-2300:2`; a part with days wins."""
    week: dict[int, Hours] = {}
    for part in sorted(text.split("|"), key=lambda each: ":" in each):
        hours, _, days = part.partition(":")
        for digit in days or (_ALL_DAYS if hours == ROUND_THE_CLOCK else _WEEKDAYS):
            week[(int(digit) - 2) % 7] = Hours.parse(hours)
    return week


@dataclass(frozen=True)
class Schedule:
    """Trading hours in TradingView's spelling: what `symbol_resolved` shows and what the bars obey.

    `corrections` maps other hours, or `dayoff`, to the days (`YYYYMMDD`) that have them. Of a session and of corrected
    hours alike there may be versions by date.
    """

    session: str
    time_zone: str
    holidays: tuple[str, ...] = ()
    corrections: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def correction_text(self) -> str:
        """`0930-1300:20190703,20191129;dayoff:20250109`, or "" without corrections."""
        return ";".join(f"{hours}:{','.join(days)}" for hours, days in sorted(self.corrections.items()) if days)


class Calendar:
    """The trading days of a schedule from a first day on, as arrays.

    `days` counts days since 1970-01-01; `opens` and `closes` are UTC seconds; `kinds` indexes `hours`. A day with
    hours of its own is a trading day even on a weekend or a holiday.
    """

    def __init__(self, schedule: Schedule, first_day: int, last_day: int | None = None) -> None:
        self.is_round_the_clock = schedule.session == ROUND_THE_CLOCK
        end = _LAST_DAY if last_day is None else min(last_day, _LAST_DAY)
        days = np.arange(first_day, end + 1, dtype=np.int64)
        self.hours: list[Hours] = []
        kinds = np.full(len(days), _CLOSED, np.int64)
        for begins, version in versions_of(schedule.session):
            in_force = days >= (first_day if begins is None else begins)
            kinds[in_force] = _CLOSED
            for weekday, hours in sorted(weekly_hours(version).items()):
                kinds[in_force & ((days + 3) % 7 == weekday)] = self._kind(hours)
        kinds[np.isin(days, _day_numbers(schedule.holidays))] = _CLOSED
        for text, dates in schedule.corrections.items():
            is_corrected = np.isin(days, _day_numbers(dates))
            for begins, version in versions_of(text):
                in_force = is_corrected & (days >= (first_day if begins is None else begins))
                kinds[in_force] = _CLOSED if version == "dayoff" else self._kind(Hours.parse(version))
        self.days: Integers = days[kinds != _CLOSED]
        self.kinds: Integers = kinds[kinds != _CLOSED]
        earliest = min(first_day, 0)
        self.midnights: Integers = self.days * DAY_S - _utc_offsets(schedule.time_zone, earliest)[self.days - earliest]
        self.opens: Integers = self.midnights + 60 * self._per_kind([h.segments[0][0] for h in self.hours])
        self.closes: Integers = self.midnights + 60 * self._per_kind([h.segments[-1][1] for h in self.hours])
        self.minutes: Integers = self._per_kind([h.minutes for h in self.hours])

    def _kind(self, hours: Hours) -> int:
        if hours not in self.hours:
            self.hours.append(hours)
        return self.hours.index(hours)

    def _per_kind(self, values: list[int]) -> Integers:
        return np.array(values, np.int64)[self.kinds]

    def last_opened(self, moment: float) -> int:
        """Index of the last trading day that opened at or before the moment, -1 if none did."""
        return int(np.searchsorted(self.opens, moment, side="right")) - 1

    def is_open(self, moment: float) -> bool:
        """True while the instrument trades; a break between two segments counts as open."""
        index = self.last_opened(moment)
        return index >= 0 and moment < self.closes[index]

    def bar_opens(self, index: int, interval: Interval) -> Integers:
        """UTC opens of the bars of one trading day, for an intraday interval."""
        return np.asarray(self.midnights[index] + self.hours[self.kinds[index]].bar_offsets(interval), np.int64)

    def groups(self, interval: Interval) -> Integers:
        """The number of the daily, weekly or monthly bar, counted from 0, that each trading day belongs to."""
        return _groups(self, interval)

    def days_back(self, interval: Interval, last: int, count: int) -> int:
        """Index of the trading day where the `count`th daily or wider bar opens, counted back from `last`'s."""
        groups = self.groups(interval)
        return int(np.searchsorted(groups, groups[last] - count + 1))

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """The open of the `count`th newest intraday bar, None if there are fewer."""
        last = self.last_opened(now)
        if last < 0:
            return None
        total = _bars_until(self, interval)
        newest = self.bar_opens(last, interval)
        opened = int(np.searchsorted(newest, now, side="right"))
        place = int(total[last]) - len(newest) + opened - count
        if place < 0:
            return None
        day = int(np.searchsorted(total, place, side="right"))
        return int(self.bar_opens(day, interval)[place - (int(total[day - 1]) if day else 0)])

    def bar_close(self, interval: Interval, bar_open: int) -> int:
        """The `bar_close_time` of the bar with this open: one second less where it ends with its session."""
        index = self.last_opened(bar_open)
        if index < 0 or bar_open >= self.closes[index]:
            return bar_open + interval.seconds
        if interval.is_intraday:
            hours = self.hours[self.kinds[index]]
            ends = [int(self.midnights[index]) + 60 * end for _, end in hours.segments]
            session_end = next(end for end in ends if bar_open < end)
            bar_end = bar_open + interval.seconds
        else:
            groups = self.groups(interval)
            last = int(np.searchsorted(groups, groups[index], side="right")) - 1
            session_end = bar_end = int(self.closes[last])
        ends_with_session = bar_end >= session_end and not self.is_round_the_clock
        return int(min(bar_end, session_end)) - int(ends_with_session)

    def opens_after(self, interval: Interval, bar_open: int, count: int) -> list[int]:
        """The opens of the next bars to come, as far as the calendar reaches."""
        index = max(self.last_opened(bar_open), 0)
        if not interval.is_intraday:
            groups = self.groups(interval)
            firsts = np.flatnonzero(np.diff(groups, prepend=-1))
            later = firsts[self.opens[firsts] > bar_open][:count]
            return [int(moment) for moment in self.opens[later]]
        opens: list[int] = []
        while len(opens) < count and index < len(self.days):
            opens += [int(moment) for moment in self.bar_opens(index, interval) if moment > bar_open]
            index += 1
        return opens[:count]


@lru_cache(maxsize=128)
def calendar_of(schedule: Schedule, first_day: int, last_day: int | None = None) -> Calendar:
    """The calendar of a schedule from `first_day` (days since 1970-01-01) on; equal ones are shared."""
    return Calendar(schedule, first_day, last_day)


@lru_cache(maxsize=256)
def _groups(calendar: Calendar, interval: Interval) -> Integers:
    days = calendar.days
    if interval.unit == "d":
        return np.arange(len(days), dtype=np.int64) // interval.count
    if interval.unit == "w":
        numbers = (days + 3) // 7 // interval.count
    else:
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        numbers = months // interval.count
    # A week of holidays has no bar, so it must not count as one.
    return np.cumsum(np.diff(numbers, prepend=numbers[:1]) != 0)


@lru_cache(maxsize=256)
def _bars_until(calendar: Calendar, interval: Interval) -> Integers:
    """How many intraday bars there are up to the end of each day."""
    per_kind = np.array([len(hours.bar_offsets(interval)) for hours in calendar.hours], np.int64)
    return np.cumsum(per_kind[calendar.kinds])


def _day_numbers(texts: Iterable[str]) -> list[int]:
    ordinals = (date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal() for text in texts)
    return [ordinal - _EPOCH.toordinal() for ordinal in ordinals]


@lru_cache(maxsize=32)
def _utc_offsets(time_zone: str, first_day: int) -> Integers:
    """The zone's offset in seconds on each day that a calendar may hold."""
    # Noon stands for the whole session: no session is open while its own zone changes the clock.
    noon = _EPOCH.replace(hour=12, tzinfo=ZoneInfo(time_zone))
    days = range(first_day, _LAST_DAY + 1)
    offsets = [(noon + timedelta(days=day)).utcoffset() or timedelta() for day in days]
    return np.array([offset.total_seconds() for offset in offsets], np.int64)
