import pytest

from tv_etl.market_server.plans import ANONYMOUS
from tv_etl.tradingview.intervals import Interval


@pytest.mark.parametrize("interval", ["1", "3", "15", "240", "1D", "1W", "1M", "12M"])
def test_an_anonymous_account_has_the_usual_intervals(interval: str) -> None:
    assert ANONYMOUS.refusal(Interval.parse(interval)) is None


@pytest.mark.parametrize(
    ("interval", "reason"),
    [
        ("10S", "seconds_not_entitled"),
        ("7", "custom_resolution"),
        ("188", "custom_resolution"),
        ("1T", "ticks_not_entitled"),
        ("10R", "resolution_not_entitled"),
    ],
)
def test_paid_intervals_are_refused_in_the_servers_words(interval: str, reason: str) -> None:
    assert ANONYMOUS.refusal(Interval.parse(interval)) == reason
