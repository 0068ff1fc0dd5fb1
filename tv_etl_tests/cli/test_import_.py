"""`tv-etl import`: its options."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tv_etl.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--symbol", "AAPL"], "expected EXCHANGE:TICKER"),
        (["--timezone", "Berlin"], "timezone 'Berlin' is not known: expected UTC or e.g. America/New_York"),
        (["--adjustment", "none"], "adjust them for splits first, and give splits"),
        (["--interval", "1x"], "expected e.g. 1m 5m"),
        (["--symbols", "none.txt"], "none.txt: No such file or directory"),
        (
            ["--symbols", "bars.csv", "--exchange", "NYSE"],
            "give an exchange for all names, or a list of symbols, not both",
        ),
        (["--hours", "nine to five"], "trading hours 'nine to five'"),
    ],
)
def test_wrong_options_are_told_before_a_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    file = tmp_path / "bars.csv"
    file.write_text("Symbol\nNASDAQ:AAPL\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["import", "bars.csv", *arguments])
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
