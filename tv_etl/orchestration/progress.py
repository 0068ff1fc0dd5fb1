"""How far a run is, as lines for its log that a person can follow. Pure: the caller has the clock."""

# A line costs Dagster milliseconds: one is due after this many series, or this many seconds.
EVERY_SERIES = 50
EVERY_S = 10.0


class Progress:
    """Counts series; `now` is any clock in seconds that does not jump."""

    def __init__(self, total: int, now: float) -> None:
        self._total = total
        self._started = self._reported_at = now
        self._done = self._reported = 0

    def count(self, failed: int, now: float) -> str | None:
        """Count one more finished series, `failed` in all so far; return the line that is due, if any."""
        self._done += 1
        is_due = self._done - self._reported >= EVERY_SERIES or now - self._reported_at >= EVERY_S
        if not is_due or self._done >= self._total:  # the caller reports the end itself
            return None
        self._reported, self._reported_at = self._done, now
        rate = self._done / max(now - self._started, 1e-3)
        left = _duration((self._total - self._done) / rate)
        share = f"{self._done:,} of {self._total:,} series ({self._done / self._total:.0%})"
        return f"{share}, {failed:,} failed, {rate:.1f} a second, {left} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
