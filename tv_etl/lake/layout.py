"""Where a bar is stored: the path segment of a symbol, and the period file of a time; pure.

Both are pure functions, so that no manifest can disagree with the files and a bar has one place for ever.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.intervals import Interval

MAX_SEGMENT_BYTES = 200  # file systems allow 255, less what is put before and after

_Unit = Literal["D", "M", "Y"]  # numpy's units of dates
_PERIODS: dict[_Unit, str] = {"D": r"\d{4}-\d\d-\d\d", "M": r"\d{4}-\d\d", "Y": r"\d{4}"}
_WHOLE = "all"
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999
_KEPT = 8_192  # symbols, and periods: those of a long history are the same for every series


@lru_cache(maxsize=_KEPT)
def path_segment(symbol: str) -> str:
    """Return the symbol as one path segment, which every reader decodes back. Raises SymbolError."""
    if not symbol:
        raise SymbolError(symbol, "empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in symbol):
        raise SymbolError(symbol, "contains a control character or a lone surrogate")
    segment = quote(symbol, safe="")
    if segment in (".", ".."):
        raise SymbolError(symbol, "is a reserved name of directories")
    if len(segment) > MAX_SEGMENT_BYTES:
        raise SymbolError(symbol, f"takes {len(segment)} bytes in a path, more than {MAX_SEGMENT_BYTES}")
    return segment


def period_runs(times: npt.NDArray[np.int64], interval: Interval) -> list[tuple[str, int, int]]:
    """Return the periods of ascending times (UTC seconds), and the half-open places of the times of each.

    A period is `2026-11-22` below 1m, `2026-11` below 5m, `2026`, `all`.
    """
    unit = _unit(interval)
    if unit is None or not len(times):
        return [(_WHOLE, 0, len(times))] if len(times) else []
    begins = times.astype("datetime64[s]").astype(f"datetime64[{unit}]")
    firsts = [0, *(np.flatnonzero(begins[1:] != begins[:-1]) + 1).tolist()]
    names = np.datetime_as_string(begins[firsts]).tolist()
    return list(zip(names, firsts, [*firsts[1:], len(times)], strict=True))


def periods_between(
    periods: Sequence[str], start_s: int | None, end_s: int | None, interval: Interval
) -> Sequence[str]:
    """The periods that a half-open range (UTC seconds) touches, of some that ascend; None is unbounded."""
    unit = _unit(interval)
    if unit is None:
        return periods
    first = 0 if start_s is None else bisect_left(periods, _name(start_s, unit))
    last = len(periods) if end_s is None else bisect_right(periods, _name(end_s - 1, unit))
    return periods[first:last]


def is_period(text: str, interval: Interval) -> bool:
    """True where the text names a period of the interval; periods sort as their names do."""
    return _is_period(text, _unit(interval))


def no_periods(texts: Iterable[str], interval: Interval) -> list[str]:
    """Those of the texts that name no period of the interval."""
    unit = _unit(interval)
    return [text for text in texts if not _is_period(text, unit)]


# Kept by unit: to hash an interval takes longer than to look a name up.
@lru_cache(maxsize=_KEPT)
def _is_period(text: str, unit: _Unit | None) -> bool:
    if unit is None or not re.fullmatch(_PERIODS[unit], text, re.ASCII):
        return unit is None and text == _WHOLE
    try:
        np.datetime64(text, unit)
    except ValueError:
        return False
    return True


def period_range(period: str, interval: Interval) -> tuple[int | None, int | None]:
    """Return the half-open range of UTC seconds that a period spans; None is unbounded."""
    return _period_range(period, _unit(interval))


@lru_cache(maxsize=_KEPT)
def _period_range(period: str, unit: _Unit | None) -> tuple[int | None, int | None]:
    if unit is None:
        return None, None
    start = np.datetime64(period, unit)
    first, after = (
        int(each.astype("datetime64[s]").astype(np.int64)) for each in (start, start + np.timedelta64(1, unit))
    )
    return first, after


def _name(second: int, unit: _Unit) -> str:
    """The period of a second, or the first or last one that there can be."""
    inside = min(max(second, _FIRST_SECOND), _LAST_SECOND)
    return str(np.datetime64(inside, "s").astype(f"datetime64[{unit}]"))


def is_soon_over(interval: Interval) -> bool:
    """True where a period is a month at most: its file is written again and again, and not for long."""
    return _unit(interval) in ("D", "M")


def _unit(interval: Interval) -> _Unit | None:
    """What one file spans, about 100,000 bars at most; None when it holds all."""
    if interval.seconds < 60:
        return "D"
    if interval.seconds < 300:
        return "M"
    return "Y" if interval.seconds < 86_400 else None
