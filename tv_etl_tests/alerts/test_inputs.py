"""What is asked of a real server, beside symbols that break, stop or delay whatever asks for them."""

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pytest

from tv_etl.alerts.inputs import AlertInputs, Ask, Quote, believe, delay_s, gather, is_empty, trade_time
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview.errors import ConnectionFailedError, SymbolError, TradingViewError
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl_tests.conftest import NOW
from tv_etl_tests.scripted_server import Answer, Line, bars, qsd, quote_completed, series_completed, symbol_resolved
from tv_etl_tests.test_canary import served

GOOD = list(islice(rule_symbols(), 30))


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as running:
        yield running


def ask(url: str, asks: Mapping[str, Ask], wanted: set[str] | None = None) -> AlertInputs:
    with LoopThread() as loop:
        wants = None if wanted is None else lambda *_: wanted
        return loop.run(gather(lambda limits: OHLCV(url, limits=limits), asks, wants))


def heard(inputs: AlertInputs) -> tuple[set[str], set[str]]:
    """The symbols whose quotes came, and those whose minutes did."""
    quotes = {symbol for symbol, quote in inputs.quotes.items() if isinstance(quote, QuoteSymbolData)}
    return quotes, {symbol for symbol, each in inputs.minutes.items() if isinstance(each, SeriesHistory) and each.rows}


def next_asks(asks: Mapping[str, Ask], inputs: AlertInputs) -> dict[str, Ask]:
    """What a tick asks after these: whoever failed is asked last, and alone."""
    after = dict(asks)
    for symbol, fault in inputs.faults.items():
        is_of_minutes = fault == "minutes"
        after[symbol] = Ask(quote_fault="" if is_of_minutes else fault, minutes_failed=is_of_minutes)
    return after


def test_quotes_are_asked_for_all_and_minutes_for_those_that_are_wanted(server: MarketServer) -> None:
    since = int(NOW.timestamp()) // 60 * 60 - 180
    asks = {"BINANCE:BTCUSDT": Ask(since), "BINANCE:ETHUSDT": Ask(), "NASDAQ:AAPL": Ask(), "NASDAQ:NOPE": Ask()}
    inputs = ask(server.url, asks, {"BINANCE:BTCUSDT", "BINANCE:ETHUSDT"})
    assert heard(inputs) == (
        {"BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "NASDAQ:AAPL"},
        {"BINANCE:BTCUSDT", "BINANCE:ETHUSDT"},
    )
    minutes = inputs.minutes["BINANCE:BTCUSDT"]
    assert isinstance(minutes, SeriesHistory)
    assert [row[0] for row in minutes.rows] == [since, since + 60, since + 120, since + 180]
    newest = inputs.minutes["BINANCE:ETHUSDT"]
    assert isinstance(newest, SeriesHistory) and len(newest.rows) == 12
    assert isinstance(inputs.quotes["NASDAQ:NOPE"], SymbolError)
    assert (inputs.faults, inputs.doubt) == ({}, "")
    assert abs(inputs.now - NOW.timestamp()) < 30


def test_a_symbol_that_breaks_the_connection_costs_its_neighbours_nothing(server: MarketServer) -> None:
    """It was always asked first, and starved the seven that shared its window."""
    asks = {symbol: Ask() for symbol in [*GOOD[:15], "FAULT:DROP", *GOOD[15:]]}
    for _ in range(2):
        inputs = ask(server.url, asks)
        assert heard(inputs) == ({*GOOD, "FAULT:DROP"}, set(GOOD))
        assert inputs.faults == {"FAULT:DROP": "minutes"}
        asks = next_asks(asks, inputs)


def test_a_symbol_that_failed_is_left_alone_until_its_turn(server: MarketServer) -> None:
    asks = {"NASDAQ:AAPL": Ask(), "FAULT:DROP": Ask(minutes_failed=True, is_due=False)}
    asks["NASDAQ:MSFT"] = Ask(quote_fault="late", is_due=False)
    inputs = ask(server.url, asks)
    assert set(inputs.quotes) == {"NASDAQ:AAPL", "FAULT:DROP"}
    assert set(inputs.minutes) == {"NASDAQ:AAPL", "NASDAQ:MSFT"}
    assert inputs.faults == {}


def test_a_symbol_without_minutes_is_asked_for_its_days(server: MarketServer) -> None:
    inputs = ask(server.url, {"FAULT:EMPTY": Ask(), "NASDAQ:AAPL": Ask()})
    assert heard(inputs)[1] == {"NASDAQ:AAPL"}
    assert is_empty(inputs.minutes["FAULT:EMPTY"])
    assert "FAULT:EMPTY 1d" in str(inputs.minutes["FAULT:EMPTY"])
    assert inputs.faults == {}


def breaking_at(symbol: str, method: str) -> Answer:
    """A server whose symbols stand at 10, and that hangs up where this one is asked for."""

    async def answer(line: Line, called: str, params: list[Any]) -> None:
        clock = {"t": int(time.time()), "t_ms": int(time.time() * 1000)}
        if called == method and any(symbol in str(each) for each in params):
            await line.hang_up()
        elif called == "quote_add_symbols":
            for name in params[1:]:
                await line.say(qsd(params[0], name, lp=10.0), {**quote_completed(params[0], name), **clock})
        elif called == "create_series":
            minute = int(time.time()) // 60 * 60
            found = bars(params[0], [minute - 60.0, 10.0, 11.0, 9.0, 10.0, 1.0], close=minute)
            await line.say(symbol_resolved(params[0]), found, series_completed(params[0]))

    return answer


def test_a_quote_that_breaks_the_connection_is_found_and_asked_alone() -> None:
    names = [f"X:S{number}" for number in range(7)]
    asks = {name: Ask() for name in [*names[:3], "X:BAD", *names[3:]]}
    with served(breaking_at("X:BAD", "quote_add_symbols")) as scripted:
        first = ask(scripted.url, asks, set())
        assert heard(first)[0] == set(names)
        assert first.faults == {"X:BAD": "broke"}
        again = ask(scripted.url, next_asks(asks, first), set())
        assert heard(again)[0] == set(names)
        assert again.faults == {"X:BAD": "broke"}


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:1"):
        ask("ws://127.0.0.1:1/", {"NASDAQ:AAPL": Ask()})


def test_a_symbol_that_cannot_be_asked_for_is_its_own_error(server: MarketServer) -> None:
    inputs = ask(server.url, {"NASDAQ:AAPL": Ask(), "NASDAQ:MSFT": Ask(since=10**15)})
    assert heard(inputs)[1] == {"NASDAQ:AAPL"}
    assert "unexpected" in str(inputs.minutes["NASDAQ:MSFT"])


# --- what an answer says


def quote(**fields: Any) -> Quote:
    return QuoteSymbolData.from_fields("X:A", {"lp": 10.0, **fields})


@pytest.mark.parametrize(
    ("value", "time_s"),
    [
        (90, 90.0),
        (90.5, 90.5),
        (0, 0.0),
        (-1, None),
        (True, None),
        ("90", None),
        (None, None),
        (1e12, None),
        (86_500, None),
    ],
)
def test_a_time_that_cannot_be_is_none(value: object, time_s: float | None) -> None:
    assert trade_time(quote(lp_time=value), 99.0) == time_s
    assert trade_time(quote(lp_time=86_499), 99.0) == 86_499


def test_a_quote_that_failed_has_neither_time_nor_delay() -> None:
    assert trade_time(TradingViewError("x"), 99.0) is trade_time(None, 99.0) is None
    assert delay_s(TradingViewError("x")) == delay_s(None) == 0.0


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("streaming", 0.0), ("delayed_streaming_900", 900.0), ("endofday", 0.0), (f"delayed_streaming_{9**99}", 86_400.0)],
)
def test_a_delay_is_a_day_at_most(mode: str, seconds: float) -> None:
    assert delay_s(quote(update_mode=mode)) == seconds


def test_a_clock_far_from_this_hosts_is_believed_if_trades_are_as_far() -> None:
    year = 365 * 86_400.0
    assert believe(2 * year + 60, 2 * year, []) == (2 * year + 60, "")
    assert believe(3 * year, 2 * year, [quote(lp_time=3 * year - 5)]) == (3 * year, "")
    host, doubt = believe(3 * year, 2 * year, [quote(lp_time=2 * year - 5)])
    assert host == 2 * year
    assert doubt == "the server's clock is 365 days ahead of this host's, which is used instead"
    assert "1,000,000 days behind" in believe(-1e12, 2 * year, [])[1]
