"""Faults that a client can ask for by symbol: `FAULT:DROP` and the like.

Each resolves like any other symbol; what it does to the answer to create_series, modify_series and
request_more_data is one entry of `FAULTS`. Add a fault by adding an entry.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tv_etl.market_server.outbox import Hangup, Packet, Parcel

SLOW_S = 3.0

# The packets of a whole answer: series_loading first, then timescale_update, series_completed last.
Answer = Sequence[str]


@dataclass(frozen=True)
class Fault:
    """What becomes of an answer.

    `damage` turns the packets of a good answer into what is sent; `delay_s` passes before. `has_bars` is false if the
    answer is made without any; with `reason`, a `series_error` with that reason is made instead of one. Live updates
    follow only if `is_live`.
    """

    effect: str
    damage: Callable[[Answer], list[Parcel]]
    delay_s: float = 0.0
    has_bars: bool = True
    is_live: bool = True
    reason: str = ""


def _unharmed(answer: Answer) -> list[Parcel]:
    return [Packet(text) for text in answer]


def _nothing(answer: Answer) -> list[Parcel]:
    return []


def _hang_up_in_the_middle(answer: Answer) -> list[Parcel]:
    return [*(Packet(text) for text in answer[:-1]), Hangup(is_abrupt=True)]


def _split(answer: Answer) -> list[Parcel]:
    text = "".join(answer)
    middle = len(text) // 2
    return [Packet(text[:middle], is_alone=True), Packet(text[middle:], is_alone=True)]


def _wrong_length(answer: Answer) -> list[Parcel]:
    _, length, payload = answer[-1].split("~m~", 2)
    return [*_unharmed(answer[:-1]), Packet(f"~m~{int(length) + 7}~m~{payload}")]


FAULTS: dict[str, Fault] = {
    "FAULT:SILENT": Fault("create_series is never answered; heartbeats go on", _nothing, is_live=False),
    "FAULT:DROP": Fault("the socket is cut before series_completed", _hang_up_in_the_middle),
    "FAULT:SPLIT_FRAME": Fault("one packet lies in two WebSocket messages", _split),
    "FAULT:BAD_FRAME": Fault("a packet's length is wrong", _wrong_length),
    "FAULT:SERIES_ERROR": Fault("the series is refused", _unharmed, reason="internal error"),
    "FAULT:SLOW": Fault(f"the answer takes {SLOW_S:g} seconds", _unharmed, delay_s=SLOW_S),
    "FAULT:EMPTY": Fault("the series completes without bars", _unharmed, has_bars=False, is_live=False),
}
