"""A small picture of the newest bars: candlesticks over their volume, as an SVG that stands in a Markdown text.

Pure, and drawn with six paths, since one is kept in the event log with every materialization.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote

SHOWN_BARS = 60

_STEP, _BODY = 7, 5  # pixels from bar to bar, and of a bar
_WIDTH, _HEIGHT = SHOWN_BARS * _STEP + 66, 170
_PRICES = (10, 108)  # pixels from the top between which the prices lie
_VOLUMES = (118, 148)
_UP, _DOWN, _TEXT = "#26a69a", "#ef5350", "#888"  # legible on white and on black
_DAY_S = 86_400
_PLAIN = "/:=,'"  # need no escape in a data URI in Markdown


@dataclass(frozen=True)
class Candle:
    """One bar: its open in UTC seconds, and its prices; a volume where there is one."""

    second: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


def markdown(candles: Sequence[Candle]) -> str:
    """The newest candles of an ascending sequence as an image in Markdown, of 3 KB. Raises ValueError for none."""
    return f"![bars](data:image/svg+xml,{quote(svg(candles), safe=_PLAIN)})"


def svg(candles: Sequence[Candle]) -> str:
    """The newest candles of an ascending sequence as an SVG. Raises ValueError for none."""
    shown = candles[-SHOWN_BARS:]
    if not shown:
        raise ValueError("a picture needs at least one bar")
    lowest, highest = min(each.low for each in shown), max(each.high for each in shown)
    most = max((each.volume or 0.0 for each in shown), default=0.0)
    rising = [each.close >= each.open for each in shown]
    groups = [
        _group(colour, ((x, each) for x, each, is_up in zip(_places(), shown, rising, strict=False) if is_up is wanted),
               (lowest, highest), most)
        for colour, wanted in ((_UP, True), (_DOWN, False))
    ]  # fmt: skip
    right = SHOWN_BARS * _STEP + 6
    form = _time_format(shown)
    texts = [
        _text(right, _PRICES[0] + 6, f"{highest:.6g}"),
        _text(right, _PRICES[1] + 2, f"{lowest:.6g}"),
        _text(right, _VOLUMES[0] + 10, _short(most) if most else ""),
        _text(1, _HEIGHT - 6, f"{datetime.fromtimestamp(shown[0].second, timezone.utc):{form}}"),
        _text(right, _HEIGHT - 6, f"{datetime.fromtimestamp(shown[-1].second, timezone.utc):{form}}", anchor="end"),
    ]
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' font-family='sans-serif' "
        f"font-size='11' fill='{_TEXT}'>{''.join(groups)}{''.join(texts)}</svg>"
    )


def _places() -> Iterable[int]:
    return range(_STEP // 2, SHOWN_BARS * _STEP, _STEP)


def _group(colour: str, candles: Iterable[tuple[int, Candle]], prices: tuple[float, float], most_volume: float) -> str:
    """All candles of one colour: their wicks, bodies and volumes, a path each."""
    wicks, bodies, volumes = [], [], []
    for x, each in candles:
        high, low = (_pixel(price, prices, _PRICES) for price in (each.high, each.low))
        upper, lower = (_pixel(price, prices, _PRICES) for price in sorted((each.open, each.close), reverse=True))
        wicks.append(f"M{x},{high}V{max(low, high + 1)}")
        bodies.append(f"M{x},{upper}V{max(lower, upper + 1)}")
        if each.volume and most_volume:
            top = _pixel(each.volume, (0.0, most_volume), _VOLUMES)
            volumes.append(f"M{x},{min(top, _VOLUMES[1] - 1)}V{_VOLUMES[1]}")
    if not bodies:
        return ""
    thick = f"stroke-width='{_BODY}'"
    faint = f"<path {thick} opacity='.5' d='{''.join(volumes)}'/>" if volumes else ""
    return (
        f"<g stroke='{colour}' shape-rendering='crispEdges'><path d='{''.join(wicks)}'/>"
        f"<path {thick} d='{''.join(bodies)}'/>{faint}</g>"
    )


def _pixel(value: float, values: tuple[float, float], pixels: tuple[int, int]) -> int:
    """Where a value lies: the greatest at the top."""
    least, most = values
    share = (most - value) / (most - least) if most > least else 0.5
    return round(pixels[0] + share * (pixels[1] - pixels[0]))


def _text(x: int, y: int, text: str, anchor: str = "") -> str:
    end = f" text-anchor='{anchor}'" if anchor else ""
    return f"<text x='{x}' y='{y}'{end}>{text}</text>" if text else ""


def _short(volume: float) -> str:
    """12.3M for 12,345,678."""
    power = min(int(math.log10(volume * 1.0005)) // 3, 4) if volume >= 1_000 else 0
    return f"{volume / 1_000**power:.3g}{' kMBT'[power].strip()}"


def _time_format(shown: Sequence[Candle]) -> str:
    has_days_only = all(each.second % _DAY_S == 0 for each in shown)
    is_wide = len(shown) > 1 and shown[-1].second - shown[-2].second >= _DAY_S
    return "%Y-%m-%d" if has_days_only or is_wide else "%m-%d %H:%MZ"
