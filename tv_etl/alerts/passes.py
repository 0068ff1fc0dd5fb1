"""Bars of many symbols over few connections, none of which costs its neighbours anything.

A *pass* is many requests over one connection. Where that ends or stands still, whatever was in flight is asked for
alone, each over a connection of its own, and the rest goes on over a new one: so whoever it was is found, and nobody
waits for it.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tv_etl.tradingview.errors import ConnectionFailedError, NoBarsError, ProtocolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.pace import WINDOW
from tv_etl.tradingview.printable import described
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.websocket import loop_time

# How long a request may be without any event, how long it is waited for alone, and how long a connection may bring no
# answer to any of many before the others stop waiting for it. It is not given up then: a server may be slow altogether.
SILENCE_S = 4.0
ALONE_S = 5.0
STILL_S = 1.0
# Nothing of a broken connection is tried again by itself: who broke it is to be found.
_LIMITS = Limits(progress_s=SILENCE_S, reconnect_s=0.0)

FIRST_DAYS = 6
_MINUTE = Interval.parse("1m")
_IN_FLIGHT = WINDOW
_ALONE_IN_FLIGHT = 8
_PASSES = 6

Minutes = SeriesHistory | TradingViewError
ClientFactory = Callable[[Limits], OHLCV]
# A symbol and an interval; without one the bars that it is judged by: its minutes, or its days where it has none.
SeriesKey = tuple[str, str]


@dataclass
class Answers:
    """What was asked for, and what came: an answer counts at once, a failure once nobody is asking any more."""

    requests: Mapping[SeriesKey, HistoryRequest]
    found: dict[SeriesKey, Minutes] = field(default_factory=dict)
    _failed: dict[SeriesKey, Minutes] = field(default_factory=dict)
    _asking: Counter[SeriesKey] = field(default_factory=Counter)
    _window: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ALONE_IN_FLIGHT))

    def begin(self, keys: Iterable[SeriesKey]) -> None:
        """Note that each is asked for, once more."""
        self._asking.update(keys)

    def end(self, key: SeriesKey, answer: Minutes | None) -> None:
        """Note how asking has ended; None where that says nothing of the symbol."""
        self._asking[key] -= 1
        if answer is not None:
            into = self._failed if is_lost(answer) or is_late(answer) else self.found
            into.setdefault(key, answer)
        if not self._asking[key] and key in self._failed:
            self.found.setdefault(key, self._failed[key])

    async def ask_alone(self, open_client: ClientFactory, key: SeriesKey) -> None:
        """Over a connection of its own, some of those at a time, unless it is answered meanwhile."""
        answer: Minutes | None = None
        try:
            async with self._window:
                if key in self.found:
                    return
                # Until it answers; who has not had a turn is to have it next time.
                answer = NoBarsError(f"{self.requests[key]}: no answer in time")
                async with open_client(_LIMITS) as client:
                    answer = await _ask(client, key, self.requests[key], ALONE_S)
        finally:
            self.end(key, answer)


async def ask_alone(open_client: ClientFactory, answers: Answers, keys: Sequence[SeriesKey]) -> None:
    """Find the bars of each over a connection of its own."""
    answers.begin(keys)
    await _decide(open_client, answers, keys)


async def _decide(open_client: ClientFactory, answers: Answers, suspects: Sequence[SeriesKey]) -> None:
    tasks = [asyncio.ensure_future(answers.ask_alone(open_client, key)) for key in suspects]
    try:
        await wait(tasks, math.inf)
    finally:
        await end(tasks)  # not before each has noted how it ended


async def ask_bars(open_client: ClientFactory, answers: Answers, keys: Iterable[SeriesKey], ends_at: float) -> None:
    """Find the bars of each, in this order and some at a time."""
    waiting, tasks, passes = deque(keys), set[asyncio.Future[None]](), 0
    try:
        while waiting and passes < _PASSES and loop_time() < ends_at:
            passes += 1
            one = _Pass(answers, waiting, ends_at, is_last=passes == _PASSES)
            tasks.add(asyncio.ensure_future(one.run(open_client)))
            # Beside the next pass: that may need all the time that there is, and is not to be broken again next time.
            tasks.add(asyncio.ensure_future(_decide(open_client, answers, await one.suspects)))
        await wait(tasks, ends_at)
    finally:
        await end(tasks)


class _Pass:
    """Many requests over one connection, until all are answered or it is of no more use.

    `suspects` are then those that were in flight. Of a connection that only stands still they may still be answered.
    """

    def __init__(self, answers: Answers, waiting: deque[SeriesKey], ends_at: float, *, is_last: bool) -> None:
        self.suspects: asyncio.Future[list[SeriesKey]] = asyncio.get_running_loop().create_future()
        self._answers, self._waiting, self._ends_at, self._is_last = answers, waiting, ends_at, is_last
        self._workers: list[asyncio.Future[None]] = []
        self._in_flight: dict[SeriesKey, None] = {}
        self._answered_at = loop_time()

    async def run(self, open_client: ClientFactory) -> None:
        """Ask; it may take a while longer than the suspects, to close what stands still."""
        try:
            async with open_client(_LIMITS) as client:
                count = min(_IN_FLIGHT, len(self._waiting))
                self._workers += [asyncio.ensure_future(self._work(client)) for _ in range(count)]
                watch = asyncio.ensure_future(self._watch(client))
                try:
                    outcomes = await asyncio.gather(*self._workers, return_exceptions=True)
                finally:
                    watch.cancel()
                    self._hand_over()
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
        finally:
            self._hand_over()

    async def _watch(self, client: OHLCV) -> None:
        """Hand over what is in flight once the connection has brought nothing to any of many for long enough."""
        with suppress(TradingViewError):
            await client.connect()
            self._answered_at = loop_time()
            while not self._is_last and not self._is_over:
                quiet_s = loop_time() - self._answered_at
                if quiet_s >= STILL_S and self._has_others:
                    self._hand_over()
                await asyncio.sleep(STILL_S - quiet_s if quiet_s < STILL_S else STILL_S)

    @property
    def _is_over(self) -> bool:
        """True if others decide, or the tick is over."""
        return self.suspects.done() or loop_time() >= self._ends_at

    @property
    def _has_others(self) -> bool:
        return len(self._in_flight) > 1 or bool(self._waiting)

    async def _work(self, client: OHLCV) -> None:
        while self._waiting and not self._is_over:
            key = self._waiting.popleft()
            self._in_flight[key] = None
            self._answers.begin([key])
            answer: Minutes | None = None
            try:
                answer = await _ask(client, key, self._answers.requests[key], self._ends_at - loop_time())
                if is_lost(answer) or (is_late(answer) and self._has_others and not self._is_over):
                    self._hand_over()
                    self._end_others()
                if is_lost(answer) or (is_late(answer) and self._is_over):
                    answer = None  # it is decided alone, or it is the tick that is over: it is asked first in the next
                if answer is not None and not is_late(answer):
                    self._answered_at = loop_time()
            finally:
                self._in_flight.pop(key)
                self._answers.end(key, answer)

    def _hand_over(self) -> None:
        if not self.suspects.done():
            suspects = list(self._in_flight)
            self._answers.begin(suspects)
            self.suspects.set_result(suspects)

    def _end_others(self) -> None:
        """The others that are in flight need not wait any longer for nothing."""
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()


async def wait(tasks: "Collection[asyncio.Future[None]]", until: float) -> None:
    """Wait for tasks as long as there is time."""
    if tasks:
        await asyncio.wait(tasks, timeout=None if until == math.inf else max(until - loop_time(), 0.0))


async def end(tasks: "Collection[asyncio.Future[None]]") -> None:
    """Cancel what is not done; raise what one of them did."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _ask(client: OHLCV, key: SeriesKey, request: HistoryRequest, timeout_s: float) -> Minutes:
    ends_at = loop_time() + timeout_s
    answer = await _fetch(client, request, timeout_s)
    if not key[1] and is_empty(answer) and request.width == _MINUTE and request.start is None:
        days = HistoryRequest(request.symbol, "1d", bars_count=FIRST_DAYS)
        return await _fetch(client, days, ends_at - loop_time())
    return answer


async def _fetch(client: OHLCV, request: HistoryRequest, timeout_s: float) -> Minutes:
    try:
        [answer] = (await client.fetch_each([request], timeout_s=timeout_s)).values()
    except Exception as error:
        return expected(error)
    return expected(answer)


def expected(answer: SeriesHistory | Exception) -> Minutes:
    """The answer, or the error that it is; one that nobody expected is told as that."""
    if isinstance(answer, SeriesHistory | TradingViewError):
        return answer
    return TradingViewError(described(answer))


def is_empty(answer: object) -> bool:
    """True if the server answered that there are no bars."""
    if isinstance(answer, NoBarsError):
        return answer.is_empty_answer
    return isinstance(answer, SeriesHistory) and not len(answer.rows)


def is_late(answer: object) -> bool:
    """True if no answer came in time."""
    return isinstance(answer, NoBarsError) and not answer.is_empty_answer


def is_lost(answer: object) -> bool:
    """True if the connection broke."""
    return isinstance(answer, ConnectionFailedError | ProtocolError)
