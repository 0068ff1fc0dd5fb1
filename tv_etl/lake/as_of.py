"""A series as it was known at a moment: without what came later, and with the values that were replaced later.

What a commit changes is on record with its time: in the data files when each bar came, in the log of revisions the old
values of single bars, in a log of each re-adjustment all bars as they were before it. The oldest of the values that
were replaced after the moment is the one that stood then.
"""

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa

from tv_etl.lake.bars import Bars, check_bars, joined, merge
from tv_etl.lake.errors import AsOfError
from tv_etl.lake.logs import replaced_by_revisions
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.columns import mask_column, mask_of, numbers_of

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def bars_as_of(stored: StoredSeries, moment: datetime, start_s: int | None, end_s: int | None) -> Bars:
    """The bars of a half-open range of UTC seconds, as commits up to the moment had left them.

    Raises AsOfError for a moment of which that is not on record, and as `BarStore.read` does.
    """
    moment_us = (moment - _EPOCH) // _MICROSECOND
    replaced, known_from = _replaced_after(stored, moment_us)
    if moment_us < known_from * 1_000_000:
        raise AsOfError(str(stored.series), moment, known_from)
    parts = (stored.bars(period).take(stored.came_at(period) <= moment_us) for period in stored.periods)
    bars = merge(joined(*parts), _left_after(stored, moment_us)).bars
    return _restored(bars.between(start_s, end_s), replaced)


def _left_after(stored: StoredSeries, moment_us: int) -> Bars:
    """The bars that were known at a moment and left the dataset since."""
    log = stored.withdrawn()
    came_at, found_at = (numbers_of(log[name].cast(pa.int64())) for name in ("came_at", "found_at"))
    is_meant = mask_of(log["has_left"]) & (came_at <= moment_us) & (found_at > moment_us)
    rows = log.filter(mask_column(is_meant)).select(BAR_SCHEMA.names)
    return check_bars(rows) if rows.num_rows else Bars.none()


def _replaced_after(stored: StoredSeries, moment_us: int) -> tuple[pa.Table, float]:
    """What was replaced after a moment, and from when on (UTC seconds) all that was replaced is on record."""
    record = stored.record()
    revisions, known_from = stored.revisions(), record.logged_from
    if revisions.num_rows < record.revisions:  # somebody took the log away
        known_from = math.inf
    logs = [replaced_by_revisions(revisions)]
    for number, found in enumerate(record.readjustments, start=1):
        if int(found.found_at * 1_000_000) > moment_us:
            log = stored.readjusted(number)
            if log is None:
                known_from = max(known_from, found.found_at)
            else:
                logs.append(log)
    for number, seam in enumerate(record.seams, start=1):
        if seam.replaced and int(seam.found_at * 1_000_000) > moment_us:
            log = stored.at_seam(number)
            if log is None:
                known_from = max(known_from, seam.found_at)
            else:
                logs.append(log)
    table = pa.concat_tables(logs)
    found_at = numbers_of(table["found_at"].cast(pa.int64()))
    return table.filter(mask_column(found_at > moment_us)), known_from


def _restored(bars: Bars, replaced: pa.Table) -> Bars:
    """The bars, with the value in place that was replaced first."""
    if not replaced.num_rows:
        return bars
    old, found_at = Bars.from_stored(replaced), numbers_of(replaced["found_at"].cast(pa.int64()))
    order = np.lexsort((found_at, old.times))
    times, first = np.unique(old.times[order], return_index=True)
    then = old.take(order[first])
    place = np.searchsorted(bars.times, times)
    is_there = place < len(bars)
    is_there[is_there] = bars.times[place[is_there]] == times[is_there]
    values, has_volume = bars.values.copy(), bars.has_volume.copy()
    values[:, place[is_there]] = then.values[:, is_there]
    has_volume[place[is_there]] = then.has_volume[is_there]
    return Bars(bars.times, values, has_volume)
