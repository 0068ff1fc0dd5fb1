"""`tv-etl fetch`: what is fetched, what is left out and what is reported."""

import csv
import io
import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series
from tv_etl_tests.command import TV_ETL, call, on_terminal, told
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import FIRST, UNSEEN, UNSEEN_PROBLEM, market_of_unseen_hours, minute_rows, replay
from tv_etl_tests.patience import HANG_S

DAY = Interval.parse("1d")
SPLIT = int(datetime(2026, 11, 16, tzinfo=timezone.utc).timestamp())  # of NASDAQ:SPLT
AAPL = Series("NASDAQ:AAPL", DAY)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_bars_of_several_series_come_as_csv_with_their_names(market_url: str) -> None:
    done = call(
        "fetch", "NASDAQ:AAPL", "NASDAQ:NDX", "--interval", "1d", "--interval", "60", "--bars", "3", url=market_url
    )
    assert (done.returncode, told(done)) == (0, [])
    rows = rows_of(done.stdout)
    series = {(row["symbol"], row["interval"]) for row in rows}
    assert series == {(symbol, interval) for symbol in ("NASDAQ:AAPL", "NASDAQ:NDX") for interval in ("1d", "1h")}
    assert len(rows) == 12
    assert all(datetime.fromisoformat(row["timestamp"]) < NOW for row in rows)
    assert {row["volume"] for row in rows if row["symbol"] == "NASDAQ:NDX"} == {""}


def test_the_forming_bar_is_left_out_unless_it_is_wanted(market_url: str) -> None:
    closed = rows_of(call("fetch", "BINANCE:BTCUSDT", "--interval", "1m", "--bars", "2", url=market_url).stdout)
    assert [row["timestamp"][11:16] for row in closed] == ["14:58", "14:59"]
    forming = call("fetch", "BINANCE:BTCUSDT", "--interval", "1m", "--bars", "2", "--forming", url=market_url).stdout
    assert [row["timestamp"][11:16] for row in rows_of(forming)] == ["14:59", "15:00"]


def test_a_range_is_half_open_and_in_utc_unless_an_offset_is_given(market_url: str) -> None:
    arguments = ("fetch", "BINANCE:BTCUSDT", "--interval", "1h")
    plain = call(*arguments, "--start", "2026-11-17", "--end", "2026-11-17T02:00", url=market_url)
    zoned = call(*arguments, "--start", "2026-11-17T01:00+01:00", "--end", "2026-11-17T02:00Z", url=market_url)
    assert [row["timestamp"][11:13] for row in rows_of(plain.stdout)] == ["00", "01"]
    assert zoned.stdout == plain.stdout


def test_ranges_are_read_as_people_say_them(market_url: str) -> None:
    def first_and_count(*arguments: str) -> tuple[str, int]:
        rows = rows_of(call("fetch", "BINANCE:BTCUSDT", *arguments, "-q", url=market_url).stdout)
        return rows[0]["timestamp"][:10], len(rows)

    assert first_and_count("--since", "2026-10") == ("2026-10-01", 48)
    assert first_and_count("--since", "2025", "--until", "2025-02") == ("2025-01-01", 31)
    everything = rows_of(call("fetch", "BINANCE:BTCUSDT", "--all", url=market_url).stdout)
    assert everything[0]["timestamp"][:10] < "2020" and everything[-1]["timestamp"][:10] == "2026-11-17"


def test_a_summary_is_told_in_pipes_as_well_unless_nobody_wants_it(market_url: str, tmp_path: Path) -> None:
    arguments = ("fetch", "NASDAQ:AAPL", "NASDAQ:NOPE", "NYSE:JNJ", "--bars", "700", "--out", str(tmp_path / "a.csv"))
    done = call(*arguments, url=market_url)
    assert done.stderr.splitlines()[-1].startswith("wrote 1,400 bars of 2 of 3 series in ")
    assert call(*arguments, "--quiet", url=market_url).stderr.startswith("Error: NASDAQ:NOPE")


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT"])
def test_an_empty_series_stores_as_many_bars_as_are_asked_for(symbol: str, tmp_path: Path) -> None:
    """On a Saturday, when one market forms a bar and the other does not."""
    clock = MarketClock(datetime(2026, 11, 21, 15, 30, tzinfo=timezone.utc).timestamp(), speed=0)
    with serve_in_thread(Market(7), ServerOptions(clock=clock)) as server:
        done = call("fetch", symbol, "--interval", "1h", "--bars", "50", "--lake", "lake", url=server.url, cwd=tmp_path)
    assert (done.returncode, told(done)) == (0, [])
    store = BarStore(tmp_path / "lake")
    bars, record = store.read(symbol, "1h"), store.record(symbol, "1h")
    assert len(bars) == 50
    assert record.first == bars["timestamp"][0].as_py() and record.gaps == 0


def test_a_bad_symbol_fails_alone_and_by_name(market_url: str, tmp_path: Path) -> None:
    symbols = ("NASDAQ:AAPL", "NASDAQ:NOPE", "no symbol", "FAULT:SERIES_ERROR", "FAULT:STRING_BARS")
    done = call("fetch", *symbols, "--bars", "5", "--out", "bars.parquet", url=market_url, cwd=tmp_path)
    assert done.returncode == 1
    assert "Error: NASDAQ:NOPE 1d: symbol 'NASDAQ:NOPE': invalid symbol\n" in done.stderr
    assert "Error: no symbol 1d: symbol 'no symbol': expected EXCHANGE:TICKER" in done.stderr
    assert "Error: FAULT:SERIES_ERROR 1d: " in done.stderr
    assert "Error: FAULT:STRING_BARS 1d: FAULT:STRING_BARS 1d: 2 rows of the answer were not bars, " in done.stderr
    assert pq.read_table(tmp_path / "bars.parquet")["symbol"].to_pylist() == ["NASDAQ:AAPL"] * 5


@pytest.mark.parametrize("to_lake", [False, True])
def test_bars_that_are_not_as_bars_should_be_are_written_with_a_word(
    market_url: str, tmp_path: Path, to_lake: bool
) -> None:
    lake = ("--lake", str(tmp_path / "lake")) if to_lake else ()
    arguments = ("fetch", "FAULT:INVERTED", "FAULT:OUTSIDE", "--interval", "1m", "--bars", "9", "--out", "-", *lake)
    done = call(*arguments, url=market_url)
    rows = rows_of(done.stdout)
    assert (done.returncode, len(rows)) == (0, 18)
    assert sum(float(row["high"]) < float(row["low"]) for row in rows) == 3
    assert told(done) == [
        "FAULT:INVERTED 1m: 3 bars have a low and high that do not enclose open and close, "
        "the first at 2026-11-18T14:53:00+00:00",
        "FAULT:OUTSIDE 1m: 1 bars of the future are left out",
    ]
    if to_lake:
        assert {len(BarStore(tmp_path / "lake").read(f"FAULT:{name}", "1m")) for name in ("INVERTED", "OUTSIDE")} == {
            6,
            9,
        }


def test_where_every_series_fails_no_file_is_made(market_url: str, tmp_path: Path) -> None:
    done = call("fetch", "NASDAQ:NOPE", "--out", "bars.csv", url=market_url, cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--interval", "7q"), "interval '7q': expected e.g. 1m"),
        (("--start", "yesterday"), "--start 'yesterday' is not a time; write e.g. 2026-11-02"),
        (("--start", "2026-11-02", "--bars", "3"), "--bars and --start both say how much: give one of them"),
        (("--days", "3", "--all"), "--days and --all both say how much: give one of them"),
        (("--days", "1e7"), "--days 1e+07 reaches back before the year 1; for all there is write --all"),
        (("--days", "0"), "'--days'"),
        (("--update",), "--update takes a file, --out FILE"),
        (("--update", "--out", "a.csv", "--all"), "--update takes a file, --out FILE"),
        (("--since", "2024-13"), "--start '2024-13-01' is not a time"),
        (("--start", "2026-11-02", "--end", "2026-11-02"), "is not before --end"),
        (("--out", "bars.xlsx"), "'bars.xlsx' does not end with .parquet or .csv or .json: choose a --format"),
        (("--lake", "ftp://host/lake"), "ftp://host/lake"),
        (("--bars", "0"), "'--bars'"),
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(arguments: tuple[str, ...], reason: str) -> None:
    done = call("fetch", "NASDAQ:AAPL", *arguments, url="ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def test_what_the_server_lacks_is_reported(market_url: str) -> None:
    weekend = call("fetch", "NASDAQ:AAPL", "--start", "2026-11-14", "--end", "2026-11-15", url=market_url)
    assert (weekend.returncode, rows_of(weekend.stdout)) == (0, [])
    assert told(weekend) == ["NASDAQ:AAPL 1d: the server has no bars in the requested range"]
    deep = call("fetch", "NASDAQ:AAPL", "--interval", "1m", "--bars", "9000", url=market_url)
    assert len(rows_of(deep.stdout)) == 4_999
    assert told(deep) == ["NASDAQ:AAPL 1m: 4,999 of 9,000 bars: the server has no more for this account"]
    early = call("fetch", "NASDAQ:AAPL", "--interval", "1m", "--start", "2026-01-01", url=market_url)
    assert "the server's bars for this account begin at 2026-10-30" in early.stderr


EXPRESSIONS = ("1/BINANCE:BTCUSDT", "(NASDAQ:AAPL+NASDAQ:MSFT)/2", "NASDAQ:AAPL-NASDAQ:MSFT", "SP:SPX/1000")


def test_expressions_are_stored_and_read_as_any_symbol(tmp_path: Path, market_url: str) -> None:
    lake = tmp_path / "lake"
    done = call("fetch", *EXPRESSIONS, "--bars", "30", "--lake", str(lake), url=market_url)
    assert (done.returncode, told(done)) == (0, [])
    folders = {path.parent.name for path in lake.glob("ohlcv/*/*/*.parquet")}
    assert folders == {
        "symbol=1%2FBINANCE%3ABTCUSDT", "symbol=%28NASDAQ%3AAAPL%2BNASDAQ%3AMSFT%29%2F2",
        "symbol=NASDAQ%3AAAPL-NASDAQ%3AMSFT", "symbol=SP%3ASPX%2F1000",
    }  # fmt: skip
    rows = {symbol: BarStore(lake).read(symbol, "1d") for symbol in EXPRESSIONS}
    assert {len(table) for table in rows.values()} == {30}
    assert all(close < 0 for close in rows["NASDAQ:AAPL-NASDAQ:MSFT"]["close"].to_pylist())
    assert all(0 < close < 1e-4 for close in rows["1/BINANCE:BTCUSDT"]["close"].to_pylist())
    spaced = call("fetch", "NASDAQ:AAPL / NASDAQ:MSFT", url=market_url)
    assert spaced.returncode == 1 and "without spaces: NASDAQ:AAPL/NASDAQ:MSFT" in spaced.stderr


@pytest.mark.parametrize(
    ("symbol", "has_ratio"),
    [("1/NASDAQ:SPLT", True), ("NASDAQ:SPLT^2", True), ("(NASDAQ:SPLT+NASDAQ:AAPL)/2", False),
     ("NASDAQ:SPLT*1000+NASDAQ:AAPL", False), ("NASDAQ:SPLT-100", False)],
)  # fmt: skip
def test_a_split_of_a_leg_never_leaves_a_wrong_scale(tmp_path: Path, symbol: str, *, has_ratio: bool) -> None:
    clock, hour = MarketClock(SPLIT - 3 * 86_400 + 64_800, speed=0), Interval.parse("1h")
    with serve_in_thread(Market(7), ServerOptions(clock=clock)) as server:
        arguments = ("fetch", symbol, "--interval", "1h", "--lake", str(tmp_path / "lake"), "--bars")
        assert call(*arguments, "900", url=server.url).returncode == 0
        clock.move_to(SPLIT + 3 * 86_400 + 64_800)
        assert call(*arguments, "10", url=server.url).returncode == 0
    store, source = BarStore(tmp_path / "lake"), Market(7).find(symbol)
    assert source is not None
    stored = [tuple(row.values())[:5] for row in store.read(symbol, "1h").to_pylist()]
    served = {row[0]: row[1:] for row in source.bars(hour, clock.now(), count=1_000).rows.tolist()}
    record = store.record(symbol, "1h")
    assert len(stored) > 900 and not record.seams
    assert all(served[moment.timestamp()] == pytest.approx(prices, rel=1e-3) for moment, *prices in stored)
    assert has_ratio or (not record.readjustments and record.revisions >= 900)


def test_a_lake_gets_the_bars_and_a_whole_readjusted_history(tmp_path: Path) -> None:
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    arguments = ("fetch", "NASDAQ:SPLT", "--interval", "1m", "--bars")
    with serve_in_thread(replay(tmp_path / "before", minute_rows(300), "1"), ServerOptions(clock=clock)) as server:
        done = call(*arguments, "200", "--lake", "lake", url=server.url, cwd=tmp_path)
    assert (done.returncode, done.stdout, told(done)) == (0, "", [])
    store = BarStore(tmp_path / "lake")
    before = store.read("NASDAQ:SPLT", "1m")
    assert before.num_rows >= 200
    halved = minute_rows(300, ratio=0.5, until=300)
    with serve_in_thread(replay(tmp_path / "after", halved, "1"), ServerOptions(clock=clock)) as server:
        done = call(*arguments, "10", "--lake", "lake", "--out", "new.json", url=server.url, cwd=tmp_path)
    assert (done.returncode, told(done)) == (0, [])
    after = store.read("NASDAQ:SPLT", "1m")
    assert after["close"].to_pylist()[-200:] == [close / 2 for close in before["close"].to_pylist()[-200:]]
    assert len(json.loads((tmp_path / "new.json").read_text())) == 10


@pytest.mark.parametrize("how_much", [("--bars", "3000"), ("--start", "2026-11-14")])
def test_a_lake_gets_all_that_was_fetched_of_a_readjusted_history(tmp_path: Path, how_much: tuple[str, str]) -> None:
    clock = MarketClock(FIRST + 6_000 * 60, speed=0)
    arguments = ("fetch", "NASDAQ:SPLT", "--interval", "1m", "--lake", "lake")
    with serve_in_thread(replay(tmp_path / "before", minute_rows(6_000), "1"), ServerOptions(clock=clock)) as server:
        assert call(*arguments, "--bars", "300", url=server.url, cwd=tmp_path).returncode == 0
    split = minute_rows(6_000, ratio=0.25, until=6_000)
    with serve_in_thread(replay(tmp_path / "after", split, "1"), ServerOptions(clock=clock)) as server:
        done = call(*arguments, *how_much, "--out", "new.parquet", url=server.url, cwd=tmp_path)
    assert (done.returncode, told(done)) == (0, [])
    stored = BarStore(tmp_path / "lake").read("NASDAQ:SPLT", "1m")
    written = pq.read_table(tmp_path / "new.parquet").select(stored.column_names)
    assert written.num_rows > 1_000
    assert stored["close"].to_pylist() == [row[4] for row in split[-len(stored) :]]
    assert stored["close"].to_pylist()[-len(written) :] == written["close"].to_pylist()


def test_a_file_gets_only_the_range_even_where_a_lake_takes_more(tmp_path: Path, market_url: str) -> None:
    arguments = ("fetch", "BINANCE:BTCUSDT", "--interval", "1h", "--lake", "lake")
    assert call(*arguments, "--bars", "5", url=market_url, cwd=tmp_path).returncode == 0
    span = ("--start", "2026-11-16", "--end", "2026-11-16T03:00")
    done = call(*arguments, *span, "--out", "new.csv", url=market_url, cwd=tmp_path)
    assert (done.returncode, told(done)) == (0, [])
    rows = rows_of((tmp_path / "new.csv").read_text(encoding="utf-8"))
    assert [row["timestamp"][11:13] for row in rows] == ["00", "01", "02"]
    assert BarStore(tmp_path / "lake").record("BINANCE:BTCUSDT", "1h").gaps == 0


def test_bars_of_two_markets_never_mix(tmp_path: Path, market_url: str) -> None:
    """A forgotten address of a market server rewrites no real bars, nor the other way round."""
    arguments = ("fetch", "NASDAQ:AAPL", "--lake", str(tmp_path), "--bars", "20")
    assert call(*arguments, url=market_url).returncode == 0
    store = BarStore(tmp_path)
    assert store.facts("NASDAQ:AAPL", "1d")["market"] == "synthetic, seed 7"
    before = store.read("NASDAQ:AAPL", "1d")
    clock = MarketClock(NOW.timestamp(), speed=0)
    with serve_in_thread(Market(8), ServerOptions(clock=clock)) as other:
        done = call(*arguments, url=other.url)
    assert done.returncode == 1
    assert "stored with market 'synthetic, seed 7'; bars with market 'synthetic, seed 8' cannot be mixed" in done.stderr
    assert store.read("NASDAQ:AAPL", "1d").equals(before)


def test_bars_of_an_unknown_market_are_adopted_once_with_a_word(tmp_path: Path, market_url: str) -> None:
    arguments = ("fetch", "NASDAQ:AAPL", "--lake", str(tmp_path), "--bars", "20")
    assert call(*arguments, url=market_url).returncode == 0
    series = tmp_path / ".tv_etl" / "1d" / "NASDAQ%3AAAPL" / "series.json"
    record = json.loads(series.read_text(encoding="utf-8"))
    del record["facts"]["market"]
    series.write_text(json.dumps(record), encoding="utf-8")
    adopted = call(*arguments, url=market_url)
    assert (adopted.returncode, adopted.stdout) == (0, "")
    assert "older bars in the lake name no market: taken to be of this one, 'synthetic, seed 7'" in adopted.stderr
    assert told(call(*arguments, url=market_url)) == []


def test_trading_hours_that_cannot_be_read_are_told_once_of_a_symbol(tmp_path: Path) -> None:
    arguments = ("fetch", UNSEEN, "NASDAQ:AAPL", "--interval", "1d", "--interval", "1h", "--bars", "20")
    with market_of_unseen_hours() as server:
        done = call(*arguments, "--lake", str(tmp_path), url=server.url)
    assert done.returncode == 0
    assert done.stderr.count(UNSEEN_PROBLEM) == 1
    assert f"gaps are not known, since trading hours cannot be read: {UNSEEN_PROBLEM}" in done.stderr


def test_a_series_that_the_lake_refuses_is_named(market_url: str, tmp_path: Path) -> None:
    arguments = ("fetch", "NASDAQ:AAPL", "--lake", str(tmp_path))
    assert call(*arguments, url=market_url).returncode == 0
    done = call(*arguments, "--adjustment", "dividends", url=market_url)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: NASDAQ:AAPL 1d: not stored: ")
    assert "adjustment" in done.stderr


def test_a_server_that_is_not_there_is_reported_once_for_all_series() -> None:
    done = call("fetch", "NASDAQ:AAPL", "NYSE:JNJ", url="ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: NASDAQ:AAPL 1d, NYSE:JNJ 1d: 127.0.0.1:1: ")
    assert len(told(done)) == 1


def test_a_closed_pipe_gives_no_traceback(market_url: str) -> None:
    command = f"{TV_ETL} fetch NASDAQ:AAPL BINANCE:BTCUSDT --interval 1m --bars 4000 --ws-url {market_url} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == '"symbol","interval","timestamp","open","high","low","close","volume"\n'
    assert done.stderr == ""


def test_a_full_device_is_reported_in_a_line(market_url: str) -> None:
    for arguments in ("fetch NASDAQ:AAPL", "watch BINANCE:BTCUSDT --once --json", "watch BINANCE:BTCUSDT --json"):
        command = f"TV_ETL_WS_URL={market_url} {TV_ETL} {arguments} > /dev/full"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=HANG_S)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


def test_a_fetch_that_is_stopped_leaves_nothing(market_url: str, tmp_path: Path) -> None:
    arguments = ["fetch", "NASDAQ:AAPL", "FAULT:SILENT", "--out", f"{tmp_path}/bars.parquet"]
    with on_terminal(arguments, url=market_url) as terminal:
        terminal.read_until(lambda: "1/2" in terminal.text)
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
        terminal.process.send_signal(2)
        assert terminal.wait() == 1
    assert "Aborted!" in terminal.text and "Traceback" not in terminal.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_start_costs_little_beside_pyarrow_and_imports_no_dagster() -> None:
    files = ("main", "fetch", "files", "progress", "series_fetch")
    fetch = f"import {', '.join(f'tv_etl.cli.{each}' for each in files)}, tv_etl.tradingview.history"
    watch = "import tv_etl.cli.main, tv_etl.cli.watch, tv_etl.cli.watch_quotes"

    def seconds(code: str) -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.monotonic() - started

    runs = [[seconds(code) for code in ("import pyarrow", fetch, watch)] for _ in range(5)]
    floor, fetching, watching = (median(column) for column in zip(*runs, strict=True))
    assert fetching < 6 * floor and watching < 4 * floor, (floor, fetching, watching)
    heavy = "[name for name in ('dagster', 'pandas', 'polars', 'duckdb') if name in sys.modules]"
    code = f"import sys; {fetch}; {watch}; print({heavy})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
