"""Daily bars built from finer ones, by the trading days of the instrument's own hours; pure.

A bar's day is that of the session it lies in, which may begin on the evening before, or have a break at noon; bars
outside every session (before the open, after the close) belong to none. The day opens with its first bar's open and
closes with its last one's close; its volume is the sum, or null where a bar has none. It is stamped, as TradingView
does it, with the open of its first session.

A day is built only if it is wholly stored: the server was asked for all of its time and none of its bars is in
quarantine. Minutes in which nobody traded are no bars and lack nothing; but a day of nothing is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import NamedTuple

import numpy as np

from tv_etl.lake.bars import PRICES, Bars
from tv_etl.lake.spans import Span, without
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import Seconds, Sessions, TradingHours

FIELDS = (*PRICES, "volume")
# Prices come out of the same digits; volumes are summed, and TradingView rounds its own.
_PRICE_TOLERANCE = 1e-9
_VOLUME_TOLERANCE = 1e-6

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_MARGIN_S = 4 * _DAY_S  # a day's sessions lie within so much of each other


class UnbuiltDay(NamedTuple):
    """A trading day that is not wholly stored, has no bar, or of which nobody knows whether it is.

    `number` counts days from 1970, `open_s` is where it begins; `missing_from` is the first open of a bar that was not
    asked for (UTC seconds), `quarantined` how many of its bars are in quarantine, `bars` how many are stored. `problem`
    says why it cannot be judged; without trading hours the day is a date in UTC.
    """

    number: int
    open_s: int
    missing_from: int | None
    quarantined: int
    bars: int = 0
    problem: str = ""

    @property
    def day(self) -> date:
        """The date of the trading day."""
        return date.fromordinal(self.number + _EPOCH)

    @property
    def is_empty(self) -> bool:
        """True where there is nothing to build the day of: no bar, or none that is known to be of it."""
        return not self.bars or bool(self.problem)

    @property
    def is_silent(self) -> bool:
        """True where the server was asked for all of the day, and had no bar."""
        return self.is_empty and self.missing_from is None and not self.quarantined and not self.problem

    @property
    def reason(self) -> str:
        """Why it is not built, for people."""
        if self.problem:
            return f"cannot be judged: {self.problem}"
        if self.is_silent:
            return "the server had no bar, though the exchange was open by its hours"
        if self.missing_from is None:
            return f"{self.quarantined} bars in quarantine"
        return f"not asked for from {datetime.fromtimestamp(self.missing_from, tz=timezone.utc):%Y-%m-%d %H:%M} UTC on"


@dataclass(frozen=True)
class DailyBars:
    """Days from the first stored finer bar's on, built or not."""

    bars: Bars
    unbuilt: tuple[UnbuiltDay, ...]

    @property
    def unbuilt_opens(self) -> frozenset[int]:
        """Where the days begin that lack something, and so are not built."""
        return frozenset(day.open_s for day in self.unbuilt if not day.is_silent)


def unjudged_days(fine: Bars, problem: str) -> DailyBars:
    """No day at all, for want of trading hours: each date (UTC) with finer bars is named, with what the problem is."""
    numbers, firsts, counts = np.unique(fine.times // _DAY_S, return_index=True, return_counts=True)
    days = zip(numbers.tolist(), fine.times[firsts].tolist(), counts.tolist(), strict=True)
    unbuilt = (UnbuiltDay(number, open_s, None, 0, bars, problem) for number, open_s, bars in days)
    return DailyBars(Bars.none(), tuple(unbuilt))


class Difference(NamedTuple):
    """A day of which two sources say different things; None where one has no volume, or (`field` is `bar`) no bar."""

    open_s: int
    field: str
    ours: float | None
    theirs: float | None


def daily_bars(
    fine: Bars,
    interval: Interval,
    hours: TradingHours,
    asked: Sequence[Span],
    quarantined: Seconds,
    *,
    until: int | None = None,
) -> DailyBars:
    """Build the days of finer bars, given the spans asked for and the times of bars in quarantine (UTC seconds).

    They are the days up to that of the last bar, and those that were over at `until`, though nothing is stored of them.
    """
    if not len(fine):
        return DailyBars(Bars.none(), ())
    first, last = int(fine.times[0]), int(fine.times[-1])
    until = last if until is None else until
    sessions = hours.sessions(first - _MARGIN_S, max(last, until) + _MARGIN_S)
    days, starts = np.unique(sessions.days, return_index=True)
    opens, closes = sessions.opens[starts], sessions.closes[np.append(starts[1:], len(sessions.days)) - 1]
    held = (closes > first) & ((opens <= last) | (closes <= until))
    if not held.any():
        return DailyBars(Bars.none(), ())
    days, opens, closes = days[held], opens[held], closes[held]

    holes = without([(int(opens[0]), int(closes[-1]))], asked)
    unasked = np.concatenate([np.empty(0, np.int64), *(hours.expected_between(interval, *hole) for hole in holes)])
    bar_days = sessions.day_of(fine.times)
    unbuilt = _unbuilt(days, sessions, unasked, quarantined, bar_days)
    whole_days = np.setdiff1d(days, [each.number for each in unbuilt])
    is_whole = np.isin(bar_days, whole_days)
    built, bars = _joined(fine.take(is_whole), bar_days[is_whole])
    stamped = Bars(opens[np.searchsorted(days, built)], bars.values, bars.has_volume)
    return DailyBars(stamped, tuple(unbuilt))


def _unbuilt(
    days: Seconds, sessions: Sessions, unasked: Seconds, quarantined: Seconds, bar_days: Seconds
) -> list[UnbuiltDay]:
    unasked_days, kept_out_days = sessions.day_of(unasked), sessions.day_of(quarantined)
    empty = np.setdiff1d(days, bar_days)
    found = []
    for day in np.intersect1d(days, np.concatenate([unasked_days, kept_out_days, empty])).tolist():
        missing = unasked[unasked_days == day]
        begin = int(sessions.opens[np.searchsorted(sessions.days, day)])
        first = int(missing[0]) if missing.size else None
        found.append(UnbuiltDay(day, begin, first, int((kept_out_days == day).sum()), int((bar_days == day).sum())))
    return found


def _joined(fine: Bars, days: Seconds) -> tuple[Seconds, Bars]:
    """A bar for each run of bars of the same day, stamped with the first one's time; and the days."""
    built, starts = np.unique(days, return_index=True)
    if not built.size:
        return built, Bars.none()
    ends = np.append(starts[1:], len(fine)) - 1
    opened, highs, lows, closed, volumes = fine.values
    values = np.stack(
        [
            opened[starts],
            np.maximum.reduceat(highs, starts),
            np.minimum.reduceat(lows, starts),
            closed[ends],
            np.add.reduceat(volumes, starts),
        ]
    )
    has_volume = np.logical_and.reduceat(fine.has_volume, starts)
    values[4, ~has_volume] = 0.0
    return built, Bars(fine.times[starts], values, has_volume)


def differences(ours: DailyBars, theirs: Bars) -> list[Difference]:
    """What is not the same in the days that both have, or that only one has of the time that both know."""
    mine = ours.bars
    found = []
    _, in_mine, in_theirs = np.intersect1d(mine.times, theirs.times, return_indices=True)
    for row, field in enumerate(FIELDS):
        left, right = mine.values[row, in_mine], theirs.values[row, in_theirs]
        has_left = mine.has_volume[in_mine] if field == "volume" else np.ones(len(left), np.bool_)
        has_right = theirs.has_volume[in_theirs] if field == "volume" else np.ones(len(left), np.bool_)
        tolerance = _VOLUME_TOLERANCE if field == "volume" else _PRICE_TOLERANCE
        differs = (has_left != has_right) | ~np.isclose(left, right, rtol=tolerance, atol=0.0)
        for place in np.flatnonzero(differs).tolist():
            values = (
                float(side[place]) if has[place] else None for side, has in ((left, has_left), (right, has_right))
            )
            found.append(Difference(int(mine.times[in_mine[place]]), field, *values))
    return sorted([*found, *_only_in_one(mine, theirs, ours.unbuilt_opens)])


def _only_in_one(mine: Bars, theirs: Bars, unbuilt_opens: frozenset[int]) -> list[Difference]:
    if not len(mine) or not len(theirs):
        return []
    first, last = max(mine.times[0], theirs.times[0]), min(mine.times[-1], theirs.times[-1])
    found = []
    for ours_has, times, others in ((True, mine.times, theirs.times), (False, theirs.times, mine.times)):
        for time in np.setdiff1d(times, others).tolist():
            if first <= time <= last and time not in unbuilt_opens:
                found.append(Difference(time, "bar", 1.0 if ours_has else None, None if ours_has else 1.0))
    return found
