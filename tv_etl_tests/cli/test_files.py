"""Files of bars as other programs read them back."""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from tv_etl.cli.files import FORMATS, FileFormat, destination, one_file
from tv_etl.tradingview.bar_schema import BAR_SCHEMA, LABELLED_SCHEMA
from tv_etl.tradingview.errors import ExportError
from tv_etl.tradingview.series import Series

AAPL, NDX = Series.of("NASDAQ:AAPL", "1m"), Series.of("INDEX:Ü&/A", "1d")
TIMES = [datetime(2026, 11, 2, 14, minute, tzinfo=timezone.utc) for minute in (30, 31)]


def bars(volumes: list[float | None]) -> pa.Table:
    prices = {name: [1 / 3, 1e-9] for name in ("open", "high", "low", "close")}
    return pa.table({"timestamp": TIMES, **prices, "volume": volumes}, schema=BAR_SCHEMA)


def write(out: str, form: FileFormat | None = None) -> None:
    with destination(out, form) as put:
        assert put is not None
        put(AAPL, bars([0.1, 2e9]))
        put(NDX, bars([None, None]))


@pytest.mark.parametrize("form", FORMATS)
def test_duckdb_and_polars_read_every_format_back_to_the_last_digit(form: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / f"bars.{form}"
    write(str(path))
    expected = [
        (request.symbol, request.interval.token, time, price, price, price, price, volume)
        for request, volumes in ((AAPL, [0.1, 2e9]), (NDX, [None, None]))
        for time, price, volume in zip(TIMES, [1 / 3, 1e-9], volumes, strict=True)
    ]
    text = (
        "SET TimeZone = 'UTC'; SELECT symbol, interval, timestamp::TIMESTAMPTZ::VARCHAR, open, high, low, close, volume"
    )
    with duckdb.connect() as connection:
        found = connection.execute(f"{text} FROM '{path}'").fetchall()
    assert [(*row[:2], datetime.fromisoformat(f"{row[2]}:00"), *row[3:]) for row in found] == expected
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        "parquet": pl.read_parquet,
        "csv": pl.read_csv,
        "json": pl.read_json,
    }
    frame = readers[form](path)
    assert frame.columns == LABELLED_SCHEMA.names
    assert frame["close"].to_list() == [row[6] for row in expected]
    assert frame["volume"].to_list() == [row[7] for row in expected]


def test_json_has_a_bar_on_each_line_or_is_an_empty_list(tmp_path: Path) -> None:
    write(str(tmp_path / "bars.json"))
    lines = (tmp_path / "bars.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[1].rstrip(",")) == {
        "symbol": "NASDAQ:AAPL", "interval": "1m", "timestamp": "2026-11-02T14:30:00+00:00",
        "open": 1 / 3, "high": 1 / 3, "low": 1 / 3, "close": 1 / 3, "volume": 0.1,
    }  # fmt: skip
    with one_file(tmp_path / "none.json", "json") as put:
        put(AAPL, BAR_SCHEMA.empty_table())
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize("name", ["new/", "existing"])
def test_a_directory_gets_a_file_for_each_series(name: str, tmp_path: Path) -> None:
    (tmp_path / "existing").mkdir()
    write(f"{tmp_path}/{name}")
    names = sorted(path.name for path in (tmp_path / name).iterdir())
    assert names == ["INDEX%3A%C3%9C%26%2FA.1d.parquet", "NASDAQ%3AAAPL.1m.parquet"]
    assert pl.read_parquet(tmp_path / name / "*.parquet")["symbol"].unique().sort().to_list() == [
        "INDEX:Ü&/A",
        "NASDAQ:AAPL",
    ]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("error")
def test_an_interrupted_write_leaves_the_older_file(form: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / f"bars.{form}"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), one_file(path, form) as put:
        put(AAPL, bars([1.0, None]))
        raise KeyboardInterrupt
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("older", 1)


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"file/bars\.csv: "):
        write(str(tmp_path / "file" / "bars.csv"))


def test_an_extension_may_differ_from_the_chosen_format(tmp_path: Path) -> None:
    write(str(tmp_path / "bars.txt"), "json")
    assert len(json.loads((tmp_path / "bars.txt").read_text(encoding="utf-8"))) == 4
