"""Markets that stand still, so that every run sees the same bars, and places for lakes."""

import logging
import os
import signal
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tv_etl_tests.patience import TEST_S, wait_until

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from tv_etl.market_server.server import MarketServer
    from tv_etl_tests.dagster_dev import CountingMarket, DagsterDev, GridBackfill

# A slow machine is no bug: an example of a property has no deadline, and a whole test one that only a hang reaches.
settings.register_profile("tv_etl", deadline=None)
settings.load_profile("tv_etl")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.timeout is None:
        config.option.timeout = TEST_S
    # A run in a shell's background is started with these ignored, and its processes would inherit that.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


# A Wednesday, 10:00:30 in New York: every market trades, and the last bar of each is forming.
NOW = datetime(2026, 11, 18, 15, 0, 30, tzinfo=timezone.utc)
LATER = NOW + timedelta(minutes=5)

# Such as az://lakes, of another object store or an emulator; credentials and endpoint are in the environment as well.
OTHER_BUCKET = os.environ.get("TV_ETL_TEST_BUCKET")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    # One more than there are cores: a third of the time a test waits, for a process or a deadline.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 8)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Importing the modules that `-m pure` leaves out takes longer than the tests that it runs.
    if config.option.markexpr == "pure" and collection_path.name.startswith("test_"):
        return "pytest.mark.pure" not in collection_path.read_text(encoding="utf-8") or None
    return None


# What is slow to import is imported where it is used.


@pytest.fixture
def instance() -> "Iterator[DagsterInstance]":
    import dagster as dg

    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


@contextmanager
def market_at(moment: datetime, market: "CountingMarket | None" = None) -> "Iterator[MarketServer]":
    """A market that stands still."""
    from tv_etl.market_server.clock import MarketClock
    from tv_etl.market_server.market.market import Market
    from tv_etl.market_server.options import ServerOptions
    from tv_etl.market_server.server import serve_in_thread

    clock = MarketClock(moment.timestamp(), speed=0)
    with serve_in_thread(market or Market(7), ServerOptions(clock=clock, update_ms=50)) as server:
        yield server


@pytest.fixture(scope="session")
def market_server() -> "Iterator[MarketServer]":
    """A market at NOW."""
    with market_at(NOW) as server:
        yield server


@pytest.fixture(scope="session")
def market_url(market_server: "MarketServer") -> str:
    """The address of a market at NOW."""
    return market_server.url


@pytest.fixture(scope="session")
def scanner_url(market_server: "MarketServer") -> str:
    """The address of the same market's screener."""
    return market_server.http_url


@pytest.fixture(scope="session")
def later_market_url() -> Iterator[str]:
    """The address of the same market five minutes later."""
    with market_at(LATER) as server:
        yield server.url


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 that has the bucket `lakes`."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/lakes", method="PUT")):
        pass
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_lake(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty lake on S3; the environment says how to reach it."""
    for name, value in s3_environment(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    return f"s3://lakes/{uuid.uuid4().hex}/a lake"


def s3_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "dummy-access-key",
        "AWS_SECRET_ACCESS_KEY": "dummy-secret-key",
        "AWS_REGION": "us-east-1",
    }


@pytest.fixture(params=["directory", "s3", *([OTHER_BUCKET] if OTHER_BUCKET else [])])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty lake is, in a directory, on S3, and in the bucket that the environment names."""
    if request.param == "directory":
        return str(tmp_path / "lake")
    if request.param == "s3":
        return str(request.getfixturevalue("s3_lake"))
    return f"{request.param}/{uuid.uuid4().hex}/a lake"


@pytest.fixture(scope="session")
def counting_market() -> "CountingMarket":
    """The market that `dagster dev` of the session asks."""
    from tv_etl_tests.dagster_dev import CountingMarket

    return CountingMarket()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory, counting_market: "CountingMarket") -> "Iterator[DagsterDev]":
    """One `dagster dev` for all tests of the session, with a grid of fifty symbols at three intervals."""
    from tv_etl_tests.dagster_dev import dagster_dev, grid_watchlist

    pytest.importorskip("dagster_webserver")
    with (
        market_at(NOW, counting_market) as server,
        dagster_dev(tmp_path_factory.mktemp("dagster_dev"), server.url, grid_watchlist()) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def grid_backfill(dev: "DagsterDev") -> "GridBackfill":
    """A backfill of the whole grid by the `dagster dev` of the session."""
    from tv_etl_tests.dagster_dev import ENDED, INTERVALS, GridBackfill, grid_keys

    backfill_id = dev.backfill(grid_keys())

    def ended() -> dict[str, str]:
        runs = dev.runs(backfill=backfill_id)
        return runs if len(runs) >= len(INTERVALS) and set(runs.values()) <= ENDED else {}

    return GridBackfill(backfill_id, wait_until(ended, "the runs of the backfill end"))
