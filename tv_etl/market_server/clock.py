"""The market's clock: it may start at any moment and run at any speed."""

import time


class MarketClock:
    """Starts at `start` (UTC seconds, the machine's clock if None) and runs `speed` times as fast as real time."""

    def __init__(self, start: float | None = None, speed: float = 1.0) -> None:
        if not speed >= 0:
            raise ValueError(f"speed {speed} is negative")
        self.speed = speed
        self._start = time.time() if start is None else start
        self._started = time.monotonic()

    def now(self) -> float:
        """The market's time, UTC seconds."""
        return self._start + (time.monotonic() - self._started) * self.speed
