import numpy as np
import pytest

from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.seeded_market import MARKET, source_of, utc
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure

SPLIT_DAY = utc(2026, 11, 16).timestamp()
BEFORE, AFTER = SPLIT_DAY - 86_400, SPLIT_DAY + 86_400


@pytest.mark.parametrize("interval", ["1S", "1", "60", "1D", "1W"])
def test_a_split_rescales_all_earlier_bars_once_its_day_has_come(interval: str) -> None:
    source, width = source_of("NASDAQ:SPLT"), Interval.parse(interval)
    old = source.bars(width, BEFORE, count=40, before=int(BEFORE) - 10 * 86_400).rows
    new = source.bars(width, AFTER, count=40, before=int(BEFORE) - 10 * 86_400).rows
    assert (new[:, 0] == old[:, 0]).all() and (new[:, 5] == 4 * old[:, 5]).all()
    assert (np.abs(new[:, 1:5] - old[:, 1:5] / 4) <= 0.005 + 1e-9).all()
    assert (source.edition(BEFORE), source.edition(AFTER)) == (0, 1)


def test_prices_fall_by_the_split_where_nothing_is_adjusted_yet() -> None:
    source, day = source_of("NASDAQ:SPLT"), Interval.parse("1D")
    unadjusted = source.bars(day, BEFORE, count=1).rows[0, 4]
    after = source.bars(day, AFTER, count=1).rows[0, 4]
    assert 3.4 < unadjusted / after < 4.6


def test_dividends_count_where_they_are_asked_for() -> None:
    splits, both = source_of("NYSE:DIVI"), MARKET.find("NYSE:DIVI", adjustment="dividends")
    assert both is not None
    day, ex_day = Interval.parse("1D"), int(utc(2026, 11, 13).timestamp())
    for now, share in ((ex_day - 3_600, 1.0), (ex_day + 40_000, 0.995)):
        # Between the ex-dates of August and of November.
        plain, adjusted = (each.bars(day, now, count=30, before=ex_day).rows for each in (splits, both))
        assert (plain[:, 5] == adjusted[:, 5]).all()
        assert np.abs(adjusted[:, 1:5] / plain[:, 1:5] - share).max() < 0.0015
    assert splits.edition(FRIDAY_NOON) == 0 and both.edition(FRIDAY_NOON) > 20


def test_a_split_that_comes_late_is_in_force_when_the_server_knows_of_it() -> None:
    """From its ex-day on prices are halved; the bars before stay on the old scale for ten trading days more."""
    source, day = source_of("NASDAQ:LATE"), Interval.parse("1D")
    ex_day = int(utc(2026, 11, 2).timestamp())
    moments = [utc(2026, 11, day_of_month).timestamp() for day_of_month in (1, 13, 17)]
    before, unaware, aware = (source.bars(day, moment, count=30, before=ex_day) for moment in moments)
    assert (unaware.rows == before.rows).all()
    assert (np.abs(aware.rows[:, 1:5] - before.rows[:, 1:5] / 2) <= 0.005 + 1e-9).all()
    assert (aware.rows[:, 5] == 2 * before.rows[:, 5]).all()
    newest = source.bars(day, utc(2026, 11, 13).timestamp(), count=1).rows[0, 4]
    assert 1.6 < before.rows[-1, 4] / newest < 2.5


def test_a_cheap_stock_is_joined_ten_to_one() -> None:
    source, minute = source_of("NASDAQ:PENY"), Interval.parse("1")
    old, new = (source.bars(minute, at, count=300, before=int(BEFORE) - 86_400).rows for at in (BEFORE, AFTER))
    assert len(np.unique(old[:, 1:5])) < 12, "few prices: a tick is a hundredth of them"
    assert np.abs(new[:, 1:5] - 10 * old[:, 1:5]).max() < 1e-9


def test_a_split_and_a_dividend_come_on_one_day() -> None:
    splits, both = source_of("NYSE:BOTH"), MARKET.find("NYSE:BOTH", adjustment="dividends")
    assert both is not None
    day = Interval.parse("1D")
    old = both.bars(day, BEFORE, count=40, before=int(BEFORE)).rows
    new = both.bars(day, AFTER, count=40, before=int(BEFORE)).rows
    ratio = np.median(new[:, 4] / old[:, 4])
    assert 0.64 < ratio < 0.66, "two thirds, and less than two percent of a dividend"
    assert np.allclose(new[:, 5], 1.5 * old[:, 5], atol=1)
    assert splits.edition(AFTER) == 1 and both.edition(AFTER) == 2
