import pytest

from tv_etl.tradingview.printable import MAX_LENGTH, is_printable, printable

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("text", ["invalid symbol", "Größe € 東証 R&D", "a\N{NO-BREAK SPACE}b", ""])
def test_what_can_be_shown_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text and is_printable(text)


@pytest.mark.parametrize(
    "bad", ["\x1b", "\x00", "\n", "\r", "\x7f", "\x9b", "\u202e", "\u200b", "\ufeff", "\u2028", "\ud800", "\ue000"]
)
def test_what_moves_hides_or_breaks_text_is_replaced(bad: str) -> None:
    assert printable(f"a{bad}b") == "a\ufffdb" and not is_printable(f"a{bad}b")


def test_a_long_text_is_cut_and_its_length_told() -> None:
    assert printable("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert printable("x" * 500_000) == "x" * MAX_LENGTH + "… (500,000 characters)"
