"""What arms, touches and holds, of each kind by itself."""

from typing import Any, NamedTuple

import pytest
from pydantic import TypeAdapter

from tv_etl.alerts.conditions import AnyCondition, Condition, Touch
from tv_etl.alerts.levels import Reference
from tv_etl.alerts.rules import read_rule

pytestmark = pytest.mark.pure


class Prices(NamedTuple):
    open: float
    high: float
    low: float
    close: float


def condition(kind: str, **fields: Any) -> Condition:
    found: Condition = TypeAdapter(AnyCondition).validate_python({"kind": kind} | fields)
    return found


CHANNEL = {"low": 10, "high": 20}


@pytest.mark.parametrize(
    ("kind", "fields", "levels", "holds"),
    [
        ("above", {"level": 10}, [10], [False, True, True]), ("below", {"level": 10}, [10], [True, True, False]),
        ("enter_channel", {"low": 10, "high": 10.5}, [10, 10.5], [False, True, False]),
        ("exit_channel", {"low": 10, "high": 10.5}, [10, 10.5], [True, False, True]),
        ("pct_day", {"pct": 5}, [10], [False, True, True]), ("pct_day", {"pct": -5}, [10], [True, True, False]),
        ("pct_window", {"pct": -5, "bars": 3}, [10], [True, True, False]),
        ("bar_volume", {"volume": 10}, [10], [False, True, True]),
        ("volume_ratio", {"ratio": 2}, [10], [False, True, True]),
    ],
)  # fmt: skip
def test_what_holds_at_a_close(kind: str, fields: dict[str, Any], levels: list[float], holds: list[bool]) -> None:
    assert [condition(kind, **fields).holds(close, levels) for close in (9.9, 10.0, 11.0)] == holds


def test_what_is_compared_with() -> None:
    assert condition("above", level="high(3)").targets == (Reference("high", 3),)
    assert condition("enter_channel", low=1, high="prev_close").targets == (1.0, Reference("prev_close"))
    assert condition("pct_day", pct=-5).targets == (Reference("prev_close", factor=0.95),)
    assert condition("pct_window", pct=5, bars=3).targets == (Reference("close", 3, 1.05),)
    assert condition("volume_ratio", ratio=2).targets == (Reference("mean_volume", 20, 2.0),)
    assert [condition(kind, **fields).is_of_volume for kind, fields in
            (("bar_volume", {"volume": 1}), ("volume_ratio", {"ratio": 1}), ("above", {"level": 1}))] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bar", "falling", "touch"),
    [
        (Prices(9, 11, 8, 9), False, Touch(10, 10, False)), (Prices(11, 11, 11, 11), False, Touch(11, 10, False)),
        (Prices(9, 9.9, 8, 9), False, None), (Prices(11, 12, 10, 11), True, Touch(10, 10, True)),
        (Prices(9, 9, 9, 9), True, Touch(9, 10, True)), (Prices(11, 12, 10.1, 11), True, None),
    ],
)  # fmt: skip
def test_a_level_is_touched_at_itself_unless_the_price_opens_beyond(
    bar: Prices, falling: bool, touch: Touch | None
) -> None:
    crossing = read_rule({"name": "r", "symbol": "X:A", "kind": "cross", "level": 10})
    assert crossing.touched(bar, [10.0], falling) == touch


@pytest.mark.parametrize(("pct", "sides"), [(5, [False, None, None]), (-5, [None, None, True])])
def test_a_percentage_is_armed_short_of_it(pct: float, sides: list[bool | None]) -> None:
    window = condition("pct_window", pct=pct, bars=1)
    assert [window.armed_side(close, [10.0]) for close in (9.9, 10.0, 10.1)] == sides


@pytest.mark.parametrize(
    ("pct", "falling", "reaches"),
    [(5, None, [True, True, False]), (5, False, [False, True, True]), (-5, None, [False, True, True]),
     (-5, True, [True, True, False])],
)  # fmt: skip
def test_a_percentage_is_within_reach(pct: float, falling: bool | None, reaches: list[bool]) -> None:
    window = condition("pct_window", pct=pct, bars=1)
    assert [window.is_within(price, price, [10.0], falling) for price in (9.9, 10.0, 10.1)] == reaches
