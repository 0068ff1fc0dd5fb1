"""`tv-etl check` names every mistake as compilers do, or says what a watchlist holds."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tv_etl.cli.main import main


def check(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> Result:
    monkeypatch.chdir(directory)
    if text is not None:
        Path("my.yaml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(main, ["check", "my.yaml"])


def test_every_mistake_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "groups:\n- symbols: [aapl, {file: no.txt}]\n  intervals: [1d]\n- symbols: {file: no.txt}\n  interval: [1d]\n"
    )
    result = check(tmp_path, monkeypatch, text)
    assert result.exit_code == 1
    assert [line.split(": ")[:2] for line in result.output.splitlines()] == [
        ["my.yaml:2:13", "groups.0.symbols.0"],
        ["my.yaml:2:19", "groups.0.symbols.1"],
        ["my.yaml:4:3", "groups.1.intervals"],
        ["my.yaml:4:19", "groups.1.symbols.file"],
        ["my.yaml:5:3", "groups.1.interval"],
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [(None, "my.yaml: No such file or directory\n"), ("a: [", "my.yaml:1:5: not YAML: while parsing a flow node that")],
)
def test_what_cannot_be_read_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: str) -> None:
    result = check(tmp_path, monkeypatch, text)
    assert result.exit_code == 1 and result.output.startswith(line)


def test_a_right_one_says_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """\
groups:
- {name: us, symbols: [NASDAQ:AAPL, NYSE:JNJ], intervals: [1d, 1m, 1h], schedules: {1h: null}}
- {name: found, symbols: {scanner: {market: crypto, limit: null}}, intervals: [4h], check_schedule: null}
- {name: quick, symbols: [BINANCE:BTCUSDT], intervals: [10s], check_schedule: null}
alerts:
  rules: [{name: a, symbol: A:B, kind: above, level: 1}]
  targets: [{type: slack, url_env: HOOK}]
"""
    result = check(tmp_path, monkeypatch, text)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:9] == [
        "us: 2 symbols at 1d, 1m, 1h: 6 series",
        "  1d      20,50 * * * *    at most 2 requests a day",
        "  1m      1-59/5 * * * *   at most 576 requests a day",
        "  1h      no schedule: nothing fetches it but people",
        "  checks  40 5 * * *       no requests: what is stored is judged",
        "found: all symbols found at 4h: a series for each at each",
        "  4h      3-59/15 * * * *  at most 6 requests a day of each",
        "quick: 1 symbol at 10s: 1 series",
        "  10s     * * * * *        at most 1,440 requests a day",
    ]
    assert lines[9] == "alerts: 1 rule, judged every 30 s, told to HOOK"
    assert (
        lines[10].startswith("note: quick: at 10s the server has 5,000 bars, so a pause of more than")
        and not lines[11:]
    )
