"""Symbols are taken from the command line, from files and from stdin, each once."""

import csv
import io
import os
import subprocess
from pathlib import Path

import click
import pytest

from tv_etl.cli.symbol_arguments import listed_symbols
from tv_etl.watchlist.symbol_file import SymbolFileError
from tv_etl_tests.command import TV_ETL, call
from tv_etl_tests.patience import HANG_S


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A watchlist, as TradingView exports it."""
    path = tmp_path / "mine.txt"
    path.write_text("###TECH,NASDAQ:AAPL,NASDAQ:MSFT,###CRYPTO,BINANCE:BTCUSDT", encoding="utf-8")
    return path


def test_all_that_is_given_is_put_together(export: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("Ticker;Exchange\nMSFT;NASDAQ\nJNJ;NYSE\n", encoding="utf-8")
    found = listed_symbols(["NYSE:V", "NASDAQ:MSFT"], [str(export), str(tmp_path / "more.csv")])
    assert found == ["NYSE:V", "NASDAQ:MSFT", "NASDAQ:AAPL", "BINANCE:BTCUSDT", "NYSE:JNJ"]


def test_none_at_all_and_lists_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"no symbol: write e\.g\. NASDAQ:AAPL, or name a file"):
        listed_symbols([], [])
    with pytest.raises(SymbolFileError, match=r"nowhere: No such file"):
        listed_symbols(["A:B"], [str(tmp_path / "nowhere")])


def test_a_fetch_takes_the_export_of_a_watchlist(export: Path, market_url: str) -> None:
    done = call("fetch", "--symbols", str(export), "--bars", "1", "--quiet", url=market_url)
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sorted(row["symbol"] for row in rows) == ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NASDAQ:MSFT"]


def test_a_watch_takes_what_another_program_writes(market_url: str) -> None:
    done = subprocess.run(
        [TV_ETL, "watch", "--once", "--json", "--symbols", "-"],
        input="NASDAQ:AAPL # mine\nNYSE:JNJ\n",
        env={**os.environ, "TV_ETL_WS_URL": market_url},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr


def test_nothing_is_fetched_of_a_list_that_is_partly_wrong(export: Path, market_url: str) -> None:
    export.write_text("NASDAQ:AAPL\nMSFT\n", encoding="utf-8")
    done = call("fetch", "--symbols", str(export), url=market_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Error: {export}:2:1: symbol 'MSFT': expected EXCHANGE:TICKER" in done.stderr
