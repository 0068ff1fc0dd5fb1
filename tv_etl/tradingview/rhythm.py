"""How long a live series may be silent: by its own trading hours, and by the rhythm that its own bars have shown.

Silence is counted in seconds of trading: nights, holidays and lunch breaks are none. It is suspicious once it is
SEVERAL times as long as the longest that any two of its bars lay apart, and no shorter than that many bars: a symbol
that trades once an hour may be silent for many. Pure: it reads no clock.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import SymbolInfo
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError

SEVERAL = 5
LEAST_S = 60.0

# How much history shows a rhythm, quiet nights included.
_HISTORY_S = 5 * 86_400
_HISTORY_BARS = 100

_DAY_S = 86_400


class Rhythm:
    """What is known of one series' hours and of its longest silence within them.

    Nothing is judged as long as the hours or the delay of the feed are not known.
    """

    def __init__(self, width: Interval, session: str) -> None:
        self._width = width
        self._session = session
        self._hours: TradingHours | None = None
        self._delay_s: float | None = None
        self._longest_s = 0.0
        self._newest = -math.inf

    @property
    def history_bars(self) -> int:
        """How many bars show the rhythm."""
        width_s = self._width.seconds if self._width.is_time_based else LEAST_S
        return max(math.ceil(_HISTORY_S / width_s), _HISTORY_BARS)

    @property
    def limit_s(self) -> float:
        """From how many seconds of trading on a silence is suspicious."""
        width_s = self._width.longest_s if self._width.is_time_based else 0.0
        return max(SEVERAL * max(self._longest_s, width_s), LEAST_S)

    def resolved(self, info: SymbolInfo) -> None:
        """Learn the hours; those that cannot be read are not known."""
        try:
            self._hours = TradingHours.of_symbol(info.raw, self._session)
        except TradingHoursError:
            self._hours = None

    def completed(self, delay_s: float | None) -> None:
        """Learn how late the feed is; None if it does not say."""
        self._delay_s = delay_s

    def add(self, opens: Iterable[float]) -> None:
        """Learn from the opens of bars, whether they were seen before or not."""
        moments = np.array(sorted({*opens, self._newest} - {-math.inf}))
        if len(moments):
            self._newest = float(moments[-1])
        if len(moments) > 1 and self._hours is not None:
            self._longest_s = max(self._longest_s, float(np.diff(self._traded(moments)).max()))

    def silence_s(self, since: float, now: float) -> float:
        """How many seconds of trading lie between two times of the server's clock; 0 where that is not known."""
        if self._hours is None or self._delay_s is None or now <= since:
            return 0.0
        begun, ended = self._traded(np.array([since, now]) - self._delay_s)
        return float(ended - begun)

    def _traded(self, moments: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Seconds of trading before each moment, counted from the first one's day."""
        assert self._hours is not None
        _, opens, closes = self._hours.sessions(int(moments[0]) - _DAY_S, int(moments[-1]) + 1)
        before = np.concatenate([[0.0], np.cumsum(closes - opens)])
        place = np.searchsorted(opens, moments, side="right")
        if not len(opens):
            return np.zeros(len(moments))
        last = np.maximum(place - 1, 0)
        return before[place] - np.where(place > 0, np.maximum(closes[last] - moments, 0.0), 0.0)
