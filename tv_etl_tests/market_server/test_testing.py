"""The plugin in a project that knows nothing of this one's tests."""

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.testing import NOW, MarketOptions, running_market
from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl_tests.patience import HANG_S

FOREIGN_TESTS = """
from datetime import datetime, timedelta, timezone
from urllib.request import urlopen

import pytest

from tv_etl.tradingview.blocking import BlockingOHLCV


def newest(market, symbol="BINANCE:BTCUSDT"):
    with BlockingOHLCV(market.url) as client:
        return client.get_historical_ohlcv(symbol, "1", bars_count=3)[-1]


def test_a_market_stands_still_until_it_is_moved(market):
    first = newest(market)
    assert newest(market) == first
    market.advance(60)
    assert newest(market).timestamp == first.timestamp + 60
    market.move_to(datetime(2026, 11, 19, 12, tzinfo=timezone.utc))
    assert market.now.day == 19 and newest(market).timestamp < first.timestamp


def test_every_test_has_its_own(market):
    assert market.now == datetime(2026, 11, 20, 18, tzinfo=timezone.utc)


def test_a_stream_follows_the_clock(market):
    with BlockingOHLCV(market.url) as client:
        seen = []
        for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=1):
            seen.append(bar.timestamp)
            market.advance(timedelta(minutes=1))
            if len(set(seen)) == 3:
                break
    assert sorted(set(seen))[-1] == seen[0] + 120


def test_the_pages_are_there(market):
    with urlopen(f"{market.http_url}/symbols/NASDAQ-AAPL/") as page:
        assert page.status == 200


@pytest.mark.market(seed=3, plan="premium", now=1_700_000_000)
def test_options_are_a_mark(market):
    with BlockingOHLCV(market.url) as client:
        assert len(client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", bars_count=5_500)) == 5_500
    assert market.now.year == 2023 and market.ca_path is None
"""


def test_a_foreign_project_gets_a_market_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tv_etl.market_server.testing"]\n')
    (tmp_path / "test_mine.py").write_text(FOREIGN_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_only_the_plugin_needs_pytest() -> None:
    code = "import sys; import tv_etl.market_server.__main__, tv_etl.definitions; print('pytest' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_a_market_runs_without_a_fixture_too() -> None:
    with running_market(MarketOptions(speed=0)) as market:
        assert market.now == NOW
        market.run(1_000.0)
        market.move_to(datetime(2026, 11, 20, 19))  # a time without a zone is UTC
        market.run(0)
        assert timedelta(0) <= market.now - datetime(2026, 11, 20, 19, tzinfo=timezone.utc) < timedelta(hours=5)


def test_a_clock_of_ones_own_is_the_markets() -> None:
    clock = MarketClock(NOW.timestamp() + 60, speed=0)
    with running_market(MarketOptions(clock=clock)) as market:
        clock.advance(60)
        assert market.now == NOW + timedelta(minutes=2)


def test_recorded_bars_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "NYSE_XYZ_1D.csv").write_text(
        "timestamp,open,high,low,close,volume\n1795098600,1,2,0.5,1.5,10\n1795185000,1.5,2,1,1.75,20\n"
    )
    with running_market(MarketOptions(replay=tmp_path)) as market, BlockingOHLCV(market.url) as client:
        assert [bar.close for bar in client.get_historical_ohlcv("NYSE:XYZ", "1D", bars_count=5)] == [1.5, 1.75]


def test_an_unknown_plan_is_named() -> None:
    with (
        pytest.raises(ValueError, match="plan 'gold': expected one of anonymous"),
        running_market(MarketOptions(plan="gold")),
    ):
        pass
