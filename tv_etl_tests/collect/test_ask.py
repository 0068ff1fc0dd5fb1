"""What is asked for reaches into the stored bars before it, and never ends before now."""

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tv_etl.collect.ask import (
    OVERLAP_BARS,
    Ask,
    Want,
    ask,
    backfill,
    increment,
    is_audit_due,
    newest,
    reaching_start,
    refetch,
    refetch_stored,
    unless_stored,
)
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SETTINGS, at, second, table

NOW = second(900) + 30
OPEN = datetime.fromisoformat("2026-11-18T14:30:00+00:00")  # 09:30 in New York
HOURS = {"session": "0930-1600", "timezone": "America/New_York", "session_holidays": "20261126"}


def asked(store: BarStore, want: Want, now: float = NOW) -> Ask | None:
    return store.look(SERIES, lambda stored: ask(stored, want, now))


def start_of(store: BarStore, want: Want) -> datetime | None:
    found = asked(store, want)
    assert found is not None
    assert found.request.end is None or found.request.up_to_now
    assert found.request.series == SERIES
    return found.request.start


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    """Two stretches: bars 100 to 199 and 700 to 898, with an island of time in between that nobody asked for."""
    store = BarStore(tmp_path)
    for first, after in ((100, 200), (700, 899)):
        rows = PLAIN[first:after]
        store.upsert(*SERIES, table(rows, asked_from=second(first), asked_until=second(after)))
    return store


def test_a_new_series_is_asked_for_its_newest_bars(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for want in (increment(SETTINGS, 300), refetch_stored(SETTINGS, 300), unless_stored(increment(SETTINGS, 300))):
        found = asked(store, want)
        assert found is not None
        assert (found.request.bars_count, found.request.start, found.seen) == (300, None, SeriesRecord(SERIES))
    everything = asked(store, increment(SETTINGS, None))
    assert everything is not None
    assert (everything.request.bars_count, everything.request.start) == (None, None)


def test_an_increment_reaches_into_the_newest_bars(store: BarStore) -> None:
    store.upsert(*SERIES, table([], asked_from=second(200), asked_until=second(700)))
    assert start_of(store, increment(SETTINGS, 300)) == at(898 - OVERLAP_BARS)


def test_an_increment_fills_a_hole_and_reaches_into_what_is_before_it(store: BarStore) -> None:
    assert start_of(store, increment(SETTINGS, 300)) == at(199 - OVERLAP_BARS)
    gone = table([], window_bars=200, window_from=second(700))
    store.upsert(*SERIES, gone)
    assert start_of(store, increment(SETTINGS, 300)) == at(898 - OVERLAP_BARS), "the server has nothing of the hole"


def test_a_backfill_asks_for_what_nobody_asked_for(store: BarStore) -> None:
    assert start_of(store, backfill(SETTINGS, at(150), at(900))) == at(199 - OVERLAP_BARS)
    assert start_of(store, backfill(SETTINGS, at(650), at(660))) == at(199 - OVERLAP_BARS)
    assert start_of(store, backfill(SETTINGS, at(0), None)) == at(0), "nothing is stored before"
    assert start_of(store, backfill(SETTINGS, None, at(50))) is None
    assert asked(store, backfill(SETTINGS, at(120), at(180))) is None
    assert asked(store, backfill(SETTINGS, at(750), at(899))) is None


def test_a_refetch_asks_for_what_is_known_as_well(store: BarStore) -> None:
    assert start_of(store, refetch(SETTINGS, at(750))) == at(749 - OVERLAP_BARS)
    assert start_of(store, refetch(SETTINGS, at(650))) == at(199 - OVERLAP_BARS)
    assert start_of(store, refetch(SETTINGS, None)) is None
    assert start_of(store, refetch_stored(SETTINGS, 300)) == at(100)


def test_so_many_bars_before_an_end_come_with_all_that_are_newer(store: BarStore) -> None:
    found = asked(store, newest(SETTINGS, 50, at(850)))
    assert found is not None
    assert (found.request.bars_count, found.request.end, found.request.up_to_now) == (50, at(850), True)


def test_once_a_week_all_that_is_stored_is_asked_for(tmp_path: Path) -> None:
    """An increment looks at the newest bars only: a split that the server applies weeks late changes none of them."""
    week = 7 * 86_400
    store = BarStore(tmp_path, clock=lambda: float(NOW))
    store.upsert(*SERIES, table(PLAIN[100:899], asked_from=second(100), asked_until=second(899)))
    assert store.record(*SERIES).audited_at == NOW
    due = [hour for hour in range(2 * 7 * 24) if start_at(store, NOW + 3_600 * hour, week) == at(100)]
    assert due == list(range(due[0], 2 * 7 * 24)), "from a moment of its own on, until it was done"
    assert due[0] <= 7 * 24
    moments = {hour_of_audit(symbol, week) for symbol in range(200)}
    assert len(moments) > 100, "series take turns"
    assert start_at(store, NOW + 20 * week, math.inf) == at(898 - OVERLAP_BARS), "never, if nobody wants it"


def start_at(store: BarStore, now: float, audit_s: float) -> datetime | None:
    found = asked(store, increment(SETTINGS, 300, audit_s=audit_s), now)
    assert found is not None
    return found.request.start


def hour_of_audit(symbol: int, audit_s: float) -> int:
    record = SeriesRecord(Series.of(f"X:{symbol}", "1m"), audited_at=NOW)
    return next(hour for hour in range(7 * 24 + 1) if is_audit_due(record, NOW + 3_600 * hour, audit_s))


def test_what_is_stored_need_not_be_asked_for(store: BarStore) -> None:
    assert asked(store, unless_stored(increment(SETTINGS, 300))) is None


def test_what_is_lost_next_is_more_urgent(store: BarStore) -> None:
    first, later = asked(store, increment(SETTINGS, 300)), asked(BarStore(f"{store.base}-new"), increment(SETTINGS, 9))
    assert first is not None and later is not None
    assert first.urgency < later.urgency


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
    interval: str, hours: dict[str, str] | None, minute: int, expected: datetime
) -> None:
    facts = {} if hours is None else {"trading_hours": json.dumps(hours)}
    record = SeriesRecord(Series.of("NASDAQ:AAPL", interval), facts)
    assert reaching_start(record, utc(OPEN.timestamp() + 60 * minute)) == expected


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("newest", ["0001-01-01T00:00+00:00", "0001-01-03T00:00+00:00", "9999-12-31T23:59+00:00"])
def test_at_an_end_of_the_calendar_the_start_is_near_the_newest_bar(newest: str, zone: str) -> None:
    hours = {"trading_hours": json.dumps({**HOURS, "timezone": zone})}
    record, moment = SeriesRecord(Series.of("NASDAQ:AAPL", "1h"), hours), datetime.fromisoformat(newest)
    assert (moment - reaching_start(record, moment)).days <= 1
