"""Which bars a client asks for: the resolution, range and time frame arguments of the wire."""

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timezone

from tv_etl.tradingview.intervals import Interval

# A start that only the loaded bars tell: a time frame counts back from the newest one.
FROM_NEWEST = -1
LAST_SESSION = "LASTSESSION"
BEGINNING = -(10**11)  # UTC seconds; no bar is as old

_RESOLUTION = re.compile(r"(?P<count>[1-9][0-9]{0,3})?(?P<unit>[SHDWMTR]?)")
_FROM_TO = re.compile(r"r,(?P<start>[0-9]{1,12}):(?P<end>[0-9]{1,12})")
_PERIOD = re.compile(r"(?P<count>[1-9][0-9]{0,2})(?P<unit>[DM]?)")


class InvalidParameters(ValueError):
    """Parameters that the live server answers with a critical_error."""


@dataclass(frozen=True)
class Range:
    """Which bars a client asks for.

    The newest `count`, or those from `start` on if these are more. With `before` it is those before it alone, and
    with `is_forward` the first `count` from `start` on. `frame` is the text of a time frame, `end` where it ends.
    """

    count: int = 0
    start: int | None = None
    before: int | None = None
    is_forward: bool = False
    frame: str = ""
    end: int | None = None


def parse_resolution(text: object) -> Interval:
    """Read a resolution as the wire has it: `1`, `60`, `1H`, `D`, `1D`, `1W`, `3M`, `10S`. Raises InvalidParameters."""
    if not isinstance(text, str) or not text:
        raise InvalidParameters
    match = _RESOLUTION.fullmatch(text)
    if match is None or (match["count"] is None and match["unit"] not in ("D", "W", "M", "S")):
        raise InvalidParameters
    interval = Interval.parse(text)
    if interval.unit == "m" and interval.count > 1_440:
        raise InvalidParameters
    return interval


def parse_range(value: object, frame: object) -> Range:
    """Read the `range` and `timeframe` arguments. Raises InvalidParameters."""
    if isinstance(value, str) and value:  # modify_series has its time frame in the place of the range
        value, frame = 0, value
    if not isinstance(frame, str) or isinstance(value, bool):
        raise InvalidParameters
    start, end = _frame_span(frame) if frame else (None, None)
    match value:
        case "" | None:
            return Range(start=start, end=end, frame=frame)
        case int():
            return Range(max(value, 0), start, frame=frame, end=end)
        case ["bar_count", int(moment), int(count)] if count < 0:
            return Range(-count, start=moment, is_forward=True)
        case ["bar_count", int(moment), int(count)]:
            return Range(count, before=moment + 1)
        case ["from_to", int(moment), int(until)]:
            return Range(start=moment, before=until + 1)
        case ["from_to", int(moment)]:
            return Range(start=moment)
        case _:
            raise InvalidParameters


def frame_start(frame: str, newest: int) -> int:
    """Where a time frame such as `12M`, `5` (days) or `YTD` begins if the newest bar opens at `newest`, UTC seconds."""
    day = datetime.fromtimestamp(newest, timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    if frame == "YTD":
        return int(day.replace(month=1, day=1).timestamp())
    period = _PERIOD.fullmatch(frame)
    if period is None:
        raise InvalidParameters
    if period["unit"] != "M":
        return newest - int(period["count"]) * 86_400
    year, month = divmod(day.year * 12 + day.month - 1 - int(period["count"]), 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return int(day.replace(year=year, month=month + 1, day=min(day.day, last_day)).timestamp())


def _frame_span(frame: str) -> tuple[int, int | None]:
    """(from, to) of a time frame; to is None where it reaches to now."""
    if span := _FROM_TO.fullmatch(frame):
        return int(span["start"]), int(span["end"])
    if frame == "ALL":
        return BEGINNING, None
    if frame not in (LAST_SESSION, "YTD") and not _PERIOD.fullmatch(frame):
        raise InvalidParameters
    return FROM_NEWEST, None
