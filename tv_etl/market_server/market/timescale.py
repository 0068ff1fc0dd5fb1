"""What `timescale_update` says of bars: their points, the scale they lie on and its tick marks, as JSON text.

Closed bars change on the day of a split or dividend only, so their text is made once and serves every client that
asks for them again.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tv_etl.market_server.market.market import BarSource, Floats
from tv_etl.market_server.market.sessions import DAY_S, Integers
from tv_etl.tradingview.intervals import Interval

_MAX_CACHED_BARS = 500_000
_ENTRY_COST = 50  # what a text costs besides its bars, in bars

# The weight of a mark is that of the widest boundary that lies between a bar and the one before it.
_FIRST_WEIGHT = 10
_CLOCK_WEIGHTS = ((60, 20), (300, 21), (1_800, 22), (3_600, 30), (10_800, 31), (21_600, 32), (43_200, 33))
_DAY_WEIGHT, _WEEK_WEIGHT, _MONTH_WEIGHT, _YEAR_WEIGHT = 40, 50, 60, 70


class _Point(msgspec.Struct):
    i: int
    v: list[float]


@dataclass(frozen=True)
class BarsText:
    """Bars and their JSON, each list without its brackets, so that parts can be joined."""

    rows: Floats
    is_start: bool
    points: bytes
    changes: bytes
    marks: bytes


class BarsTexts:
    """The texts of closed bars, kept for the next client that asks; the least recently used go first."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[object, ...], BarsText] = OrderedDict()
        self._bars = 0

    def closed_bars(
        self, source: BarSource, interval: Interval, zone: str, *, before: int, count: int, now: float,
        start: int | None = None, end_index: int | None = None,
    ) -> BarsText:  # fmt: skip
        """The bars before `before`, which must all be closed: the newest `count` of those from `start` on.

        The newest gets the index `end_index - 1`; without it the oldest gets 0.
        """
        # The source itself, not its id: another may have that once this one is forgotten.
        key = (source, source.edition(now), interval, zone, before, count, start, end_index)
        text = self._texts.get(key)
        if text is None:
            # One more than asked: the weight of the first mark depends on the bar before it.
            bars = source.bars(interval, now, count=count + 1, before=before)
            rows = bars.rows[-count:] if count else bars.rows[:0]
            if start is not None:
                rows = rows[np.searchsorted(rows[:, 0], start) :]
            skipped = len(bars) - len(rows)
            previous = int(bars.rows[skipped - 1, 0]) if skipped else None
            first_index = 0 if end_index is None else end_index - len(rows)
            text = encode_bars(source, interval, zone, rows, first_index, previous, bars.is_start and not skipped)
            self._remember(key, text)
        self._texts.move_to_end(key)
        return text

    def _remember(self, key: tuple[object, ...], text: BarsText) -> None:
        self._texts[key] = text
        self._bars += len(text.rows) + _ENTRY_COST
        while self._bars > _MAX_CACHED_BARS and len(self._texts) > 1:
            _, oldest = self._texts.popitem(last=False)
            self._bars -= len(oldest.rows) + _ENTRY_COST


def encode_bars(
    source: BarSource, interval: Interval, zone: str, rows: Floats, first_index: int, previous: int | None,
    is_start: bool = False,
) -> BarsText:  # fmt: skip
    """The text of bars whose first has the index `first_index`; `previous` is the open of the bar before it."""
    times = rows[:, 0].astype(np.int64)
    return BarsText(
        rows=rows,
        is_start=is_start,
        points=encode_points(rows, first_index),
        changes=_without_brackets(rows[:, 0].tolist()),
        marks=encode_marks(source, interval, zone, times, first_index, previous),
    )


def encode_points(rows: Floats, first_index: int) -> bytes:
    """The points `{"i": index, "v": row}` of bars, without the outer brackets."""
    return _without_brackets([_Point(index, row) for index, row in enumerate(rows.tolist(), start=first_index)])


def encode_marks(
    source: BarSource, interval: Interval, zone: str, times: Integers, first_index: int, previous: int | None
) -> bytes:
    """The marks `[weight, time, index]` of bars, without the outer brackets."""
    if not len(times):
        return b""
    before = times[:1] if previous is None else np.array([previous], np.int64)
    shown = _shown_times(source, interval, zone, np.concatenate([before, times]))
    weights = mark_weights(shown)
    if previous is None:
        weights[0] = _FIRST_WEIGHT
    indexes = np.arange(first_index, first_index + len(times))
    return _without_brackets(np.column_stack([weights, shown[1:], indexes]).tolist())


def mark_weights(times: Integers) -> Integers:
    """The weight of each time but the first: what lies between it and the one before it."""
    days, months = times // DAY_S, times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    weights = np.full(len(times) - 1, _FIRST_WEIGHT, np.int64)
    boundaries = [(times // width, weight) for width, weight in _CLOCK_WEIGHTS]
    boundaries += [(days, _DAY_WEIGHT), ((days + 3) // 7, _WEEK_WEIGHT), (months, _MONTH_WEIGHT)]
    boundaries.append((months // 12, _YEAR_WEIGHT))
    for numbers, weight in boundaries:
        weights[np.diff(numbers) != 0] = weight
    return weights


def joined(*parts: bytes) -> msgspec.Raw:
    """A JSON list from the texts of its parts."""
    return msgspec.Raw(b"[" + b",".join(part for part in parts if part) + b"]")


def _shown_times(source: BarSource, interval: Interval, zone: str, times: Integers) -> Integers:
    """Marks show the wall clock of the chart's time zone; daily and wider ones the trading day."""
    if interval.is_intraday:
        if zone == "Etc/UTC":
            return times
        return times + np.array([_offset(zone, moment) for moment in times.tolist()], np.int64)
    calendar = source.calendar
    index = np.clip(np.searchsorted(calendar.opens, times, side="right") - 1, 0, None)
    is_inside = (calendar.opens[index] <= times) & (times < calendar.closes[index])
    return np.where(is_inside, calendar.days[index], times // DAY_S) * DAY_S


def _offset(zone: str, moment: int) -> int:
    offset = datetime.fromtimestamp(moment, ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _without_brackets(values: object) -> bytes:
    return msgspec.json.encode(values)[1:-1]
