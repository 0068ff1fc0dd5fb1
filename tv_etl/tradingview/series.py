"""A series: what is fetched, partitioned and committed as one."""

from typing import NamedTuple

from tv_etl.tradingview.intervals import Interval

# What an anonymous account is served of an intraday series, until the server has shown that it is less or more.
ASSUMED_WINDOW_BARS = 5_000


class Series(NamedTuple):
    """A symbol at an interval.

    Any text is taken for a symbol: a name of the wrong form has to be told as well. `HistoryRequest` checks it before
    anything is sent, the lake before anything is stored.
    """

    symbol: str
    interval: Interval

    @classmethod
    def of(cls, symbol: str, interval: str | Interval) -> "Series":
        """Read the interval in either spelling. Raises IntervalError."""
        return cls(symbol, Interval.parse(interval))

    @property
    def order(self) -> tuple[str, float, str]:
        """To sort by: the symbol, then the width; ticks and ranges, which have none, come last."""
        width = self.interval.seconds if self.interval.is_time_based else float("inf")
        return self.symbol, width, self.interval.token

    def __str__(self) -> str:
        """E.g. `NASDAQ:AAPL 1m`."""
        return f"{self.symbol} {self.interval}"
