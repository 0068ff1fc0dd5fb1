from datetime import datetime

import pytest

from tv_etl.market_server.market import holiday_lists

LISTS = ["INDIA", "KOREA", "JAPAN", "HONG_KONG", "CHINA", "THAILAND"]


@pytest.mark.parametrize("name", LISTS)
def test_days_are_dates_in_ascending_order_and_cover_the_years(name: str) -> None:
    days = getattr(holiday_lists, name)
    assert list(days) == sorted(set(days))
    years = {datetime.strptime(day, "%Y%m%d").year for day in days}
    assert set(range(2020, 2027)) <= years


@pytest.mark.parametrize("name", LISTS[1:])
def test_every_year_has_its_new_year_and_some_more(name: str) -> None:
    for year in range(2020, 2028):
        days = [day for day in getattr(holiday_lists, name) if day.startswith(str(year))]
        assert 9 <= len(days) <= 25, (name, year)


def test_special_sessions_are_on_days_of_their_own() -> None:
    days = [day for dates in holiday_lists.INDIA_SPECIAL_SESSIONS.values() for day in dates]
    assert len(days) == len(set(days))
    assert not set(holiday_lists.HONG_KONG_EVES) & set(holiday_lists.HONG_KONG)
