"""What a malformed symbol may have been meant to be: asked of the symbol search, for a person at the command line.

Never for longer than SEARCH_S in all, and never a reason to fail: a search that says nothing leaves a message as it is.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
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

Suggestions = dict[str, Sequence[FoundSymbol]]


def completed(message: str, *, ws_url: str | None = None, proxy: str | None = None) -> str:
    """The message of an error; with suggestions for each symbol that it tells as malformed, as far as they are found.

    Whoever named a server of bars, but none to search at, is asked nothing of elsewhere.
    """
    told = told_malformed(message)
    is_elsewhere = bool(ws_url or os.environ.get(WS_URL_VARIABLE)) and not os.environ.get(BASE_URL_VARIABLE)
    if not told or is_elsewhere:
        return message
    found = search_each([symbol for symbol, _, _ in told], proxy=proxy)
    for symbol, start, end in reversed(told):
        if symbol in found:
            message = f"{message[:start]}expected EXCHANGE:TICKER; {_did_you_mean(found[symbol])}{message[end:]}"
    return message


def search_each(wrong: Iterable[str], *, proxy: str | None = None, limit_s: float = SEARCH_S) -> Suggestions:
    """What is found for each within the limit, the likeliest first; the others are left out."""
    texts = list(dict.fromkeys(wrong))[:MOST_SEARCHES]
    try:
        search = SymbolSearch(try_s=limit_s, retry_s=0.0, timeout_s=limit_s, proxy=proxy)
    except (SearchError, ValueError):
        return {}
    return _run(_search_each(search, texts, limit_s))


async def _search_each(search: SymbolSearch, texts: Sequence[str], limit_s: float) -> Suggestions:
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


def _did_you_mean(found: Sequence[FoundSymbol]) -> str:
    named = [f"{each.symbol} ({printable(each.description, _MOST_CHARACTERS)}, {each.type})" for each in found]
    return f"did you mean {', '.join(named)}?"


# --- a loop that holds nobody up ------------------------------------------------------------------------------


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in threads that nobody waits for: without a network that may take half a minute."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:  # type: ignore[override]
        found: Future[Any] = Future()

        def look_up() -> None:
            try:
                answer = socket.getaddrinfo(host, port, **options)
            except OSError as error:
                answer = error
            with suppress(Exception):  # nobody waits any more
                found.set_exception(answer) if isinstance(answer, OSError) else found.set_result(answer)

        threading.Thread(target=look_up, daemon=True).start()
        return await asyncio.wrap_future(found, loop=self)


def _run(searching: Any) -> Suggestions:
    loop = _Loop()
    try:
        found: Suggestions = loop.run_until_complete(searching)
        return found
    finally:
        loop.close()
