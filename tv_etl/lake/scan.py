"""The bars of many series one after the other, labelled and dated, with the next ones read meanwhile.

A series' files are read under its lock, as one commit left them, and decoded afterwards: system calls and decoding
that take turns make each other slow (of a small file more than half of what it costs), and while one thread decodes,
others can wait for a disk or a bucket. What a large series takes is read when its turn comes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from tv_etl.lake.bar_file import read_bar_table
from tv_etl.lake.bars import Times
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.layout import period_range
from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.tradingview.bar_schema import BAR_SCHEMA, LABELLED_SCHEMA, TRADING_DAY
from tv_etl.tradingview.columns import column_of, no_rows
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import TradingHours

SCAN_SCHEMA = LABELLED_SCHEMA.append(TRADING_DAY)

_SCAN_ROWS = 65_536  # in a batch, at most
_SMALL_BYTES = 2 * 1024 * 1024  # as files; so much of each series that is read ahead
_FILES_AT_ONCE = 8  # of a large one

Result = TypeVar("Result")
Look = Callable[[Series, Callable[[StoredSeries], Result]], Result]


def scanned(
    look: "Look[ReadFiles | None]", series: Sequence[Series], start_s: int | None, end_s: int | None
) -> Iterator[pa.RecordBatch]:
    """The bars of a half-open range (UTC seconds), series by series; `look` is the store's. Raises as it does."""
    read_small = partial(ReadFiles.of_small, start_s=start_s, end_s=end_s)
    for each, found in zip(
        series, overlapped(lambda each: look(each, read_small), series, at_once=LOOKS_AT_ONCE), strict=True
    ):
        files = found if found is not None else look(each, partial(ReadFiles.of, start_s=start_s, end_s=end_s))
        assert files is not None
        yield from _labelled(files.dated(), each)


class ReadFiles(NamedTuple):
    """The files of a series that hold the bars of a range, read and not decoded: period, content and path of each."""

    series: Series
    hours: TradingHours | None
    files: Sequence[tuple[str, bytes, str]]
    start_s: int | None
    end_s: int | None

    @classmethod
    def of(cls, stored: StoredSeries, *, start_s: int | None, end_s: int | None) -> "ReadFiles":
        """Those of one snapshot. Raises as `BarStore.read` does."""
        periods = stored.periods_between(start_s, end_s)
        contents = overlapped(stored.content, periods, at_once=_FILES_AT_ONCE)
        return cls._of(stored, zip(periods, contents, strict=True), start_s, end_s)

    @classmethod
    def of_small(cls, stored: StoredSeries, *, start_s: int | None, end_s: int | None) -> "ReadFiles | None":
        """The same; None where the record tells of more bytes than many series may have in memory, or of none."""
        told, periods = stored.record().periods, stored.periods_between(start_s, end_s)
        if any(period not in told for period in periods):
            return None
        if sum(told[period].bytes for period in periods) > _SMALL_BYTES:
            return None
        return cls._of(stored, ((period, stored.content(period)) for period in periods), start_s, end_s)

    @classmethod
    def _of(
        cls,
        stored: StoredSeries,
        contents: Iterable[tuple[str, tuple[bytes, str]]],
        start_s: int | None,
        end_s: int | None,
    ) -> "ReadFiles":
        files = [(period, *content) for period, content in contents]
        return cls(stored.series, stored.record().dating_hours, files, start_s, end_s)

    def dated(self) -> pa.Table:
        """The bars with their trading days, which are null where the hours are not known. Raises DamagedFileError."""
        parts = [self._decoded(*file) for file in self.files] or [(no_rows(BAR_SCHEMA), np.empty(0, np.int64))]
        table = pa.concat_tables([part[0] for part in parts]) if len(parts) > 1 else parts[0][0]
        if self.hours is None:
            days = pa.nulls(len(table), TRADING_DAY.type)
        else:
            # Computed, not stored: hours are corrected after the fact, and are read better by a later version.
            times = np.concatenate([part[1] for part in parts])
            days = column_of(self.hours.trading_days(self.series.interval, times).astype(np.int32), pa.int32())
        return table.append_column(TRADING_DAY, days.view(TRADING_DAY.type))

    def _decoded(self, period: str, content: bytes, path: str) -> tuple[pa.Table, Times]:
        """The bars of a file that lie in the range, and their opens."""
        table, times = read_bar_table(content, path, self.series)
        start, end = period_range(period, self.series.interval)
        if len(times) and ((start is not None and times[0] < start) or (end is not None and times[-1] >= end)):
            raise DamagedFileError(path, f"holds bars outside {period}")
        first = 0 if self.start_s is None else int(np.searchsorted(times, self.start_s))
        last = len(times) if self.end_s is None else int(np.searchsorted(times, self.end_s))
        return table.slice(first, max(0, last - first)), times[first:last]


def _labelled(bars: pa.Table, series: Series) -> Iterator[pa.RecordBatch]:
    """The bars with the columns of SCAN_SCHEMA."""
    for batch in bars.to_batches(max_chunksize=_SCAN_ROWS):
        labels = [pa.repeat(pa.scalar(text), len(batch)) for text in (series.symbol, series.interval.token)]
        yield pa.RecordBatch.from_arrays([*labels, *batch.columns], schema=SCAN_SCHEMA)
