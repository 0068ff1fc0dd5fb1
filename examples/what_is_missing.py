"""What a lake holds and lacks, series by series: run year_into_lake.py first."""

from datetime import datetime, timezone

from tv_etl.lake import BarStore
from tv_etl.lake.chronicle import chronicle
from tv_etl.lake.status import lake_status

store, now = BarStore("lake"), datetime.now(timezone.utc)
for status in lake_status(store, now):
    record = status.record
    complete = "unknown" if record.ratio is None else f"{record.ratio:.2%}"
    print(f"{status.series}: {record.rows} bars, {record.first} to {record.last}, complete: {complete}")
    for entry in chronicle(store, status.series, now).entries:  # gaps, what nobody asked for, revisions, splits, ...
        print(f"  {entry.start:%Y-%m-%d %H:%M} to {entry.end:%Y-%m-%d %H:%M} {entry.kind} {entry.text}".rstrip())
