"""What a request will take is told by its own pager, on a market that only its hours are known of."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tv_etl.tradingview.estimate import BYTES_PER_BAR, BYTES_PER_REQUEST, Estimate, duration_s, estimate
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.trading_hours import TradingHours

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 18, 15, 0, 30, tzinfo=timezone.utc)
NEW_YORK = TradingHours("0930-1600", "America/New_York")


def estimated(
    interval: str, *, hours: TradingHours | None = None, window: int | None = None, **request: Any
) -> Estimate:
    return estimate(HistoryRequest("X:Y", interval, **request), now_s=NOW.timestamp(), hours=hours, window=window)


@pytest.mark.parametrize(
    ("interval", "request_", "window", "pages", "bars"),
    [
        ("1m", {"bars_count": 301}, 5_000, 1, 301),
        ("1m", {"bars_count": 5_000}, 5_000, 1, 5_000),
        ("1m", {"bars_count": 9_001}, 5_000, 2, 5_000),  # the second page says that there is no more
        ("1m", {"bars_count": 9_001}, None, 2, 9_001),
        ("1d", {"bars_count": 5_001}, None, 2, 5_001),
        ("1w", {"bars_count": 100}, None, 1, 100),
        ("1mo", {"bars_count": 100}, None, 1, 100),
        ("2d", {"bars_count": 100}, None, 1, 100),  # which days share a bar is not known
        ("100t", {"bars_count": 5_500}, None, 2, 5_500),
        ("1h", {"start": NOW - timedelta(hours=10)}, 5_000, 1, 12),
        ("1m", {"start": NOW - timedelta(days=30)}, None, 9, 43_203),
        ("1m", {"bars_count": 10, "end": NOW - timedelta(minutes=100)}, 5_000, 1, 112),
    ],
)
def test_pages_and_bars_are_those_of_a_market_that_never_closes(
    interval: str, request_: dict[str, Any], window: int | None, pages: int, bars: int
) -> None:
    assert estimated(interval, window=window, **request_) == Estimate(pages, bars)


def test_hours_tell_how_far_the_bars_of_a_page_reach() -> None:
    """A week of minutes may be 10,080 bars or 1,950: the first page holds all of the latter."""
    start = NOW - timedelta(days=7)
    assert estimated("1m", start=start).pages == 3
    assert estimated("1m", start=start, hours=NEW_YORK) == Estimate(1, 5_000)


@pytest.mark.parametrize("hours", [None, NEW_YORK])
def test_all_of_history_is_no_more_than_two_centuries(hours: TradingHours | None) -> None:
    found = estimated("1d", start=datetime(1, 1, 1, tzinfo=timezone.utc), hours=hours)
    assert 226 * 260 < found.bars < 227 * 366 and found.pages == found.bars // 5_000 + 1


def test_bytes_count_bars_and_requests() -> None:
    assert Estimate(2, 1_000).bytes == BYTES_PER_REQUEST + 1_000 * BYTES_PER_BAR


def test_many_requests_share_the_pace_and_pages_follow_each_other() -> None:
    one = duration_s([Estimate(1, 1)])
    assert duration_s([]) == 0 and one == pytest.approx(1.0, abs=0.1)
    assert duration_s([Estimate(10, 1)]) == pytest.approx(5.5, abs=0.1)
    assert duration_s([Estimate(1, 1)] * 8) == pytest.approx(one, abs=0.1), "as many are in flight at a time"
    assert one < duration_s([Estimate(1, 1)] * 20) < duration_s([Estimate(1, 1)] * 200) < 200 * 0.5 / 8
