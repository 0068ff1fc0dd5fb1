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
    0930-1200A0900E0920-1206U1300-1600E1300-1611
                                  A and E begin a window of an auction, which is no trading; U and S begin the next
                                  range, here 13:00 to 16:00 after 09:30 to 12:00
    0915-1530#20260803/0915-1515  versions: the first until the day before the date, the second from it on

For one trading day a correction that names it wins, then the holidays, then the weekday's part of the version in
force on that day. A letter that is not among these is not guessed at: it is an error.
"""

import json
import math
import re
from bisect import bisect_right
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
_WEEK_S = 7 * _DAY_S
_MOST_WEEKS = 60  # of which sessions are kept
_EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY = 4  # a Thursday, counted from Sunday = 0
_SUNDAY, _MONDAY = 0, 1
_WEEKEND = frozenset({0, 6})
_BLOCK_DAYS = 256
_CHANGING = 1 << 40

_BEGINNING = -(1 << 62)  # before any day

_CLOCK = "(?:[01][0-9]|2[0-4])[0-5][0-9](?:F[0-9]?)?"
_RANGE = re.compile(f"({_CLOCK})-({_CLOCK})")
_AUCTION = re.compile(f"[AE]({_CLOCK})(?:-({_CLOCK}))?")
_NEXT_RANGE = "US"
_LETTERS = frozenset("AEFSU")
_PART = re.compile(r"(?P<ranges>[^:]+)(?::(?P<days>[1-7]{1,7}))?")
_CHANGE = re.compile("#([0-9]{8})/")


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
    one, or none, whatever the session string and the holidays say (`0930-1300:20251128;dayoff:20250109`). Versions
    hold for the day they are asked of, in corrections too: `1800-1900#20260803/1815-1915:20251021,20261108`.
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

    def trading_days(self, interval: Interval, opens: Seconds) -> Seconds:
        """The trading day of each bar, counted from 1970, by when they open (UTC seconds, ascending).

        That of the first session which the bar overlaps: a bar of a week or a month has the day that it begins with. A
        bar that overlaps none (before the open, or of a day that these hours call closed) has the date at the exchange,
        which begins on the evening before where every session does. Raises IntervalError for tick and range bars.
        """
        width = interval.seconds
        if not opens.size:
            return opens
        calendar = _calendar(self)
        days, starts, ends = _sessions(calendar, int(opens[0]), int(opens[-1]) + width)
        # Sessions are looked up among the bars, of which there are many more; between two of them may be bars of none.
        lasts = np.searchsorted(opens, ends)
        firsts = np.maximum(np.searchsorted(opens, starts - width, side="right"), np.append(0, lasts)[:-1])
        counts = np.diff(np.stack([firsts, lasts], axis=1).ravel(), prepend=0, append=len(opens))
        labels = np.full(counts.shape, NO_DAY, dtype=np.int64)
        labels[1::2] = days
        found = np.repeat(labels, counts)
        outside = found == NO_DAY
        if outside.any():
            found[outside] = _dates(calendar, opens[outside])
        return found


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


class _Version(NamedTuple):
    """The hours of the trading days from one on, until the next version begins."""

    begins: int  # in days since 1970
    week: tuple[_Ranges, ...]  # by weekday, Sunday = 0
    first_weekday: int


@dataclass(frozen=True, eq=False)  # of equal hours there is one
class _Calendar:
    versions: tuple[_Version, ...]  # ascending; the first begins with time
    begins: tuple[int, ...]  # of each version
    exceptions: dict[int, _Ranges]  # by days since 1970; no ranges: closed
    zone: ZoneInfo
    earliest: int  # of all opens, in minutes from midnight of the trading day
    latest: int  # of all closes

    def in_force(self, first: int, last: int) -> list[tuple[_Version, int, int]]:
        """The versions of the days from `first` to `last`, with the days of each, half-open."""
        places = range(bisect_right(self.begins, first) - 1, bisect_right(self.begins, last))
        ends = (*self.begins[1:], last + 1)
        return [(self.versions[place], max(first, self.begins[place]), min(last + 1, ends[place])) for place in places]


@lru_cache(maxsize=1024)
def _calendar(hours: TradingHours) -> _Calendar:
    versions = tuple(_Version(begins, *_parse_session(text)) for begins, text in _parse_versions(hours.session))
    exceptions: dict[int, _Ranges] = dict.fromkeys(_parse_days(hours.holidays), ())
    exceptions.update(_parse_corrections(hours.corrections))
    weeks = {ranges for version in versions for ranges in version.week}
    spans = [span for ranges in (*weeks, *exceptions.values()) for span in ranges]
    return _Calendar(
        versions=versions,
        begins=tuple(version.begins for version in versions),
        exceptions=exceptions,
        zone=_parse_zone(hours.timezone),
        earliest=min((span.opens for span in spans), default=0),
        latest=max((span.closes for span in spans), default=0),
    )


def _parse_versions(text: str) -> list[tuple[int, str]]:
    """Each version and the day that it begins on, in days since 1970, ascending."""
    first, *rest = _CHANGE.split(text)
    return _in_order(text, [("", first), *zip(rest[::2], rest[1::2], strict=True)])


def _in_order(text: str, versions: Iterable[tuple[str, str]]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for date_text, version in versions:
        begins = _parse_days(date_text)[0] if date_text else _BEGINNING
        if found and begins <= found[-1][0]:
            raise TradingHoursError(text, f"the version from {date_text} on does not begin after the one before it")
        found.append((begins, version))
    if len(found) > 1 and not all(version for _, version in found):
        raise TradingHoursError(text, "one of its versions is empty: expected e.g. 0915-1530#20260803/0915-1515")
    return found


def _parse_corrections(text: str) -> dict[int, _Ranges]:
    """The ranges of each corrected day, in days since 1970."""
    found: dict[int, _Ranges] = {}
    versions = _parse_corrected_versions(text)
    ends = [*(begins for begins, _ in versions[1:]), math.inf]
    for (begins, version), end in zip(versions, ends, strict=True):
        for part in filter(None, version.split(";")):
            ranges, colon, listed = part.rpartition(":")
            if not colon:
                raise TradingHoursError(text, f"{part!r} names no day: expected e.g. 0930-1300:20251128")
            by_day = [(day, () if each == "dayoff" else _parse_ranges(each)) for day, each in _parse_versions(ranges)]
            days = [day for day, _ in by_day]
            for day in _parse_days(listed):
                if begins <= day < end:
                    found[day] = by_day[bisect_right(days, day) - 1][1]
    return found


def _parse_corrected_versions(text: str) -> list[tuple[int, str]]:
    """Versions of all corrections, `A:days#D/B:days`; those of one correction's hours, `A#D/B:days`, stay in it."""
    first, *rest = _CHANGE.split(text)
    versions = [("", [first])]
    names_days = ":" in first.rpartition(";")[2]
    for date_text, piece in zip(rest[::2], rest[1::2], strict=True):
        if names_days:
            versions.append((date_text, [piece]))
        else:
            versions[-1][1].append(f"#{date_text}/{piece}")
        names_days = ":" in piece.rpartition(";")[2]
    return _in_order(text, ((date_text, "".join(pieces)) for date_text, pieces in versions))


def _parse_session(text: str) -> tuple[tuple[_Ranges, ...], int]:
    """(ranges by weekday, first weekday of a week) of one version."""
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
        ranges = _parse_ranges(match["ranges"])
        days = match["days"] or ("1234567" if ranges is _ALL_DAY else None)
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
    """The trading in `0930-1200A0900E0920-1206U1300-1600,1700-1800`, or all of a day."""
    if text == "24x7":
        return _ALL_DAY
    found = []
    for piece in text.split(","):
        place = 0
        while True:
            match = _RANGE.match(piece, place)
            if match is None:
                raise _unreadable(text, piece[place:])
            found.append(_parse_range(match[1], match[2], text))
            place = match.end()
            while auction := _AUCTION.match(piece, place):
                for clock in filter(None, auction.groups()):
                    _parse_time(clock, text)
                place = auction.end()
            if place == len(piece):
                break
            if piece[place] not in _NEXT_RANGE:
                raise _unreadable(text, piece[place:])
            place += 1
    return tuple(sorted(found))


def _unreadable(text: str, rest: str) -> TradingHoursError:
    unknown = next((letter for letter in rest if letter.isalpha() and letter not in _LETTERS), None)
    if unknown is not None:
        return TradingHoursError(text, f"it is not known what the letter {unknown!r} in it means")
    if "#" in rest or "/" in rest:
        return TradingHoursError(text, "a version begins with #YYYYMMDD/, as in 0915-1530#20260803/0915-1515")
    return TradingHoursError(text, "expected HHMM-HHMM, at most 2400")


def _parse_range(first: str, second: str, text: str) -> _Range:
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


def _parse_time(clock: str, text: str) -> tuple[int, int | None]:
    """(minutes from midnight, how many days before the trading day if the text says so)."""
    minutes = int(clock[:2]) * 60 + int(clock[2:4])
    if minutes > 1440:
        raise _unreadable(text, "")
    return minutes, int(clock[5:] or 1) if clock[4:] else None


def _parse_days(text: str) -> list[int]:
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
    # The symbols of one market are asked about one after the other, each from and to another bar of the same weeks.
    first, last = since // _WEEK_S, (until - 1) // _WEEK_S + 1
    is_short = last - first <= _MOST_WEEKS
    within = _sessions_of_weeks(calendar, first, last) if is_short else _all_sessions(calendar, since, until)
    days, opens, closes = within
    kept = (opens < until) & (closes > since) & (since < until)
    return days[kept], opens[kept], closes[kept]


@lru_cache(maxsize=256)
def _sessions_of_weeks(calendar: _Calendar, first: int, last: int) -> tuple[Seconds, Seconds, Seconds]:
    return _all_sessions(calendar, first * _WEEK_S, last * _WEEK_S)


def _all_sessions(calendar: _Calendar, since: int, until: int) -> tuple[Seconds, Seconds, Seconds]:
    """The same, and maybe some before and after."""
    # A zone is less than a day away from UTC; a session may overlap another one that is over before `since`.
    longest = calendar.latest - calendar.earliest
    first = (since - (calendar.latest + longest) * 60) // _DAY_S - 1
    last = (until - calendar.earliest * 60) // _DAY_S + 1
    days = np.arange(first, last + 1, dtype=np.int64)
    weekdays = (days + _EPOCH_WEEKDAY) % 7
    exceptions = {day: ranges for day, ranges in calendar.exceptions.items() if first <= day <= last}
    weekdays[[day - first for day in exceptions]] = -1
    chunks = []
    for version, begin, end in calendar.in_force(first, last):
        held, held_weekdays = days[begin - first : end - first], weekdays[begin - first : end - first]
        chunks += [_local(held[held_weekdays == weekday], ranges) for weekday, ranges in enumerate(version.week)]
    chunks += [_local(np.array([day]), ranges) for day, ranges in exceptions.items()]
    table = np.concatenate(chunks)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    closes = _to_utc(table[:, 2], calendar.zone)
    opens = _to_utc(table[:, 1], calendar.zone)
    # Where ranges overlap, the earlier one keeps its time.
    opens[1:] = np.maximum(opens[1:], np.maximum.accumulate(closes)[:-1])
    kept = opens < closes
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
    for block in sorted(set(blocks.tolist())):  # np.unique would import numpy.ma
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


def _dates(calendar: _Calendar, times: Seconds) -> Seconds:
    """The date of each time at the exchange; where every session opens on the evening before, it begins with them."""
    first, last = int(times[0]) // _DAY_S - 2, int(times[-1]) // _DAY_S + 3
    days = np.arange(first, last + 1, dtype=np.int64)
    begins = days * _DAY_S
    for version, begin, end in calendar.in_force(first, last):
        latest = max(ranges[0].opens for ranges in version.week if ranges)
        begins[begin - first : end - first] += min(max(latest, -1440), 0) * 60
    found: Seconds = np.repeat(days, np.diff(np.searchsorted(times, _to_utc(begins, calendar.zone)), append=len(times)))
    return found


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
        versions = np.searchsorted(calendar.begins, days, side="right") - 1
        firsts = np.array([version.first_weekday for version in calendar.versions], dtype=np.int64)[versions]
        # Where weeks begin on another day from a date on, no day goes back to the week before its own.
        return np.maximum.accumulate(days - (days + _EPOCH_WEEKDAY - firsts) % 7)
    if interval.unit == "mo" and 12 % interval.count == 0:
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return months // interval.count
    raise IntervalError(interval.token, "it is not known which days share a bar")
