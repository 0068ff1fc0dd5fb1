"""What one snapshot of a lake holds of one series: its bars, its record and its logs."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa

from tv_etl.lake.arrivals import decode_arrivals
from tv_etl.lake.bar_file import Footer, read_bars, read_footer
from tv_etl.lake.bars import Bars, Times, joined
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.layout import is_period, no_periods, period_range, period_runs, periods_between
from tv_etl.lake.logs import QUARANTINE_SCHEMA, READJUSTED_SCHEMA, REVISION_SCHEMA, read_log
from tv_etl.lake.overlap import read_once
from tv_etl.lake.place import SUFFIX, UNSPECIFIED, SeriesPlace
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.sealed import TAIL_BYTES
from tv_etl.lake.spans import without
from tv_etl.lake.storage.files import Snapshot
from tv_etl.lake.withdrawn import read_withdrawn

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999


class StoredSeries:
    """A series in a snapshot; no file is read twice. All raise DamagedFileError, NewerFormatError or StoreReadError."""

    def __init__(self, place: SeriesPlace, snapshot: Snapshot) -> None:
        self.series = place.series
        self._place = place
        self._snapshot = snapshot
        self._read: dict[str, Bars] = {}
        self._arrivals: dict[str, bytes] = {}
        self._footers: dict[str, Footer] = {}

    @property
    def state(self) -> object:
        """What a commit may begin with that was prepared by what is seen here."""
        return self._snapshot.state

    @read_once
    def periods(self) -> list[str]:
        """The periods that have a file, oldest first."""
        prefix = len(self._place.data) + 1
        names = self._snapshot.data_names()
        periods = [name[prefix : -len(SUFFIX)] for name in names if name.endswith(SUFFIX)]
        for text in no_periods(periods, self.series.interval):
            reason = f"is not named as a period of {self._place.series}; nothing else belongs here"
            raise DamagedFileError(self._address(self._place.period_name(text)), reason)
        return periods

    def bars(self, period: str) -> Bars:
        """All bars of a period; none where it has no file."""
        if period not in self.periods:
            return Bars.none()
        if period not in self._read:
            self._read[period] = self._bars(period)
        return self._read[period]

    def came_at(self, period: str) -> Times:
        """When each bar of a period came (microseconds UTC); 0 before that was logged."""
        bars = self.bars(period)
        return decode_arrivals(
            self._arrivals.get(period, b""), len(bars), self._address(self._place.period_name(period))
        )

    def between(self, start_s: int | None, end_s: int | None) -> Bars:
        """The bars of a half-open range of UTC seconds, from as few files as hold them; None is unbounded."""
        inside = self.periods_between(start_s, end_s)
        return joined(*(self.bars(period).between(start_s, end_s) for period in inside))

    def periods_between(self, start_s: int | None, end_s: int | None) -> Sequence[str]:
        """The periods whose files may hold bars of the range, oldest first."""
        return periods_between(self.periods, start_s, end_s, self.series.interval)

    def newest(self, count: int) -> Bars:
        """So many bars, or all there are, from as few files as hold them."""
        parts: list[Bars] = []
        for period in reversed(self.periods):
            if count <= 0:
                break
            bars = self.bars(period)
            parts.insert(0, bars.take(slice(max(0, len(bars) - count), None)))
            count -= len(bars)
        return joined(*parts)

    def periods_of(self, bars: Bars) -> list[str]:
        """The periods that hold some bars, oldest first."""
        labels = {name for name, _, _ in period_runs(bars.times, self.series.interval)}
        return [period for period in self.periods if period in labels]

    def newest_before(self, moment_s: float) -> int | None:
        """The open of the newest bar before a moment, from as few files as tell it."""
        for period in reversed(self.periods):
            first_s, last_s = self.extent(period)
            if last_s < moment_s:
                return last_s
            if first_s < moment_s:
                times = self.bars(period).times
                return int(times[times < moment_s][-1])
        return None

    @property
    def first_s(self) -> int | None:
        """The open of the oldest bar."""
        return self.extent(self.periods[0])[0] if self.periods else None

    @property
    def last_s(self) -> int | None:
        """The open of the newest bar: the watermark."""
        return self.extent(self.periods[-1])[1] if self.periods else None

    def extent(self, period: str) -> tuple[int, int]:
        """The opens of the first and the last bar of a period that has a file.

        The record tells them of a file that is as long as the record has it, the file itself of any other.
        """
        read = self._read.get(period)
        if read is not None and len(read):
            return int(read.times[0]), int(read.times[-1])
        record = self.decoded_record()
        told = None if record is None else record.periods.get(period)
        if told is not None and self._snapshot.has_size(self._place.period_name(period), told.bytes):
            return told.first, told.last
        footer = self.footer(period)
        return footer.first_s, footer.last_s

    def footer(self, period: str) -> Footer:
        """What the footer of a period's file says."""
        if period not in self._footers:
            name = self._place.period_name(period)
            tail, size = self._snapshot.read_tail(name, TAIL_BYTES)
            self._footers[period] = read_footer(tail, size, self._address(name), self._place.series)
        return self._footers[period]

    def footers(self) -> Iterator[Footer]:
        """The footers of all files, oldest first."""
        return map(self.footer, self.periods)

    @property
    def has_record(self) -> bool:
        """True where the record was written."""
        return self._record_content is not None

    @read_once
    def _record_content(self) -> bytes | None:
        return self._snapshot.read(self._place.record_name)

    def record(self) -> SeriesRecord:
        """What is known of the stored bars; where the record was not copied along, what the newest file says."""
        return self._record

    @read_once
    def _record(self) -> SeriesRecord:
        if not self.periods:
            # A record without files is of files that somebody took away, or that have another name now.
            written = self.decoded_record()
            none = SeriesRecord(self._place.series, logged_from=math.inf if self.has_record else -math.inf)
            if written is None:
                return none
            # What was only ever refused is as if it was never stored.
            had_bars = bool(written.periods or written.renames or written.removals)
            logged_from = -math.inf if written.refusal is not None and not had_bars else none.logged_from
            none = replace(none, logged_from=logged_from, renames=written.renames, removals=written.removals)
            return replace(none, refusal=written.refusal)
        if self._record_content is None:
            in_file = self.footer(self.periods[-1]).facts
            facts = {key: value for key, value in in_file.items() if value != UNSPECIFIED}
            return SeriesRecord(self._place.series, facts, logged_from=math.inf)
        record = self._written
        present = set(self.periods)
        gone = [name for name in record.periods if name not in present]
        if not gone:
            return record
        # Files that somebody took away hold nothing that was asked for any more.
        spans = [period_range(name, self._place.interval) for name in gone]
        taken = [
            (_FIRST_SECOND if start is None else start, _LAST_SECOND if end is None else end) for start, end in spans
        ]
        left = {name: period for name, period in record.periods.items() if name in present}
        return replace(record, asked=tuple(without(record.asked, taken)), periods=left, logged_from=math.inf)

    def decoded_record(self) -> SeriesRecord | None:
        """The record as it was written, whatever became of the files; None where none can be read."""
        if self._record_content is None:
            return None
        try:
            return self._written
        except DamagedFileError:
            return None

    @read_once
    def _written(self) -> SeriesRecord:
        """The record as it was written; there must be one."""
        content, name = self._record_content, self._place.record_name
        return SeriesRecord.decode(content or b"", self._address(name), self._place.series)

    def damaged_names(self) -> list[str]:
        """Names of the files that cannot be read as this series', and of those in the data directory that are none."""
        damaged = []
        for name in self._snapshot.data_names():
            period = name.removeprefix(f"{self._place.data}/").removesuffix(SUFFIX)
            is_file = name.endswith(SUFFIX) and is_period(period, self._place.interval)
            if not is_file or _is_damaged(partial(self._bars, period)):
                damaged.append(name)
        if _is_damaged(self.revisions):
            damaged.append(self._place.revisions_name)
        record = self.decoded_record()
        for number, _ in enumerate(() if record is None else record.readjustments, start=1):
            if _is_damaged(partial(self.readjusted, number)):
                damaged.append(self._place.readjusted_name(number))
        for number, _ in enumerate(() if record is None else record.seams, start=1):
            if _is_damaged(partial(self.at_seam, number)):
                damaged.append(self._place.seam_name(number))
        if _is_damaged(self.quarantine):
            damaged.append(self._place.quarantine_name)
        if _is_damaged(self.withdrawn):
            damaged.append(self._place.withdrawn_name)
        if self.has_record and record is None:
            damaged.append(self._place.record_name)
        return damaged

    def revisions(self) -> pa.Table:
        """The log of revisions."""
        return self._log(self._place.revisions_name, REVISION_SCHEMA)

    def readjusted(self, number: int) -> pa.Table | None:
        """The bars as they were before a re-adjustment, the first of which is number 1; None if nobody kept them."""
        return self._kept(self._place.readjusted_name(number))

    def at_seam(self, number: int) -> pa.Table | None:
        """The bars that came with other values at a seam, the first of which is number 1; None if nobody kept them."""
        return self._kept(self._place.seam_name(number))

    def _kept(self, name: str) -> pa.Table | None:
        content = self._snapshot.read(name)
        return None if content is None else read_log(content, self._address(name), READJUSTED_SCHEMA)

    def withdrawn(self) -> pa.Table:
        """The log of bars that the server has no more."""
        name = self._place.withdrawn_name
        return read_withdrawn(self._snapshot.read(name), self._address(name))

    def quarantine(self) -> pa.Table:
        """The bars that are kept out."""
        return self._log(self._place.quarantine_name, QUARANTINE_SCHEMA)

    def _bars(self, period: str) -> Bars:
        content, path = self.content(period)
        bars, self._arrivals[period] = read_bars(content, path, self._place.series)
        if len(bars.between(*period_range(period, self._place.interval))) != len(bars):
            raise DamagedFileError(path, f"holds bars outside {period}")
        return bars

    def content(self, period: str) -> tuple[bytes, str]:
        """The file of a period, and its path for errors."""
        name = self._place.period_name(period)
        content, path = self._snapshot.read(name), self._address(name)
        if content is None:
            raise DamagedFileError(path, "vanished while it was read")
        return content, path

    def _log(self, name: str, schema: pa.Schema) -> pa.Table:
        return read_log(self._snapshot.read(name), self._address(name), schema)

    def _address(self, name: str) -> str:
        return self._place.storage.address(name)


def _is_damaged(read: Callable[[], object]) -> bool:
    try:
        read()
    except DamagedFileError:
        return True
    return False
