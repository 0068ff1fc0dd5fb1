import json
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import NO_DAY, GapRun, TradingHours, TradingHoursError, gap_runs
from tv_etl_tests.yardstick import cpu_ratio

pytestmark = pytest.mark.pure

UTC = timezone.utc
ALWAYS = TradingHours("24x7", "Etc/UTC")
NYSE = TradingHours("0930-1600", "America/New_York", "20261126,20261225", "0930-1300:20261127,20261224;dayoff:20250109")
TOKYO = TradingHours("0900-1130,1230-1500", "Asia/Tokyo")
CURRENCY = TradingHours("1700-1700", "America/New_York")
FUTURES = TradingHours("1800-1700", "America/New_York")

# Each holds the server's description of a symbol and the opens of the bars it served for it.
RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "recordings" / "symbol_hours.json").read_text(encoding="utf-8")
)
RECORDED_IDS = [f"{item['symbol_resolved']['full_name']} {item['interval']}" for item in RECORDED]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moment(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def bars(hours: TradingHours, interval: str, start: str, end: str) -> list[str]:
    opens = hours.expected(Interval.parse(interval), utc(start), utc(end))
    return [moment(t).strftime("%m-%d %H:%M") for t in opens.tolist()]


def spans(hours: TradingHours, start: str, end: str) -> list[str]:
    return [
        f"{moment(opens):%m-%d %H:%M} {moment(closes):%m-%d %H:%M}"
        for opens, closes in hours.spans(utc(start), utc(end))
    ]


# What the server sent


@pytest.mark.parametrize("item", RECORDED, ids=RECORDED_IDS)
def test_expected_bars_are_the_bars_the_server_sent(item: dict[str, Any]) -> None:
    hours = TradingHours.of_symbol(item["symbol_resolved"])
    recorded = item["bars"]
    expected = hours.expected(Interval.parse(item["interval"]), moment(recorded[0]), moment(recorded[-1] + 1))
    assert expected.tolist() == recorded


def test_the_recorded_holiday_evening_session_is_expected_and_its_day_is_not() -> None:
    nse = next(i for i in RECORDED if i["symbol_resolved"]["full_name"] == "NSE:JUNIPER")
    hours = TradingHours.of_symbol(nse["symbol_resolved"])
    assert "20251021" in hours.holidays.split(",")
    assert spans(hours, "2025-10-21", "2025-10-23") == ["10-21 08:15 10-21 09:15"]
    assert spans(hours, "2025-02-01", "2025-02-03") == ["02-01 03:45 02-01 10:00"]  # a Saturday


def test_the_named_subsession_and_its_own_corrections_are_read() -> None:
    apple = next(i for i in RECORDED if i["symbol_resolved"]["full_name"] == "BATS:AAPL")["symbol_resolved"]
    regular = TradingHours.of_symbol(apple)
    extended = TradingHours.of_symbol(apple, "extended")
    assert (regular.session, extended.session) == ("0930-1600", "0400-2000")
    assert spans(regular, "2026-11-27", "2026-11-28") == ["11-27 14:30 11-27 18:00"]
    assert spans(extended, "2026-11-27", "2026-11-28") == ["11-27 09:00 11-27 22:00"]
    assert spans(regular, "2025-01-09", "2025-01-10") == []


def test_an_unknown_subsession_falls_back_to_the_resolved_one() -> None:
    # TVC:RUT as recorded 2023-06-11, resolved with extended hours.
    info = {
        "session": "0900-1615",
        "timezone": "America/New_York",
        "subsession_id": "extended",
        "subsessions": [
            {"id": "regular", "session": "0930-1615"},
            {"id": "extended", "session": "0900-1615", "session-correction": "0900-1300:20231124"},
        ],
    }
    assert TradingHours.of_symbol(info).session == "0930-1615"
    assert TradingHours.of_symbol(info, "us_regular") == TradingHours(
        "0900-1615", "America/New_York", "", "0900-1300:20231124"
    )


def test_a_symbol_that_says_nothing_trades_always() -> None:
    assert TradingHours.of_symbol({}) == ALWAYS
    assert TradingHours.of_symbol({"session": None, "timezone": "", "subsessions": None}) == ALWAYS


# Sessions


def test_crypto_is_one_unbroken_span() -> None:
    assert spans(ALWAYS, "2026-01-01", "2026-02-01") == ["01-01 00:00 02-01 00:00"]


def test_a_currency_week_runs_from_sunday_to_friday_evening() -> None:
    assert spans(CURRENCY, "2026-07-03T22:00", "2026-07-11") == ["07-05 21:00 07-10 21:00"]
    assert bars(CURRENCY, "1d", "2026-07-04", "2026-07-11") == [
        "07-05 21:00", "07-06 21:00", "07-07 21:00", "07-08 21:00", "07-09 21:00",
    ]  # fmt: skip
    assert bars(CURRENCY, "1w", "2026-07-01", "2026-07-18") == ["07-05 21:00", "07-12 21:00"]


def test_futures_pause_an_hour_a_day_and_open_on_sunday() -> None:
    assert spans(FUTURES, "2026-07-04", "2026-07-08") == [
        "07-05 22:00 07-06 21:00",
        "07-06 22:00 07-07 21:00",
        "07-07 22:00 07-08 00:00",
    ]
    assert bars(FUTURES, "4h", "2026-07-06", "2026-07-06T23:00") == [
        "07-06 02:00", "07-06 06:00", "07-06 10:00", "07-06 14:00", "07-06 18:00", "07-06 22:00",
    ]  # fmt: skip


def test_a_holiday_closes_the_evening_before_it() -> None:
    hours = TradingHours("1800-1700", "America/New_York", holidays="20260707")
    assert spans(hours, "2026-07-06", "2026-07-08T22:00") == [
        "07-06 00:00 07-06 21:00",
        "07-07 22:00 07-08 21:00",
    ]


def test_an_overnight_half_day_keeps_its_evening() -> None:
    hours = TradingHours("1800-1700", "America/New_York", corrections="1800-1300:20261127")
    assert spans(hours, "2026-11-26T22:30", "2026-11-28") == ["11-26 23:00 11-27 18:00"]


def test_bars_restart_after_the_noon_break() -> None:
    assert bars(TOKYO, "1h", "2026-07-06", "2026-07-07") == [
        "07-06 00:00", "07-06 01:00", "07-06 02:00", "07-06 03:30", "07-06 04:30", "07-06 05:30",
    ]  # fmt: skip
    assert bars(TOKYO, "1d", "2026-07-06", "2026-07-08") == ["07-06 00:00", "07-07 00:00"]


def test_bars_are_counted_from_the_open_even_when_asked_for_from_later() -> None:
    expected = ["07-06 15:30", "07-06 16:30", "07-06 17:30", "07-06 18:30", "07-06 19:30"]
    assert bars(NYSE, "60", "2026-07-06T14:31", "2026-07-07") == expected
    assert bars(NYSE, "60", "2026-07-06T15:30", "2026-07-06T19:30") == expected[:-1]


@pytest.mark.parametrize(
    ("session", "open_on"),
    [
        ("0900-1700", "23456"),
        ("0900-1700:12345", "12345"),
        ("1;0900-1700:12345", "12345"),
        ("0900-1700:1234567", "1234567"),
        ("0900-1700:7", "7"),
        ("0900-1700|0900-1200:7", "234567"),
        ("0900-1200:23;1300-1700:56", "2356"),
        ("24x7", "1234567"),
        ("0000-0000", "23456"),
        ("0000-2400:17", "17"),
    ],
)
def test_days_of_the_week(session: str, open_on: str) -> None:
    days = TradingHours(session, "Etc/UTC").expected(Interval.parse("1d"), utc("2026-07-05"), utc("2026-07-12"))
    assert "".join(str(moment(t).isoweekday() % 7 + 1) for t in days.tolist()) == open_on


def test_a_part_with_days_replaces_the_one_without() -> None:
    hours = TradingHours("0900-1630|0900-1400:2", "Etc/UTC")
    assert spans(hours, "2026-07-06", "2026-07-08") == ["07-06 09:00 07-06 14:00", "07-07 09:00 07-07 16:30"]


def test_several_parts_of_one_day_add_up() -> None:
    hours = TradingHours("1300-1500:2|0900-1200:2", "Etc/UTC")
    assert spans(hours, "2026-07-06", "2026-07-08") == ["07-06 09:00 07-06 12:00", "07-06 13:00 07-06 15:00"]


def test_overlapping_ranges_make_one_span() -> None:
    hours = TradingHours("0900-1200,1100-1300", "Etc/UTC")
    assert spans(hours, "2026-07-06", "2026-07-07") == ["07-06 09:00 07-06 13:00"]
    assert bars(hours, "1h", "2026-07-06", "2026-07-07")[-2:] == ["07-06 11:00", "07-06 12:00"]


def test_a_session_cut_by_one_long_over_is_cut_the_same_when_asked_for_late() -> None:
    hours = TradingHours("0900F6-1700:2|0900-1000:3", "Etc/UTC")  # Monday's opens on Tuesday, Tuesday's too
    whole = bars(hours, "7m", "2026-07-07", "2026-07-13T17:00")
    late = bars(hours, "7m", "2026-07-13T12:00", "2026-07-13T17:00")
    assert whole[-len(late) :] == late


def test_midnight_ends_the_day_it_closes() -> None:
    for session in ("1700-0000", "1700-2400"):
        assert spans(TradingHours(session, "Etc/UTC"), "2026-07-06", "2026-07-07") == ["07-06 17:00 07-07 00:00"]


def test_a_time_marked_f_lies_before_the_trading_day() -> None:
    week = "2026-07-04", "2026-07-07"
    assert spans(TradingHours("1800F2-1700:2", "Etc/UTC"), *week) == ["07-04 18:00 07-06 17:00"]
    assert spans(TradingHours("0900F1-1700F:2", "Etc/UTC"), *week) == ["07-05 09:00 07-05 17:00"]
    assert spans(TradingHours("1800F-1700:2", "Etc/UTC"), *week) == ["07-05 18:00 07-06 17:00"]


# As the server writes them

HONG_KONG = "0930-1200A0900E0920-1206U1300-1600E1300-1611"
SHANGHAI = "0930-1130E0925-1131S1300-1500E1300-1501"
BRENT = (
    "0100-2300|2300F-2300:2#20261026/0000-2200|2200F-2200:2#20261102/0100-2300|2300F-2300:2#20270315/"
    "0000-2200|2200F-2200:2"
)
BOMBAY = TradingHours("0915-1530#20260803/0915-1515", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("session", "zone", "expected"),
    [
        (HONG_KONG, "Asia/Hong_Kong", ["07-06 01:30 07-06 04:00", "07-06 05:00 07-06 08:00"]),
        (SHANGHAI, "Asia/Shanghai", ["07-06 01:30 07-06 03:30", "07-06 05:00 07-06 07:00"]),
        ("0215-0826,0830-1516", "Etc/UTC", ["07-06 02:15 07-06 08:26", "07-06 08:30 07-06 15:16"]),
        ("0900-1000A0830-0900E1000E1001-1005,1100-1200", "Etc/UTC",
         ["07-06 09:00 07-06 10:00", "07-06 11:00 07-06 12:00"]),
        ("2200F-0200A2100U0300-0400", "Etc/UTC", ["07-06 00:00 07-06 02:00", "07-06 03:00 07-06 04:00",
                                                  "07-06 22:00 07-07 00:00"]),
    ],
)  # fmt: skip
def test_auctions_are_no_trading_and_u_and_s_begin_the_next_range(session: str, zone: str, expected: list[str]) -> None:
    assert spans(TradingHours(session, zone), "2026-07-06", "2026-07-07") == expected


def test_the_holidays_of_a_future_are_corrections_that_begin_days_before() -> None:
    # CME_MINI:ES1! as of 2026-10-10.
    future = TradingHours(
        "1700-1600",
        "America/Chicago",
        "20260101,20260119,20260403,20261126",
        "1700-0815:20260403;1700F2-1200F1,1700-1215:20261127;1700F2-1200F1,1700-1600:20260120",
    )
    assert spans(future, "2026-01-17", "2026-01-21") == [
        "01-18 23:00 01-19 18:00", "01-19 23:00 01-20 22:00", "01-20 23:00 01-21 00:00",
    ]  # fmt: skip
    assert spans(future, "2026-04-02T22:00", "2026-04-05T22:00") == ["04-02 22:00 04-03 13:15"]
    assert spans(future, "2026-11-25T22:30", "2026-11-29T22:30") == [
        "11-25 23:00 11-26 18:00", "11-26 23:00 11-27 18:15",
    ]  # fmt: skip


def test_a_version_holds_until_the_day_before_its_successor() -> None:
    assert spans(BOMBAY, "2026-07-31", "2026-08-04") == ["07-31 03:45 07-31 10:00", "08-03 03:45 08-03 09:45"]
    # TVC:GOLD's like: other days of the week as well.
    wider = TradingHours("0900-1746:23456#20251201/0800-2200:234567", "Etc/UTC")
    assert spans(wider, "2025-11-28", "2025-12-02") == ["11-28 09:00 11-28 17:46", "12-01 08:00 12-01 22:00"]
    assert spans(wider, "2025-12-06", "2025-12-07") == ["12-06 08:00 12-06 22:00"]


def test_brent_keeps_the_hours_of_new_york_in_the_time_of_london() -> None:
    brent = TradingHours(BRENT, "Europe/London")
    assert spans(brent, "2026-10-22T22:30", "2026-11-04") == [
        "10-23 00:00 10-23 22:00",
        "10-25 22:00 10-26 22:00",
        *(f"10-{day} 00:00 10-{day} 22:00" for day in (27, 28, 29, 30)),
        "11-01 23:00 11-02 23:00",
        "11-03 01:00 11-03 23:00",
    ]


def test_an_overnight_session_is_of_the_version_of_its_trading_day() -> None:
    # The 3rd opens on the evening of the 2nd by the hours that begin with the 3rd.
    hours = TradingHours("1700-1600#20261103/1800-1500", "Etc/UTC")
    assert spans(hours, "2026-11-01T12:00", "2026-11-03T16:00") == [
        "11-01 17:00 11-02 16:00",
        "11-02 18:00 11-03 15:00",
    ]


def test_where_two_versions_would_overlap_the_older_session_keeps_its_time() -> None:
    hours = TradingHours("0900-2300:1234567#20261103/2000-1900:1234567", "Etc/UTC")
    assert spans(hours, "2026-11-02", "2026-11-03T20:00") == ["11-02 09:00 11-03 19:00"]
    days, opens, closes = hours.sessions(int(utc("2026-11-02T12:00").timestamp()), int(utc("2026-11-03").timestamp()))
    assert (len(days), moment(opens[1]), moment(closes[0])) == (2, utc("2026-11-02T23:00"), utc("2026-11-02T23:00"))


def test_a_year_of_history_keeps_the_hours_of_its_time() -> None:
    tokyo = TradingHours(
        "0900-1100,1230-1500#20111121/0900-1130,1230-1500#20241105/0900-1130,1230-1530", "Asia/Tokyo", "20111123"
    )
    for day, closes in (("2011-11-18", 270), ("2011-11-21", 300), ("2024-11-04", 300), ("2024-11-05", 330)):
        assert len(bars(tokyo, "1m", day, f"{day}T23:00")) == closes


def test_a_week_may_begin_on_another_day_from_a_date_on() -> None:
    # Saudi Arabia moved its weekend on 2013-06-29.
    riyadh = TradingHours("7;1100-1530:71234#20130629/1;1100-1530:12345", "Asia/Riyadh")
    assert bars(riyadh, "1w", "2013-06-14", "2013-07-12") == [
        "06-15 08:00",
        "06-22 08:00",
        "06-30 08:00",
        "07-07 08:00",
    ]
    backwards = TradingHours("1000-1100:1234567#20260709/1;1000-1100:1234567", "Etc/UTC")
    assert bars(backwards, "1w", "2026-07-01", "2026-07-15") == ["07-06 10:00", "07-12 10:00"]


def test_corrections_have_versions_too_which_hold_for_the_day_they_are_asked_of() -> None:
    evenings = TradingHours(
        "0915-1530", "Asia/Kolkata", "20251021,20261108", "1800-1900#20260803/1815-1915:20251021,20261108"
    )
    assert spans(evenings, "2025-10-21", "2025-10-22") == ["10-21 12:30 10-21 13:30"]
    assert spans(evenings, "2026-11-08", "2026-11-09") == ["11-08 12:45 11-08 13:45"]
    closed = TradingHours("0915-1530", "Etc/UTC", "", "dayoff#20260803/0915-1200:20260731,20260803")
    assert spans(closed, "2026-07-31", "2026-08-04") == ["08-03 09:15 08-03 12:00"]


def test_all_corrections_together_may_have_versions() -> None:
    hours = TradingHours(
        "0900-1700",
        "Etc/UTC",
        "",
        "dayoff:20260730;0900-1200:20260731,20260804#20260803/1000-1100#20260805/1000-1200:20260804,20260805;"
        "1300-1400:20260806,20260731",
    )
    assert spans(hours, "2026-07-30", "2026-08-07") == [
        "07-31 09:00 07-31 12:00",
        "08-03 09:00 08-03 17:00",
        "08-04 10:00 08-04 11:00",
        "08-05 10:00 08-05 12:00",
        "08-06 13:00 08-06 14:00",
    ]


def test_a_correction_wins_over_a_holiday_and_a_holiday_over_the_week() -> None:
    day = ("2026-07-07", "2026-07-08")
    assert spans(TradingHours("0900-1700", "Etc/UTC", "20260707"), *day) == []
    assert spans(TradingHours("0900-1700", "Etc/UTC", "20260707", f"{HONG_KONG}:20260707"), *day) == [
        "07-07 09:30 07-07 12:00", "07-07 13:00 07-07 16:00",
    ]  # fmt: skip
    assert spans(TradingHours("0900-1700", "Etc/UTC", "20260707", "24x7:20260707"), *day) == ["07-07 00:00 07-08 00:00"]


@pytest.mark.parametrize(
    ("session", "letter"),
    [
        ("0930-1200Q1300-1600", "Q"),
        ("0930-1200A0900B0920-1206U1300-1600", "B"),
        ("0930-1200a0900", "a"),
        ("0915-1530#20260803/0915-1515Z", "Z"),
        ("0930-1200:2|0930-1200É:3", "É"),
    ],
)
def test_a_letter_that_nobody_has_seen_is_named_with_its_text(session: str, letter: str) -> None:
    for field in ("session", "corrections"):
        text = session if field == "session" else session.replace(":2|", ":20260707;").replace(":3", "") + ":20260101"
        with pytest.raises(TradingHoursError, match=f"letter '{letter}'") as caught:
            TradingHours(**{"session": "24x7", "timezone": "Etc/UTC", field: text})
        assert letter in caught.value.text and caught.value.text in text


# Days, weeks, months


def test_a_day_a_week_and_a_month_open_with_their_first_session() -> None:
    assert bars(NYSE, "1w", "2026-11-15", "2026-12-01") == ["11-16 14:30", "11-23 14:30", "11-30 14:30"]
    assert bars(NYSE, "1mo", "2026-01-01", "2026-07-01") == [
        "01-01 14:30", "02-02 14:30", "03-02 14:30", "04-01 13:30", "05-01 13:30", "06-01 13:30",
    ]  # fmt: skip
    assert bars(NYSE, "3mo", "2026-01-02", "2027-01-01") == ["04-01 13:30", "07-01 13:30", "10-01 13:30"]
    assert bars(ALWAYS, "12mo", "2025-06-01", "2027-06-01") == ["01-01 00:00", "01-01 00:00"]


def test_a_week_may_begin_on_sunday() -> None:
    from_sunday = TradingHours("1;1000-1500:12345", "Asia/Riyadh")
    from_monday = TradingHours("1000-1500:12345", "Asia/Riyadh")
    assert bars(from_sunday, "1w", "2026-07-01", "2026-07-15") == ["07-05 07:00", "07-12 07:00"]
    assert bars(from_monday, "1w", "2026-07-01", "2026-07-15") == ["07-06 07:00", "07-13 07:00"]


def test_a_week_without_its_monday_opens_on_tuesday() -> None:
    hours = TradingHours("0930-1600", "America/New_York", holidays="20260907")
    assert bars(hours, "1w", "2026-09-01", "2026-09-12") == ["09-08 13:30"]


def test_a_month_has_one_bar_although_its_market_closed_for_weeks() -> None:
    hours = TradingHours(
        "0900-1000:1", "Etc/UTC", "20260104,20260111,20260118,20260125", ("0900-1000:20260101;1200-1300:20260131")
    )
    assert bars(hours, "1mo", "2026-01-01", "2026-02-01") == ["01-01 09:00"]
    assert bars(hours, "1mo", "2026-01-31T11:00", "2026-02-01") == []


@pytest.mark.parametrize("interval", ["2d", "2w", "5mo", "100t", "10r"])
def test_bars_without_known_bounds_are_refused(interval: str) -> None:
    with pytest.raises(IntervalError, match=interval):
        ALWAYS.expected(Interval.parse(interval), utc("2026-01-01"), utc("2026-02-01"))


# Clock changes


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("America/New_York", date(2026, 11, 2), 24),
        ("Etc/UTC", date(2026, 3, 29), 24),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # at midnight: the day has no 00:00
        ("Asia/Beirut", date(2026, 3, 29), 23),
    ],
)
def test_a_day_has_as_many_hours_as_its_clock(zone: str, day: date, hours: int) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    calendar = TradingHours("24x7", zone)
    opens = calendar.expected(Interval.parse("1h"), midnight, midnight + timedelta(days=1))
    assert np.diff(opens).tolist() == [3600] * (hours - 1)
    assert len(calendar.spans(midnight, midnight + timedelta(days=1))) == 1


@pytest.mark.parametrize(
    ("hours", "before", "after"),
    [
        (NYSE, "2026-03-06 14:30", "2026-03-09 13:30"),
        (NYSE, "2026-10-30 13:30", "2026-11-02 14:30"),
        (FUTURES, "2026-03-05 23:00", "2026-03-08 22:00"),
        (FUTURES, "2026-10-29 22:00", "2026-11-01 23:00"),
        (TradingHours("0800-1630", "Europe/London"), "2026-03-27 08:00", "2026-03-30 07:00"),
        (TradingHours("0800-1630", "Europe/London"), "2026-10-23 07:00", "2026-10-26 08:00"),
        (TOKYO, "2026-03-27 00:00", "2026-03-30 00:00"),
    ],
)
def test_daily_bars_move_with_the_clock_of_the_exchange(hours: TradingHours, before: str, after: str) -> None:
    first, last = utc(before), utc(after)
    opens = hours.expected(Interval.parse("1d"), first, last + timedelta(seconds=1))
    assert opens.tolist() == [first.timestamp(), last.timestamp()]


def test_an_overnight_session_over_the_clock_change_has_an_hour_less() -> None:
    hours = TradingHours("1800-1700:1", "America/New_York")  # Saturday evening to Sunday, 8 March 2026
    assert spans(hours, "2026-03-07", "2026-03-09") == ["03-07 23:00 03-08 21:00"]


# Bounds


def test_bounds_are_half_open_to_the_microsecond() -> None:
    one, day = Interval.parse("1m"), utc("2026-07-06T13:30")
    assert NYSE.expected(one, day, day + timedelta(minutes=1)).size == 1
    assert NYSE.expected(one, day + timedelta(microseconds=1), day + timedelta(minutes=1)).size == 0
    assert NYSE.expected(one, day, day).size == 0
    assert NYSE.expected(one, day + timedelta(days=1), day).size == 0
    assert NYSE.spans(day + timedelta(days=1), day) == []


def test_open_at_the_open_and_closed_at_the_close() -> None:
    assert NYSE.is_open(utc("2026-07-06T13:30"))
    assert NYSE.is_open(utc("2026-07-06T19:59:59.999999"))
    assert not NYSE.is_open(utc("2026-07-06T13:29:59.999999"))
    assert not NYSE.is_open(utc("2026-07-06T20:00"))
    assert not NYSE.is_open(utc("2026-11-26T15:00"))


def test_the_repeated_hour_does_not_open_a_market_early() -> None:
    hours = TradingHours("0200-0400:1", "America/New_York")
    last_second_of_summer = datetime(2026, 11, 1, 1, 59, 59, tzinfo=ZoneInfo("America/New_York"))
    assert not hours.is_open(last_second_of_summer)
    assert hours.is_open(last_second_of_summer + timedelta(seconds=1))


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        NYSE.is_open(datetime(2026, 7, 6))


# The trading day of a bar

EXTENDED = TradingHours("0400-2000", "America/New_York")
DIWALI = TradingHours(
    "0915-1530#20260803/0915-1515", "Asia/Kolkata", "20261108", "1800-1900#20260803/1800-1845:20261108"
)
CHRISTMAS = TradingHours("1700-1700", "America/New_York", "20261225")


def trading_days(hours: TradingHours, interval: str, *opens: str) -> list[str]:
    seconds = np.array([int(utc(each).timestamp()) for each in opens], dtype=np.int64)
    return [str(day) for day in hours.trading_days(Interval.parse(interval), seconds).astype("M8[D]")]


@pytest.mark.parametrize(
    ("hours", "interval", "opens", "day"),
    [
        (NYSE, "1d", "2026-11-17T14:30", "2026-11-17"),
        (NYSE, "1m", "2026-11-17T20:59", "2026-11-17"),
        (EXTENDED, "1m", "2026-11-18T00:59", "2026-11-17"),
        (ALWAYS, "1d", "2026-11-17T00:00", "2026-11-17"),
        (ALWAYS, "1m", "2026-11-17T23:59", "2026-11-17"),
        (FUTURES, "1d", "2026-11-16T23:00", "2026-11-17"),
        (FUTURES, "1m", "2026-11-17T21:59", "2026-11-17"),
        (FUTURES, "1m", "2026-11-17T23:00", "2026-11-18"),
        (CURRENCY, "1d", "2026-11-15T22:00", "2026-11-16"),  # on Sunday evening
        (CURRENCY, "1m", "2026-11-15T22:00", "2026-11-16"),
        (CURRENCY, "1m", "2026-11-20T21:59", "2026-11-20"),
        (CURRENCY, "1d", "2026-07-05T21:00", "2026-07-06"),
        (TradingHours(HONG_KONG, "Asia/Hong_Kong"), "1d", "2026-11-17T01:30", "2026-11-17"),
        (TradingHours(HONG_KONG, "Asia/Hong_Kong"), "1m", "2026-11-17T05:00", "2026-11-17"),
        (TradingHours(SHANGHAI, "Asia/Shanghai"), "1h", "2026-11-17T05:00", "2026-11-17"),
        (TradingHours(BRENT, "Europe/London"), "1d", "2026-11-08T23:00", "2026-11-09"),
        (TradingHours(BRENT, "Europe/London"), "1d", "2026-11-10T01:00", "2026-11-10"),
        (TradingHours(BRENT, "Europe/London"), "1m", "2026-11-10T22:59", "2026-11-10"),
        (DIWALI, "1d", "2026-07-31T03:45", "2026-07-31"),
        (DIWALI, "1m", "2026-08-03T09:44", "2026-08-03"),
        (DIWALI, "1d", "2026-11-08T12:30", "2026-11-08"),  # in the evening of a holiday
    ],
)
def test_a_bar_has_the_day_that_its_session_is_named_after(
    hours: TradingHours, interval: str, opens: str, day: str
) -> None:
    assert trading_days(hours, interval, opens) == [day]


@pytest.mark.parametrize(
    ("hours", "interval", "opens", "day"),
    [
        (FUTURES, "1w", "2026-11-15T23:00", "2026-11-16"),
        (FUTURES, "1mo", "2026-11-01T23:00", "2026-11-02"),
        (FUTURES, "1mo", "2026-06-30T22:00", "2026-07-01"),
        (NYSE, "1w", "2026-11-16T14:30", "2026-11-16"),
        (NYSE, "1mo", "2026-11-02T14:30", "2026-11-02"),
        (ALWAYS, "1mo", "2026-11-01T00:00", "2026-11-01"),
        (CHRISTMAS, "1w", "2026-12-20T22:00", "2026-12-21"),
        # Bars of other sources, which begin before it.
        (NYSE, "1d", "2026-11-17T00:00", "2026-11-17"),
        (FUTURES, "1d", "2026-11-16T00:00", "2026-11-16"),
        (NYSE, "1h", "2026-11-17T14:00", "2026-11-17"),
        (NYSE, "1mo", "2026-11-01T00:00", "2026-11-02"),
    ],
)
def test_a_bar_of_several_sessions_has_the_day_of_the_first(
    hours: TradingHours, interval: str, opens: str, day: str
) -> None:
    assert trading_days(hours, interval, opens) == [day]


@pytest.mark.parametrize(
    ("hours", "interval", "opens", "day"),
    [
        (NYSE, "1d", "1950-01-07T15:00", "1950-01-07"),  # exchanges that have since given up Saturdays, or Sundays
        (TradingHours("1000-1714", "Asia/Jerusalem"), "1d", "2025-11-16T08:00", "2025-11-16"),
        (NYSE, "1d", "2026-12-25T14:30", "2026-12-25"),
        (CHRISTMAS, "1d", "2026-12-24T22:00", "2026-12-25"),
        (CHRISTMAS, "1m", "2026-12-25T21:59", "2026-12-25"),
        (NYSE, "1m", "2026-11-17T12:00", "2026-11-17"),
        (NYSE, "1m", "2026-11-18T00:30", "2026-11-17"),
        (TOKYO, "1m", "2026-11-17T02:45", "2026-11-17"),
        (FUTURES, "1m", "2026-11-17T22:30", "2026-11-17"),
        (DIWALI, "1m", "2026-08-03T09:50", "2026-08-03"),
    ],
)
def test_a_bar_outside_all_sessions_has_the_date_at_the_exchange(
    hours: TradingHours, interval: str, opens: str, day: str
) -> None:
    assert trading_days(hours, interval, opens) == [day]


def test_bars_in_and_outside_of_sessions_stand_beside_each_other() -> None:
    opens = ("2026-11-16T12:00", "2026-11-16T14:30", "2026-11-16T21:30", "2026-11-17T14:30", "2026-11-21T12:00")
    assert trading_days(NYSE, "1m", *opens) == ["2026-11-16"] * 3 + ["2026-11-17", "2026-11-21"]
    assert trading_days(NYSE, "1m") == []
    with pytest.raises(IntervalError, match="100t"):
        trading_days(NYSE, "100t")


def test_five_days_of_gold_share_its_week_of_minutes() -> None:
    minutes = FUTURES.expected(Interval.parse("1m"), utc("2026-11-14"), utc("2026-11-21"))
    days, counts = np.unique(FUTURES.trading_days(Interval.parse("1m"), minutes), return_counts=True)
    assert [str(day) for day in days.astype("M8[D]")] == [f"2026-11-{day}" for day in range(16, 21)]
    assert counts.tolist() == [23 * 60] * 5


def test_a_time_has_the_trading_day_of_its_session_and_none_between_sessions() -> None:
    gold = TradingHours("1800-1700", "America/New_York", holidays="20261126")
    monday = date(2026, 11, 23)
    opens = int(datetime(2026, 11, 22, 18, tzinfo=ZoneInfo("America/New_York")).timestamp())
    sessions = gold.sessions(opens - 3600, opens + 86_400 + 1)
    number = monday.toordinal() - date(1970, 1, 1).toordinal()
    assert (sessions.days.tolist(), sessions.opens[0], sessions.closes[0]) == (
        [number, number + 1], opens, opens + 23 * 3600,
    )  # fmt: skip
    times = np.array([opens - 1, opens, opens + 23 * 3600 - 1, opens + 23 * 3600, opens + 24 * 3600])
    assert sessions.day_of(times).tolist() == [NO_DAY, number, number, NO_DAY, number + 1]
    assert gold.sessions(opens, opens).day_of(times).tolist() == [NO_DAY] * 5


# Malformed texts


@pytest.mark.parametrize(
    "session",
    ["", "0930", "0930-", "0930-1660", "2500-2600", "2430-1000", "0930-1600:", "0930-1600:8", "0930-1600:0",
     "0930-1600,", "0930-1600||", "1", "1700F-1600F1", "24x5", "24x7,0930-1600", "0930-1600:2:3", "٠٩٣٠-1600",
     "0930-1600\n", "A0900", "0930-1200A", "0930-1200A2500", "0930-1200A0900-", "0930-1200U", "0930-1200U1300",
     "0930-1200S,1300-1400", "U0930-1200", "0930-1200 A0900", "0930-1600#20260803", "0930-1600/0930-1500",
     "0930-1600#20260803/", "#20260803/0930-1600", "0930-1600#20261303/0930-1500", "0930-1600#2026/0930-1500",
     "0930-1600#20260803/0930-1500#20260803/0930-1400", "0930-1600#20260803/0930-1500#20260802/0930-1400"],
)  # fmt: skip
def test_a_malformed_session_is_named(session: str) -> None:
    with pytest.raises(TradingHoursError) as caught:
        TradingHours(session, "Etc/UTC")
    assert caught.value.text in session and repr(caught.value.text) in str(caught.value)


@pytest.mark.parametrize("holidays", ["2026", "20261332", "2026-01-01", "20260101;20260102", "00000000"])
def test_malformed_holidays_are_named(holidays: str) -> None:
    with pytest.raises(TradingHoursError, match=holidays):
        TradingHours("24x7", "Etc/UTC", holidays=holidays)


@pytest.mark.parametrize(
    "corrections",
    ["0930-1300", "dayof:20260101", "dayoff:2026", "0930:20260101", "1;0930-1300:20260101",
     "0930-1300#20260803/0930-1200", "0930-1300:20260101#20260803/", "0930-1300:20260101#20260803/0930-1200:2026",
     "0930-1300:20260101#20260803/0930-1200:20260901#20260801/0930-1100:20260901"],
)  # fmt: skip
def test_malformed_corrections_are_named(corrections: str) -> None:
    with pytest.raises(TradingHoursError):
        TradingHours("24x7", "Etc/UTC", corrections=corrections)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "America"])
def test_an_unknown_time_zone_is_named(zone: str) -> None:
    with pytest.raises(TradingHoursError, match="IANA"):
        TradingHours("24x7", zone)


def test_hours_survive_json() -> None:
    assert TradingHours.from_json(NYSE.to_json()) == NYSE
    assert TradingHours.from_json(b'{"session": "24x7", "timezone": "Etc/UTC"}') == ALWAYS


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"session": "24x7"}', '{"session": 1, "timezone": "Etc/UTC"}', '{"session": "x"}']
)
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(TradingHoursError):
        TradingHours.from_json(text)


def test_json_with_a_malformed_session_names_the_session() -> None:
    with pytest.raises(TradingHoursError, match="'noon'"):
        TradingHours.from_json('{"session": "noon", "timezone": "Etc/UTC"}')


# Gaps


def test_gaps_are_runs_of_expected_bars() -> None:
    expected = NYSE.expected(Interval.parse("1h"), utc("2026-07-02"), utc("2026-07-08"))
    absent = [0, 5, 6, 7, 8, 20, 27]  # 5 to 8 leave out one evening and the next morning
    gaps = gap_runs(expected, np.delete(expected, absent))
    assert gaps == [
        GapRun(expected[0], expected[0], 1),
        GapRun(expected[5], expected[8], 4),
        GapRun(expected[20], expected[20], 1),
        GapRun(expected[27], expected[27], 1),
    ]


def test_no_gap_in_a_complete_series_and_one_in_an_empty_one() -> None:
    expected = ALWAYS.expected(Interval.parse("1m"), utc("2026-01-01"), utc("2026-01-02"))
    nothing = np.array([], dtype=np.int64)
    assert gap_runs(expected, expected) == []
    assert gap_runs(expected, nothing) == [GapRun(int(expected[0]), int(expected[-1]), 1440)]
    assert gap_runs(nothing, expected) == []


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_gap_runs_hold_exactly_what_is_absent(wanted: set[int], held: set[int]) -> None:
    expected = np.array(sorted(wanted), dtype=np.int64)
    gaps = gap_runs(expected, np.array(sorted(held), dtype=np.int64))
    inside = [[t for t in sorted(wanted) if gap.first <= t <= gap.last] for gap in gaps]
    assert [t for run in inside for t in run] == sorted(wanted - held)
    assert [len(run) for run in inside] == [gap.bars for gap in gaps]
    for left, right in pairwise(gaps):
        assert any(left.last < t < right.first for t in wanted & held)


# Properties

ZONES = ["Etc/UTC", "America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]
MINUTES = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}{minute % 60:02}")
DAYS = st.sets(st.sampled_from("1234567"), min_size=1).map(lambda days: ":" + "".join(sorted(days)))
RANGE = st.builds("{}-{}".format, MINUTES, MINUTES) | st.builds("{}F{}-{}".format, MINUTES, st.integers(1, 3), MINUTES)
AUCTION = st.builds("{}{}".format, st.sampled_from("AE"), MINUTES | RANGE)
RANGE_AND_AUCTIONS = st.builds("{}{}".format, RANGE, st.lists(AUCTION, max_size=2).map("".join))
RANGES = st.builds(
    "{}{}".format,
    RANGE_AND_AUCTIONS,
    st.lists(st.builds("{}{}".format, st.sampled_from(",US"), RANGE_AND_AUCTIONS), max_size=2).map("".join),
)
PARTS = st.builds("{}{}".format, RANGES, st.just("") | DAYS)
VERSION = st.just("24x7") | PARTS | st.builds("{}|{}".format, RANGES, st.builds("{}{}".format, RANGES, DAYS))
DATES = st.dates(date(2026, 1, 1), date(2026, 12, 31)).map(lambda day: f"{day:%Y%m%d}")


def dated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One of the texts, or several that follow each other by date."""
    changes = st.dictionaries(DATES, texts, max_size=3).map(lambda found: sorted(found.items()))
    return st.builds(lambda first, rest: first + "".join(f"#{day}/{text}" for day, text in rest), texts, changes)


SESSIONS = dated(VERSION)
HOURS = st.builds(
    TradingHours,
    session=SESSIONS,
    timezone=st.sampled_from(ZONES),
    holidays=st.lists(DATES, max_size=5).map(",".join),
    corrections=st.just("") | st.builds("{}:{};dayoff:{}".format, dated(RANGES), DATES, DATES),
)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
LENGTHS = st.timedeltas(timedelta(0), timedelta(days=20))
INTRADAY = st.sampled_from(["30s", "1m", "7m", "1h", "188", "4h", "24h"]).map(Interval.parse)
ANY = INTRADAY | st.sampled_from(["1d", "1w", "1mo", "3mo"]).map(Interval.parse)


@given(HOURS, TIMES, LENGTHS)
def test_spans_ascend_with_breaks_between_them_inside_the_bounds(
    hours: TradingHours, start: datetime, length: timedelta
) -> None:
    edges = [edge for span in hours.spans(start, start + length) for edge in span]
    assert all(left < right for left, right in pairwise(edges))
    assert not edges or (edges[0] >= start.timestamp() and edges[-1] <= (start + length).timestamp() + 1)


@given(HOURS, TIMES, LENGTHS, INTRADAY)
def test_intraday_bars_lie_in_open_spans(
    hours: TradingHours, start: datetime, length: timedelta, interval: Interval
) -> None:
    opens = hours.expected(interval, start, start + length)
    table = np.array(hours.spans(start, start + length), dtype=np.int64).reshape(-1, 2)
    span = np.searchsorted(table[:, 0], opens, side="right") - 1
    assert (np.diff(opens) > 0).all()
    assert opens.size == 0 or (span.min() >= 0 and (opens < table[span, 1]).all())


@given(HOURS, TIMES, LENGTHS, LENGTHS, ANY)
def test_two_halves_expect_what_the_whole_expects(
    hours: TradingHours, start: datetime, first: timedelta, second: timedelta, interval: Interval
) -> None:
    middle, end = start + first, start + first + second
    halves = [hours.expected(interval, start, middle), hours.expected(interval, middle, end)]
    assert np.concatenate(halves).tolist() == hours.expected(interval, start, end).tolist()


@given(MINUTES, MINUTES, DAYS, st.sampled_from(ZONES), TIMES)
def test_open_is_what_the_wall_clock_says(opens: str, closes: str, days: str, zone: str, at: datetime) -> None:
    local = at.astimezone(ZoneInfo(zone))
    around = [(at + timedelta(days=n)).astimezone(ZoneInfo(zone)).utcoffset() for n in (-2, 2)]
    assume(around[0] == around[1] and closes != "0000")
    now, today = f"{local:%H%M}", str(local.isoweekday() % 7 + 1)
    tomorrow = str((local + timedelta(days=1)).isoweekday() % 7 + 1)
    if opens < closes:
        claimed = today in days and opens <= now < closes
    else:
        claimed = (tomorrow in days and now >= opens) or (today in days and now < closes)
    assert TradingHours(f"{opens}-{closes}{days}", zone).is_open(at) == claimed


@given(HOURS, TIMES, LENGTHS)
def test_sessions_never_overlap_and_each_day_has_the_hours_of_one_version(
    hours: TradingHours, start: datetime, length: timedelta
) -> None:
    found = hours.sessions(int(start.timestamp()), int((start + length).timestamp()))
    assert (found.opens < found.closes).all() and (found.closes[:-1] <= found.opens[1:]).all()
    assert (np.diff(found.days) >= 0).all()


@given(HOURS, TIMES, ANY, st.sets(st.integers(0, 20 * 86_400), max_size=20))
def test_the_day_of_a_bar_is_that_of_the_first_session_that_it_overlaps(
    hours: TradingHours, start: datetime, interval: Interval, later: set[int]
) -> None:
    opens = int(start.timestamp()) + np.array(sorted(later), dtype=np.int64)
    found = hours.trading_days(interval, opens).tolist()
    sessions = list(zip(*hours.sessions(int(start.timestamp()), int(start.timestamp()) + 60 * 86_400), strict=True))
    for time, day in zip(opens.tolist(), found, strict=True):
        days = [each for each, opened, closed in sessions if time < closed and opened < time + interval.seconds]
        if days:
            assert day == days[0]
        else:
            local = datetime.fromtimestamp(time, ZoneInfo(hours.timezone)).date()
            assert day - (local - date(1970, 1, 1)).days in (0, 1)


@given(st.lists(VERSION, min_size=2, max_size=4), st.data(), st.sampled_from(ZONES))
def test_a_day_far_from_a_change_has_the_sessions_of_its_version_alone(
    versions: list[str], data: st.DataObject, zone: str
) -> None:
    months = range(2, 2 + len(versions) - 1)
    text = versions[0] + "".join(f"#2026{month:02}01/{each}" for month, each in zip(months, versions[1:], strict=True))
    place = data.draw(st.integers(0, len(versions) - 1))
    noon = datetime(2026, place + 1, 15, 12, tzinfo=UTC)
    both = [TradingHours(each, zone).spans(noon, noon + timedelta(days=2)) for each in (text, versions[place])]
    assert both[0] == both[1]


@given(HOURS, TIMES, LENGTHS)
def test_hours_read_again_from_what_they_write_are_the_same(
    hours: TradingHours, start: datetime, length: timedelta
) -> None:
    again = TradingHours.from_json(hours.to_json())
    assert again == hours and again.to_json() == hours.to_json()
    assert again.spans(start, start + length) == hours.spans(start, start + length)


@given(SESSIONS, st.sampled_from(ZONES), st.dates(date(2026, 1, 20), date(2026, 12, 10)), RANGES)
def test_a_correction_wins_over_a_holiday_whatever_the_session_is(
    session: str, zone: str, day: date, ranges: str
) -> None:
    # All the days around it are holidays, so that nothing of them touches it.
    holidays = ",".join(f"{day + timedelta(days=distance):%Y%m%d}" for distance in range(-10, 11))
    correction = f"{ranges}:{day:%Y%m%d}"
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    around = noon - timedelta(days=5), noon + timedelta(days=5)
    corrected = TradingHours(session, zone, holidays, correction).spans(*around)
    assert corrected and corrected == TradingHours("24x7", zone, holidays, correction).spans(*around)
    assert TradingHours(session, zone, holidays).spans(*around) == []


@given(
    st.text(alphabet="0123456789-,:;|FxXAEUS#/ ", max_size=40)
    | st.lists(st.sampled_from(["0930-1200", "A0900", "E0920-1206", "U", "S", "#20260803/", ":", "23", ";", "|", ",",
                                "1700F2-1200F1", "24x7", "dayoff", "20260707", "Q"]), max_size=12).map("".join),
    st.sampled_from(["session", "holidays", "corrections"]),
)  # fmt: skip
def test_any_text_is_read_or_refused_by_name(text: str, field: str) -> None:
    try:
        hours = TradingHours(**{"session": "24x7", "timezone": "Etc/UTC", field: text})
    except TradingHoursError:
        return
    assert len(hours.spans(utc("2026-01-01"), utc("2026-02-01"))) < 200


def test_seven_years_of_minutes_take_a_fraction_of_a_second() -> None:
    def look() -> None:
        opens = NYSE.expected(Interval.parse("1m"), utc("2020-01-01"), utc("2027-01-01"))
        gaps = gap_runs(opens, np.delete(opens, slice(5000, 6000)))
        assert opens.size > 680_000 and [gap.bars for gap in gaps] == [1000]

    assert cpu_ratio(look) < 125


@pytest.mark.parametrize(
    "text",
    [
        "0930-1200" + "A0900" * 20_000,
        "0930-1200U" * 10_000 + "0930-1200",
        "0930-1200" + "#20260803/" * 10_000,
        "0930-1200:2" + "".join(f"#{year}0101/0930-1200" for year in range(1970, 9_000)),
        "#" * 100_000,
    ],
    ids=["auctions", "ranges", "empty", "versions", "marks"],
)
def test_a_text_of_a_hundred_thousand_letters_is_read_or_refused_in_a_moment(text: str) -> None:
    def look() -> None:
        for field, suffix in (("session", ""), ("corrections", ":20260707")):
            try:
                hours = TradingHours(**{"session": "24x7", "timezone": "Etc/UTC", field: text + suffix})
            except TradingHoursError:
                continue
            hours.spans(utc("2026-07-01"), utc("2026-08-01"))

    assert cpu_ratio(look) < 250


@pytest.mark.parametrize(
    "info",
    [{"session": ["a"]}, {"session": 5}, {"timezone": {"a": 1}}, {"subsessions": 5}, {"subsessions": [7]},
     {"session_holidays": 20261126}, {"subsessions": [{"id": ["x"]}]}],
    ids=str,
)  # fmt: skip
def test_a_description_of_other_types_is_an_error_of_the_hours(info: dict[str, Any]) -> None:
    with pytest.raises(TradingHoursError):
        TradingHours.of_symbol({"session": "0930-1600", **info})


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(TradingHoursError, match="not written by to_json"):
        TradingHours.from_json("[" * 200_000)
