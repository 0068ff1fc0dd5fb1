"""`tv-etl remove`: what is asked first, what is told, and what is refused."""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.command import call, on_terminal
from tv_etl_tests.lake_files import files_of

START = datetime(2026, 11, 2, 15, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    store = BarStore(tmp_path / "lake")
    for symbol, interval, count in (("NASDAQ:AAPL", "1h", 3), ("NASDAQ:AAPL", "1d", 1), ("NYSE:JNJ", "1d", 1)):
        columns: dict[str, list[object]] = {"timestamp": [START + timedelta(hours=number) for number in range(count)]}
        columns |= {name: [1.0] * count for name in BAR_SCHEMA.names[1:]}
        table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
        store.upsert(symbol, interval, table)
    return store


def names(store: BarStore) -> list[str]:
    return [str(each) for each in store.series()]


def test_all_intervals_of_a_symbol_are_removed_and_no_other_symbol(store: BarStore, tmp_path: Path) -> None:
    done = call("remove", "NASDAQ:AAPL", "--yes", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "removed NASDAQ:AAPL 1h: 3 bars",
        "removed NASDAQ:AAPL 1d: 1 bars",
        "Take NASDAQ:AAPL out of your watchlist, or it will be collected again.",
    ]
    assert names(store) == ["NYSE:JNJ 1d"]
    assert store.record("NASDAQ:AAPL", "1h").removals[0].by.startswith("tv-etl")
    again = call("remove", "NASDAQ:AAPL", "--yes", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, f"Error: 'NASDAQ:AAPL' is not stored in {tmp_path / 'lake'}\n")


def test_one_interval_is_removed_alone(store: BarStore, tmp_path: Path) -> None:
    assert call("remove", "NASDAQ:AAPL", "60", "-y", cwd=tmp_path).stdout.startswith("removed NASDAQ:AAPL 1h: 3 bars\n")
    assert names(store) == ["NASDAQ:AAPL 1d", "NYSE:JNJ 1d"]


def test_a_pipe_is_not_asked_and_nothing_is_removed(store: BarStore, tmp_path: Path) -> None:
    done = call("remove", "NASDAQ:AAPL", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "add --yes to remove NASDAQ:AAPL" in done.stderr
    assert len(names(store)) == 3


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"\n", 3), (b"y\n", 1)])
def test_a_terminal_is_shown_what_there_is_and_asked(store: BarStore, answer: bytes, left: int) -> None:
    with on_terminal(["remove", "NASDAQ:AAPL", "--lake", store.base], url="") as terminal:
        terminal.read_until(lambda: "for good? [y/N]" in terminal.text)
        assert "NASDAQ:AAPL 1h: 3 bars, 2026-11-02 15:00Z to 2026-11-02 17:00Z" in terminal.text
        os.write(terminal._master, answer)
        terminal.read_until(lambda: ("Aborted!" if left == 3 else "out of your watchlist") in terminal.text)
        terminal.process.wait()
    assert len(names(store)) == left


def test_a_damaged_series_is_removed_as_well(store: BarStore, tmp_path: Path) -> None:
    files_of(store).write("ohlcv/interval=1h/symbol=NASDAQ%3AAAPL/2026.parquet", b"damaged")
    files_of(store).write(".tv_etl/1h/NASDAQ%3AAAPL/series.json", b"damaged")
    done = call("remove", "NASDAQ:AAPL", "1h", "--yes", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("removed NASDAQ:AAPL 1h: bars that no record counted\n")
    assert names(store) == ["NASDAQ:AAPL 1d", "NYSE:JNJ 1d"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["NASDAQ:MSFT"], "'NASDAQ:MSFT' is not stored in "),
        (["AAPL"], "; did you mean NASDAQ:AAPL?"),
        (["NASDAQ:AAPL", "1w"], "; of that symbol it has 1h 1d"),
        (["NASDAQ:AAPL", "9x"], "9x"),
        (["NASDAQ:AAPL", "--lake", "none"], "none"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(
    store: BarStore, arguments: list[str], reason: str, tmp_path: Path
) -> None:
    done = call("remove", *arguments, "--yes", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert reason in done.stderr
    assert len(names(store)) == 3 and not (tmp_path / "none").exists()


def test_a_series_in_a_bucket_is_removed_as_well(s3_lake: str) -> None:
    table = pa.table(
        {"timestamp": [START], **{name: [1.0] for name in BAR_SCHEMA.names[1:]}},
        schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}),
    )
    store = BarStore(s3_lake)
    store.upsert("NASDAQ:AAPL", "1d", table)
    store.upsert("NYSE:JNJ", "1d", table)
    done = call("remove", "NASDAQ:AAPL", "--yes", "--lake", s3_lake)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("removed NASDAQ:AAPL 1d: 1 bars\n")
    assert names(store) == ["NYSE:JNJ 1d"]
    assert call("remove", "NASDAQ:AAPL", "--yes", "--lake", s3_lake).returncode == 1
