"""Draws the pictures of alerts.md: bars chosen to show a rule, and what the rule itself makes of them.

`python docs/alert_pictures.py` writes them beside this file; a test draws them again and compares.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tv_etl.alerts.closes import closed_bars
from tv_etl.alerts.fold import Alert, MinuteBar, evaluate
from tv_etl.alerts.rules import read_rule
from tv_etl.alerts.state import AlertState, Registered
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours

_FIRST = 1_790_035_200  # a midnight, UTC
_HOURS = TradingHours("24x7", "Etc/UTC")
_STEP, _BODY, _LEFT, _RIGHT, _TOP, _PRICES, _BAND = 38, 18, 64, 50, 34, 190, 16
_UP, _DOWN, _LINE, _ARMED, _FIRES, _TEXT = "#26a69a", "#ef5350", "#5c6bc0", "#cfd8dc", "#283593", "#37474f"

Prices = tuple[float, float, float, float]  # open, high, low, close


class Scene(NamedTuple):
    """A rule, minutes one after the other, and what the picture is to be called."""

    title: str
    rule: Mapping[str, Any]
    bars: Sequence[Prices]


SCENES = {
    "touch_and_close": Scene(
        "cross_up, level 100: touch to fire, close to re-arm",
        {"kind": "cross_up", "level": 100},
        [
            (97, 98, 96, 97.5), (97.5, 99, 97, 98.6), (98.6, 101.2, 98.2, 100.7), (100.7, 102, 100.3, 101.4),
            (101.4, 101.6, 99.2, 100.4), (100.4, 101.3, 100, 100.9), (100.9, 101, 98.5, 99.1), (99.1, 99.8, 98.2, 98.8),
            (98.8, 100.6, 98.6, 99.4), (99.4, 99.7, 97.8, 98.2), (98.2, 98.9, 97.5, 98.5), (101.5, 103, 101.2, 102.4),
            (102.4, 103.1, 101.8, 102.8),
        ],
    ),
    "hysteresis": Scene(
        "cross_up, level 100, hysteresis 2: noise at the level tells nothing twice",
        {"kind": "cross_up", "level": 100, "hysteresis": 2},
        [
            (97, 98, 96, 97.4), (97.4, 99.4, 97.2, 99), (99, 100.8, 98.8, 100.4), (100.4, 100.7, 99, 99.3),
            (99.3, 100.5, 98.9, 100.2), (100.2, 100.4, 98.4, 98.8), (98.8, 100.9, 98.6, 100.6),
            (100.6, 101, 98.2, 98.5), (98.5, 98.8, 97, 97.3),
            (97.3, 98.9, 97.1, 98.7), (98.7, 100.7, 98.5, 100.5), (100.5, 101.2, 100, 100.9),
        ],
    ),
    "exit_channel": Scene(
        "exit_channel, 98 to 102: armed by a close inside, fires at the first trade outside",
        {"kind": "exit_channel", "low": 98, "high": 102},
        [
            (100, 100.8, 99.4, 100.3), (100.3, 101.6, 100, 101.3), (101.3, 102.8, 101, 102.4),
            (102.4, 103.5, 102.2, 103), (103, 103.2, 101.8, 102.3),
            (102.3, 102.5, 100.6, 101), (101, 101.4, 99.2, 99.6), (99.6, 99.8, 97.2, 98.4),
            (98.4, 99, 98.1, 98.8), (98.8, 100.2, 98.5, 99.9), (99.9, 100.4, 99.5, 100.1),
        ],
    ),
    "on_close": Scene(
        "above, level 100, on: close, interval: 1h, for: 3h: three closes in a row",
        {"kind": "above", "level": 100, "on": "close", "interval": "1h", "for": "3h"},
        [
            (98, 99, 97.4, 98.6), (98.6, 101.8, 98.4, 99.5), (99.5, 101, 99.2, 100.6), (100.6, 101.4, 100.1, 100.9),
            (100.9, 101, 99, 99.6), (99.6, 100.9, 99.3, 100.5), (100.5, 101.5, 100.2, 101.1),
            (101.1, 102, 100.8, 101.7), (101.7, 102.2, 101, 101.5), (101.5, 101.8, 98.7, 99.2), (99.2, 100, 98.8, 99.7),
        ],
    ),
}  # fmt: skip


def drawn(scene: Scene) -> str:
    """The picture as SVG: candles, levels, when the rule is armed, and where it fires."""
    armed, alerts = _judged(scene)
    levels = [float(scene.rule[name]) for name in ("level", "low", "high") if name in scene.rule]
    least = min([*levels, *(bar[2] for bar in scene.bars)])
    most = max([*levels, *(bar[1] for bar in scene.bars)])
    width, height = _LEFT + _STEP * len(scene.bars) + _RIGHT, _TOP + _PRICES + 2 * _BAND + 26

    def y(price: float) -> float:
        return round(_TOP + (most - price) / (most - least) * _PRICES, 1)

    def x(number: int) -> int:
        return _LEFT + _STEP * number

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 600)}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="{_TEXT}">',
        f"<title>{escape(scene.title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(scene.title)}</text>',
    ]
    for level in levels:
        parts.append(
            f'<path d="M{_LEFT} {y(level)}H{width - _RIGHT}" stroke="{_LINE}" stroke-dasharray="5 3"/>'
            f'<text x="{_LEFT - 6}" y="{y(level) + 4}" text-anchor="end" fill="{_LINE}">{level:g}</text>'
        )
    for number, (open_, high, low, close) in enumerate(scene.bars):
        colour, middle = (_UP if close >= open_ else _DOWN), x(number) + _STEP // 2
        top, bottom = y(max(open_, close)), y(min(open_, close))
        parts.append(
            f'<path d="M{middle} {y(high)}V{y(low)}" stroke="{colour}"/><rect x="{middle - _BODY // 2}" y="{top}" '
            f'width="{_BODY}" height="{round(max(bottom - top, 1), 1)}" fill="{colour}"/>'
        )
    band = _TOP + _PRICES + 12
    parts.append(f'<text x="{_LEFT - 6}" y="{band + 12}" text-anchor="end">armed</text>')
    # A close arms at the end of its bar, which is where the next begins.
    parts += [
        f'<rect x="{x(number + 1)}" y="{band}" width="{_STEP}" height="{_BAND}" fill="{_ARMED}"/>'
        for number, is_armed in enumerate(armed[:-1])
        if is_armed
    ]
    parts.append(f'<text x="{_LEFT - 6}" y="{band + _BAND + 16}" text-anchor="end">fires</text>')
    for alert in alerts:
        since = (alert.touched_at or 0) - _FIRST
        # What a close tells is of the end of its bar; a touch is of the minute that it lies in.
        middle = x(since // _width_s(scene)) + (0 if "on" in scene.rule else _STEP // 2)
        parts.append(
            f'<path d="M{middle} {_TOP}V{band + _BAND + 4}" stroke="{_FIRES}" stroke-dasharray="1 3"/>'
            f'<path d="M{middle} {band + _BAND + 5}l6 11h-12z" fill="{_FIRES}"/>'
            f'<text x="{middle + 9}" y="{band + _BAND + 16}" fill="{_FIRES}">{alert.price:g}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _judged(scene: Scene) -> tuple[list[bool], list[Alert]]:
    """After each bar, whether the rule is armed; and its alerts."""
    rule = read_rule({"name": "shown", "symbol": "EXCHANGE:TICKER", "cooldown": 0, **scene.rule})
    registered, state, width = Registered(rule, 1, "EXCHANGE:TICKER"), AlertState(), _width_s(scene)
    bars = [MinuteBar(_FIRST + width * number, *prices, width) for number, prices in enumerate(scene.bars)]
    armed, alerts = [], []
    for number in range(1, len(bars) + 1):
        shown, now = bars[:number], _FIRST + width * number
        closed = {}
        if rule.interval_watched is not None:
            rows = [(bar.timestamp, bar.open, bar.high, bar.low, bar.close, None) for bar in shown]
            final = closed_bars(rule.interval_watched, rows, _HOURS, now, now)
            closed = {registered.symbol: {rule.interval_watched: final}}
        folded = evaluate([registered], state, {registered.symbol: shown}, {}, now, grace_s=0.0, closed=closed)
        state = folded.state
        armed.append(state.armings[registered.key].armed_at is not None)
        alerts += folded.alerts
    return armed, alerts


def _width_s(scene: Scene) -> int:
    return Interval.parse(scene.rule.get("interval", "1m")).seconds


def pictures() -> dict[str, str]:
    """Each picture by the name of its file."""
    return {f"alerts_{name}.svg": drawn(scene) for name, scene in SCENES.items()}


if __name__ == "__main__":
    for name, text in pictures().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
