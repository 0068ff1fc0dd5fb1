"""A pytest plugin: a market of its own for every test that asks for one.

In the `conftest.py` beside your tests:

    pytest_plugins = ["tv_etl.market_server.testing"]

and in a test, with whatever client of TradingView you have:

    def test_my_client(market):
        assert len(my_client(market.url).bars("NASDAQ:AAPL", "1D", 300)) == 300

The market stands still at NOW until it is moved. `@pytest.mark.market(seed=1, plan="premium", tls=True)` takes the
fields of `MarketOptions`.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayMarket
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread

# A Friday, 13:00 in New York: every market but Asia's trades, and the newest bar of each is forming.
NOW = datetime(2026, 11, 20, 18, tzinfo=timezone.utc)
UPDATE_MS = 50.0


@dataclass(frozen=True, kw_only=True)
class MarketOptions(ServerOptions):
    """The server's options, and those of its market.

    `seed` makes the bars, except those of the files in the folder `replay`. `now` (a datetime, or UTC seconds) and
    `speed` set the clock, unless `clock` is given.
    """

    update_ms: float = UPDATE_MS
    seed: int = 0
    now: datetime | float = NOW
    speed: float = 0.0
    replay: Path | str | None = None


class RunningMarket:
    """A market server in a thread of its own; live changes arrive within `update_ms` of a move of the clock."""

    def __init__(self, server: MarketServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        """The address of the WebSocket."""
        return self.server.url

    @property
    def http_url(self) -> str:
        """The address of the screener and of the site's pages."""
        return self.server.http_url

    @property
    def ca_path(self) -> Path | None:
        """The file with the authority to trust, None without `tls`."""
        return self.server.ca_path

    @property
    def now(self) -> datetime:
        """The market's time."""
        return datetime.fromtimestamp(self.server.clock.now(), timezone.utc)

    def move_to(self, moment: datetime | float) -> None:
        """Set the market's clock to a moment (UTC seconds if it is a number)."""
        self.server.clock.move_to(_seconds(moment))

    def advance(self, span: timedelta | float) -> None:
        """Move the market's clock forward (by seconds if it is a number)."""
        self.server.clock.advance(span.total_seconds() if isinstance(span, timedelta) else span)

    def run(self, speed: float = 1.0) -> None:
        """Let the market's clock run `speed` times as fast as real time; 0 stops it."""
        self.server.clock.run(speed)


@contextmanager
def running_market(options: MarketOptions | None = None) -> Iterator[RunningMarket]:
    """What the fixture gives, for tests without pytest."""
    options = options or MarketOptions()
    market = _market(options.seed)
    served = market if options.replay is None else ReplayMarket(Path(options.replay), market)
    clock = options.clock or MarketClock(_seconds(options.now), options.speed)
    with serve_in_thread(served, replace(options, clock=clock)) as server:
        yield RunningMarket(server)


@pytest.fixture
def market(request: pytest.FixtureRequest) -> Iterator[RunningMarket]:
    """A market server of this test's own."""
    mark = request.node.get_closest_marker("market")
    with running_market(MarketOptions(**mark.kwargs) if mark is not None else None) as running:
        yield running


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, for pytest --strict-markers."""
    config.addinivalue_line("markers", "market(**options): options of the `market` fixture's server")


@functools.cache  # it is pure, and remembers what it has worked out
def _market(seed: int) -> Market:
    return Market(seed)


def _seconds(moment: datetime | float) -> float:
    if not isinstance(moment, datetime):
        return moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
