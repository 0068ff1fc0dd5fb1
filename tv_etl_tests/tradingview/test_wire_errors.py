"""The errors that are websockets' as well are those of the tree, under its names."""

import pickle

import pytest

from tv_etl.tradingview import errors, wire_errors
from tv_etl_tests.test_structure import loaded_by

pytestmark = pytest.mark.pure
NAMES = ("ConnectionFailedError", "FrameError", "ProtocolError")


@pytest.mark.parametrize("name", NAMES)
def test_each_is_found_where_the_tree_is(name: str) -> None:
    assert getattr(errors, name) is getattr(wire_errors, name)


def test_a_failed_connection_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(errors.ConnectionFailedError("gone")))
    assert (type(error), str(error)) == (errors.ConnectionFailedError, "gone")


def test_the_tree_without_them_needs_no_websockets() -> None:
    assert loaded_by("from tv_etl.tradingview.errors import SymbolError", "websockets") == []
    assert loaded_by("from tv_etl.tradingview.errors import FrameError", "websockets") == ["websockets"]


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchError'"):
        _ = errors.NoSuchError
