from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.market_server.market.listings import listings, symbol_info
from tv_etl.market_server.market.market import Floats
from tv_etl.market_server.market.sessions import calendar_of
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.market_server.seeded_market import bars, source_of, utc
from tv_etl_tests.market_server.talk import FRIDAY_NOON

SYMBOLS = ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "FX:EURUSD", "FOREX:EURUSD", "TVC:NDX", "COMEX:GC1!", "KRX:005930"]
# One of every kind: lunch breaks, special sessions, thin, split, paying, new, gone, late, by rule.
KINDS = [
    *SYMBOLS, "TSE:7203", "HKEX:700", "SSE:600519", "SET:PTT", "NSE:M&M", "XETR:SAP", "LSE:VOD", "NYSE:BRK.B",
    "DERIBIT:BTC-PERPETUAL", "AMEX:THIN", "NASDAQ:SPLT", "NYSE:DIVI", "NASDAQ:IPOX", "NASDAQ:GONE", "NYSE:JAAA",
    "KUCOIN:XAAAUSDT", "ECONOMICS:USM2", "NYSE:NICK", "NASDAQ:HEIR", "NYSE:TAKE", "NASDAQ:BUST",
    "NASDAQ:FIXD", "NYSE:HOUR",
]  # fmt: skip
# Those that have a bar wherever their announced hours want one.
FULL = [symbol for symbol, each in sorted(listings().items()) if not (each.is_thin or each.last_day or each.figure)]
FULL = [symbol for symbol in FULL if symbol not in ("NASDAQ:IPOX", "NASDAQ:HEIR")]  # new
MOMENTS = st.integers(1_500_000_000, 1_795_200_000)


def aggregated(rows: Floats, starts: list[int]) -> list[list[float]]:
    """Wider bars, by a loop that shares nothing with the market's own way."""
    wide = []
    for first, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        part = rows[first:end]
        bar = [part[0, 0], part[0, 1], part[:, 2].max(), part[:, 3].min(), part[-1, 4]]
        wide.append(bar + ([round(float(part[:, 5].sum()), 5)] if rows.shape[1] > 5 else []))
    return wide


def rounded(rows: Floats) -> list[list[float]]:
    return [[*row[:5], *(round(volume, 5) for volume in row[5:])] for row in rows.tolist()]


def check_made_of(wide: Floats, narrow: Floats) -> None:
    starts = [int(np.searchsorted(narrow[:, 0], opened)) for opened in wide[:, 0]]
    # Where the first narrow bars have no trade, the wide one opens with the first that has.
    made = [[opened, *bar[1:]] for opened, bar in zip(wide[:, 0], aggregated(narrow, starts), strict=True)]
    assert made == rounded(wide)


@pytest.mark.parametrize("symbol", KINDS)
@settings(max_examples=8, deadline=None)
@given(now=MOMENTS, width=st.sampled_from(["2", "3", "5", "15", "30", "45", "60", "120", "188", "240", "1D", "1W"]))
def test_wider_bars_are_made_of_minutes(symbol: str, now: int, width: str) -> None:
    wide = bars(symbol, width, 4, now)
    if len(wide):
        check_made_of(wide, source_of(symbol).bars(Interval.parse("1"), now, start=int(wide[0, 0])).rows)


@pytest.mark.parametrize("symbol", KINDS)
@settings(max_examples=5, deadline=None)
@given(now=MOMENTS, width=st.sampled_from(["5S", "10S", "15S", "30S", "45S", "1", "5"]))
def test_bars_are_made_of_their_seconds(symbol: str, now: int, width: str) -> None:
    wide = bars(symbol, width, 5, now)
    if len(wide):
        check_made_of(wide, source_of(symbol).bars(Interval.parse("1S"), now, start=int(wide[0, 0])).rows)


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "TSE:7203", "AMEX:THIN"])
@settings(max_examples=8, deadline=None)
@given(now=MOMENTS, interval=st.sampled_from(["1S", "45S", "1", "60", "1D"]), count=st.integers(1, 400))
def test_as_many_bars_as_asked_for_are_the_newest(symbol: str, now: int, interval: str, count: int) -> None:
    newest = bars(symbol, interval, count, now)
    assert len(newest) == count
    more = bars(symbol, interval, count + 3, now)
    assert (more[3:] == newest).all()
    assert (source_of(symbol).bars(Interval.parse(interval), now, start=int(newest[0, 0])).rows == newest).all()


@pytest.mark.parametrize(
    ("symbol", "session"), [*((symbol, "regular") for symbol in SYMBOLS), (SYMBOLS[0], "extended")]
)
@settings(max_examples=8, deadline=None)
@given(now=MOMENTS)
def test_a_day_is_made_of_its_minutes(symbol: str, session: str, now: int) -> None:
    source = source_of(symbol, session)
    days = source.bars(Interval.parse("1D"), now, count=3).rows
    minutes = source.bars(Interval.parse("1"), now, start=int(days[0, 0])).rows
    starts = [int(np.searchsorted(minutes[:, 0], opened)) for opened in days[:, 0]]
    assert aggregated(minutes, starts) == rounded(days)


@pytest.mark.parametrize("interval", ["1W", "1M", "3M", "12M"])
@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT"])
def test_weeks_and_months_are_made_of_days(symbol: str, interval: str) -> None:
    wide = bars(symbol, interval, 4)
    days = source_of(symbol).bars(Interval.parse("1D"), FRIDAY_NOON, start=int(wide[0, 0])).rows
    starts = [int(np.searchsorted(days[:, 0], opened)) for opened in wide[:, 0]]
    assert aggregated(days, starts) == rounded(wide)


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "FOREX:EURUSD"])
@settings(max_examples=6, deadline=None)
@given(now=MOMENTS, steps=st.lists(st.integers(1, 30), min_size=5, max_size=12))
def test_a_forming_bar_only_widens_and_ends_as_history_has_it(symbol: str, now: int, steps: list[int]) -> None:
    """At one interval in two: the minute, and the five minutes that hold it."""
    for interval in (Interval.parse("1"), Interval.parse("5")):
        source, moment, previous = source_of(symbol), now, None
        final = {int(row[0]): row.tolist() for row in source.bars(interval, now + 10_000, start=now - 1_000).rows}
        for step in steps:
            bar = source.bars(interval, moment, count=1).rows[0].tolist()
            assert bar[1] == final.get(int(bar[0]), bar)[1]
            if previous is not None and previous[0] == bar[0]:
                assert bar[2] >= previous[2] and bar[3] <= previous[3]
                assert bar[5:] >= previous[5:]
            elif previous is not None and int(previous[0]) in final:
                closed = source.bars(interval, moment, count=1, before=int(bar[0])).rows[0].tolist()
                assert closed == final.get(int(closed[0]), closed)
            previous, moment = bar, moment + step


@pytest.mark.parametrize("symbol", sorted(listings()))
def test_bars_are_consistent_and_lie_on_ticks(symbol: str) -> None:
    listing = listings()[symbol]
    for interval in ("1", "1D"):
        rows = bars(symbol, interval, 2_000)
        assert (np.diff(rows[:, 0]) > 0).all()
        assert (rows[:, 2] >= rows[:, [1, 4]].max(axis=1)).all() and (rows[:, 3] <= rows[:, [1, 4]].min(axis=1)).all()
        assert (rows[:, 3] > 0).all()
        ticks = rows[:, 1:5] * listing.pricescale / listing.minmov
        assert np.allclose(ticks, np.rint(ticks), rtol=0, atol=1e-4)
        # The float is the one that its decimal text denotes: 309.51, not 309.51000000000005.
        assert (rows[:, 1:5] == np.round(rows[:, 1:5], listing.decimals)).all()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_bar_opens_near_the_previous_close(symbol: str) -> None:
    rows = bars(symbol, "1", 3_000)
    gaps = np.abs(rows[1:, 1] / rows[:-1, 4] - 1)
    assert np.median(gaps) < 1e-4 and gaps.max() < 0.06


def test_volume_is_whole_for_stocks_fractional_for_crypto_and_absent_for_an_index() -> None:
    assert (bars("NASDAQ:AAPL", "1", 100)[:, 5] % 1 == 0).all()
    assert (bars("BINANCE:BTCUSDT", "1", 100)[:, 5] % 1 != 0).any()
    assert bars("TVC:NDX", "1", 100).shape == (100, 5)
    assert symbol_info(listings()["TVC:NDX"])["visible_plots_set"] == "ohlc"


# The week of Thanksgiving with its half day, and the weeks around a change of the clocks.
SPANS = {
    "intraday": [(utc(2025, 11, 24), utc(2025, 12, 2)), (utc(2026, 3, 3), utc(2026, 3, 12))],
    "daily": [(utc(2025, 1, 1), utc(2026, 10, 1))],
}


@pytest.mark.parametrize("interval", ["1", "60", "1D", "1W", "1M"])
@pytest.mark.parametrize(
    ("symbol", "session"),
    [*((symbol, "regular") for symbol in FULL), ("NASDAQ:AAPL", "extended"), ("AMEX:SPY", "extended")],
)
def test_bars_stand_where_the_announced_hours_want_them(symbol: str, session: str, interval: str) -> None:
    """The store's own reader of session texts, written apart from the market, must expect the same bars."""
    source, width = source_of(symbol, session), Interval.parse(interval)
    hours = TradingHours.of_symbol(symbol_info(source.listing, session), session)
    for since, until in SPANS["intraday" if width.is_intraday else "daily"]:
        start, end = int(since.timestamp()), int(until.timestamp())
        times = source.bars(width, FRIDAY_NOON, start=start, before=end).times
        # A week or month that began before `start` belongs to neither's range for certain.
        assert times[times >= start].tolist() == hours.expected(width, since, until).tolist()


@pytest.mark.parametrize("symbol", FULL)
def test_bars_are_of_the_trading_days_that_the_market_makes_them_of(symbol: str) -> None:
    """From 2025 to the end of 2027, over holidays, half days, changes of the clocks and of hours."""
    listing = listings()[symbol]
    hours = TradingHours.of_symbol(symbol_info(listing))
    first, last = (int(utc(year, 1, 1).timestamp()) // 86_400 for year in (2025, 2028))
    calendar = calendar_of(listing.schedule, first, last)
    for token in ("1D", "1W", "1M"):
        starts = np.flatnonzero(np.diff(calendar.groups(Interval.parse(token)), prepend=-1))
        found = hours.trading_days(Interval.parse(token), calendar.opens[starts])
        assert found.tolist() == calendar.days[starts].tolist()
    for token in ("5", "60", "240"):
        width = Interval.parse(token)
        by_day = [calendar.bar_opens(index, width) for index in range(len(calendar.days))]
        days = np.repeat(calendar.days, [len(opens) for opens in by_day])
        assert (hours.trading_days(width, np.concatenate(by_day)) == days).all()


def test_days_of_the_extended_session_hold_the_regular_session_unchanged() -> None:
    regular, extended = bars("NASDAQ:AAPL", "1", 390 * 3), source_of("NASDAQ:AAPL", "extended")
    times = {int(row[0]): row.tolist() for row in extended.bars(Interval.parse("1"), FRIDAY_NOON, count=4_000).rows}
    assert all(times[int(row[0])] == row.tolist() for row in regular)
    assert len(times) == 4_000


def test_the_start_of_history_is_known() -> None:
    whole = source_of("NASDAQ:AAPL").bars(Interval.parse("1D"), FRIDAY_NOON, count=100_000)
    assert whole.is_start and whole.times[0] == utc(2000, 1, 3).timestamp() + 14.5 * 3600
    assert not source_of("NASDAQ:AAPL").bars(Interval.parse("1D"), FRIDAY_NOON, count=len(whole) - 1).is_start
    before_all = source_of("NASDAQ:AAPL").bars(Interval.parse("1D"), 1_000.0, count=5)
    assert len(before_all) == 0 and before_all.is_start


@settings(max_examples=25, deadline=None)
@given(now=MOMENTS, count=st.integers(1, 700), before=st.integers(0, 10_000_000))
def test_any_cut_of_history_is_the_same_history(now: int, count: int, before: int) -> None:
    source, interval = source_of("NASDAQ:AAPL"), Interval.parse("60")
    cut = source.bars(interval, now, count=count, before=now - before).rows
    assert len(cut) == count and (cut[:, 0] < now - before).all()
    whole = source.bars(interval, now, start=int(cut[0, 0])).rows
    assert (whole[:count] == cut).all()


def test_a_thin_instrument_lacks_the_minutes_without_a_trade() -> None:
    rows = bars("AMEX:THIN", "1", 2_000)
    assert (rows[:, 5] > 0).all() and (np.diff(rows[:, 0]) > 60).mean() > 0.5
    assert len(bars("AMEX:THIN", "1D", 500)) == 500


def test_a_new_listing_has_a_short_history_and_a_gone_one_no_more_of_it() -> None:
    fresh = source_of("NASDAQ:IPOX").bars(Interval.parse("1D"), FRIDAY_NOON, count=500)
    assert fresh.is_start and len(fresh) == 20
    gone = bars("NASDAQ:GONE", "1", 10)
    assert gone[-1, 0] == utc(2025, 6, 30).timestamp() + 20 * 3_600 - 60
    assert not source_of("NASDAQ:GONE").calendar.is_open(FRIDAY_NOON)


@pytest.mark.parametrize(
    ("symbol", "day", "opens", "minutes"),
    [
        ("NSE:M&M", (2024, 11, 1), "12:30", 60),
        ("NSE:M&M", (2025, 10, 21), "08:15", 60),
        ("NSE:M&M", (2025, 2, 1), "03:45", 375),  # a Saturday
        ("HKEX:700", (2026, 2, 16), "01:30", 150),
        ("LSE:VOD", (2025, 12, 24), "08:00", 270),
    ],
)
def test_special_sessions_have_bars(symbol: str, day: tuple[int, int, int], opens: str, minutes: int) -> None:
    start = int(utc(*day).timestamp())
    rows = source_of(symbol).bars(Interval.parse("1"), FRIDAY_NOON, start=start, before=start + 86_400).rows
    assert len(rows) == minutes
    assert datetime.fromtimestamp(rows[0, 0], timezone.utc).strftime("%H:%M") == opens
    assert start < source_of(symbol).bars(Interval.parse("1D"), start + 86_400, count=1).rows[0, 0] < start + 86_400
