"""What nothing fetches is told before it is lost, with what to do; what something fetches is not."""

from datetime import timedelta

import pytest

from tv_etl.lake.coverage import Coverage
from tv_etl.lake.record import Period, SeriesRecord
from tv_etl.orchestration.unfetched import Unfetched, find_unfetched
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

DAY, WINDOW = 86_400, 5_000 * 60
ASKED_UNTIL = 1_793_836_800  # 2026-11-05 00:00Z
GROUP = Group(symbols=["BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "A:A", "A:B"], intervals=["1m", "1h", "1d"])


def coverage(
    now: float, symbol: str = "BINANCE:BTCUSDT", interval: str = "1m", *, until: int = ASKED_UNTIL
) -> Coverage:
    """A market that never closes, asked up to some time."""
    period = Period(60, until - 3_600, until - 60, 4_000, until - 3_600, until)
    record = SeriesRecord(Series.of(symbol, interval), asked=((until - DAY, until),), periods={"2026-11": period})
    return Coverage(record, now)


def test_it_is_told_within_a_day_of_the_loss_and_not_before() -> None:
    lost_from = ASKED_UNTIL + WINDOW
    assert find_unfetched(GROUP, [coverage(lost_from - DAY - 3_600)]) == []
    [found] = find_unfetched(GROUP, [coverage(lost_from - DAY + 3_600)])
    assert (found.group, found.interval, found.schedule) == ("bars", "1m", "bars_1m")
    assert abs(found.lost_from - utc(lost_from)) <= timedelta(minutes=2)
    assert found.partitions == ["1m|BINANCE:BTCUSDT"]
    assert find_unfetched(GROUP, [coverage(lost_from - DAY - 3_600)], within=timedelta(days=2)) != []


def test_what_was_asked_for_a_moment_ago_is_fetched_by_something() -> None:
    """Of seconds the server never has a day."""
    group = Group.model_construct(**{**dict(GROUP), "intervals": ["5s"]})
    assert find_unfetched(group, [coverage(ASKED_UNTIL + 1_800, interval="5s")]) == []
    assert len(find_unfetched(group, [coverage(ASKED_UNTIL + 4_000, interval="5s")])) == 1


def test_bars_of_days_are_never_lost() -> None:
    assert find_unfetched(GROUP, [coverage(ASKED_UNTIL + 400 * DAY, interval="1d")]) == []


@pytest.mark.parametrize(
    ("schedules", "is_on", "advice"),
    [
        ({}, False, "switch on schedule bars_1m"),
        ({}, True, "schedule bars_1m is on: look at its ticks and runs"),
        ({"1m": None}, None, "no schedule of bars fetches 1m: give it one in the watchlist"),
    ],
)
def test_it_says_what_to_do(schedules: dict[str, str | None], is_on: bool | None, advice: str) -> None:
    group = GROUP.model_copy(update={"schedules": schedules})
    now = ASKED_UNTIL + 3 * DAY
    coverages = [coverage(now, symbol) for symbol in GROUP.symbols]
    coverages.append(coverage(now, "A:C", until=ASKED_UNTIL - 600))
    [found] = find_unfetched(group, coverages, {"bars_1m": is_on}.get)
    text = str(found)
    assert text.startswith("bars of A:C, A:A, A:B and 2 more at 1m will be lost from 2026-11-08 11:1")
    assert text.endswith(f"on: nothing has fetched them since 2026-11-05 00:00Z; {advice}")


def test_what_is_lost_first_comes_first() -> None:
    now = ASKED_UNTIL + 210 * DAY
    found: list[Unfetched] = find_unfetched(GROUP, [coverage(now, interval="1h"), coverage(now, interval="1m")])
    assert [each.interval for each in found] == sorted(
        (each.interval for each in found), key={each.interval: each.lost_from for each in found}.__getitem__
    )
    assert len(found) == 2
