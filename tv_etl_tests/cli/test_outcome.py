"""Why a series failed, in a line."""

from tv_etl.cli.outcome import reason_of
from tv_etl.lake.errors import NoSeriesError
from tv_etl.tradingview.errors import ConnectionFailedError


def test_an_error_that_is_expected_speaks_for_itself() -> None:
    for error in (ConnectionFailedError("nobody answers"), NoSeriesError("X:Y 1d", "lake")):
        assert reason_of(error) == str(error)


def test_one_that_nobody_expected_has_its_type() -> None:
    assert reason_of(KeyError("\x1b[31mprice")) == "unexpected KeyError: '\\x1b[31mprice'"
