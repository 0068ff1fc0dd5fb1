"""What one connection must send, and when: packets in order per channel, several to a WebSocket message."""

import heapq
from collections.abc import Sequence
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

    `latency_s` delays everything alike.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        self._latency_s = latency_s
        self._waiting: list[tuple[float, int, Parcel]] = []
        self._count = 0
        self._last_due: dict[str, float] = {}

    def put(self, channel: str, parcels: Sequence[Parcel], now: float, delay_s: float = 0.0) -> None:
        """Send parcels `delay_s` from now at the earliest."""
        due = max(now + self._latency_s + delay_s, self._last_due.get(channel, 0.0))
        self._last_due[channel] = due
        for parcel in parcels:
            self._count += 1
            heapq.heappush(self._waiting, (due, self._count, parcel))

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

    def forget(self, channel: str) -> None:
        """The channel is used no more."""
        self._last_due.pop(channel, None)
