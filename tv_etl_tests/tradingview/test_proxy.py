"""What is asked of TradingView goes through the proxy that is named, and through no other."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tv_etl.market_server.testing import MarketOptions, running_market
from tv_etl.tradingview.errors import ConnectionFailedError, ScannerError
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.proxy import PROXY_VARIABLE, Proxy
from tv_etl.tradingview.scan_request import ScanRequest
from tv_etl.tradingview.scanner import ScannerService
from tv_etl.tradingview.services import Limits
from tv_etl_tests.command import call
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import free_port
from tv_etl_tests.proxies import LOGIN, http_proxy, socks_proxy, with_login

ONCE = Limits(retry_s=0.0)


@pytest.fixture(params=["http", "socks"])
def proxy_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., AbstractContextManager[str]]:
    """What starts a proxy of either kind."""
    if request.param == "http":
        return lambda **options: http_proxy(tmp_path, **options)
    return socks_proxy


@pytest.fixture(autouse=True)
def wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generic variables that lead nowhere: whoever follows them fails."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def bars_through(url: str, proxy: str | None) -> int:
    async def fetch() -> int:
        async with OHLCV(url, proxy=proxy, limits=ONCE) as client:
            return len(await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 5))

    return asyncio.run(fetch())


def symbols_through(url: str, proxy: str | None) -> list[str]:
    scanner = ScannerService(url, proxy=proxy, retry_s=0.0)
    return asyncio.run(scanner.symbols(ScanRequest(market="america", limit=3)))


@pytest.mark.parametrize("has_login", [False, True])
def test_bars_and_scans_come_through_a_proxy(
    has_login: bool, proxy_of: Callable[..., AbstractContextManager[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_market(MarketOptions(now=NOW)) as market, proxy_of(has_login=has_login) as address:
        proxy = with_login(address) if has_login else address
        assert bars_through(market.url, proxy) == 5
        assert len(symbols_through(market.http_url, proxy)) == 3
        monkeypatch.setenv(PROXY_VARIABLE, proxy)
        assert bars_through(market.url, None) == 5
        assert len(symbols_through(market.http_url, None)) == 3


def test_only_the_proxy_that_is_named_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with running_market(MarketOptions(now=NOW)) as market:
        assert bars_through(market.url, None) == 5, "generic variables are not followed"
        monkeypatch.setenv(PROXY_VARIABLE, nowhere)
        with pytest.raises(ConnectionFailedError, match=r"^proxy 127\.0\.0\.1:\d+: "):
            bars_through(market.url, None)
        with pytest.raises(ScannerError, match=r"through proxy 127\.0\.0\.1:\d+: ConnectError"):
            symbols_through(market.http_url, None)
        assert bars_through(market.url, "") == 5, "the empty one is none"


@pytest.mark.parametrize("login", [None, ("somebody", "wr0ng")])
def test_a_login_that_is_refused_is_told_and_not_shown(
    login: tuple[str, str] | None, proxy_of: Callable[..., AbstractContextManager[str]]
) -> None:
    with running_market(MarketOptions(now=NOW)) as market, proxy_of(has_login=True) as address:
        proxy = with_login(address, login) if login else address
        for ask, url in ((bars_through, market.url), (symbols_through, market.http_url)):
            if ask is symbols_through and address.startswith("socks"):
                continue  # httpcore leaves a socket open where SOCKS refuses a login
            with pytest.raises((ConnectionFailedError, ScannerError)) as refused:
                ask(url, proxy)
            assert "proxy 127.0.0.1:" in str(refused.value)
            assert "wr0ng" not in str(refused.value)
            if address.startswith("http:") and ask is bars_through:
                assert "login" in str(refused.value)
                assert not refused.value.retryable


def test_what_the_proxy_cannot_reach_is_told_with_both_names(
    proxy_of: Callable[..., AbstractContextManager[str]],
) -> None:
    port = free_port()
    with proxy_of() as proxy, pytest.raises(ConnectionFailedError) as failed:
        bars_through(f"ws://127.0.0.1:{port}/", proxy)
    assert f"127.0.0.1:{port}" in str(failed.value) and "proxy 127.0.0.1:" in str(failed.value)
    assert failed.value.retryable


# A process of its own: what it trusts is read once.
SIGNED_IN = """
import asyncio, sys
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.ohlcv import OHLCV

async def fetch(url, site_url, proxy):
    account = Account(session_id="plus", site_url=site_url)
    async with OHLCV(url, account=account, proxy=proxy) as client:
        print(len(await client.get_historical_ohlcv("NASDAQ:AAPL", "7", 5)))

asyncio.run(fetch(*sys.argv[1:]))
"""


def test_a_session_is_exchanged_and_its_bars_fetched_by_tls_through_a_proxy(
    proxy_of: Callable[..., AbstractContextManager[str]],
) -> None:
    options = MarketOptions(now=NOW, tls=True)
    with running_market(options) as market, proxy_of(has_login=True) as address:

        def fetch(**environment: str) -> subprocess.CompletedProcess[str]:
            arguments = [market.url, f"{market.http_url}/", with_login(address)]
            return subprocess.run(
                [sys.executable, "-c", SIGNED_IN, *arguments],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=HANG_S,
            )

        done = fetch(SSL_CERT_FILE=str(market.server.ca_path))
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
        untrusting = fetch()
        assert "SSL_CERT_FILE" in untrusting.stderr
        assert LOGIN[1] not in untrusting.stderr


def test_the_commands_take_a_proxy(tmp_path: Path) -> None:
    with running_market(MarketOptions(now=NOW)) as market, http_proxy(tmp_path) as proxy:
        for arguments in (
            ("fetch", "NASDAQ:AAPL", "--interval", "1d", "--bars", "3"),
            ("watch", "NASDAQ:AAPL", "--once"),
        ):
            done = call(*arguments, "--proxy", proxy, url=market.url)
            assert (done.returncode, "NASDAQ:AAPL" in done.stdout) == (0, True), done.stderr
            refused = call(*arguments, "--proxy", "localhost:8080", url=market.url)
            assert refused.returncode == 2 and "expected http://host:port" in refused.stderr
            nowhere = call(*arguments, "--proxy", f"http://127.0.0.1:{free_port()}", url=market.url)
            assert nowhere.returncode == 1 and "proxy 127.0.0.1:" in nowhere.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("localhost:8080", "'localhost://"),
        ("http://host", "'http://host'"),
        ("http://:8080", "'http://:8080'"),
        ("ftp://host:21", "'ftp://host:21'"),
        ("http://host:8080/path", "'http://host:8080/path'"),
        ("http://us3r@host:8080", "a user without a password"),
        ("http://us3r:passw0rd@host:x", "is no URL"),
        ("http://us3r:passw0rd@host:1/?x", "'http://host:1/'"),
        ("socks4://us3r:passw0rd@host:1080", "'socks4://host:1080'"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_login(url: str, shown: str) -> None:
    with pytest.raises(ValueError, match=r"expected http://host:port") as refused:
        Proxy(url)
    assert shown in str(refused.value)
    assert "us3r" not in str(refused.value) and "passw0rd" not in str(refused.value)


def test_a_proxy_hides_its_login() -> None:
    proxy = Proxy("http://us3r:passw0rd@host:8080")
    assert repr(proxy) == "Proxy('host:8080')"
    assert proxy.reveal() == "http://us3r:passw0rd@host:8080"


def test_without_its_libraries_socks_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "python_socks", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'tv-etl\[socks\]'"):
        Proxy("socks5h://host:1080")
