"""When an instrument trades, and which bars must therefore exist.

TradingView sends its own calendar with every resolved symbol: a session string, a time zone, holidays and
corrections. This module reads it; no other calendar is consulted, because the bars follow that one. Pure: it
reads no clock and no file. The lake's gaps and the checks use it.

A *trading day* is the date a session belongs to; an overnight session opens on the evening before it.

    24x7                          every day, midnight to midnight
    0930-1600                     Monday to Friday
    1700-1700                     overnight: Monday's session opens on Sunday at 17:00
    0900-1130,1230-1500           a break at noon
    0930-1600:23456               on the named trading days, 1 = Sunday ... 7 = Saturday
    0900-1630|0900-1400:2         a part with days replaces the one without, here on Mondays
    1;1000-1500:12345             a week begins on the named day, here on Sunday (by default Monday)
    1800F2-1700                   the time lies that many days before the trading day; a bare F is one day
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval

Seconds = npt.NDArray[np.int64]

NO_DAY = -(1 << 62)

_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY = 4  # a Thursday, counted from Sunday = 0
_SUNDAY, _MONDAY = 0, 1
_WEEKEND = frozenset({0, 6})
_BLOCK_DAYS = 256
_CHANGING = 1 << 40

_TIME = re.compile(r"(?P<hours>[01][0-9]|2[0-4])(?P<minutes>[0-5][0-9])(?:(?P<mark>F)(?P<earlier>[0-9]?))?")
_PART = re.compile(r"(?P<ranges>[^:]+)(?::(?P<days>[1-7]{1,7}))?")


class TradingHoursError(ValueError):
    """A session, holiday or correction text, or a time zone, that cannot be read.

    `text` is the offending text, `reason` says what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"trading hours {text!r}: {reason}")
        self.text = text
        self.reason = reason


class GapRun(NamedTuple):
    """Consecutive bars that should exist and do not: opens of the first and the last, and how many."""

    first: int
    last: int
    bars: int


class Sessions(NamedTuple):
    """Sessions one after the other: the trading day of each, counted from 1970, its open and close in UTC seconds."""

    days: Seconds
    opens: Seconds
    closes: Seconds

    def day_of(self, times: Seconds) -> Seconds:
        """The trading day in whose session each time lies; NO_DAY where it lies in none."""
        places = np.searchsorted(self.opens, times, side="right") - 1
        found = np.full(len(times), NO_DAY, dtype=np.int64)
        inside = (places >= 0) & (times < self.closes[places]) if self.opens.size else np.zeros(len(times), np.bool_)
        found[inside] = self.days[places[inside]]
        return found


@dataclass(frozen=True)
class TradingHours:
    """The hours of one session (regular, extended, ...) of one instrument, in TradingView's spelling.

    `holidays` are trading days without a session (`YYYYMMDD,YYYYMMDD`); `corrections` are days with another
    one, or none, whatever the session string and the holidays say (`0930-1300:20251128;dayoff:20250109`).
    Raises TradingHoursError where a text is malformed.
    """

    session: str
    timezone: str
    holidays: str = ""
    corrections: str = ""

    def __post_init__(self) -> None:
        _calendar(self)

    @classmethod
    def of_symbol(cls, info: Mapping[str, Any], session: str = "regular") -> "TradingHours":
        """Read the hours from a `symbol_resolved` description; the defaults are 24x7 and UTC.

        A description without a subsession of that name falls back to the hours it was resolved with.
        Raises TradingHoursError where a text is malformed.
        """
        try:
            subsessions = {part.get("id"): part for part in info.get("subsessions") or ()}
            part = subsessions.get(session) or subsessions.get(info.get("subsession_id")) or {}
            fields = {
                "session": part.get("session") or info.get("session") or "24x7",
                "timezone": info.get("timezone") or "Etc/UTC",
                "holidays": info.get("session_holidays") or "",
                "corrections": part.get("session-correction") or "",
            }
        except (TypeError, AttributeError):
            raise TradingHoursError(repr(info.get("subsessions")), "subsessions are not a list of objects") from None
        for value in fields.values():
            if not isinstance(value, str):
                raise TradingHoursError(repr(value), "not a string")
        return cls(**fields)

    def to_json(self) -> str:
        """Write the hours as one JSON object, e.g. for the metadata of a file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "TradingHours":
        """Read what `to_json` wrote. Raises TradingHoursError for anything else."""
        try:
            fields = json.loads(text)
            if not all(isinstance(value, str) for value in fields.values()):
                raise TypeError("every field must be a string")
            return cls(**fields)
        except TradingHoursError:
            raise
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise TradingHoursError(str(text), f"not written by to_json: {error}") from error

    def spans(self, start: datetime, end: datetime) -> list[tuple[int, int]]:
        """Open spans in UTC seconds, half-open, ascending, clipped to [start, end).

        Sessions that follow each other without a break are one span, e.g. a whole currency week.
        """
        since, until = _whole_second(start), _whole_second(end)
        _, opens, closes = _sessions(_calendar(self), since, until)
        if not opens.size:
            return []
        breaks = opens[1:] > closes[:-1]
        firsts = np.maximum(opens[np.append(True, breaks)], since)
        lasts = np.minimum(closes[np.append(breaks, True)], until)
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))

    def sessions(self, since: int, until: int) -> Sessions:
        """The sessions that touch a span of UTC seconds, ascending and whole."""
        return Sessions(*_sessions(_calendar(self), since, until))

    def whole_sessions(self, interval: Interval, run: "GapRun") -> int:
        """How many sessions lie wholly in a run of bars: trading days, or the bars themselves from a day on."""
        if not interval.is_intraday:
            return run.bars
        until = run.last + interval.seconds
        days, opens, closes = _sessions(_calendar(self), run.first, until)
        is_inside = (opens >= run.first) & (closes <= until)
        # A day with a break at noon is missing if all its parts are.
        return len(np.unique(days[is_inside])) - len(np.intersect1d(days[is_inside], days[~is_inside]))

    def is_open(self, at: datetime) -> bool:
        """True while a session runs: at its open, not at its close."""
        # Rounded down: the last half second before the close is still open.
        second = _whole_second(at.replace(microsecond=0))
        _, opens, _ = _sessions(_calendar(self), second, second + 1)
        return bool(opens.size)

    def expected(self, interval: Interval, start: datetime, end: datetime) -> Seconds:
        """Opens t of the bars a complete series holds, in UTC seconds, ascending, start <= t < end.

        Intraday bars are counted from the start of each session, so its last bar may be short. A bar of a
        day, week or month opens with its first session, which may be on the evening before; TradingView
        builds them from the regular session, so ask its hours for them.

        Raises IntervalError for tick and range bars, and for groups of days, weeks or months whose first
        member is not known (2 days, 2 weeks, 5 months).
        """
        return self.expected_between(interval, _whole_second(start), _whole_second(end))

    def expected_between(self, interval: Interval, since: int, until: int) -> Seconds:
        """`expected` from and to UTC seconds."""
        calendar = _calendar(self)
        if interval.is_intraday:
            _, opens, closes = _sessions(calendar, since, until)
            bars = _steps(opens, closes, interval.seconds)
        else:
            # The group that holds `start` may have begun, and have its bar, before it.
            days, opens, _ = _sessions(calendar, since - interval.seconds - 31 * _DAY_S, until)
            groups = _groups(calendar, days, interval)
            bars = opens[np.append(True, groups[1:] != groups[:-1])] if opens.size else opens
        return bars[np.searchsorted(bars, since) : np.searchsorted(bars, until)]

    def closes_between(self, interval: Interval, since: int, until: int) -> Seconds:
        """When each of the bars of `expected_between` ends: with its session at the latest.

        A bar of a day, week or month ends with its last session. Raises IntervalError as `expected` does.
        """
        opens = self.expected_between(interval, since, until)
        if not opens.size:
            return opens
        last = int(opens[-1])
        beyond = last + interval.seconds + (0 if interval.is_intraday else 31 * _DAY_S)
        _, _, closes = _sessions(_calendar(self), since, beyond)
        if interval.is_intraday:
            return np.minimum(opens + interval.seconds, closes[np.searchsorted(closes, opens, "right")])
        later = self.expected_between(interval, last + 1, beyond)
        nexts = np.append(opens[1:], later[0] if later.size else beyond)
        return closes[np.searchsorted(closes, nexts, "right") - 1]


def gap_runs(expected: Seconds, stored: Seconds) -> list[GapRun]:
    """Runs of expected bars that are not stored, oldest first. Both ascend.

    Stored bars that nobody expected are not gaps.
    """
    places = np.searchsorted(stored, expected)
    known = places < stored.size
    present = np.zeros(expected.size, dtype=np.bool_)
    present[known] = stored[places[known]] == expected[known]
    edges = np.flatnonzero(np.diff(~present, prepend=False, append=False))
    firsts, ends = edges[0::2], edges[1::2]
    runs = zip(expected[firsts].tolist(), expected[ends - 1].tolist(), (ends - firsts).tolist(), strict=True)
    return [GapRun(*run) for run in runs]


class _Range(NamedTuple):
    """An open span of a trading day, in minutes from its local midnight; negative before it."""

    opens: int
    closes: int


_Ranges = tuple[_Range, ...]
_ALL_DAY: _Ranges = (_Range(0, 1440),)


@dataclass(frozen=True)
class _Calendar:
    week: tuple[_Ranges, ...]  # by weekday, Sunday = 0
    first_weekday: int
    exceptions: dict[int, _Ranges]  # by days since 1970; no ranges: closed
    zone: ZoneInfo
    earliest: int  # of all opens, in minutes from midnight of the trading day
    latest: int  # of all closes


@lru_cache(maxsize=1024)
def _calendar(hours: TradingHours) -> _Calendar:
    week, first_weekday = _parse_session(hours.session)
    exceptions: dict[int, _Ranges] = dict.fromkeys(_parse_days(hours.holidays), ())
    for part in filter(None, hours.corrections.split(";")):
        ranges, colon, days = part.rpartition(":")
        if not colon:
            raise TradingHoursError(hours.corrections, f"{part!r} names no day: expected e.g. 0930-1300:20251128")
        exceptions.update(dict.fromkeys(_parse_days(days), () if ranges == "dayoff" else _parse_ranges(ranges)))
    spans = [span for ranges in (*week, *exceptions.values()) for span in ranges]
    return _Calendar(
        week=week,
        first_weekday=first_weekday,
        exceptions=exceptions,
        zone=_parse_zone(hours.timezone),
        earliest=min((span.opens for span in spans), default=0),
        latest=max((span.closes for span in spans), default=0),
    )


def _parse_session(text: str) -> tuple[tuple[_Ranges, ...], int]:
    """(ranges by weekday, first weekday of a week)."""
    everyday: list[_Range] = []
    by_day: dict[int, list[_Range]] = {}
    first_weekday = _MONDAY
    for piece in text.replace(";", "|").split("|"):
        if re.fullmatch("[1-7]", piece):
            first_weekday = int(piece) - 1
            continue
        match = _PART.fullmatch(piece)
        if match is None:
            raise TradingHoursError(text, f"{piece!r} is not e.g. 0930-1600 or 0930-1600:23456")
        always = match["ranges"] == "24x7"
        ranges = _ALL_DAY if always else _parse_ranges(match["ranges"])
        days = match["days"] or ("1234567" if always else None)
        if days is None:
            everyday.extend(ranges)
        for digit in sorted(set(days or "")):
            by_day.setdefault(int(digit) - 1, []).extend(ranges)
    if not everyday and not by_day:
        raise TradingHoursError(text, "it names no hours: expected e.g. 0930-1600")
    for day in {*range(7)} - _WEEKEND:
        by_day.setdefault(day, everyday)
    return tuple(tuple(sorted(by_day.get(day, ()))) for day in range(7)), first_weekday


def _parse_ranges(text: str) -> _Ranges:
    return tuple(sorted(_parse_range(part) for part in text.split(",")))


def _parse_range(text: str) -> _Range:
    first, _, second = text.partition("-")
    opens, opens_earlier = _parse_time(first, text)
    closes, closes_earlier = _parse_time(second, text)
    if closes == 0 and closes_earlier is None:
        closes = 1440  # a session that ended with the midnight before its day would not touch its day
    if opens_earlier is None and closes_earlier is None and opens >= closes:
        opens_earlier = 1
    opens -= 1440 * (opens_earlier or 0)
    closes -= 1440 * (closes_earlier or 0)
    if opens >= closes:
        raise TradingHoursError(text, "it closes before it opens")
    return _Range(opens, closes)


def _parse_time(text: str, context: str) -> tuple[int, int | None]:
    """(minutes from midnight, how many days before the trading day if the text says so)."""
    match = _TIME.fullmatch(text)
    minutes = int(match["hours"]) * 60 + int(match["minutes"]) if match else 0
    if match is None or minutes > 1440:
        raise TradingHoursError(context, "expected HHMM-HHMM, at most 2400")
    return minutes, int(match["earlier"] or 1) if match["mark"] else None


def _parse_days(text: str) -> Iterable[int]:
    """Days since 1970 of `YYYYMMDD,YYYYMMDD`."""
    days = []
    for part in filter(None, text.split(",")):
        try:
            if re.fullmatch("[0-9]{8}", part) is None:
                raise ValueError("expected YYYYMMDD")
            day = date(int(part[:4]), int(part[4:6]), int(part[6:]))
        except ValueError as error:
            raise TradingHoursError(part, str(error)) from error
        days.append(day.toordinal() - _EPOCH_ORDINAL)
    return days


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, not a name, a directory of names
        raise TradingHoursError(name, "not an IANA time zone") from error


def _whole_second(at: datetime) -> int:
    """The first whole second not before `at`: no whole second lies between the two."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone: pass an aware datetime")
    return math.ceil(at.timestamp())


def _sessions(calendar: _Calendar, since: int, until: int) -> tuple[Seconds, Seconds, Seconds]:
    """(trading days, opens, closes) of the sessions that touch [since, until), disjoint and ascending.

    Days count from 1970, opens and closes are UTC seconds.
    """
    # A zone is less than a day away from UTC; a session may overlap another one that is over before `since`.
    longest = calendar.latest - calendar.earliest
    first = (since - (calendar.latest + longest) * 60) // _DAY_S - 1
    last = (until - calendar.earliest * 60) // _DAY_S + 1
    days = np.arange(first, last + 1, dtype=np.int64)
    weekdays = (days + _EPOCH_WEEKDAY) % 7
    exceptions = {day: ranges for day, ranges in calendar.exceptions.items() if first <= day <= last}
    weekdays[[day - first for day in exceptions]] = -1
    chunks = [_local(days[weekdays == weekday], ranges) for weekday, ranges in enumerate(calendar.week)]
    chunks += [_local(np.array([day]), ranges) for day, ranges in exceptions.items()]
    table = np.concatenate(chunks)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    closes = _to_utc(table[:, 2], calendar.zone)
    opens = _to_utc(table[:, 1], calendar.zone)
    # Where ranges overlap, the earlier one keeps its time.
    opens[1:] = np.maximum(opens[1:], np.maximum.accumulate(closes)[:-1])
    kept = (opens < closes) & (opens < until) & (closes > since) & (since < until)
    return table[kept, 0], opens[kept], closes[kept]


def _local(days: Seconds, ranges: _Ranges) -> Seconds:
    """Rows of (day, open, close) in seconds of local time since 1970."""
    table = np.empty((len(ranges), days.size, 3), dtype=np.int64)
    table[:] = days[:, None]
    for row, (opens, closes) in zip(table, ranges, strict=True):
        row[:, 1] = days * _DAY_S + opens * 60
        row[:, 2] = days * _DAY_S + closes * 60
    return table.reshape(-1, 3)


def _to_utc(local: Seconds, zone: ZoneInfo) -> Seconds:
    """A time that the clocks skip is read as if they had not; of a repeated one, the first counts."""
    days = local // _DAY_S
    blocks, places = np.divmod(days, _BLOCK_DAYS)
    offsets = np.empty_like(local)
    for block in np.unique(blocks).tolist():
        inside = blocks == block
        offsets[inside] = _offsets(zone, block)[places[inside]]
    changing = np.flatnonzero(offsets == _CHANGING)
    offsets[changing] = [_offset(second, zone) for second in local[changing].tolist()]
    return local - offsets


@lru_cache(maxsize=4096)
def _offsets(zone: ZoneInfo, block: int) -> Seconds:
    """The zone's offset on each day of a block; _CHANGING where it changes in the course of the day."""
    first = block * _BLOCK_DAYS
    at_midnights = [_offset(day * _DAY_S, zone) for day in range(first, first + _BLOCK_DAYS + 1)]
    pairs = pairwise(at_midnights)
    return np.array([before if before == after else _CHANGING for before, after in pairs], dtype=np.int64)


def _offset(local: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(seconds=local)).replace(tzinfo=zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _steps(opens: Seconds, closes: Seconds, step: int) -> Seconds:
    """opens, opens + step, ... below closes, of every session."""
    counts = (closes - opens + step - 1) // step
    starts: Seconds = np.repeat(opens - (np.cumsum(counts) - counts) * step, counts)
    return starts + step * np.arange(starts.size, dtype=np.int64)


def _groups(calendar: _Calendar, days: Seconds, interval: Interval) -> Seconds:
    """A number per trading day, the same for the days of one bar."""
    if interval.unit == "d" and interval.count == 1:
        return days
    if interval.unit == "w" and interval.count == 1:
        return (days + _EPOCH_WEEKDAY - calendar.first_weekday) // 7
    if interval.unit == "mo" and 12 % interval.count == 0:
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return months // interval.count
    raise IntervalError(interval.token, "it is not known which days share a bar")
