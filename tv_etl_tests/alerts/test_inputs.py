"""What is asked of a real server, beside symbols that break, stop or delay whatever asks for them."""

import re
import time
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

import pytest

from tv_etl.alerts.inputs import QUOTE_CHUNK, AlertInputs, Ask, Quote, Wants, believe, delay_s, gather, trade_time
from tv_etl.alerts.passes import is_empty
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview.errors import ConnectionFailedError, SymbolError, TradingViewError
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl_tests import own_clock
from tv_etl_tests.conftest import NOW
from tv_etl_tests.scripted_server import (
    Answer,
    Line,
    bars,
    qsd,
    quote_completed,
    scripted_server,
    series_completed,
    symbol_resolved,
)
from tv_etl_tests.test_canary import served

GOOD = list(islice(rule_symbols(), 30))


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as running:
        yield running


def ask(url: str, asks: Mapping[str, Ask], wanted: set[str] | None = None) -> AlertInputs:
    with LoopThread() as loop:
        wants = None if wanted is None else lambda *_: wanted
        return AlertInputs.joined(loop.iterate(gather(lambda limits: OHLCV(url, limits=limits), asks, wants)))


async def collect(url: str, asks: Mapping[str, Ask], wants: Wants | None = None) -> AlertInputs:
    rounds = [each async for each in gather(lambda limits: OHLCV(url, limits=limits), asks, wants)]
    return AlertInputs.joined(rounds)


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


ADD = "quote_add_symbols"
MINUTE = int(time.time()) // 60 * 60


def no_minutes(*_: object) -> set[str]:
    return set()


def quoting(
    silent: Collection[str] = (),
    mute: Collection[str] = (),
    *,
    breaks: str = "",
    at: str = "create_series",
    rate: int = 0,
) -> Answer:
    """A server whose symbols stand at 10.

    Some are never answered, of some no minutes are; where one is asked for by the method `at`, it hangs up; with a
    `rate`, it takes so many chart sessions in a second of a connection.
    """
    clock = {"t": int(time.time()), "t_ms": int(time.time() * 1000)}
    symbols: dict[str, str] = {}
    taken: dict[Line, list[float]] = {}

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol":
            symbols[params[0]] = str(params[2])
        asked = str(params) if method == ADD else symbols.get(params[0], "") if method == "create_series" else ""
        if breaks and method == at and f"{breaks}'" in asked.replace('"', "'"):
            await line.hang_up()
        elif method == ADD:
            for name in (each for each in params[1:] if each not in silent):
                await line.say(qsd(params[0], name, lp=10.0), {**quote_completed(params[0], name), **clock})
        elif method == "create_series" and not any(f"{each}'" in asked.replace('"', "'") for each in (*silent, *mute)):
            recent = [each for each in taken.get(line, []) if own_clock.now() - each < 1.0] if rate else []
            if rate and len(recent) >= rate:
                await line.say({"m": "critical_error", "p": [params[0], "max sessions rate reached", ""]})
                return
            taken[line] = [*recent, own_clock.now()]
            rows = [[MINUTE - 60.0 * ago, 10.0, 11.0, 9.0, 10.0, 1.0] for ago in range(12, 0, -1)]
            answers = symbol_resolved(params[0]), bars(params[0], *rows, close=MINUTE), series_completed(params[0])
            await line.say(*({**each, **clock} for each in answers))

    return answer


def symbols_of(line: Line) -> dict[str, list[str]]:
    """Which symbols were asked for over a connection, by method."""
    asked: dict[str, set[str]] = {}
    for message in line.received:
        if message["m"] in (ADD, "resolve_symbol"):
            found = set(re.findall(r"X:\w+", str(message["p"])))
            asked.setdefault(message["m"], set()).update(found)
    return {method: sorted(names) for method, names in asked.items()}


def test_a_quote_that_breaks_the_connection_is_found_and_asked_alone() -> None:
    names = [f"X:S{number}" for number in range(7)]
    asks = {name: Ask() for name in [*names[:3], "X:BAD", *names[3:]]}
    with served(quoting(breaks="X:BAD", at=ADD)) as scripted:
        first = ask(scripted.url, asks, set())
        assert heard(first)[0] == set(names)
        assert first.faults == {"X:BAD": "broke"}
        again = ask(scripted.url, next_asks(asks, first), set())
        assert heard(again)[0] == set(names)
        assert again.faults == {"X:BAD": "broke"}


def test_what_failed_before_has_a_connection_of_its_own() -> None:
    asks = {"X:A": Ask(), "X:LATE": Ask(quote_fault="late"), "X:BAD": Ask(quote_fault="broke", minutes_failed=True)}
    with served(quoting()) as scripted:
        inputs = ask(scripted.url, asks)
        assert heard(inputs) == (set(asks), set(asks))
        of_lines = [symbols_of(line) for line in scripted.lines]
    assert sorted(filter(None, of_lines), key=str) == [
        {"quote_add_symbols": ["X:A"]},
        {"quote_add_symbols": ["X:BAD"]},
        {"quote_add_symbols": ["X:LATE"]},
        {"resolve_symbol": ["X:A"]},
        {"resolve_symbol": ["X:BAD"]},
        {"resolve_symbol": ["X:LATE"]},
    ]


def test_whoever_recovers_has_a_turn_although_many_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that have had their turn are left alone for longer."""
    monkeypatch.setattr("tv_etl.alerts.inputs.FAILED_BEFORE_S", 0.2)
    silent = [f"X:S{number}" for number in range(16)]

    async def main() -> list[set[str]]:
        asks = dict.fromkeys([*silent, "X:WELL"], Ask(minutes_failed=True))
        turns: list[set[str]] = []
        async with scripted_server(quoting(mute=silent)) as server:
            while not turns or "X:WELL" not in turns[-1]:
                inputs = await collect(server.url, asks)
                turns.append(set(inputs.minutes))
                asks |= {name: Ask(minutes_failed=True, is_due=False) for name in inputs.faults}
        assert isinstance(inputs.minutes["X:WELL"], SeriesHistory) and "X:WELL" not in inputs.faults
        return turns

    assert own_clock.run(main()) == [set(silent[:8]), set(silent[8:]), {"X:WELL"}]


def test_bars_of_another_interval_that_break_the_connection_are_found_and_asked_alone() -> None:
    names = [f"X:S{number}" for number in range(7)]

    def hours(quotes: Mapping[str, Quote | None], now: float) -> dict[tuple[str, str], HistoryRequest]:
        return {(name, "1h"): HistoryRequest(name, "1h", bars_count=5) for name in quotes}

    async def main(asks: Mapping[str, Ask]) -> AlertInputs:
        async with scripted_server(quoting(breaks="X:BAD")) as server:
            rounds = gather(lambda limits: OHLCV(server.url, limits=limits), asks, no_minutes, hours)
            return AlertInputs.joined([each async for each in rounds])

    asks = dict.fromkeys([*names[:3], "X:BAD", *names[3:]], Ask())
    for _ in range(2):
        inputs = own_clock.run(main(asks))
        assert {symbol for (symbol, _), each in inputs.series.items() if isinstance(each, SeriesHistory)} == set(names)
        assert inputs.faults == {"X:BAD": "minutes"}
        asks = next_asks(asks, inputs)
    resting = asks | {"X:BAD": Ask(minutes_failed=True, is_due=False)}
    assert own_clock.run(main(resting)).faults == {}


def test_quotes_are_asked_for_a_hundred_at_a_time() -> None:
    names = [f"X:S{number}" for number in range(QUOTE_CHUNK + 20)]
    with served(quoting()) as scripted:
        assert heard(ask(scripted.url, dict.fromkeys(names, Ask()), set()))[0] == set(names)
        sizes = [len(each["p"]) - 1 for line in scripted.lines for each in line.received if each["m"] == ADD]
    assert sorted(sizes) == [20, QUOTE_CHUNK]


def test_a_server_that_is_slow_altogether_is_no_fault_of_a_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tv_etl.alerts.inputs.QUOTE_LIMIT_S", 0.3)

    async def main(count: int, silent: int) -> AlertInputs:
        names = [f"X:S{number}" for number in range(count)]
        async with scripted_server(quoting(names[:silent])) as server:
            return await collect(server.url, dict.fromkeys(names, Ask()), no_minutes)

    assert own_clock.run(main(20, 5)).faults == {f"X:S{number}": "late" for number in range(5)}
    assert own_clock.run(main(20, 6)).faults == {}
    assert len(own_clock.run(main(80, 8)).faults) == 8
    assert own_clock.run(main(80, 9)).faults == {}


def test_at_ten_sessions_a_second_the_tick_keeps_to_its_time_and_comes_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most symbols were refused in each tick, and took the blame for it."""
    monkeypatch.setattr("tv_etl.alerts.inputs.INPUT_LIMIT_S", 1.5)
    names = [f"X:S{number}" for number in range(30)]

    async def main() -> list[set[str]]:
        rounds, asks = list[set[str]](), dict.fromkeys(names, Ask())
        async with scripted_server(quoting(rate=10)) as server:
            while not rounds or set[str]().union(*rounds) != set(names):
                began = own_clock.now()
                inputs = await collect(server.url, asks)
                assert own_clock.now() - began < 2.0
                assert inputs.faults == {}
                rounds.append(heard(inputs)[1])
                asks |= {name: Ask(since=MINUTE) for name in rounds[-1]}
        return rounds

    rounds = own_clock.run(main())
    assert all(len(each) >= 8 for each in rounds[:-1])
    assert sum(map(len, rounds[:-1])) <= len(names), "who has not been asked comes first"


def test_a_symbol_that_breaks_connections_is_found_although_there_is_no_time_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be asked first, with the others, again and again."""
    monkeypatch.setattr("tv_etl.alerts.inputs.INPUT_LIMIT_S", 1.5)
    names = [f"X:S{number}" for number in range(30)]

    async def main() -> AlertInputs:
        async with scripted_server(quoting(breaks="X:S3", rate=10)) as server:
            return await collect(server.url, dict.fromkeys(names, Ask()))

    assert own_clock.run(main()).faults == {"X:S3": "minutes"}


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
    for day in (86_400.0, -86_400.0):
        assert believe(2 * year + day, 2 * year, []) == (2 * year + day, "")
        assert believe(2 * year + day * 1.001, 2 * year, [])[0] == 2 * year
    assert believe(4 * year, 2 * year, [quote(lp_time=3 * year)])[0] == 2 * year  # as far from the one as the other
    host, doubt = believe(3 * year, 2 * year, [quote(lp_time=2 * year - 5)])
    assert host == 2 * year
    assert doubt == "the server's clock is 365 days ahead of this host's, which is used instead"
    assert "1,000,000 days behind" in believe(-1e12, 2 * year, [])[1]
