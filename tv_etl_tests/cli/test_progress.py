"""The progress of a fetch on a terminal."""

from pathlib import Path

from tv_etl_tests.command import on_terminal


def test_the_bar_moves_and_a_summary_remains(market_url: str, tmp_path: Path) -> None:
    arguments = ["fetch", "NASDAQ:AAPL", "NASDAQ:NOPE", "FAULT:SLOW", "--bars", "7", "--out", f"{tmp_path}/bars.csv"]
    with on_terminal(arguments, url=market_url) as terminal:
        terminal.read_until(lambda: "2/3" in terminal.text and "1 failed" in terminal.text)
        assert terminal.wait() == 1
    lines = terminal.text.replace("\r", "").splitlines()
    assert "Error: NASDAQ:NOPE 1d: symbol 'NASDAQ:NOPE': invalid symbol" in lines[-2]
    assert lines[-1].startswith("2 of 3 series, 14 bars, ")


def test_bars_on_the_same_terminal_are_not_torn(market_url: str) -> None:
    with on_terminal(["fetch", "NASDAQ:AAPL", "--bars", "2"], url=market_url) as terminal:
        assert terminal.wait() == 0
    assert terminal.shown.count(b"\x1b") == 0
    assert len(terminal.text.splitlines()) == 3
