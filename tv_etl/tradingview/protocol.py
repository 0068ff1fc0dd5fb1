"""The chart and quote protocol without I/O: text in, typed events out; commands in, text out.

Theory of operation. A connection carries packets; a packet is a heartbeat (`~h~7`), the hello (an object without
`m`) or a message `{"m": method, "p": [session, ...]}`. The client's messages are *commands*, the server's are
*events*. Both ends use the same three verbs:

    receive_text(text)        feed what one WebSocket message held
    events_received()         take what it meant (the server's end: commands_received)
    text_to_send()            take what must go out, heartbeat echoes included

What is ugly, and why it is so:

* One `timescale_update` or `du` may hold several series and studies; each series becomes one `BarsReceived`. A
  study has `st` where a series has `s`. A series object may be empty, and so may the whole dict: that is how future
  tick marks arrive. What carries no bars becomes `Ignored`, by name.
* Bars older than what was loaded come with negative indices, and indices shift. The time of a bar is its only
  identity; indices are not decoded.
* A row has five values where the instrument has no volume. Rows that are not bars (nulls, text, a missing value, a
  time between two seconds, a price of 1e+100, which means "none") are dropped and told by place, never repaired.
* Bars are read twice if need be: in one typed pass, straight into columns, which takes only what is sound throughout;
  and where anything is odd once more, value by value.
* Which packets carry the server's time differs (`du` and `qsd` do not): `server_time_ms` holds the newest one seen.
* What nobody reads may be missing or of any type; a message is malformed only if its meaning cannot be known.
* An error's scope is in its method: `symbol_error` and `series_error` end one series, `critical_error` one session,
  `protocol_error` the connection.

This module never awaits, sleeps, logs or reads a clock. Source: PROTOCOL.md §2-§8 and the recordings.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple

from tv_etl.tradingview.bar_rows import BarRows, as_sent
from tv_etl.tradingview.damage import DamagedRow
from tv_etl.tradingview.errors import ProtocolError
from tv_etl.tradingview.frames import PacketDecoder, encode_packet
from tv_etl.tradingview.models import SymbolInfo
from tv_etl.tradingview.printable import printable

ANONYMOUS_TOKEN = "unauthorized_user_token"  # the same for everybody  # nosec B105

_HEARTBEAT = "~h~"
_LEGACY_JSON = "~j~"

# The server prints 1e+100 where it has no value: in `volume` and in studies, never yet in a price (PROTOCOL.md §2).
_NO_VALUE = 1e100
# What a time may be, in UTC seconds: from the first that a datetime can hold to the year 2200. A later one is counted
# in milliseconds, or damage, and arithmetic on it would break in the consumer.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 7_258_118_400

# Of fewer rows, as in a `du`, an array costs more than it saves.
_FEW_ROWS = 8

# What a description or a quote must be, where it says it at all; of another type it is as good as absent.
_TEXTS = frozenset(
    {
        "name", "full_name", "pro_name", "description", "exchange", "listed_exchange", "type", "currency_code",
        "currency_id", "timezone", "session", "session_holidays", "subsession_id", "update_mode", "visible_plots_set",
    }
)  # fmt: skip
_SCALES = frozenset({"pricescale", "minmov", "minmove", "variable_tick_size_scale"})
_LONGEST_TEXT = 20_000  # the corrections of a session over twenty years are a quarter of it
_LARGEST_SCALE = 1e16


@dataclass(frozen=True, slots=True)
class Command:
    """A message from the client: the method and its parameters, the session id first where there is one."""

    method: str
    params: tuple[Any, ...]


# The header of the handshake in which a market server says what market it has; TradingView sends none, and other
# clients read none.
MARKET_HEADER = "X-Market"


@dataclass(frozen=True, slots=True)
class Event:
    """A message from the server. `session` is "" for what concerns the whole connection."""

    session: str


@dataclass(frozen=True, slots=True)
class Hello(Event):
    """The server's greeting; third-party servers may send it late or never."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heartbeat(Event):
    """A sign of life; the protocol has already queued its echo."""

    number: str


@dataclass(frozen=True, slots=True)
class SeriesLoading(Event):
    """The server began to work on a series."""

    series: str


@dataclass(frozen=True, slots=True)
class SymbolResolved(Event):
    """What a symbol is."""

    symbol_id: str
    info: SymbolInfo


@dataclass(frozen=True, slots=True)
class SymbolFailed(Event):
    """`symbol_error`: the symbol is unknown or not permitted."""

    symbol_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BarsReceived(Event):
    """Bars of one series, as sent: rows `[time, open, high, low, close]`, or with the volume behind (`BarRows`).

    `is_snapshot` tells `timescale_update` from `du`. `close_time` is the end of the newest bar of the series in
    UTC seconds, `time_ms` the server's clock, both None where the server left them out. `damage` has the rows that are
    no bars.
    """

    series: str
    is_snapshot: bool
    rows: Sequence[list[float]]
    close_time: float | None
    time_ms: int | None
    damage: Sequence[DamagedRow] = ()

    @property
    def rejected(self) -> int:
        """How many rows are no bars."""
        return len(self.damage)


@dataclass(frozen=True, slots=True)
class SeriesCompleted(Event):
    """The answer to create_series, modify_series or request_more_data is complete.

    `data_completed` is "end" at the start of history, "limit" where the plan's window ends, else "".
    """

    series: str
    update_mode: str
    data_completed: str


@dataclass(frozen=True, slots=True)
class SeriesFailed(Event):
    """`series_error`: this series ended, the session goes on."""

    series: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuoteReceived(Event):
    """`qsd`: changed fields of one quote. `symbol` is the subscribed text verbatim; `status` "ok" or an error."""

    symbol: str
    status: str
    fields: dict[str, Any]
    reason: str

    def followed_by(self, later: "QuoteReceived") -> "QuoteReceived":
        """Both as one: what has changed since before the first."""
        fields = dict(self.fields)
        merge_fields(fields, later.fields)
        return QuoteReceived(later.session, later.symbol, later.status, fields, later.reason)


@dataclass(frozen=True, slots=True)
class QuoteCompleted(Event):
    """The initial state of one quote has been sent, also after an error."""

    symbol: str


@dataclass(frozen=True, slots=True)
class SessionFailed(Event):
    """`critical_error`: the session is unusable, other sessions are not."""

    reason: str
    info: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused(Event):
    """`protocol_error`: the server will close the connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored(Event):
    """A message that the client does not use, by its method."""

    method: str


@dataclass(frozen=True, slots=True)
class RawReceived(Event):
    """A payload as it came, before the events that it decodes into."""

    payload: str


def merge_fields(known: dict[str, Any], changed: Mapping[str, Any]) -> None:
    """Merge a quote delta into the fields seen so far, nested objects included, as the site does."""
    for name, value in changed.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            known[name] = {**known[name]}
            merge_fields(known[name], value)
        else:
            known[name] = value


class ClientProtocol:
    """The client's end of one connection; with `keeps_raw` each payload also comes as it is."""

    def __init__(self, *, keeps_raw: bool = False) -> None:
        self.keeps_raw = keeps_raw
        self._packets = PacketDecoder()
        self._events: list[Event] = []
        self._outgoing: list[str] = []
        self._is_begun = False
        self.server_time_ms: int | None = None

    def receive_text(self, text: str) -> None:
        """Decode one WebSocket message. Raises FrameError or ProtocolError."""
        for payload in self._packets.feed(text):
            is_first, self._is_begun = not self._is_begun, True
            if is_first and not payload.startswith(("{", "~")):
                self._events.append(Hello("", {}))  # whatever comes first is the hello (PROTOCOL.md §1.5)
                continue
            events, time_ms = decode_event(payload)
            if time_ms is not None:
                self.server_time_ms = time_ms
            if events and isinstance(events[0], Heartbeat):
                self._outgoing.append(encode_packet(payload))
            if self.keeps_raw and events:
                self._events.append(RawReceived(events[0].session, payload))
            self._events.extend(events)

    def events_received(self) -> list[Event]:
        """Take the events decoded so far."""
        events, self._events = self._events, []
        return events

    def send(self, *commands: Command) -> None:
        """Queue commands."""
        self._outgoing.extend(encode_message(command.method, command.params) for command in commands)

    def text_to_send(self) -> list[str]:
        """Take the WebSocket messages to send: one packet each, as the site does."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing


class ServerProtocol:
    """The server's end of one connection."""

    def __init__(self) -> None:
        self._packets = PacketDecoder()
        self._commands: list[Command] = []
        self._outgoing: list[str] = []
        self.heartbeats_received = 0

    def receive_text(self, text: str) -> None:
        """Decode one WebSocket message. Raises FrameError or ProtocolError."""
        for payload in self._packets.feed(text):
            if payload.startswith(_HEARTBEAT):
                self.heartbeats_received += 1
            else:
                self._commands.append(decode_command(payload))

    def commands_received(self) -> list[Command]:
        """Take the commands decoded so far."""
        commands, self._commands = self._commands, []
        return commands

    def send(self, method: str, params: Sequence[Any], *, time_ms: int | None = None) -> None:
        """Queue a message; with `time_ms` it carries `t` and `t_ms`."""
        self._outgoing.append(encode_message(method, params, time_ms=time_ms))

    def send_payload(self, payload: str) -> None:
        """Queue a payload that is not a message: the hello, a heartbeat, or bytes for a fault."""
        self._outgoing.append(encode_packet(payload))

    def text_to_send(self) -> str:
        """Take the text of the next WebSocket message: all queued packets in one, as the live server does."""
        outgoing, self._outgoing = self._outgoing, []
        return "".join(outgoing)


# `("bar_count", moment, count)`: that many bars up to a moment in UTC seconds; create_series takes it for a count.
BarsUpTo = tuple[Literal["bar_count"], int, int]


# --- commands -------------------------------------------------------------------------------------------------


def set_auth_token(token: str) -> Command:
    return Command("set_auth_token", (token,))


def set_locale(language: str = "en", country: str = "US") -> Command:
    return Command("set_locale", (language, country))


def chart_create_session(session: str) -> Command:
    return Command("chart_create_session", (session, ""))


def chart_delete_session(session: str) -> Command:
    return Command("chart_delete_session", (session,))


def resolve_symbol(session: str, symbol_id: str, spec: str) -> Command:
    return Command("resolve_symbol", (session, symbol_id, spec))


def create_series(session: str, series: str, symbol_id: str, resolution: str, span: "int | BarsUpTo") -> Command:
    return Command("create_series", (session, series, "s1", symbol_id, resolution, span, ""))


def request_more_data(session: str, series: str, count: int) -> Command:
    return Command("request_more_data", (session, series, count))


def quote_create_session(session: str) -> Command:
    return Command("quote_create_session", (session,))


def quote_delete_session(session: str) -> Command:
    return Command("quote_delete_session", (session,))


def quote_set_fields(session: str, *names: str) -> Command:
    return Command("quote_set_fields", (session, *names))


def quote_add_symbols(session: str, *symbols: str) -> Command:
    return Command("quote_add_symbols", (session, *symbols))


def encode_message(method: str, params: Sequence[Any], *, time_ms: int | None = None) -> str:
    """A message as one packet; keys stand in the live server's order."""
    message: dict[str, Any] = {"m": method, "p": params}
    if time_ms is not None:
        message |= {"t": time_ms // 1000, "t_ms": time_ms}
    return encode_packet(msgspec.json.encode(message).decode())


def decode_command(payload: str) -> Command:
    """Read a client's message. Raises ProtocolError."""
    try:
        message = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        raise ProtocolError("a command is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("m"), str):
        raise ProtocolError("a command has no method")
    params = message.get("p")
    if not isinstance(params, list):
        raise ProtocolError(f"{message['m']}: the parameters are not a list")
    return Command(message["m"], tuple(params))


# --- events ---------------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    m: str | None = None
    p: list[msgspec.Raw] = []
    t_ms: float | None = None
    t: float | None = None


# Neither is known to the collector, which would else walk every bar of every page.
class _Bar(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    time: float
    open: float
    high: float
    low: float
    close: float
    volume: float = math.nan


class _Point(msgspec.Struct, gc=False):
    v: _Bar


class _LastBarStatus(msgspec.Struct):
    bar_close_time: float | None = None


class _Series(msgspec.Struct):
    s: list[_Point] | None = None
    lbs: _LastBarStatus | None = None


class _SeriesParams(msgspec.Struct, array_like=True):
    session: str
    series: dict[str, _Series]


class _SeriesMessage(msgspec.Struct):
    m: Literal["timescale_update", "du"]
    p: _SeriesParams
    t_ms: float | None = None
    t: float | None = None


class _Quote(msgspec.Struct):
    n: str
    s: Any = "ok"
    v: Any = None
    errmsg: Any = ""


_envelope = msgspec.json.Decoder(_Envelope)
_series_message = msgspec.json.Decoder(_SeriesMessage)
_is_of_series = re.compile(r'\s*\{\s*"m"\s*:\s*"(?:timescale_update|du)"').match
_loose = msgspec.json.Decoder()
_pack = msgspec.msgpack.Encoder().encode
# {"v": [six floats]}: one byte before the map, two of its key, one before the list, one before each float.
_PACKED_POINT = np.dtype([("head", "V4"), ("cells", [("tag", "V1"), ("value", ">f8")], (6,))])
_quote = msgspec.json.Decoder(_Quote)


def decode_payload(payload: str) -> dict[str, Any]:
    """A payload that `decode_event` accepts, as the JSON object it is; a heartbeat as `{"m": "~h~", "p": [number]}`."""
    if payload.startswith(_HEARTBEAT):
        return {"m": _HEARTBEAT, "p": [payload[len(_HEARTBEAT) :]]}
    message = _loose.decode(payload.removeprefix(_LEGACY_JSON))
    return message if isinstance(message, dict) else {}


def decode_event(payload: str) -> tuple[list[Event], int | None]:
    """The events of one payload, and the server's time in it (ms, None if absent). Raises ProtocolError."""
    if payload.startswith(_HEARTBEAT):
        return [Heartbeat("", payload[len(_HEARTBEAT) :])], None
    if payload.startswith(_LEGACY_JSON):
        payload = payload[len(_LEGACY_JSON) :]
    try:
        if _is_of_series(payload) and (decoded := _decode_sound_bars(payload)) is not None:
            return decoded
        envelope = _decode_envelope(payload)
        if envelope.m is None:
            return _decode_hello(payload)
        time_ms = _time_ms(envelope.t_ms, envelope.t)
        decode = _DECODERS.get(envelope.m)
        if decode is None:
            return [Ignored(_text(envelope.p, 0), envelope.m)], time_ms
        return decode(_Params(envelope.m, envelope.p, time_ms)), time_ms
    except RecursionError:
        raise ProtocolError("a message is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ProtocolError(f"a message is malformed: {error}") from None


def _decode_envelope(payload: str) -> _Envelope:
    try:
        return _envelope.decode(payload)
    except msgspec.ValidationError:
        return _decode_odd_envelope(payload)


def _decode_odd_envelope(payload: str) -> _Envelope:
    """The slow way, for a time that is not a number, or parameters that are not a list in a message nobody reads."""
    message = _loose.decode(payload)
    if not isinstance(message, dict) or not isinstance(message.get("m"), str | None):
        raise ProtocolError("a message is neither a method with parameters nor a hello")
    method, params = message.get("m"), message.get("p")
    if not isinstance(params, list):
        if method in _DECODERS:
            raise ProtocolError(f"{method}: the parameters are not a list")
        params = []
    raw = [msgspec.Raw(msgspec.json.encode(value)) for value in params]
    times = {key: message[key] for key in ("t", "t_ms") if _is_number(message.get(key))}
    return _Envelope(method, raw, **times)


class _Params:
    """The parameters of one message, decoded one by one as they are needed."""

    def __init__(self, method: str, raw: list[msgspec.Raw], time_ms: int | None) -> None:
        self.method = method
        self.raw = raw
        self.time_ms = time_ms

    def text(self, index: int) -> str:
        value = self.value(index)
        if not isinstance(value, str):
            raise ProtocolError(f"{self.method}: parameter {index} is not a string")
        return value

    def value(self, index: int, default: Any = None) -> Any:
        return _loose.decode(self.raw[index]) if index < len(self.raw) else default

    def reason(self, index: int) -> str:
        """The reason, and the parameters behind it, which belong to it."""
        return printable(", ".join(_reason(self.value(i)) for i in range(index, len(self.raw))))


def _decode_hello(payload: str) -> tuple[list[Event], int | None]:
    fields = _loose.decode(payload)
    return [Hello("", fields)], _time_ms(fields.get("timestampMs"), fields.get("timestamp"))


def _time_ms(milliseconds: Any, seconds: Any) -> int | None:
    """The server's time, from whichever it told."""
    if _is_number(milliseconds) and 0 < milliseconds <= _LAST_SECOND * 1000:
        return int(milliseconds)
    return int(seconds * 1000) if _is_number(seconds) and 0 < seconds <= _LAST_SECOND else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(raw: list[msgspec.Raw], index: int) -> str:
    """A parameter that may be missing: "" unless it is text."""
    value = _loose.decode(raw[index]) if index < len(raw) else ""
    return value if isinstance(value, str) else ""


def _reason(value: Any) -> str:
    """A reason is text, or an object that holds one; it reaches logs, pages and terminals."""
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _decode_sound_bars(payload: str) -> tuple[list[Event], int | None] | None:
    """The fast way from text to columns; None where anything is not as it should be."""
    try:
        message = _series_message.decode(payload)
    except msgspec.ValidationError:
        return None
    time_ms = _time_ms(message.t_ms, message.t)
    events: list[Event] = []
    for series_id, series in message.p.series.items():
        if series.s is None:
            continue
        rows = _sound_rows(series.s)
        if rows is None:
            return None
        events.append(_bars_received(message.m, message.p.session, series_id, rows, series.lbs, time_ms))
    return events or [Ignored(message.p.session, message.m)], time_ms


def _decode_bars(params: _Params) -> list[Event]:
    """The slow way, where some value has a type that no bar has: keep what is good, tell the place of the rest."""
    session = params.text(0)
    update = params.value(1)
    if update is None:
        return [Ignored(session, params.method)]
    if not isinstance(update, dict):
        raise ProtocolError(f"{params.method}: parameter 1 is not an object")
    events: list[Event] = []
    for series_id, series in update.items():
        if not isinstance(series, dict) or not isinstance(series.get("s"), list):
            continue
        rows = list(map(_row, series["s"]))
        status = series.get("lbs")
        close_time = status.get("bar_close_time") if isinstance(status, dict) else None
        events.append(
            _bars_received(
                params.method,
                session,
                series_id,
                BarRows.of([row for row in rows if row]),
                _LastBarStatus(close_time if _is_number(close_time) else None),
                params.time_ms,
                _damage(series["s"], rows),
            )
        )
    return events or [Ignored(session, params.method)]


def _bars_received(
    method: str,
    session: str,
    series: str,
    rows: Sequence[list[float]],
    status: _LastBarStatus | None,
    time_ms: int | None,
    damage: Sequence[DamagedRow] = (),
) -> BarsReceived:
    is_snapshot = method == "timescale_update"
    return BarsReceived(session, series, is_snapshot, rows, _close_time(status), time_ms, damage)


def _damage(points: list[Any], rows: list[list[float]]) -> list[DamagedRow]:
    """Where the rows that are no bars lie, which are empty here."""
    damage: list[DamagedRow] = []
    times = [row[0] for row in rows if row]
    if times and times[0] > times[-1]:  # newest first
        points, rows, times = points[::-1], rows[::-1], times[::-1]
    sound = 0
    for point, row in zip(points, rows, strict=True):
        if row:
            sound += 1
            continue
        own = _own_time(point)
        before = times[sound - 1] if sound else -math.inf
        after = times[sound] if sound < len(times) else math.inf
        damage.append(DamagedRow(before, after) if own is None else DamagedRow(own, own))
    return damage


def _own_time(point: Any) -> float | None:
    """The time in a point that is no bar; None if it has none that a bar could have."""
    values = point.get("v") if isinstance(point, dict) else None
    time = values[0] if isinstance(values, list) and values else None
    if not isinstance(time, int | float) or isinstance(time, bool) or not _FIRST_SECOND <= time <= _LAST_SECOND:
        return None
    return float(time) if float(time).is_integer() else None


def _sound_rows(points: list[_Point]) -> Sequence[list[float]] | None:
    """The rows of the points; None if one of them is no bar."""
    if len(points) < _FEW_ROWS:
        few = [list(astuple(point.v)) for point in points]
        return [as_sent(row) for row in few] if all(map(_is_bar, few)) else None
    rows = _columns(points)
    times = rows.times
    are_bars = (
        times.min() >= _FIRST_SECOND
        and times.max() <= _LAST_SECOND
        and (times == np.floor(times)).all()
        and rows.values[:, 1:5].max() < _NO_VALUE
    )
    return rows if are_bars else None


def _columns(points: list[_Point]) -> BarRows:
    """The points as columns, by way of MessagePack: there each takes the same bytes, and no value becomes an object."""
    packed = _pack(points)
    cells = np.frombuffer(packed, _PACKED_POINT, offset=len(packed) - len(points) * _PACKED_POINT.itemsize)["cells"]
    return BarRows(cells["value"].astype(np.float64))


def _is_bar(row: list[float]) -> bool:
    return _FIRST_SECOND <= row[0] <= _LAST_SECOND and row[0].is_integer() and max(row[1:5]) < _NO_VALUE


def _close_time(status: _LastBarStatus | None) -> float | None:
    moment = status.bar_close_time if status else None
    return moment if moment is not None and _FIRST_SECOND <= moment <= _LAST_SECOND else None


def _row(point: Any) -> list[float]:
    """The values of a point as floats; an empty row where they are no bar."""
    values = point.get("v") if isinstance(point, dict) else None
    if not isinstance(values, list):
        return []
    if len(values) == 6 and values[5] is None:
        values = values[:5]  # no volume is legal, no price is not
    if len(values) not in (5, 6) or not all(map(_is_number, values)):
        return []
    try:
        row = [float(value) for value in values]
    except OverflowError:
        return []
    return row if _is_bar(row) else []


def _decode_quote(params: _Params) -> list[Event]:
    session = params.text(0)
    if len(params.raw) < 2:
        raise ProtocolError("qsd: parameter 1 is missing")
    quote = _quote.decode(params.raw[1])
    status = quote.s if isinstance(quote.s, str) else "error"
    told = quote.v if isinstance(quote.v, dict) else {}
    fields = {key: value for key, value in told.items() if _is_sound(key, value)}
    return [QuoteReceived(session, quote.n, status, fields, _reason(quote.errmsg or ""))]


def _decode_completed(params: _Params) -> list[Event]:
    # Three to five parameters have been seen; the object stands last, wherever that is.
    extra = params.value(len(params.raw) - 1) if params.raw else None
    data_completed = extra.get("data_completed") if isinstance(extra, dict) else None
    return [
        SeriesCompleted(
            session=params.text(0),
            series=params.text(1),
            update_mode=printable(_text(params.raw, 2)),
            data_completed=data_completed if isinstance(data_completed, str) else "",
        )
    ]


def _decode_resolved(params: _Params) -> list[Event]:
    info = params.value(2)
    if not isinstance(info, dict):
        raise ProtocolError("symbol_resolved: parameter 2 is not an object")
    sound = {key: value for key, value in info.items() if _is_sound(key, value)}
    if "subsessions" in sound:
        sound["subsessions"] = [each for each in sound["subsessions"] if _is_subsession(each)]
    return [SymbolResolved(params.text(0), params.text(1), SymbolInfo(sound))]


def _is_sound(key: str, value: Any) -> bool:
    """False for a field that is not what its name says: what uses it need not expect that."""
    if value is None:
        return True
    if key in _TEXTS:
        return isinstance(value, str) and len(value) <= _LONGEST_TEXT
    if key in _SCALES:
        return _is_number(value) and 0 < value <= _LARGEST_SCALE
    if key == "subsessions":
        return isinstance(value, list)
    if key.endswith("_time") and _is_number(value):
        return bool(_FIRST_SECOND <= value <= _LAST_SECOND)
    return True


def _is_subsession(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = [value.get(key) for key in ("id", "session", "session-correction")]
    return all(text is None or (isinstance(text, str) and len(text) <= _LONGEST_TEXT) for text in texts)


def _decode_series_failed(params: _Params) -> list[Event]:
    # [session, series, turnaround, reason, node]; the short form has neither turnaround nor node.
    reason = params.value(min(3, len(params.raw) - 1), "") if len(params.raw) > 2 else ""
    return [SeriesFailed(params.text(0), params.text(1), _reason(reason))]


_DECODERS: dict[str, Callable[[_Params], list[Event]]] = {
    "timescale_update": _decode_bars,
    "du": _decode_bars,
    "series_loading": lambda p: [SeriesLoading(p.text(0), _text(p.raw, 1))],
    "symbol_resolved": _decode_resolved,
    "symbol_error": lambda p: [SymbolFailed(p.text(0), p.text(1), p.reason(2))],
    "series_completed": _decode_completed,
    "series_error": _decode_series_failed,
    "qsd": _decode_quote,
    "quote_completed": lambda p: [QuoteCompleted(p.text(0), p.text(1))],
    "critical_error": lambda p: [SessionFailed(p.text(0), _reason(p.value(1, "")), p.reason(2))],
    "protocol_error": lambda p: [ConnectionRefused("", p.reason(0))],
}
