"""Which bars of a live series have closed: each told once, with its final values, in order. A pure fold.

A bar has closed when a newer one comes; then it has SETTLE_S more for values that come late. Without a successor it has
closed LATE_S after its end. What comes later still is not told. Time is that of the server's clock up to which all that
it sent has come: no clock closes a bar whose values a lost connection may hold back.
"""

import math

SETTLE_S = 2.0
LATE_S = 6.0  # accounts that pay nothing get changes every five seconds

# A bar that opens later than this from now is damage, and the successor of none.
_FUTURE_S = 86_400


class ClosedBars:
    """The bars of one series that have not been told yet, from the one that forms when the first rows come."""

    def __init__(self) -> None:
        self._rows: dict[float, list[float]] = {}
        self._due: dict[float, float] = {}
        self._told = -math.inf  # the newest bar that is done with
        self._is_begun = False

    def add(self, rows: list[list[float]], end: float | None, now: float) -> None:
        """Take rows as they are at `now`; `end` is when the newest bar of the series ends, None if nobody says."""
        for row in rows:
            if self._told < row[0] < now + _FUTURE_S:
                self._rows[row[0]] = row
        if not self._rows:
            return
        newest = max(self._rows)
        for moment in self._rows:
            if moment < newest:
                self._due[moment] = min(self._due.get(moment, math.inf), now + SETTLE_S)
        self._due[newest] = math.inf if end is None or end <= newest else end + LATE_S
        if not self._is_begun:
            self._is_begun = True
            # What has closed before is none of ours.
            has_ended = end is not None and newest < end <= now
            self._drop([moment for moment in self._rows if moment < newest or has_ended])

    def take(self, complete_to: float) -> list[list[float]]:
        """The bars that have closed and settled by then, oldest first."""
        moments = []
        for moment in sorted(self._rows):
            if self._due[moment] > complete_to:
                break
            moments.append(moment)
        rows = [self._rows[moment] for moment in moments]
        self._drop(moments)
        return rows

    def _drop(self, moments: list[float]) -> None:
        for moment in moments:
            del self._rows[moment], self._due[moment]
            self._told = max(self._told, moment)
