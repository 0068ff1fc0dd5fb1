"""For unit tests of assets that depend on bars, without a server: answers as `TradingViewResource.fetch` yields them.

A server for tests is in `tv_etl.market_server.testing`.
"""

import math
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from tv_etl.lake.bars import check_bars
from tv_etl.tradingview.bar_rows import BarRows
from tv_etl.tradingview.errors import NoBarsError
from tv_etl.tradingview.history import to_table
from tv_etl.tradingview.models import HistoryRequest, Reach, SeriesHistory, SymbolInfo

# A lake never mixes it with TradingView's.
_MARKET = "test"
_FIRST_S = int(datetime.min.replace(tzinfo=timezone.utc).timestamp())


def whole_answer(request: HistoryRequest, bars: pa.Table, *, now: datetime | None = None) -> pa.Table | NoBarsError:
    """What a server answers to a request if these are all bars of the series that it has.

    `bars` has the columns timestamp (of the open, with a time zone), open, high, low, close and volume. The answer has
    those that are asked for, and says in its schema metadata what a lake must know to take it as whole: that no others
    were asked for and are missing, and which is not closed at `now` (by default, now). Where none is left it is a
    NoBarsError, as a server's is.

    Raises BadBarsError for what is no table of bars, ValueError for `now` without a time zone.
    """
    if now is not None and now.tzinfo is None:
        raise ValueError(f"now {now.isoformat()} has no time zone: pass an aware datetime")
    clock_s, longest_s = (now or datetime.now(timezone.utc)).timestamp(), request.width.longest_s
    held = check_bars(bars).between(None, math.floor(clock_s) + 1)
    start_s, end_s, count = _seconds(request.start), _seconds(request.end), request.bars_count
    before_end = held.between(None, end_s)
    if count is not None and count <= len(before_end):
        start_s = int(before_end.times[-count])
    wanted = held.between(start_s, None if request.up_to_now else end_s)
    if not len(wanted):
        return NoBarsError(f"{request}: the test has no such bar", is_empty_answer=True)
    last_s = int(held.times[-1])
    forming_from = last_s if last_s + longest_s > clock_s else None
    # Any other bar that would have ended by now there is not.
    closed_until = max(last_s + 1, math.floor(clock_s - longest_s) + 1) if forming_from is None else forming_from
    begins_s = _FIRST_S if start_s is None else start_s
    ends_s = closed_until if end_s is None or request.up_to_now else min(closed_until, end_s)
    reach: Reach = "complete" if begins_s >= held.times[0] else "exhausted"
    volumes = np.where(wanted.has_volume, wanted.values[4], math.nan)
    history = SeriesHistory(
        request=request,
        info=SymbolInfo({}),
        rows=BarRows(np.column_stack([wanted.times, *wanted.values[:4], volumes])),
        reach=reach,
        forming_from=forming_from,
        update_mode="",
        requests=1,
        server_time=clock_s,
        asked=(begins_s, ends_s) if begins_s < ends_s and math.isfinite(longest_s) else None,
    )
    return to_table(history, market=_MARKET)


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else math.ceil(moment.timestamp())
