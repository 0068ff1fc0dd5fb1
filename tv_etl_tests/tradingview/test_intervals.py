"""Both spellings mean the same width, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval, Unit

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("wire", "token", "seconds"),
    [
        ("1", "1m", 60),
        ("5", "5m", 300),
        ("60", "1h", 3600),
        ("240", "4h", 14_400),
        ("90", "90m", 5400),
        ("10S", "10s", 10),
        ("1D", "1d", 86_400),
        ("1W", "1w", 604_800),
        ("1M", "1mo", 2_592_000),
        ("3M", "3mo", 7_776_000),
    ],
)
def test_both_spellings_are_one_width(wire: str, token: str, seconds: int) -> None:
    assert Interval.parse(wire) == Interval.parse(token)
    assert (Interval.parse(token).wire, Interval.parse(wire).token) == (wire, token)
    assert Interval.parse(wire).seconds == seconds


def test_a_month_is_not_a_minute() -> None:
    assert Interval.parse("1M") != Interval.parse("1m")


def test_tradingview_may_leave_the_one_out() -> None:
    assert Interval.parse("D") == Interval.parse("1d")


@pytest.mark.parametrize("text", ["", "0", "01", "m", "1x", "1 m", "-5", "1mo1", "XX", "15min", "1.5h", "12345"])
def test_a_bad_interval_is_named(text: str) -> None:
    with pytest.raises(IntervalError) as error:
        Interval.parse(text)
    assert repr(text) in str(error.value)


def test_tick_bars_have_no_width_in_time() -> None:
    ticks = Interval.parse("100T")
    assert not ticks.is_time_based
    with pytest.raises(IntervalError):
        _ = ticks.seconds


@given(st.integers(1, 1440), st.sampled_from(["s", "m", "d", "w", "mo", "t", "r"]))
def test_every_width_reads_back_from_both_spellings(count: int, unit: Unit) -> None:
    width = Interval(count, unit)
    assert Interval.parse(width.wire) == Interval.parse(width.token) == width
