"""`tv-etl watch --bars`: closed bars in a pipe and in a lake, each once."""

import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl_tests.command import TV_ETL, call
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S, wait_until


@pytest.fixture(scope="module")
def market() -> Iterator[RunningMarket]:
    """A market in which a minute lasts a second."""
    with running_market(MarketOptions(seed=7, now=NOW, speed=60)) as running:
        yield running


def watched(market: RunningMarket, *arguments: str, lines: int) -> tuple[list[str], str]:
    """So many lines of stdout, then Ctrl-C; and what stood on stderr."""
    command = [TV_ETL, "watch", *arguments, "--ws-url", market.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        got = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGINT)
        code, errors = process.wait(HANG_S), process.stderr.read()
        assert code == 0, errors
    return got, errors


def test_each_bar_is_a_line_of_json_with_its_final_values(market: RunningMarket) -> None:
    symbols = ["BINANCE:BTCUSDT", "FX:EURUSD"]
    lines, errors = watched(market, "--bars", "1m", "--json", *symbols, lines=8)
    assert errors == ""
    bars: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {bar["symbol"] for bar in bars} == set(symbols) and {bar["interval"] for bar in bars} == {"1m"}
    with BlockingOHLCV(market.url) as client:
        for symbol in symbols:
            mine = [bar for bar in bars if bar["symbol"] == symbol]
            assert all(before["timestamp"] < after["timestamp"] for before, after in pairwise(mine))
            served = {bar.timestamp: bar for bar in client.get_historical_ohlcv(symbol, "1", 100)}
            for bar in mine:
                final = served[int(datetime.fromisoformat(bar["timestamp"]).timestamp())]
                assert (bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]) == (
                    final.open, final.high, final.low, final.close, final.volume
                )  # fmt: skip


def test_people_get_a_line_and_a_refused_symbol_is_named(market: RunningMarket) -> None:
    lines, errors = watched(market, "--bars", "1m", "BINANCE:BTCUSDT", "NASDAQ:NOPE", lines=1)
    day, clock, symbol, interval, *values = lines[0].split()
    assert (day, symbol, interval, len(values)) == ("2026-11-18", "BINANCE:BTCUSDT", "1m", 5)
    assert clock.endswith(":00")
    assert "'NASDAQ:NOPE'" in errors


def test_nothing_but_refused_symbols_ends_it(market: RunningMarket) -> None:
    done = call("watch", "--bars", "1m", "NASDAQ:NOPE", url=market.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'NASDAQ:NOPE'" in done.stderr
    done = call("watch", "--bars", "1m", "NASDAQ:NOPE", "--json", url=market.url)
    assert done.returncode == 1 and json.loads(done.stdout)["error"]


def is_stored(store: BarStore, last: str) -> bool:
    return str(store.record("BINANCE:BTCUSDT", "1m").last) >= last


def test_what_closes_is_joined_to_a_lake(market: RunningMarket, tmp_path: Path) -> None:
    """Twice: the second time what was missed in between comes as well."""
    lake = tmp_path / "lake"
    store = BarStore(str(lake))
    for _ in range(2):
        command = [TV_ETL, "watch", "--bars", "1m", "BINANCE:BTCUSDT", "--lake", str(lake), "--ws-url", market.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            printed = [process.stdout.readline().split()[:2] for _ in range(3)]
            last = f"{' '.join(printed[-1])}+00:00"
            wait_until(partial(is_stored, store, last), "it is stored")
            process.send_signal(signal.SIGINT)
            assert (process.wait(HANG_S), process.stderr.read()) == (0, "")
    record = store.record("BINANCE:BTCUSDT", "1m")
    assert record.open_seam is None
    times = store.read("BINANCE:BTCUSDT", "1m")["timestamp"].to_pylist()
    assert len(times) > 300
    assert {(after - before).total_seconds() for before, after in pairwise(times)} == {60.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lake", "lake", "X:Y", "--json"], "--bars 1m"),
        (["--bars", "1m", "--once", "X:Y"], "tv-etl fetch"),
        (["--bars", "15m5", "X:Y"], "'15m5'"),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments: list[str], words: str) -> None:
    done = call("watch", *arguments)
    assert done.returncode == 2 and words in done.stderr
