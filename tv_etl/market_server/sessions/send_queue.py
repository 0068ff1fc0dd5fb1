"""What one connection must send, and when: packets in order per channel, several to a WebSocket message."""

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

# Characters that share a WebSocket message at most; a longer packet has one of its own. The live server was seen to put
# ten packets of 118,055 characters together.
SHARED_LENGTH = 128 * 1024


@dataclass(frozen=True)
class Packet:
    """Text to send. `is_alone` keeps it from sharing a WebSocket message with its neighbours, `is_binary` as well."""

    text: str
    is_alone: bool = False
    is_binary: bool = False


class Ending(Enum):
    """How a connection ends other than by a closing handshake.

    STILL: it does not, but nothing is read or answered any more, pings included. DRIP: the same, while the bytes of one
    last message come one by one.
    """

    STILL = "still"
    DRIP = "drip"


@dataclass(frozen=True)
class Hangup:
    """The end of the connection: a closing handshake with `code`, or none if `is_abrupt`.

    `cut` is a last message, of which only the first part is sent. `ending` replaces the end itself.
    """

    is_abrupt: bool = False
    code: int = 1000
    cut: str = ""
    ending: Ending | None = None


@dataclass(frozen=True)
class Hush:
    """Nothing is sent from here on, heartbeats included; the connection stays open and answers pings."""


Parcel = Packet | Hangup | Hush


class SendQueue:
    """Parcels wait here until they are due; those of one channel keep their order.

    `stamp` decides when what was put is due: at the time work on it began or, if it has a delay, that long after the
    work ended. `latency_s` delays everything alike, `jitter_s` by up to that much more; what jitter holds up holds up
    what is behind it, as on any connection. `seed` makes the jitter the same every time.
    """

    def __init__(self, latency_s: float = 0.0, jitter_s: float = 0.0, *, seed: int = 0) -> None:
        self._latency_s, self._jitter_s = latency_s, jitter_s
        self._random = random.Random(seed)
        self._unstamped: list[tuple[str, float, Parcel]] = []
        self._waiting: list[tuple[float, int, float, Parcel]] = []
        self._count = 0
        self._last_due: dict[str, float] = {}
        self._last_sent = 0.0
        self._is_hushed = False

    def put(self, channel: str, parcels: Iterable[Parcel], delay_s: float = 0.0) -> None:
        """Send parcels, after `delay_s` at the earliest."""
        self._unstamped.extend((channel, delay_s, parcel) for parcel in parcels)

    def stamp(self, began: float, ended: float) -> None:
        """Decide when all that was put is due."""
        for channel, delay_s, parcel in self._unstamped:
            due = self._latency_s + (ended + delay_s if delay_s else began)
            self._last_due[channel] = due = max(due, self._last_due.get(channel, 0.0))
            self._count += 1
            jitter_s = self._random.uniform(0.0, self._jitter_s) if self._jitter_s else 0.0
            heapq.heappush(self._waiting, (due, self._count, jitter_s, parcel))
        self._unstamped.clear()

    def next_due(self) -> float | None:
        """When the next parcel is due, None if none waits."""
        if not self._waiting:
            return None
        due, _, jitter_s, _ = self._waiting[0]
        return max(due + jitter_s, self._last_sent) if self._jitter_s else due

    def take_due(self, now: float) -> list[str | bytes | Hangup]:
        """The WebSocket messages that are due, and perhaps a Hangup behind them."""
        messages: list[str | bytes | Hangup] = []
        shared: list[str] = []
        length = 0

        def end_message() -> None:
            nonlocal length
            if shared:
                messages.append("".join(shared))
                shared.clear()
                length = 0

        while (due := self.next_due()) is not None and due <= now:
            self._last_sent = due
            parcel = heapq.heappop(self._waiting)[-1]
            if self._is_hushed or isinstance(parcel, Hush):
                self._is_hushed = True
                continue
            if isinstance(parcel, Packet) and not (parcel.is_alone or parcel.is_binary):
                if length + len(parcel.text) > SHARED_LENGTH:
                    end_message()
                shared.append(parcel.text)
                length += len(parcel.text)
                continue
            end_message()
            if isinstance(parcel, Packet):
                messages.append(parcel.text.encode() if parcel.is_binary else parcel.text)
            else:
                messages.append(parcel)
        end_message()
        return messages
