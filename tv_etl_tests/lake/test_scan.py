"""A scan of series that are read ahead, and of those that are too large for that."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.lake import scan
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.series import Series
from tv_etl_tests.lake_files import files_of
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.s3_proxy import FORWARD, S3Proxy, s3_proxy

START = datetime(2026, 10, 31, 23, 50, tzinfo=timezone.utc)
NAMES = [f"X:S{number}" for number in range(4)]


def bars(first: float) -> pa.Table:
    """Of two months."""
    columns = {"timestamp": [START + timedelta(minutes=number) for number in range(20)]}
    columns |= {name: [first + number for number in range(20)] for name in BAR_SCHEMA.names[1:]}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


def lake(base: str | Path) -> BarStore:
    store = BarStore(base)
    for number, name in enumerate(NAMES):
        store.upsert(name, "1m", bars(100.0 * number))
    return store


@pytest.mark.parametrize("small_bytes", [0, scan._SMALL_BYTES])
def test_large_series_are_read_as_small_ones_are(base: str, monkeypatch: pytest.MonkeyPatch, small_bytes: int) -> None:
    monkeypatch.setattr(scan, "_SMALL_BYTES", small_bytes)
    found = lake(base).scan(start=START + timedelta(minutes=5), end=START + timedelta(minutes=15)).read_all()
    assert found["symbol"].to_pylist() == [name for name in NAMES for _ in range(10)]
    assert found["close"].to_pylist() == [100.0 * number + bar for number in range(4) for bar in range(5, 15)]


def test_series_are_scanned_by_name_a_batch_never_of_two(base: str) -> None:
    store = lake(base)
    store.upsert(NAMES[0], "1h", bars(0.0).slice(10, 1))
    wanted = [Series.of(*each) for each in [(NAMES[2], "1m"), (NAMES[0], "1h"), ("X:NONE", "1m"), (NAMES[2], "1m")]]
    batches = [batch for batch in store.scan_series(wanted, START + timedelta(minutes=5)) if batch.num_rows]
    owners = [{*zip(batch["symbol"].to_pylist(), batch["interval"].to_pylist(), strict=True)} for batch in batches]
    assert owners[0] == {(NAMES[0], "1h")}
    assert all(each == {(NAMES[2], "1m")} for each in owners[1:])
    assert [sum(len(batch) for batch in part) for part in (batches[:1], batches[1:])] == [1, 15]
    with pytest.raises(IntervalError, match="100t"):
        store.scan_series([Series.of("X:S1", "100t")])


def test_a_series_without_a_record_is_read_all_the_same(base: str) -> None:
    store = lake(base)
    files_of(store).remove(".tv_etl/1m/X%3AS1/series.json")
    assert store.scan().read_all().num_rows == 80


@pytest.mark.parametrize("content", [b"damaged", None])
def test_what_cannot_be_read_ends_a_scan_where_it_is(tmp_path: Path, content: bytes | None) -> None:
    store = lake(tmp_path)
    name = "ohlcv/interval=1m/symbol=X%3AS2/2026-11.parquet"
    files_of(store).write(name, content or files_of(store).read(name.replace("2026-11", "2026-10")))
    reader, rows = store.scan(), 0
    with pytest.raises(DamagedFileError, match=r"S2/2026-11\.parquet"):
        for batch in reader:
            rows += batch.num_rows
    assert rows == 40, "the two series before it are whole"


@pytest.fixture
def proxy(s3_endpoint: str, s3_lake: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with s3_proxy(s3_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_series_in_a_bucket_are_asked_for_side_by_side(s3_lake: str, proxy: S3Proxy) -> None:
    store = lake(s3_lake)
    gate = threading.Barrier(len(NAMES))

    def judge(method: str, path: str) -> str:
        if path.endswith("series.json"):
            gate.wait(HANG_S)  # none is answered before all are asked for
        return FORWARD

    # The last commit of each file is in its head: nobody looks at it again.
    proxy.judge = judge
    assert store.scan(NAMES, "1m").read_all().num_rows == 80
