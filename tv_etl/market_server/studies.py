"""Studies on a series: Volume gives its points, any other study completes without."""

from dataclasses import dataclass

import msgspec

from tv_etl.market_server.market import Floats

_VOLUME = "Volume@tv-basicstudies"
_FALLING, _RISING = 0.0, 1.0  # the palette of the volume columns


class _Point(msgspec.Struct):
    i: int
    v: list[float]


@dataclass
class Study:
    """A study as the client created it."""

    id: str
    turnaround: str
    series_id: str
    name: str


def study_points(name: str, rows: Floats, first_index: int) -> list[_Point]:
    """The points `[time, value, colour]` of a study on bars."""
    if not name.startswith(_VOLUME) or rows.shape[1] < 6:
        return []
    return [
        _Point(index, [row[0], row[5], _RISING if row[4] >= row[1] else _FALLING])
        for index, row in enumerate(rows.tolist(), start=first_index)
    ]
