"""A series with any past and its removal: a lake in a bucket, a copy of that in a directory, and one there agree."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.record import Rename
from tv_etl.lake.status import lake_status
from tv_etl.lake.storage.void import is_void
from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl.lake.written import Writer
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.lake_files import DirectoryFiles, files_of

MONTHS = [datetime(2026, month, 1, tzinfo=timezone.utc) for month in (9, 10, 11)]
AT = 1_800_000_000.0


def store_at(base: str | Path) -> BarStore:
    return BarStore(base, clock=lambda: AT, writer=Writer("tv-etl", "host"))


def stored(store: BarStore, month: int, close: float) -> object:
    """Ten bars of a month, the last of them broken where the close is 3."""
    times = [MONTHS[month] + timedelta(minutes=minute) for minute in range(10)]
    columns: dict[str, list[object]] = {"timestamp": [*times], **{name: [close] * 10 for name in BAR_SCHEMA.names[1:]}}
    columns["low"] = [*[close] * 9, close + (close == 3)]
    table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
    return store.upsert("X:A", "1m", table).added


def damaged(store: BarStore, month: int, close: float) -> object:
    name = f"ohlcv/interval=1m/symbol=X%3AA/{MONTHS[month]:%Y-%m}.parquet"
    files = files_of(store)
    if name in files.names() and not is_void(files.read(name)):
        files.write(name, b"damaged")
        return len(store.set_aside_damaged("X:A", "1m"))
    return None


def removed(store: BarStore, month: int, close: float) -> object:
    return store.remove("X:A", "1m")


def retired(store: BarStore, month: int, close: float) -> object:
    return store.retire("X:A", "1m", Rename("X:A", "X:C", AT), if_entered=lambda stored: bool(stored.periods))


def refused(store: BarStore, month: int, close: float) -> object:
    store.refuse("X:A", "1m", "invalid symbol", AT)
    return None


def told(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except BarStoreError as error:
        return type(error).__name__


def state(store: BarStore) -> dict[str, Any]:
    """All that is to be seen of the lake, but sizes: those of objects have a stamp in them."""
    record = store.record("X:A", "1m")
    periods = {name: period._replace(bytes=0) for name, period in record.periods.items()}
    known = record.facts.items(), replace(record, facts={}, periods={}), periods
    later = datetime.fromtimestamp(AT + 60, timezone.utc)
    return {
        "known": known,
        "series": store.series(),
        "removable": store.removable("X:A"),
        "refused": store.refused(),
        "status": [(each.series, each.record.rows, each.error) for each in lake_status(store, later)],
        "verified": [(each.series, each.rows, [found.problem for found in each.findings]) for each in verify(store)],
        "bars": store.read("X:A", "1m").to_pylist(),
        "as_of": told(lambda: store.read("X:A", "1m", as_of=later).to_pylist()),
        "scan": store.scan().read_all().to_pylist(),
        "duckdb": store.to_duckdb().execute("SELECT * FROM bars ORDER BY ALL").fetchall(),
        "watermark": store.watermark("X:A", "1m"),
        "rows": store.summary("X:A", "1m").rows,
        "logs": [log("X:A", "1m").to_pylist() for log in (store.revisions, store.quarantine, store.withdrawn)],
    }


def copied(store: BarStore, directory: Path) -> BarStore:
    shutil.rmtree(directory, ignore_errors=True)
    for name in files_of(store).names():
        DirectoryFiles(directory).write(name, files_of(store).read(name))
    return store_at(directory)


CHANGES = [stored, stored, stored, damaged, removed, removed, retired, refused]
STEPS = st.tuples(st.sampled_from(CHANGES), st.integers(0, 2), st.sampled_from([1.0, 2.0, 3.0]))


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=2, max_size=7))
def test_a_bucket_its_copy_and_a_directory_agree_after_each_change(
    s3_lake: str, tmp_path: Path, steps: list[tuple[Callable[[BarStore, int, float], object], int, float]]
) -> None:
    work = tmp_path / uuid.uuid4().hex
    bucket, directory = store_at(f"{s3_lake}/{work.name}"), store_at(work / "lake")
    for change, month, close in steps:
        assert change(bucket, month, close) == change(directory, month, close)
        wanted = state(directory)
        assert state(bucket) == wanted
        problems = [each for _, _, found in wanted["verified"] for each in found]
        assert all("of which there is no file" in each for each in problems), "no file is damaged, or none of ours"
        assert state(copied(bucket, work / "copy")) == wanted
    # What is done to a copy is done as to the lake.
    copy = copied(bucket, work / "copy")
    for change, month, close in [(stored, 0, 1.0), (removed, 0, 1.0)]:
        assert change(copy, month, close) == change(directory, month, close)
        assert state(copy) == state(directory)
