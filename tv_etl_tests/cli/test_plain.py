"""What a terminal gets to see of names and reasons."""

import json

import pytest

from tv_etl.cli.plain import json_text


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x9b31m", "a\u202eb", "\u2028", "\x7f", "\U000e0001", "\ud800"])
def test_json_escapes_what_does_not_show_as_itself(text: str) -> None:
    line = json_text({"symbol": text})
    assert line.isascii() and line.isprintable()
    assert json.loads(line) == {"symbol": text}


def test_json_keeps_what_people_read() -> None:
    assert json_text({"symbol": "KRX:삼성전자 😀"}) == '{"symbol": "KRX:삼성전자 😀"}'
    assert json_text([1], indent=1) == "[\n 1\n]"
