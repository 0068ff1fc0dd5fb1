"""Bars as they close, for people and for pipes, and for a lake: a line each, and what was not seen or not stored."""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from tv_etl.cli.plain import json_text
from tv_etl.cli.watch_quotes import LIMITS, run_until_one_ends, wait_until_reader_leaves
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.errors import StaleStreamError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest, OHLCVBar, SeriesHistory, StreamGap, convert_timestamp_to_iso
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.services import TRADINGVIEW
from tv_etl.tradingview.symbols import SeriesSettings

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore  # only with a lake; it takes a while to import
    from tv_etl.tradingview.history import HistoryResult

# Of a series that the lake does not have yet.
INITIAL_BARS = 300


async def watch_bars(
    symbols: Sequence[str],
    interval: Interval,
    *,
    as_json: bool,
    store: "BarStore | None",
    ws_url: str | None,
    account: Account,
    proxy: str | None = None,
) -> bool:
    """Print each bar as it closes until cancelled, or until all series have failed: then False.

    With a `store` each is joined to what is stored of its series, and what is missing there comes first. Raises
    TradingViewError if there is no connection at all.
    """

    def on_gap(gap: StreamGap) -> None:
        if as_json:
            span = {"start": convert_timestamp_to_iso(gap.start), "end": convert_timestamp_to_iso(gap.end)}
            _print_json({"symbol": gap.symbol, "interval": gap.interval, "gap": span})
        else:
            print(printable(str(gap)), file=sys.stderr)

    async with OHLCV(ws_url, account=account, limits=LIMITS, proxy=proxy, on_gap=on_gap) as client:
        joining = None if store is None else _Joining(client, store)

        async def show() -> None:
            async for series, closed in client.stream_closed_bars(symbols, interval.wire):
                if isinstance(closed, OHLCVBar):
                    _print_json(_to_dict(series, closed)) if as_json else _print_bar(series, closed)
                    if joining is not None:
                        joining.add(series)
                else:
                    _print_error(series, closed, as_json=as_json)

        running = [show()]
        if joining is not None:
            for symbol in dict.fromkeys(symbols):
                joining.add(Series(symbol, interval))
            running.append(joining.run())
        if not sys.stdout.isatty():
            running.append(wait_until_reader_leaves())
        await run_until_one_ends(*running)
    return False


class _Joining:
    """Joins the series that have closed bars to a lake, as an increment does: all that are due in one go."""

    def __init__(self, client: OHLCV, store: "BarStore") -> None:
        self._client = client
        self._store = store
        self._due: dict[Series, None] = {}
        self._has_due = asyncio.Event()
        self._answers: Future[dict[HistoryRequest, SeriesHistory | Exception]] | None = None
        self._is_over = False

    def add(self, series: Series) -> None:
        self._due[series] = None
        self._has_due.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_due.wait()
            due, self._due = list(self._due), {}
            self._has_due.clear()
            # In a thread: a commit waits for files, or for a bucket.
            joined = loop.run_in_executor(None, self._join, due, loop)
            try:
                await asyncio.wait({joined})
            finally:
                if not joined.done():
                    await self._finish(joined)
            for series, problem in joined.result():
                print(f"{printable(str(series))}: {printable(problem, 1_000)}", file=sys.stderr, flush=True)

    async def _finish(self, joined: "asyncio.Future[Any]") -> None:
        """Let a commit end; ask for nothing any more."""
        self._is_over = True
        if self._answers is not None:
            self._answers.cancel()
        await asyncio.wait({joined})

    def _join(self, due: list[Series], loop: asyncio.AbstractEventLoop) -> list[tuple[Series, str]]:
        """What the lake's owner has to know of each series that was not simply joined."""
        from tv_etl.collect.ask import Ask, increment
        from tv_etl.collect.collection import Failed, Stored, carry_out, plan
        from tv_etl.tradingview.history import to_table

        def fetch(requests: Iterable[HistoryRequest]) -> "Iterator[HistoryResult]":
            if self._is_over:
                raise CancelledError
            self._answers = asyncio.run_coroutine_threadsafe(self._client.fetch_each(list(requests)), loop)
            answers = self._answers.result()
            connection = self._client.connection_service
            market = TRADINGVIEW if connection is None else connection.market
            for request, answer in answers.items():
                if isinstance(answer, TradingViewError):
                    yield request, answer
                elif isinstance(answer, Exception):
                    raise answer
                else:
                    yield request, to_table(answer, market=market)

        want, problems, asks = increment(SeriesSettings(), INITIAL_BARS), [], list[Ask]()
        for planned in plan(self._store, ((series, want) for series in due), time.time(), lists=False):
            if isinstance(planned, Ask):
                asks.append(planned)
            elif isinstance(planned, Failed):
                problems.append((planned.series, f"not stored: {planned.error}"))
        for outcome in carry_out(self._store, asks, fetch):
            if isinstance(outcome, Failed):
                problems.append((outcome.series, f"not stored: {outcome.error}"))
            elif isinstance(outcome, Stored) and outcome.commit.seam is not None:
                problems.append((outcome.series, f"not proven to join the older bars at {outcome.commit.seam}"))
        return problems


def _to_dict(series: Series, bar: OHLCVBar) -> dict[str, Any]:
    values = bar.model_dump() | {"timestamp": convert_timestamp_to_iso(bar.timestamp)}
    return {"symbol": series.symbol, "interval": series.interval.token} | values


def _print_json(content: dict[str, Any]) -> None:
    print(json_text(content), flush=True)  # a reader of the pipe waits for it


def _print_bar(series: Series, bar: OHLCVBar) -> None:
    opened = convert_timestamp_to_iso(bar.timestamp)[:19].replace("T", " ")
    volume = "" if bar.volume is None else f" {bar.volume:g}"
    prices = " ".join(f"{price:.12g}" for price in (bar.open, bar.high, bar.low, bar.close))
    print(f"{opened} {printable(series.symbol)} {series.interval} {prices}{volume}", flush=True)


def _print_error(series: Series, error: TradingViewError, *, as_json: bool) -> None:
    if as_json:
        kind = "stale" if isinstance(error, StaleStreamError) else "error"
        _print_json({"symbol": series.symbol, "interval": series.interval.token, kind: printable(str(error))})
    else:
        print(printable(str(error), 1_000), file=sys.stderr, flush=True)
