"""Studies on a series: Volume gives points, any other in TradingView's packages completes without."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from tv_etl.market_server.market.market import Floats

_VOLUME = "Volume@tv-basicstudies"
_FALLING, _RISING = 0.0, 1.0  # the palette of the volume columns
_NAME = re.compile(r"[^@]+@tv-[a-z]+-[0-9]+!?")  # Sessions@tv-basicstudies-262, Script@tv-scripting-101!


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


def is_known(name: str) -> bool:
    """True for the name of a study in one of TradingView's packages."""
    return _NAME.fullmatch(name) is not None


def metadata() -> list[dict[str, Any]]:
    """The studies that give points, as `studies_metadata` describes them."""
    colours = {"palettes": {"volumePalette": {"colors": {"0": {"name": "Falling"}, "1": {"name": "Rising"}}}}}
    return [
        {
            "id": f"{_VOLUME}-246",
            "description": "Volume",
            "shortDescription": "Vol",
            "is_price_study": False,
            "inputs": [{"id": "length", "name": "MA Length", "type": "integer", "defval": 20, "min": 1, "max": 2000}],
            "plots": [
                {"id": "vol", "type": "line"},
                {"id": "volumePalette", "type": "colorer", "target": "vol", "palette": "volumePalette"},
            ],
            **colours,
        }
    ]


def study_points(name: str, rows: Floats, first_index: int) -> list[_Point]:
    """The points `[time, value, colour]` of a study on bars."""
    if not name.startswith(_VOLUME) or rows.shape[1] < 6:
        return []
    return [
        _Point(index, [row[0], row[5], _RISING if row[4] >= row[1] else _FALLING])
        for index, row in enumerate(rows.tolist(), start=first_index)
    ]
