"""The programs and the notebook in `examples` run as they stand, and print what the market has."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import exchange_calendars
import pandas as pd
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl.tradingview.models import QuoteSymbolData
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOK = json.loads((EXAMPLES / "lake.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

# What a notebook would show, on the last line.
REPORT = """
import json
print(json.dumps({
    "pictures": [picture._repr_png_().hex(), marked._repr_png_().hex()],
    "tables": [repr(months), repr(correlation)],
    "months": [[row[0], str(row[1].date()), *row[2:]] for row in months.fetchall()],
    "correlation": correlation.fetchall(),
    "alerts": [[alert.touched_at, alert.price, alert.level] for alert in replayed.alerts],
}))
"""


@pytest.fixture(scope="module")
def environment(market_url: str) -> dict[str, str]:
    return {**os.environ, "TV_ETL_WS_URL": market_url, "PYTHONPATH": str(EXAMPLES.parent)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Where year_into_lake.py has been run."""
    path = tmp_path_factory.mktemp("examples")
    assert "NASDAQ:AAPL 1d: 471 bars added, 0 known before" in run("year_into_lake.py", path, environment)
    return path


def run(program: str, directory: Path, environment: dict[str, str], *arguments: str) -> str:
    """What an example prints; or a piece of code."""
    start = [str(EXAMPLES / program)] if program.endswith(".py") else ["-c", program]
    done = subprocess.run(
        [sys.executable, "-W", "error", *start, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def year_of(directory: Path) -> pd.DataFrame:
    return BarStore(directory / "lake").read("NASDAQ:AAPL", "1d").to_pandas().set_index("timestamp")


def breakouts(days: pd.DataFrame, start: str, end: str) -> list[tuple[float, float]]:
    """Close and level of each first close above the high of the twenty days before."""
    level = days["high"].rolling(20).max().shift()
    is_above = days["close"] >= level
    first = is_above & ~is_above.shift(fill_value=False)
    found = pd.DataFrame({"close": days["close"], "level": level})[first].loc[start:end]
    return [(float(row.close), float(row.level)) for row in found.itertuples()]


@pytest.fixture
def client(market_url: str) -> Iterator[BlockingOHLCV]:
    with BlockingOHLCV(market_url) as opened:
        yield opened


def test_every_example_is_listed_and_run_here() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert set(re.findall(r"\]\(([\w.]+)\)", page)) == there
    here = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in there if f'"{name}"' not in here] == []


def test_the_newest_bars_are_those_of_the_market(
    tmp_path: Path, environment: dict[str, str], client: BlockingOHLCV
) -> None:
    printed = run("newest_bars.py", tmp_path, environment).splitlines()
    closes = [float(line.split()[-2]) for line in printed[-5:]]
    assert closes == [bar.close for bar in client.get_historical_ohlcv("NASDAQ:AAPL", "1d", 5)]


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than exchange_calendars
def test_a_year_in_the_lake_has_its_trading_days_and_comes_once(directory: Path, environment: dict[str, str]) -> None:
    printed = run("year_into_lake.py", directory, environment)
    sessions = exchange_calendars.get_calendar("XNYS", start="2025-01-01", end="2026-11-17").sessions
    days = year_of(directory)
    assert [str(day.date()) for day in days.index] == [str(day.date()) for day in sessions]
    of_2025 = days.loc["2025":"2025"]
    assert f"0 bars added, {len(sessions)} known before" in printed
    low, high = of_2025["low"].min(), of_2025["high"].max()
    assert printed.splitlines()[-1] == f"{len(of_2025)} bars in 2025, low {low}, high {high}"


def test_many_symbols_stand_side_by_side_and_one_that_fails_is_named(
    tmp_path: Path, environment: dict[str, str], client: BlockingOHLCV
) -> None:
    printed = run("many_symbols.py", tmp_path, environment)
    assert re.search(r"^NASDAQ:NOSUCH 1d: .*invalid symbol$", printed, re.MULTILINE)
    closes = {
        symbol: client.get_historical_ohlcv(symbol, "1d", 2)[0].close
        for symbol in ("BINANCE:BTCUSDT", "COMEX:GC1!", "NASDAQ:AAPL", "NASDAQ:MSFT")
    }
    [row] = re.findall(r"^2026-11-17 (.*)$", printed, re.MULTILINE)
    assert list(map(float, row.split())) == list(closes.values())


def test_live_quotes_are_shown(environment: dict[str, str], client: BlockingOHLCV) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "live_quotes.py"), str(HANG_S)]
    quotes = client.get_quotes(["NASDAQ:AAPL", "BINANCE:BTCUSDT"])
    wanted = {
        f"{symbol} {quote.current_price}" for symbol, quote in quotes.items() if isinstance(quote, QuoteSymbolData)
    }
    assert len(wanted) == 2
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while wanted:
                line = process.stdout.readline()
                assert line and "stopped" not in line, wanted
                wanted.discard(line.strip())
        finally:
            process.kill()


def test_live_quotes_stop_when_their_time_is_over(tmp_path: Path, environment: dict[str, str]) -> None:
    assert run("live_quotes.py", tmp_path, environment, "0.01").splitlines()[-1] == "stopped after 0.01 seconds"


def test_the_live_bars_of_the_page_for_tvdatafeed_come(tmp_path: Path, environment: dict[str, str]) -> None:
    page = (EXAMPLES.parent / "docs" / "coming_from_tvdatafeed.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    # An hour closes a second after the stream begins.
    clock = MarketClock(NOW.timestamp(), speed=3_600)
    with serve_in_thread(Market(7), ServerOptions(clock=clock, update_ms=50)) as server:
        printed = run(code, tmp_path, {**environment, "TV_ETL_WS_URL": server.url})
    [(symbol, opened)] = re.findall(r"^(\S+) (\d+) [\d.]+$", printed, re.MULTILINE)
    assert symbol in ("BINANCE:ETHUSDT", "BINANCE:BTCUSDT")
    assert int(opened) % 3_600 == 0 and NOW.timestamp() - 3_600 < int(opened) < clock.now() - 3_600


def test_what_is_missing_is_told(directory: Path, environment: dict[str, str]) -> None:
    store = BarStore(directory / "lake_with_a_hole" / "lake")
    days = BarStore(directory / "lake").read("NASDAQ:AAPL", "1d")
    facts = BarStore(directory / "lake").facts("NASDAQ:AAPL", "1d")
    hole = days.filter([not 100 <= row < 103 for row in range(days.num_rows)])
    metadata = {f"tv_etl.{name}": text for name, text in facts.items()}
    store.upsert("NASDAQ:AAPL", "1d", hole.replace_schema_metadata(metadata))
    printed = run("what_is_missing.py", directory / "lake_with_a_hole", environment)
    first, last = (days["timestamp"][row].as_py() for row in (100, 102))
    assert "NASDAQ:AAPL 1d: 468 bars, 2025-01-02 14:30:00+00:00 to 2026-11-17 14:30:00+00:00" in printed
    [(start, end, why)] = re.findall(r"^  (\S+ \S+) to (\S+ \S+) gap (.*)$", printed, re.MULTILINE)
    assert (start, end[:10]) == (f"{first:%Y-%m-%d %H:%M}", f"{last + pd.Timedelta(days=1):%Y-%m-%d}")
    assert why == "3 whole trading days; not wholly asked for"


def test_a_rule_tells_what_its_bars_say(directory: Path, environment: dict[str, str]) -> None:
    wanted = breakouts(year_of(directory), "2025-03-01", "2025-12-31")
    printed = run("try_a_rule.py", directory, environment)
    found = re.findall(r"^\S+ \S+ NASDAQ:AAPL at (\S+), above (\S+)$", printed, re.MULTILINE)
    assert [(float(close), float(level)) for close, level in found] == wanted
    assert len(wanted) > 5 and printed.splitlines()[-1] == f"{len(wanted)} alerts"


def test_a_csv_that_is_exported_has_all_bars(directory: Path, environment: dict[str, str]) -> None:
    days = year_of(directory)
    assert run("export_to_csv.py", directory, environment) == f"{len(days)} bars in bars.csv\n"
    read = pd.read_csv(directory / "bars.csv", parse_dates=["timestamp"], index_col="timestamp")
    assert set(read["symbol"]) == {"NASDAQ:AAPL"}
    names = ["open", "high", "low", "close", "volume"]
    assert read[names].to_dict("list") == days[names].to_dict("list")
    assert list(read.index.asi8) == list(days.index.as_unit(read.index.unit).asi8)


def test_a_csv_is_imported(tmp_path: Path, environment: dict[str, str]) -> None:
    opens = [int(datetime(2026, 1, 2, hour, tzinfo=timezone.utc).timestamp()) for hour in (16, 17, 18)]
    rows = [f"{second},{price},{price + 2},{price - 1},{price + 1},10" for price, second in enumerate(opens, start=470)]
    (tmp_path / "NASDAQ_MSFT, 60.csv").write_text("\n".join(["time,open,high,low,close,Volume", *rows, ""]))
    assert "NASDAQ:MSFT 1h: 3 bars in the file\n" in run("import_csv.py", tmp_path, environment)
    stored = BarStore(tmp_path / "lake_of_files").read("NASDAQ:MSFT", "1h")
    assert stored["close"].to_pylist() == [471.0, 472.0], "the newest may have been forming"


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, environment: dict[str, str]) -> None:
    shown = json.loads(run("\n".join([*CODE, REPORT]), tmp_path, environment).splitlines()[-1])
    store, days = BarStore(tmp_path / "lake"), year_of(tmp_path)
    assert [series.symbol for series in store.series()] == ["BINANCE:BTCUSDT", "COMEX:GC1!", "NASDAQ:AAPL"]
    assert all(bytes.fromhex(picture).startswith(b"\x89PNG") for picture in shown["pictures"])
    assert shown["pictures"][0] != shown["pictures"][1]
    assert all("NASDAQ" in table or "correlation" in table for table in shown["tables"])
    february = days.loc["2025-02":"2025-02"]
    row = ["NASDAQ:AAPL", "2025-02-01", len(february), february["low"].min(), february["high"].max()]
    assert row in shown["months"]
    frame = store.scan(["NASDAQ:AAPL", "COMEX:GC1!", "BINANCE:BTCUSDT"], "1d").read_all().to_pandas()
    closes = frame.pivot(index="trading_day", columns="symbol", values="close").dropna()
    ratios = (closes / closes.shift()).dropna()
    [[correlation, count]] = shown["correlation"]
    returns = ratios.map(math.log)
    assert count == len(returns)
    assert correlation == pytest.approx(returns["NASDAQ:AAPL"].corr(returns["COMEX:GC1!"]))
    assert [(price, level) for _, price, level in shown["alerts"]] == breakouts(days, "2025-03-01", "2025-12-31")


def test_the_notebook_holds_nothing_of_who_ran_it() -> None:
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert NOTEBOOK["metadata"]["language_info"] == {"name": "python"}
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
