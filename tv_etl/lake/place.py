"""Where the files of a series are, and what they are called."""

from dataclasses import dataclass
from functools import cached_property

from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.storage.files import RECORD, SeriesFiles, Storage, data_directory, own_directory
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

UNSPECIFIED = "unspecified"  # a fact of the series that nobody told
SUFFIX = ".parquet"


@dataclass(frozen=True)
class SeriesPlace:
    """A series, and where its files are in a lake."""

    series: Series
    segment: str
    storage: Storage

    @property
    def interval(self) -> Interval:
        return self.series.interval

    @cached_property
    def files(self) -> SeriesFiles:
        """Its files, stored or not."""
        return self.storage.files(self.interval.token, self.segment)

    @property
    def data(self) -> str:
        """Name of the directory of its data files."""
        return data_directory(self.interval.token, self.segment)

    @property
    def record_name(self) -> str:
        """Name of what is known beside the bars."""
        return self._own(RECORD)

    @property
    def revisions_name(self) -> str:
        """Name of the log of bars that came again with other values."""
        return self._own("revisions.parquet")

    @property
    def quarantine_name(self) -> str:
        """Name of the log of bars that are kept out of the dataset."""
        return self._own("quarantine.parquet")

    def readjusted_name(self, number: int) -> str:
        """Name of the log of the bars as they were before a re-adjustment; the first has the number 1."""
        return self._own(f"readjusted-{number}.parquet")

    def seam_name(self, number: int) -> str:
        """Name of the log of bars that came with other values at a seam, the first of which is number 1."""
        return self._own(f"seam-{number}.parquet")

    def cut_name(self, number: int) -> str:
        """Name of the log of bars that were cut off at a seam, the first of which is number 1."""
        return self._own(f"cut-{number}.parquet")

    @property
    def withdrawn_name(self) -> str:
        """Name of the log of bars that the server has no more."""
        return self._own("withdrawn.parquet")

    def period_name(self, period: str) -> str:
        """Name of the data file of a period."""
        return f"{self.data}/{period}{SUFFIX}"

    def log_names(self, record: SeriesRecord) -> list[str]:
        """Names of all logs that there may be beside a record."""
        return [
            *(self.revisions_name, self.quarantine_name, self.withdrawn_name),
            *(self.readjusted_name(number) for number in range(1, len(record.readjustments) + 1)),
            *(name(number) for number in range(1, len(record.seams) + 1) for name in (self.seam_name, self.cut_name)),
        ]

    def _own(self, name: str) -> str:
        return f"{own_directory(self.interval.token, self.segment)}/{name}"
