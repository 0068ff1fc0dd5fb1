"""The pages, read over a real socket the way clients read them."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from urllib.parse import quote, urlencode

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.errors import AuthError, EntitlementError
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl_tests.market_server.talk import FRIDAY_NOON
from tv_etl_tests.patience import HANG_S


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(FRIDAY_NOON, speed=0), update_ms=50)) as running:
        yield running


def get(server: MarketServer, path: str, cookie: str = "", method: str = "GET", body: str = "") -> tuple[int, str]:
    connection = HTTPConnection(server.http_url.removeprefix("http://"), timeout=HANG_S)
    try:
        connection.request(method, path, body, {"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    ["NASDAQ-AAPL/", "NASDAQ-AAPL", "NASDAQ:AAPL", "NASDAQ%3AAAPL/", "nasdaq-aapl/", "NSE-M%26M/", "COMEX-GC1!/",
     "FAULT-DROP/"],
)  # fmt: skip
def test_a_known_symbol_has_its_page(server: MarketServer, path: str) -> None:
    status, page = get(server, f"/symbols/{path}")
    assert (status, page[:15]) == (200, "<!DOCTYPE html>")
    assert get(server, f"/symbols/{path}", method="HEAD") == (200, "")


@pytest.mark.parametrize("path", ["NASDAQ-NOSUCH/", "NASDAQ:NOSUCH", "AAPL", "NASDAQ-", "-", "%00", "FAULT-NONE/"])
def test_an_unknown_symbol_has_none(server: MarketServer, path: str) -> None:
    assert get(server, f"/symbols/{path}")[0] == 404


def test_the_name_on_a_page_is_text(server: MarketServer) -> None:
    _, page = get(server, "/symbols/NSE-M%26M/")
    assert "M&amp;M" in page and "M&M" not in page


def test_a_quote_has_the_fields_asked_for(server: MarketServer) -> None:
    status, text = get(server, "/symbol?symbol=NASDAQ:AAPL&fields=name,close,volume,moon_phase&no_404=true")
    found = json.loads(text)
    assert status == 200 and list(found) == ["name", "close", "volume", "moon_phase"]
    assert (found["name"], found["moon_phase"]) == ("AAPL", None)
    assert found["close"] > 0 and found["volume"] > 0


def test_a_quote_without_fields_has_the_usual_ones(server: MarketServer) -> None:
    _, text = get(server, f"/symbol?symbol={quote('TVC:NDX')}")
    found = json.loads(text)
    assert found["volume"] is None and found["close"] > 0 and found["name"] == "NDX"


def test_a_quote_of_an_unknown_symbol_is_null_or_an_error(server: MarketServer) -> None:
    assert get(server, "/symbol?symbol=NASDAQ:NOSUCH&fields=close&no_404=true") == (200, "null")
    status, text = get(server, "/symbol?symbol=NASDAQ:NOSUCH&fields=close")
    assert (status, json.loads(text)) == (404, {"code": "symbol_not_exists"})
    assert get(server, "/symbol")[0] == 404


def test_both_pages_give_a_session_its_token(server: MarketServer) -> None:
    cookie = "x=1; sessionid=premium-1; sessionid_sign=v3:abc="
    _, home = get(server, "/", cookie)
    user = json.loads(home.split("var user = ")[1].split(";\n")[0])
    assert (user["pro_plan"], user["is_pro"], len(user["auth_token"].split("."))) == ("pro_premium", True, 3)
    assert re.search(r'"id":([0-9]{1,10}),', home) and re.search(r'"username":"user\d+"', home)
    status, token = get(server, "/quote_token/", cookie)
    assert status == 200 and len(json.loads(token).split(".")) == 3


@pytest.mark.parametrize("cookie", ["", "sessionid=expired", "sessionid=", "sessionid_sign=v3:x", ";;=;"])
def test_nobody_gets_no_token(server: MarketServer, cookie: str) -> None:
    status, home = get(server, "/", cookie)
    assert status == 200 and "auth_token" not in home
    assert get(server, "/quote_token/", cookie)[0] == 403


def test_a_name_and_a_password_sign_in(server: MarketServer) -> None:
    good = urlencode({"username": "plus", "password": "x", "remember": "on"})
    _, text = get(server, "/accounts/signin/", method="POST", body=good)
    assert json.loads(text)["user"]["pro_plan"] == "pro_plus"
    for body in ("", urlencode({"username": "expired", "password": "x"}), urlencode({"username": "plus"})):
        _, text = get(server, "/accounts/signin/", method="POST", body=body)
        assert "user" not in json.loads(text) and json.loads(text)["error"]


def test_our_client_exchanges_its_cookie_and_gets_its_plan(server: MarketServer) -> None:
    async def count(session_id: str | None) -> int:
        account = Account(session_id=session_id, site_url=f"{server.http_url}/") if session_id else None
        async with OHLCV(server.url, account=account) as client:
            return len(await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 7_000))

    assert asyncio.run(count(None)) == 5_000
    assert asyncio.run(count("basic")) == 5_000
    assert asyncio.run(count("premium")) == 7_000


def test_our_client_says_which_session_is_not_known(server: MarketServer) -> None:
    async def fetch(session_id: str, interval: str) -> None:
        account = Account(session_id=session_id, site_url=f"{server.http_url}/")
        async with OHLCV(server.url, account=account) as client:
            await client.get_historical_ohlcv("NASDAQ:AAPL", interval, 5)

    with pytest.raises(AuthError, match="sign in again"):
        asyncio.run(fetch("expired", "1D"))
    with pytest.raises(EntitlementError, match="custom_resolution"):
        asyncio.run(fetch("basic", "7"))
    asyncio.run(fetch("essential", "7"))


def test_our_client_gets_a_new_token_when_the_server_ends_the_old_one() -> None:
    async def run(server: MarketServer) -> None:
        account = Account(session_id="plus", site_url=f"{server.http_url}/")
        async with OHLCV(server.url, account=account) as client:
            await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 5)
            server.accounts.now = lambda: time.time() + 20_000  # the token in use has ended, whatever the client thinks
            for _ in range(3):
                with suppress(AuthError):
                    assert len(await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 6_000)) == 6_000
                    return
        raise AssertionError("no new token was fetched")

    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(FRIDAY_NOON, speed=0), update_ms=50)) as running:
        asyncio.run(run(running))
