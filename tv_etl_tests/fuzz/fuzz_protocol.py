"""Coverage-guided fuzzing of what the wire reaches: `make fuzz`, or with atheris installed

    python -m tv_etl_tests.fuzz.fuzz_protocol -max_total_time=60

Whatever text arrives, only FrameError and ProtocolError may leave the decoder, it means the same however it was cut,
the pager takes every event that comes out, and damage can be told. Not collected by pytest: atheris exists for Linux
and macOS only.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

with atheris.instrument_imports(include=["tv_etl.tradingview"]):
    from tv_etl.tradingview import frames, protocol
    from tv_etl.tradingview.damage import where
    from tv_etl.tradingview.errors import ProtocolError
    from tv_etl.tradingview.models import HistoryRequest
    from tv_etl.tradingview.paging import SeriesPager

from tv_etl_tests.recordings import exact_recordings

REQUEST = HistoryRequest("X:Y", "1m", bars_count=3)
NOW_S = 2e9  # after all recordings: a bar of the future would be left out
# Seeds beyond this only slow the search down.
MAX_SEED_LENGTH = 8_192
WORDS = ("~m~", "~h~", "~j~", "timescale_update", "series_completed", "data_completed", "bar_close_time", "1e+100")


def check_text(data: bytes) -> None:
    """One input: a byte that says how it is framed and cut, then the text."""
    how, text = data[0] if data else 0, data[1:].decode("utf-8", "replace")
    if how & 1:
        text = frames.encode_packet(text)
    assert decode(text, 1 + how // 2 % 8) == decode(text, 1)


def decode(text: str, pieces: int) -> list[protocol.Event] | None:
    """The events of a text that arrives in pieces, None if it is malformed."""
    client = protocol.ClientProtocol()
    events: list[protocol.Event] = []
    pager = SeriesPager(REQUEST, "", now_s=NOW_S)
    length = len(text) // pieces + 1
    for start in range(0, len(text), length):
        try:
            client.receive_text(text[start : start + length])
        except ProtocolError:
            return None
        events += client.events_received()
    for event in events:
        pager.session = event.session
        pager.receive(event)
        if isinstance(event, protocol.BarsReceived):
            where(event.damage)
        if pager.history is not None:
            pager.history.remarks()
        if pager.wants_session or pager.is_done:
            pager = SeriesPager(REQUEST, "", now_s=NOW_S)
    client.text_to_send()
    return events


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name, texts in exact_recordings().items():
            for number, text in enumerate(texts):
                if len(text) <= MAX_SEED_LENGTH:
                    Path(directory, f"{name}-{number}").write_bytes(b"\0" + text.encode())
        words = Path(directory, "words")
        words.write_text("".join(f'"{word}"\n' for word in WORDS), encoding="utf-8")
        corpus = Path(directory, "corpus")
        corpus.mkdir()
        for seed in Path(directory).glob("*-*"):
            seed.rename(corpus / seed.name)
        atheris.Setup([*sys.argv, str(corpus), f"-dict={words}"], check_text)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
