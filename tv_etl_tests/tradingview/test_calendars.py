"""An independent calendar knows the same minutes of eight exchanges, and has them on the same trading days.

Other people's holidays stand against the server's own. The hours of New York and of Bombay are as recorded, the
sessions of Hong Kong and of Shanghai as the server writes them; the rest is written by hand.
"""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours

# Each holds the server's description of a symbol and the opens of the bars it served for it.
RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "recordings" / "symbol_hours.json").read_text(encoding="utf-8")
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# Minutes that the server promises and exchange_calendars does not. It sent no half day for New York in 2020; Bombay's
# calendar lacks the budget Saturdays, the drills and the Diwali evenings of the National Stock Exchange, and the longer
# day after the outage of February 2021.
EXTRA_MINUTES = {
    ("BATS:AAPL", "XNYS", "2020-01-01", "2026-12-31"): {"2020-11-27": 180, "2020-12-24": 180},
    ("NSE:JUNIPER", "XBOM", "2020-01-01", "2025-12-17"): {
        "2020-02-01": 375,
        "2020-11-14": 105,
        "2021-02-24": 90,
        "2021-11-04": 105,
        "2022-10-24": 90,
        "2023-11-12": 90,
        "2024-01-20": 375,
        "2024-03-02": 375,
        "2024-05-18": 375,
        "2024-11-01": 60,
        "2025-02-01": 375,
        "2025-10-21": 60,
    },
}


# exchange_calendars knows them with pandas 2, which Python 3.10 has, and loses them with pandas 3.
LOST_WITH_PANDAS_3 = {"2024-01-20", "2025-02-01"}


def assert_same_trading_days(calendar: exchange_calendars.ExchangeCalendar, hours: TradingHours) -> None:
    """Of each of its minutes, and of the bars of each of its days, weeks and months."""
    minutes = calendar.minutes
    theirs = calendar.minutes_to_sessions(minutes).to_numpy().astype("M8[D]")
    ours = hours.trading_days(Interval.parse("1m"), minutes.as_unit("s").asi8).astype("M8[D]")
    assert (ours == theirs).all()
    sessions = calendar.sessions.to_numpy().astype("M8[D]")
    opens = calendar.opens.array.as_unit("s").asi8
    for token, unit, shift in (("1d", "D", 0), ("1w", "W", 3), ("1mo", "M", 0)):  # 1970 began on a Thursday
        groups = (sessions + shift).astype(f"M8[{unit}]")
        firsts = np.append(True, groups[1:] != groups[:-1])
        assert (hours.trading_days(Interval.parse(token), opens[firsts]).astype("M8[D]") == sessions[firsts]).all()


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than it
@pytest.mark.parametrize(("compared", "extra"), EXTRA_MINUTES.items(), ids=["NYSE", "NSE"])
def test_an_independent_calendar_knows_the_same_minutes(
    compared: tuple[str, str, str, str], extra: dict[str, int]
) -> None:
    symbol, exchange, first, last = compared
    calendar = exchange_calendars.get_calendar(exchange, start=first, end=last)
    theirs = calendar.minutes.as_unit("s").asi8
    info = next(item["symbol_resolved"] for item in RECORDED if item["symbol_resolved"]["full_name"] == symbol)
    end = utc(last) + timedelta(days=1)
    hours = TradingHours.of_symbol(info)
    ours = hours.expected(Interval.parse("1m"), utc(first), end)
    assert theirs.size > 500_000
    assert np.setdiff1d(theirs, ours).size == 0
    days, minutes = np.unique(np.setdiff1d(ours, theirs).astype("datetime64[s]").astype("M8[D]"), return_counts=True)
    found = dict(zip(days.astype(str).tolist(), minutes.tolist(), strict=True))
    lost = LOST_WITH_PANDAS_3 if int(pd.__version__.partition(".")[0]) >= 3 else set()
    assert found == {day: count for day, count in extra.items() if day in lost or day not in LOST_WITH_PANDAS_3}
    assert_same_trading_days(calendar, hours)


# Exchange, and its hours from July 2024 to June 2026.
BY_HAND = {
    "XHKG": TradingHours(
        "0930-1200A0900E0920-1206U1300-1600E1300-1611",
        "Asia/Hong_Kong",
        "20240701,20240906,20240918,20241001,20241011,20241225,20241226,20250101,20250129,20250130,20250131,20250404,"
        "20250418,20250421,20250501,20250505,20250701,20251001,20251007,20251029,20251225,20251226,20260101,20260217,"
        "20260218,20260219,20260403,20260406,20260407,20260501,20260525,20260619",
        "0930-1200A0900E0920-1208:20241224,20241231,20250128,20251224,20251231,20260216",
    ),
    "XSHG": TradingHours(
        "0930-1130E0925-1131S1300-1500E1300-1501",
        "Asia/Shanghai",
        "20240916,20240917,20241001,20241002,20241003,20241004,20241007,20250101,20250128,20250129,20250130,20250131,"
        "20250203,20250204,20250404,20250501,20250502,20250505,20250602,20251001,20251002,20251003,20251006,20251007,"
        "20251008,20260101,20260102,20260216,20260217,20260218,20260219,20260220,20260223,20260406,20260501,20260504,"
        "20260505,20260619",
    ),
    "XTKS": TradingHours(
        "0900-1100,1230-1500#20111121/0900-1130,1230-1500#20241105/0900-1130,1230-1530",
        "Asia/Tokyo",
        "20240715,20240812,20240916,20240923,20241014,20241104,20241231,20250101,20250102,20250103,20250113,20250211,"
        "20250224,20250320,20250429,20250505,20250506,20250721,20250811,20250915,20250923,20251013,20251103,20251124,"
        "20251231,20260101,20260102,20260112,20260211,20260223,20260320,20260429,20260504,20260505,20260506",
    ),
    "XLON": TradingHours(
        "0800-1630",
        "Europe/London",
        "20240826,20241225,20241226,20250101,20250418,20250421,20250505,20250526,20250825,20251225,20251226,20260101,"
        "20260403,20260406,20260504,20260525",
        "0800-1230:20241224,20241231,20251224,20251231",
    ),
    "XKRX": TradingHours(
        "0900-1500#20160801/0900-1530",
        "Asia/Seoul",
        "20240815,20240916,20240917,20240918,20241001,20241003,20241009,20241225,20241231,20250101,20250127,20250128,"
        "20250129,20250130,20250303,20250501,20250505,20250506,20250603,20250606,20250815,20251003,20251006,20251007,"
        "20251008,20251009,20251225,20251231,20260101,20260216,20260217,20260218,20260302,20260501,20260505,20260525,"
        "20260603",
        # The first day of a year opens an hour late, that of the university entrance exam closes late as well.
        "1000-1500#20160801/1000-1530:20150102,20250102,20260102;1000-1630:20241114,20251113",
    ),
    "XASX": TradingHours(
        "1000-1600",
        "Australia/Sydney",
        "20241225,20241226,20250101,20250127,20250418,20250421,20250425,20250609,20251225,20251226,20260101,20260126,"
        "20260403,20260406,20260608",
        "1000-1410:20241224,20241231,20251224,20251231",
    ),
}  # fmt: skip
# What exchange_calendars has not heard of: two entrance exams, and the local elections of 2026.
UNHEARD_OF = {"XKRX": ["2024-11-14", "2025-11-13", "2026-06-03"]}


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than it
@pytest.mark.parametrize("exchange", BY_HAND)
def test_hours_by_hand_are_those_of_an_independent_calendar_over_two_years(exchange: str) -> None:
    calendar = exchange_calendars.get_calendar(exchange, start="2024-07-01", end="2026-06-30")
    theirs = calendar.minutes.as_unit("s").asi8
    ours = BY_HAND[exchange].expected(Interval.parse("1m"), utc("2024-07-01"), utc("2026-07-01"))
    assert theirs.size > 100_000
    different = np.setxor1d(ours, theirs).astype("datetime64[s]").astype("M8[D]")
    assert np.unique(different).astype(str).tolist() == UNHEARD_OF.get(exchange, [])
    assert_same_trading_days(calendar, BY_HAND[exchange])


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than it
@pytest.mark.parametrize(
    ("exchange", "hours"),
    [
        ("CMES", TradingHours("1700-1600", "America/Chicago")),
        ("CMES", TradingHours("1800-1700", "America/New_York")),
        ("24/7", TradingHours("24x7", "Etc/UTC")),
    ],
    ids=["of Chicago", "of New York", "always"],
)
def test_the_evening_is_of_the_next_trading_day_where_an_independent_calendar_has_it_so(
    exchange: str, hours: TradingHours
) -> None:
    calendar = exchange_calendars.get_calendar(exchange, start="2024-07-01", end="2026-06-30")
    assert_same_trading_days(calendar, hours)
