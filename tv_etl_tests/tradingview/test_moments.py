from datetime import datetime, timedelta, timezone

import pytest

from tv_etl.tradingview.moments import parse_moment, utc

pytestmark = pytest.mark.pure

HALF_PAST_TWO = datetime(2026, 11, 2, 14, 30, tzinfo=timezone.utc)


def test_seconds_are_counted_from_1970_in_utc() -> None:
    assert utc(0) == datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert utc(HALF_PAST_TWO.timestamp()) == HALF_PAST_TWO


@pytest.mark.parametrize("text", ["2026-11-02T14:30:00Z", "2026-11-02T14:30z", "2026-11-02T15:30+01:00"])
def test_an_offset_is_read_in_every_spelling(text: str) -> None:
    assert parse_moment(text) == HALF_PAST_TWO
    assert parse_moment(text, timezone(timedelta(hours=9))) == HALF_PAST_TWO


def test_without_an_offset_it_is_a_time_in_the_zone_that_is_given() -> None:
    assert parse_moment("2026-11-02", timezone.utc) == datetime(2026, 11, 2, tzinfo=timezone.utc)
    with pytest.raises(ValueError, match=r"'2026-11-02' has no UTC offset; write e\.g\. 2026-11-02T14:30:00\+00:00"):
        parse_moment("2026-11-02")


@pytest.mark.parametrize("text", ["soon", "", "2026-13-01", "1790000000"])
def test_what_is_not_a_time_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is not a time"):
        parse_moment(text, timezone.utc)
