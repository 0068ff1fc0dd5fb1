"""The symbol search, asked over a real socket the way clients ask."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest

from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.market_server.site.symbol_search import PAGE_ROWS, SLOW_S
from tv_etl_tests.patience import HANG_S

SITE = {"Origin": "https://www.tradingview.com"}


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7)) as running:
        yield running


def get(server: MarketServer, headers: dict[str, str] = SITE, path: str = "/symbol_search/v3/", **query: Any) -> Any:
    """The status, and what the answer holds."""
    connection = HTTPConnection(server.http_url.removeprefix("http://"), timeout=HANG_S)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def found(server: MarketServer, **query: Any) -> dict[str, Any]:
    status, body = get(server, **query)
    assert status == 200
    answer: dict[str, Any] = json.loads(body)
    assert set(answer) == {"symbols_remaining", "symbols"}
    return answer


def tickers(server: MarketServer, **query: Any) -> list[str]:
    return [row["symbol"] for row in found(server, **query)["symbols"]]


def test_without_an_origin_there_is_no_answer(server: MarketServer) -> None:
    assert get(server, {}, text="AAPL")[0] == 403


def test_a_row_has_what_clients_read(server: MarketServer) -> None:
    (row,) = found(server, text="AAPL", hl=1, exchange="", lang="en", search_type="undefined", domain="production",
                   sort_by_country="US")["symbols"]  # fmt: skip
    assert row == {
        "symbol": "<em>AAPL</em>", "description": "Apple Inc.", "type": "stock", "exchange": "NASDAQ",
        "found_by_isin": False, "found_by_cusip": False, "isin": "US0378331005", "currency_code": "USD",
        "provider_id": "ice", "source2": {"id": "BATS", "name": "Cboe One", "description": "Cboe One"},
        "source_id": "BATS", "country": "US", "is_primary_listing": True, "typespecs": ["common"],
    }  # fmt: skip
    assert get(server, path="/symbol_search/v3", text="AAPL") == get(server, text="AAPL")


def test_marks_are_where_the_text_was_found(server: MarketServer) -> None:
    (apple,) = found(server, text="apple", hl=1)["symbols"]
    assert (apple["symbol"], apple["description"]) == ("AAPL", "<em>Apple</em> Inc.")
    (by_isin,) = found(server, text="US0378331005", hl=1)["symbols"]
    assert (by_isin["isin"], by_isin["found_by_isin"]) == ("<em>US0378331005</em>", True)


def test_the_ticker_that_is_meant_comes_first(server: MarketServer) -> None:
    assert tickers(server, text="V")[0] == "V"
    assert tickers(server, text="btcusd")[:3] == ["BTCUSD", "BTCUSD", "BTCUSDT"]


def test_what_fits_equally_begins_with_the_country_that_is_asked_for(server: MarketServer) -> None:
    japanese = found(server, text="Bancorp", search_type="stocks", sort_by_country="JP")["symbols"]
    american = found(server, text="Bancorp", search_type="stocks", sort_by_country="US")["symbols"]
    assert (japanese[0]["country"], american[0]["country"]) == ("JP", "US")


def test_exchanges_are_known_by_prefix_and_by_name(server: MarketServer) -> None:
    for exchange in ("AMEX", "NYSE Arca"):
        (row,) = found(server, text="SPY", exchange=exchange)["symbols"]
        assert (row["exchange"], row["prefix"]) == ("NYSE Arca", "AMEX")
    assert tickers(server, text="SPY", exchange="NASDAQ") == []


def test_a_future_is_its_root_with_its_contracts(server: MarketServer) -> None:
    (row,) = found(server, text="ES1!")["symbols"]
    assert (row["symbol"], row["exchange"], "prefix" in row) == ("ES", "CME", False)
    assert row["contracts"][0] == {
        "symbol": "ES1!", "description": "S&P 500 E-mini Futures", "typespecs": ["continuous", "synthetic"],
        "prefix": "CME_MINI",
    }  # fmt: skip
    assert tickers(server, text="GCZ2026") == ["GC"]


def test_options_are_found_by_those_who_ask_for_them(server: MarketServer) -> None:
    assert tickers(server, text="SPY") == ["SPY"]
    assert all(ticker.startswith("SPY2") for ticker in tickers(server, text="SPY", search_type="options"))


def test_pages_go_on_where_the_last_ended(server: MarketServer) -> None:
    first = found(server, text="Q", search_type="stocks")
    assert len(first["symbols"]) == PAGE_ROWS
    second = found(server, text="Q", search_type="stocks", start=PAGE_ROWS)
    assert second["symbols_remaining"] == first["symbols_remaining"] - PAGE_ROWS
    assert not {row["symbol"] for row in first["symbols"]} & {row["symbol"] for row in second["symbols"]}
    assert found(server, text="Q", start=1_000_000) == {"symbols_remaining": 0, "symbols": []}


@pytest.mark.parametrize("query", [{"search_type": "moons"}, {"start": "-1"}, {"start": "x"}])
def test_what_is_not_known_is_refused(server: MarketServer, query: dict[str, Any]) -> None:
    status, body = get(server, text="AAPL", **query)
    assert (status, list(json.loads(body))) == (400, ["error"])


def test_faults_are_symbols_here_too(server: MarketServer) -> None:
    status, body = get(server, text="BAD_JSON", exchange="FAULT")
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    began = time.monotonic()
    assert found(server, text="SLOW", exchange="FAULT")["symbols"] == []
    assert time.monotonic() - began >= SLOW_S


def test_a_busy_server_says_so() -> None:
    with serve_in_thread(Market(7), ServerOptions(http_busy=1)) as busy:
        assert get(busy, text="AAPL")[0] == 429
        assert get(busy, text="AAPL")[0] == 200
