"""Packets survive any cut; wrong framing is an error, never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.errors import FrameError
from tv_etl.tradingview.frames import MAX_MESSAGE_LENGTH, PacketDecoder, encode_packet, utf16_length

pytestmark = pytest.mark.pure

# Real text beside what breaks naive decoders: the delimiter itself, and characters that are two UTF-16 units.
fragments = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["~m~5~m~", "~h~1", "삼성전자", "😀"])
payloads = st.lists(st.lists(fragments, max_size=4).map("".join), max_size=6)


def test_length_counts_utf16_units() -> None:
    assert utf16_length("abc") == 3
    assert utf16_length("삼성") == 2
    assert utf16_length("😀") == 2
    assert encode_packet("😀") == "~m~2~m~😀"


@given(payloads, st.data())
def test_payloads_survive_any_cut(sent: list[str], data: st.DataObject) -> None:
    text = "".join(map(encode_packet, sent))
    decoder = PacketDecoder()
    received: list[str] = []
    while text:
        cut = data.draw(st.integers(1, len(text)))
        received += decoder.feed(text[:cut])
        text = text[cut:]
    assert received == sent
    assert not decoder.has_pending


def test_a_packet_that_waits_for_its_rest_is_kept() -> None:
    decoder = PacketDecoder()
    assert decoder.feed("~m~4~m~ab") == []
    assert decoder.has_pending
    assert decoder.feed("cd~m~1~m~e") == ["abcd", "e"]


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "~m~x~m~a",
        "~m~~m~a",
        "~m~1~x~a",
        "~m~-1~m~a",
        "~m~99999999999~m~a",
        f"~m~{MAX_MESSAGE_LENGTH + 1}~m~a",
        "~m~1~m~ab",
        "~m~1~m~😀",
    ],
)
def test_wrong_framing_raises(text: str) -> None:
    with pytest.raises(FrameError):
        PacketDecoder().feed(text)
