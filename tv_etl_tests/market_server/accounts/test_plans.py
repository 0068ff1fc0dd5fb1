from itertools import pairwise

import pytest

from tv_etl.market_server.accounts.plans import ANONYMOUS, PLANS
from tv_etl.tradingview.intervals import Interval


@pytest.mark.parametrize("interval", ["1", "3", "15", "240", "1D", "1W", "1M", "12M"])
def test_every_account_has_the_usual_intervals(interval: str) -> None:
    assert [plan.refusal(Interval.parse(interval)) for plan in PLANS.values()] == [None] * 7


@pytest.mark.parametrize(
    ("interval", "reason", "first_plan"),
    [
        ("10S", "seconds_not_entitled", "premium"),
        ("7", "custom_resolution", "essential"),
        ("188", "custom_resolution", "essential"),
        ("1T", "ticks_not_entitled", "expert"),
        ("10R", "resolution_not_entitled", "essential"),
    ],
)
def test_paid_intervals_are_refused_in_the_servers_words(interval: str, reason: str, first_plan: str) -> None:
    assert ANONYMOUS.refusal(Interval.parse(interval)) == reason
    names = list(PLANS)
    having = names.index(first_plan)
    refusals = [plan.refusal(Interval.parse(interval)) for plan in PLANS.values()]
    assert refusals == [reason] * having + [None] * (len(names) - having)


def test_a_dearer_plan_never_has_less() -> None:
    plans = list(PLANS.values())
    for cheap, dear in pairwise(plans):
        assert cheap.intraday_bars <= dear.intraday_bars
        assert cheap.series_per_session <= dear.series_per_session
        assert cheap.rt_update_period >= dear.rt_update_period
        assert (cheap.max_connections or 0) <= (dear.max_connections or 0)
    assert PLANS["premium"].intraday_bars == 20_000 and PLANS["ultimate"].intraday_bars == 40_000
