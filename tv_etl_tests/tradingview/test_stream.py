"""A stream whose `anext` is cancelled, by itself and on every public stream of the client."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.history import fetch_history
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.stream import Stream
from tv_etl_tests import own_clock
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.scripted_server import (
    NOW,
    Line,
    Script,
    bars,
    qsd,
    quote_completed,
    scripted_server,
    series_completed,
    symbol_resolved,
)

LIMITS = Limits(open_s=3.0, reconnect_s=30.0)
NEWEST = float(NOW // 60 * 60)
ROWS = [[NEWEST - 60, 1.0, 2.0, 0.5, 1.5, 10.0], [NEWEST, 1.0, 2.0, 0.5, 1.5, 10.0]]


class Source:
    """Batches that a test lets come, and whether they were closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[int] | Exception] = asyncio.Queue()
        self.is_closed = False

    async def batches(self) -> AsyncGenerator[list[int], None]:
        try:
            while True:
                batch = await self.queue.get()
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            self.is_closed = True


def tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def test_a_cancelled_anext_loses_nothing_and_the_next_one_goes_on() -> None:
    async def run() -> None:
        source = Source()
        stream = Stream(source.batches())
        for first in (0, 10, 20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(stream), 0.01)
            source.queue.put_nowait([first, first + 1])
            assert [await anext(stream), await asyncio.wait_for(anext(stream), HANG_S)] == [first, first + 1]
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        source.queue.put_nowait([30])
        waiting.cancel()  # together with the item
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await anext(stream) == 30
        await stream.aclose()
        assert source.is_closed and not tasks()

    own_clock.run(run())


def test_a_stream_has_one_consumer() -> None:
    async def run() -> None:
        source = Source()
        stream = Stream(source.batches())
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one consumer"):
            await anext(stream)
        source.queue.put_nowait([1])
        assert await first == 1, "the one who waits is not disturbed"
        await stream.aclose()

    own_clock.run(run())


def test_closing_ends_whoever_waits_and_stays_closed() -> None:
    async def run() -> None:
        source = Source()
        stream = Stream(source.batches())

        async def consume() -> list[int]:
            return [item async for item in stream]

        consumer = asyncio.ensure_future(consume())
        source.queue.put_nowait([1, 2])
        await asyncio.sleep(0.01)
        await stream.aclose()
        assert await consumer == [1, 2]
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert source.is_closed and not tasks()

    own_clock.run(run())


def test_closing_after_a_cancel_closes_what_is_below() -> None:
    async def run() -> None:
        source = Source()
        async with aclosing(Stream(source.batches())) as stream:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(stream), 0.01)
        assert source.is_closed and not tasks()

    own_clock.run(run())


def test_an_error_that_nobody_waited_for_comes_with_the_next_anext() -> None:
    async def run() -> None:
        source = Source()
        stream = Stream(source.batches())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        source.queue.put_nowait(ZeroDivisionError("told"))
        await asyncio.sleep(0.01)
        with pytest.raises(ZeroDivisionError, match="told"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    own_clock.run(run())


def test_who_ends_a_stream_with_an_error_has_it_told_once() -> None:
    async def run() -> None:
        source = Source()
        stream = Stream(source.batches())
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        await stream.end(ZeroDivisionError("told"))
        with pytest.raises(ZeroDivisionError, match="told"):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert not tasks()

    own_clock.run(run())


def test_it_is_an_async_generator_by_its_methods() -> None:
    """Annotations of the documented type hold."""

    async def run() -> None:
        source = Source()
        stream: AsyncGenerator[int, None] = Stream(source.batches())
        assert isinstance(stream, AsyncGenerator)
        source.queue.put_nowait([1, 2])
        assert await stream.asend(None) == 1
        with pytest.raises(ZeroDivisionError, match="mine"):
            await stream.athrow(ZeroDivisionError("mine"))
        assert source.is_closed

    own_clock.run(run())


@pytest.mark.parametrize("error", [None, ZeroDivisionError("nobody asks")])
def test_a_stream_that_is_let_go_of_leaves_nothing_behind(error: Exception | None) -> None:
    reported: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        source = Source()
        stream = Stream(source.batches())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        if error is not None:
            source.queue.put_nowait(error)
            await asyncio.sleep(0.01)
        del stream
        gc.collect()
        while tasks() or not source.is_closed:
            await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own_clock.run(run())
        gc.collect()
    assert reported == []


# --- every public stream ----------------------------------------------------------------------------------------

STREAMS: dict[str, Callable[[OHLCV, str], AsyncGenerator[Any, None]]] = {
    "get_ohlcv": lambda client, url: client.get_ohlcv("X:Y", "1", 2),
    "get_ohlcv_raw": lambda client, url: client.get_ohlcv_raw("X:Y", "1", 2),
    "get_quote_data": lambda client, url: client.get_quote_data("X:Y"),
    "get_latest_trade_info": lambda client, url: client.get_latest_trade_info(["X:Y"]),
}
LEFT = STREAMS | {"stream_closed_bars": lambda client, url: client.stream_closed_bars(["X:Y", "X:Z"])}


class Market:
    """A server that answers and then sends one change each time a test lets it."""

    def __init__(self) -> None:
        self.changes = 0
        self._latest: tuple[Line, str, str] | None = None

    async def answer(self, line: Line, method: str, params: list[Any]) -> None:
        session = params[0]
        if method == "create_series":
            await line.say(symbol_resolved(session), bars(session, *ROWS, close=NOW + 60), series_completed(session))
            self._latest = (line, "bars", session)
        elif method == "quote_add_symbols":
            await line.say(qsd(session, "X:Y", lp=1.0), quote_completed(session, "X:Y"))
            if self._latest is None or self._latest[1] == "quotes":
                self._latest = (line, "quotes", session)

    async def change(self) -> None:
        assert self._latest is not None
        line, kind, session = self._latest
        self.changes += 1
        price = 2.0 + self.changes
        if kind == "bars":
            await line.say(bars(session, [NEWEST, 1.0, price, 0.5, price, 1.0], first=1, method="du"))
        else:
            await line.say(qsd(session, "X:Y", lp=price))

    async def drop(self) -> None:
        assert self._latest is not None
        await self._latest[0].hang_up()


def price_of(item: Any) -> float:
    """The newest price in whatever a stream yields; 0 where there is none."""
    if isinstance(item, dict):
        if item.get("m") == "du":
            return float(item["p"][1]["sds_1"]["s"][0]["v"][4])
        quote = item["p"][1] if item.get("m") == "qsd" else {}
        return float(quote.get("lp", quote.get("v", {}).get("lp", 0.0)))
    return float(getattr(item, "close", None) or getattr(item, "current_price", None) or 0.0)


async def drain(stream: AsyncGenerator[Any, None]) -> list[Any]:
    """What comes until nothing more does."""
    items = []
    while True:
        try:
            items.append(await asyncio.wait_for(anext(stream), 0.05))
        except asyncio.TimeoutError:
            return items


def with_market(test: Callable[[Market, Script, OHLCV, AsyncGenerator[Any, None]], Awaitable[None]], name: str) -> None:
    stream_of = LEFT[name]

    async def run() -> None:
        market = Market()
        async with scripted_server(market.answer) as server:
            before = tasks()
            async with OHLCV(server.url, limits=LIMITS, on_gap=lambda gap: None) as client:
                await test(market, server, client, stream_of(client, server.url))
            while any("tv_etl.tradingview" in repr(task) for task in tasks() - before):
                await asyncio.sleep(0)
            while any(not task.done() and "Script.handle" in repr(task) for task in tasks() - before):
                await asyncio.sleep(0)  # every socket is closed

    own_clock.run(run())


@pytest.mark.parametrize("name", STREAMS)
def test_a_quiet_spell_is_outlived(name: str) -> None:
    async def test(market: Market, server: Script, client: OHLCV, stream: AsyncGenerator[Any, None]) -> None:
        assert await drain(stream)
        for change in (1, 2, 3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(stream), 0.01)
            await market.change()
            assert [price_of(item) for item in await drain(stream)] == [2.0 + change]
        assert len(server.lines) == 1
        await stream.aclose()

    with_market(test, name)


@pytest.mark.parametrize("name", STREAMS)
def test_a_reconnect_goes_on_though_the_consumer_is_cancelled_all_along(name: str) -> None:
    """Each wait is shorter than the delay before the next try."""

    async def test(market: Market, server: Script, client: OHLCV, stream: AsyncGenerator[Any, None]) -> None:
        assert await drain(stream)
        await market.drop()
        waits = 0
        while len(server.lines) < 2:
            try:
                await asyncio.wait_for(anext(stream), 0.02)
            except asyncio.TimeoutError:
                waits += 1
        assert waits > 2
        await drain(stream)
        await market.change()
        assert [price_of(item) for item in await drain(stream)] == [3.0]
        await stream.aclose()

    with_market(test, name)


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("way", ["aclose", "let go", "leave the client", "cancel the consumer"])
def test_a_stream_that_is_left_in_a_reconnect_opens_nothing_any_more(name: str, way: str) -> None:
    async def test(market: Market, server: Script, client: OHLCV, stream: AsyncGenerator[Any, None]) -> None:
        await drain(stream)
        await market.drop()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        if way == "aclose":
            await stream.aclose()
        elif way == "let go":
            del stream
            gc.collect()
        elif way == "cancel the consumer":
            consumer = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            consumer.cancel()
            await asyncio.wait({consumer})
            await stream.aclose()
        else:
            await client.__aexit__(None, None, None)
            with pytest.raises(ConnectionFailedError, match="was closed") as error:
                await anext(stream)
            assert not error.value.retryable
        await asyncio.sleep(1.0)  # longer than the first delay
        assert len(server.lines) == 1

    with_market(test, name)


@pytest.mark.parametrize("name", STREAMS)
def test_two_consumers_of_a_public_stream_are_told(name: str) -> None:
    async def test(market: Market, server: Script, client: OHLCV, stream: AsyncGenerator[Any, None]) -> None:
        await drain(stream)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one consumer"):
            await anext(stream)
        await market.change()
        assert price_of(await first) == 3.0
        await stream.aclose()

    with_market(test, name)


def test_a_batch_of_histories_outlives_a_cancel() -> None:
    async def slowly(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await asyncio.sleep(0.1)
            await line.say(bars(params[0], *ROWS, close=NOW + 60), series_completed(params[0]))

    async def run() -> None:
        async with scripted_server(slowly) as server:
            requests = [HistoryRequest(f"X:{name}", "1m", bars_count=2) for name in "ABC"]
            stream, answered, waits = fetch_history(requests, ws_url=server.url), set[HistoryRequest](), 0
            while len(answered) < 3:
                try:
                    request, _ = await asyncio.wait_for(anext(stream), 0.03)
                    answered.add(request)
                except asyncio.TimeoutError:
                    waits += 1
            assert waits and answered == set(requests)
            assert server.methods().count("create_series") == 3
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    own_clock.run(run())


@pytest.mark.parametrize("between", range(4))
@pytest.mark.parametrize("begins", range(1, 9))
def test_a_consumer_that_is_cancelled_twice_leaves_no_source_open(begins: int, between: int) -> None:
    """As by a Ctrl-C: by the loop, which ends all tasks, and by whoever waited for the consumer."""
    opened, closed = list[str](), list[str]()

    async def batches() -> AsyncGenerator[list[int], None]:
        opened.append("source")
        try:
            while True:
                await asyncio.sleep(0)
                yield [1]
        finally:
            closed.append("source")

    async def consume() -> None:
        async with aclosing(Stream(batches())) as stream:
            async for _ in stream:
                pass

    async def main() -> None:
        consumer = asyncio.ensure_future(consume())
        for _ in range(begins):
            await asyncio.sleep(0)
        consumer.cancel()
        for _ in range(between):
            await asyncio.sleep(0)
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)
        assert closed == opened

    asyncio.run(main())
