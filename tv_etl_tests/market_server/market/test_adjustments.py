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
