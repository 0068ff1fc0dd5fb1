"""Completeness judges a stored series by its trading hours."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.bar_store import BarStore
from tv_etl.coverage import completeness, overlap_start
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval

OPEN = datetime(2026, 11, 18, 14, 30, tzinfo=timezone.utc)  # 09:30 in New York
HOURS = {"session": "0930-1600", "timezone": "America/New_York", "session_holidays": "20261126"}


def minutes(*offsets: int, hours: dict[str, str] | None = None) -> pa.Table:
    times = [OPEN + timedelta(minutes=offset) for offset in offsets]
    facts = {"tv_etl.forming_from": "", "tv_etl.session": "regular"}
    if hours is not None:
        facts["tv_etl.trading_hours"] = json.dumps(hours)
    columns = [pa.array(times, BAR_SCHEMA.field(0).type), *[pa.array([1.0] * len(times))] * 5]
    return pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata(facts))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path)


def test_a_whole_day_is_complete(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(*range(390), hours=HOURS))
    measured = completeness(store, "NASDAQ:AAPL", "1m")
    assert measured is not None
    assert (measured.expected, measured.missing, measured.ratio, measured.gaps) == (390, 0, 1.0, [])


def test_the_night_is_no_gap_and_a_missing_run_is_one(store: BarStore) -> None:
    day = 24 * 60
    store.upsert("NASDAQ:AAPL", "1m", minutes(388, 389, day, day + 1, day + 5, hours=HOURS))
    measured = completeness(store, "NASDAQ:AAPL", "1m")
    assert measured is not None
    assert (measured.expected, measured.missing) == (8, 3)
    first, last, count = measured.gaps[0]
    assert count == 3
    assert datetime.fromtimestamp(first, tz=timezone.utc) == OPEN + timedelta(days=1, minutes=2)
    assert last - first == 120


def test_a_span_can_be_measured_alone(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 5, 6, 7, hours=HOURS))
    measured = completeness(store, "NASDAQ:AAPL", "1m", start=OPEN + timedelta(minutes=5))
    assert measured is not None
    assert measured.ratio == 1.0


def test_without_trading_hours_nothing_is_claimed(store: BarStore) -> None:
    assert completeness(store, "NASDAQ:AAPL", "1m") is None
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 5))
    assert completeness(store, "NASDAQ:AAPL", "1m") is None


def test_hours_that_nobody_can_read_are_unknown_and_break_nothing(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 5, hours={"session": "whenever", "timezone": "America/New_York"}))
    assert completeness(store, "NASDAQ:AAPL", "1m") is None


def test_a_width_without_a_fixed_place_in_time_is_unknown(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "2d", minutes(0, 2 * 24 * 60, hours=HOURS))
    assert completeness(store, "NASDAQ:AAPL", "2d") is None


@pytest.mark.parametrize(
    ("interval", "hours", "minute", "expected"),
    [
        ("1m", HOURS, 100, OPEN - timedelta(days=1) + timedelta(minutes=389)),  # the last minute of the day before
        ("1m", HOURS, 0, OPEN - timedelta(days=1) + timedelta(minutes=389)),
        ("1m", {"session": "24x7"}, 100, OPEN + timedelta(minutes=95)),  # days without a break between them
        ("1m", {"session": "1700-1700", "timezone": "America/New_York"}, 100, OPEN + timedelta(minutes=95)),
        ("1d", HOURS, 0, OPEN - timedelta(days=5)),
        ("1m", None, 100, OPEN + timedelta(minutes=95)),
    ],
)
def test_an_increment_is_compared_back_to_the_day_before(
    store: BarStore, interval: str, hours: dict[str, str] | None, minute: int, expected: datetime
) -> None:
    store.upsert("NASDAQ:AAPL", interval, minutes(0, minute, hours=hours))
    watermark = OPEN + timedelta(minutes=minute)
    assert overlap_start(store, "NASDAQ:AAPL", Interval.parse(interval), watermark, 5) == expected
