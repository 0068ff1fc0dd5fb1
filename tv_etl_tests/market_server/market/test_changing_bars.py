from datetime import datetime, timezone

import numpy as np
import pytest

from tv_etl.market_server.market.changing_bars import version_at, versions_of
from tv_etl.market_server.market.listings import listings, symbol_info
from tv_etl.market_server.market.market import Floats
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.market_server.seeded_market import MARKET, source_of, utc
from tv_etl_tests.market_server.talk import Talk, only
from tv_etl_tests.market_server.talk import bars as bars_in

pytestmark = pytest.mark.pure

CHANGE = utc(2026, 11, 16).timestamp() + 5 * 3_600  # midnight in New York
BEFORE, AFTER = CHANGE - 1, CHANGE + 4 * 86_400
FIRST = int(CHANGE) + 34_200  # the open of that Monday
CHANGING = ["NASDAQ:HEIR", "NYSE:TAKE", "NASDAQ:BUST", "NASDAQ:FIXD", "NYSE:HOUR"]
INTERVALS = ["1S", "45S", "1", "45", "60", "188", "240", "1D", "1W", "1M", "12M"]


def day(*date: int) -> int:
    """09:30 in New York while it is winter there."""
    return int(utc(date[0], date[1], date[2]).timestamp()) + 52_200


def rows_of(symbol: str, interval: str, now: float, start: int, before: int | None = None, session: str = "") -> Floats:
    return source_of(symbol, session or "regular").bars(Interval.parse(interval), now, start=start, before=before).rows


def total(rows: Floats) -> list[float]:
    """Open, high, low, close and volume of all bars together."""
    return [rows[0, 1], rows[:, 2].max(), rows[:, 3].min(), rows[-1, 4], rows[:, 5].sum()]


@pytest.mark.parametrize("symbol", CHANGING)
def test_an_edition_ends_at_its_moment_and_at_no_other(symbol: str) -> None:
    source = source_of(symbol)
    editions = [source.edition(now) for now in (0.0, BEFORE, CHANGE, AFTER)]
    assert editions[0] == editions[1] != editions[2] == editions[3]
    old, new = (source.bars(Interval.parse("240"), now, count=40).rows for now in (BEFORE, CHANGE))
    assert not np.array_equal(old, new)


@pytest.mark.parametrize("symbol", CHANGING)
def test_as_many_bars_as_asked_for_are_the_newest_on_both_sides(symbol: str) -> None:
    for now in (BEFORE, AFTER):
        for interval in ("1", "5", "240", "1D"):
            source, width = source_of(symbol), Interval.parse(interval)
            whole = source.bars(width, now, start=day(2026, 11, 9)).rows
            count = min(len(whole), 500)
            found = source.bars(width, now, count=count)
            assert np.array_equal(found.rows, whole[-count:])
            assert source.open_back(width, now, count) == whole[-count, 0]


# --- a reused ticker -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("symbol", "old_level", "new_level"), [("NASDAQ:HEIR", 13, 240), ("NYSE:TAKE", 31, 85)])
def test_from_a_day_on_a_ticker_is_another_instrument(symbol: str, old_level: float, new_level: float) -> None:
    for interval in ("1", "60", "240", "1D"):
        old = source_of(symbol).bars(Interval.parse(interval), BEFORE, count=30).rows
        new = source_of(symbol).bars(Interval.parse(interval), AFTER, count=30).rows
        assert old[-1, 0] < FIRST and 0.7 < np.median(old[:, 4]) / old_level < 1.4
        assert new[-1, 0] >= FIRST and 0.7 < np.median(new[:, 4]) / new_level < 1.4


def test_of_what_is_newly_listed_nothing_older_is_served() -> None:
    source = source_of("NASDAQ:HEIR")
    for interval in ("1S", "1", "240", "1D", "1W"):
        found = source.bars(Interval.parse(interval), AFTER, start=0)
        assert found.times[0] == FIRST and found.is_start
    assert len(source.bars(Interval.parse("1D"), BEFORE, count=5_000)) == 5_000
    assert not len(source.bars(Interval.parse("1"), CHANGE, count=10)), "before its first open"
    talk = Talk(now=AFTER)
    talk.open_chart("NASDAQ:HEIR", "1D", 3)
    assert only(talk.say(("get_first_bar_time", "cs_1", "sds_1", "1D")), "first_bar_time")["p"][-1] == FIRST


def test_what_comes_with_a_history_of_its_own_has_other_bars_at_the_same_times() -> None:
    old, new = (rows_of("NYSE:TAKE", "60", now, day(2026, 11, 2), int(CHANGE)) for now in (BEFORE, AFTER))
    assert np.array_equal(old[:, 0], new[:, 0]) and len(old) == 70
    ratios = new[:, 1:5] / old[:, 1:5]
    assert ratios.max() / ratios.min() > 1.03, "no one ratio leads from one to the other"


def test_a_description_is_that_of_the_instrument_of_its_time() -> None:
    for now, name in ((BEFORE, "Testator Mills Corp."), (AFTER, "Heir Apparent Inc.")):
        message = only(Talk(now=now).open_chart("NASDAQ:HEIR", "1D", 3), "symbol_resolved")
        assert message["p"][2]["description"] == name


def test_versions_are_in_the_order_of_their_moments() -> None:
    (_, first), (since, second) = versions_of(listings()["NASDAQ:HEIR"])
    assert (first.description, second.description) == ("Testator Mills Corp.", "Heir Apparent Inc.")
    assert since == CHANGE
    assert [version_at([-np.inf, since], now) for now in (-1.0, BEFORE, CHANGE, np.inf)] == [0, 0, 1, 1]


# --- bars taken back -----------------------------------------------------------------------------------------------

BUSTED = (day(2026, 11, 13) + 47 * 60, day(2026, 11, 13) + 135 * 60)  # 10:17 to 11:45


def _open(interval: str, session: str, moment: int) -> int:
    """The open of the bar that holds a moment, before anything was taken back."""
    source = source_of("NASDAQ:BUST", session)
    return int(source.bars(Interval.parse(interval), BEFORE, count=1, before=moment + 1).rows[0, 0])


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("session", ["regular", "extended"])
def test_trades_that_were_taken_back_are_in_no_bar(interval: str, session: str) -> None:
    seconds = Interval.parse(interval).unit == "s"
    begin = BUSTED[0] - 600 if seconds else day(2026, 11, 13)
    until = BUSTED[0] + 600 if seconds else int(CHANGE)
    old, new = (
        rows_of("NASDAQ:BUST", interval, now, _open(interval, session, begin), until, session)
        for now in (BEFORE, CHANGE)
    )
    narrow = "1S" if seconds else "1"
    kept = rows_of("NASDAQ:BUST", narrow, BEFORE, int(old[0, 0]), until, session)
    kept = kept[(kept[:, 0] < BUSTED[0]) | (kept[:, 0] >= BUSTED[1])]
    assert np.array_equal(rows_of("NASDAQ:BUST", narrow, CHANGE, int(old[0, 0]), until, session), kept)
    for place, row in enumerate(old):
        end = old[place + 1, 0] if place + 1 < len(old) else until
        inside = kept[(kept[:, 0] >= row[0]) & (kept[:, 0] < end)]
        found = new[new[:, 0] == row[0]]
        assert len(found) == min(len(inside), 1)
        if len(found):
            assert found[0, 1:].tolist() == pytest.approx(total(inside))


@pytest.mark.parametrize(("interval", "gone"), [("1", 88), ("5", 17), ("60", 1), ("240", 0), ("1D", 0)])
def test_bars_whose_every_trade_was_taken_back_are_gone(interval: str, gone: int) -> None:
    old, new = (rows_of("NASDAQ:BUST", interval, now, day(2026, 11, 9), int(CHANGE)) for now in (BEFORE, AFTER))
    assert len(old) - len(new) == gone
    lost = rows_of("NASDAQ:BUST", "1", BEFORE, *BUSTED)[:, 5].sum()
    assert old[:, 5].sum() - new[:, 5].sum() == lost > 0


# --- corrections ---------------------------------------------------------------------------------------------------

# Start, end, by what prices and volumes are multiplied.
CORRECTED = [
    (day(2019, 3, 20) + 30 * 60, day(2019, 3, 20) + 90 * 60, 1.01, 2),  # summer time
    (day(2026, 7, 15) + 217 * 60, day(2026, 7, 15) + 230 * 60, 0.97, 2),
    (day(2026, 11, 13) + 270 * 60, day(2026, 11, 13) + 275 * 60, 1.02, 3),
]


@pytest.mark.parametrize(("start", "end", "price", "volume"), CORRECTED)
@pytest.mark.parametrize("interval", ["1S", "1"])
def test_a_correction_is_in_the_bars_of_its_time_only(
    interval: str, start: int, end: int, price: float, volume: int
) -> None:
    old, new = (rows_of("NASDAQ:FIXD", interval, now, start - 600, end + 600) for now in (BEFORE, AFTER))
    inside = (old[:, 0] >= start) & (old[:, 0] < end)
    assert inside.any() and np.array_equal(new[~inside], old[~inside])
    assert np.abs(new[inside, 1:5] - old[inside, 1:5] * price).max() <= 0.005 + 1e-9
    assert np.array_equal(new[inside, 5], old[inside, 5] * volume)
    assert (new[inside] != old[inside]).any(axis=1).all()


@pytest.mark.parametrize("correction", CORRECTED)
@pytest.mark.parametrize("interval", INTERVALS[1:])
def test_wider_bars_follow_a_correction(interval: str, correction: tuple[int, int, float, int]) -> None:
    start, width = correction[0], Interval.parse(interval)
    source = source_of("NASDAQ:FIXD")
    (row,) = source.bars(width, AFTER, count=1, before=start + 1).rows
    closes = source.calendar.opens_after(width, int(row[0]), 1)[0]
    made = rows_of("NASDAQ:FIXD", "1S" if width.unit == "s" else "1", AFTER, int(row[0]), closes)
    assert row[1:].tolist() == pytest.approx(total(made))
    (before,) = source.bars(width, BEFORE, count=1, before=start + 1).rows
    assert row[1:].tolist() != before[1:].tolist()
    beside = source.bars(width, AFTER, count=3, before=int(row[0])).rows
    assert np.array_equal(beside, source.bars(width, BEFORE, count=3, before=int(row[0])).rows)


# --- another anchor ------------------------------------------------------------------------------------------------


def test_wide_bars_of_all_history_open_an_hour_earlier_from_a_day_on() -> None:
    start = day(2026, 11, 9) - 3_600
    old, new = (rows_of("NYSE:HOUR", "240", now, start, int(CHANGE)) for now in (BEFORE, AFTER))
    assert len(old) == len(new) == 10 and np.array_equal(new[:, 0], old[:, 0] - 3_600)
    old, new = (rows_of("NYSE:HOUR", "1", now, start, int(CHANGE)) for now in (BEFORE, AFTER))
    known = np.isin(new[:, 0], old[:, 0])
    assert np.array_equal(new[known], old), "what was traded in the old hours is what it was"
    assert (~known).sum() == 5 * 60
    early = new[~known, 5].sum() / new[:, 5].sum()
    assert 0 < early < 0.1


@pytest.mark.parametrize("now", [BEFORE, AFTER])
def test_both_anchors_are_announced(now: float) -> None:
    source = MARKET.find("NYSE:HOUR", now=now)
    assert source is not None
    hours = TradingHours.of_symbol(symbol_info(source.listing))
    since, until = (datetime.fromtimestamp(each, timezone.utc) for each in (day(2025, 11, 24), day(2025, 12, 3)))
    for interval in ("1", "60", "240", "1D"):
        width = Interval.parse(interval)
        start, end = int(since.timestamp()), int(until.timestamp())
        times = source.bars(width, now, start=start, before=end).times
        assert times.tolist() == hours.expected(width, since, until).tolist()
    resolved = only(Talk(now=now).open_chart("NYSE:HOUR", "240", 3), "symbol_resolved")
    assert resolved["p"][2]["session"] == ("0930-1600" if now < CHANGE else "0830-1600")


# --- a session that lasts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", CHANGING)
def test_a_chart_that_stays_open_gets_what_a_new_one_does(symbol: str) -> None:
    talk = Talk(now=BEFORE)
    talk.open_chart(symbol, "60", 5)
    live = talk.wait(1.0, market_seconds=FIRST + 7_300 - BEFORE)
    held = {row[0]: row for message in live for row in bars_in(message)}
    fresh = bars_in(only(Talk(now=FIRST + 7_300).open_chart(symbol, "60", 2), "timescale_update"))
    assert [held[row[0]] for row in fresh] == fresh


# --- coarse ticks --------------------------------------------------------------------------------------------------


def test_a_tick_is_a_tenth_of_the_price() -> None:
    old = source_of("NYSE:NICK").bars(Interval.parse("1"), BEFORE, count=2_000).rows
    new = rows_of("NYSE:NICK", "1", AFTER, int(old[0, 0]), int(old[-1, 0]) + 1)
    for rows, level in ((old, 1.0), (new, 0.5)):
        assert np.allclose(rows[:, 1:5] * 20, np.rint(rows[:, 1:5] * 20))
        assert 0.6 * level < np.median(rows[:, 4]) < 1.6 * level
    assert len(np.unique(new[:, 1:5])) < 8
    assert np.abs(new[:, 1:5] - old[:, 1:5] / 2).max() <= 0.025 + 1e-9
    assert np.array_equal(new[:, 5], 2 * old[:, 5])
