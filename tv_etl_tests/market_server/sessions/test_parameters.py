import json

import pytest

from tv_etl.market_server.sessions.parameters import check_parameters, critical_error
from tv_etl.market_server.sessions.ranges import InvalidParameters


def handler(name: str, count: int, *more: str) -> None:
    """What a session has for a command."""


@pytest.mark.parametrize("params", [["a", 1], ["a", "anything but text is the handler's to check"], ["a", 1, "b", "c"]])
def test_what_a_handler_can_take_passes(params: list[object]) -> None:
    check_parameters(handler, params)


@pytest.mark.parametrize("params", [[], ["a"], [1, 1], ["a", 1, 2], ["a", 1, "b", None]])
def test_what_it_cannot_take_is_invalid(params: list[object]) -> None:
    with pytest.raises(InvalidParameters):
        check_parameters(handler, params)


def test_a_critical_error_shows_text_unquoted_and_null_as_nothing() -> None:
    text = critical_error("cs_1", "invalid parameters", "create_series", ["sds_1", 5, None, ["a", 1], ""])
    assert json.loads(text.split("~m~", 2)[2]) == {
        "m": "critical_error",
        "p": ["cs_1", "invalid parameters", 'method: create_series. args: "[sds_1, 5, , [a, 1], ]"'],
    }
