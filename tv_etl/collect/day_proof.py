"""Daily bars prove what a series' own could not: they reach further back, across a pause that its window did not span.

Days are built from the finer bars on either side of a seam, and compared with the daily bars of the symbol. Those of
the newer side must agree with them: only then are the daily bars of the present scale. Those of the older side then
tell its ratio.
"""

from typing import NamedTuple

from tv_etl.lake.bars import Bars
from tv_etl.lake.derived.daily import daily_bars
from tv_etl.lake.readjustment import Readjustment, Unproven, find_readjustment
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.seam import Seam
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.store import BarStore
from tv_etl.lake.update import SETTINGS
from tv_etl.tradingview.columns import numbers_of
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

DAY = Interval.parse("1d")

_PROOF = "proven by daily bars"


class _Sides(NamedTuple):
    """Days built on either side of a seam, and the highest price of the older one."""

    record: SeriesRecord
    older: Bars
    newer: Bars
    highest: float


def prove_by_days(store: BarStore, series: Series) -> SeriesRecord | None:
    """Resolve the newest open seam of a series by the daily bars of its symbol; None where they do not prove it.

    They cannot where the trading hours are not known or cannot be read: nothing tells which bars are of one day.
    Raises as `BarStore.read` and `resolve_seam` do.
    """
    sides = store.look(series, _sides)
    if sides is None:
        return None
    daily, days = store.look(Series(series.symbol, DAY), lambda stored: (stored.record(), stored.between(None, None)))
    resolution = _resolution(sides, daily, days)
    return None if resolution is None else store.resolve_seam(*series, resolution)


def _sides(stored: StoredSeries) -> _Sides | None:
    record = stored.record()
    seam, hours = record.open_seam, record.regular_hours
    if seam is None or hours is None or not stored.series.interval.is_intraday:
        return None
    # Beyond a still older seam nothing is known to be of the older side's scale.
    begins = max((each.at for each in record.seams if each.is_open and each.at < seam.at), default=None)
    older, newer = stored.between(begins, seam.at), stored.between(seam.at, None)
    if not len(older) or not len(newer):
        return None
    kept_out = numbers_of(stored.quarantine()["timestamp"].cast("int64")) // 1_000_000
    built = [daily_bars(side, stored.series.interval, hours, record.asked, kept_out).bars for side in (older, newer)]
    return _Sides(record, built[0], built[1], float(older.values[:4].max()))


def _resolution(sides: _Sides, daily: SeriesRecord, days: Bars) -> Resolution | None:
    if any(sides.record.facts.get(name) != daily.facts.get(name) for name in SETTINGS if name != "session"):
        return None
    seam: Seam | None = daily.open_seam
    days = days.between(None if seam is None else seam.at, None)
    if find_readjustment(sides.newer, days) is not None:
        return None
    found = find_readjustment(
        sides.older,
        days,
        highest_older=lambda: sides.highest,
        has_dividends=daily.facts.get("adjustment") == "dividends",
    )
    if isinstance(found, Unproven) or (found is not None and found.shift):
        return None
    if isinstance(found, Readjustment):
        # A split between two older days is beyond what one ratio tells.
        is_whole = found.until > int(sides.older.times[-1])
        return Resolution("scale", found.ratio, found.volume_ratio, _PROOF, found.decimals) if is_whole else None
    return Resolution("accept", proof=_PROOF)
