"""What a chart session says of a series' bars: the parameters of timescale_update and du, behind the session id."""

from typing import Any

import msgspec
import numpy as np

from tv_etl.market_server.market.market import Floats
from tv_etl.market_server.market.timescale import BarsText, encode_marks, encode_points, joined
from tv_etl.market_server.sessions.series import ServedSeries

# Points of studies that lie before the scale count down from here.
_OFF_SCALE = -1_000_000


def first_update(series: ServedSeries, parts: list[BarsText], node: str) -> list[Any]:
    """All bars of a load."""
    scale = {
        "index": 0,
        "zoffset": 0,
        "changes": joined(*(part.changes for part in parts)),
        "marks": joined(*(part.marks for part in parts)),
        "index_diff": [],
    }
    if series.source is not None and series.source.listing.extended is not None:
        scale["last_session_switches"] = {series.id: {"market": series.end_index - 1}}
    return [_entry(series, joined(*(part.points for part in parts)), node), scale]


def older_update(series: ServedSeries, older: BarsText, node: str, now: float, *, has_studies: bool) -> list[Any]:
    """The bars that were just put before those the client has."""
    scale = {
        "index": series.first_index,
        "zoffset": -series.first_index,
        "changes": joined(older.changes),
        "marks": joined(series.marks(now)),
        "index_diff": _index_diff(series.first_index, len(older.rows)) if has_studies else [],
    }
    return [_entry(series, joined(older.points), node), scale]


def newer_update(series: ServedSeries, count: int, node: str) -> list[Any]:
    """The newest `count` bars, which were just put behind those the client has."""
    return new_bar_update(series, series.rows[-count:], series.end_index - count, node)


def new_bar_update(series: ServedSeries, bars: Floats, index: int, node: str) -> list[Any]:
    """Bars that the scale ends with from now on, such as one that has just begun; `index` is the first one's place."""
    assert series.source is not None
    times = bars[:, 0].astype(np.int64)
    previous = int(series.rows[index - series.first_index - 1, 0])
    marks = encode_marks(series.source, series.interval, series.zone, times, index, previous)
    scale = {"index": index, "zoffset": 0, "changes": bars[:, 0].tolist(), "marks": joined(marks), "index_diff": []}
    return [_entry(series, joined(encode_points(bars, index)), node), scale]


def forming_update(series: ServedSeries, bar: Floats, index: int) -> list[Any]:
    """A bar whose place the client knows, as it is now."""
    entry = {"s": joined(encode_points(bar, index)), "ns": {"d": "", "indexes": "nochange"}}
    return [{series.id: entry | {"t": series.turnaround, "lbs": _last_bar_status(series)}}]


def tick_marks_to_come(series: ServedSeries, count: int) -> list[Any]:
    """The next `count` opens after what the client knows of the scale; remembers them."""
    assert series.source is not None
    last = series.future[-1] if series.future else int(series.rows[-1, 0])
    opens = series.source.calendar.opens_after(series.interval, last, max(count, 0))
    index = series.end_index + len(series.future)
    series.future += opens
    marks = encode_marks(series.source, series.interval, series.zone, np.array(opens, np.int64), index, last)
    scale = {"index": index, "zoffset": 0, "changes": [float(moment) for moment in opens]}
    return [{}, scale | {"marks": joined(marks), "index_diff": []}]


def _entry(series: ServedSeries, points: msgspec.Raw, node: str) -> dict[str, Any]:
    entry = {"node": node, "s": points, "ns": {"d": "", "indexes": []}, "t": series.turnaround}
    return {series.id: entry | {"lbs": _last_bar_status(series)}}


def _last_bar_status(series: ServedSeries) -> dict[str, int]:
    assert series.source is not None
    closes = series.source.calendar.bar_close(series.interval, int(series.rows[-1, 0]))
    return {"bar_close_time": closes + series.delay_s}


def _index_diff(first_index: int, count: int) -> list[list[int]]:
    """[old, new] of indices off the scale, where studies may have points, that lie on it now."""
    # Recorded for the first 232 older bars: [-1000232, -232], ..., [-1000001, -1].
    oldest_before = first_index + count
    return [[_OFF_SCALE - place, oldest_before - place] for place in range(count, 0, -1)]
