"""Errors as a command tells them."""

from tv_etl.cli.errors import printable_lines, shown


def test_an_error_is_no_command_to_a_terminal_and_keeps_its_lines() -> None:
    assert shown(ValueError("\x1b[31mred\nand more")) == "\ufffd[31mred\nand more"


def test_what_is_long_is_cut() -> None:
    lines = printable_lines("\n".join(["x" * 10_000] * 100)).split("\n")
    assert len(lines) == 50
    assert max(map(len, lines)) < 2_100
