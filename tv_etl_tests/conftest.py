"""Markets that stand still, so that every run sees the same bars."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from hypothesis import settings

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market import Market
from tv_etl.market_server.server import MarketServer, serve_in_thread

# A slow machine is no bug: properties have no deadline, whole tests do (pytest-timeout).
settings.register_profile("tv_etl", deadline=None)
settings.load_profile("tv_etl")

# A Wednesday, 10:00:30 in New York: every market trades, and the last bar of each is forming.
NOW = datetime(2026, 11, 18, 15, 0, 30, tzinfo=timezone.utc)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


@pytest.fixture(scope="session")
def market_server() -> Iterator[MarketServer]:
    """A market at NOW."""
    with serve_in_thread(Market(7), clock=MarketClock(NOW.timestamp(), speed=0), update_ms=50) as server:
        yield server


@pytest.fixture(scope="session")
def market_url(market_server: MarketServer) -> str:
    """The address of a market at NOW."""
    return market_server.url


@pytest.fixture(scope="session")
def scanner_url(market_server: MarketServer) -> str:
    """The address of the same market's screener."""
    return market_server.http_url


@pytest.fixture(scope="session")
def later_market_url() -> Iterator[str]:
    """The address of the same market five minutes later."""
    with serve_in_thread(Market(7), clock=MarketClock(LATER.timestamp(), speed=0), update_ms=50) as server:
        yield server.url
