"""When bars opened, by a column of times as files have them; pure.

Below a day a time is a moment. Where it has no zone it is one in the zone that was declared, and without that nothing
is guessed. From a day on it may be a date as well: of the trading day, whatever hour its bar opens at. A midnight says
no more than its date does.
"""

from collections.abc import Callable
from datetime import date, datetime, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.imports.errors import FileImportError
from tv_etl.tradingview.columns import mask_of, numbers_of
from tv_etl.tradingview.moments import parse_moment

Seconds = npt.NDArray[np.int64]
Fail = Callable[[int, str], FileImportError]  # of the row at a place, for a reason

RIGHT = "expected ISO 8601 such as 2024-01-02T09:30:00-05:00, or seconds since 1970"
NO_ZONE = "has no zone: --timezone says which it is in, UTC or e.g. America/New_York"
NO_DATE = -(1 << 62)

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_PER_SECOND = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (float("inf"), 1_000_000_000))
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Days(NamedTuple):
    """Of each row a moment in UTC seconds, and the date where the time is a date or a midnight, since 1970."""

    moments: Seconds
    dates: Seconds
    are_moments: npt.NDArray[np.bool_]  # False where only the date is known


def moments(column: pa.ChunkedArray, zone: ZoneInfo | None, fail: Fail) -> Seconds:
    """The moments of a column in UTC seconds. Raises what `fail` makes of the first row that is none."""
    column = _typed(column)
    kind = column.type
    if _is_text(kind):
        return _days_of_texts(column, zone, fail, is_day=False).moments
    if column.null_count:
        raise fail(int(np.argmin(mask_of(column.is_valid()))), f"the time is missing; {RIGHT}")
    if pa.types.is_date(kind):
        raise fail(0, f"{column[0].as_py()} is a date; a bar that is shorter than a day opens at a time of it")
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            column = _in_zone(column, zone, fail)
        return _whole_seconds(_ticks(column), _UNITS[kind.unit], fail)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(column, fail)
    raise fail(0, f"the time is of type {kind}; {RIGHT}")


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as times at once, where all are written alike."""
    if not _is_text(column.type) or column.null_count or not len(column):
        return column
    first = column[0].as_py().strip()
    if len(first) <= 10 or first[4:5] != "-":
        return column
    try:
        return column.cast(pa.timestamp("us", "UTC") if _has_offset(first) else pa.timestamp("us"))
    except pa.ArrowInvalid:
        return column


def days(column: pa.ChunkedArray, zone: ZoneInfo | None, fail: Fail) -> Days:
    """The moments or dates of a column whose bars are of a day or more. Raises as `moments` does."""
    kind = column.type
    if _is_text(kind):
        return _days_of_texts(column, zone, fail, is_day=True)
    if pa.types.is_date(kind) and not column.null_count:
        dates = np.array([each.toordinal() - _EPOCH_ORDINAL for each in column.to_pylist()], np.int64)
        return Days(dates * 86_400, dates, np.zeros(len(dates), np.bool_))
    is_local = pa.types.is_timestamp(kind) and kind.tz is None
    if is_local and not column.null_count:
        ticks = _ticks(column)
        dates, rest = np.divmod(ticks, 86_400 * _UNITS[kind.unit])
        if not rest.any():
            return Days(dates * 86_400, dates, np.zeros(len(dates), np.bool_))
    found = moments(column, zone, fail)
    own = zone if is_local else ZoneInfo(kind.tz) if pa.types.is_timestamp(kind) and kind.tz[0] not in "+-" else None
    offsets = _offsets(found, own)
    dates, rest = np.divmod(found + offsets, 86_400)
    return Days(found, np.where(rest == 0, dates, NO_DATE), np.ones(len(found), np.bool_))


def _days_of_texts(column: pa.ChunkedArray, zone: ZoneInfo | None, fail: Fail, *, is_day: bool) -> Days:
    seconds, dates, are_moments = [], [], []
    for place, text in enumerate(column.to_pylist()):
        moment, own_date = _read(text, zone, is_day, place, fail)
        seconds.append(moment)
        dates.append(NO_DATE if own_date is None else own_date.toordinal() - _EPOCH_ORDINAL)
        are_moments.append(own_date is None or _has_zone(text, zone))
    return Days(np.array(seconds, np.int64), np.array(dates, np.int64), np.array(are_moments, np.bool_))


def _read(text: str | None, zone: tzinfo | None, is_day: bool, place: int, fail: Fail) -> tuple[int, date | None]:
    """A moment in UTC seconds, and its date where it is a date or a midnight."""
    shown = (text or "").strip()
    if not shown:
        raise fail(place, f"the time is missing; {RIGHT}")
    try:
        number = float(shown)
    except ValueError:
        pass
    else:
        second = number / _scale(abs(number))
        if second != int(second):
            raise fail(place, f"the time {shown!r} is not a whole second")
        return int(second), date.fromordinal(_EPOCH_ORDINAL + int(second) // 86_400) if second % 86_400 == 0 else None
    try:
        moment = parse_moment(_padded(shown), timezone.utc)
    except ValueError:
        raise fail(place, f"the time {shown!r} cannot be read; {RIGHT}") from None
    is_midnight = moment.time() == datetime.min.time()
    if not is_day and len(shown) == 10:
        raise fail(place, f"{shown} is a date; a bar that is shorter than a day opens at a time of it")
    if moment.microsecond:
        raise fail(place, f"the time {shown!r} is not a whole second")
    if _has_offset(shown):
        return int(moment.timestamp()), moment.date() if is_midnight else None
    if is_day and is_midnight:
        return int(moment.timestamp()), moment.date()
    if zone is None:
        raise fail(place, f"the time {shown!r} {NO_ZONE}")
    return int(moment.replace(tzinfo=zone).timestamp()), None


def _has_zone(text: str, zone: tzinfo | None) -> bool:
    shown = text.strip()
    return _has_offset(shown) or shown[4:5] != "-"


def _has_offset(text: str) -> bool:
    return text[-1:] in "Zz" or any(sign in text[10:] for sign in "+-")


def _padded(text: str) -> str:
    """As Python 3.10 reads it: an offset with a colon."""
    return (
        f"{text[:-2]}:{text[-2:]}" if text[-5:-4] in ("+", "-") and text[-4:].isdecimal() and len(text) > 10 else text
    )


def _of_numbers(column: pa.ChunkedArray, fail: Fail) -> Seconds:
    numbers = numbers_of(column)
    if not len(numbers):
        return np.empty(0, np.int64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise fail(int(np.argmax(bad)), f"the time is missing; {RIGHT}")
    largest = float(np.abs(numbers).max())
    scale = _scale(largest)

    def fail_in_scale(place: int, reason: str) -> FileImportError:
        unit = next(name for name, each in _UNITS.items() if each == _scale(largest))
        return fail(place, f"{reason}, read in {unit} as {largest:.0f} is: write all alike")

    if numbers.dtype.kind == "f":
        numbers, scale = np.round(numbers * (1_000_000 / scale)), 1_000_000
    return _whole_seconds(numbers.astype(np.int64), scale, fail_in_scale)


def _scale(largest: float) -> int:
    """How many of the unit of a number of 1973 or later are a second."""
    return next(scale for limit, scale in _PER_SECOND if largest < limit)


def _whole_seconds(ticks: Seconds, scale: int, fail: Fail) -> Seconds:
    if scale == 1:
        return np.asarray(ticks, np.int64)
    seconds, rest = np.divmod(ticks, scale)
    if rest.any():
        raise fail(int(np.argmax(rest != 0)), "the time is not a whole second")
    return np.asarray(seconds, np.int64)


def _ticks(column: pa.ChunkedArray) -> Seconds:
    return numbers_of(pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64()))


def _in_zone(column: pa.ChunkedArray, zone: ZoneInfo | None, fail: Fail) -> pa.ChunkedArray:
    if zone is None:
        raise fail(0, f"the time {str(column[0].as_py())!r} {NO_ZONE}")
    options = {"ambiguous": "earliest", "nonexistent": "earliest"}
    early = pc.assume_timezone(column, zone.key, **options)
    late = pc.assume_timezone(column, zone.key, ambiguous="latest", nonexistent="latest")
    doubtful = mask_of(pc.not_equal(early, late))
    if doubtful.any():
        place = int(np.argmax(doubtful))
        what = "is twice, or not at all, when the clocks change"
        raise fail(place, f"{column[place].as_py()} {what} in {zone.key}: write the times in UTC, or with their offset")
    return early


def _offsets(seconds: Seconds, zone: ZoneInfo | None) -> Seconds:
    """How far the zone's clocks are ahead of UTC."""
    if zone is None or zone.key in ("UTC", "Etc/UTC"):
        return np.zeros(len(seconds), np.int64)
    ahead = [datetime.fromtimestamp(each, zone).utcoffset() for each in seconds.tolist()]
    return np.array([0 if each is None else int(each.total_seconds()) for each in ahead], np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
