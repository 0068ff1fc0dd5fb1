"""The symbol search on the market server, and on servers that no search should be."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview.blocking import search_symbols as search_and_wait
from tv_etl.tradingview.errors import SearchError
from tv_etl.tradingview.symbol_search import SEARCH_TYPES, FoundSymbol, SymbolSearch, search_symbols
from tv_etl_tests import own_clock
from tv_etl_tests.tradingview.lying_screener import Liar, http


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7)) as running:
        yield running


def search(url: str, text: str, **options: Any) -> list[FoundSymbol]:
    return own_clock.run(search_symbols(text, base_url=url, **options))


def symbols(found: list[FoundSymbol]) -> list[str]:
    return [each.symbol for each in found]


# --- a search as it should be -----------------------------------------------------------------------------------


def test_what_is_found_says_what_it_is(server: MarketServer) -> None:
    (apple,) = search(server.http_url, "apple")
    assert apple == FoundSymbol(
        "NASDAQ:AAPL", "Apple Inc.", "stock", "NASDAQ", ("common",), "USD", "US", "US0378331005"
    )
    assert apple.ticker == "AAPL"
    assert symbols(search(server.http_url, "US0378331005")) == ["NASDAQ:AAPL"]


def test_type_and_exchange_narrow_it(server: MarketServer) -> None:
    of_binance = search(server.http_url, "BTC", type="crypto", exchange="binance")
    assert symbols(of_binance) == ["BINANCE:BTCUSDT", "BINANCE:BTCUSDT.P"]
    assert search(server.http_url, "BTC", type="stock") == []
    assert symbols(search(server.http_url, "nasdaq:aapl")) == ["NASDAQ:AAPL"]


def test_the_prefix_makes_the_symbol_where_the_exchange_is_only_its_name(server: MarketServer) -> None:
    (spy,) = search(server.http_url, "SPY")
    assert (spy.symbol, spy.exchange) == ("AMEX:SPY", "NYSE Arca")


def test_a_future_is_a_contract_and_has_them_all(server: MarketServer) -> None:
    (gold,) = search(server.http_url, "gold", type="futures")
    assert (gold.symbol, gold.description) == ("COMEX:GC1!", "Gold Futures")
    (found,) = search(server.http_url, "esz2026")
    assert (found.symbol, found.description) == ("CME_MINI:ESZ2026", "S&P 500 E-mini Futures (Dec 2026)")
    assert found.exchange == "CME"
    assert symbols(list(found.contracts))[:2] == ["CME_MINI:ES1!", "CME_MINI:ESZ2026"]
    assert found.to_dict()["contracts"] == symbols(list(found.contracts))


def test_every_symbol_that_is_found_is_one_of_the_market(server: MarketServer) -> None:
    market = Market(7)
    for kind in SEARCH_TYPES:
        for found in search(server.http_url, "", type=kind, limit=60):
            assert all(market.find(each.symbol) is not None for each in (found, *found.contracts))


def test_pages_are_put_together(server: MarketServer) -> None:
    found = symbols(search(server.http_url, "Q", type="stock", limit=120))
    assert len(found) == len(set(found)) == 120
    everything = symbols(search(server.http_url, "Bancorp", limit=None))
    assert len(everything) > 100
    assert search(server.http_url, "Bancorp", limit=3) == search(server.http_url, "Bancorp", limit=None)[:3]


def test_whoever_does_not_wait_gets_the_same(server: MarketServer) -> None:
    assert search_and_wait("apple", base_url=server.http_url) == search(server.http_url, "apple")


def test_the_environment_names_the_server(server: MarketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_SEARCH_URL", server.http_url + "/")
    assert SymbolSearch().base_url == server.http_url
    monkeypatch.delenv("TV_ETL_SEARCH_URL")
    assert SymbolSearch().base_url == "https://symbol-search.tradingview.com"


def test_a_busy_server_is_asked_again() -> None:
    with serve_in_thread(Market(7), ServerOptions(http_busy=2, http_retry_after_s=0)) as busy:
        assert symbols(search(busy.http_url, "apple")) == ["NASDAQ:AAPL"]


def test_what_the_server_does_wrong_is_told(server: MarketServer) -> None:
    with pytest.raises(SearchError, match="the answer is not a search result"):
        search(server.http_url, "FAULT:BAD_JSON")
    with pytest.raises(SearchError, match=r"no complete answer within 0\.2 s") as caught:
        search(server.http_url, "FAULT:SLOW", timeout_s=0.2)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("options", "words"),
    [({"type": "stocks"}, "type 'stocks': expected stock, fund,"), ({"limit": 0}, "limit 0: expected at least 1")],
)
def test_nonsense_is_refused_before_anything_is_sent(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        search("http://127.0.0.1:1", "x", **options)


# --- a server that does what it likes ---------------------------------------------------------------------------


def search_of(liar: Liar, text: str = "x", **options: Any) -> list[FoundSymbol]:
    async def run() -> list[FoundSymbol]:
        async with liar.serving():
            return await search_symbols(text, base_url=liar.url, **options)

    return own_clock.run(run())


def rows(*found: dict[str, Any], remaining: int = 0) -> bytes:
    return http(json.dumps({"symbols_remaining": remaining, "symbols": found}).encode())


def test_what_is_asked_is_what_the_site_asks() -> None:
    liar = Liar(rows())
    assert search_of(liar, " M&M ", type="stock", exchange="nse") == []
    head = liar.heads[0].decode()
    assert head.startswith(
        "GET /symbol_search/v3/?text=M%26M&hl=0&exchange=NSE&lang=en&search_type=stocks&domain=production"
        "&sort_by_country=US HTTP/1.1\r\n"
    )
    assert "\r\nOrigin: https://www.tradingview.com\r\n" in head
    search_of(liar)
    assert "search_type=undefined" in liar.heads[1].decode()


def test_marks_around_what_was_found_are_no_part_of_it() -> None:
    row = {
        "symbol": "<em>HYPE</em>USDT.P", "description": "<em>HYPE</em>USDT Perpetual", "exchange": "Bybit",
        "prefix": "BYBIT", "type": "swap", "isin": "<em>US0378331005</em>", "typespecs": ["crypto", "perpetual"],
        "logo": {"style": "pair"}, "currency_code": None, "country": None,
    }  # fmt: skip
    (found,) = search_of(Liar(rows(row)))
    assert (found.symbol, found.description, found.isin) == ("BYBIT:HYPEUSDT.P", "HYPEUSDT Perpetual", "US0378331005")


def test_contracts_have_the_prefix_that_is_nearest() -> None:
    row = {
        "symbol": "ES", "description": "E-mini", "type": "futures", "exchange": "CME", "contracts": [
            {"symbol": "ES1!", "prefix": "CME_MINI", "typespecs": ["continuous"]}, {"symbol": "<em>ES</em>H2027"},
            {"symbol": "ES2!", "exchange": "CME_DL"}, {"symbol": "of old|"},
        ],
    }  # fmt: skip
    (found,) = search_of(Liar(rows(row)), "ES")
    assert (found.symbol, found.typespecs) == ("CME_MINI:ES1!", ("continuous",))
    assert symbols(list(found.contracts)) == ["CME_MINI:ES1!", "CME:ESH2027", "CME_DL:ES2!"]


def test_a_row_without_a_name_that_can_be_asked_for_is_left_out() -> None:
    found = search_of(
        Liar(
            rows(
                {"symbol": "A", "exchange": "Two Words"},
                {"symbol": "B C", "exchange": "X"},
                {"symbol": "D", "exchange": "Kraken"},
            )
        )
    )
    assert symbols(found) == ["KRAKEN:D"]


def test_pages_that_repeat_or_announce_too_much_end() -> None:
    page = rows({"symbol": "A", "exchange": "X"}, remaining=9)
    liar = Liar(page, page, rows(remaining=9))
    assert symbols(search_of(liar, limit=None)) == ["X:A"]
    assert [b"&start=2 " in head for head in liar.heads] == [False, False, True]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"symbols":[{"symbol":5}]}', b'{"symbols":' + b"[" * 60_000])
def test_what_is_no_result_is_told_at_once(body: bytes) -> None:
    liar = Liar(http(body))
    with pytest.raises(SearchError, match="the answer is not a search result"):
        search_of(liar)
    assert len(liar.heads) == 1


def test_a_refusal_is_told_with_its_status() -> None:
    with pytest.raises(SearchError, match="HTTP 403") as caught:
        search_of(Liar(http(b"<html>", "403 Forbidden")))
    assert (caught.value.status, caught.value.retryable) == (403, False)
