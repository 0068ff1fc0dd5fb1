"""Live quotes for people and for pipes: a table in the terminal, or a JSON line for each change."""

import asyncio
import logging
import math
import select
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tv_etl.cli.plain import json_text
from tv_etl.cli.price_format import HUNDREDTHS, PriceFormat
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.models import NO_VALUE, StreamGap, feed_delay_s
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.services import Limits

# How long a price that changed stays coloured.
FLASH_S = 1.0
SHOWN_GAPS = 3
READER_CHECK_S = 0.5  # between two checks whether the pipe still has a reader
_NO_WIDTH = 10_000
WIDE = 110  # columns of a terminal that fits the whole table
# A watch runs until it is stopped: it waits long for a lost connection.
LIMITS = Limits(reconnect_s=3_600)


@dataclass(frozen=True)
class Quote:
    """What is shown of one symbol; None where the server has not said. `error` is the server's reason to refuse it."""

    symbol: str
    price: float | None = None
    change: float | None = None
    change_percent: float | None = None
    volume: float | None = None
    bid: float | None = None
    ask: float | None = None
    last_trade: datetime | None = None
    delay_s: float | None = None
    currency: str | None = None
    format: PriceFormat = HUNDREDTHS
    error: str = ""

    @classmethod
    def of(cls, symbol: str, fields: Mapping[str, Any]) -> "Quote":
        """Read the quote from all known fields of a symbol."""
        traded = _number(fields, "lp_time")
        return cls(
            symbol,
            price=_number(fields, "lp"),
            change=_number(fields, "ch"),
            change_percent=_number(fields, "chp"),
            volume=_number(fields, "volume"),
            bid=_number(fields, "bid"),
            ask=_number(fields, "ask"),
            last_trade=None if traded is None else _moment(traded),
            delay_s=feed_delay_s(str(fields.get("update_mode", ""))),
            currency=printable(str(fields["currency_code"]), 10) if fields.get("currency_code") else None,
            format=PriceFormat.of(fields),
        )

    def to_dict(self) -> dict[str, Any]:
        """The quote for JSON: time in ISO 8601, unknown values null; if there is an error, only the error."""
        if self.error:
            return {"symbol": self.symbol, "error": self.error}
        return {
            "symbol": self.symbol,
            "price": self.price,
            "change": self.change,
            "change_percent": self.change_percent,
            "volume": self.volume,
            "bid": self.bid,
            "ask": self.ask,
            "last_trade": None if self.last_trade is None else self.last_trade.isoformat(),
            "delay_s": self.delay_s,
            "currency": self.currency,
        }


class QuoteTable:
    """The newest quote of each symbol in the order given, which prices moved lately, and when nothing was seen."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.quotes = {symbol: Quote(symbol) for symbol in symbols}
        self.gaps: deque[tuple[float, float]] = deque(maxlen=SHOWN_GAPS)
        self._moved: dict[str, tuple[str, float]] = {}

    def update(self, quote: Quote, now: float) -> bool:
        """Take in a quote; True if anything in it is new. `now` is the clock that colours are timed by."""
        before = self.quotes[quote.symbol]
        self.quotes[quote.symbol] = quote
        if before.price is not None and quote.price is not None and before.price != quote.price:
            self._moved[quote.symbol] = "bold green" if quote.price > before.price else "bold red", now
        return quote != before

    def add_gap(self, gap: StreamGap) -> bool:
        """Note that nothing was seen for a while; True the first time, since each gap is reported for every symbol."""
        span = (gap.start, gap.end)
        if self.gaps and self.gaps[-1][1] >= gap.start:
            return False
        self.gaps.append(span)
        return True

    @property
    def has_only_errors(self) -> bool:
        """True if there is nothing left to wait for."""
        return all(quote.error for quote in self.quotes.values())

    def render(self, now: float, width: int, status: str = "") -> RenderableType:
        """The table and its footer; recently changed prices in colour, bid and ask if the width allows."""
        is_wide = width >= WIDE
        table = Table(box=None, padding=(0, 1, 0, 0))
        table.add_column("symbol", no_wrap=True)
        columns = ("price", "change", "%", "volume", *(("bid", "ask") if is_wide else ()), "last (UTC)", "delay")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        for quote in self.quotes.values():
            if quote.error:
                table.add_row(Text(quote.symbol), *[""] * len(columns[1:]), Text(quote.error, style="red"))
                continue
            style, since = self._moved.get(quote.symbol, ("", -math.inf))
            sign = "" if not quote.change else "green" if quote.change > 0 else "red"
            sides = [_price(each, quote.format) for each in (quote.bid, quote.ask)] if is_wide else []
            table.add_row(
                Text(quote.symbol),
                Text(_price(quote.price, quote.format), style=style if now - since < FLASH_S else ""),
                Text(_price(quote.change, quote.format, "+"), style=sign),
                Text("" if quote.change_percent is None else f"{quote.change_percent:+.2f}", style=sign),
                _volume(quote.volume),
                *sides,
                "" if quote.last_trade is None else f"{quote.last_trade:%m-%d %H:%M:%S}",
                _delay(quote.delay_s),
            )
        footer = [
            Text(f"nothing was seen from {_clock(start)} to {_clock(end)} UTC", "yellow") for start, end in self.gaps
        ]
        return Group(table, *footer, *([Text(status, "yellow")] if status else []))


async def print_once(
    symbols: Sequence[str], *, as_json: bool, ws_url: str | None, account: Account, proxy: str | None = None
) -> bool:
    """Print the current quotes; False if a symbol was refused. Raises TradingViewError."""
    table = QuoteTable(symbols)
    async with OHLCV(ws_url, account=account, proxy=proxy) as client:
        for symbol, found in (await client.get_quotes(symbols)).items():
            if symbol not in table.quotes:
                continue  # nobody asked for it
            if isinstance(found, SymbolError):
                table.update(Quote(symbol, error=printable(found.reason)), 0.0)
            else:
                table.update(_read_quote({**found.symbol_info, "n": symbol, "s": "ok"}), 0.0)
    if as_json:
        for quote in table.quotes.values():
            _print_line(quote.to_dict())
    else:
        console = Console()
        if console.is_terminal:
            console.print(table.render(0.0, console.width))
        else:
            _print_whole(table)
    return not any(quote.error for quote in table.quotes.values())


def _print_whole(table: QuoteTable) -> None:
    """Print it for a pipe or a file, which have no width: nothing is cut, and no line filled up."""
    console = Console(width=_NO_WIDTH)
    with console.capture() as captured:
        console.print(table.render(0.0, console.width))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


async def watch_quotes(
    symbols: Sequence[str], *, as_json: bool, ws_url: str | None, account: Account, proxy: str | None = None
) -> bool:
    """Show every change until cancelled, or until all symbols are refused: then False. Raises TradingViewError."""
    table = QuoteTable(symbols)

    def on_gap(gap: StreamGap) -> None:
        if table.add_gap(gap) and as_json:
            moments = [_moment(each) for each in (gap.start, gap.end)]
            start, end = (None if each is None else each.isoformat() for each in moments)
            _print_line({"gap": {"start": start, "end": end}})

    async with OHLCV(ws_url, account=account, limits=LIMITS, proxy=proxy, on_gap=on_gap) as client:
        if as_json:
            await run_until_one_ends(_print_changes(client, table), wait_until_reader_leaves())
            return False

        console = Console()

        is_watching = True

        def render() -> RenderableType:
            connection = client.connection_service
            is_lost = is_watching and connection is not None and not connection.is_open
            return table.render(
                time.monotonic(), console.width, "the connection is lost: trying again" if is_lost else ""
            )

        # The footer says what the log would, and a log line would tear the table.
        logging.getLogger("tv_etl").addHandler(logging.NullHandler())
        with Live(console=console, get_renderable=render, refresh_per_second=8):
            try:
                async for _ in _changes(client, table):
                    pass
            finally:
                is_watching = False  # what is drawn last stays on the screen
        return False


async def _print_changes(client: OHLCV, table: QuoteTable) -> None:
    async for quote in _changes(client, table):
        if quote.price is not None or quote.error:
            _print_line(quote.to_dict())


async def wait_until_reader_leaves() -> None:
    """Wait until nobody reads our pipe: in a closed market it may be days until a line is due and writing it fails."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)
    while not pipe.poll(0):
        await asyncio.sleep(READER_CHECK_S)
    raise BrokenPipeError


async def run_until_one_ends(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends; raise what it raises."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _changes(client: OHLCV, table: QuoteTable) -> AsyncGenerator[Quote, None]:
    """Every quote that differs from the one before, until each symbol has been refused."""
    async with aclosing(client.get_latest_trade_info(list(table.quotes))) as messages:
        async for message in messages:
            quote = _read_quote(message["p"][1])
            if quote.symbol not in table.quotes:
                continue  # nobody asked for it
            if table.update(quote, time.monotonic()):
                yield quote
            if table.has_only_errors:
                return


def _read_quote(fields: Mapping[str, Any]) -> Quote:
    """What a message says of a symbol; what nobody expected is that symbol's error."""
    symbol = str(fields.get("n", ""))
    try:
        if fields["s"] == "ok":
            return Quote.of(symbol, fields)
        return Quote(symbol, error=printable(str(fields.get("errmsg") or fields["s"])))
    except Exception as error:  # whatever it is, it is this symbol's alone
        return Quote(symbol, error=f"unexpected {type(error).__name__}: {printable(str(error))}")


def _print_line(content: Mapping[str, Any]) -> None:
    # Flushed: a reader of the pipe waits for it.
    sys.stdout.write(json_text(content) + "\n")
    sys.stdout.flush()


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < NO_VALUE
    return float(value) if is_number and value is not None else None


def _moment(second: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(second, tz=timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None


def _price(value: float | None, written: PriceFormat, sign: str = "") -> str:
    return "" if value is None else written.write(value, sign)


def _volume(value: float | None) -> str:
    """Four digits at most: what matters is how much, and that it grows."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value is not None and abs(value) >= limit:
            return f"{value / limit:.2f}{unit}"
    return "" if value is None else f"{value:.4g}"


def _delay(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return "live" if not seconds else f"{seconds / 60:.0f} min"


def _clock(second: float) -> str:
    moment = _moment(second)
    return "?" if moment is None else f"{moment:%H:%M:%S}"
