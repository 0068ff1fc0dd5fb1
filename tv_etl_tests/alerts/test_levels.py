"""What a level may be, and what closed bars say of one."""

from typing import Any

import pytest

from tv_etl.alerts.levels import MAX_BARS, Bar, ClosedBars, Reference, Step, read_level

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("written", "level"),
    [
        (10, 10.0), (-0.5, -0.5), ("prev_close", Reference("prev_close")), ("last_alert", Reference("last_alert")),
        ("high(20)", Reference("high", 20)), ("low(1)", Reference("low", 1)), (" sma(200) ", Reference("sma", 200)),
        ({"of": "prev_close", "pct": -3}, Reference("prev_close", 1, 0.97)),
        ({"of": "high(5)", "pct": 1.5}, Reference("high", 5, 1.015)),
    ],
)  # fmt: skip
def test_a_level_is_read_as_it_is_written(written: Any, level: float | Reference) -> None:
    assert read_level(written) == level


@pytest.mark.parametrize(
    "written",
    [
        None, True, "10", "high", "high()", "high(0)", "high(2", "high(-1)", "sma(1.5)", "ema(5)", "prev_close*2",
        "close(3)", "mean_volume(3)", float("nan"), float("inf"), 10**400, [], {}, {"of": "high(2)"},
        {"of": 3, "pct": 1},
        {"of": "high(2)", "pct": "1"}, {"of": "high(2)", "pct": -100}, {"of": "high(2)", "pct": True},
        {"of": "high(2)", "pct": float("inf")}, {"of": "high(2)", "pct": 1, "plus": 2}, f"high({MAX_BARS + 1})",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_would_be_right(written: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|bars at most"):
        read_level(written)


def test_a_reference_is_shown_in_words() -> None:
    shown = [str(read_level(each)) for each in ("high(20)", "prev_close", {"of": "sma(3)", "pct": -2.5})]
    assert shown == ["high(20)", "prev_close", "sma(3) -2.5 %"]
    assert str(Reference("close", 5, 1.1)) == "the close of 5 bars before +10 %"
    assert str(Reference("mean_volume", 20, 2.0)) == "2 times the mean volume of 20 bars"


def bar(minute: int, low: float, high: float, close: float, volume: float | None = 1.0) -> Bar:
    return Bar(60 * minute, close, high, low, close, 60, volume)


FINAL = [bar(1, 8, 12, 10), bar(2, 9, 13, 11, 3.0), bar(3, 7, 11, 9, 5.0)]
YOUNG = [bar(4, 1, 99, 50)]


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        (Reference("prev_close"), 9.0), (Reference("high", 2), 13.0), (Reference("low", 2), 7.0),
        (Reference("sma", 3), 10.0), (Reference("close", 3), 10.0), (Reference("mean_volume", 2), 4.0),
        (Reference("high", 2, 1.5), 19.5), (Reference("high", 4), None),
    ],
)  # fmt: skip
def test_a_level_is_of_the_bars_before_the_one_that_forms(reference: Reference, value: float | None) -> None:
    bars = ClosedBars(FINAL, YOUNG, 240, (300, 360))
    for moment in (240, 299):
        assert bars.step(reference, moment) == Step(value, 180, 240, 300)


def test_a_level_is_of_the_bars_that_had_closed_then() -> None:
    bars = ClosedBars(FINAL, YOUNG, 240, (300, 360))
    steps = [bars.step(Reference("prev_close"), moment) for moment in (0, 60, 120, 180)]
    assert steps == [Step(None, 0, 0, 60), Step(None, 0, 60, 120), Step(10.0, 60, 120, 180), Step(11.0, 120, 180, 240)]


def test_a_bar_that_is_not_here_yet_may_have_begun() -> None:
    bars = ClosedBars(FINAL, [], 181, (240, 300))
    assert [bars.step(Reference("prev_close"), moment) for moment in (239, 240, 299)] == [
        Step(11.0, 120, 180, 240), Step(9.0, 180, 240, 300), Step(9.0, 180, 240, 300),
    ]  # fmt: skip
    assert bars.step(Reference("prev_close"), 300) is None


def test_what_is_not_final_tells_no_level_of_what_comes_after_it() -> None:
    two = [*YOUNG, bar(5, 1, 1, 1)]
    bars = ClosedBars(FINAL, two, 240, (360, 420))
    assert bars.step(Reference("prev_close"), 299) == Step(9.0, 180, 240, 300)
    assert [bars.step(Reference("prev_close"), moment) for moment in (300, 359, 360)] == [None, None, None]


@pytest.mark.parametrize("close", [0.0, -5.0])
def test_a_percentage_of_what_is_not_above_zero_is_no_level(close: float) -> None:
    bars = ClosedBars([bar(1, close, close, close)], [], 61, (120, 180))
    step = bars.step(Reference("prev_close", factor=1.1), 120)
    assert step is not None and step.value is None
    plain = bars.step(Reference("prev_close"), 120)
    assert plain is not None and plain.value == close


def test_a_mean_of_volumes_needs_all_of_them() -> None:
    bars = ClosedBars([bar(1, 1, 1, 1, None), bar(2, 1, 1, 1)], [], 121, (180, 240))
    steps = [bars.step(Reference("mean_volume", count), 180) for count in (1, 2)]
    assert [None if step is None else step.value for step in steps] == [1.0, None]


def test_what_came_later_is_found_by_its_open() -> None:
    bars = ClosedBars(FINAL, YOUNG, 240, (300, 360))
    assert [each.timestamp for each in bars.after(60)] == [120, 180]
    assert FINAL[0].ends_at == 120
