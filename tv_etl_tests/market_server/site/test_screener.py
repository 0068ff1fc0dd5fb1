"""Scans of the synthetic market: the pure part here, over HTTP at the end."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tv_etl.market_server.market.listings import find_listing, listings
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayMarket
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.market_server.sessions.quote_fields import moving_values, newest_rows
from tv_etl.market_server.sessions.world import World
from tv_etl.market_server.site.screener import ScanRefused, scan
from tv_etl.market_server.site.screener_columns import MARKETS, market_of
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON, StillClock
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.yardstick import cpu_ratio

WORLD = World(Market(7), StillClock(), lambda: 0.0)
LISTED = {symbol: listing for symbol in WORLD.market.listed_symbols() if (listing := find_listing(symbol)) is not None}
NAMED = listings()
AMERICANS = {symbol for symbol, listing in LISTED.items() if market_of(listing) == "america"}


def ask(market: str = "global", **wanted: Any) -> dict[str, Any]:
    return scan(WORLD, market, json.dumps(wanted).encode())


def symbols(market: str = "global", **wanted: Any) -> list[str]:
    return [row["s"] for row in ask(market, **wanted)["data"]]


def filtered(left: str, operation: str, right: Any = None) -> set[str]:
    """Those of the named listings that pass."""
    condition = {"left": left, "operation": operation, "right": right}
    return set(symbols(filter=[condition], symbols={"tickers": list(NAMED)}))


def test_an_empty_scan_finds_everything() -> None:
    assert symbols() == list(LISTED)
    assert scan(WORLD, "global", b"")["totalCount"] == len(LISTED)


def test_every_listing_is_in_a_market_of_its_own_and_in_the_global_one() -> None:
    found = [symbol for market in sorted(MARKETS) for symbol in symbols(market)]
    assert sorted(found) == sorted(LISTED)
    assert set(symbols("america")) == AMERICANS
    assert set(symbols(markets=["america"])) == AMERICANS
    assert symbols("crypto", markets=["america"]) == []


def test_columns_are_those_of_the_quote_now() -> None:
    source = WORLD.market.find("NASDAQ:AAPL")
    assert source is not None
    quote = moving_values(source, newest_rows(WORLD.market, [source], FRIDAY_NOON)[0], FRIDAY_NOON)
    columns = ["close", "name", "change", "volume", "type", "exchange", "currency", "description"]
    (row,) = ask(columns=columns, symbols={"tickers": ["NASDAQ:AAPL"]})["data"]
    values = [quote["lp"], "AAPL", quote["chp"], quote["volume"], "stock", "NASDAQ", "USD", "Apple Inc."]
    assert row == {"s": "NASDAQ:AAPL", "d": values}


def test_no_volume_is_null_not_zero() -> None:
    (row,) = ask(columns=["volume"], symbols={"tickers": ["NASDAQ:NDX"]})["data"]
    assert row["d"] == [None]
    assert filtered("volume", "empty") == {s for s, each in NAMED.items() if each.daily_volume is None}
    assert filtered("volume", "nempty") == set(NAMED) - filtered("volume", "empty")


def test_numbers_are_compared_with_numbers_and_columns() -> None:
    closes = {row["s"]: row["d"][0] for row in ask(columns=["close"], symbols={"tickers": list(NAMED)})["data"]}
    at = closes["NASDAQ:AAPL"]
    assert filtered("close", "greater", at) == {s for s, close in closes.items() if close > at}
    assert filtered("close", "egreater", at) == {s for s, close in closes.items() if close >= at}
    assert filtered("close", "less", at) | filtered("close", "egreater", at) == set(closes)
    assert filtered("close", "eless", at) - filtered("close", "less", at) == filtered("close", "equal", at)
    assert filtered("close", "in_range", [1.0, at]) == {s for s, close in closes.items() if 1.0 <= close <= at}
    assert filtered("close", "not_in_range", [1.0, at]) == set(closes) - filtered("close", "in_range", [1.0, at])
    assert filtered("close", "egreater", "low") == set(closes)
    assert filtered("close", "in_range", ["low", "high"]) == set(closes)
    assert filtered("close", "greater", "high") == set()


def test_texts_lists_and_flags_are_matched() -> None:
    korean, fund = {"KRX:005930"}, {"AMEX:SPY", "AMEX:THIN"}
    assert filtered("exchange", "equal", "KRX") == korean
    assert filtered("exchange", "nequal", "KRX") == set(NAMED) - korean
    assert filtered("exchange", "in_range", ["AMEX", "KRX"]) == korean | fund
    assert filtered("description", "match", "apple") == {"NASDAQ:AAPL"}
    assert filtered("description", "nmatch", "APPLE") == set(NAMED) - {"NASDAQ:AAPL"}
    assert filtered("typespecs", "has", ["etf", "cfd"]) == {
        symbol for symbol, each in NAMED.items() if {"etf", "cfd"} & set(each.typespecs)
    }
    assert filtered("typespecs", "has_none_of", "etf") == set(NAMED) - fund
    assert filtered("is_primary", "equal", True) == set(NAMED)
    assert filtered("active_symbol", "equal", False) == {"NASDAQ:GONE"}


def test_conditions_nest() -> None:
    def is_kind(kind: str) -> dict[str, Any]:
        return {"expression": {"left": "type", "operation": "equal", "right": kind}}

    american = {"left": "market", "operation": "equal", "right": "america"}
    either = {"operation": {"operator": "or", "operands": [is_kind("fund"), is_kind("forex")]}}
    tree = {"operator": "and", "operands": [{"expression": american}, either]}
    assert symbols(filter2=tree) == ["AMEX:SPY", "AMEX:THIN"]
    assert symbols(filter2=tree, filter=[{"left": "name", "operation": "equal", "right": "X"}]) == []


def test_types_and_tickers_restrict() -> None:
    assert symbols("america", symbols={"query": {"types": ["fund"]}, "tickers": []}) == ["AMEX:SPY", "AMEX:THIN"]
    assert symbols(symbols={"tickers": ["NYSE:JNJ", "NYSE:NOPE"]}) == ["NYSE:JNJ"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_sorting_puts_what_is_unknown_at_one_end(order: str, nulls_first: bool) -> None:
    sort = {"sortBy": "volume", "sortOrder": order, "nullsFirst": nulls_first}
    volumes = [row["d"][0] for row in ask(columns=["volume"], sort=sort)["data"]]
    known = [volume for volume in volumes if volume is not None]
    assert known == sorted(known, reverse=order == "desc")
    nulls = [None] * (len(volumes) - len(known))
    assert volumes == (nulls + known if nulls_first else known + nulls)


def test_pages_together_are_the_whole() -> None:
    sort = {"sortBy": "name", "sortOrder": "asc"}
    pages = [ask(sort=sort, range=[start, start + 1_000]) for start in range(0, 8_000, 1_000)]
    assert {page["totalCount"] for page in pages} == {len(LISTED)}
    assert [row["s"] for page in pages for row in page["data"]] == symbols(sort=sort)
    assert pages[-1]["data"] == []


@pytest.mark.parametrize(
    ("market", "wanted", "words"),
    [
        ("moon", {}, 'Unknown market "moon"'),
        ("global", {"markets": ["moon"]}, 'Unknown market "moon"'),
        ("america", {"columns": ["change.5"]}, 'Unknown field "change.5"'),
        ("america", {"filter": [{"left": "x", "operation": "empty"}]}, 'Unknown field "x"'),
        ("america", {"filter": [{"left": "close", "operation": "less", "right": "VWAP"}]}, 'Unknown field "VWAP"'),
        ("america", {"filter": [{"left": "close", "operation": "like"}]}, 'Unknown operation "like"'),
        ("america", {"filter": [{"left": "name", "operation": "less", "right": 5}]}, 'Cannot compare "name" with 5'),
        ("america", {"filter": [{"left": "typespecs", "operation": "has", "right": [{}]}]}, "Cannot compare"),
        ("america", {"filter": [{"left": "close", "operation": "in_range", "right": 5}]}, "A range is a list"),
        ("america", {"sort": {"sortBy": "x"}}, 'Unknown field "x"'),
        ("america", {"sort": {"sortBy": "name", "sortOrder": "up"}}, "up"),
        ("america", {"range": [5, 1]}, r"Wrong range \[5, 1\]"),
        ("america", {"preset": "gainers"}, "preset"),
        ("america", {"columns": "name"}, "columns"),
    ],
)
def test_what_there_is_not_is_refused_by_name(market: str, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ScanRefused, match=words):
        ask(market, **wanted)


# What two public clients and the site's own screener page send.
STOCK_PAGE: dict[str, Any] = {
    "columns": [
        "name", "description", "logoid", "update_mode", "type", "typespecs", "close", "pricescale", "minmov",
        "fractional", "minmove2", "currency", "change", "volume", "relative_volume_10d_calc", "market_cap_basic",
        "fundamental_currency_code", "price_earnings_ttm", "earnings_per_share_diluted_ttm",
        "earnings_per_share_diluted_yoy_growth_ttm", "dividends_yield_current", "sector.tr", "market", "sector",
        "AnalystRating", "AnalystRating.tr", "recommendation_mark", "exchange", "Perf.W", "Perf.Y",
    ],
    "ignore_unknown_fields": False,
    "options": {"lang": "en"},
    "sort": {"sortBy": "market_cap_basic", "sortOrder": "desc"},
    "range": [0, 50],
}  # fmt: skip


def test_the_preset_of_the_stock_page_is_understood() -> None:
    page = ask("america", **STOCK_PAGE, preset="all_stocks", symbols={})
    capitals = [row["d"][STOCK_PAGE["columns"].index("market_cap_basic")] for row in page["data"]]
    assert len(capitals) == 50 and capitals == sorted(capitals, reverse=True)
    kinds = {row["d"][STOCK_PAGE["columns"].index("type")] for row in page["data"]}
    assert kinds == {"stock"}
    assert page["totalCount"] == len(AMERICANS) - len({"AMEX:SPY", "AMEX:THIN"})


def test_what_the_books_would_say_fits_together() -> None:
    names = ["close", "earnings_per_share_diluted_ttm", "price_earnings_ttm", "market_cap_basic"]
    for close, earnings, ratio, capital in (row["d"] for row in ask("uk", columns=names)["data"]):
        assert abs(ratio * earnings - close) < 0.01 * close and capital > close
    (coin,) = ask(columns=names, symbols={"tickers": ["BITSTAMP:BTCUSD"]})["data"]
    assert coin["d"][1:] == [None] * 3


@pytest.mark.parametrize(("column", "days"), [("Perf.W", 5), ("Perf.Y", 252)])
@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "NASDAQ:SPLT", "NYSE:JAAA", "AMEX:THIN"])
def test_performance_is_that_of_the_daily_bars(symbol: str, column: str, days: int) -> None:
    source = WORLD.find(symbol)
    assert source is not None
    closes = source.bars(Interval.parse("1D"), FRIDAY_NOON, count=days + 1).rows[:, 4]
    (row,) = ask(columns=[column], symbols={"tickers": [symbol]})["data"]
    assert row["d"] == [pytest.approx(100 * (closes[-1] / closes[0] - 1), abs=1e-6)]


@pytest.mark.parametrize("body", [{}, STOCK_PAGE])
def test_a_scan_of_thousands_takes_a_fraction_of_a_second(body: dict[str, Any]) -> None:
    def scan_all() -> None:
        assert ask(**body)["totalCount"] > 5_000

    assert cpu_ratio(scan_all) < 250


@pytest.mark.parametrize("more", [{}, {"ignore_unknown_fields": True}])
def test_too_many_fields_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ScanRefused, match="20,000 fields, more than 1,000"):
        ask(columns=["close"] * 20_000, **more)


def test_a_body_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ScanRefused):
        scan(WORLD, "america", b'{"filter2":' + b'{"operator":"and","operands":[{"operation":' * 20_000)


def test_unknown_columns_may_be_ignored() -> None:
    (row,) = ask(columns=["Moon", "name"], symbols={"tickers": ["NYSE:JNJ"]}, ignore_unknown_fields=True)["data"]
    assert row["d"] == [None, "JNJ"]


def test_replayed_symbols_are_found_too(tmp_path: Path) -> None:
    text = "timestamp,open,high,low,close,volume\n1795000000,1,2,1,2,5\n1795100000,2,3,2,3,6\n"
    (tmp_path / "KRAKEN_XRPETH_5.csv").write_text(text)
    (tmp_path / "NASDAQ_AAPL_1D.csv").write_text(text)
    world = World(ReplayMarket(tmp_path, Market(7)), StillClock(), lambda: 0.0)
    found = scan(world, "global", b'{"columns": ["close", "volume"]}')
    rows = {row["s"]: row["d"] for row in found["data"]}
    assert found["totalCount"] == len(rows) == len(LISTED) + 1
    assert rows["KRAKEN:XRPETH"] == rows["NASDAQ:AAPL"] == [3.0, 6.0]


def test_a_server_answers_scans_beside_the_websocket() -> None:
    with serve_in_thread(Market(7), ServerOptions(clock=StillClock())) as server:
        connection = HTTPConnection(server.http_url.removeprefix("http://"), timeout=HANG_S)
        connection.request("POST", "/america/scan", b'{"columns": ["name"]}')
        found = json.loads(connection.getresponse().read())
        connection.request("POST", "/america/scan", b'{"columns": ["change.5"]}')
        refusal = connection.getresponse()
        words = refusal.read()
        connection.close()
    assert {row["s"] for row in found["data"]} == AMERICANS
    assert (refusal.status, refusal.getheader("Content-Type")) == (400, "application/json")
    # Word for word what TradingView says (shner-elmo/TradingView-Screener, issue 20).
    assert words == b'{"totalCount":0,"error":"Unknown field \\"change.5\\"","data":null}'
