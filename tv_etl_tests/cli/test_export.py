"""`tv-etl export`: stored bars as files, without a server."""

import csv
import io
import json
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.cli.export import SeriesExport
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.command import TV_ETL, call, on_terminal, told
from tv_etl_tests.lake_files import files_of
from tv_etl_tests.patience import HANG_S

START = datetime(2026, 11, 2, 15, tzinfo=timezone.utc)
SERIES = [("BINANCE:BTCUSDT", "1d"), ("NASDAQ:AAPL", "1h"), ("NASDAQ:AAPL", "1d")]
NOWHERE = "ws://127.0.0.1:9/nobody"


def fill(base: str | Path) -> BarStore:
    store = BarStore(base)
    for symbol, interval in SERIES:
        width = timedelta(hours=1) if interval == "1h" else timedelta(days=1)
        columns: dict[str, list[object]] = {"timestamp": [START + number * width for number in range(4)]}
        columns |= {name: [1 / 3 + number for number in range(4)] for name in BAR_SCHEMA.names[1:]}
        table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
        store.upsert(symbol, interval, table)
    return store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A working directory with a lake in it."""
    fill(tmp_path / "lake")
    return tmp_path


def counts(text: str) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in csv.DictReader(io.StringIO(text)):
        series = row["symbol"], row["interval"]
        found[series] = found.get(series, 0) + 1
    return found


def test_without_a_symbol_all_of_the_lake_is_written(directory: Path) -> None:
    done = call("export", url=NOWHERE, cwd=directory)
    assert (done.returncode, told(done)) == (0, [])
    assert done.stderr.startswith("wrote 12 bars of 3 series in ")
    assert counts(done.stdout) == dict.fromkeys(SERIES, 4)
    assert call("export", "-q", url=NOWHERE, cwd=directory).stderr == ""


def test_a_file_holds_what_the_lake_does_to_the_last_digit(directory: Path) -> None:
    for name in ("bars.parquet", "bars.json", "bars.csv"):
        done = call("export", "NASDAQ:AAPL", "--interval", "1d", "--out", name, url=NOWHERE, cwd=directory)
        assert (done.returncode, told(done)) == (0, [])
    stored = BarStore(directory / "lake").read("NASDAQ:AAPL", "1d")
    written = pq.ParquetFile(directory / "bars.parquet").read()
    assert written.column_names == ["symbol", "interval", *BAR_SCHEMA.names]
    assert written.select(BAR_SCHEMA.names).equals(stored)
    assert set(written["symbol"].to_pylist()) == {"NASDAQ:AAPL"}
    rows = json.loads((directory / "bars.json").read_text(encoding="utf-8"))
    assert [row["close"] for row in rows] == stored["close"].to_pylist()
    lines = csv.DictReader(io.StringIO((directory / "bars.csv").read_text(encoding="utf-8")))
    assert [datetime.fromisoformat(row["timestamp"]) for row in lines] == stored["timestamp"].to_pylist()


def test_a_directory_gets_a_file_for_each_series(directory: Path) -> None:
    done = call("export", "--out", "files/", "--format", "csv", url=NOWHERE, cwd=directory)
    assert done.returncode == 0
    names = {"BINANCE%3ABTCUSDT.1d.csv", "NASDAQ%3AAAPL.1d.csv", "NASDAQ%3AAAPL.1h.csv"}
    assert {path.name for path in (directory / "files").iterdir()} == names


def test_a_range_is_half_open_and_what_has_no_bars_in_it_is_told(directory: Path) -> None:
    arguments = ("export", "NASDAQ:AAPL", "--start", "2026-11-02T16:00", "--end", "2026-11-03T15:00")
    done = call(*arguments, url=NOWHERE, cwd=directory)
    assert counts(done.stdout) == {("NASDAQ:AAPL", "1h"): 3}
    assert told(done) == ["NASDAQ:AAPL 1d: the lake has no bars in the requested range"]
    assert done.returncode == 0
    assert counts(call("export", "--since", "2026-12", url=NOWHERE, cwd=directory).stdout) == {}


def test_the_bars_of_so_many_days_are_those_up_to_now(directory: Path) -> None:
    now = datetime.now(timezone.utc)
    for age, close in ((40, 1.0), (10, 2.0)):
        columns = {"timestamp": [now.replace(microsecond=0) - timedelta(days=age)]} | {
            name: [close] for name in BAR_SCHEMA.names[1:]
        }
        table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
        BarStore(directory / "recent").upsert("NASDAQ:AAPL", "1d", table)
    done = call("export", "NASDAQ:AAPL", "--days", "30", "--lake", "recent", cwd=directory)
    assert [float(row["close"]) for row in csv.DictReader(io.StringIO(done.stdout))] == [2.0]


def test_what_is_not_stored_is_named_and_the_rest_is_written(directory: Path) -> None:
    (directory / "list.txt").write_text("NASDAQ:AAPL\nNASDAQ:MSFT\n", encoding="utf-8")
    arguments = ("export", "btcusdt", "--symbols", "list.txt", "--interval", "1h", "--interval", "1w")
    done = call(*arguments, "--out", "out.parquet", url=NOWHERE, cwd=directory)
    lake = directory / "lake"
    assert told(done) == [
        f"Error: 'btcusdt' is not stored in {lake}; did you mean BINANCE:BTCUSDT?",
        f"Error: 'NASDAQ:AAPL 1w' is not stored in {lake}; of that symbol it has 1h 1d",
        f"Error: 'NASDAQ:MSFT' is not stored in {lake}",
    ]
    assert done.returncode == 1
    assert pq.ParquetFile(directory / "out.parquet").metadata.num_rows == 4


def test_a_damaged_series_is_named_and_the_rest_is_written(directory: Path) -> None:
    files_of(BarStore(directory / "lake")).write("ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet", b"damaged")
    done = call("export", url=NOWHERE, cwd=directory)
    assert done.returncode == 1
    assert counts(done.stdout) == dict.fromkeys([SERIES[0], SERIES[2]], 4)
    assert done.stderr.startswith("Error: NASDAQ:AAPL 1h: ") and "2026.parquet" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("wrote 8 bars of 2 of 3 series in ")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--lake", "none"], 1, "none: there is no such directory"),
        (["--interval", "1w"], 1, "lake: nothing is stored at that interval"),
        (["--interval", "9x"], 2, "9x"),
        (["--start", "soon"], 2, "--start"),
        (["--start", "2026-02", "--end", "2026-01"], 2, "is not before --end"),
        (["--out", "bars.txt"], 2, "does not end with .parquet or .csv or .json"),
        (["--symbols", "no.txt"], 2, "no.txt"),
        (["--lake", "ftp://host/lake"], 2, "begins with file://, s3://"),
        (["--out", "lake/ohlcv/interval=1d/symbol=NASDAQ%3AAAPL/all.parquet/a.csv"], 1, "all.parquet"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(arguments: list[str], code: int, reason: str, directory: Path) -> None:
    done = call("export", *arguments, url=NOWHERE, cwd=directory)
    assert (done.returncode, done.stdout) == (code, "")
    assert reason in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_pipe_that_closes_ends_it_without_a_word(directory: Path) -> None:
    command = f"{TV_ETL} export --lake lake | head -1"
    done = subprocess.run(command, shell=True, cwd=directory, capture_output=True, text=True, timeout=HANG_S)
    assert "Traceback" not in done.stderr and done.stdout.startswith('"symbol"')


def test_parquet_is_kept_from_a_terminal(directory: Path) -> None:
    with on_terminal(["export", "--lake", str(directory / "lake"), "--format", "parquet"], url=NOWHERE) as terminal:
        terminal.read_until(lambda: "Parquet cannot go to a terminal" in terminal.text)


def test_a_lake_in_a_bucket_is_exported_as_one_in_a_directory(base: str) -> None:
    exporting = SeriesExport(fill(base), ["NASDAQ:AAPL"], (), START + timedelta(hours=1))
    written: list[tuple[str, int]] = []
    outcomes = list(exporting.run(lambda series, bars: written.append((str(series), len(bars)))))
    assert written == [("NASDAQ:AAPL 1h", 3), ("NASDAQ:AAPL 1d", 3)]
    assert [(str(each.series), each.bars, each.error) for each in outcomes] == [(name, 3, "") for name, _ in written]
