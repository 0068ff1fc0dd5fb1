"""tv-etl import as a user calls it: files in, a line for each, and what is wrong with its row."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tv_etl.cli.main import main
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.series import Series
from tv_etl_tests.command import on_terminal
from tv_etl_tests.imports.imported import stored
from tv_etl_tests.imports.samples import DAYS, HOURS, MINUTES, SAMPLES

NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of every form, in the working directory."""
    directory = tmp_path / "files"
    directory.mkdir()
    for sample in SAMPLES:
        sample.write(directory)
    monkeypatch.chdir(directory)
    return directory


def call(*arguments: str, url: str = NOWHERE) -> Result:
    return CliRunner().invoke(main, arguments, env={"TV_ETL_WS_URL": url}, catch_exceptions=False)


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "directory"])
def test_what_was_fetched_is_imported_as_it_was(
    tmp_path: Path, market_url: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = "bars/" if form == "directory" else f"bars.{form}"
    arguments = ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "SP:SPX", "--interval", "1d", "--interval", "1m", "--bars", "200"]
    fetched = call("fetch", *arguments, "--out", out, "--lake", "fetched", url=market_url)
    assert fetched.exit_code == 0, fetched.stderr
    done = call("import", out, "--lake", "lake", url=market_url)
    assert done.exit_code == 0, done.stderr
    source, lake = BarStore(tmp_path / "fetched"), BarStore(tmp_path / "lake")
    assert len(lake.series()) == 6
    for series in source.series():
        assert (
            stored(lake, series.symbol, series.interval.token)
            == stored(source, series.symbol, series.interval.token)[-200:]
        )
    again = call("fetch", *arguments, "--lake", "lake", url=market_url)
    assert again.exit_code == 0
    *told, _ = again.stderr.splitlines()
    assert all("older bars in the lake name no market" in line for line in told), again.stderr
    assert all(lake.record(*series).open_seam is None and not lake.record(*series).imported for series in lake.series())


def test_the_report_names_every_series_and_file(files: Path) -> None:
    chart, crypto = "NYSE_IBM, 5.csv", "BINANCE_BTCUSDT, 60_a1b2c.csv"
    broken = files / "NYSE_GE, 5.csv"
    broken.write_text("time,open,high,low,close\n1704205800,1,1,1,1\n1704205800,1,1,1,1\n")
    done = call("import", chart, crypto, broken.name, "notes.md", "--lake", "lake")
    assert (done.exit_code, "notes.md" in done.stderr) == (2, True), "a file that is not there is a wrong call"
    done = call("import", chart, crypto, broken.name, "--lake", "lake")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "NYSE:IBM 5m: 2 bars added; that of 2024-01-02 14:40Z left out: it may have been forming (--closed)",
        f"  {chart}: 3 bars",
        "BINANCE:BTCUSDT 1h: 2 bars added; that of 2024-01-01 02:00Z left out: it may have been forming (--closed)",
        f"  {crypto}: 3 bars",
    ]
    error, summary = done.stderr.splitlines()
    assert (
        error == f"Error: NYSE:GE 5m: {broken.name}, row 3: 2024-01-02 14:30:00Z is there twice: keep one of the rows"
    )
    assert summary.startswith("2 of 3 files, 2 series, 6 bars, 4 of them new, ")
    again = call("import", chart, crypto, "--closed", "--json", "--lake", "lake")
    assert [json.loads(line) for line in again.stdout.splitlines()] == [
        {"symbol": symbol, "interval": interval, "files": {name: 3}, "added": 1, "changed": 0, "left_out": None,
         "notes": [], "error": None}
        for symbol, interval, name in (("NYSE:IBM", "5m", chart), ("BINANCE:BTCUSDT", "1h", crypto))
    ]  # fmt: skip
    lake = BarStore(files / "lake")
    assert [row[:5] for row in stored(lake, "NYSE:IBM", "5m")] == [bar[:5] for bar in MINUTES]
    assert stored(lake, "BINANCE:BTCUSDT", "1h") == HOURS
    status = call("status", "BINANCE:BTCUSDT", "--lake", "lake")
    assert "imported" in status.stdout and "sha256" in status.stdout, status.stderr


def test_bars_in_quarantine_are_told_and_no_other_is_known_already(files: Path) -> None:
    broken = files / "NYSE_GE, 5.csv"
    broken.write_text("time,open,high,low,close\n1704205800,1,1,1,1\n1704206100,1,1,2,1\n1704206400,1,1,1,1\n")
    for told in ("2 bars added; 1 in quarantine", "0 bars added; 2 known already; 1 in quarantine"):
        done = call("import", broken.name, "--closed", "--lake", "lake")
        assert done.stdout.splitlines()[0] == f"NYSE:GE 5m: {told}"


def test_a_server_is_asked_for_hours_that_nobody_knows(files: Path, market_url: str) -> None:
    name = "NASDAQ_AAPL, 1D.csv"
    offline = call("import", name, "--lake", "lake")
    assert offline.exit_code == 1
    assert "NASDAQ:AAPL: its trading hours, which tell when its days open, cannot be had: " in offline.stderr
    assert "or say --hours 0930-1600@America/New_York" in offline.stderr
    online = call("import", name, "--lake", "lake", "--closed", url=market_url)
    assert online.exit_code == 0, online.stderr
    lake = BarStore(files / "lake")
    assert stored(lake, "NASDAQ:AAPL", "1d") == DAYS
    assert lake.record("NASDAQ:AAPL", "1d").ratio == 1.0
    again = call("import", name, "--lake", "lake")
    assert again.exit_code == 0, "the lake knows them now"
    said = call("import", name, "--lake", "other", "--hours", "0930-1600@America/New_York")
    assert said.exit_code == 0, said.stderr


def test_a_whole_directory_tells_what_it_could_not_take(files: Path) -> None:
    done = call("import", ".", "--exchange", "NASDAQ", "--lake", "../lake", "--json")
    assert done.exit_code == 1
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {name for each in outcomes for name in each["files"]} == {sample.name for sample in SAMPLES}
    assert any(each["error"] is None for each in outcomes)
    assert all(each["error"] for each in outcomes if "symbol" not in each)


CLOSES = "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,1,1,1,1,1,5\n2024-01-03,2,2,2,2,2,5\n"


def test_a_list_says_whose_bars_files_have_that_are_named_by_ticker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AAPL", "BRK-B", "ABC", "GE"):
        Path(f"{name}.csv").write_text(CLOSES)
    Path("NYSE_IBM, 5.csv").write_text("time,open,high,low,close\n1704205800,1,1,1,1\n")
    listed = "\ufeffTicker;Exchange\nAAPL;NASDAQ\nBRK.B;NYSE\nABC;NYSE\nABC;NASDAQ\nMSFT;NASDAQ\n"
    Path("list.txt").write_text(listed)
    options = ["--hours", "0930-1600@America/New_York", "--lake", "lake"]
    done = call(
        "import", *sorted(map(str, Path().glob("*.csv"))), "--symbols", "list.txt", "--interval", "1d", *options
    )
    assert done.exit_code == 1
    assert BarStore("lake").series() == [Series.of("NASDAQ:AAPL", "1d"), Series.of("NYSE:BRK.B", "1d")]
    several = "'ABC' may be NYSE:ABC or NASDAQ:ABC, all of them in the list"
    assert done.stderr.splitlines()[:-1] == [
        f"Error: ABC.csv: {several}: --symbol ABC=EXCHANGE:TICKER says whose bars they are",
        "Error: GE.csv: 'GE' names no symbol of the list: --symbol GE=EXCHANGE:TICKER says whose bars they are",
        "Error: NYSE_IBM, 5.csv: 'NYSE_IBM' names no symbol of the list: --symbol NYSE_IBM=EXCHANGE:TICKER says whose"
        " bars they are",
        "of 3 of the 5 listed symbols there is no file: NYSE:ABC, NASDAQ:ABC, NASDAQ:MSFT",
    ]
    said = ["--symbol", "ABC=NYSE:ABC", "--interval", "1d", "--closed"]
    done = CliRunner().invoke(main, ["import", "ABC.csv", "--symbols", "-", *said, *options], input=listed)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "NYSE:ABC 1d: 2 bars added"), done.stderr


def test_a_lake_in_an_object_store_takes_files(files: Path, s3_lake: str) -> None:
    done = call("import", "bars.parquet", "--lake", s3_lake)
    assert done.exit_code == 0, done.stderr
    assert stored(BarStore(s3_lake), "BINANCE:BTCUSDT", "1h") == HOURS


def test_a_terminal_shows_how_far_it_is(files: Path) -> None:
    arguments = ["import", str(files / "bars.csv"), "--lake", str(files / "lake")]
    with on_terminal(arguments, url=NOWHERE) as terminal:
        assert terminal.wait() == 0
        assert "1 of 1 files, 2 series, 6 bars, 6 of them new" in terminal.text
