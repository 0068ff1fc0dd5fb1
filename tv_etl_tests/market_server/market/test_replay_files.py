import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tv_etl.market_server.market.replay_files import ReplayError, read_folder
from tv_etl.tradingview.intervals import Interval

MINUTE = Interval.parse("1m")
AAPL = """timestamp,open,high,low,close,volume
1516285800,179.369995,180.100006,178.25,179.259995,31193400
1516372200,178.610001,179.580002,177.410004,178.460007,31269600
"""


def table(times: list[int], volumes: list[float | None] | None = None, unit: str = "us") -> pa.Table:
    scale = {"s": 1, "us": 1_000_000}[unit]
    columns = {"timestamp": pa.array([moment * scale for moment in times]).cast(pa.timestamp(unit, "UTC"))}
    columns |= {name: pa.array([1.5] * len(times)) for name in ("open", "high", "low", "close")}
    return pa.table(columns | ({"volume": pa.array(volumes, pa.float64())} if volumes is not None else {}))


def test_files_in_one_folder_have_their_symbol_and_interval_in_the_name(tmp_path: Path) -> None:
    (tmp_path / "NASDAQ_AAPL_1D.csv").write_text(AAPL, encoding="utf-8")
    pq.write_table(table([60, 120], [1.0, None], "s"), tmp_path / "BINANCE_BTC_USDT_1.parquet")
    found = read_folder(tmp_path)
    assert found["NASDAQ:AAPL"][Interval.parse("1d")][:, 4].tolist() == [179.259995, 178.460007]
    assert found["BINANCE:BTC_USDT"][MINUTE].tolist() == [[60, 1.5, 1.5, 1.5, 1.5, 1.0], [120, 1.5, 1.5, 1.5, 1.5, 0.0]]


def test_a_lake_says_it_in_its_folders(tmp_path: Path) -> None:
    series = tmp_path / "ohlcv" / "interval=1m" / "symbol=NYSE%3ABRK.B"
    hidden = tmp_path / ".tv_etl" / "interval=1m" / "symbol=NYSE%3ABRK.B"
    for directory in (series, hidden):
        directory.mkdir(parents=True)
    pq.write_table(table([60, 120], [None, None]), series / "2026-10.parquet")
    pq.write_table(table([180], [4.0]), series / "2026-11.parquet")
    pq.write_table(table([999_960], [4.0]), hidden / "2026-11.parquet")
    rows = read_folder(tmp_path)["NYSE:BRK.B"][MINUTE]
    assert rows[:, [0, 5]].tolist() == [[60, 0], [120, 0], [180, 4]]


def test_what_a_removed_series_left_in_a_lake_has_no_bars(tmp_path: Path) -> None:
    for symbol, whole in (("NASDAQ%3AGONE", False), ("NASDAQ%3AAAPL", True)):
        series = tmp_path / "ohlcv" / "interval=1m" / f"symbol={symbol}"
        series.mkdir(parents=True)
        pq.write_table(table([], []), series / "2026-10.parquet")
        if whole:
            pq.write_table(table([60], [4.0]), series / "2026-11.parquet")
    found = read_folder(tmp_path)
    assert found.keys() == {"NASDAQ:AAPL"}
    assert found["NASDAQ:AAPL"][MINUTE].tolist() == [[60, 1.5, 1.5, 1.5, 1.5, 4.0]]


def test_without_any_volume_there_is_no_such_column(tmp_path: Path) -> None:
    pq.write_table(table([60], [None]), tmp_path / "TVC_NDX_1.parquet")
    assert read_folder(tmp_path)["TVC:NDX"][MINUTE].shape == (1, 5)


def test_csv_needs_no_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "NASDAQ_AAPL_1D.csv").write_text(AAPL, encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from tv_etl.market_server.market.replay_files import read_folder; "
        f"read_folder(Path({str(tmp_path)!r})); print('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("NASDAQ_AAPL_1.parquet", b"PAR1", "NASDAQ_AAPL_1.parquet"),
        ("NASDAQ_AAPL.parquet", b"PAR1", "expected a name like NASDAQ_AAPL_1D.parquet"),
        ("interval=1m/symbol=lower/all.parquet", b"PAR1", "expected folders like"),
        ("interval=15x/symbol=A%3AB/all.parquet", b"PAR1", "expected folders like"),
    ],
)
def test_a_bad_parquet_file_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReplayError, match=says):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (table([60, 60]), "do not ascend"),
        (table([]), "no bars"),
        (table([60]).drop_columns(["close"]), "missing columns: close"),
        (table([60]).set_column(1, "open", pa.array(["x"])), "NASDAQ_AAPL_1"),
    ],
)
def test_a_parquet_file_without_proper_bars_is_refused(tmp_path: Path, bad: pa.Table, says: str) -> None:
    pq.write_table(bad, tmp_path / "NASDAQ_AAPL_1.parquet")
    with pytest.raises(ReplayError, match=says):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("NASDAQ_1D.csv", AAPL, "expected a name"),
        ("NASDAQ_AAPL_15x.csv", AAPL, "expected a name"),
        ("NASDAQ_AAPL_1.csv", "time,open\n1,2\n", "first line"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3\n", "5 numbers"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3,4,x\n", "x"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3,4,nan\n", "5 numbers"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n", "no bars"),
        ("NASDAQ_AAPL_1.csv", "", "first line"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n2,1,1,1,1\n1,1,1,1,1\n", "ascend"),
        ("notes.txt", "", "no CSV or Parquet"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ReplayError, match=says) as raised:
        read_folder(tmp_path)
    assert (name if name.endswith(".csv") else str(tmp_path)) in str(raised.value)
