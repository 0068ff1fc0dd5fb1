"""The progress of a fetch on a terminal."""

from pathlib import Path

import pytest

from tv_etl.cli.outcome import Outcome
from tv_etl.cli.progress import show_progress
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series
from tv_etl_tests.command import on_terminal


def test_the_bar_moves_and_a_summary_remains(market_url: str, tmp_path: Path) -> None:
    arguments = ["fetch", "NASDAQ:AAPL", "NASDAQ:NOPE", "FAULT:SLOW", "--bars", "7", "--out", f"{tmp_path}/bars.csv"]
    with on_terminal(arguments, url=market_url) as terminal:
        terminal.read_until(lambda: "2/3" in terminal.text and "1 failed" in terminal.text)
        assert terminal.wait() == 1
    lines = terminal.text.replace("\r", "").splitlines()
    assert "Error: NASDAQ:NOPE 1d: symbol 'NASDAQ:NOPE': invalid symbol" in lines[-2]
    assert lines[-1].startswith("wrote 14 bars of 2 of 3 series in ")


def test_bars_on_the_same_terminal_are_not_torn(market_url: str) -> None:
    with on_terminal(["fetch", "NASDAQ:AAPL", "--bars", "2"], url=market_url) as terminal:
        assert terminal.wait() == 0
    assert terminal.shown.count(b"\x1b") == 0
    assert len(terminal.text.splitlines()) == 3


def test_a_reason_is_one_bounded_line_and_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    day = Interval.parse("1d")
    outcomes = [
        Outcome(Series("X:[red]A[/red]", day), error="\x1b]0;owned\x07[bold]no[/bold] " + "very " * 100_000),
        Outcome(Series("X:B", day), note="\x1b[31m:smile:"),
        *(Outcome(Series(f"X:S{number}", day), error="the same") for number in range(150)),
    ]
    assert show_progress(outcomes, len(outcomes)) == 151
    note, first, second, summary = capfd.readouterr().err.splitlines()
    assert note == "X:B 1d: \ufffd[31m:smile:"
    assert (
        first.startswith("Error: X:[red]A[/red] 1d: \ufffd]0;owned\ufffd[bold]no[/bold] very ") and len(first) < 1_200
    )
    assert "X:S99 1d and 50 more: the same" in second
    assert summary.startswith("wrote 0 bars of 1 of 152 series in ")
