import numpy as np
import pytest

from tv_etl.market_server.heikin_ashi import HeikinAshiBars
from tv_etl.market_server.market import Market
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON, Talk, bars, methods, only

HOUR, DAY = Interval.parse("60"), Interval.parse("1D")


def source(symbol: str = "NASDAQ:AAPL") -> HeikinAshiBars:
    found = Market(7).find(symbol)
    assert found is not None
    return HeikinAshiBars(found)


def test_all_history_follows_the_formula() -> None:
    plain = Market(7).find("NASDAQ:AAPL")
    assert plain is not None
    raw, made = (each.bars(DAY, FRIDAY_NOON, start=0).rows for each in (plain, source()))
    assert made[:, 4] == pytest.approx(raw[:, 1:5].mean(axis=1), abs=1e-9)
    assert made[1:, 1] == pytest.approx((made[:-1, 1] + made[:-1, 4]) / 2, abs=1e-9)
    assert made[0, 1] == (raw[0, 1] + raw[0, 4]) / 2
    assert (made[:, 2] >= made[:, [1, 4]].max(axis=1)).all() and (made[:, 3] <= made[:, [1, 4]].min(axis=1)).all()
    assert np.array_equal(made[:, [0, 5]], raw[:, [0, 5]])


@pytest.mark.parametrize("interval", [HOUR, DAY])
def test_a_bar_is_the_same_in_whichever_page_it_comes(interval: Interval) -> None:
    many = source().bars(interval, FRIDAY_NOON, count=1_000)
    few = source().bars(interval, FRIDAY_NOON, count=7)
    assert np.array_equal(many.rows[-7:], few.rows)
    later = source().bars(interval, FRIDAY_NOON, start=int(many.rows[500, 0]), before=int(many.rows[600, 0]))
    assert np.array_equal(many.rows[500:600], later.rows)


def test_history_has_a_start() -> None:
    assert source().bars(DAY, FRIDAY_NOON, start=0).is_start
    whole = source().bars(DAY, FRIDAY_NOON, count=50_000)
    assert whole.is_start
    assert not source().bars(DAY, FRIDAY_NOON, count=len(whole) - 1).is_start
    assert len(source().bars(DAY, 0.0, count=5)) == 0


def test_a_chart_shows_them_and_they_go_on() -> None:
    talk = Talk()
    spec = '={"symbol":{"symbol":"BINANCE:BTCUSDT"},"type":"BarSetHeikenAshi@tv-basicstudies-60!","inputs":{}}'
    rows = bars(only(talk.open_chart(spec, "1", 5), "timescale_update"))
    assert rows == source("BINANCE:BTCUSDT").bars(Interval.parse("1"), FRIDAY_NOON, count=5).rows.tolist()
    live = talk.wait(1.0, market_seconds=65)
    assert methods(live) == ["du", "timescale_update"]
    assert bars(live[1])[0][1] == pytest.approx((bars(live[0])[0][1] + bars(live[0])[0][4]) / 2)


def test_bars_of_one_source_are_equal_and_of_another_not() -> None:
    market = Market(7)
    apple, bitcoin = market.find("NASDAQ:AAPL"), market.find("BINANCE:BTCUSDT")
    assert apple is not None
    assert bitcoin is not None
    assert HeikinAshiBars(apple) == HeikinAshiBars(apple)
    assert len({HeikinAshiBars(apple), HeikinAshiBars(apple), HeikinAshiBars(bitcoin)}) == 2
