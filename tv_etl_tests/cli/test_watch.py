"""`tv-etl watch`: on a terminal, in a pipe, over a lost connection."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from tv_etl.market_server.testing import MarketOptions, running_market
from tv_etl_tests.command import TV_ETL, call, on_terminal
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import free_port
from tv_etl_tests.scripted_server import Line, qsd, quote_completed
from tv_etl_tests.test_canary import served


@pytest.fixture(scope="module")
def moving_url() -> Iterator[str]:
    """The address of a market in which a minute lasts a second."""
    with running_market(MarketOptions(seed=7, now=NOW, speed=60)) as market:
        yield market.url


def test_the_table_moves_until_ctrl_c_and_restores_the_terminal(moving_url: str) -> None:
    with on_terminal(["watch", "BINANCE:BTCUSDT", "NASDAQ:NOPE", "NASDAQ:NDX"], url=moving_url) as terminal:
        coloured = (b"\x1b[1;32m", b"\x1b[1;31m")
        terminal.read_until(lambda: any(colour in terminal.shown for colour in coloured))
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
    for words in ("BINANCE:BTCUSDT", "last (UTC)", "live", "no_such_symbol", "11-18 15:0"):
        assert words in terminal.text
    assert "Traceback" not in terminal.text
    assert "the connection is lost" not in terminal.text, "it was closed"
    assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l"), "the cursor is hidden"


def test_once_prints_a_snapshot_and_fails_for_a_bad_symbol(market_url: str) -> None:
    done = call("watch", "FX:EURUSD", "NASDAQ:NOPE", "--once", url=market_url)
    assert done.returncode == 1
    header, euro, nope = done.stdout.splitlines()
    assert "bid" in header and "1." in euro and "no_such_symbol" in nope
    done = call("watch", "FX:EURUSD", "--once", "--json", url=market_url)
    quote = json.loads(done.stdout)
    assert (done.returncode, quote["symbol"], quote["delay_s"]) == (0, "FX:EURUSD", 0.0)
    assert quote["bid"] < quote["price"] < quote["ask"] and quote["last_trade"].startswith("2026-11-18T15:0")


def test_nothing_is_cut_in_a_pipe() -> None:
    symbol = "X:" + "LONG" * 30
    reason = "not " * 60 + "served"

    async def wide(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            fields = {"lp": 112.015625, "ch": -0.015625, "pricescale": 64, "minmove2": 2, "fractional": True}
            await line.say(qsd(params[0], symbol, **fields), qsd(params[0], "X:BAD", "error", reason))
            await line.say(*(quote_completed(params[0], each) for each in (symbol, "X:BAD")))

    with served(wide) as server:
        done = call("watch", symbol, "X:BAD", "--once", url=server.url)
    header, good, bad = done.stdout.splitlines()
    assert good.split() == [symbol, "112'00'5", "-0'00'5"]
    assert bad.split(maxsplit=1) == ["X:BAD", reason]
    assert all(line == line.rstrip() for line in (header, good, bad))


def test_a_pipe_gets_a_line_for_each_change(moving_url: str) -> None:
    command = [TV_ETL, "watch", "BINANCE:BTCUSDT", "NASDAQ:NOPE", "--json", "--ws-url", moving_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(12)]
        process.send_signal(signal.SIGINT)
        assert (process.wait(HANG_S), process.stderr.read()) == (0, "")
    assert {"symbol": "NASDAQ:NOPE", "error": "no_such_symbol"} in lines
    quotes = [line for line in lines if "error" not in line]
    assert all(quote["price"] for quote in quotes)
    assert all(before != after for before, after in pairwise(quotes))


@pytest.mark.parametrize("is_moving", [True, False])
def test_a_pipe_that_is_closed_ends_it_without_a_traceback(is_moving: bool, moving_url: str, market_url: str) -> None:
    url = moving_url if is_moving else market_url
    command = f"{TV_ETL} watch BINANCE:BTCUSDT --json --ws-url {url} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=HANG_S)
    assert json.loads(done.stdout)["symbol"] == "BINANCE:BTCUSDT"
    assert done.stderr == ""


def test_it_survives_a_lost_connection_and_says_when_nothing_was_seen() -> None:
    options = MarketOptions(seed=7, now=NOW, speed=60, port=free_port())
    with ExitStack() as first:
        url = first.enter_context(running_market(options)).url
        with on_terminal(["watch", "BINANCE:BTCUSDT", "FX:EURUSD"], url=url) as terminal:
            terminal.read_until(lambda: "live" in terminal.text)
            first.close()
            terminal.read_until(lambda: "the connection is lost: trying again" in terminal.text)
            with running_market(options):
                terminal.read_until(lambda: "nothing was seen from" in terminal.text)
                terminal.process.send_signal(signal.SIGTERM)
                assert terminal.wait() == 0
    assert "Traceback" not in terminal.text


def test_it_ends_without_a_server_or_without_a_symbol_left(market_url: str) -> None:
    done = call("watch", "NASDAQ:AAPL", "--json", url="ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: 127.0.0.1:1: ") and done.stderr.count("\n") == 1
    done = call("watch", "NASDAQ:NOPE", "--json", url=market_url)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("nope", "--once"), "expected EXCHANGE:TICKER"), (("NASDAQ:AAPL",), "use --json in a pipe, or --once")],
)
def test_nonsense_is_refused(arguments: tuple[str, ...], reason: str) -> None:
    done = call("watch", *arguments, url="ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


ODD = {"lp": 2.0, "lp_time": 1e17, "pricescale": -100, "currency_code": "[red]\x1b]0;owned\x07"}


async def odd_quotes(line: Line, method: str, params: list[Any]) -> None:
    if method == "quote_add_symbols":
        session = params[0]
        await line.say(qsd(session, "X:NOBODY_ASKED", lp=1.0), qsd(session, "X:ODD", **ODD))
        await line.say(qsd(session, "X:BAD", "error", "\x1b]0;owned\x07[bold]no[/bold]"))
        for scale in (0, -100, 1e-300, 1e99, "x", None):
            await line.say(qsd(session, "X:ODD", lp=3.0, pricescale=scale))
        await line.say(qsd(session, "X:GOOD", lp=4.0, lp_time=NOW.timestamp(), pricescale=100))
        await line.say(*(quote_completed(session, symbol) for symbol in ("X:ODD", "X:BAD", "X:GOOD")))


@pytest.mark.parametrize("arguments", [("--json",), ("--once",), ("--once", "--json")])
def test_one_odd_quote_ends_nothing(arguments: tuple[str, ...]) -> None:
    with served(odd_quotes) as server:
        command = [TV_ETL, "watch", "X:ODD", "X:BAD", "X:GOOD", *arguments, "--ws-url", server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            printed = ""
            for text in process.stdout:
                printed += text
                if "X:GOOD" in text and "--once" not in arguments:  # which ends by itself
                    process.send_signal(signal.SIGINT)
                    break
            process.wait(HANG_S)
            assert "Traceback" not in process.stderr.read()
    assert "4.0" in printed and "X:ODD" in printed
    assert "[bold]no[/bold]" in printed
    assert "\x1b" not in printed and "\x07" not in printed and "X:NOBODY" not in printed
