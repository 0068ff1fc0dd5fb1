"""Stored bars tell what ticks would have told of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.replay import StoredBars, replay
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.alerts.oracle import DAY_S, Trade, sums_of
from tv_etl_tests.alerts.test_fold import START
from tv_etl_tests.alerts.test_oracle import (
    ANY_RULE,
    PAST,
    SIZED_MOVES,
    Sensor,
    Visit,
    past_trades,
    settle,
    trades_of,
)

pytestmark = pytest.mark.pure

NIGHT = 1_790_035_200  # a midnight, UTC
CRYPTO = TradingHours("24x7", "Etc/UTC")
WIDTHS = {"1m": 60, "5m": 300, "1h": 3_600, "1d": DAY_S}


def rule(kind: str = "cross_up", **fields: Any) -> AlertRule:
    level = {"level": 10} if kind in ("above", "cross_up") else {}
    return read_rule({"name": "r", "symbol": "X:A", "kind": kind, "cooldown_s": 0} | level | fields)


def stored(bars: Mapping[str, Sequence[float]], first: int = NIGHT) -> Any:
    """Closes one after the other, of each interval."""

    def bars_of(symbol: str, interval: str) -> StoredBars:
        width = WIDTHS.get(interval, 0)
        closes = bars.get(interval, ()) if symbol == "X:A" else ()
        rows = [[first + width * number, close, close, close, close, 1.0] for number, close in enumerate(closes)]
        return StoredBars(rows, CRYPTO)

    return bars_of


def test_what_would_have_been_told_is_in_order_of_time() -> None:
    rules = [rule(name="b", level=11), rule(name="a"), rule("above", name="at-once", level=8)]
    replayed = replay(rules, stored({"1m": [9, 9, 12, 9, 12, 9]}), NIGHT + 60, NIGHT + 360)
    told = [((alert.touched_at or 0) - NIGHT, alert.rule) for alert in replayed.alerts]
    assert told == [(60, "at-once"), (120, "a"), (120, "b"), (240, "a"), (240, "b")]
    assert replayed.notes == []


def test_only_the_span_is_told_and_what_is_before_it_tells_the_first_side() -> None:
    bars = stored({"1m": [9, 12, 9, 12, 9, 12]})
    replayed = replay([rule()], bars, NIGHT + 180, NIGHT + 240)
    assert [(alert.touched_at or 0) - NIGHT for alert in replayed.alerts] == [180]
    assert replay([rule()], bars, NIGHT + 120, NIGHT + 180).alerts == []


def test_levels_and_closes_come_from_the_bars_of_their_interval() -> None:
    hours: dict[str, list[float]] = {"1m": [9.0] * 130 + [13.0], "1h": [9, 12, 9]}
    replayed = replay([rule(level="high(2)", interval="1h")], stored(hours), NIGHT + 7_200, NIGHT + 8_000)
    assert [(alert.level, alert.price) for alert in replayed.alerts] == [(12, 13)]
    closing = replay([rule(on="close", interval="1h")], stored(hours), NIGHT + 3_600, NIGHT + 10_800)
    assert [(alert.touched_at or 0) - NIGHT for alert in closing.alerts] == [7_200]


def test_without_minutes_the_finest_bars_are_taken_and_that_is_said() -> None:
    replayed = replay([rule()], stored({"1h": [9, 12, 9, 12]}), NIGHT + 3_600, NIGHT + 14_400)
    assert [(alert.touched_at or 0) - NIGHT for alert in replayed.alerts] == [3_600, 10_800]
    assert replayed.notes == ["rule r: X:A: no minutes are stored; judged by bars of 1h: arms by their closes alone"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"symbol": "X:B"}, "rule r: X:B: no bars are stored"),
        ({"level": "sma(5)", "interval": "1d"}, "rule r: X:A: no bars of 1d are stored"),
    ],
)
def test_what_cannot_be_judged_is_said(changes: dict[str, Any], note: str) -> None:
    replayed = replay([rule(**changes), rule(name="good")], stored({"1m": [9, 9, 12]}), NIGHT + 60, NIGHT + 180)
    assert replayed.notes == [note]
    assert [alert.rule for alert in replayed.alerts] == ["good"]


def test_a_rule_for_a_group_is_replayed_for_each_of_its_symbols() -> None:
    grouped = read_rule({"name": "r", "symbols": {"group": "us"}, "kind": "cross_up", "level": 10})
    bars = stored({"1m": [9, 9, 12]})
    replayed = replay([grouped], bars, NIGHT + 60, NIGHT + 180, {"us": ["X:A", "X:B"]})
    assert [alert.symbol for alert in replayed.alerts] == ["X:A"]
    assert replayed.notes == ["rule r: X:B: no bars are stored"]


@settings(max_examples=150, deadline=None)
@given(ANY_RULE, PAST, st.lists(SIZED_MOVES, min_size=1, max_size=30), st.sampled_from([1, 20, 60]))
def test_a_replay_tells_what_ticks_tell(
    rule: AlertRule, past: list[float], moves: list[tuple[int, float, float]], scale: int
) -> None:
    """Of a rule that began at the same time: when the first tick came, with all bars before it closed."""
    # What began by a quote, or in hours of its own, begins with a price that no stored bar tells.
    trades = [*past_trades(past), *[Trade(each.time_s + 600, *each[1:]) for each in trades_of(moves, scale)]]
    begins_at = START + 240
    sensor = Sensor(rule, trades, 0, asks_always=True, hours=CRYPTO)
    sensor.evaluate(Visit(0, quoted=False), begins_at + 60)
    if not sensor.state.armings:
        return
    end = int(settle(sensor, begins_at, quoted=False))

    def bars_of(symbol: str, interval: str) -> StoredBars:
        sums = sums_of(trades, WIDTHS[interval])
        rows = [[each.open_s, each.open, each.high, each.low, each.close, each.volume] for each in sums]
        return StoredBars([row for row in rows if row[0] + WIDTHS[interval] <= end], CRYPTO)

    replayed = replay([rule], bars_of, begins_at, end)
    assert sorted(told_of(replayed.alerts, begins_at)) == sorted(told_of(sensor.alerts, begins_at))


def told_of(alerts: Sequence[Alert], begun_at: int) -> list[tuple[str, float, int]]:
    return [(alert.kind, alert.level or 0.0, alert.touched_at or begun_at) for alert in alerts]
