from pathlib import Path

import pytest

from tv_etl import bar_store, store_errors
from tv_etl.store_errors import BadBarsError, BarStoreError, SettingsError, StoreBusyError, StoreWriteError

ERRORS = [each for each in vars(store_errors).values() if isinstance(each, type) and issubclass(each, BarStoreError)]


def test_only_waiting_longer_can_help_by_itself() -> None:
    assert [each for each in ERRORS if each.retryable] == [StoreBusyError]


def test_every_error_can_be_caught_from_the_store() -> None:
    public = {each.__name__ for each in ERRORS if not each.__name__.startswith("_")}
    assert public <= set(bar_store.__all__)
    assert public <= set(vars(bar_store))


@pytest.mark.parametrize("error", ERRORS)
def test_the_tree_in_the_docstring_names_every_error(error: type) -> None:
    assert error.__name__.startswith("_") or error.__name__ in (store_errors.__doc__ or "")


def test_messages_say_where_and_what() -> None:
    assert str(BadBarsError("open", 3, "null")) == "column 'open', row 3: null"
    assert str(BadBarsError("open", None, "missing")) == "column 'open': missing"
    assert str(StoreWriteError(Path("lake/x"), "No space left on device")) == "lake/x: No space left on device"
    message = str(SettingsError("NASDAQ:AAPL 1m", "adjustment", "splits", "dividends"))
    assert "'splits'" in message and "'dividends'" in message and "NASDAQ:AAPL 1m" in message
