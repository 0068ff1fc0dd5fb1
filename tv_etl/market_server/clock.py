"""The market's clock: it may start at any moment, run at any speed, and be moved."""

import math
import time


class MarketClock:
    """Starts at `start` (UTC seconds, the machine's clock if None) and runs `speed` times as fast as real time."""

    def __init__(self, start: float | None = None, speed: float = 1.0) -> None:
        # Replaced as a whole: another thread must not see half a move.
        self._anchor = (time.time() if start is None else start, time.monotonic(), _checked(speed))

    def now(self) -> float:
        """The market's time, UTC seconds."""
        start, started, speed = self._anchor
        return start + (time.monotonic() - started) * speed

    def move_to(self, moment: float) -> None:
        """Continue from this moment (UTC seconds)."""
        self._anchor = (moment, time.monotonic(), self._anchor[2])

    def advance(self, seconds: float) -> None:
        """Continue this many seconds later."""
        self.move_to(self.now() + seconds)

    def run(self, speed: float) -> None:
        """Continue from now at another speed; 0 stops the clock."""
        self._anchor = (self.now(), time.monotonic(), _checked(speed))


def _checked(speed: float) -> float:
    if not 0 <= speed < math.inf:
        raise ValueError(f"speed {speed:g}: expected 0 or more")
    return speed
