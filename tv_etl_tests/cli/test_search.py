"""`tv-etl search`: a table for people, CSV and JSON for pipes."""

import csv
import io
import json
from collections.abc import Iterator

import pytest

from tv_etl.market_server.market.market import Market
from tv_etl.market_server.server import serve_in_thread
from tv_etl_tests.command import call, on_terminal


@pytest.fixture(autouse=True)
def search_url(monkeypatch: pytest.MonkeyPatch, shared_url: str) -> str:
    """The environment of whoever has a market server."""
    monkeypatch.setenv("TV_ETL_SEARCH_URL", shared_url)
    return shared_url


@pytest.fixture(scope="module")
def shared_url() -> Iterator[str]:
    with serve_in_thread(Market(7)) as server:
        yield server.http_url


def test_a_pipe_gets_csv() -> None:
    done = call("search", "BTC", "--type", "crypto", "--exchange", "BINANCE")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["symbol"] for row in rows] == ["BINANCE:BTCUSDT", "BINANCE:BTCUSDT.P"]
    assert rows[0] == {
        "symbol": "BINANCE:BTCUSDT", "description": "Bitcoin / TetherUS", "type": "spot", "exchange": "Binance",
        "currency": "USDT", "country": "",
    }  # fmt: skip


def test_json_has_everything() -> None:
    (apple,) = json.loads(call("search", "apple", "--json").stdout)
    assert (apple["symbol"], apple["isin"], apple["typespecs"]) == ("NASDAQ:AAPL", "US0378331005", ["common"])
    (gold,) = json.loads(call("search", "gold", "--type", "futures", "--json").stdout)
    assert (gold["symbol"], gold["contracts"][:2]) == ("COMEX:GC1!", ["COMEX:GC1!", "COMEX:GCZ2026"])


def test_a_terminal_gets_a_table() -> None:
    with on_terminal(["search", "gold"], url="") as terminal:
        assert terminal.wait() == 0
    (line,) = (line for line in terminal.text.splitlines() if line.startswith("COMEX:GC1!"))
    assert line.split()[:3] == ["COMEX:GC1!", "Gold", "Futures"]
    assert line.split()[-1] == "8"  # contracts


def test_there_are_as_many_as_one_likes() -> None:
    assert len(call("search", "Bancorp", "--limit", "70").stdout.splitlines()) == 71


def test_nothing_found_is_said_and_an_exit_code() -> None:
    done = call("search", "no such thing")
    assert (done.returncode, done.stderr) == (1, "nothing was found\n")
    assert json.loads(call("search", "no such thing", "--json").stdout) == []


def test_what_goes_wrong_is_told() -> None:
    done = call("search", "FAULT:BAD_JSON")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: 127.0.0.1:" in done.stderr and "not a search result" in done.stderr
    unreachable = call("search", "apple", "--search-url", "http://127.0.0.1:1", "--proxy", "nonsense")
    assert unreachable.returncode == 2 and "proxy '://nonsense'" in unreachable.stderr
    assert "type 'moon': expected stock, fund" in call("search", "apple", "--type", "moon").stderr
