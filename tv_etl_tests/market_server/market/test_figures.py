"""Economic figures: when a point is known, what it is stamped with, and what the server says of the symbol."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from tv_etl.market_server.market.listings import listings, symbol_info
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.seeded_market import MARKET, bars, source_of
from tv_etl_tests.market_server.talk import FRIDAY_NOON, Talk, only
from tv_etl_tests.market_server.talk import bars as rows_of

pytestmark = pytest.mark.pure

CPI, CLAIMS = "ECONOMICS:USCPI", "ECONOMICS:USIJC"
DAY = Interval.parse("1D")


def dates(symbol: str, count: int, now: float = FRIDAY_NOON, interval: str = "1D") -> list[str]:
    opens = bars(symbol, interval, count, now)[:, 0].tolist()
    return [f"{datetime(1970, 1, 1) + timedelta(seconds=opened):%Y-%m-%d}" for opened in opens]


def moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> float:
    return datetime(year, month, day, hour, minute, tzinfo=timezone.utc).timestamp()


def test_consumer_prices_have_a_point_a_month_since_1960_but_for_one() -> None:
    found = dates(CPI, 10_000)
    assert (len(found), found[0], found[-3:]) == (799, "1960-03-01", ["2026-08-01", "2026-09-01", "2026-10-01"])
    assert all(each.endswith("-01") for each in found) and "2025-10-01" not in found
    assert source_of(CPI).bars(DAY, FRIDAY_NOON, count=799).is_start


def test_claims_have_a_point_a_week() -> None:
    days = np.diff(bars(CLAIMS, "1D", 10_000)[:, 0]) / 86_400
    assert (len(days) + 1, set(days.tolist())) == (3_124, {7.0})


def test_a_point_is_published_after_the_time_that_it_is_of() -> None:
    """October's prices on 13 November at 08:30 in New York, a week's claims on the Thursday after it."""
    assert dates(CPI, 1, moment(2026, 11, 13, 13, 29)) == ["2026-09-01"]
    assert dates(CPI, 1, moment(2026, 11, 13, 13, 30)) == ["2026-10-01"]
    assert dates(CLAIMS, 1, moment(2026, 11, 19, 13, 29)) == ["2026-11-02"]
    assert dates(CLAIMS, 1, moment(2026, 11, 19, 13, 30)) == ["2026-11-09"]


def test_a_point_of_claims_is_revised_with_the_next_one() -> None:
    before, after = (bars(CLAIMS, "1D", 60, moment(2026, 11, day, 14)) for day in (19, 26))
    assert before[1:-1].tolist() == after[:-2].tolist()
    firsts = [bars(CLAIMS, "1D", 1, FRIDAY_NOON - 7 * 86_400 * week)[0, 4] for week in range(1, 20)]
    finals = bars(CLAIMS, "1D", 20)[-2::-1, 4]
    assert np.mean(firsts != finals) > 0 and np.abs(firsts / finals - 1).max() < 0.1


@pytest.mark.parametrize("symbol", [CPI, CLAIMS])
def test_a_point_is_one_value_and_wider_bars_are_made_of_points(symbol: str) -> None:
    points, months = bars(symbol, "1D", 10_000), bars(symbol, "1M", 10_000)
    assert (points[:, 1:] == points[:, 4:]).all() and (points[:, 1] > 0).all()
    opens = months[:, 0]
    number = np.searchsorted(opens, points[:, 0], side="right") - 1
    for place in (0, 1, -2, -1):
        inside = points[number == place % len(opens)]
        assert months[place].tolist()[1:] == [inside[0, 1], inside[:, 2].max(), inside[:, 3].min(), inside[-1, 4]]


def test_what_is_asked_for_is_cut_out_of_the_points() -> None:
    source, opens = source_of(CPI), bars(CPI, "1D", 10_000)[:, 0]
    assert source.bars(DAY, FRIDAY_NOON, count=2, before=int(opens[5])).rows[:, 0].tolist() == opens[3:5].tolist()
    found = source.bars(DAY, FRIDAY_NOON, start=int(opens[1]), before=int(opens[3]))
    assert (found.rows[:, 0].tolist(), found.is_start) == (opens[1:3].tolist(), False)
    assert len(source.bars(DAY, moment(1960, 3, 15), count=5)) == 0
    assert source.edition(moment(2026, 11, 13, 13, 30)) == source.edition(moment(2026, 11, 13, 13, 29)) + 1


def test_the_server_says_how_often_points_come() -> None:
    for symbol, every in ((CPI, "1M"), (CLAIMS, "1W")):
        info = symbol_info(listings()[symbol])
        assert (info["data_frequency"], info["type"], info["has_intraday"]) == (every, "economic", False)
        assert (info["session"], info["visible_plots_set"]) == ("24x7", "ohlc")
    assert "data_frequency" not in symbol_info(listings()["NASDAQ:AAPL"])


def test_a_client_gets_all_points_from_before_1970_on() -> None:
    messages = Talk().open_chart(CPI, "1D", 10_000)
    rows = rows_of(only(messages, "timescale_update"))
    assert len(rows) == 799 and rows[0][0] == -310_435_200.0
    assert only(messages, "series_completed")["p"][4]["data_completed"] == "end"
    everything = Talk().open_chart(CPI, "1D", 10, "ALL")
    assert len(rows_of(only(everything, "timescale_update"))) == 799
    first = Talk()
    first.open_chart(CPI)
    [answer] = first.say(("get_first_bar_time", "cs_1", "sym_1", "1D"))
    assert answer["p"][2] == -310_435_200


def test_a_figure_has_no_minutes_and_no_other_currency() -> None:
    messages = Talk().open_chart(CPI, "60")
    assert only(messages, "series_error")["p"][3] == f"unsupported resolution: {CPI}, 60"
    assert MARKET.find(CPI, currency="EUR") is None and MARKET.find(CPI, currency="USD") is not None


def test_a_quote_shows_the_newest_point() -> None:
    messages = Talk().say(
        ("quote_create_session", "qs_1"),
        ("quote_set_fields", "qs_1", "lp", "lp_time", "bid", "data_frequency", "first_bar_time_1d", "type"),
        ("quote_add_symbols", "qs_1", CPI),
    )
    values: dict[str, object] = {}
    for message in messages:
        values |= message["p"][1]["v"] if message["m"] == "qsd" else {}
    newest = bars(CPI, "1D", 1)[0]
    assert values == {
        "lp": newest[4],
        "lp_time": int(newest[0]) + 86_400,
        "data_frequency": "1M",
        "first_bar_time_1d": -310_435_200,
        "type": "economic",
    }


def test_a_new_point_reaches_a_client_live() -> None:
    talk = Talk(now=moment(2026, 11, 13, 13, 29))
    talk.open_chart(CPI, "1D", 5)
    assert talk.wait(2.0) == []
    update = only(talk.wait(2.0, market_seconds=120), "timescale_update")
    assert rows_of(update) == bars(CPI, "1D", 1).tolist()
