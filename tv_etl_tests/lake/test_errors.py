from pathlib import Path

import pytest

from tv_etl import lake
from tv_etl.lake import errors
from tv_etl.lake.errors import BadBarsError, BarStoreError, SettingsError, StoreBusyError, StoreWriteError

ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BarStoreError)]


def test_only_waiting_longer_can_help_by_itself() -> None:
    assert [each for each in ERRORS if each.retryable] == [StoreBusyError]


def test_every_error_is_in_the_face_of_the_lake() -> None:
    public = {each.__name__ for each in ERRORS if not each.__name__.startswith("_")}
    assert public <= set(lake.__all__)
    assert all(getattr(lake, name) for name in lake.__all__)


@pytest.mark.parametrize("error", ERRORS)
def test_the_tree_in_the_docstring_names_every_error(error: type) -> None:
    assert error.__name__.startswith("_") or error.__name__ in (errors.__doc__ or "")


def test_messages_say_where_and_what() -> None:
    assert str(BadBarsError("open", 3, "null")) == "column 'open', row 3: null"
    assert str(BadBarsError("open", None, "missing")) == "column 'open': missing"
    assert str(StoreWriteError(Path("lake/x"), "No space left on device")) == "lake/x: No space left on device"
    message = str(SettingsError("NASDAQ:AAPL 1m", "adjustment", "splits", "dividends"))
    assert "'splits'" in message and "'dividends'" in message and "NASDAQ:AAPL 1m" in message
