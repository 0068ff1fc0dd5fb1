"""What rules are judged on: the quotes of all symbols, and the minutes of those for which they matter.

No symbol costs another anything: quotes are asked for in chunks, and what answered counts; whoever breaks a connection
or brings it to a stand is found by asking each that was in flight alone, and asked alone and last from then on.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tv_etl.alerts.passes import (
    FIRST_DAYS,
    Answers,
    ClientFactory,
    Minutes,
    SeriesKey,
    ask_alone,
    ask_bars,
    end,
    expected,
    is_empty,
    is_lost,
    wait,
)
from tv_etl.tradingview.errors import PaceError, SeriesError, SymbolError, TradingViewError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, feed_delay_s
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.symbols import SeriesSettings, SessionKind
from tv_etl.tradingview.websocket import loop_time

# Dagster gives up a sensor evaluation after 60 s; delivery needs its share, too.
INPUT_LIMIT_S = 35.0
QUOTE_LIMIT_S = 10.0
# How long at least those are waited for that failed before.
FAILED_BEFORE_S = 2.0
# The first quotes are not waited for longer than this once nothing more comes; the first answers are handed over after
# that time. What follows comes in batches and rounds twice as long each time: soon while much comes, few of stragglers.
LULL_S = 0.1
FIRST_ROUND_S = 0.2
# Nothing of a broken connection is tried again by itself: who broke it is to be found.
_QUOTE_LIMITS = Limits(progress_s=QUOTE_LIMIT_S, reconnect_s=0.0)

QUOTE_CHUNK = 100
FIRST_BARS = 12
_FEW = 5

DAY_S = 86_400.0
CENTURY_S = 36_525 * DAY_S

Fault = Literal["late", "broke", "minutes"]
Quote = QuoteSymbolData | TradingViewError
# Of the symbols that these are the quotes of, None where it was not asked for: whose minutes, and which other bars.
Wants = Callable[[Mapping[str, Quote | None], float], Collection[str]]
Wider = Callable[[Mapping[str, Quote | None], float], Mapping[SeriesKey, HistoryRequest]]


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
    """What the alert rules of some symbols are judged on; a symbol that was not asked is in none of the mappings.

    `now` is the server's clock in UTC seconds; this host's where the server's is not believed, and `doubt` says so.
    `series` are bars of other intervals, by symbol and interval. `faults` are the symbols that are to be asked last,
    and alone, from now on.
    """

    now: float
    quotes: dict[str, Quote] = field(default_factory=dict)
    minutes: dict[str, Minutes] = field(default_factory=dict)
    doubt: str = ""
    faults: dict[str, Fault] = field(default_factory=dict)
    series: dict[SeriesKey, Minutes] = field(default_factory=dict)

    @property
    def symbols(self) -> list[str]:
        """Those of which there is anything."""
        return list(dict.fromkeys([*self.quotes, *self.minutes, *(symbol for symbol, _ in self.series)]))

    def only(self, symbols: Collection[str]) -> "AlertInputs":
        """What there is of these."""
        return AlertInputs(
            self.now,
            {name: each for name, each in self.quotes.items() if name in symbols},
            {name: each for name, each in self.minutes.items() if name in symbols},
            self.doubt,
            {name: each for name, each in self.faults.items() if name in symbols},
            {key: each for key, each in self.series.items() if key[0] in symbols},
        )

    @classmethod
    def joined(cls, rounds: Iterable["AlertInputs"]) -> "AlertInputs":
        """What all of them hold, at the time of the last."""
        whole = cls(0.0)
        for each in rounds:
            whole = cls(
                each.now,
                whole.quotes | each.quotes,
                whole.minutes | each.minutes,
                whole.doubt or each.doubt,
                whole.faults | each.faults,
                whole.series | each.series,
            )
        return whole


async def gather(
    open_client: ClientFactory, asks: Mapping[str, Ask], wants: Wants | None = None, wider: Wider | None = None
) -> AsyncGenerator[AlertInputs, None]:
    """Ask for the quotes, then for the minutes of the symbols that are wanted in the light of them (None: of all).

    With them come the bars of other intervals that `wider` wants, by symbol and interval. It comes in rounds, as it is
    answered: each symbol is in one of them, with all that came of it. It ends within 35 s; what was not reached has an
    error, or is asked next time. Raises TradingViewError if no connection can be opened.
    """
    client = open_client(_QUOTE_LIMITS)
    await client.connect()
    asking = _Asking(open_client, asks, wants, wider)
    tasks = [asyncio.ensure_future(each) for each in (asking.ask(client), asking.ask_failed())]
    for task in tasks:
        task.add_done_callback(lambda _: asking.rounds.put_nowait(None))
    try:
        for _ in tasks:
            while (inputs := await asking.rounds.get()) is not None:
                yield inputs
    finally:
        await end(tasks)


class _Asking:
    """The quotes of all symbols in batches, and for each batch the bars of its symbols, which come in rounds."""

    def __init__(
        self, open_client: ClientFactory, asks: Mapping[str, Ask], wants: Wants | None, wider: Wider | None
    ) -> None:
        self._open_client, self._asks, self._wants, self._wider = open_client, asks, wants, wider
        self._ends_at = loop_time() + INPUT_LIMIT_S
        # By how much the server's clock is ahead of this host's as far as it is believed, and why it is not.
        self._clock: asyncio.Future[tuple[float, str]] = asyncio.get_running_loop().create_future()
        self.rounds: asyncio.Queue[AlertInputs | None] = asyncio.Queue()

    async def ask(self, client: OHLCV) -> None:
        """All but those whose quotes failed before and are asked for again."""
        names = [name for name, ask in self._asks.items() if not (ask.quote_fault and ask.is_due)]
        asked = [name for name in names if not self._asks[name].quote_fault]
        found: dict[str, Quote] = {}

        def read_clock() -> None:
            if not self._clock.done():
                host = time.time()
                now, doubt = believe(client.server_now(), host, found.values())
                self._clock.set_result((now - host, doubt))

        async def quote() -> None:
            async with client:
                await _ask_quotes(self._open_client, client, asked, found)
                read_clock()

        try:
            await self._ask_in_batches(names, asked, quote(), found, lambda: _quote_faults(found), read_clock)
        finally:
            self._clock.cancel()  # unless it is known: nothing is judged without one

    async def ask_failed(self) -> None:
        """Those whose quotes failed before: beside the others, who do not wait for them."""
        due = {name: ask for name, ask in self._asks.items() if ask.quote_fault and ask.is_due}
        found: dict[str, Quote] = {}

        def faults() -> dict[str, Fault]:
            failed = [name for name in due if _has_failed(found.get(name))]
            return {name: "broke" if due[name].quote_fault == "broke" else "late" for name in failed}

        quote = _ask_failed_quotes(self._open_client, due, found)
        await self._ask_in_batches(list(due), list(due), quote, found, faults, lambda: None)

    async def _ask_in_batches(
        self,
        names: Sequence[str],
        asked: Collection[str],
        quote: Coroutine[Any, Any, None],
        found: Mapping[str, Quote],
        faults: Callable[[], Mapping[str, Fault]],
        read_clock: Callable[[], None],
    ) -> None:
        """Go on with what has come whenever nothing more does for a while; the last batch has what never came."""
        quoting = asyncio.ensure_future(quote)
        left, tasks, lull_s = set(names), {quoting}, LULL_S
        try:
            while left:
                before = len(found)
                await asyncio.wait({quoting}, timeout=lull_s)
                is_last = quoting.done()
                batch = [name for name in names if name in left and (is_last or name in found or name not in asked)]
                if not is_last and (not found or len(found) > before or not batch):
                    continue
                read_clock()
                ahead_s, doubt = await self._clock
                start = AlertInputs(time.time() + ahead_s, doubt=doubt, faults={**faults()} if is_last else {})
                quotes = {name: found.get(name) for name in batch}
                tasks.add(asyncio.ensure_future(self._ask_bars(quotes, start)))
                left.difference_update(batch)
                lull_s *= 2
            await wait(tasks, self._ends_at)
        finally:
            await end(tasks)

    async def _ask_bars(self, quotes: Mapping[str, Quote | None], start: AlertInputs) -> None:
        """Ask for the bars of the symbols that these are the quotes of, and hand over who is answered."""
        asks = {name: self._asks[name] for name in quotes}
        series = {} if self._wider is None else self._wider(quotes, start.now)
        wanted = set(asks) if self._wants is None else set(self._wants(quotes, start.now))
        by_turn = sorted(asks, key=lambda name: (asks[name].since is not None, asks[name].since or 0))
        minutes, errors = _requests({name: asks[name] for name in by_turn if name in wanted})
        failed = {name for name, ask in asks.items() if ask.minutes_failed}
        resting = {name for name in failed if not asks[name].is_due}
        requests = {key: each for key, each in (minutes | dict(series)).items() if key[0] not in resting}
        answers = Answers(requests, errors)
        asking = asyncio.ensure_future(self._ask_all(answers, failed))
        owed: dict[str, list[SeriesKey]] = {name: [] for name in quotes}
        for key in requests:
            owed[key[0]].append(key)
        wait_s = FIRST_ROUND_S
        try:
            while owed:
                await asyncio.wait({asking}, timeout=wait_s)
                is_last = asking.done()
                ready = [name for name, keys in owed.items() if is_last or all(key in answers.found for key in keys)]
                if ready:
                    self.rounds.put_nowait(_round({name: quotes[name] for name in ready}, answers.found, start))
                owed = {name: keys for name, keys in owed.items() if name not in ready}
                wait_s *= 2
            await wait({asking}, self._ends_at)
        finally:
            await end({asking})

    async def _ask_all(self, answers: Answers, failed: Collection[str]) -> None:
        """Those that failed before alone, and those that are new apart from those that have answered before."""
        began = loop_time()
        alone = [key for key in answers.requests if key[0] in failed]
        others = [key for key in answers.requests if key[0] not in failed]
        asking_alone = asyncio.ensure_future(ask_alone(self._open_client, answers, alone))
        groups = [[key for key in others if (self._asks[key[0]].since is None) is is_new] for is_new in (False, True)]
        tasks = [asyncio.ensure_future(ask_bars(self._open_client, answers, keys, self._ends_at)) for keys in groups]
        try:
            await wait(tasks, self._ends_at)
            # Beside the others, who are not to wait for it once they are done.
            await wait([asking_alone], min(began + FAILED_BEFORE_S, self._ends_at))
        finally:
            await end([*tasks, asking_alone])


def _round(quotes: Mapping[str, Quote | None], found: Mapping[SeriesKey, Minutes], start: AlertInputs) -> AlertInputs:
    bars = {key: answer for key, answer in found.items() if key[0] in quotes}
    faults = {name: fault for name, fault in start.faults.items() if name in quotes}
    return AlertInputs(
        start.now,
        {name: quote for name, quote in quotes.items() if quote is not None},
        {symbol: answer for (symbol, interval), answer in bars.items() if not interval},
        start.doubt,
        faults | {symbol: "minutes" for (symbol, _), answer in bars.items() if _is_at_fault(answer)},
        {key: answer for key, answer in bars.items() if key[1]},
    )


# --- quotes


async def _ask_quotes(
    open_client: ClientFactory, client: OHLCV, symbols: Sequence[str], found: dict[str, Quote]
) -> None:
    ends_at = loop_time() + QUOTE_LIMIT_S
    chunks = [symbols[start : start + QUOTE_CHUNK] for start in range(0, len(symbols), QUOTE_CHUNK)]
    asked = (client.get_quotes_in_time(each, timeout_s=QUOTE_LIMIT_S, on_quote=found.__setitem__) for each in chunks)
    quotes: dict[str, Quote] = {name: quote for each in await asyncio.gather(*asked) for name, quote in each.items()}
    lost = [name for name, quote in quotes.items() if is_lost(quote)]
    if lost:
        quotes |= await _ask_halves(open_client, lost, ends_at, found)
    found |= {name: quote for name, quote in quotes.items() if name not in found}


def _quote_faults(quotes: Mapping[str, Quote]) -> dict[str, Fault]:
    """Who is to be asked apart from now on; nobody, where so many were late that it was the server."""
    faults = {name: _quote_fault(answer) for name, answer in quotes.items() if _has_failed(answer)}
    late = [name for name, fault in faults.items() if fault == "late"]
    is_the_server = len(late) > max(_FEW, len(quotes) / 10)
    return {name: fault for name, fault in faults.items() if not is_the_server or fault != "late"}


async def _ask_halves(
    open_client: ClientFactory, symbols: Sequence[str], ends_at: float, found: dict[str, Quote]
) -> dict[str, Quote]:
    """The quotes of symbols among which is one that breaks the connection: halved until it is alone."""
    middle = len(symbols) // 2
    quotes: dict[str, Quote] = {}
    for half in (symbols[:middle], symbols[middle:]):
        left_s = ends_at - loop_time()
        if not half or left_s <= 0:
            continue
        async with open_client(_QUOTE_LIMITS) as client:
            answers = await client.get_quotes_in_time(half, timeout_s=left_s, on_quote=found.__setitem__)
        lost = [name for name, quote in answers.items() if is_lost(quote)]
        quotes |= answers
        if lost and len(half) > 1:
            quotes |= await _ask_halves(open_client, lost, ends_at, found)
    return quotes


async def _ask_failed_quotes(open_client: ClientFactory, due: Mapping[str, Ask], found: dict[str, Quote]) -> None:
    late = [name for name, ask in due.items() if ask.quote_fault == "late"]

    async def ask_for(names: Sequence[str]) -> None:
        try:
            async with open_client(_QUOTE_LIMITS) as client:
                asked = client.get_quotes_in_time(names, timeout_s=FAILED_BEFORE_S, on_quote=found.__setitem__)
                found.update(await asked)
        except TradingViewError as error:
            found.update({name: error for name in names if name not in found})

    groups = (late, *([name] for name in due if name not in late))
    tasks = [asyncio.ensure_future(ask_for(names)) for names in groups if names]
    try:
        # A connection that cannot be opened is no reason to wait for longer.
        await wait(tasks, loop_time() + FAILED_BEFORE_S + LULL_S)
    finally:
        await end(tasks)


# --- minutes


def _requests(asks: Mapping[str, Ask]) -> tuple[dict[SeriesKey, HistoryRequest], dict[SeriesKey, Minutes]]:
    """The requests, and the errors of those that cannot even be asked for."""
    requests: dict[SeriesKey, HistoryRequest] = {}
    errors: dict[SeriesKey, Minutes] = {}
    for name, ask in asks.items():
        try:
            settings = SeriesSettings(session=ask.session)
            if ask.since is None:
                count = FIRST_BARS if ask.interval == "1m" else FIRST_DAYS
                requests[name, ""] = HistoryRequest(name, ask.interval, bars_count=count, settings=settings)
            else:
                requests[name, ""] = HistoryRequest(name, ask.interval, start=utc(ask.since), settings=settings)
        except Exception as error:  # whatever it is, it is this symbol's alone
            errors[name, ""] = expected(error)
    return requests, errors


def _is_at_fault(answer: Minutes) -> bool:
    if isinstance(answer, SymbolError | PaceError) or is_empty(answer):
        return False  # all were asked for too fast, or it has been answered
    return isinstance(answer, TradingViewError) and not (isinstance(answer, SeriesError) and answer.retryable)


def _has_failed(quote: Quote | None) -> bool:
    return quote is None or (isinstance(quote, TradingViewError) and not isinstance(quote, SymbolError))


def _quote_fault(quote: Quote) -> Fault:
    return "broke" if is_lost(quote) else "late"


# --- what an answer says


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
