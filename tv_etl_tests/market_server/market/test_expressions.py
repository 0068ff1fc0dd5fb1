import numpy as np
import pytest

from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.seeded_market import MARKET, bars, source_of
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("interval", ["1", "60", "1D"])
def test_a_spread_is_worked_out_from_its_legs(interval: str) -> None:
    spread, width = source_of("NASDAQ:AAPL/NASDAQ:MSFT"), Interval.parse(interval)
    rows = spread.bars(width, FRIDAY_NOON, count=30).rows
    first, second = bars("NASDAQ:AAPL", interval, 30), bars("NASDAQ:MSFT", interval, 30)
    assert rows.shape == (30, 5) and (rows[:, 0] == first[:, 0]).all()
    assert np.allclose(rows[:, 4], first[:, 4] / second[:, 4], atol=1e-4)
    assert (rows[:, 2] >= rows[:, 1:5].max(axis=1)).all() and (rows[:, 3] <= rows[:, 1:5].min(axis=1)).all()
    assert spread.open_back(width, FRIDAY_NOON, 30) == rows[0, 0]


def test_a_spread_of_what_is_unknown_or_denied_is_unknown() -> None:
    assert MARKET.find("NASDAQ:AAPL/NASDAQ:NOPE") is None
    assert MARKET.find("NASDAQ:AAPL/ECONOMICS:USM2") is None
    both = source_of("BITSTAMP:BTCUSD/NASDAQ:AAPL")
    days = both.bars(Interval.parse("60"), FRIDAY_NOON, start=int(FRIDAY_NOON) - 86_400).rows
    assert 0 <= len(days) <= 8
