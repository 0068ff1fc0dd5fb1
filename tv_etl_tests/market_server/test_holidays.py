from tv_etl.market_server import holidays
from tv_etl_tests.market_server.samples import sample


def _aapl() -> dict[str, object]:
    return dict(sample("mktcli-20260821-history-ok", 2)["p"][2])


def test_new_york_holidays_are_those_tradingview_sends() -> None:
    recorded = str(_aapl()["session_holidays"]).split(",")
    ours = [day for day in holidays.us_equity_holidays() if day < "2028"]
    assert ours == recorded


def test_half_days_are_those_tradingview_sends_but_for_named_ones() -> None:
    subsessions = _aapl()["subsessions"]
    assert isinstance(subsessions, list)
    correction = next(each["session-correction"] for each in subsessions if each["id"] == "regular")
    half_days, day_off = correction.split(";")
    recorded = set(half_days.partition(":")[2].split(","))
    ours = {day for day in holidays.us_equity_half_days() if day < "2028"}
    # The recording leaves out 2020's, and makes one up for the eve of an observed Christmas.
    assert ours ^ recorded == {"20201127", "20201224", "20271223"}
    assert holidays.us_equity_days_off() == (day_off.partition(":")[2],)


def test_futures_trade_on_most_holidays_of_the_exchanges_but_shorter() -> None:
    assert "20251127" in holidays.us_futures_half_days()
    assert "20250418" in holidays.us_futures_holidays()
    assert not set(holidays.us_futures_holidays()) & set(holidays.us_futures_half_days())


def test_currencies_rest_on_new_year_and_christmas() -> None:
    assert [day for day in holidays.currency_holidays() if day.startswith("2026")] == ["20260101", "20261225"]
