"""What an account may ask of the server.

The windows of bars are PROTOCOL.md's §9; connections, intervals and studies are those of TradingView's price list. How
many series a session of a paid plan may hold is not published: as many as its charts take indicators.
"""

from dataclasses import dataclass

from tv_etl.tradingview.intervals import Interval

_STANDARD_MINUTES = frozenset({1, 3, 5, 15, 30, 45, 60, 120, 180, 240})


@dataclass(frozen=True)
class Plan:
    """The limits of an account: how deep intraday history reaches, how many series a chart session may hold.

    `rt_update_period` is what `series_completed` says of it, in seconds; `wire_name` is the plan's name in a token and
    on the site; `max_connections` is how many WebSockets an account may have open, None for any number.
    """

    name: str
    intraday_bars: int
    series_per_session: int
    rt_update_period: int
    has_seconds: bool
    has_custom_intervals: bool
    has_ticks: bool = False
    wire_name: str = ""
    max_connections: int | None = None

    def refusal(self, interval: Interval) -> str | None:
        """The reason of the `series_error` for an interval that the plan lacks, None if it has it."""
        if interval.unit == "s" and not self.has_seconds:
            return "seconds_not_entitled"
        if interval.unit == "t" and not self.has_ticks:
            return "ticks_not_entitled"
        if interval.unit == "r" and not self.has_custom_intervals:
            return "resolution_not_entitled"
        if interval.unit == "m" and interval.count not in _STANDARD_MINUTES and not self.has_custom_intervals:
            return "custom_resolution"
        return None


def _paid(name: str, wire_name: str, bars: int, series: int, connections: int, **intervals: bool) -> Plan:
    return Plan(
        name, bars, series, 0, intervals.get("has_seconds", False), True, intervals.get("has_ticks", False),
        wire_name, connections,
    )  # fmt: skip


ANONYMOUS = Plan("anonymous", 5_000, 1, 5, has_seconds=False, has_custom_intervals=False)
BASIC = Plan("basic", 5_000, 1, 5, has_seconds=False, has_custom_intervals=False, max_connections=5)

PLANS = {
    plan.name: plan
    for plan in (
        ANONYMOUS,
        BASIC,
        _paid("essential", "pro", 10_000, 5, 10),
        _paid("plus", "pro_plus", 10_000, 10, 20),
        _paid("premium", "pro_premium", 20_000, 25, 50, has_seconds=True),
        _paid("expert", "pro_premium_expert", 25_000, 30, 80, has_seconds=True, has_ticks=True),
        _paid("ultimate", "pro_premium_ultimate", 40_000, 50, 200, has_seconds=True, has_ticks=True),
    )
}
