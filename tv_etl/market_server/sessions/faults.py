"""Faults that a client can ask for by symbol: `FAULT:DROP` and the like.

Each resolves like any other symbol; what it does to the answer to create_series, modify_series and
request_more_data, or to a quote, is one entry of `FAULTS`. Add a fault by adding an entry.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tv_etl.market_server.sessions.send_queue import Ending, Hangup, Hush, Packet, Parcel
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH, encode_packet
from tv_etl.tradingview.protocol import encode_message

SLOW_S = 3.0
LIVE_S = 0.5  # from an answer until LIVE_DROP cuts the socket
FAR_S = 86_400 * 1_000  # from the bars asked for to those that nobody asked for
REVISED_CLOSE = 1.25  # times the right one

# The packets of a whole answer: series_loading first, then timescale_update, series_completed last.
Answer = Sequence[str]
Damage = Callable[[Answer], list[Parcel]]
Points = list[dict[str, Any]]


def _unharmed(answer: Answer) -> list[Parcel]:
    return [Packet(text) for text in answer]


@dataclass(frozen=True)
class Fault:
    """What happens to an answer.

    `damage` turns the packets of a good answer into what is sent, `delay_s` later. `is_late` spares the first answer of
    a series. An answer has bars only if `has_bars`; with a `reason` it is a `series_error` instead. Live updates follow
    only if `is_live`. The socket is cut `cut_after_s` after an answer, unless that is 0. `quotes` are sent instead of a
    quote's first state, the symbol added to each; if there are none, no quote_completed is sent either.
    """

    effect: str
    damage: Damage = _unharmed
    delay_s: float = 0.0
    is_late: bool = False
    has_bars: bool = True
    is_live: bool = True
    cut_after_s: float = 0.0
    reason: str = ""
    quotes: Sequence[Mapping[str, Any]] | None = None

    def parcels(self, answer: Answer, *, is_first: bool) -> list[Parcel]:
        """What is sent for an answer, the first of its series or a later one."""
        return _unharmed(answer) if is_first and self.is_late else self.damage(answer)


def is_whole(answer: Answer, parcels: Sequence[Parcel]) -> bool:
    """True if what is sent for an answer completes the series."""
    return answer[-1] in "".join(parcel.text for parcel in parcels if isinstance(parcel, Packet))


# --- the connection -------------------------------------------------------------------------------------------


def _nothing(answer: Answer) -> list[Parcel]:
    return []


def _hush(answer: Answer) -> list[Parcel]:
    return [Hush()]


def _ending_with(hangup: Hangup) -> Damage:
    """The answer, but the connection ends before its series_completed."""
    return lambda answer: [*_unharmed(answer[:-1]), hangup]


def _reset_in_a_message(answer: Answer) -> list[Parcel]:
    return [Hangup(is_abrupt=True, cut="".join(answer))]


def _drip(answer: Answer) -> list[Parcel]:
    return [Hangup(ending=Ending.DRIP, cut="".join(answer))]


# --- packets --------------------------------------------------------------------------------------------------


def _split(answer: Answer) -> list[Parcel]:
    text = "".join(answer)
    middle = len(text) // 2
    return [Packet(text[:middle], is_alone=True), Packet(text[middle:], is_alone=True)]


def _binary(answer: Answer) -> list[Parcel]:
    return [Packet(text, is_binary=True) for text in answer]


def _wrong_length(answer: Answer) -> list[Parcel]:
    _, length, payload = answer[-1].split("~m~", 2)
    return [*_unharmed(answer[:-1]), Packet(f"~m~{int(length) + 7}~m~{payload}")]


def _ending_in(text: str) -> Damage:
    """The answer, but with this text for its series_completed."""
    return lambda answer: [*_unharmed(answer[:-1]), Packet(text)]


def _heartbeats_between(answer: Answer) -> list[Parcel]:
    return [Packet(encode_packet(f"~h~{9_000 + place}") + text) for place, text in enumerate(answer)]


def _delimiters(answer: Answer) -> list[Parcel]:
    session = _message(answer[0])["p"][0]
    note = encode_message("news", [session, '~m~5~m~~h~77 ~m~2~m~{} "~m~"'])
    return [Packet(note + text) for text in answer]


# --- messages -------------------------------------------------------------------------------------------------


def _critical_error(answer: Answer) -> list[Parcel]:
    session, series, turnaround = _message(answer[0])["p"]
    info = f'method: create_series. args: "[{series}, {turnaround}]"'
    return [Packet(answer[0]), Packet(encode_message("critical_error", [session, "internal error", info]))]


def _protocol_error(answer: Answer) -> list[Parcel]:
    return [Packet(answer[0]), Packet(encode_message("protocol_error", ["wrong data"])), Hangup()]


def _unknown_messages(answer: Answer) -> list[Parcel]:
    session, series, _ = _message(answer[0])["p"]
    unknown = [
        encode_message("news", [session, {series: {"s": [{"i": 0, "v": [0.0, 1.0, 1.0, 1.0, 1.0]}]}}]),
        encode_message("clock", []),
        encode_packet(json.dumps({"x": 1})),
    ]
    return [Packet("".join(unknown) + text) for text in answer]


def _other_session(answer: Answer) -> list[Parcel]:
    def moved(text: str) -> str:
        message = _message(_changed(text, _each(lambda values: [*values[:4], values[4] * 2, *values[5:]])))
        message["p"][0] = "cs_ofanother"
        return _packet(message)

    return [parcel for text in answer for parcel in (Packet(moved(text)), Packet(text))]


def _completed_twice(answer: Answer) -> list[Parcel]:
    return _unharmed([*answer, answer[-1]])


# --- bars -----------------------------------------------------------------------------------------------------


def _with_points(change: Callable[[Points], Points]) -> Damage:
    """The answer with other bars."""
    return lambda answer: [Packet(_changed(text, change)) for text in answer]


def _each(change: Callable[[list[Any]], list[Any]], every: int = 1) -> Callable[[Points], Points]:
    """Changes the values of every bar, or of each `every`th."""
    return lambda points: [
        point | {"v": change(point["v"])} if place % every == every - 1 else point for place, point in enumerate(points)
    ]


def _with_far_bars(points: Points) -> Points:
    first, last = points[0], points[-1]
    early = {"i": first["i"] - 1, "v": [first["v"][0] - FAR_S, *first["v"][1:]]}
    late = {"i": last["i"] + 1, "v": [last["v"][0] + FAR_S, *last["v"][1:]]}
    return [early, *points, late]


def _twice(points: Points) -> Points:
    return [each for point in points for each in (_with_close(point, 2.0), point)]


def _revised(answer: Answer) -> list[Parcel]:
    """After the bars comes a `du` with another close for the newest closed one."""
    revisions = []
    for message in map(_message, answer[:-1]):
        if message["m"] == "timescale_update":
            for series, entry in message["p"][1].items():
                points = [_with_close(point, REVISED_CLOSE) for point in entry["s"][-2:-1]]
                changed = {"s": points, "ns": {"d": "", "indexes": "nochange"}, "t": entry["t"], "lbs": entry["lbs"]}
                revisions.append(encode_message("du", [message["p"][0], {series: changed}]))
    return _unharmed([*answer[:-1], *revisions, answer[-1]])


def _with_close(point: dict[str, Any], factor: float) -> dict[str, Any]:
    time, opened, high, low, close, *volume = point["v"]
    close = round(close * factor, 8)
    return point | {"v": [time, opened, max(high, close), low, close, *volume]}


def _changed(text: str, change: Callable[[Points], Points]) -> str:
    message = _message(text)
    if message["m"] != "timescale_update":
        return text
    for entry in message["p"][1].values():
        if entry.get("s"):
            entry["s"] = change(entry["s"])
    return _packet(message)


def _message(text: str) -> Any:
    return json.loads(text.split("~m~", 2)[2])


def _packet(message: Any) -> str:
    return encode_packet(json.dumps(message, ensure_ascii=False, separators=(",", ":")))


# --- the table ------------------------------------------------------------------------------------------------

_DENIED = {"s": "permission_denied", "errmsg": "Permission denied", "v": {"alternative": ""}}

FAULTS: dict[str, Fault] = {
    # The connection.
    "FAULT:SILENT": Fault("create_series is never answered; heartbeats go on", _nothing, is_live=False),
    "FAULT:SILENT_LATER": Fault("only the first page is answered; heartbeats go on", _nothing, is_late=True),
    "FAULT:MUTE": Fault("nothing is sent any more, not even heartbeats; pings are answered", _hush, is_live=False),
    "FAULT:HALF_OPEN": Fault(
        "nothing is read or sent any more; pings are not answered", _ending_with(Hangup(ending=Ending.STILL))
    ),
    "FAULT:SLOW": Fault(f"the answer takes {SLOW_S:g} seconds", delay_s=SLOW_S),
    "FAULT:DRIP": Fault("the answer comes as one message, a byte every quarter of a second", _drip),
    "FAULT:DROP": Fault("the socket is cut before series_completed", _ending_with(Hangup(is_abrupt=True))),
    "FAULT:DROP_LATER": Fault(
        "the socket is cut during the second page of every connection",
        _ending_with(Hangup(is_abrupt=True)),
        is_late=True,
    ),
    "FAULT:RESET": Fault("the socket is reset in the middle of a message", _reset_in_a_message),
    "FAULT:CLOSE": Fault("the connection is closed with code 1000 before series_completed", _ending_with(Hangup())),
    "FAULT:CLOSE_1013": Fault(
        "the connection is closed with code 1013 (try again later) before series_completed",
        _ending_with(Hangup(code=1013)),
    ),
    "FAULT:LIVE_DROP": Fault(f"the socket is cut {LIVE_S:g} seconds after every answer", cut_after_s=LIVE_S),
    "FAULT:LIVE_SILENT": Fault("no bar changes after the answer; heartbeats go on", is_live=False),
    # Packets.
    "FAULT:SPLIT_FRAME": Fault("one packet is split across two WebSocket messages", _split),
    "FAULT:BINARY": Fault("the answer comes in binary messages", _binary),
    "FAULT:BAD_FRAME": Fault("a packet's length is wrong", _wrong_length),
    "FAULT:BAD_HEADER": Fault("a packet's header is malformed", _ending_in("~m~1e3~m~{}")),
    "FAULT:GIANT_FRAME": Fault(
        "a packet announces more than any packet may hold", _ending_in(f"~m~{MAX_MESSAGE_LENGTH * 64}~m~{{")
    ),
    "FAULT:BAD_JSON": Fault("a packet is not JSON", _ending_in(encode_packet('{"m":"series_completed","p":['))),
    "FAULT:DEEP_JSON": Fault("a packet's JSON is 100,000 arrays deep", _ending_in(encode_packet("[" * 100_000))),
    "FAULT:HEARTBEATS": Fault("heartbeats share the messages of the answer", _heartbeats_between),
    "FAULT:DELIMITERS": Fault("texts in the answer look like packets", _delimiters),
    # Messages.
    "FAULT:SERIES_ERROR": Fault("the series is refused with series_error", reason="internal error"),
    "FAULT:CRITICAL_ERROR": Fault("the series is refused with critical_error", _critical_error, is_live=False),
    "FAULT:PROTOCOL_ERROR": Fault("the connection ends with protocol_error", _protocol_error, is_live=False),
    "FAULT:UNKNOWN_MESSAGES": Fault("messages that no client knows come in between", _unknown_messages),
    "FAULT:OTHER_SESSION": Fault("answers for a session that nobody opened come in between", _other_session),
    "FAULT:COMPLETED_TWICE": Fault("series_completed comes twice", _completed_twice),
    "FAULT:EMPTY": Fault("the series completes without bars", has_bars=False, is_live=False),
    # Bars.
    "FAULT:UNORDERED": Fault("the bars come newest first", _with_points(lambda points: points[::-1])),
    "FAULT:DUPLICATES": Fault("every bar comes twice, first with a wrong close", _with_points(_twice)),
    "FAULT:OUTSIDE": Fault("one bar is years older than the others, and one years newer", _with_points(_with_far_bars)),
    "FAULT:REVISED": Fault(f"the newest closed bar comes again, its close {REVISED_CLOSE:g} times as high", _revised),
    "FAULT:NULL_BARS": Fault("every third close is null", _with_points(_each(lambda v: [*v[:4], None, *v[5:]], 3))),
    "FAULT:STRING_BARS": Fault(
        "every third close is a string", _with_points(_each(lambda v: [*v[:4], str(v[4]), *v[5:]], 3))
    ),
    "FAULT:NAN_BARS": Fault(
        "every third close is NaN", _with_points(_each(lambda v: [*v[:4], float("nan"), *v[5:]], 3))
    ),
    "FAULT:SHORT_BARS": Fault("every third bar has four values", _with_points(_each(lambda v: v[:4], 3))),
    "FAULT:INVERTED": Fault(
        "every third bar has its high below its low",
        _with_points(_each(lambda v: [v[0], v[1], v[3] - 1.0, v[2] + 1.0, *v[4:]], 3)),
    ),
    # Quotes; their charts are good.
    "FAULT:QUOTE_ERROR": Fault("the quote is an error", quotes=[{"s": "error", "errmsg": "internal_error", "v": {}}]),
    "FAULT:QUOTE_DENIED": Fault("the quote is denied", quotes=[_DENIED]),
    "FAULT:QUOTE_SILENT": Fault("the quote is never answered", quotes=[]),
    "FAULT:QUOTE_PARTIAL": Fault(
        "the quote has no price, only a change and then a volume",
        quotes=[{"s": "ok", "v": {"ch": -0.5}}, {"s": "ok", "v": {"volume": 1_000.0}}],
    ),
}
