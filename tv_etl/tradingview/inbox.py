"""What one session has received and its consumer has not taken yet, and what becomes of it where that is much.

Bars are kept, each one, up to a limit. Quotes are states: once the oldest has waited for CONFLATE_S, those of one
symbol become one, in which the newest value of each field stands.
"""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from tv_etl.tradingview import protocol
from tv_etl.tradingview.errors import ConnectionFailedError, TradingViewError
from tv_etl.tradingview.websocket import loop_time

# Kept for a consumer that is slower than the market: an hour of updates, once a second; two long answers.
INBOX_EVENTS = 4_096
INBOX_CHARACTERS = 10_000_000

CONFLATE_S = 1.0

# From both on a consumer is told that it is behind; less is a burst, or a pause.
LAG_EVENTS = 64
LAG_S = 10.0


@dataclass(frozen=True, slots=True)
class _Entry:
    item: protocol.Event | TradingViewError
    characters: int
    put_at: float
    heard_at: float


class Inbox:
    """The events of one session, in order, until it or the connection fails; for one consumer.

    With `raw_sessions`, also every payload of those sessions as it came ("" stands for the whole connection).
    """

    def __init__(self, raw_sessions: Collection[str] = ()) -> None:
        self.raw_sessions = frozenset(raw_sessions)
        self._entries: deque[_Entry] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: TradingViewError | None = None
        self._characters = 0
        self._lag: tuple[int, float] | None = None
        self._is_lag_told = False
        # When the event taken last came in, by the server's clock.
        self.heard_at = float("-inf")

    def put(self, event: protocol.Event, characters: int = 0, heard_at: float = float("-inf")) -> None:
        """Append an event that came in that many characters, at a time of the server's clock.

        A consumer that is too far behind gets an error instead of this event and all later ones.
        """
        if self._failure is not None:
            return
        if self._is_full(characters):
            self._conflate()
        if self._is_full(characters):
            self.fail(ConnectionFailedError(f"the consumer is {len(self._entries)} events behind"))
            return
        self._append(event, characters, heard_at)

    def fail(self, error: TradingViewError) -> None:
        """End the inbox: what waits is still delivered, then every `next` raises the error."""
        if self._failure is None:
            self._failure = error
            self._append(error, 0, self.heard_at)

    async def next(self, timeout_s: float | None = None) -> protocol.Event:
        """The next event. Raises asyncio.TimeoutError, or the error that ended the session."""
        if self._failure is not None and not self._entries:
            raise self._failure.with_traceback(None)
        await self._wait(timeout_s)
        if loop_time() - self._entries[0].put_at >= CONFLATE_S:
            self._conflate()
        entry = self._entries.popleft()
        self._characters -= entry.characters
        self.heard_at = entry.heard_at
        if isinstance(entry.item, TradingViewError):
            raise entry.item.with_traceback(None)
        lag = len(self._entries), loop_time() - entry.put_at
        if lag[0] >= LAG_EVENTS and lag[1] >= LAG_S and not self._is_lag_told:
            self._lag, self._is_lag_told = lag, True
        return entry.item

    def take_lag(self) -> tuple[int, float] | None:
        """How many events and seconds the consumer is behind: once, until it has caught up and is behind again."""
        lag, self._lag = self._lag, None
        return lag

    async def _wait(self, timeout_s: float | None) -> None:
        """Wait until there is something to take; a cancelled wait takes nothing."""
        # A flood must not hold off a deadline.
        if timeout_s is not None and timeout_s <= 0:
            raise asyncio.TimeoutError
        if self._entries:
            return
        self._is_lag_told = False
        self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._waiter}, timeout=timeout_s)
        if not self._entries:
            raise asyncio.TimeoutError

    def _append(self, item: protocol.Event | TradingViewError, characters: int, heard_at: float) -> None:
        self._characters += characters
        self._entries.append(_Entry(item, characters, loop_time(), heard_at))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _is_full(self, characters: int) -> bool:
        is_too_much = bool(self._characters) and self._characters + characters > INBOX_CHARACTERS
        return is_too_much or len(self._entries) >= INBOX_EVENTS

    def _conflate(self) -> None:
        """Leave one quote of each symbol, in the place of its first."""
        kept: list[_Entry] = []
        places: dict[str, int] = {}
        for entry in self._entries:
            later = entry.item
            if not isinstance(later, protocol.QuoteReceived):
                kept.append(entry)
                continue
            place = places.setdefault(later.symbol, len(kept))
            earlier = kept[place].item if place < len(kept) else None
            if isinstance(earlier, protocol.QuoteReceived) and earlier.status == later.status == "ok":
                characters = max(kept[place].characters, entry.characters)
                kept[place] = _Entry(earlier.followed_by(later), characters, entry.put_at, entry.heard_at)
            else:
                places[later.symbol] = len(kept)
                kept.append(entry)
        self._entries = deque(kept)
        self._characters = sum(entry.characters for entry in kept)
