"""Errors name the file, the row and what would be right."""

from pathlib import Path

from tv_etl.imports.errors import FileImportError, FormError, HoursError, RowError
from tv_etl.tradingview.series import Series


def test_errors_say_where_and_what_would_be_right() -> None:
    series = Series.of("NASDAQ:AAPL", "1d")
    form, row = FormError(Path("a.csv"), "it is empty", series), RowError(Path("a.csv"), 1_234, "no bar")
    hours = HoursError("NASDAQ:AAPL", "not known")
    assert [str(each) for each in (form, row, hours)] == [
        "a.csv: it is empty",
        "a.csv, row 1,234: no bar",
        "NASDAQ:AAPL: not known",
    ]
    assert (form.series, row.row, hours.symbol) == (series, 1_234, "NASDAQ:AAPL")
    for each in (form, row, hours):
        assert isinstance(each, FileImportError) and isinstance(each, ValueError)
        assert not each.retryable
