"""What one connection must send, and when: packets in order per channel, several to a WebSocket message."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Packet:
    """Text to send. `is_alone` keeps it from sharing a WebSocket message with its neighbours."""

    text: str
    is_alone: bool = False


@dataclass(frozen=True)
class Hangup:
    """The end of the connection: a closing handshake, or none if `is_abrupt`."""

    is_abrupt: bool = False


Parcel = Packet | Hangup


class Outbox:
    """Parcels wait here until they are due; those of one channel keep their order.

    What is put is stamped by `stamp`: with the time work on it began, or, if it takes a while, with the time the
    work ended and that while. `latency_s` delays everything alike.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        self._latency_s = latency_s
        self._unstamped: list[tuple[str, float, Parcel]] = []
        self._waiting: list[tuple[float, int, Parcel]] = []
        self._count = 0
        self._last_due: dict[str, float] = {}

    def put(self, channel: str, parcels: Iterable[Parcel], delay_s: float = 0.0) -> None:
        """Send parcels, after `delay_s` at the earliest."""
        self._unstamped.extend((channel, delay_s, parcel) for parcel in parcels)

    def stamp(self, began: float, ended: float) -> None:
        """Decide when all that was put is due."""
        for channel, delay_s, parcel in self._unstamped:
            due = self._latency_s + (ended + delay_s if delay_s else began)
            self._last_due[channel] = due = max(due, self._last_due.get(channel, 0.0))
            self._count += 1
            heapq.heappush(self._waiting, (due, self._count, parcel))
        self._unstamped.clear()

    def next_due(self) -> float | None:
        """When the next parcel is due, None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def take_due(self, now: float) -> list[str | Hangup]:
        """The WebSocket messages that are due, and perhaps a Hangup behind them."""
        messages: list[str | Hangup] = []
        shared: list[str] = []
        while self._waiting and self._waiting[0][0] <= now:
            _, _, parcel = heapq.heappop(self._waiting)
            if isinstance(parcel, Packet) and not parcel.is_alone:
                shared.append(parcel.text)
                continue
            if shared:
                messages.append("".join(shared))
                shared = []
            messages.append(parcel.text if isinstance(parcel, Packet) else parcel)
        if shared:
            messages.append("".join(shared))
        return messages
