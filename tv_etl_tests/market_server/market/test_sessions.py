from datetime import date, datetime, timezone

import numpy as np
import pytest

from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.market.sessions import DAY_S, Calendar, Hours, calendar_of, versions_of, weekly_hours
from tv_etl.tradingview.intervals import Interval

pytestmark = pytest.mark.pure


def calendar(symbol: str) -> Calendar:
    listing = listings()[symbol]
    return calendar_of(listing.schedule, listing.first_day_number)


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=timezone.utc).timestamp()  # type: ignore[arg-type,misc]


def opens_on(symbol: str, day: str, interval: str) -> list[str]:
    hours = calendar(symbol)
    index = int(np.searchsorted(hours.days, (date.fromisoformat(day) - date(1970, 1, 1)).days))
    moments = hours.bar_opens(index, Interval.parse(interval))
    return [datetime.fromtimestamp(moment, timezone.utc).strftime("%d %H:%M") for moment in moments.tolist()]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("24x7", 1440), ("0930-1600", 390), ("1700-1700", 1440), ("1800-1700", 1380), ("0900-1130,1230-1530", 330),
     ("0930-1200A0900E0920-1206U1300-1600E1300-1611", 330), ("0930-1130E0925-1131S1300-1500E1300-1501", 240),
     ("2300F-2300", 1440), ("1700F2-1200F1,1700-1215", 1140 + 1155)],
)  # fmt: skip
def test_hours_count_the_traded_minutes(text: str, minutes: int) -> None:
    assert Hours.parse(text).minutes == minutes


def test_auctions_are_no_segments() -> None:
    hours = Hours.parse("0930-1200A0900E0920-1206U1300-1600E1300-1611")
    assert hours.segments == ((9 * 60 + 30, 12 * 60), (13 * 60, 16 * 60))


def test_a_part_that_names_a_day_wins_over_one_that_names_none() -> None:
    week = weekly_hours("2300F-2300:2|0100-2300")
    assert sorted(week) == [0, 1, 2, 3, 4]
    assert week[0].segments == ((-60, 23 * 60),) and {week[day].segments for day in range(1, 5)} == {((60, 23 * 60),)}
    assert sorted(weekly_hours("24x7")) == list(range(7)) and sorted(weekly_hours("1000-1100:17")) == [5, 6]


def test_a_version_holds_from_its_date_on() -> None:
    assert versions_of("0900-1000") == [(None, "0900-1000")]
    assert versions_of("0900-1000#19700102/24x7:7#19700104/0900-1100") == [
        (None, "0900-1000"), (1, "24x7:7"), (3, "0900-1100"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "day", "opens"),
    [
        ("NSE:RELIANCE", "2026-07-31", ["31 03:45", "31 05:45", "31 07:45", "31 09:45"]),
        ("NSE:RELIANCE", "2026-08-03", ["03 03:45", "03 05:45", "03 07:45"]),
        ("NSE:RELIANCE", "2024-11-01", ["01 12:30"]),  # Diwali, before the change and after it
        ("NSE:RELIANCE", "2026-11-08", ["08 12:30"]),
        ("ICEEUR:BRN1!", "2026-10-26", ["25 22:00", *(f"26 {hour:02}:00" for hour in range(0, 22, 2))]),
        ("ICEEUR:BRN1!", "2026-10-27", [f"27 {hour:02}:00" for hour in range(0, 22, 2)]),
        ("ICEEUR:BRN1!", "2026-11-03", [f"03 {hour:02}:00" for hour in range(1, 23, 2)]),
        ("ICEEUR:BRN1!", "2026-10-23", [f"23 {hour:02}:00" for hour in range(0, 22, 2)]),  # London's summer
    ],
)
def test_bars_follow_the_hours_of_their_date(symbol: str, day: str, opens: list[str]) -> None:
    assert opens_on(symbol, day, "120") == opens


def test_a_day_closes_by_the_hours_of_its_date() -> None:
    reliance, minute = calendar("NSE:RELIANCE"), Interval.parse("1")
    assert reliance.bar_close(minute, int(utc(2026, 7, 31, 9, 59))) == utc(2026, 7, 31, 10) - 1
    assert reliance.bar_close(minute, int(utc(2026, 8, 3, 9, 44))) == utc(2026, 8, 3, 9, 45) - 1
    minutes = [
        int(reliance.minutes[reliance.last_opened(utc(2026, month, day, 12))]) for month, day in ((7, 31), (8, 3))
    ]
    assert minutes == [375, 360]
    assert reliance.minutes[reliance.last_opened(utc(2026, 11, 8, 12, 45))] == 45


def test_bars_begin_with_each_segment_of_a_day() -> None:
    hours = Hours.parse("0900-1130,1230-1530")
    starts = hours.clock_minutes()[hours.bar_starts(60)]
    assert [f"{minute // 60:02}:{minute % 60:02}" for minute in starts.tolist()] == [
        "09:00", "10:00", "11:00", "12:30", "13:30", "14:30",
    ]  # fmt: skip


def test_intraday_bars_count_from_the_open_of_the_session() -> None:
    assert opens_on("NASDAQ:AAPL", "2026-11-20", "60")[:2] == ["20 14:30", "20 15:30"]
    assert opens_on("NASDAQ:AAPL", "2026-07-10", "60")[0] == "10 13:30"
    assert opens_on("FX:EURUSD", "2026-11-23", "240")[:2] == ["22 22:00", "23 02:00"]
    assert opens_on("COMEX:GC1!", "2026-11-23", "60")[0] == "22 23:00"


def test_a_half_day_is_shorter() -> None:
    assert opens_on("NASDAQ:AAPL", "2026-11-27", "30")[-1] == "27 17:30"


def test_holidays_and_weekends_are_no_trading_days() -> None:
    days = calendar("NASDAQ:AAPL").days
    for day in ("2026-11-26", "2026-11-21", "2025-01-09"):
        assert (date.fromisoformat(day) - date(1970, 1, 1)).days not in days


def test_close_times_are_those_of_the_recordings() -> None:
    daily, minute = Interval.parse("1D"), Interval.parse("1")
    # mktcli-20260821, har-20251218 and hm-timescale_update-2-daily-novolume.
    assert calendar("NASDAQ:AAPL").bar_close(daily, 1787232600) == 1787255999
    assert calendar("NSE:M&M").bar_close(daily, 1766029500) == 1766051999
    assert calendar("NSE:M&M").bar_close(Interval.parse("188"), 1766029500) == 1766040780
    assert calendar("BINANCE:BTCUSDT").bar_close(daily, 1755129600) == 1755216000
    # mnwato-du: inside the session a bar ends where the next begins; tvrs2023-00: the last one a second before.
    assert calendar("BINANCE:BTCUSDT").bar_close(minute, 1734082440) == 1734082500
    aapl = calendar("NASDAQ:AAPL")
    assert aapl.bar_close(minute, int(utc(2026, 11, 20, 20, 59))) == utc(2026, 11, 20, 20, 59) + 59
    assert aapl.bar_close(Interval.parse("60"), int(utc(2026, 11, 20, 20, 30))) == utc(2026, 11, 20, 21) - 1


def test_weeks_and_months_end_with_their_last_session() -> None:
    aapl = calendar("NASDAQ:AAPL")
    assert aapl.bar_close(Interval.parse("1W"), int(utc(2026, 11, 23, 14, 30))) == utc(2026, 11, 27, 18) - 1
    assert aapl.bar_close(Interval.parse("1M"), int(utc(2026, 11, 2, 14, 30))) == utc(2026, 11, 30, 21) - 1


def test_future_bars_skip_what_is_closed() -> None:
    opens = calendar("NASDAQ:AAPL").opens_after(Interval.parse("1D"), int(utc(2026, 11, 25, 14, 30)), 2)
    assert opens == [utc(2026, 11, 27, 14, 30), utc(2026, 11, 30, 14, 30)]
    opens = calendar("NASDAQ:AAPL").opens_after(Interval.parse("60"), int(utc(2026, 11, 20, 19, 30)), 2)
    assert opens == [utc(2026, 11, 20, 20, 30), utc(2026, 11, 23, 14, 30)]


@pytest.mark.parametrize("count", [1, 390, 391, 5000])
def test_open_back_counts_bars_across_days(count: int) -> None:
    aapl, minute = calendar("NASDAQ:AAPL"), Interval.parse("1")
    now = utc(2026, 11, 27, 16)
    opened = aapl.open_back(minute, now, count)
    assert opened is not None
    following = aapl.opens_after(minute, opened, count)
    assert following[count - 2 : count] == [now, now + 60] if count > 1 else following[0] == now + 60


def test_open_back_is_none_before_the_first_bar() -> None:
    assert calendar("NASDAQ:AAPL").open_back(Interval.parse("240"), utc(2000, 1, 4, 20), 5) is None


def test_a_market_is_open_between_open_and_close() -> None:
    aapl = calendar("NASDAQ:AAPL")
    assert [aapl.is_open(utc(2026, 11, 20, hour)) for hour in (14, 15, 20, 21)] == [False, True, True, False]
    assert not aapl.is_open(utc(1999, 1, 1))


def test_midnights_follow_daylight_saving() -> None:
    fx = calendar("FX:EURUSD")
    assert {int(moment) % DAY_S // 3600 for moment in fx.opens.tolist()} == {21, 22}


def day_number(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days


@pytest.mark.parametrize("day", ["2024-11-01", "2025-02-01", "2025-10-21", "2020-11-14"])
def test_a_special_session_is_a_trading_day_even_on_a_weekend_or_holiday(day: str) -> None:
    assert day_number(day) in calendar("NSE:M&M").days


def test_lunch_breaks_have_no_bars() -> None:
    assert opens_on("TSE:7203", "2026-11-20", "60") == ["20 00:00", "20 01:00", "20 02:00", "20 03:30", "20 04:30",
                                                        "20 05:30"]  # fmt: skip
    assert opens_on("HKEX:700", "2026-02-16", "60") == ["16 01:30", "16 02:30", "16 03:30"]
    assert opens_on("SET:PTT", "2026-11-20", "60")[2:4] == ["20 05:00", "20 07:00"]


def test_seconds_count_from_the_open_of_each_segment() -> None:
    opens = opens_on("SSE:600519", "2026-11-20", "45S")
    assert len(opens) == 4 * 80 and opens[0] == "20 01:30" and opens[160] == "20 05:00"


def test_a_week_without_a_trading_day_is_no_week() -> None:
    china = calendar("SSE:600519")
    weeks = china.groups(Interval.parse("1W"))
    assert (np.diff(weeks) <= 1).all() and weeks[0] == 0
    last = china.last_opened(utc(2026, 3, 20, 2))
    assert china.days[china.days_back(Interval.parse("1W"), last, 2)] == day_number("2026-03-09")


def test_a_calendar_may_end_and_may_begin_before_1970() -> None:
    aapl = listings()["NASDAQ:AAPL"]
    short = calendar_of(aapl.schedule, day_number("2026-11-16"), day_number("2026-11-18"))
    assert short.days.tolist() == [day_number(f"2026-11-{day}") for day in (16, 17, 18)]
    assert short.opens_after(Interval.parse("1D"), int(short.opens[-1]), 3) == []
    old = calendar_of(aapl.schedule, day_number("1928-01-03"))
    assert datetime.fromtimestamp(int(old.opens[0]), timezone.utc).year == 1928
