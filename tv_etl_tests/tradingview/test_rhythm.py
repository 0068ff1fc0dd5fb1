"""How long a series may be silent, by its hours and by what its bars have shown."""

from datetime import datetime, timezone

import pytest

from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import SymbolInfo
from tv_etl.tradingview.rhythm import LEAST_S, SEVERAL, Rhythm

pytestmark = pytest.mark.pure

MINUTE, HOUR = 60.0, 3_600.0
TOKYO: dict[str, object] = {"session": "0900-1130,1230-1500", "timezone": "Asia/Tokyo", "session_holidays": "20261123"}


def at(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=timezone.utc).timestamp()


def rhythm_of(info: dict[str, object], interval: str = "1m", delay_s: float | None = 0.0) -> Rhythm:
    rhythm = Rhythm(Interval.parse(interval), "regular")
    rhythm.resolved(SymbolInfo(info))
    rhythm.completed(delay_s)
    return rhythm


def test_a_market_that_never_closes_is_measured_by_the_clock() -> None:
    rhythm = rhythm_of({"session": "24x7"})
    assert rhythm.silence_s(at(18, 12), at(18, 12, 25)) == 25 * MINUTE
    assert rhythm.silence_s(at(20, 12), at(23, 12)) == 72 * HOUR, "over a weekend too"
    assert rhythm.limit_s == SEVERAL * MINUTE


def test_no_second_outside_the_hours_is_silence() -> None:
    rhythm = rhythm_of(TOKYO)  # 00:00 to 02:30 and 03:30 to 06:00 UTC
    assert rhythm.silence_s(at(18, 2, 29), at(18, 3, 31)) == 2 * MINUTE, "lunch"
    assert rhythm.silence_s(at(18, 5, 59), at(19, 0, 2)) == 3 * MINUTE, "a night"
    assert rhythm.silence_s(at(20, 5, 58), at(24, 0, 1)) == 3 * MINUTE, "a weekend and a holiday"
    assert rhythm.silence_s(at(21, 0), at(22, 0)) == 0.0
    assert rhythm.silence_s(at(18, 1), at(18, 0)) == 0.0, "a clock that was set back"


def test_a_late_feed_has_its_hours_later() -> None:
    rhythm = rhythm_of(TOKYO, delay_s=1_200.0)
    assert rhythm.silence_s(at(18, 6, 15), at(19, 0, 19)) == 5 * MINUTE, "until 06:20 the feed tells of trading"
    assert rhythm.silence_s(at(19, 0, 19), at(19, 0, 22)) == 2 * MINUTE


def test_a_feed_of_unknown_delay_is_not_judged() -> None:
    assert rhythm_of(TOKYO, delay_s=None).silence_s(at(18, 0), at(18, 6)) == 0.0


@pytest.mark.parametrize("info", [{"session": "no hours"}, {"session": "24x7", "timezone": "Nowhere"}])
def test_hours_that_cannot_be_read_are_not_judged(info: dict[str, object]) -> None:
    assert rhythm_of(info).silence_s(at(18, 0), at(18, 6)) == 0.0


def test_nothing_is_judged_before_the_hours_are_known() -> None:
    rhythm = Rhythm(Interval.parse("1m"), "regular")
    rhythm.add([at(18, 0), at(18, 1)])
    assert rhythm.silence_s(at(18, 0), at(18, 6)) == 0.0


def test_a_symbol_that_trades_once_an_hour_may_be_silent_for_several() -> None:
    rhythm = rhythm_of({"session": "24x7"})
    rhythm.add([at(18, hour) for hour in range(10)])
    assert rhythm.limit_s == SEVERAL * HOUR
    rhythm.add([at(18, 11), at(18, 9)])
    assert rhythm.limit_s == SEVERAL * 2 * HOUR, "the longest that it was silent"
    rhythm.add([at(18, 11)])
    rhythm.add([at(18, 11, 1)])
    assert rhythm.limit_s == SEVERAL * 2 * HOUR


def test_a_night_between_two_bars_is_no_long_silence() -> None:
    rhythm = rhythm_of(TOKYO)
    rhythm.add([at(18, 5, 59), at(19, 0), at(19, 0, 1), at(20, 5, 59), at(24, 0)])
    assert rhythm.limit_s == SEVERAL * (10 * HOUR - 2 * MINUTE), "nothing on the rest of the 19th, and on the 20th"


def test_days_are_measured_by_their_sessions() -> None:
    rhythm = rhythm_of(TOKYO, "1d")
    rhythm.add([at(day, 0) for day in (17, 18, 19, 20, 24)])
    assert rhythm.silence_s(at(18, 0), at(19, 0)) == 5 * HOUR
    assert rhythm.limit_s == SEVERAL * 24 * HOUR


def test_seconds_and_ticks_have_a_least_silence() -> None:
    assert rhythm_of({}, "1s").limit_s == LEAST_S
    ticks = rhythm_of({}, "10R")
    assert ticks.limit_s == LEAST_S
    ticks.add([at(18, 0), at(18, 1)])
    assert ticks.limit_s == SEVERAL * HOUR


@pytest.mark.parametrize(("interval", "bars"), [("1m", 7_200), ("1h", 120), ("1d", 100), ("10R", 7_200)])
def test_so_much_history_shows_a_rhythm(interval: str, bars: int) -> None:
    assert rhythm_of({}, interval).history_bars == bars
