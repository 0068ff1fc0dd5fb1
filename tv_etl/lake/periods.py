"""What the record of a series says of each of its files after a commit, without reading those that stay as they are."""

from collections.abc import Collection, Mapping

from tv_etl.lake.bars import Bars
from tv_etl.lake.layout import period_range
from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.record import Period, SeriesRecord
from tv_etl.lake.snapshot import StoredSeries


def described_periods(
    place: SeriesPlace,
    stored: StoredSeries,
    known: SeriesRecord,
    record: SeriesRecord,
    read: Mapping[str, Bars],
    sizes: Mapping[str, int],
    gone: Collection[str] = (),
) -> dict[str, Period]:
    """What the record says of each period file after the commit; `read` holds the bars that are in memory already.

    `gone` are the periods whose files the commit takes away.
    """
    names = sorted({*stored.periods, *read}.difference(gone))
    if not names:
        return {}
    hours = record.hours
    has_new_hours = hours != known.hours or record.counted_from != known.counted_from
    # Hours that could not be read when a file was judged may be read by now.
    has_new_hours |= Period.can_be_judged(place.interval, hours) and any(
        each.expected is None for each in known.periods.values()
    )
    first, _ = _extent(names[0], stored, known, read)
    first = first if record.counted_from is None else record.counted_from
    _, last = _extent(names[-1], stored, known, read)
    # What is expected of a file ends with the series, so that only the ends can be concerned beside what was written.
    ends = {names[0], names[-1], min(known.periods, default=""), max(known.periods, default="")}
    described = dict[str, Period]()
    for name in names:
        if name in known.periods and name not in ends and name not in sizes and not has_new_hours:
            described[name] = known.periods[name]
            continue
        period_start, period_end = period_range(name, place.interval)
        span = (max(first, period_start or first), min(last + 1, period_end or last + 1))
        before = known.periods.get(name)
        is_same = before is not None and (before.start, before.end) == span and not has_new_hours
        if is_same and before is not None and name not in sizes:
            described[name] = before
            continue
        bars = read[name] if name in read else stored.bars(name)
        size = sizes[name] if name in sizes else stored.footer(name).bytes
        described[name] = Period.of(bars, size, place.interval, hours, span, (period_start, period_end))
    return described


def _extent(name: str, stored: StoredSeries, known: SeriesRecord, read: Mapping[str, Bars]) -> tuple[int, int]:
    """The first and the last time in a period file."""
    if name in read:
        return int(read[name].times[0]), int(read[name].times[-1])
    if name in known.periods:
        return known.periods[name].first, known.periods[name].last
    return stored.extent(name)
