"""Every reason why a file's bars are not imported, in one tree.

    FileImportError (ValueError)
    ├── FormError       the file is of no known form, or leaves open what has to be said; `series` if that is known
    ├── RowError        a row is no bar, or not in its place
    └── HoursError      only a symbol's trading hours tell when its days open, and nobody knows them

What a lake refuses is a `BarStoreError`. None is `retryable`: the same files fail again.
"""

from pathlib import Path

from tv_etl.tradingview.series import Series


class FileImportError(ValueError):
    """Bars of files that cannot be imported as they are."""

    retryable = False


class FormError(FileImportError):
    """The file at `path` cannot be read as bars; `reason` says why, and what would be right."""

    def __init__(self, path: Path, reason: str, series: Series | None = None) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.series = series


class RowError(FileImportError):
    """A row of the file at `path`: of a text file the line `row`, from 1, else the row, from 1; `reason` as above."""

    def __init__(self, path: Path, row: int, reason: str) -> None:
        super().__init__(f"{path}, row {row:,}: {reason}")
        self.path = path
        self.row = row
        self.reason = reason


class HoursError(FileImportError):
    """The trading hours of `symbol` are not known; `reason` says what was tried, and what would be right."""

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: {reason}")
        self.symbol = symbol
        self.reason = reason
