"""One quote session: its subscriptions, their first state and the changes after it. Sans I/O.

The first state of a symbol comes in several deltas, each key in reverse alphabetical order, as in the recordings of
2023-2026; then quote_completed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tv_etl.market_server.chart import WORK_S, check_parameters
from tv_etl.market_server.listings import symbol_info
from tv_etl.market_server.market import BarSource
from tv_etl.market_server.outbox import Outbox, Packet
from tv_etl.market_server.ranges import InvalidParameters
from tv_etl.market_server.sessions import DAY_S, calendar_of
from tv_etl.market_server.world import World
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.protocol import encode_message
from tv_etl.tradingview.symbols import decode_spec

_NO_VALUE = msgspec.Raw(b"1e+100")
_DAY = Interval(1, "d")
_INTRADAY = [Interval(minutes, "m") for minutes in range(1, 1_441)]
_BOOK = ("trade_loaded", "bid", "bid_size", "ask", "ask_size")
_COPIED = ("description", "pro_name", "type", "typespecs", "pricescale", "minmov", "minmove2", "fractional",
           "listed_exchange", "exchange", "currency_code", "currency_id", "base_currency_id", "is_tradable", "language",
           "local_description", "timezone", "session_holidays", "subsessions", "subsession_id", "source2", "country",
           "provider_id", "pro_perm", "short_description", "variable_tick_size", "measure", "base_name",
           "allowed_adjustment", "source_id", "isin", "isin-displayed", "pointvalue")  # fmt: skip


class QuoteSession:
    """The server's side of one `qs_...`."""

    def __init__(self, session: str, world: World, outbox: Outbox) -> None:
        self.id = session
        self._world = world
        self._outbox = outbox
        self._fields: frozenset[str] | None = None
        self._sources: dict[str, BarSource] = {}
        self._sent: dict[str, Mapping[str, Any]] = {}
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

    def tick(self) -> None:
        """Send what changed since the last time."""
        for name, source in self._sources.items():
            if self._is_hibernating and name not in self._fast:
                continue
            values = moving_values(source, self._world.clock.now())
            changed = {key: value for key, value in values.items() if self._sent[name].get(key) != value}
            self._sent[name] = values
            self._send(name, changed)

    def _on_quote_set_fields(self, *names: str) -> None:
        self._fields = frozenset(names)

    def _on_quote_add_symbols(self, *names: str) -> None:
        for name in names:
            self._subscribe(name)

    def _on_quote_remove_symbols(self, *names: str) -> None:
        for name in names:
            self._sources.pop(name, None)
            self._sent.pop(name, None)
            self._fast.discard(name)

    def _on_quote_fast_symbols(self, *names: str) -> None:
        self._fast = set(names)
        for name in names:
            self._subscribe(name)

    def _on_quote_hibernate_all(self) -> None:
        self._is_hibernating, self._fast = True, set()

    def _subscribe(self, name: str) -> None:
        source = self._find(name)
        if source is None:
            self._put_quote({"n": name, "s": "error", "errmsg": "no_such_symbol", "v": {}})
        else:
            self._sources[name] = source
            self._sent[name] = values = moving_values(source, self._world.clock.now())
            if self._fields is None:
                self._send(name, {"metrics_loaded": False})
            self._send(name, {key: values[key] for key in _BOOK if key in values})
            self._send(name, still_values(source) | {k: v for k, v in values.items() if k not in _BOOK})
        self._put([encode_message("quote_completed", [self.id, name])], WORK_S)

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
        self._outbox.put(self.id, [Packet(text) for text in texts], delay_s)


def moving_values(source: BarSource, now: float) -> dict[str, Any]:
    """The fields of a quote that follow the market."""
    listing, calendar = source.listing, source.calendar
    interval = _DAY if source.supports(_DAY) else next(i for i in _INTRADAY if source.supports(i))
    rows = source.bars(interval, now, count=2).rows
    if not len(rows):
        return {"current_session": "out_of_session"}
    last = rows[-1].tolist()
    previous = float(rows[-2, 4]) if len(rows) > 1 else last[1]
    decimals = math.ceil(math.log10(listing.pricescale))
    tick = listing.minmov / listing.pricescale
    change = round(last[4] - previous, decimals)
    is_open = calendar.is_open(now)
    closed = calendar.bar_close(interval, int(last[0]))
    return {
        "lp": last[4],
        "lp_time": int(now) if is_open else min(closed, int(now)),
        "ch": change,
        "chp": round(100 * change / previous, 2),
        "volume": last[5] if source.has_volume else _NO_VALUE,
        "open_price": last[1],
        "high_price": last[2],
        "low_price": last[3],
        "prev_close_price": previous,
        "open_time": int(last[0]),
        "current_session": _current_session(source, now),
        "trade_loaded": True,
        "bid": round(last[4] - tick, decimals),
        "bid_size": 1.0,
        "ask": round(last[4] + tick, decimals),
        "ask_size": 1.0,
    }


def still_values(source: BarSource) -> dict[str, Any]:
    """The fields of a quote that describe its instrument."""
    info = symbol_info(source.listing, has_volume=source.has_volume)
    return {key: info[key] for key in _COPIED if key in info} | {
        "short_name": info["name"],
        "original_name": info["full_name"],
        "update_mode": "streaming",
        "format": "price",
        "visible-plots-set": info["visible_plots_set"],
        "first_bar_time_1d": int(source.calendar.opens[0]),
        "fundamental_data": False,
    }


def _current_session(source: BarSource, now: float) -> str:
    if source.calendar.is_open(now):
        return "market"
    listing = source.listing
    if listing.extended is None or not calendar_of(listing.extended, listing.first_day_number).is_open(now):
        return "out_of_session"
    opened = source.calendar.last_opened(now)
    is_today = now - source.calendar.opens[opened] < DAY_S / 2
    return "post_market" if is_today else "pre_market"
