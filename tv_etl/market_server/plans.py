"""What an account may ask of the server."""

from dataclasses import dataclass

from tv_etl.tradingview.intervals import Interval

_STANDARD_MINUTES = frozenset({1, 3, 5, 15, 30, 45, 60, 120, 180, 240})


@dataclass(frozen=True)
class Plan:
    """The limits of an account: how deep intraday history reaches, how many series a chart session may hold.

    `rt_update_period` is what `series_completed` says of it, in seconds.
    """

    name: str
    intraday_bars: int
    series_per_session: int
    rt_update_period: int
    has_seconds: bool
    has_custom_intervals: bool

    def refusal(self, interval: Interval) -> str | None:
        """The reason of the `series_error` for an interval that the plan lacks, None if it has it."""
        if interval.unit == "s" and not self.has_seconds:
            return "seconds_not_entitled"
        if interval.unit == "t":
            return "ticks_not_entitled"
        if interval.unit == "r":
            return "resolution_not_entitled"
        if interval.unit == "m" and interval.count not in _STANDARD_MINUTES and not self.has_custom_intervals:
            return "custom_resolution"
        return None


ANONYMOUS = Plan("anonymous", 5_000, 1, 5, has_seconds=False, has_custom_intervals=False)
