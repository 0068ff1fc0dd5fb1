"""How a series is removed: with all that is known of it but its names, and that it was removed."""

from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.record import Removal, SeriesRecord
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.storage.files import Transaction
from tv_etl.lake.written import Written


def is_left(place: SeriesPlace, stored: StoredSeries) -> bool:
    """True for a series that is stored, or whose removal was killed before its end. Raises as reading it does."""
    known = stored.decoded_record()
    return place.files.is_stored or (known is not None and bool(known.periods)) or place.files.is_half_removed


def remove_series(
    place: SeriesPlace, stored: StoredSeries, transaction: Transaction, written: Written
) -> Removal | None:
    """Take all of a series away and put that on record, or finish that; None where nothing is left.

    Raises StoreReadError or StoreWriteError.
    """
    if not is_left(place, stored):
        return None
    known = stored.decoded_record()
    removals = () if known is None else known.removals
    is_on_record = bool(removals) and known is not None and not known.periods and place.files.is_half_removed
    if not is_on_record:
        removals += (Removal(written.at, None if known is None else known.rows, str(written.by)),)
    left = SeriesRecord(place.series, renames=() if known is None else known.renames, removals=removals)
    transaction.take_out()
    transaction.stage(place.record_name, left.encode())
    transaction.publish()
    return removals[-1]
