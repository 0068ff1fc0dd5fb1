"""Bars that an answer vouches for and has not: the server once had them, and has them no more.

Each is logged with its values. It leaves the dataset where a bar that is served overlaps it in time, as bars that were
anchored anew do, which would count what was traded twice; elsewhere it stays, and is counted.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.lake.bars import Bars, Mask, Times
from tv_etl.lake.logs import moments, read_log
from tv_etl.lake.spans import Span
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.columns import column_of, mask_column, numbers_of

_TIME = BAR_SCHEMA.field("timestamp").type
WITHDRAWN_SCHEMA = pa.schema(
    [
        *BAR_SCHEMA,
        pa.field("found_at", _TIME, nullable=False),
        pa.field("came_at", _TIME, nullable=False),  # 1970 where that was not logged
        pa.field("has_left", pa.bool_(), nullable=False),  # the dataset
        pa.field("returned_at", _TIME),  # when it was served again
    ]
)
# Nearer than this share of a bar's width two bars overlap: days and months differ in length by less than the rest.
_OVERLAP = 0.9


def withdrawn_from(stored: Bars, served: Times, spans: tuple[Span, ...]) -> Bars:
    """The stored bars of the spans that an answer vouches for which are not among those served."""
    inside = np.zeros(len(stored), np.bool_)
    for start, end in spans:
        inside |= (stored.times >= start) & (stored.times < end)
    return stored.take(inside & ~np.isin(stored.times, served))


def overlapped(withdrawn: Bars, served: Times, width_s: int) -> Mask:
    """True for each withdrawn bar that a served one overlaps in time."""
    if not len(served):
        return np.zeros(len(withdrawn), np.bool_)
    place = np.searchsorted(served, withdrawn.times)
    before = withdrawn.times - served[np.maximum(place - 1, 0)]
    after = served[np.minimum(place, len(served) - 1)] - withdrawn.times
    nearest = np.minimum(np.abs(before), np.abs(after))
    return np.asarray(nearest < _OVERLAP * width_s)


def read_withdrawn(content: bytes | None, path: str) -> pa.Table:
    """Return the log, without rows where none was written. Raises DamagedFileError or NewerFormatError."""
    return read_log(content, path, WITHDRAWN_SCHEMA)


def logged(log: pa.Table, withdrawn: Bars, came_at: Times, has_left: Mask, served: Times, now_s: float) -> pa.Table:
    """The log after an answer: with what is withdrawn now, and what it brought back marked."""
    now = moments(1, now_s)[0]
    is_back = pc.and_(pc.is_in(log["timestamp"], column_of(served * 1_000_000, _TIME)), pc.is_null(log["returned_at"]))
    if pc.any(is_back).as_py():
        log = log.set_column(9, WITHDRAWN_SCHEMA.field(9), pc.if_else(is_back, now, log["returned_at"]))
    log = _leaving_now(log, withdrawn.times[has_left], now)
    known = numbers_of(log.filter(pc.is_null(log["returned_at"]))["timestamp"].cast(pa.int64())) // 1_000_000
    # One that stayed is withdrawn by every answer; it is told once.
    is_new = ~np.isin(withdrawn.times, known)
    fresh = withdrawn.take(is_new)
    if not len(fresh):
        return log
    columns = [
        *fresh.to_table().columns,
        moments(len(fresh), now_s),
        column_of(came_at[is_new], _TIME),
        mask_column(has_left[is_new]),
        pa.nulls(len(fresh), _TIME),
    ]
    return pa.concat_tables([log, pa.Table.from_arrays(columns, schema=WITHDRAWN_SCHEMA)])


def _leaving_now(log: pa.Table, leaving: Times, now: pa.Scalar) -> pa.Table:
    """Bars that stayed until now, although they were withdrawn before, are found again as what leaves."""
    stayed = pc.and_(pc.invert(log["has_left"]), pc.is_null(log["returned_at"]))
    is_leaving = pc.and_(stayed, pc.is_in(log["timestamp"], column_of(leaving * 1_000_000, _TIME)))
    if not pc.any(is_leaving).as_py():
        return log
    for name, value in (("found_at", now), ("has_left", pa.scalar(True))):
        place = WITHDRAWN_SCHEMA.get_field_index(name)
        log = log.set_column(place, WITHDRAWN_SCHEMA.field(place), pc.if_else(is_leaving, value, log[name]))
    return log


def counted(log: pa.Table) -> int:
    """How many bars are withdrawn and have not come back."""
    return int(log["returned_at"].null_count)
