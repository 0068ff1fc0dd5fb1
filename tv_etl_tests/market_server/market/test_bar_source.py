import numpy as np
import pytest

from tv_etl.market_server.market.bar_source import Bars, days_of, quote_interval
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayedBars
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure


def test_bars_know_their_number_and_times() -> None:
    bars = Bars(np.array([[60.0, 1, 1, 1, 1], [120.0, 1, 1, 1, 1]]), is_start=True)
    assert len(bars) == 2 and bars.times.tolist() == [60, 120]


def test_days_are_counted_back_from_the_newest() -> None:
    source = Market(7).find("NASDAQ:IPOX")
    assert source is not None
    rows = source.bars(Interval.parse("1D"), FRIDAY_NOON, count=100).rows
    found = days_of(source, FRIDAY_NOON, (500, 3, 0))
    assert np.isnan(found[0]).all() and found[1:].tolist() == rows[[-4, -1]].tolist()


def test_a_quote_shows_the_day_or_the_narrowest_that_there_is() -> None:
    source = Market(7).find("NASDAQ:AAPL")
    assert source is not None and quote_interval(source) == Interval.parse("1D")
    weeks = np.array([[0.0, 1, 1, 1, 1], [604_800.0, 1, 1, 1, 1]])
    minutes = np.array([[0.0, 1, 1, 1, 1], [60.0, 1, 1, 1, 1]])
    assert quote_interval(ReplayedBars("A:B", {Interval.parse("1"): minutes})) == Interval.parse("1D")
    assert quote_interval(ReplayedBars("A:B", {Interval.parse("1W"): weeks})) == Interval.parse("1W")
