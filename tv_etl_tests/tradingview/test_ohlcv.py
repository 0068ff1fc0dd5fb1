"""The documented client against a scripted server."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tv_etl.tradingview import closed_bars, inbox
from tv_etl.tradingview.damage import DamageWarning
from tv_etl.tradingview.errors import (
    DamagedAnswerError,
    EntitlementError,
    NoBarsError,
    PaceError,
    SeriesError,
    StaleStreamError,
    SymbolError,
)
from tv_etl.tradingview.messages import OHLCVResponse
from tv_etl.tradingview.models import (
    ANSWER_LIMIT_S,
    HistoryRequest,
    OHLCVBar,
    QuoteSymbolData,
    SeriesHistory,
    StreamGap,
)
from tv_etl.tradingview.ohlcv import OHLCV, validate_symbols
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.services import DEFAULT_WS_URL, Limits
from tv_etl.tradingview.stream import SlowConsumerWarning
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import (
    NOW,
    NOW_MS,
    Answer,
    Line,
    Script,
    bars,
    qsd,
    quote_completed,
    scripted_server,
    series_completed,
    symbol_resolved,
)

QUICK = Limits(open_s=3.0, silence_s=3.0, progress_s=0.8, retry_s=0.5, reconnect_s=5.0)
MINUTES = [[float(NOW // 60 * 60 - 60 * ago), 1.0, 2.0, 0.5, 1.5, 10.25] for ago in (4, 3, 2, 1, 0)]
NEWEST = MINUTES[-1][0]


@asynccontextmanager
async def client_of(answer: Answer) -> AsyncIterator[tuple[OHLCV, Script]]:
    async with scripted_server(answer) as server, OHLCV(server.url, limits=QUICK, timeout_s=1.0) as client:
        yield client, server


def run(answer: Answer, test: Callable[[OHLCV, Script], Awaitable[None]]) -> None:
    async def main() -> None:
        async with client_of(answer) as (client, server):
            await test(client, server)

    own_clock.run(main())


async def live(line: Line, method: str, params: list[Any]) -> None:
    """Five bars, though fewer were asked for, then the last one again, then a new one, then an old one late."""
    if method == "create_series":
        session = params[0]
        await line.say(symbol_resolved(session), bars(session, *MINUTES, close=NOW + 60), series_completed(session))
        await line.say(bars(session, [NEWEST, 1.0, 3.0, 0.5, 2.5, 11.0], first=4, method="du"))
        opened = bars(session, [NEWEST + 60, 2.5, 2.5, 2.5, 2.5, 0.5], first=5)
        await line.say({**opened, "t": NOW + 60, "t_ms": NOW_MS + 60_000})
        await line.say(bars(session, [NEWEST - 60, 9.0, 9.0, 9.0, 9.0, 9.0], first=3, method="du"))
        await line.say(bars(session, [NEWEST + 60, 2.5, 2.6, 2.5, 2.6, 0.75], first=5, method="du"))


async def quotes(line: Line, method: str, params: list[Any]) -> None:
    if method == "quote_add_symbols":
        session, *symbols = params
        for symbol in symbols:
            if "BAD" in symbol:
                await line.say(qsd(session, symbol, "error", "no_such_symbol"), quote_completed(session, symbol))
                continue
            await line.say(qsd(session, symbol, description=symbol), qsd(session, symbol, lp=100.0, volume=1e100))
            await line.say(qsd(session, symbol, ch=-1.5, chp=-1.48), quote_completed(session, symbol))
            await line.say(qsd(session, symbol, lp=101.0))


def test_history_is_sorted_and_typed() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        got = await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 3)
        assert [bar.timestamp for bar in got] == [int(row[0]) for row in MINUTES[-3:]]
        assert got[0].volume == 10.25

    run(live, test)


def test_a_range_is_cut_on_our_side() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        start, end = (datetime.fromtimestamp(row[0], tz=timezone.utc) for row in (MINUTES[1], MINUTES[3]))
        got = await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1m", start=start, end=end)
        assert [bar.timestamp for bar in got] == [int(row[0]) for row in MINUTES[1:3]]

    run(live, test)


def test_live_bars_follow_history_and_forming_bars_come_again() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        got = []
        async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=2):
            got.append((bar.timestamp - int(NEWEST), bar.close))
            if len(got) == 6:
                break
        assert got == [(-60, 1.5), (0, 1.5), (0, 2.5), (60, 2.5), (-60, 9.0), (60, 2.6)]

    run(live, test)


def test_leaving_a_stream_closes_its_session_on_the_server() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        stream = client.get_ohlcv("BINANCE:BTCUSDT", "1")
        await stream.__anext__()
        await stream.aclose()
        await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 2)
        assert "chart_delete_session" in server.methods()
        assert len(server.lines) == 1

    run(live, test)


def test_a_stream_goes_on_after_a_lost_connection_without_repeating_old_bars() -> None:
    async def drop_once(line: Line, method: str, params: list[Any]) -> None:
        if method != "create_series":
            return
        session = params[0]
        later = [*MINUTES[2:], [NEWEST + 60, 1.5, 1.5, 1.5, 1.5, 1.0]]
        is_first = len(line.server.lines) == 1
        await line.say(bars(session, *(MINUTES if is_first else later), close=NOW + 60), series_completed(session))
        if is_first:
            await line.hang_up()

    async def test(client: OHLCV, server: Script) -> None:
        got = []
        async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=5):
            got.append(bar.timestamp - int(NEWEST))
            if got[-1] == 60:
                break
        assert got == [-240, -180, -120, -60, 0, 60]

    run(drop_once, test)


def test_what_a_stream_missed_is_fetched_and_what_is_out_of_reach_is_told() -> None:
    asked: list[int] = []

    async def come_back_late(line: Line, method: str, params: list[Any]) -> None:
        if method != "create_series":
            return
        session, asked_for = params[0], params[5]
        asked.append(asked_for)
        if len(line.server.lines) == 1:
            await line.say(bars(session, *MINUTES, close=NOW + 60), series_completed(session))
            await line.hang_up()
        else:
            later = [[NEWEST + 60 * minute, 1.0, 1.0, 1.0, 1.0, 1.0] for minute in (7, 8)]
            await line.say(bars(session, *later, close=NOW + 600), series_completed(session))

    async def main() -> list[StreamGap]:
        gaps: list[StreamGap] = []
        async with (
            scripted_server(come_back_late) as server,
            OHLCV(server.url, limits=QUICK, on_gap=gaps.append) as client,
        ):
            async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=5):
                if bar.timestamp == NEWEST + 480:
                    return gaps
        return gaps

    assert own_clock.run(main()) == [StreamGap("BINANCE:BTCUSDT", "1m", NEWEST, NEWEST + 420)]
    assert asked[0] == 5
    assert asked[1] >= 5


def final(minute: int, close: float = 1.0) -> list[float]:
    return [NEWEST + 60 * minute, 1.0, 2.0, 0.5, close, 1.0]


@pytest.mark.parametrize("older", ["served", "silent", "unsupported"])
def test_a_reconnect_asks_on_until_it_joins_what_was_seen(older: str) -> None:
    """The server's clock is a guess: what is asked for first does not reach back."""

    async def come_back_late(line: Line, method: str, params: list[Any]) -> None:
        session, is_first = params[0], len(line.server.lines) == 1
        if method == "create_series" and is_first:
            await line.say(symbol_resolved(session), bars(session, *MINUTES, close=NOW + 60))
            await line.say(series_completed(session))
            await line.hang_up()
        elif method == "create_series":
            later = [final(minute) for minute in (7, 8)]
            await line.say(symbol_resolved(session), bars(session, *later, close=NOW + 600), series_completed(session))
        elif method == "request_more_data" and older == "served":
            asked = sum(message["m"] == method for message in line.received)
            page = [final(minute) for minute in ((4, 5, 6) if asked == 1 else (0, 1, 2, 3))]
            await line.say(bars(session, *page, first=-3 * asked, close=NOW + 600), series_completed(session))
        elif method == "request_more_data" and older == "unsupported":
            await line.say({"m": "critical_error", "p": [session, "unsupported method", "request_more_data"]})

    async def main() -> tuple[list[tuple[int, float]], list[StreamGap]]:
        gaps: list[StreamGap] = []
        got = []
        async with (
            scripted_server(come_back_late) as server,
            OHLCV(server.url, limits=QUICK, on_gap=gaps.append) as client,
        ):
            async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=1):
                got.append((round((bar.timestamp - NEWEST) / 60), bar.close))
                if got[-1][0] == 8:
                    break
        return got, gaps

    got, gaps = own_clock.run(main())
    if older == "served":
        assert got == [(0, 1.5), *((minute, 1.0) for minute in range(9))], "the forming one again, with its last values"
        assert gaps == []
    else:
        assert got == [(0, 1.5), (7, 1.0), (8, 1.0)]
        assert gaps == [StreamGap("BINANCE:BTCUSDT", "1m", NEWEST, NEWEST + 420)]


async def silent_market(line: Line, method: str, params: list[Any]) -> None:
    """A market that never closes, of which nothing comes after the answer but heartbeats and, later, the time."""
    session = params[0]
    if method == "create_series":
        opened = line.server.methods().count("create_series")
        rows = [final(minute) for minute in range(-4, 6 * (opened - 1) + 1)]
        now = NOW + 360 * (opened - 1)
        await line.say(symbol_resolved(session, session="24x7"), timed(bars(session, *rows, close=now + 60), now))
        await line.say(timed(series_completed(session), now))
        await asyncio.sleep(0.05)  # until then the client has taken the answer
        await line.say(f"~h~{opened}", timed({"m": "clock", "p": []}, now + 301))


def timed(message: dict[str, Any], now: int) -> dict[str, Any]:
    return message | {"t": now, "t_ms": now * 1000}


def test_a_series_that_is_silent_while_its_market_trades_is_opened_again_and_then_told() -> None:
    async def main() -> None:
        limits = Limits(progress_s=0.1)
        async with scripted_server(silent_market) as server, OHLCV(server.url, limits=limits) as client:
            minutes: list[int] = []
            with pytest.raises(StaleStreamError, match=r"BTCUSDT 1m: nothing came for 30[1-9] s") as error:
                async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=2):
                    minutes.append(round((bar.timestamp - NEWEST) / 60))
            assert error.value.retryable
            assert minutes == [*range(-1, 7)], "what was missed meanwhile came with the second answer"
            assert server.methods().count("create_series") == 2
            assert "chart_delete_session" in server.methods()
            assert len(server.lines) == 1, "the connection is as good as ever"

    own_clock.run(main())


def test_a_consumer_that_is_too_slow_is_told_and_sees_every_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "LAG_S", 0.05)
    changes = 3 * inbox.LAG_EVENTS

    async def busy(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(bars(params[0], *MINUTES, close=NOW + 60), series_completed(params[0]))
            for minute in range(1, changes + 1):
                await line.say(bars(params[0], final(minute), first=minute))

    async def test(client: OHLCV, server: Script) -> None:
        stream = client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=1)
        await anext(stream)
        await asyncio.sleep(0.1)
        with pytest.warns(SlowConsumerWarning, match=r"BINANCE:BTCUSDT 1m: the consumer is \d+ events and") as told:
            got = [round(((await anext(stream)).timestamp - NEWEST) / 60) for _ in range(changes)]
        assert got == list(range(1, changes + 1))
        assert len(told) == 1, "once"
        await stream.aclose()

    run(busy, test)


def test_a_slow_consumer_of_quotes_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CONFLATE_S", 0.02)

    async def busy(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            await line.say(qsd(params[0], "X:A", lp=0.0, bid=7.0), qsd(params[0], "X:B", lp=0.0))
            for price in range(1, 3 * inbox.LAG_EVENTS):
                await line.say(qsd(params[0], "X:A", lp=float(price)), qsd(params[0], "X:B", lp=-float(price)))

    async def test(client: OHLCV, server: Script) -> None:
        stream = client.get_latest_trade_info(["X:A", "X:B"])
        await anext(stream)
        await asyncio.sleep(0.1)
        quotes = [(await anext(stream))["p"][1] for _ in range(2)]
        newest = 3.0 * inbox.LAG_EVENTS - 1
        assert {quote["n"]: quote["lp"] for quote in quotes} == {"X:A": newest, "X:B": -newest}
        await stream.aclose()

    run(busy, test)


def test_bars_of_many_symbols_come_as_they_close_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_bars, "SETTLE_S", 0.0)

    async def market(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol" and "BAD" in params[2]:
            await line.say({"m": "symbol_error", "p": [params[0], params[1], "invalid symbol"]})
        elif method == "create_series":
            session = params[0]
            await line.say(symbol_resolved(session), bars(session, final(-1), final(0), close=NOW + 1_000))
            await line.say(series_completed(session))
            await line.say(bars(session, final(0, 1.75), first=1, method="du"))
            await line.say(bars(session, final(1), first=2))
            if len(line.server.lines) == 1 and line.server.methods().count("create_series") == 2:
                await line.hang_up()
            else:
                await line.say(bars(session, final(2), first=3))

    async def test(client: OHLCV, server: Script) -> None:
        got: dict[str, list[Any]] = {}
        stream = client.stream_closed_bars(["X:A", "X:BAD", "X:B", "X:A"], "1m")
        while sum(len(each) for each in got.values()) < 5:
            with suppress(asyncio.TimeoutError):
                series, closed = await asyncio.wait_for(anext(stream), 0.01)
                assert series == Series.of(series.symbol, "1m")
                got.setdefault(series.symbol, []).append(closed)
        await stream.aclose()
        for symbol in ("X:A", "X:B"):
            told = [(round((bar.timestamp - NEWEST) / 60), bar.close) for bar in got[symbol]]
            assert told == [(0, 1.75), (1, 1.0)]
        (refused,) = got["X:BAD"]
        assert isinstance(refused, SymbolError)
        assert len(server.lines) == 2, "one connection, and one after it was lost"

    run(market, test)


def test_a_silent_series_is_told_among_closed_bars_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_bars, "SETTLE_S", 0.0)

    async def main() -> None:
        limits = Limits(progress_s=0.1)
        async with scripted_server(silent_market) as server, OHLCV(server.url, limits=limits) as client:
            minutes: list[int] = []
            told = 0
            async for _, closed in client.stream_closed_bars(["BINANCE:BTCUSDT"]):
                if isinstance(closed, StaleStreamError):
                    told += 1
                    assert minutes == list(range(7))
                    continue
                assert isinstance(closed, OHLCVBar)
                minutes.append(round((closed.timestamp - NEWEST) / 60))
                if minutes[-1] == 17:
                    break
            assert minutes == list(range(18)) and told == 1

    own_clock.run(main())


def test_quotes_tell_what_they_missed() -> None:
    async def drop_once(line: Line, method: str, params: list[Any]) -> None:
        await quotes(line, method, params)
        if method == "quote_add_symbols" and len(line.server.lines) == 1:
            await line.hang_up()

    async def main() -> list[StreamGap]:
        gaps: list[StreamGap] = []
        async with (
            scripted_server(drop_once) as server,
            OHLCV(server.url, limits=QUICK, on_gap=gaps.append) as client,
        ):
            async for _ in client.get_latest_trade_info(["NASDAQ:AAPL", "FX:EURUSD"]):
                if gaps:
                    return gaps
        return gaps

    first, second = own_clock.run(main())
    assert {first.symbol, second.symbol} == {"NASDAQ:AAPL", "FX:EURUSD"}
    assert first.start <= first.end


def test_an_instrument_is_described_with_its_delay() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol":
            info = {"timezone": "America/New_York", "session": "0930-1600", "type": "stock", "pricescale": 100}
            await line.say(symbol_resolved(params[0], minmov=1, currency_code="USD", **info))
        if method == "quote_add_symbols":
            delayed = qsd(params[0], params[1], update_mode="delayed_streaming_900")
            await line.say(delayed, quote_completed(params[0], params[1]))

    async def test(client: OHLCV, server: Script) -> None:
        info = await client.symbol_info("NASDAQ:AAPL")
        assert (info.time_zone, info.session, info.kind, info.currency) == (
            "America/New_York",
            "0930-1600",
            "stock",
            "USD",
        )
        assert (info.price_scale, info.tick, info.delay_s) == (100, 0.01, 900.0)

    run(answer, test)


def test_symbols_are_validated_by_form_and_then_by_the_server() -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol":
            if "BAD" in params[2]:
                await line.say({"m": "symbol_error", "p": [params[0], params[1], "invalid symbol"]})
            else:
                await line.say(symbol_resolved(params[0]))

    async def test(client: OHLCV, server: Script) -> None:
        assert await client.validate_symbols("NASDAQ:AAPL")
        assert await client.validate_symbols(["NASDAQ:AAPL", "FX:EURUSD"])
        with pytest.raises(ValueError, match=r"NASDAQ:BAD.*invalid symbol"):
            await client.validate_symbols(["NASDAQ:AAPL", "NASDAQ:BAD"])
        with pytest.raises(ValueError, match="'AAPL'"):
            await client.validate_symbols("AAPL")
        assert await validate_symbols("NASDAQ:AAPL", ws_url=server.url)

    run(answer, test)


def test_a_refused_quote_session_is_an_error_with_the_servers_words() -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            await line.say({"m": "critical_error", "p": [params[0], "invalid_parameters", "quote_add_symbols"]})

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(SeriesError, match="invalid_parameters, quote_add_symbols"):
            await client.get_quotes(["NASDAQ:AAPL"])
        with pytest.raises(SeriesError, match="invalid_parameters"):
            await client.get_quote_data("NASDAQ:AAPL").__anext__()

    run(refuse, test)


def test_a_request_that_gets_no_answer_in_time_fails_alone() -> None:
    async def answer_some(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol" and "X:SILENT" not in params[2]:
            await line.say(symbol_resolved(params[0]), bars(params[0], MINUTES[0]), series_completed(params[0]))

    async def test(client: OHLCV, server: Script) -> None:
        symbols = ("X:SILENT", "X:A", "X:B")
        answers = await client.fetch_each(
            [HistoryRequest(each, "1m", bars_count=1) for each in symbols], timeout_s=30.0
        )
        silent, *others = answers.values()
        assert isinstance(silent, NoBarsError)
        assert all(isinstance(each, SeriesHistory) and len(each.rows) == 1 for each in others)
        assert len(server.lines) == 1

    run(answer_some, test)


def test_raw_messages_come_as_the_server_sent_them() -> None:
    hello = {"session_id": "late", "timestamp": NOW}

    async def chatty(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say("~h~7", hello, symbol_resolved(params[0], type="spot"), bars(params[0], MINUTES[0]))
            await line.say({"m": "study_completed", "p": ["cs_of_somebody_else"]})
        if method == "quote_add_symbols" and params[1] == "BINANCE:BTCUSDT":
            await line.say(qsd(params[0], params[1], lp=1.0), {"m": "critical_error", "p": [params[0], "no", "x"]})

    async def test(client: OHLCV, server: Script) -> None:
        got = []
        async with aclosing(client.get_ohlcv_raw("BINANCE:BTCUSDT", "1", 1)) as messages:
            async for message in messages:
                got.append(message)
                if message.get("m") == "critical_error":
                    break
        (chart,) = {m["p"][0] for m in server.lines[0].received if m["m"] == "create_series"}
        (quote,) = {m["p"][0] for m in server.lines[0].received if m["m"] == "quote_add_symbols"}
        assert got == [
            {"m": "~h~", "p": ["7"]},
            hello,
            symbol_resolved(chart, type="spot"),
            bars(chart, MINUTES[0]),
            qsd(quote, "BINANCE:BTCUSDT", lp=1.0),
            {"m": "critical_error", "p": [quote, "no", "x"]},
        ]
        assert OHLCVResponse.model_validate(got[3]).ohlcv_bars[0].timestamp == MINUTES[0][0]
        await client.get_quotes(["NASDAQ:AAPL"])
        assert {"chart_delete_session", "quote_delete_session"} <= set(server.methods())

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        await chatty(line, method, params)
        if method == "quote_add_symbols" and params[1] == "NASDAQ:AAPL":
            await line.say(quote_completed(params[0], params[1]))

    run(answer, test)


def test_a_raw_stream_goes_on_after_errors() -> None:
    """Longer than a first answer may take: an error is an answer."""

    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say({"m": "symbol_error", "p": [params[0], "sds_sym_1", "invalid symbol"]})
            await asyncio.sleep(2 * QUICK.progress_s)
            await line.say({"m": "series_error", "p": [params[0], "sds_1", "s1", "resolve error"]})

    async def test(client: OHLCV, server: Script) -> None:
        got = []
        async with aclosing(client.get_ohlcv_raw("X:Y", "1", 1)) as messages:
            async for message in messages:
                got.append(message["m"])
                if len(got) == 2:
                    break
        assert got == ["symbol_error", "series_error"]

    run(refuse, test)


def test_a_stream_of_a_symbol_without_bars_ends_at_once() -> None:
    async def empty(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(symbol_resolved(params[0]), series_completed(params[0], data_completed="end"))

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(NoBarsError, match="no bars") as caught:
            await client.get_ohlcv("X:Y", "1").__anext__()
        assert caught.value.is_empty_answer

    run(empty, test)


@pytest.mark.parametrize("message", ["critical_error", "protocol_error"])
def test_a_stream_is_opened_again_once_and_ends_the_second_time(message: str) -> None:
    async def fail(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say(bars(params[0], *MINUTES, close=NOW + 60), series_completed(params[0]))
            await line.say({"m": message, "p": [params[0], "internal error", "x"] if "crit" in message else ["wrong"]})

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises((SeriesError, WebSocketException), match=r"internal error|wrong"):
            async for _ in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=5):
                pass
        assert server.methods().count("create_series") == 2

    run(fail, test)


@pytest.mark.parametrize("answer", ["silent", "unsupported"])
def test_history_without_older_pages_is_what_came_and_is_told(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server that only ever serves one page, such as one that replays a recording."""

    async def one_page(line: Line, method: str, params: list[Any]) -> None:
        await live(line, method, params)
        if method == "request_more_data" and answer == "unsupported":
            await line.say({"m": "critical_error", "p": [params[0], "unsupported method", "request_more_data"]})

    async def test(client: OHLCV, server: Script) -> None:
        assert len(await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 50)) == 6
        assert "6 of 50 bars" in caplog.text

    run(one_page, test)


def test_a_list_with_rows_that_are_no_bars_is_wanted_or_is_none() -> None:
    async def damaged(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            rows: list[Any] = [MINUTES[0], [MINUTES[1][0], None, 1.0, 1.0, 1.0], *MINUTES[2:]]
            await line.say(bars(params[0], *rows, close=NOW + 60), series_completed(params[0], data_completed="end"))

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(DamagedAnswerError, match=r"^X:Y 1m: 1 rows of the answer were not bars, at "):
            await client.get_historical_ohlcv("X:Y", "1", 5)
        with pytest.warns(DamageWarning, match=r"^X:Y 1m: 1 rows of the answer were not bars and are left out, at "):
            assert len(await client.get_historical_ohlcv("X:Y", "1", 5, damaged="drop")) == 4

    run(damaged, test)


def test_calls_that_the_server_wants_slower_are_made_later() -> None:
    refused = 0

    async def crowded(line: Line, method: str, params: list[Any]) -> None:
        nonlocal refused
        if method == "create_series" and refused < 3:
            refused += 1
            await line.say({"m": "critical_error", "p": [params[0], "max sessions rate reached", ""]})
        elif method == "create_series":
            await line.say(bars(params[0], *MINUTES, close=NOW + 60), series_completed(params[0]))

    async def main() -> list[int]:
        async with scripted_server(crowded) as server, OHLCV(server.url) as client:
            got = await asyncio.gather(*(client.get_historical_ohlcv(f"X:{n}", "1", 5) for n in range(6)))
        return [len(each) for each in got]

    assert own_clock.run(main()) == [5] * 6
    assert refused == 3


def at_most(rate: int) -> Answer:
    """A server that takes so many sessions within a second, and refuses the others."""
    taken: list[float] = []
    refused: set[str] = set()

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method in ("chart_create_session", "quote_create_session"):
            taken[:] = [each for each in taken if own_clock.now() - each < 1.0]
            if len(taken) < rate:
                taken.append(own_clock.now())
            else:
                refused.add(params[0])
                await line.say({"m": "critical_error", "p": [params[0], "max sessions rate reached", ""]})
        elif method == "quote_add_symbols" and params[0] not in refused:
            await line.say(qsd(params[0], params[1], lp=1.0), quote_completed(params[0], params[1]))
        elif method == "create_series" and params[0] not in refused:
            await line.say(symbol_resolved(params[0]), bars(params[0], *MINUTES, close=NOW + 60))
            await line.say(series_completed(params[0]))

    return answer


def test_no_call_is_lost_to_a_server_that_takes_five_sessions_a_second() -> None:
    async def main() -> None:
        async with scripted_server(at_most(5)) as server, OHLCV(server.url) as client:
            calls = [client.get_historical_ohlcv(f"X:S{number}", "1", 5) for number in range(15)]
            streams = [client.get_ohlcv(f"X:L{number}", "1", 5) for number in range(9)]
            requests = [HistoryRequest(f"X:M{number}", "1m", bars_count=5) for number in range(9)]
            got, firsts, answers, quotes = await asyncio.gather(
                asyncio.gather(*calls),
                asyncio.gather(*(anext(stream) for stream in streams)),
                client.fetch_each(requests),
                asyncio.gather(*(client.get_quotes([f"X:Q{number}"]) for number in range(5))),
            )
            assert all(isinstance(quote, QuoteSymbolData) for each in quotes for quote in each.values())
            assert [len(each) for each in got] == [5] * 15
            assert {first.timestamp for first in firsts} == {int(MINUTES[0][0])}
            assert all(isinstance(each, SeriesHistory) for each in answers.values())
            for stream in streams:
                await stream.aclose()

    own_clock.run(main())


def test_what_is_left_of_a_refused_pace_is_retryable_and_no_value_error() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(PaceError, match="X:Y 1m: the server is busy: max sessions rate reached") as refusal:
            await client.get_historical_ohlcv("X:Y", "1", 5)
        assert refusal.value.retryable and not isinstance(refusal.value, ValueError)
        with pytest.raises(PaceError):
            await anext(client.get_ohlcv("X:Y", "1", 5))
        with pytest.raises(PaceError, match="X:Y quotes"):
            await anext(client.get_quote_data("X:Y"))
        (answer,) = (await client.fetch_each([HistoryRequest("X:Y", "1m", bars_count=5)])).values()
        assert isinstance(answer, PaceError)
        assert len(server.lines) == 1

    run(at_most(0), test)


def test_a_refused_description_leaves_no_request_behind() -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol":
            await line.say({"m": "symbol_error", "p": [params[0], params[1], "invalid symbol"]})

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(SymbolError):
            await client.symbol_info("X:Y")
        assert {"quote_delete_session", "chart_delete_session"} <= set(server.methods()) | await asyncio.wait_for(
            seen(server, "quote_delete_session"), 2.0
        )

    async def seen(server: Script, method: str) -> set[str]:
        while method not in server.methods():
            await asyncio.sleep(0.01)
        return set(server.methods())

    run(refuse, test)


def test_history_is_resumed_after_a_lost_connection() -> None:
    """Row N17 for one caller: the second connection goes on from the first page."""
    ages = range(40, -1, -1)
    rows = [[NEWEST - 60 * age, 1.0, 2.0, 0.5, 1.5, float(age)] for age in ages]

    async def drop(line: Line, method: str, params: list[Any]) -> None:
        session = params[0]
        is_first = len(line.server.lines) == 1
        if method == "create_series" and is_first:
            await line.say(bars(session, *rows[20:], close=NOW + 60), series_completed(session))
        elif method == "request_more_data" and is_first:
            await line.hang_up()
        elif method == "create_series" and isinstance(params[5], list):
            last = next(index for index, row in enumerate(rows) if row[0] >= params[5][1])
            await line.say(bars(session, *rows[: last + 1], close=NOW + 60), series_completed(session))
        elif method == "create_series":
            await line.say(bars(session, *rows[20:], close=NOW + 60), series_completed(session))

    async def test(client: OHLCV, server: Script) -> None:
        got = await client.get_historical_ohlcv("X:Y", "1", 41)
        assert [bar.volume for bar in got] == [float(age) for age in ages]
        assert len(server.lines) == 2
        spans = [m["p"][5] for line in server.lines for m in line.received if m["m"] == "create_series"]
        assert isinstance(spans[1], list), "what the first page brought is not asked for again"

    run(drop, test)


def test_a_moment_that_the_server_ignores_costs_one_try() -> None:
    """After a loss it is asked for bars up to a moment; one that never answers that is asked afresh."""
    rows = [[NEWEST - 60 * age, 1.0, 2.0, 0.5, 1.5, float(age)] for age in range(40, -1, -1)]

    async def ignore(line: Line, method: str, params: list[Any]) -> None:
        session, is_first = params[0], len(line.server.lines) == 1
        if method == "create_series" and not isinstance(params[5], list):
            await line.say(bars(session, *rows[20:], close=NOW + 60), series_completed(session))
        elif method == "request_more_data" and is_first:
            await line.hang_up()
        elif method == "request_more_data":
            await line.say(bars(session, *rows[:20], first=-20, close=NOW + 60), series_completed(session))

    async def main() -> int:
        async with scripted_server(ignore) as server, OHLCV(server.url, limits=QUICK) as client:
            return len(await client.get_historical_ohlcv("X:Y", "1", 41))

    assert own_clock.run(main()) == 41


def test_the_defaults_are_the_promised_ones() -> None:
    """A connection within 5 s, a dead one noticed within 12, a request without progress given up after 10."""
    limits = Limits()
    assert (limits.open_s, limits.alive_s, limits.silence_s, limits.progress_s) == (5.0, 10.0, 20.0, 10.0)
    assert (limits.retry_s, limits.reconnect_s, ANSWER_LIMIT_S) == (20.0, 120.0, 30.0)


@pytest.mark.parametrize("count", [1.5, True, "10"])
def test_a_count_that_is_no_whole_number_is_named(count: Any) -> None:
    async def main() -> None:
        async with OHLCV("ws://127.0.0.1:1/") as client:
            with pytest.raises(ValueError, match=f"bars_count {count!r} is not a whole number"):
                await client.get_historical_ohlcv("X:Y", "1", count)

    own_clock.run(main())


def test_control_c_ends_a_stream_and_closes_its_connection() -> None:
    """In a process of its own: the handler is for signals."""
    code = """
import asyncio, signal, sys
from tv_etl.tradingview.ohlcv import OHLCV, signal_handler

signal.signal(signal.SIGINT, signal_handler)

async def main():
    async with OHLCV(sys.argv[1]) as client:
        async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1"):
            print("bar", flush=True)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("stopped by user", flush=True)
"""

    async def run_process() -> tuple[str, int | None]:
        async with scripted_server(live) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", code, server.url),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            await process.stdout.readline()
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
            assert errors.decode() == ""
            return output.decode(), process.returncode

    output, status = asyncio.run(run_process())
    assert status == 0
    assert output.endswith("stopped by user\n")


def test_quotes_keep_what_was_seen_once() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        got = []
        async for quote in client.get_quote_data("NASDAQ:AAPL"):
            got.append((quote.current_price, quote.change, quote.volume))
            if quote.current_price == 101.0:
                break
        assert got == [(None, None, None), (100.0, None, None), (100.0, -1.5, None), (101.0, -1.5, None)]
        assert quote.symbol_info["description"] == "NASDAQ:AAPL"

    run(quotes, test)


def test_trade_info_of_many_symbols_reads_as_the_document_has_it() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        last: dict[str, Any] = {}
        async for trade_info in client.get_latest_trade_info(["NASDAQ:AAPL", "NASDAQ:BAD", "FX:EURUSD"]):
            if trade_info.get("m") == "qsd":
                data = trade_info.get("p", [{}])[1]
                last[data.get("n", "Unknown")] = data
            if last.get("FX:EURUSD", {}).get("lp") == 101.0:
                break
        assert (last["NASDAQ:AAPL"]["lp"], last["NASDAQ:AAPL"]["ch"], last["NASDAQ:AAPL"]["v"]) == (
            101.0,
            -1.5,
            {"lp": 101.0},
        )
        assert (last["NASDAQ:BAD"]["s"], last["NASDAQ:BAD"]["errmsg"]) == ("error", "no_such_symbol")
        assert "volume" not in last["NASDAQ:AAPL"], "the server has none: 1e+100"
        assert f"{last['NASDAQ:AAPL']['v']:,.0f}" == "0"

    run(quotes, test)


def test_what_the_server_says_it_has_not_stands_in_no_trade_info() -> None:
    async def nulls(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            await line.say(qsd(params[0], params[1], lp=5.0, ch=None, chp=None, volume=1234567.8))

    async def test(client: OHLCV, server: Script) -> None:
        async for trade_info in client.get_latest_trade_info(["NASDAQ:AAPL"]):
            data = trade_info["p"][1]
            break
        # Line by line as the document's examples read it.
        assert f"${data.get('lp'):<10.2f} ({data.get('ch', 0):+7.2f} | {data.get('chp', 0):+6.2f}%)" == (
            "$5.00       (  +0.00 |  +0.00%)"
        )
        assert f"Vol: {data.get('v', 0):>10,.0f}" == "Vol:  1,234,568"
        assert data["v"] == {"lp": 5.0, "ch": None, "chp": None, "volume": 1234567.8}

    run(nulls, test)


def test_current_quotes_come_once_with_errors_in_place() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        got = await client.get_quotes(["NASDAQ:AAPL", "NASDAQ:BAD"])
        quote, refused = got["NASDAQ:AAPL"], got["NASDAQ:BAD"]
        assert not isinstance(quote, SymbolError)
        assert quote.change == -1.5
        assert quote.current_price in (100.0, 101.0)  # the next trade may be in already
        assert isinstance(refused, SymbolError)

    run(quotes, test)


def test_an_unknown_symbol_ends_a_quote_stream_by_name() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(ValueError, match=r"NASDAQ:BAD.*no_such_symbol"):
            async for _ in client.get_quote_data("NASDAQ:BAD"):
                pass

    run(quotes, test)


def test_several_calls_at_once_share_the_connection() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        calls = [client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", count) for count in (1, 2, 3, 4)]
        assert [len(got) for got in await asyncio.gather(*calls)] == [1, 2, 3, 4]
        assert len(server.lines) == 1

    run(live, test)


def test_a_refused_stream_raises_the_servers_reason() -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await line.say({"m": "series_error", "p": [params[0], "sds_1", "s1", "seconds_not_entitled", "undefined"]})

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(EntitlementError, match="seconds_not_entitled"):
            async for _ in client.get_ohlcv("BINANCE:BTCUSDT", "10S"):
                pass

    run(refuse, test)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda client: client.get_historical_ohlcv("NASDAQ:AAPL", session="Extended"), "session 'Extended'"),
        (lambda client: client.get_ohlcv("NASDAQ:AAPL", adjustment="none").__anext__(), "adjustment 'none'"),
        (lambda client: client.get_historical_ohlcv("NASDAQ:AAPL", start="2026-11-02"), "start '2026-11-02'"),
        (lambda client: client.get_historical_ohlcv("NASDAQ:AAPL", currency="eur"), "currency 'eur'"),
        (lambda client: client.get_historical_ohlcv("NASDAQ:AAPL", damaged="skip"), "damaged 'skip'"),
        (lambda client: client.get_quotes("NASDAQ:AAPL"), "expected a list, e.g. ['NASDAQ:AAPL']"),
        (lambda client: client.get_latest_trade_info("NASDAQ:AAPL").__anext__(), "expected a list"),
        (lambda client: client.get_quotes([]), "at least one"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(call: Any, words: str) -> None:
    """Nobody listens at that address: to connect would be another error."""
    with pytest.raises(ValueError, match=re.escape(words)):
        own_clock.run(call(OHLCV("ws://127.0.0.1:1/")))


def test_the_documented_exceptions_are_raised() -> None:
    async def silent(line: Line, method: str, params: list[Any]) -> None:
        """Say nothing."""

    async def test(client: OHLCV, server: Script) -> None:
        with pytest.raises(RuntimeError):
            await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 30)
        with pytest.raises(ValueError, match="'AAPL'"):
            await client.get_historical_ohlcv("AAPL", "1D", 30)
        with pytest.raises(ValueError, match="'15m5'"):
            await client.get_historical_ohlcv("NASDAQ:AAPL", "15m5", 30)
        with pytest.raises(ValueError, match="at least one"):
            await client.get_latest_trade_info([]).__anext__()

    run(silent, test)
    with pytest.raises(WebSocketException):
        own_clock.run(OHLCV("ws://127.0.0.1:1/").get_historical_ohlcv("NASDAQ:AAPL", "1D", 30))


def test_an_empty_range_is_said_to_be_empty() -> None:
    async def test(client: OHLCV, server: Script) -> None:
        start = datetime.fromtimestamp(NEWEST + 3600, tz=timezone.utc)
        with pytest.raises(NoBarsError) as error:
            await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", start=start)
        assert error.value.is_empty_answer

    run(live, test)


def test_the_address_comes_from_the_argument_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TV_ETL_WS_URL", raising=False)
    assert OHLCV().ws_url == DEFAULT_WS_URL
    monkeypatch.setenv("TV_ETL_WS_URL", "ws://127.0.0.1:8765/socket.io/websocket")
    assert OHLCV().ws_url == "ws://127.0.0.1:8765/socket.io/websocket"
    assert OHLCV("ws://localhost:1/").ws_url == "ws://localhost:1/"
