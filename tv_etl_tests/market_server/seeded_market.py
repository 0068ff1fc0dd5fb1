"""One market for the tests that look at bars without a server, and how they ask it."""

from datetime import datetime, timezone

from tv_etl.market_server.market.market import BarSource, Floats, Market
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON

MARKET = Market(7)


def source_of(symbol: str, session: str = "regular") -> BarSource:
    found = MARKET.find(symbol, session)
    assert found is not None
    return found


def utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=timezone.utc)


def bars(symbol: str, interval: str, count: int, now: float = FRIDAY_NOON) -> Floats:
    return source_of(symbol).bars(Interval.parse(interval), now, count=count).rows
