"""The alerts as a dataset of the lake."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tv_etl.alerts.dataset import ALERT_SCHEMA, AlertDataset
from tv_etl.alerts.stored_events import EventDelivery, StoredEvent
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.sealed import encode_sealed

FRIDAY = datetime(2026, 11, 27, 23, 59, 30, tzinfo=timezone.utc).timestamp()


def event(number: int, detected_at: float, *deliveries: EventDelivery, **fields: object) -> StoredEvent:
    body = {
        "event_id": f"e{number}",
        "rule": "r",
        "symbol": "NASDAQ:AAPL",
        "kind": "above",
        "level": 1.5,
        "price": 2.0,
        "touched_at": int(detected_at) - 30,
        "text": "NASDAQ:AAPL is above 1.5",
        **fields,
    }
    return StoredEvent(f"e{number}", 1, detected_at, body, deliveries)


@pytest.fixture
def dataset(tmp_path: Path) -> AlertDataset:
    return AlertDataset(tmp_path)


def test_an_event_is_a_row_of_its_day(dataset: AlertDataset) -> None:
    sent = EventDelivery("slack desk", "delivered", FRIDAY + 2, None)
    dead = EventDelivery("mail", "dead", FRIDAY + 9, "HTTP 410")
    saturday = event(2, FRIDAY + 60, severity="high", tags=["fx"], groups=["us"], is_muted=True, price=None)
    assert dataset.put([saturday, event(1, FRIDAY, sent, dead)]) == ["2026-11-27", "2026-11-28"]
    assert dataset.days() == ["2026-11-27", "2026-11-28"]
    [row] = dataset.read("2026-11-27").to_pylist()
    given_up_at = datetime.fromtimestamp(FRIDAY + 9, timezone.utc)
    assert row == {
        "event_id": "e1",
        "rule": "r",
        "symbol": "NASDAQ:AAPL",
        "kind": "above",
        "level": 1.5,
        "price": 2.0,
        "touched_at": datetime.fromtimestamp(FRIDAY - 30, timezone.utc),
        "detected_at": datetime.fromtimestamp(FRIDAY, timezone.utc),
        "delivered_at": datetime.fromtimestamp(FRIDAY + 2, timezone.utc),
        "acked_at": None,
        "severity": None,
        "status": None,
        "incident": None,
        "is_muted": False,
        "tags": [],
        "groups": [],
        "text": "NASDAQ:AAPL is above 1.5",
        "message": None,
        "deliveries": [
            {"target": "slack desk", "state": "delivered", "at": row["delivered_at"], "error": None},
            {"target": "mail", "state": "dead", "at": given_up_at, "error": "HTTP 410"},
        ],
    }
    [late] = dataset.read("2026-11-28").to_pylist()
    assert (late["severity"], late["tags"], late["groups"], late["price"]) == ("high", ["fx"], ["us"], None)
    assert late["is_muted"]
    assert dataset.read().num_rows == 2 and dataset.read("2026-11-29").num_rows == 0


def test_a_file_from_before_alerts_could_be_acknowledged_is_read_and_written(
    dataset: AlertDataset, tmp_path: Path
) -> None:
    dataset.put([event(1, FRIDAY)])
    path = tmp_path / "alerts" / "date=2026-11-27" / "alerts.parquet"
    older = dataset.read("2026-11-27").drop_columns(["acked_at"])
    path.write_bytes(encode_sealed(older, compression="zstd"))
    [row] = dataset.read("2026-11-27").to_pylist()
    assert (row["event_id"], row["acked_at"], row["severity"]) == ("e1", None, None)
    dataset.put([replace(event(1, FRIDAY), acked_at=FRIDAY + 60), event(2, FRIDAY)])
    acked = dataset.read("2026-11-27").column("acked_at").to_pylist()
    assert acked == [datetime.fromtimestamp(FRIDAY + 60, timezone.utc), None]


def test_an_event_that_is_put_again_is_there_once_as_it_was_put_last(dataset: AlertDataset) -> None:
    dataset.put([event(1, FRIDAY), event(2, FRIDAY + 1)])
    dataset.put([event(1, FRIDAY, EventDelivery("t", "delivered", FRIDAY + 5, None)), event(3, FRIDAY + 0.5)])
    rows = dataset.read("2026-11-27").to_pylist()
    assert [row["event_id"] for row in rows] == ["e1", "e3", "e2"]
    assert [row["delivered_at"] is None for row in rows] == [False, True, True]


def test_what_cannot_be_stored_keeps_no_other_alert_out(dataset: AlertDataset) -> None:
    odd = event(1, FRIDAY, touched_at=10**17, text="half a \ud83d character", tags=["\ud83d"])
    dataset.put([odd, event(2, FRIDAY)])
    first, second = dataset.read("2026-11-27").to_pylist()
    assert (first["touched_at"], first["text"], first["tags"]) == (None, "half a ? character", ["?"])
    assert second["event_id"] == "e2"


def test_other_engines_read_it(dataset: AlertDataset, tmp_path: Path) -> None:
    dataset.put([event(1, FRIDAY), event(2, FRIDAY + 86_400)])
    path = f"{tmp_path}/alerts/**/*.parquet"
    query = f"select date, event_id, len(deliveries) from read_parquet('{path}', hive_partitioning = true) order by 1"
    assert [tuple(map(str, row)) for row in duckdb.execute(query).fetchall()] == [
        ("2026-11-27", "e1", "0"),
        ("2026-11-28", "e2", "0"),
    ]
    assert pl.scan_parquet(path, hive_partitioning=True).select("rule").collect().height == 2


def test_a_damaged_day_is_no_day_without_alerts(dataset: AlertDataset, tmp_path: Path) -> None:
    dataset.put([event(1, FRIDAY)])
    file = tmp_path / "alerts" / "date=2026-11-27" / "alerts.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    for call in (dataset.read, lambda: dataset.put([event(2, FRIDAY)])):
        with pytest.raises(DamagedFileError, match="date=2026-11-27"):
            call()


def test_it_lives_in_an_object_store_too(s3_lake: str) -> None:
    dataset = AlertDataset(s3_lake)
    dataset.put([event(1, FRIDAY)])
    dataset.put([event(2, FRIDAY)])
    assert dataset.read().column("event_id").to_pylist() == ["e1", "e2"]
    assert dataset.uri == f"{s3_lake}/alerts"
    assert dataset.read().schema.equals(ALERT_SCHEMA)
