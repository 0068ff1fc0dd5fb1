"""Daily bars built of finer ones are those that the market itself serves, and those that a plain loop would build."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.bars import Bars
from tv_etl.lake.derived.daily import DailyBars, Difference, daily_bars, differences, unjudged_days
from tv_etl.lake.record import SeriesRecord
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import TradingHours

MINUTE, DAY = Interval.parse("1m"), Interval.parse("1d")
NONE = np.empty(0, np.int64)
EVER = [(0, 1 << 40)]
NEW_YORK = TradingHours("0930-1600", "America/New_York", corrections="0930-1300:20261127")

# Two Wednesdays after the clocks changed in New York (1 November) and a half day (27 November).
DECEMBER = datetime(2026, 12, 2, 22, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def market() -> Iterator[RunningMarket]:
    with running_market(MarketOptions(seed=7, now=DECEMBER, plan="ultimate")) as running:
        yield running


def series(market: RunningMarket, symbol: str, interval: str, start: datetime) -> tuple[Bars, SeriesRecord]:
    [(_, table)] = fetch_history([HistoryRequest(symbol, interval, start=start)], ws_url=market.url)
    assert isinstance(table, pa.Table), table
    facts = {key.decode().removeprefix("tv_etl."): value.decode() for key, value in table.schema.metadata.items()}
    bars = Bars.from_stored(table)
    closed = bars.between(None, int(facts["forming_from"]) if facts["forming_from"] else None)
    asked = (int(facts["asked_from"]), int(facts["asked_until"]))
    return closed, SeriesRecord(Series.of(symbol, interval), facts, (asked,))


@pytest.mark.parametrize(
    ("symbol", "interval", "days"),
    [
        ("NASDAQ:AAPL", "1m", 36),  # across the change of the clocks and a half day
        ("NASDAQ:AAPL", "1h", 36),  # the last bar of a day is short
        ("NASDAQ:NDX", "5m", 36),  # no volume
        ("FX:EURUSD", "5m", 36),  # a trading day opens on the evening before
        ("COMEX:GC1!", "5m", 36),  # a break every day
        ("TSE:7203", "1m", 20),  # a break at noon
        ("HKEX:700", "5m", 36),  # auctions
        ("NSE:RELIANCE", "1h", 130),  # shorter days from a date on
        ("ICEEUR:BRN1!", "15m", 50),  # other hours on Mondays, and from two dates on
        ("BINANCE:BTCUSDT", "1h", 36),  # never closed
    ],
)
def test_days_are_those_that_the_market_serves(market: RunningMarket, symbol: str, interval: str, days: int) -> None:
    start = DECEMBER - timedelta(days=days)
    fine, record = series(market, symbol, interval, start)
    theirs, _ = series(market, symbol, "1d", start - timedelta(days=3))
    hours = record.regular_hours
    assert hours is not None
    built = daily_bars(fine, Interval.parse(interval), hours, record.asked, NONE)
    assert len(built.bars) >= days * 4 // 7
    assert differences(built, theirs) == []
    assert set(built.bars.times.tolist()) <= set(theirs.times.tolist())
    # Of the first day perhaps only a part was asked for, and the last one may not be over.
    assert all(each.open_s < theirs.times[3] or each.open_s > theirs.times[-1] for each in built.unbuilt)
    assert len(built.bars) + len(built.unbuilt) >= len(theirs) - 4
    assert built.bars.has_volume.all() == (symbol != "NASDAQ:NDX")


def test_minutes_of_extended_hours_make_the_same_days(market: RunningMarket) -> None:
    start = DECEMBER - timedelta(days=5)
    fine, record = series(market, "NASDAQ:AAPL", "5m", start)
    evenings = Bars(fine.times + 8 * 3600, fine.values * 2, fine.has_volume)
    evenings = evenings.take(~np.isin(evenings.times, fine.times) & (evenings.times % 86_400 > 21 * 3600))
    assert len(evenings)
    merged = np.argsort(np.concatenate([fine.times, evenings.times]))
    extended = Bars(
        np.concatenate([fine.times, evenings.times])[merged],
        np.concatenate([fine.values, evenings.values], axis=1)[:, merged],
        np.concatenate([fine.has_volume, evenings.has_volume])[merged],
    )
    hours = record.regular_hours
    assert hours is not None
    regular, both = (daily_bars(each, Interval.parse("5m"), hours, EVER, NONE) for each in (fine, extended))
    assert same(regular.bars, both.bars)


def same(left: Bars, right: Bars) -> bool:
    return (
        np.array_equal(left.times, right.times)
        and np.array_equal(left.values, right.values)
        and np.array_equal(left.has_volume, right.has_volume)
    )


def minutes_of(days: list[date], *, keep: list[bool] | None = None, volume: float | None = 1.0) -> Bars:
    """A bar for each minute of the sessions, of prices that tell where it stands."""
    zone = ZoneInfo("America/New_York")
    times = []
    for day in days:
        opened = datetime(day.year, day.month, day.day, 9, 30, tzinfo=zone).timestamp()
        count = 210 if day == date(2026, 11, 27) else 390
        times += [int(opened) + 60 * number for number in range(count)]
    kept = np.array([keep[number % len(keep)] for number in range(len(times))] if keep else [True] * len(times))
    prices = np.arange(len(times), dtype=float)
    volumes = np.full(len(times), volume or 0.0)
    values = np.stack([prices, prices + 5, prices - 5, prices + 1, volumes])
    return Bars(np.array(times, np.int64), values, np.full(len(times), volume is not None)).take(kept)


DAYS = [date(2026, 10, 30), date(2026, 11, 2), date(2026, 11, 26), date(2026, 11, 27)]


def built_or_not(built: DailyBars) -> list[date]:
    """The days of New York."""
    days = [datetime.fromtimestamp(each, tz=ZoneInfo("America/New_York")).date() for each in built.bars.times.tolist()]
    return sorted([*days, *(each.day for each in built.unbuilt)])


@given(st.lists(st.booleans(), min_size=1, max_size=700), st.sampled_from([1.0, 0.25, None]))
def test_what_a_plain_loop_builds(keep: list[bool], volume: float | None) -> None:
    fine = minutes_of(DAYS, keep=keep, volume=volume)
    expected: dict[date, list[int]] = {}
    for place, time in enumerate(fine.times.tolist()):
        expected.setdefault(datetime.fromtimestamp(time, tz=ZoneInfo("America/New_York")).date(), []).append(place)
    built = daily_bars(fine, MINUTE, NEW_YORK, EVER, NONE)
    days = built_or_not(built)
    assert days == sorted({*days, *expected}) and {each.day for each in built.unbuilt}.isdisjoint(expected)
    assert all(each.is_silent for each in built.unbuilt), "nobody traded, as on Thanksgiving"
    assert len(built.bars) == len(expected)
    for row, (day, places) in enumerate(expected.items()):
        opened = datetime.fromtimestamp(int(built.bars.times[row]), tz=ZoneInfo("America/New_York"))
        assert (opened.date(), opened.hour, opened.minute) == (day, 9, 30)
        values = fine.values[:, places]
        assert built.bars.values[:, row].tolist() == [
            values[0, 0], values[1].max(), values[2].min(), values[3, -1], values[4].sum(),
        ]  # fmt: skip
        assert built.bars.has_volume[row] == (volume is not None)


def test_a_day_with_a_hole_is_not_built_and_says_why() -> None:
    fine = minutes_of(DAYS)
    second_day = int(fine.times[390])
    asked = [(0, second_day + 3600), (second_day + 3660, 1 << 40)]
    built = daily_bars(fine, MINUTE, NEW_YORK, asked, NONE)
    [unbuilt] = [each for each in built.unbuilt if not each.is_empty]
    assert (unbuilt.day, unbuilt.reason) == (DAYS[1], "not asked for from 2026-11-02 15:30 UTC on")
    assert unbuilt.open_s == second_day
    assert second_day not in built.bars.times


@pytest.mark.parametrize("hole", [(1, 59), (-3600, 0), (390 * 60, 400 * 60)])
def test_a_hole_without_a_bar_in_it_is_none(hole: tuple[int, int]) -> None:
    fine = minutes_of(DAYS)
    start, end = (int(fine.times[390]) + each for each in hole)
    built = daily_bars(fine, MINUTE, NEW_YORK, [(0, start), (end, 1 << 40)], NONE)
    assert all(each.is_silent for each in built.unbuilt) and len(built.bars) == len(DAYS)


def test_a_day_with_a_bar_in_quarantine_is_not_built() -> None:
    fine = minutes_of(DAYS)
    built = daily_bars(fine, MINUTE, NEW_YORK, EVER, fine.times[[395, 396]])
    found = [(each.day, each.reason, each.bars) for each in built.unbuilt if not each.is_silent]
    assert found == [(DAYS[1], "2 bars in quarantine", 390)]


def test_a_day_that_is_not_over_is_not_built() -> None:
    fine = minutes_of(DAYS[:2]).between(None, int(minutes_of(DAYS).times[390]) + 3600)
    built = daily_bars(fine, MINUTE, NEW_YORK, [(0, int(fine.times[-1]) + 1)], NONE)
    assert ([each.day for each in built.unbuilt], len(built.bars)) == ([DAYS[1]], 1)


def test_a_day_of_nothing_is_named_with_its_reason() -> None:
    tuesday, wednesday, thursday, friday = (date(2026, 11, number) for number in (17, 18, 19, 20))
    fine = minutes_of([tuesday, friday])
    first, last = int(fine.times[0]), int(fine.times[-1])
    open_s = int(minutes_of([wednesday]).times[0])
    asked = [(first, open_s), (open_s + 86_400, last + 1)]
    built = daily_bars(fine, MINUTE, NEW_YORK, asked, NONE)
    assert [(each.day, each.is_empty, each.is_silent, each.reason) for each in built.unbuilt] == [
        (wednesday, True, False, "not asked for from 2026-11-18 14:30 UTC on"),
        (thursday, True, True, "the server had no bar, though the exchange was open by its hours"),
    ]
    assert built_or_not(built) == [tuesday, wednesday, thursday, friday]
    kept_out = daily_bars(fine, MINUTE, NEW_YORK, EVER, minutes_of([thursday]).times).unbuilt[-1]
    assert (kept_out.day, kept_out.is_empty, kept_out.is_silent) == (thursday, True, False)
    assert kept_out.reason == "390 bars in quarantine"


def test_days_that_are_over_are_named_though_nothing_came_after_them() -> None:
    fine = minutes_of([date(2026, 11, 19), date(2026, 11, 20)])
    close = int(fine.times[-1]) + 60
    asked = [(0, close)]
    for until, expected in ((close + 2 * 86_400, []), (close + 3 * 86_400 - 1, []), (close + 3 * 86_400, [23])):
        unbuilt = daily_bars(fine, MINUTE, NEW_YORK, asked, NONE, until=until).unbuilt
        assert [each.day.day for each in unbuilt if each.is_empty] == expected
    early = daily_bars(fine, MINUTE, NEW_YORK, asked, NONE, until=0)
    assert len(early.bars) == 2, "a clock that is late takes nothing away"


def test_without_hours_the_days_of_all_bars_are_named() -> None:
    fine = minutes_of(DAYS[:2])
    built = unjudged_days(fine, "nobody knows its hours")
    assert not len(built.bars)
    assert [(each.day, each.bars, each.is_empty, each.reason) for each in built.unbuilt] == [
        (day, 390, True, "cannot be judged: nobody knows its hours") for day in DAYS[:2]
    ]
    assert unjudged_days(Bars.none(), "").unbuilt == ()


def test_a_day_without_a_bar_differs_from_one_that_the_server_has() -> None:
    built = daily_bars(minutes_of([date(2026, 11, 17), date(2026, 11, 19)]), MINUTE, NEW_YORK, EVER, NONE)
    theirs = daily_bars(minutes_of([date(2026, 11, day) for day in (17, 18, 19)]), MINUTE, NEW_YORK, EVER, NONE).bars
    [missing] = [each for each in differences(built, theirs) if each.field == "bar"]
    assert (missing.open_s, missing.ours, missing.theirs) == (int(theirs.times[1]), None, 1.0)


def test_volume_is_null_where_a_minute_has_none() -> None:
    fine = minutes_of(DAYS[:2])
    fine.has_volume[400] = False
    built = daily_bars(fine, MINUTE, NEW_YORK, EVER, NONE).bars
    assert (built.has_volume.tolist(), built.values[4].tolist()) == ([True, False], [390.0, 0.0])


def test_nothing_is_built_of_nothing() -> None:
    for fine in (Bars.none(), Bars(minutes_of(DAYS[:1]).times[:1] - 3600, np.ones((5, 1)), np.ones(1, np.bool_))):
        built = daily_bars(fine, MINUTE, NEW_YORK, EVER, NONE)
        assert (len(built.bars), built.unbuilt) == (0, ())


def test_differences_are_named_by_day_and_field() -> None:
    built = daily_bars(minutes_of(DAYS), MINUTE, NEW_YORK, EVER, NONE)
    ours = built.bars
    theirs = Bars(ours.times.copy(), ours.values.copy(), ours.has_volume.copy())
    assert differences(built, theirs) == []
    theirs.values[3, 1] += 0.01
    theirs.has_volume[2] = False
    first, second, third, _ = ours.times.tolist()
    close = float(ours.values[3, 1])
    assert differences(built, theirs) == [
        Difference(second, "close", close, close + 0.01),
        Difference(third, "volume", 390.0, None),
    ]
    assert differences(built, theirs.take(np.array([0, 2, 3])))[0] == Difference(second, "bar", 1.0, None)
    fewer = DailyBars(ours.take(np.array([0, 2, 3])), ())
    assert Difference(second, "bar", None, 1.0) in differences(fewer, theirs)
    assert differences(fewer, ours.take(slice(0, 1))) == [], f"{first} is the only day that both know"


def test_without_trading_hours_each_date_is_named_and_none_is_built() -> None:
    # Two minutes of the 17th, and one of the 19th.
    start = int(datetime(2026, 11, 17, 23, 58, tzinfo=timezone.utc).timestamp())
    times = np.array([start, start + 60, start + 86_400 + 120], np.int64)
    built = unjudged_days(Bars(times, np.ones((5, 3)), np.ones(3, np.bool_)), "the server told no trading hours")
    assert not len(built.bars)
    assert [(each.day, each.open_s) for each in built.unbuilt] == [
        (date(2026, 11, 17), start), (date(2026, 11, 19), start + 86_400 + 120),
    ]  # fmt: skip
    assert {each.reason for each in built.unbuilt} == {"cannot be judged: the server told no trading hours"}
    assert unjudged_days(Bars.none(), "?").unbuilt == ()
