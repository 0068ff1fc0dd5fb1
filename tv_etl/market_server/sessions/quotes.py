"""One quote session: its subscriptions, their first state and the changes after it. Sans I/O.

The first state of a symbol comes in deltas, as recorded: metrics_loaded, the book, what describes the instrument and
its price, what its feed says of it; then quote_completed. Later a change of the book sends all of the book, any other
change what changed. The keys of a delta are in reverse alphabetical order, as recorded of sessions with set fields.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tv_etl.market_server.market.listings import denied_name
from tv_etl.market_server.market.market import BarSource, Floats
from tv_etl.market_server.sessions.chart import WORK_S
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.market_server.sessions.parameters import check_parameters
from tv_etl.market_server.sessions.quote_fields import (
    BOOK,
    HISTORY,
    feed_values,
    history_values,
    moving_values,
    newest_rows,
    static_values,
)
from tv_etl.market_server.sessions.ranges import InvalidParameters
from tv_etl.market_server.sessions.send_queue import Packet, SendQueue
from tv_etl.market_server.sessions.world import World
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.protocol import encode_message
from tv_etl.tradingview.symbols import decode_spec

# Symbols whose prices are drawn at once; a history takes longer than all else.
_BATCH, _HISTORIES = 50, 2
_WORK_LIMIT_S = 0.05


class QuoteSession:
    """The server's side of one `qs_...`.

    First states are worked out a few at a time, so that hundreds of them hold up nobody: while `is_behind`, there are
    more for `work`.
    """

    def __init__(self, session: str, world: World, queue: SendQueue) -> None:
        self.id = session
        self._world = world
        self._queue = queue
        self._fields: frozenset[str] | None = None
        self._sources: dict[str, BarSource] = {}
        self._sent: dict[str, Mapping[str, Any]] = {}
        self._due: dict[str, float] = {}
        self._asked: deque[str] = deque()
        self._fast: set[str] = set()
        self._is_hibernating = False

    def obey(self, method: str, params: Sequence[Any]) -> None:
        """Carry out a command; `params` are those behind the session id."""
        handler = getattr(self, f"_on_{method}", None)
        try:
            if handler is None:
                raise InvalidParameters
            # A trailing {"flags": ["force_permission"]} was accepted until 2023; this is the answer of 2024.
            check_parameters(handler, params)
            handler(*params)
        except InvalidParameters:
            self._put([encode_message("critical_error", [self.id, "invalid_parameters", method])])

    @property
    def is_behind(self) -> bool:
        """True while symbols wait for their first state."""
        return bool(self._asked)

    def work(self) -> None:
        """Send first states, for a moment."""
        began, most = self._world.wall(), _HISTORIES if any(self._wants(key) for key in HISTORY) else _BATCH
        while self._asked:
            self._tell([self._asked.popleft() for _ in range(min(most, len(self._asked)))])
            if self._world.wall() - began > _WORK_LIMIT_S:
                return

    def _tell(self, names: Sequence[str]) -> None:
        now = self._world.clock.now()
        sources = {name: source for name in names if (source := self._find(name)) is not None}
        rows = dict(zip(sources, newest_rows(self._world.market, list(sources.values()), now), strict=True))
        for name in names:
            self._subscribe(name, sources.get(name), rows.get(name), now)

    def tick(self) -> None:
        """Send what changed since the last time."""
        now = self._world.clock.now()
        awake = [name for name in self._sources if not self._is_hibernating or name in self._fast]
        sources = [self._sources[name] for name in awake]
        for name, source, rows in zip(awake, sources, newest_rows(self._world.market, sources, now), strict=True):
            values = moving_values(source, rows, now)
            before, self._sent[name] = self._sent[name], values
            changed = {key: value for key, value in values.items() if key not in before or before[key] != value}
            if not BOOK.isdisjoint(changed):
                self._send(name, _book_of(values))
            self._send(name, _without_book(changed))

    def _on_quote_set_fields(self, *names: str) -> None:
        self._fields = frozenset(names)

    def _on_quote_add_symbols(self, *names: str) -> None:
        self._ask_for(names)

    def _on_quote_remove_symbols(self, *names: str) -> None:
        self._asked = deque(name for name in self._asked if name not in names)
        for name in names:
            self._sources.pop(name, None)
            self._sent.pop(name, None)
            self._due.pop(name, None)
            self._fast.discard(name)

    def _on_quote_fast_symbols(self, *names: str) -> None:
        known, self._fast = self._fast, set(names)
        wall = self._world.wall()
        # A first state that is still on its way is the answer to both.
        self._ask_for([name for name in names if name not in known and wall >= self._due.get(name, 0.0)])

    def _on_quote_hibernate_all(self) -> None:
        self._is_hibernating, self._fast = True, set()

    def _ask_for(self, names: Sequence[str]) -> None:
        self._asked.extend(names)
        self._due |= dict.fromkeys(names, math.inf)
        self.work()

    def _subscribe(self, name: str, source: BarSource | None, rows: Floats | None, now: float) -> None:
        fault = FAULTS.get(source.listing.symbol) if source is not None else None
        self._due[name] = self._world.wall() + WORK_S
        if fault is not None and fault.quotes is not None:
            for quote in fault.quotes:
                self._put_quote({"n": name, **quote})
            if not fault.quotes:
                return
        elif source is None or rows is None:
            self._put_quote({"n": name, "s": "error", "errmsg": "no_such_symbol", "v": {}})
        elif source.listing.denial:
            alternative = {"alternative": denied_name(source.listing)}
            self._put_quote({"n": name, "s": "permission_denied", "errmsg": "Permission denied", "v": alternative})
        else:
            self._sources[name] = source
            self._send_first_state(name, source, rows, now)
        self._put([encode_message("quote_completed", [self.id, name])], WORK_S)

    def _send_first_state(self, name: str, source: BarSource, rows: Floats, now: float) -> None:
        self._sent[name] = values = moving_values(source, rows, now)
        if self._fields is None:
            self._send(name, {"metrics_loaded": False})
        self._send(name, _book_of(values))
        snapshot = static_values(source) | {"rt_update_period": self._world.plan.rt_update_period}
        if any(self._wants(key) for key in HISTORY):
            snapshot |= history_values(source, rows, now)
        self._send(name, snapshot | _without_book(values))
        self._send(name, feed_values(source))

    def _find(self, name: str) -> BarSource | None:
        try:
            fields = decode_spec(name)
        except SymbolError:
            return None
        return self._world.find(fields["symbol"])

    def _send(self, name: str, values: Mapping[str, Any]) -> None:
        wanted = {key: values[key] for key in sorted(values, reverse=True) if self._wants(key)}
        if wanted:
            self._put_quote({"n": name, "s": "ok", "v": wanted})

    def _wants(self, key: str) -> bool:
        return self._fields is None or key in self._fields

    def _put_quote(self, quote: dict[str, Any]) -> None:
        self._put([encode_message("qsd", [self.id, quote])], WORK_S)

    def _put(self, texts: Sequence[str], delay_s: float = 0.0) -> None:
        self._queue.put(self.id, [Packet(text) for text in texts], delay_s)


def _book_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in BOOK}


def _without_book(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in BOOK}
