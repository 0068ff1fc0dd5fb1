from tv_etl.market_server.market import holidays
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


def in_year(days: tuple[str, ...], year: int) -> list[str]:
    return [day for day in days if day.startswith(str(year))]


def test_europe_rests_at_easter_and_christmas() -> None:
    assert in_year(holidays.euronext_holidays(), 2025) == ["20250101", "20250418", "20250421", "20250501", "20251225",
                                                           "20251226"]  # fmt: skip
    assert in_year(holidays.euronext_half_days(), 2025) == ["20251224", "20251231"]
    assert set(holidays.xetra_holidays()) == {*holidays.euronext_holidays(), *holidays.euronext_half_days()}


def test_london_rests_on_bank_holidays_and_when_the_crown_says_so() -> None:
    assert in_year(holidays.london_holidays(), 2022) == ["20220103", "20220415", "20220418", "20220502", "20220602",
                                                         "20220603", "20220829", "20220919", "20221226",
                                                         "20221227"]  # fmt: skip
    assert in_year(holidays.london_holidays(), 2021)[-2:] == ["20211227", "20211228"]


def test_brazil_rests_at_carnival() -> None:
    assert {"20250303", "20250304", "20250418", "20250619", "20251120"} <= set(holidays.brazil_holidays())
