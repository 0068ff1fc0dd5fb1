"""What a symbol may have been meant to be that is malformed, or unknown to the server of bars.

It is asked of the symbol search, for a person at the command line: never for longer than SEARCH_S in all, and never a
reason to fail. A search that says nothing leaves a message as it is.
"""

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from tv_etl.tradingview.errors import SearchError
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.services import WS_URL_VARIABLE
from tv_etl.tradingview.spellings import queries
from tv_etl.tradingview.symbol_search import BASE_URL_VARIABLE, FoundSymbol, SymbolSearch
from tv_etl.tradingview.symbols import told_malformed

SEARCH_S = 2.0
SHOWN = 3
# A list that is wrong as a whole has the same mistake in each line.
MOST_SEARCHES = 8
_MOST_CHARACTERS = 60
_UNKNOWN = re.compile(r"symbol '(?P<symbol>[A-Z0-9_]+:[^'\s]+)': invalid symbol$")

_Found = Mapping[str, Sequence[FoundSymbol]]


class Suggestions:
    """What was found for symbols that are malformed, the likeliest first; `search` finds more, for `limit_s` in all."""

    def __init__(self, found: _Found, search: SymbolSearch | None = None, limit_s: float = 0.0) -> None:
        self._found = dict(found)
        self._search = search
        self._left_s = limit_s

    def completed(self, message: str) -> str:
        """The message of an error, with what was found for each symbol that it tells as malformed, or as unknown."""
        if unknown := _UNKNOWN.search(message):
            # Mostly it is the exchange that is wrong.
            meant = [each for each in self._searched(unknown["symbol"]) if each.symbol != unknown["symbol"]]
            return f"{message}; did you mean {_all_named(meant)}?" if meant else message
        for symbol, start, end in reversed(told_malformed(message)):
            if symbol in self._found:
                named = _all_named(self._found[symbol])
                message = f"{message[:start]}expected EXCHANGE:TICKER; did you mean {named}?{message[end:]}"
        return message

    def _searched(self, symbol: str) -> Sequence[FoundSymbol]:
        if symbol not in self._found:
            began = time.monotonic()
            found = {} if self._search is None else _run(_search_each(self._search, [symbol], max(self._left_s, 0.0)))
            self._left_s -= time.monotonic() - began
            self._found[symbol] = found.get(symbol, ())
        return self._found[symbol]


def completed(message: str, *, ws_url: str | None = None, proxy: str | None = None) -> str:
    """The message of an error, with suggestions for each symbol that it tells as malformed, as far as any are found."""
    return suggest((each for each, _, _ in told_malformed(message)), ws_url=ws_url, proxy=proxy).completed(message)


def suggest(
    malformed: Iterable[str], *, ws_url: str | None = None, proxy: str | None = None, limit_s: float | None = None
) -> Suggestions:
    """Search for all of them at once, for SEARCH_S if no other limit is given.

    Whoever named a server of bars, but none to search at, has nothing asked elsewhere.
    """
    texts, limit_s = list(dict.fromkeys(malformed))[:MOST_SEARCHES], limit_s or SEARCH_S
    is_elsewhere = bool(ws_url or os.environ.get(WS_URL_VARIABLE)) and not os.environ.get(BASE_URL_VARIABLE)
    if is_elsewhere:
        return Suggestions({})
    try:
        search = SymbolSearch(try_s=limit_s, retry_s=0.0, timeout_s=limit_s, proxy=proxy)
    except (SearchError, ValueError):
        return Suggestions({})
    return Suggestions(_run(_search_each(search, texts, limit_s)) if texts else {}, search, limit_s)


def _all_named(found: Sequence[FoundSymbol]) -> str:
    return ", ".join(map(_named, found))


def _named(found: FoundSymbol) -> str:
    return f"{found.symbol} ({printable(found.description, _MOST_CHARACTERS)}, {found.type})"


async def _search_each(search: SymbolSearch, texts: Sequence[str], limit_s: float) -> _Found:
    tasks = {text: asyncio.ensure_future(_search(search, text)) for text in texts}
    await asyncio.wait(tasks.values(), timeout=limit_s)
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    done = {text: task for text, task in tasks.items() if not task.cancelled() and task.exception() is None}
    return {text: task.result() for text, task in done.items() if task.result()}


async def _search(search: SymbolSearch, text: str) -> Sequence[FoundSymbol]:
    """What the first of a text's readings that finds anything finds."""
    for query in queries(text):
        found = await search.search(query.text, exchange=query.exchange, type=query.type)
        exact = [each for each in found if each.ticker == query.text]
        if found:
            return (exact or found)[:SHOWN]
    return ()


# --- a loop that holds nobody up ------------------------------------------------------------------------------


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in threads that nobody waits for: without a network that may take half a minute."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        found: Future[Any] = Future()

        def look_up() -> None:
            with suppress(InvalidStateError):  # nobody waits any more
                try:
                    found.set_result(socket.getaddrinfo(host, port, **options))
                except OSError as error:
                    found.set_exception(error)

        threading.Thread(target=look_up, daemon=True).start()
        return await asyncio.wrap_future(found, loop=self)


def _run(searching: Coroutine[Any, Any, _Found]) -> _Found:
    loop = _Loop()
    try:
        return loop.run_until_complete(searching)
    finally:
        loop.close()
