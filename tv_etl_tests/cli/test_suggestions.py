"""Whoever writes a symbol wrong is told what it may be, soon, and from no server that was not named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tv_etl.cli import suggestions
from tv_etl.cli.main import main
from tv_etl.cli.suggestions import completed, suggest
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.symbol_search import search_symbols
from tv_etl.tradingview.symbols import check_symbol
from tv_etl.watchlist.model import WatchlistError, load_watchlist
from tv_etl_tests import own_clock
from tv_etl_tests.patience import HANG_S


@pytest.fixture(scope="module")
def shared_url() -> Iterator[str]:
    with serve_in_thread(Market(7)) as server:
        own_clock.run(search_symbols("AAPL", base_url=server.http_url))  # the first search makes its index
        yield server.http_url


@pytest.fixture
def search_url(monkeypatch: pytest.MonkeyPatch, shared_url: str) -> str:
    monkeypatch.setenv("TV_ETL_SEARCH_URL", shared_url)
    # However slow the machine is.
    monkeypatch.setattr(suggestions, "SEARCH_S", HANG_S)
    return shared_url


def told(symbol: str) -> str:
    with pytest.raises(SymbolError) as caught:
        check_symbol(symbol)
    return str(caught.value)


def suggested(message: str) -> str:
    return completed(message)


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        ("AAPL", "NASDAQ:AAPL (Apple Inc., stock)"),
        ("nasdaq:aapl", "NASDAQ:AAPL (Apple Inc., stock)"),
        ("apple", "NASDAQ:AAPL (Apple Inc., stock)"),
        ("BTC-USD", "BITSTAMP:BTCUSD (Bitcoin / U.S. dollar, spot), COINBASE:BTCUSD (Bitcoin / U.S. Dollar, spot)"),
        ("EURUSD=X", "FX:EURUSD (Euro / U.S. Dollar, forex), FOREX:EURUSD (Euro / U.S. Dollar, forex), "
                     "FX_IDC:EURUSD (Euro / U.S. Dollar, forex)"),
        ("^GSPC", "SP:SPX (S&P 500, index)"),
        ("ES=F", "CME_MINI:ES1! (S&P 500 E-mini Futures, futures)"),
        ("BRK-B", "NYSE:BRK.B (Berkshire Hathaway Inc. New, stock)"),
        ("VOD.L", "LSE:VOD (Vodafone Group Public Limited Company, stock)"),
    ],
)  # fmt: skip
def test_a_wrong_spelling_gets_what_it_may_mean(search_url: str, symbol: str, meant: str) -> None:
    assert suggested(told(symbol)) == f"symbol {symbol!r}: expected EXCHANGE:TICKER; did you mean {meant}?"


def test_each_symbol_of_a_message_gets_its_own(search_url: str) -> None:
    message = f"a.txt:1:1: {told('AAPL')}\na.txt:2:1: {told('no such thing')}\na.txt:3:1: {told('tsla')}"
    first, second, third = suggested(message).split("\n")
    assert first == "a.txt:1:1: symbol 'AAPL': expected EXCHANGE:TICKER; did you mean NASDAQ:AAPL (Apple Inc., stock)?"
    assert second == f"a.txt:2:1: {told('no such thing')}"
    assert third.endswith("did you mean NASDAQ:TSLA (Tesla, Inc., stock)?")


def test_a_search_that_is_slow_broken_or_absent_leaves_a_message_as_it_is(
    search_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = told("fault:bad_json")
    assert suggested(message) == message
    slow = told("fault:slow")
    assert suggest(["fault:slow"], limit_s=0.1).completed(slow) == slow
    for address in ("http://127.0.0.1:1", "no address"):
        monkeypatch.setenv("TV_ETL_SEARCH_URL", address)
        assert suggested(told("AAPL")) == told("AAPL")


def test_whoever_named_a_server_of_bars_has_nothing_asked_of_tradingview(
    search_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TV_ETL_SEARCH_URL")
    # Whatever would be asked would be asked of this, and found.
    monkeypatch.setattr("tv_etl.tradingview.symbol_search.SymbolSearch._default_url", search_url)
    assert "did you mean" in suggested(told("AAPL"))
    assert completed(told("AAPL"), ws_url="ws://127.0.0.1:1") == told("AAPL")
    monkeypatch.setenv("TV_ETL_WS_URL", "ws://127.0.0.1:1")
    assert suggested(told("AAPL")) == told("AAPL")


def test_looking_a_name_up_holds_nobody_up() -> None:
    code = """
import socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(3_600)
from tv_etl.cli.suggestions import suggest
print(suggest(["AAPL"], limit_s=0.2).completed("done"))
"""
    environment = {**os.environ, "TV_ETL_SEARCH_URL": "http://nowhere.invalid", "TV_ETL_WS_URL": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert (done.stdout, done.stderr) == ("done\n", "")


# --- where a person is told -------------------------------------------------------------------------------------


def run(*arguments: str, url: str = "") -> tuple[int, str]:
    """The command in this process, where a search may take as long as it likes: its exit code, and what it says."""
    done = CliRunner().invoke(main, arguments, env={"TV_ETL_WS_URL": url})
    return done.exit_code, done.output


MEANT = "expected EXCHANGE:TICKER; did you mean NASDAQ:AAPL (Apple Inc., stock)?"


def test_a_fetch_goes_on_without_the_wrong_one(search_url: str, market_url: str, tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    code, said = run("fetch", "AAPL", "NASDAQ:MSFT", "--bars", "1", "--out", str(out), "-q", url=market_url)
    assert (code, said) == (1, f"Error: AAPL 1d: symbol 'AAPL': {MEANT}\n")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2


def test_a_symbol_that_the_server_does_not_know_gets_what_was_meant(search_url: str, market_url: str) -> None:
    meant = "did you mean NASDAQ:AAPL (Apple Inc., stock)?"
    code, said = run("fetch", "NYSE:AAPL", "NASDAQ:NOPE", "-q", url=market_url)
    assert code == 1
    assert f"Error: NYSE:AAPL 1d: symbol 'NYSE:AAPL': invalid symbol; {meant}\n" in said
    assert "Error: NASDAQ:NOPE 1d: symbol 'NASDAQ:NOPE': invalid symbol\n" in said


def test_a_rehearsal_of_a_fetch_sends_nothing(search_url: str, market_url: str) -> None:
    _, said = run("fetch", "AAPL", "--dry-run", url=market_url)
    assert told("AAPL") in said


def test_a_watch_and_a_list_say_it_before_they_begin(search_url: str, market_url: str, tmp_path: Path) -> None:
    code, said = run("watch", "aapl", "Nasdaq:AAPL", "--once", url=market_url)
    assert code == 2
    assert f"Error: symbol 'aapl': {MEANT}\nsymbol 'Nasdaq:AAPL': {MEANT}\n" in said
    path = tmp_path / "list.txt"
    path.write_text("NASDAQ:MSFT\nAAPL\n", encoding="utf-8")
    code, said = run("fetch", "--symbols", str(path), url=market_url)
    assert code == 2
    assert f"Error: {path}:2:1: symbol 'AAPL': {MEANT}\n" in said


def test_a_watchlist_says_it_where_the_mistake_is(search_url: str, tmp_path: Path) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text("groups:\n  - {symbols: [NASDAQ:MSFT, AAPL], intervals: [1d]}\n", encoding="utf-8")
    code, said = run("alerts", "test", str(path))
    assert code == 1
    assert f"{path}:2:29: groups.0.symbols.1: symbol 'AAPL': {MEANT}\n" in said
    with pytest.raises(WatchlistError) as caught:
        load_watchlist(path)
    assert told("AAPL") in str(caught.value)  # loading as such asks nobody
