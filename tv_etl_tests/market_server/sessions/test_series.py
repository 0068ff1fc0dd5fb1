from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.market_server.accounts.plans import ANONYMOUS
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.timescale import BarsTexts
from tv_etl.market_server.sessions.ranges import Range
from tv_etl.market_server.sessions.series import ServedSeries
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure

MARKET, TEXTS = Market(7), BarsTexts()
PLAN = replace(ANONYMOUS, intraday_bars=200)


def series(interval: str = "60", symbol: str = "NASDAQ:AAPL") -> ServedSeries:
    return ServedSeries("sds_1", "s1", "sym_1", symbol, Interval.parse(interval), MARKET.find(symbol))


@settings(max_examples=15, deadline=None)
@given(first=st.integers(1, 80), pages=st.lists(st.integers(1, 90), max_size=6))
def test_pages_join_to_the_window_whatever_their_sizes(first: int, pages: list[int]) -> None:
    paged, whole = series(), series()
    paged.load(Range(first), PLAN, TEXTS, FRIDAY_NOON)
    for count in pages:
        before = len(paged.rows)
        older = paged.load_older(PLAN, TEXTS, FRIDAY_NOON, count=count)
        assert (older is None) == (len(paged.rows) == before)
        assert paged.first_index == first - len(paged.rows)
    total = min(first + sum(pages), 200)
    whole.load(Range(total), PLAN, TEXTS, FRIDAY_NOON)
    assert paged.rows.tolist() == whole.rows.tolist()
    assert paged.reached == ("limit" if first + sum(pages) > 200 else "")


def test_an_unknown_symbols_series_has_nothing_to_give() -> None:
    empty = series(symbol="NASDAQ:NOPE")
    assert empty.load_older(PLAN, TEXTS, FRIDAY_NOON, count=5) is None
    assert len(empty.changed_rows(FRIDAY_NOON)[0]) == 0
    assert empty.frame_indexes(Range(start=5)) == (0, 0)
    assert empty.start_of(Range(start=5)) == 5


def test_a_range_in_the_past_is_not_live() -> None:
    past = series("1D")
    past.load(Range(5, before=int(FRIDAY_NOON) - 10 * 86_400), PLAN, TEXTS, FRIDAY_NOON)
    assert len(past.rows) == 5 and not past.is_live
    assert len(past.changed_rows(FRIDAY_NOON + 3_600)[0]) == 0


def test_a_range_before_all_history_is_empty() -> None:
    ancient = series("1D")
    assert ancient.load(Range(5, before=1_000), PLAN, TEXTS, FRIDAY_NOON) == []
    assert ancient.load_older(PLAN, TEXTS, FRIDAY_NOON, count=5) is None


def test_a_range_that_holds_no_bar_is_empty() -> None:
    weekend = series("1D")
    saturday = int(FRIDAY_NOON) // 86_400 * 86_400 + 86_400
    weekend.load(Range(start=saturday, before=saturday + 86_400), PLAN, TEXTS, FRIDAY_NOON + 3 * 86_400)
    assert len(weekend.rows) == 0


def test_intraday_ranges_before_the_window_are_empty() -> None:
    old = series("60")
    month_ago = int(FRIDAY_NOON) - 200 * 86_400
    old.load(Range(5, before=month_ago), PLAN, TEXTS, FRIDAY_NOON)
    assert len(old.rows) == 0 and old.reached == "limit"
