"""A seam: where the bars of a series join without a proof that both sides are of one scale, and of one instrument.

Nothing is scaled on doubt. What is older stays as it is, and readable; completeness, gaps and derived datasets count
from the newest open seam on. It is resolved by a person (`scale`, `cut` or `accept`), by an answer that reaches across
it, or by the daily bars of the symbol, which span what its minutes could not.
"""

from dataclasses import dataclass

from tv_etl.tradingview.moments import utc


@dataclass(frozen=True)
class Seam:
    """Bars before `at` (UTC seconds) were not proven to join those from it on, when that was found, for a reason.

    `older` and `newer` are open time and close of the last bar before and the first one after. `replaced` bars that
    both sides had came with other values. `resolved` says how and `resolved_at` when; until then it is open.
    """

    at: int
    found_at: float
    reason: str
    older: tuple[int, float]
    newer: tuple[int, float]
    replaced: int = 0
    resolved: str = ""
    resolved_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return not self.resolved

    def __str__(self) -> str:
        """E.g. `2026-11-02 14:30Z: 12.5 before (2026-10-01 19:59Z), 240.1 after`."""
        before, after = (f"{price:.10g}" for _, price in (self.older, self.newer))
        return f"{utc(self.at):%Y-%m-%d %H:%M}Z: {before} before ({utc(self.older[0]):%Y-%m-%d %H:%M}Z), {after} after"
