"""Scans of the synthetic market: the pure part here, over HTTP at the end."""

import json
from datetime import date, datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, get_args

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
from tv_etl.tradingview.scan_request import Operation, ScanFilter, ScanRequest
from tv_etl.tradingview.scanner import scan_body
from tv_etl_tests.market_server.talk import FRIDAY_NOON, StillClock
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.yardstick import cpu_ratio

WORLD = World(Market(7), StillClock(), lambda: 0.0)
LISTED = {symbol: listing for symbol in WORLD.market.listed_symbols() if (listing := find_listing(symbol)) is not None}
NAMED = listings()
FUNDS = {symbol for symbol, listing in LISTED.items() if listing.kind == "fund"}
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


def named(*columns: str) -> dict[str, list[Any]]:
    """The values of some columns of the named listings, by symbol."""
    return {row["s"]: row["d"] for row in ask(columns=list(columns), symbols={"tickers": list(NAMED)})["data"]}


def test_per_cent_are_of_another_column() -> None:
    prices = named("close", "low", "price_52_week_high", "price_52_week_low")
    assert filtered("close", "above%", ["low", 1.01]) == {
        symbol for symbol, (close, low, *_) in prices.items() if close > low * 1.01
    }
    assert filtered("close", "below%", ["price_52_week_high", 1.2]) == {
        symbol for symbol, (close, _, high, _) in prices.items() if close * 1.2 <= high
    }
    near = {symbol for symbol, (close, _, _, low) in prices.items() if 1.1 * low <= close <= 1.3 * low}
    assert filtered("close", "in_range%", ["price_52_week_low", 1.1, 1.3]) == near != set()
    assert filtered("close", "not_in_range%", ["price_52_week_low", 1.1, 1.3]) == set(prices) - near
    assert filtered("close", "in_range%", ["price_52_week_low", 1.1, None]) >= near
    assert filtered("market_cap_basic", "above%", ["low", 1.0]) <= filtered("market_cap_basic", "nempty")


def test_what_crosses_was_on_the_other_side_the_day_before() -> None:
    before, now = (
        {symbol: values for symbol, values in named(*columns).items() if None not in values}
        for columns in (("close[1]", "high[1]", "low[1]"), ("close", "high", "low"))
    )
    level = sorted(close for close, *_ in now.values())[len(now) // 2]
    up = {symbol for symbol, (close, *_) in now.items() if before[symbol][0] <= level < close}
    down = {symbol for symbol, (close, *_) in now.items() if before[symbol][0] >= level > close}
    assert filtered("close", "crosses_above", level) == up
    assert filtered("close", "crosses_below", level) == down
    assert filtered("close", "crosses", level) == up | down
    assert filtered("close", "crosses_above", "open") | filtered("close", "crosses_below", "open") == filtered(
        "close", "crosses", "open"
    )
    assert filtered("earnings_per_share_diluted_ttm", "crosses", 5.0) == set()
    assert filtered("close", "crosses_above", 0.0) == set()


def test_the_day_before_is_that_of_the_bars() -> None:
    source = WORLD.market.find("NASDAQ:AAPL")
    assert source is not None
    earlier = source.bars(Interval.parse("1D"), FRIDAY_NOON, count=3).rows[:-1, 4]
    assert named("close[2]", "close[1]", "RSI[1]", "RSI|60")["NASDAQ:AAPL"] == [*earlier, None, None]


def test_dates_are_counted_in_days_weeks_and_months_from_today() -> None:
    (day,) = named("dividend_ex_date_recent")["NYSE:DIVI"]
    assert datetime.fromtimestamp(day, timezone.utc).date() == date(2026, 11, 13)  # a Friday; today is the next one
    for operation, ranges in {
        "in_day_range": {(-7, -7): True, (-7, 0): True, (-6, 0): False, (-9, -8): False},
        "in_week_range": {(-1, -1): True, (0, 0): False},
        "in_month_range": {(0, 0): True, (-1, -1): False, (1, 12): False},
    }.items():
        for bounds, is_inside in ranges.items():
            found = filtered("dividend_ex_date_recent", operation, list(bounds))
            assert ("NYSE:DIVI" in found) is is_inside, (operation, bounds)
    assert filtered("dividend_ex_date_upcoming", "in_month_range", [3, 3]) == {"NYSE:DIVI"}
    stocks = {symbol for symbol, listing in NAMED.items() if listing.kind == "stock"}
    assert filtered("earnings_release_next_date", "in_day_range", [0, 91]) == stocks
    assert filtered("earnings_release_date", "in_day_range", [-91, 0]) == stocks


def test_every_operation_of_our_filters_is_taken() -> None:
    rights: dict[str, Any] = {
        **{name: [1, 2] for name in get_args(Operation) if name.endswith("_range")},
        **{name: ["low", 1.1, 1.2] for name in get_args(Operation) if name.endswith("%")},
    }
    for operation in get_args(Operation):
        left = "typespecs" if operation.startswith("has") else "name" if operation.endswith("match") else "close"
        request = ScanFilter(left=left, operation=operation, right=rights.get(operation, "low"))
        wanted = json.loads(scan_body(ScanRequest(market="america", filters=(request,), limit=5), 0, 5))
        assert ask("america", **wanted)["totalCount"] >= 0, operation


def test_texts_lists_and_flags_are_matched() -> None:
    korean, arca = {"KRX:005930"}, {symbol for symbol in NAMED if symbol.startswith("AMEX:")}
    assert filtered("exchange", "equal", "KRX") == korean
    assert filtered("exchange", "nequal", "KRX") == set(NAMED) - korean
    assert filtered("exchange", "in_range", ["AMEX", "KRX"]) == korean | arca
    assert filtered("description", "match", "apple") == filtered("description", "smatch", "APPLE") == {"NASDAQ:AAPL"}
    assert filtered("description", "nmatch", "APPLE") == set(NAMED) - {"NASDAQ:AAPL"}
    assert filtered("typespecs", "has", ["etf", "cfd"]) == {
        symbol for symbol, each in NAMED.items() if {"etf", "cfd"} & set(each.typespecs)
    }
    assert filtered("typespecs", "has_none_of", "etf") == set(NAMED) - FUNDS
    assert filtered("is_primary", "equal", True) == set(NAMED)
    assert filtered("active_symbol", "equal", False) == {"NASDAQ:GONE"}


def test_conditions_nest() -> None:
    def is_kind(kind: str) -> dict[str, Any]:
        return {"expression": {"left": "type", "operation": "equal", "right": kind}}

    american = {"left": "market", "operation": "equal", "right": "america"}
    either = {"operation": {"operator": "or", "operands": [is_kind("fund"), is_kind("forex")]}}
    tree = {"operator": "and", "operands": [{"expression": american}, either]}
    assert set(symbols(filter2=tree)) == FUNDS >= {"AMEX:SPY", "NASDAQ:QQQ"}
    assert symbols(filter2=tree, filter=[{"left": "name", "operation": "equal", "right": "X"}]) == []


def test_types_and_tickers_restrict() -> None:
    assert set(symbols("america", symbols={"query": {"types": ["fund"]}, "tickers": []})) == FUNDS
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
        ("america", {"filter": [{"left": "close", "operation": "less", "right": "TWAP"}]}, 'Unknown field "TWAP"'),
        ("america", {"filter": [{"left": "close", "operation": "like"}]}, 'Unknown operation "like"'),
        ("america", {"filter": [{"left": "name", "operation": "less", "right": 5}]}, 'Cannot compare "name" with 5'),
        ("america", {"filter": [{"left": "typespecs", "operation": "has", "right": [{}]}]}, "Cannot compare"),
        ("america", {"filter": [{"left": "close", "operation": "in_range", "right": 5}]}, "A range is a list"),
        ("america", {"filter": [{"left": "close", "operation": "above%", "right": 5}]}, "Per cent are asked for as"),
        ("america", {"filter": [{"left": "close", "operation": "above%", "right": ["x", 2]}]}, 'Unknown field "x"'),
        ("america", {"filter": [{"left": "close", "operation": "in_day_range", "right": [1]}]}, "two whole numbers"),
        ("america", {"filter": [{"left": "name", "operation": "in_day_range", "right": [1, 2]}]}, "Cannot compare"),
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


# What TradingView-Screener, tvkit, tradingview-ta and tradingview-scraper ask for when they are told nothing else,
# besides what the stock page does.
DEFAULT_COLUMNS = {
    "crypto": """ticker-view exchange.tr provider-id close type typespecs pricescale minmov fractional minmove2 currency
        24h_close_change|5 24h_vol|5 24h_vol_change|5 TechRating_1D TechRating_1D.tr market_cap_calc Recommend.All""",
    "coin": """ticker-view crypto_total_rank 24h_vol_cmc circulating_supply 24h_vol_to_market_cap socialdominance
        crypto_common_categories.tr fundamental_currency_code""",
    "bond": """ticker-view isin-displayed bond_issuer_type.tr bond_snp_rating_lt bond_fitch_rating_lt.tr close_pct
        close_net current_coupon maturity_date redemption_type.tr yield_to_worst source-logoid exchange.tr""",
    "options": """name ask bid currency delta expiration gamma iv ask_iv bid_iv option-type pricescale rho root strike
        theoPrice theta vega""",
    "america": """RSI[1] Stoch.K[1] Stoch.D[1] CCI20[1] ADX+DI[1] ADX-DI[1] AO[1] AO[2] Mom[1] Rec.Stoch.RSI Stoch.RSI.K
        W.R BBPower UO EMA5 SMA200 Ichimoku.BLine VWMA HullMA9 Pivot.M.Classic.S3 Pivot.M.Demark.R1 P.SAR BB.lower
        RSI|60 EMA200|1W AO[2]|240 earnings_per_share_basic_ttm price_52_week_high price_52_week_low Perf.YTD
        Volatility.W enterprise_value_ebitda_ttm subtype ATR shares_float beta_1_year""",
}


@pytest.mark.parametrize("market", sorted(DEFAULT_COLUMNS))
def test_what_other_clients_ask_for_by_default_is_answered(market: str) -> None:
    columns = DEFAULT_COLUMNS[market].split()
    answer = ask(market, columns=columns, range=[0, 3], symbols={}, markets=[market], ignore_unknown_fields=False)
    assert [len(row["d"]) for row in answer["data"]] == [len(columns)] * min(3, answer["totalCount"])


def test_an_option_and_a_contract_say_what_they_are() -> None:
    columns = ["root", "strike", "option-type", "expiration", "fractional", "minmove2"]
    tickers = {"tickers": ["OPRA:AAPL261218C310.0", "CBOT:ZNZ2026"]}
    found = {row["s"]: row["d"] for row in ask(columns=columns, symbols=tickers)["data"]}
    assert found == {
        "OPRA:AAPL261218C310.0": ["AAPL", 310.0, "call", 20261218, "false", 0],
        "CBOT:ZNZ2026": ["ZN", None, None, 20261221, "true", 2],
    }


def test_the_preset_of_the_stock_page_is_understood() -> None:
    page = ask("america", **STOCK_PAGE, preset="all_stocks", symbols={})
    capitals = [row["d"][STOCK_PAGE["columns"].index("market_cap_basic")] for row in page["data"]]
    assert len(capitals) == 50 and capitals == sorted(capitals, reverse=True)
    kinds = {row["d"][STOCK_PAGE["columns"].index("type")] for row in page["data"]}
    assert kinds == {"stock"}
    assert page["totalCount"] == len(AMERICANS - FUNDS)


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
