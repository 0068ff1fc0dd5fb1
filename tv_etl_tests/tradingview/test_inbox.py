"""What waits for a consumer: kept in order, bounded, and told where it is much."""

import asyncio

import pytest

from tv_etl.tradingview import inbox as inbox_module
from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.inbox import INBOX_CHARACTERS, INBOX_EVENTS, LAG_EVENTS, Inbox
from tv_etl_tests import own_clock

CONFLATE_S, LAG_S = 0.02, 0.05


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter limits of the same order."""
    monkeypatch.setattr(inbox_module, "CONFLATE_S", CONFLATE_S)
    monkeypatch.setattr(inbox_module, "LAG_S", LAG_S)


def bar(minute: float = 0.0) -> protocol.BarsReceived:
    return protocol.BarsReceived("cs_1", "sds_1", False, [[minute, 1.0, 2.0, 0.5, 1.5, 10.0]], None, None)


def quote(symbol: str, **fields: float) -> protocol.QuoteReceived:
    return protocol.QuoteReceived("qs_1", symbol, "ok", dict(fields), "")


@pytest.mark.parametrize("characters", [1, INBOX_CHARACTERS // 10])
def test_it_keeps_so_much_and_then_ends_without_a_hole(characters: int) -> None:
    async def run() -> None:
        inbox, kept = Inbox(), min(INBOX_EVENTS, INBOX_CHARACTERS // characters)
        for _ in range(kept + 5):
            inbox.put(bar(), characters)
        await inbox.next()
        inbox.put(bar(), characters)  # there is room again, but events are missing in between
        for _ in range(kept - 1):
            await inbox.next(0.1)
        for _ in range(2):
            with pytest.raises(ConnectionFailedError, match="events behind"):
                await inbox.next(0.1)

    own_clock.run(run())


def test_one_that_is_emptied_takes_any_number() -> None:
    async def run() -> None:
        inbox = Inbox()
        for _ in range(12):
            inbox.put(bar(), 2 * INBOX_CHARACTERS)  # one answer is never too long: that is the message's limit
            await inbox.next()
        with pytest.raises(asyncio.TimeoutError):
            await inbox.next(0.0)

    own_clock.run(run())


def test_a_cancelled_wait_takes_nothing() -> None:
    async def run() -> None:
        inbox = Inbox()
        waiting = asyncio.ensure_future(inbox.next())
        await asyncio.sleep(0)
        inbox.put(bar())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await inbox.next(0.1) == bar()
        with pytest.raises(asyncio.TimeoutError):
            await inbox.next(0.01)

    own_clock.run(run())


def test_quotes_that_waited_are_one_of_each_symbol_with_all_that_changed() -> None:
    async def run() -> None:
        inbox = Inbox()
        inbox.put(quote("X:A", lp=1.0, bid=0.9))
        inbox.put(quote("X:B", lp=5.0))
        inbox.put(protocol.QuoteCompleted("qs_1", "X:A"))
        for price in (2.0, 3.0):
            inbox.put(quote("X:A", lp=price))
        await asyncio.sleep(CONFLATE_S)
        assert await inbox.next(0.1) == quote("X:A", lp=3.0, bid=0.9)
        assert await inbox.next(0.1) == quote("X:B", lp=5.0)
        assert await inbox.next(0.1) == protocol.QuoteCompleted("qs_1", "X:A")
        with pytest.raises(asyncio.TimeoutError):
            await inbox.next(0.01)

    own_clock.run(run())


def test_quotes_that_are_taken_in_time_come_one_by_one() -> None:
    async def run() -> None:
        inbox = Inbox()
        for price in (1.0, 2.0, 3.0):
            inbox.put(quote("X:A", lp=price))
        assert [await inbox.next(0.1) for _ in range(3)] == [quote("X:A", lp=price) for price in (1.0, 2.0, 3.0)]

    own_clock.run(run())


def test_a_refusal_is_not_lost_among_quotes() -> None:
    async def run() -> None:
        inbox = Inbox()
        refused = protocol.QuoteReceived("qs_1", "X:A", "error", {}, "no_such_symbol")
        events = [quote("X:A", lp=1.0), refused, quote("X:A", lp=2.0), quote("X:A", lp=3.0)]
        for event in events:
            inbox.put(event)
        await asyncio.sleep(CONFLATE_S)
        assert [await inbox.next(0.1) for _ in range(3)] == [*events[:2], quote("X:A", lp=3.0)]

    own_clock.run(run())


def test_a_consumer_that_stands_still_for_hours_gets_the_newest_quotes() -> None:
    async def run() -> None:
        inbox = Inbox()
        for number in range(20 * INBOX_EVENTS):
            inbox.put(quote(f"X:{number % 7}", lp=float(number)), 1)
        await asyncio.sleep(CONFLATE_S)
        prices = {(await inbox.next(0.1)).fields["lp"] for _ in range(7)}  # type: ignore[attr-defined]
        assert prices == set(map(float, range(20 * INBOX_EVENTS - 7, 20 * INBOX_EVENTS)))

    own_clock.run(run())


def test_a_consumer_is_told_once_that_it_is_behind_and_again_after_it_had_caught_up() -> None:
    async def run() -> None:
        inbox = Inbox()
        for _ in range(2):
            for minute in range(LAG_EVENTS + 3):
                inbox.put(bar(minute))
            await inbox.next()
            assert inbox.take_lag() is None, "a burst"
            await asyncio.sleep(LAG_S)
            await inbox.next()
            lag = inbox.take_lag()
            assert lag is not None and lag[0] == LAG_EVENTS + 1 and LAG_S <= lag[1] < 2 * LAG_S
            await inbox.next()
            assert inbox.take_lag() is None
            with pytest.raises(asyncio.TimeoutError):
                while True:
                    await inbox.next(0.01)
        inbox.put(bar())
        await asyncio.sleep(LAG_S)
        await inbox.next()
        assert inbox.take_lag() is None, "a pause"

    own_clock.run(run())
