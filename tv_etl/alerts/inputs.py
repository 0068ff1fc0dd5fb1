"""What rules are judged on: the quotes of all symbols, and the minutes of those for which they matter.

No symbol costs another anything: quotes are asked for in chunks, and what answered counts; whoever breaks a connection
or brings it to a stand is found by asking each that was in flight alone, and asked alone and last from then on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tv_etl.tradingview.errors import (
    ConnectionFailedError,
    NoBarsError,
    PaceError,
    ProtocolError,
    SeriesError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory, feed_delay_s
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.pace import WINDOW
from tv_etl.tradingview.printable import described
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.symbols import SeriesSettings, SessionKind
from tv_etl.tradingview.websocket import loop_time

# Dagster gives up a sensor evaluation after 60 s; delivery needs its share, too.
INPUT_LIMIT_S = 35.0
QUOTE_LIMIT_S = 10.0
# How long a request may be without any event, and how long at least those are waited for that failed before.
SILENCE_S = 4.0
ALONE_S = 5.0
FAILED_BEFORE_S = 2.0
# Nothing of a broken connection is tried again by itself: who broke it is to be found.
_QUOTE_LIMITS = Limits(progress_s=QUOTE_LIMIT_S, reconnect_s=0.0)
_MINUTE_LIMITS = Limits(progress_s=SILENCE_S, reconnect_s=0.0)

QUOTE_CHUNK = 100
FIRST_BARS = 12
FIRST_DAYS = 6
_IN_FLIGHT = WINDOW
_ALONE_IN_FLIGHT = 4
_PASSES = 4
_FEW = 5

DAY_S = 86_400.0
CENTURY_S = 36_525 * DAY_S

Fault = Literal["late", "broke", "minutes"]
Quote = QuoteSymbolData | TradingViewError
Minutes = SeriesHistory | TradingViewError
ClientFactory = Callable[[Limits], OHLCV]


@dataclass(frozen=True)
class Ask:
    """What to ask of one symbol: bars from `since` on (None: the newest few) at an interval, 1m or 1d.

    `session` says whether minutes before and after the regular hours are asked for as well.
    `quote_fault` and `minutes_failed` say what went wrong before; then it is asked only if it is its turn (`is_due`).
    """

    since: int | None = None
    interval: str = "1m"
    quote_fault: str = ""
    minutes_failed: bool = False
    is_due: bool = True
    session: SessionKind = "regular"


@dataclass(frozen=True)
class AlertInputs:
    """What the alert rules are judged on; a symbol that was not asked is in none of the mappings.

    `now` is the server's clock in UTC seconds; this host's where the server's is not believed, and `doubt` says so.
    `series` are bars of other intervals, by symbol and interval. `faults` are the symbols that are to be asked last,
    and alone, from now on.
    """

    now: float
    quotes: dict[str, Quote] = field(default_factory=dict)
    minutes: dict[str, Minutes] = field(default_factory=dict)
    doubt: str = ""
    faults: dict[str, Fault] = field(default_factory=dict)
    series: dict[tuple[str, str], Minutes] = field(default_factory=dict)


async def gather(
    open_client: ClientFactory,
    asks: Mapping[str, Ask],
    wants: Callable[[Mapping[str, Quote], float], Collection[str]] | None = None,
    wider: Callable[[Mapping[str, Quote], float], Mapping[tuple[str, str], HistoryRequest]] | None = None,
) -> AlertInputs:
    """Ask for the quotes, then for the minutes of the symbols that are wanted in the light of them (None: of all).

    Last come the bars of other intervals that `wider` wants, by symbol and interval.

    It ends within 35 s; what was not reached has an error, or is asked next time. Raises TradingViewError if no
    connection can be opened.
    """
    ends_at = waits_until = loop_time() + INPUT_LIMIT_S
    late_quotes: dict[str, Quote] = {}
    late_minutes: dict[str, Minutes] = {}
    tasks: set[asyncio.Future[None]] = set()
    try:
        async with open_client(_QUOTE_LIMITS) as client:
            await client.connect()
            tasks.add(asyncio.ensure_future(_ask_failed_quotes(open_client, asks, late_quotes)))
            waits_until = loop_time() + FAILED_BEFORE_S
            quotes = await _ask_quotes(open_client, client, [name for name, ask in asks.items() if not ask.quote_fault])
            now, doubt = believe(client.server_now(), time.time(), quotes.values())
        faults = _quote_faults(quotes)
        asked_for = {} if wider is None else wider(quotes, now)
        wanted = set(asks if wants is None else wants(quotes, now))
        requests, minutes = _requests({name: asks[name] for name in asks if name in wanted})
        by_turn = sorted(requests, key=lambda name: (asks[name].since is not None, asks[name].since or 0))
        failed_before = [requests[name] for name in by_turn if asks[name].minutes_failed and asks[name].is_due]
        tasks.add(asyncio.ensure_future(_ask_alone(open_client, failed_before, late_minutes)))
        waits_until = loop_time() + FAILED_BEFORE_S
        first = [requests[name] for name in by_turn if not asks[name].minutes_failed]
        minutes |= await _ask_minutes(open_client, first, ends_at)
        without = [name for name, answer in minutes.items() if is_empty(answer) and asks[name].interval == "1m"]
        days = [HistoryRequest(name, "1d", bars_count=FIRST_DAYS) for name in without if asks[name].since is None]
        minutes |= await _ask_minutes(open_client, days, ends_at)
        series = await _ask_series(open_client, asked_for, ends_at)
    finally:
        # Beside the others, who are not to wait for it once they are done.
        await _end(tasks, min(waits_until, ends_at) - loop_time())
    quotes |= late_quotes
    minutes |= late_minutes
    for name, ask in asks.items():
        if ask.quote_fault and ask.is_due and _has_failed(late_quotes.get(name)):
            faults[name] = "broke" if ask.quote_fault == "broke" else "late"
    faults |= {name: "minutes" for name, answer in minutes.items() if _is_at_fault(answer)}
    return AlertInputs(now, quotes, minutes, doubt, faults, series)


# --- quotes


async def _ask_quotes(open_client: ClientFactory, client: OHLCV, symbols: Sequence[str]) -> dict[str, Quote]:
    ends_at = loop_time() + QUOTE_LIMIT_S
    chunks = [symbols[start : start + QUOTE_CHUNK] for start in range(0, len(symbols), QUOTE_CHUNK)]
    answers = await asyncio.gather(*(client.get_quotes_in_time(chunk, timeout_s=QUOTE_LIMIT_S) for chunk in chunks))
    quotes: dict[str, Quote] = {name: quote for each in answers for name, quote in each.items()}
    lost = [name for name, quote in quotes.items() if _is_lost(quote)]
    if lost:
        quotes |= await _ask_halves(open_client, lost, ends_at)
    return quotes


def _quote_faults(quotes: Mapping[str, Quote]) -> dict[str, Fault]:
    """Who is to be asked apart from now on; nobody, where so many were late that it was the server."""
    faults = {name: _quote_fault(answer) for name, answer in quotes.items() if _has_failed(answer)}
    late = [name for name, fault in faults.items() if fault == "late"]
    is_the_server = len(late) > max(_FEW, len(quotes) / 10)
    return {name: fault for name, fault in faults.items() if not is_the_server or fault != "late"}


async def _ask_halves(open_client: ClientFactory, symbols: Sequence[str], ends_at: float) -> dict[str, Quote]:
    """The quotes of symbols among which is one that breaks the connection: halved until it is alone."""
    middle = len(symbols) // 2
    found: dict[str, Quote] = {}
    for half in (symbols[:middle], symbols[middle:]):
        left_s = ends_at - loop_time()
        if not half or left_s <= 0:
            continue
        async with open_client(_QUOTE_LIMITS) as client:
            answers = await client.get_quotes_in_time(half, timeout_s=left_s)
        lost = [name for name, quote in answers.items() if _is_lost(quote)]
        found |= answers
        if lost and len(half) > 1:
            found |= await _ask_halves(open_client, lost, ends_at)
    return found


async def _ask_failed_quotes(open_client: ClientFactory, asks: Mapping[str, Ask], found: dict[str, Quote]) -> None:
    due = {name: ask for name, ask in asks.items() if ask.quote_fault and ask.is_due}
    late = [name for name, ask in due.items() if ask.quote_fault == "late"]

    async def ask_for(names: Sequence[str]) -> None:
        try:
            async with open_client(_QUOTE_LIMITS) as client:
                found.update(await client.get_quotes_in_time(names, timeout_s=FAILED_BEFORE_S))
        except TradingViewError as error:
            found.update(dict.fromkeys(names, error))

    await asyncio.gather(*(ask_for(names) for names in (late, *([name] for name in due if name not in late)) if names))


# --- minutes


def _requests(asks: Mapping[str, Ask]) -> tuple[dict[str, HistoryRequest], dict[str, Minutes]]:
    """The requests by symbol, and the errors of those that cannot even be asked for."""
    requests: dict[str, HistoryRequest] = {}
    errors: dict[str, Minutes] = {}
    for name, ask in asks.items():
        try:
            settings = SeriesSettings(session=ask.session)
            if ask.since is None:
                count = FIRST_BARS if ask.interval == "1m" else FIRST_DAYS
                requests[name] = HistoryRequest(name, ask.interval, bars_count=count, settings=settings)
            else:
                requests[name] = HistoryRequest(name, ask.interval, start=utc(ask.since), settings=settings)
        except Exception as error:  # whatever it is, it is this symbol's alone
            errors[name] = expected(error)
    return requests, errors


async def _ask_minutes(
    open_client: ClientFactory, requests: Sequence[HistoryRequest], ends_at: float
) -> dict[str, Minutes]:
    """The bars of each; those that were in flight when a connection ended are asked alone, the rest on a new one."""
    found: dict[str, Minutes] = {}
    waiting, alone = deque(requests), set[asyncio.Future[None]]()
    try:
        for _ in range(_PASSES):
            if not waiting or loop_time() >= ends_at:
                break
            async with open_client(_MINUTE_LIMITS) as client:
                suspects = await _Pass(client, waiting, found, ends_at).run()
            # Beside the next pass: that may need all the time that there is, and is not to be broken again next time.
            alone.add(asyncio.ensure_future(_ask_alone(open_client, suspects, found)))
    finally:
        await _end(alone, ends_at - loop_time())
    return found


async def _ask_series(
    open_client: ClientFactory, requests: Mapping[tuple[str, str], HistoryRequest], ends_at: float
) -> dict[tuple[str, str], Minutes]:
    """Bars of several intervals, one interval after the other; of what is not reached there is none."""
    found: dict[tuple[str, str], Minutes] = {}
    for interval in dict.fromkeys(interval for _, interval in requests):
        mine = [request for (_, each), request in requests.items() if each == interval]
        answers = await _ask_minutes(open_client, mine, ends_at)
        found |= {(symbol, interval): answer for symbol, answer in answers.items()}
    return found


class _Pass:
    """Many requests over one connection, until all are answered or it is of no more use."""

    def __init__(
        self, client: OHLCV, waiting: deque[HistoryRequest], found: dict[str, Minutes], ends_at: float
    ) -> None:
        self._client, self._waiting, self._found, self._ends_at = client, waiting, found, ends_at
        self._suspects: list[HistoryRequest] = []
        self._workers: list[asyncio.Future[None]] = []
        self._answered_at = loop_time()
        self._in_flight = 0

    async def run(self) -> list[HistoryRequest]:
        """Ask, and return those that were in flight when the connection ended or stood still."""
        self._workers += [asyncio.ensure_future(self._work()) for _ in range(min(_IN_FLIGHT, len(self._waiting)))]
        for outcome in await asyncio.gather(*self._workers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        return self._suspects

    async def _work(self) -> None:
        while self._waiting and loop_time() < self._ends_at:
            request, asked_at = self._waiting.popleft(), loop_time()
            self._in_flight += 1
            try:
                answer = await _ask(self._client, request, self._ends_at - asked_at)
            except asyncio.CancelledError:
                self._suspects.append(request)
                raise
            is_alone = self._in_flight == 1 and not self._waiting
            stands_still = is_late(answer) and loop_time() - self._answered_at >= SILENCE_S / 2 and not is_alone
            self._in_flight -= 1
            if is_late(answer) and loop_time() >= self._ends_at:
                continue  # it is the tick that is over: the symbol is asked first in the next
            if _is_lost(answer) or stands_still:
                self._suspects.append(request)
                self._end_others()
                return
            if not is_late(answer):
                self._answered_at = loop_time()
            self._found[request.symbol] = answer

    def _end_others(self) -> None:
        """The others that are in flight need not wait any longer for nothing."""
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()


async def _ask_alone(open_client: ClientFactory, requests: Iterable[HistoryRequest], found: dict[str, Minutes]) -> None:
    """Find the bars of each over a connection of its own."""
    window = asyncio.Semaphore(_ALONE_IN_FLIGHT)

    async def ask(request: HistoryRequest) -> None:
        async with window, open_client(_MINUTE_LIMITS) as client:
            # Until it answers; who has not had a turn is to have it next time.
            found[request.symbol] = NoBarsError(f"{request}: no answer in time")
            found[request.symbol] = await _ask(client, request, ALONE_S)

    await asyncio.gather(*(ask(request) for request in requests))


async def _end(tasks: "set[asyncio.Future[None]]", timeout_s: float) -> None:
    """Wait for tasks as long as there is time."""
    if not tasks:
        return
    await asyncio.wait(tasks, timeout=max(timeout_s, 0.0))
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _ask(client: OHLCV, request: HistoryRequest, timeout_s: float) -> Minutes:
    try:
        [answer] = (await client.fetch_each([request], timeout_s=timeout_s)).values()
    except Exception as error:
        return expected(error)
    return expected(answer)


def is_empty(answer: object) -> bool:
    """True if the server answered that there are no bars."""
    if isinstance(answer, NoBarsError):
        return answer.is_empty_answer
    return isinstance(answer, SeriesHistory) and not len(answer.rows)


def is_late(answer: object) -> bool:
    """True if no answer came in time."""
    return isinstance(answer, NoBarsError) and not answer.is_empty_answer


def _is_lost(answer: object) -> bool:
    return isinstance(answer, ConnectionFailedError | ProtocolError)


def _is_at_fault(answer: Minutes) -> bool:
    if isinstance(answer, SymbolError | PaceError) or is_empty(answer):
        return False  # all were asked for too fast, or it has been answered
    return isinstance(answer, TradingViewError) and not (isinstance(answer, SeriesError) and answer.retryable)


def _has_failed(quote: Quote | None) -> bool:
    return quote is None or (isinstance(quote, TradingViewError) and not isinstance(quote, SymbolError))


def _quote_fault(quote: Quote) -> Fault:
    return "broke" if _is_lost(quote) else "late"


# --- what an answer says


def expected(answer: SeriesHistory | Exception) -> Minutes:
    """The answer, or the error that it is; one that nobody expected is told as that."""
    if isinstance(answer, SeriesHistory | TradingViewError):
        return answer
    return TradingViewError(described(answer))


def delay_s(quote: Quote | None) -> float:
    """How late the feed of a symbol is, as far as its quote says so; a day at most."""
    if not isinstance(quote, QuoteSymbolData):
        return 0.0
    return min(feed_delay_s(str(quote.symbol_info.get("update_mode", ""))) or 0.0, DAY_S)


def trade_time(quote: Quote | None, now: float) -> float | None:
    """When the quote's last trade was, in UTC seconds; None where it does not say, or says what cannot be."""
    value = quote.symbol_info.get("lp_time") if isinstance(quote, QuoteSymbolData) else None
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= now + DAY_S
    return float(value) if is_time and value is not None else None


def believe(server: float, host: float, quotes: Iterable[Quote]) -> tuple[float, str]:
    """The clock to judge by, and why it is not the server's where it is not.

    One that is more than a day from this host's is believed only if trades are as far away: a market that is replayed.
    """
    if abs(server - host) <= DAY_S:
        return server, ""
    latest = min(max(server, host), host + CENTURY_S)
    trades = [traded for quote in quotes if (traded := trade_time(quote, latest)) is not None]
    if trades and abs(max(trades) - server) < abs(max(trades) - host):
        return server, ""
    days = min(abs(server - host) / DAY_S, 1e6)
    way = "ahead of" if server > host else "behind"
    return host, f"the server's clock is {days:,.0f} days {way} this host's, which is used instead"
