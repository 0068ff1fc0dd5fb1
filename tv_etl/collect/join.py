"""How a request reaches into the bars that are stored beside what it asks for, and whether its answer joins them.

A server that re-adjusts its history says so nowhere: only a bar that is both stored and answered shows it. An answer
that ends beside stored bars may be of another scale, and the next increment would take the seam for the truth.
"""

from datetime import datetime, timedelta

import pyarrow as pa

from tv_etl.lake.bars import Bars, check_bars
from tv_etl.lake.coverage import overlap_start
from tv_etl.lake.readjustment import agrees_at_start
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.moments import utc

# How many of the stored bars before a request are asked for again.
OVERLAP_BARS = 5

_SECOND = timedelta(seconds=1)


def reaching(store: BarStore, request: HistoryRequest) -> HistoryRequest:
    """The request, widened to overlap the stored bars before and after it; the same where nothing is stored.

    The server sends all bars from the start on anyway, so the far end is open. Where a number of bars is asked for,
    only the answer tells where it begins: see `deeper`. Raises as `BarStore.read` does.
    """
    symbol, width = request.symbol, request.width
    if request.bars_count is not None or store.watermark(symbol, width) is None:
        return request
    start = request.start
    if start is not None and (before := _newest_before(store, request, start)) is not None:
        start = min(start, overlap_start(store, symbol, width, before, OVERLAP_BARS))
    return HistoryRequest(symbol, request.interval, start=start, settings=request.settings)


def deeper(store: BarStore, request: HistoryRequest, answer: pa.Table) -> HistoryRequest | None:
    """What to ask for in place of the request, whose answer does not join what is stored; None if it does.

    The oldest bar of an answer that joins is stored with the same values, or no older bar is stored, or all that the
    server has of the stored time is in it; and no newer bar is stored than it could hold. Raises BadBarsError, and as
    `BarStore.read` does.
    """
    symbol, width = request.symbol, request.width
    given = check_bars(answer)
    given = given.take(given.is_consistent())
    if not len(given):
        return None
    begins, ends = utc(int(given.times[0])), utc(int(given.times[-1]))
    stored = Bars.from_stored(store.read(symbol, width, begins, ends + _SECOND))
    agrees = agrees_at_start(stored, given)
    meets = len(stored) > 0 and stored.times[0] == given.times[0]
    if agrees and meets and request.end is None:
        return None
    extent = store.summary(symbol, width)
    if extent.first is None or extent.last is None:
        return None
    asked = begins if request.start is None else min(begins, request.start)
    start = asked
    if extent.first < asked:
        if not agrees:
            start = extent.first
        elif not meets and (before := _newest_before(store, request, begins)) is not None:
            start = min(asked, overlap_start(store, symbol, width, before, OVERLAP_BARS))
    stops_short = request.end is not None and request.end <= extent.last
    if start == asked and not stops_short:
        return None
    return HistoryRequest(symbol, request.interval, start=start, settings=request.settings)


def _newest_before(store: BarStore, request: HistoryRequest, before: datetime) -> datetime | None:
    """The newest stored bar before a moment, from the one file that holds it."""
    record = store.record(request.symbol, request.width)
    firsts = [utc(period.first) for period in record.periods.values()]
    first = max((each for each in firsts if each < before), default=None)
    if firsts and first is None:
        return None
    times = store.read(request.symbol, request.width, first, before)["timestamp"]
    newest: datetime | None = times[-1].as_py() if len(times) else None
    return newest
