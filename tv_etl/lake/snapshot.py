"""What one snapshot of a lake holds of one series: its bars by period, its record and its logs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial

import pyarrow as pa

from tv_etl.lake.bar_file import Footer, read_bars, read_footer
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.layout import is_period, period_range
from tv_etl.lake.logs import QUARANTINE_SCHEMA, REVISION_SCHEMA, read_log
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.sealed import TAIL_BYTES
from tv_etl.lake.series import SUFFIX, UNSPECIFIED, SeriesPlace
from tv_etl.lake.spans import without
from tv_etl.lake.storage.files import Snapshot

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999


class StoredSeries:
    """A series in a snapshot. All raise DamagedFileError, NewerFormatError or StoreReadError."""

    def __init__(self, series: SeriesPlace, snapshot: Snapshot) -> None:
        self._series = series
        self._snapshot = snapshot

    @cached_property
    def periods(self) -> list[str]:
        """The periods that have a file, oldest first."""
        names = [name for name in self._snapshot.data_names() if name.endswith(SUFFIX)]
        prefix = f"{self._series.data}/"
        periods = [name.removeprefix(prefix).removesuffix(SUFFIX) for name in names]
        for name, period in zip(names, periods, strict=True):
            if not is_period(period, self._series.interval):
                reason = f"is not named as a period of {self._series}; nothing else belongs here"
                raise DamagedFileError(self._address(name), reason)
        return periods

    def bars(self, period: str) -> Bars:
        """All bars of a period; none where it has no file."""
        return self._bars(period) if period in self.periods else Bars.none()

    def footer(self, period: str) -> Footer:
        """What the footer of a period's file says."""
        name = self._series.period_name(period)
        return read_footer(*self._snapshot.read_tail(name, TAIL_BYTES), self._address(name), self._series.owner)

    def footers(self) -> Iterator[Footer]:
        """The footers of all files, oldest first."""
        return map(self.footer, self.periods)

    @property
    def has_record(self) -> bool:
        """True where the record was written."""
        return self._record_content is not None

    @cached_property
    def _record_content(self) -> bytes | None:
        return self._snapshot.read(self._series.record_name)

    def record(self) -> SeriesRecord:
        """What is known of the stored bars; where the record was not copied along, what the newest file says."""
        if not self.periods:
            return SeriesRecord()
        name = self._series.record_name
        content = self._record_content
        if content is None:
            in_file = self.footer(self.periods[-1]).facts
            return SeriesRecord({key: value for key, value in in_file.items() if value != UNSPECIFIED})
        record = SeriesRecord.decode(content, self._address(name), self._series.owner)
        present = set(self.periods)
        gone = [name for name in record.periods if name not in present]
        if not gone:
            return record
        # Files that somebody took away hold nothing that was asked for any more.
        spans = [period_range(name, self._series.interval) for name in gone]
        taken = [
            (_FIRST_SECOND if start is None else start, _LAST_SECOND if end is None else end) for start, end in spans
        ]
        left = {name: period for name, period in record.periods.items() if name in present}
        return replace(record, asked=tuple(without(record.asked, taken)), periods=left)

    def damaged_names(self) -> list[str]:
        """Names of the files that cannot be read as this series', and of those in the data directory that are none."""
        damaged = []
        for name in self._snapshot.data_names():
            period = name.removeprefix(f"{self._series.data}/").removesuffix(SUFFIX)
            is_file = name.endswith(SUFFIX) and is_period(period, self._series.interval)
            if not is_file or _is_damaged(partial(self._bars, period)):
                damaged.append(name)
        if _is_damaged(self.revisions):
            damaged.append(self._series.revisions_name)
        if _is_damaged(self.quarantine):
            damaged.append(self._series.quarantine_name)
        content = self._record_content
        if content is not None and _is_damaged(lambda: SeriesRecord.decode(content, "", self._series.owner)):
            damaged.append(self._series.record_name)
        return damaged

    def revisions(self) -> pa.Table:
        """The log of revisions."""
        return self._log(self._series.revisions_name, REVISION_SCHEMA)

    def quarantine(self) -> pa.Table:
        """The bars that are kept out."""
        return self._log(self._series.quarantine_name, QUARANTINE_SCHEMA)

    def _bars(self, period: str) -> Bars:
        name = self._series.period_name(period)
        content = self._snapshot.read(name)
        if content is None:
            raise DamagedFileError(self._address(name), "vanished while it was read")
        bars = read_bars(content, self._address(name), self._series.owner)
        if len(bars.between(*period_range(period, self._series.interval))) != len(bars):
            raise DamagedFileError(self._address(name), f"holds bars outside {period}")
        return bars

    def _log(self, name: str, schema: pa.Schema) -> pa.Table:
        return read_log(self._snapshot.read(name), self._address(name), schema)

    def _address(self, name: str) -> str:
        return self._series.storage.address(name)


def _is_damaged(read: Callable[[], object]) -> bool:
    try:
        read()
    except DamagedFileError:
        return True
    return False
