"""A date's bar opens when the symbol's own trading hours say so, from wherever these are known."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tv_etl.imports.errors import HoursError
from tv_etl.imports.hours import NO_OPEN, HoursBook, opens_of_days, require_known_groups
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.collect.served_market import PLAIN, SERIES, table
from tv_etl_tests.imports.samples import at

NEW_YORK = TradingHours("0930-1600", "America/New_York", "20240115")
CURRENCIES = TradingHours("1700-1700", "America/New_York")
TOLD = json.dumps({"session": "0930-1600", "timezone": "America/New_York", "session_holidays": "20240115"})


@pytest.mark.parametrize(
    ("hours", "interval", "date", "opens"),
    [
        (NEW_YORK, "1d", "2024-01-02", "2024-01-02 14:30"),
        (NEW_YORK, "1d", "2024-07-02", "2024-07-02 13:30"),
        (NEW_YORK, "1d", "2024-01-15", None),
        (NEW_YORK, "1d", "2024-01-06", None),
        (NEW_YORK, "1w", "2024-01-08", "2024-01-08 14:30"),
        (NEW_YORK, "1w", "2024-01-15", "2024-01-16 14:30"),
        (NEW_YORK, "1w", "2024-01-16", "2024-01-16 14:30"),
        (NEW_YORK, "1w", "2024-01-10", None),
        (NEW_YORK, "1mo", "2024-06-01", "2024-06-03 13:30"),
        (NEW_YORK, "1mo", "2024-06-03", "2024-06-03 13:30"),
        (NEW_YORK, "1mo", "2024-06-12", None),
        (CURRENCIES, "1d", "2024-01-02", "2024-01-01 22:00"),
        (CURRENCIES, "1d", "2024-07-01", "2024-06-30 21:00"),
        (TradingHours("24x7", "Etc/UTC"), "1d", "2024-01-06", "2024-01-06 00:00"),
        (TradingHours("0900-1130,1230-1500", "Asia/Tokyo"), "1d", "2024-01-04", "2024-01-04 00:00"),
        (TradingHours("1000-1600", "Australia/Sydney"), "1d", "2024-01-04", "2024-01-03 23:00"),
    ],
)
def test_the_bar_of_a_date_opens_with_its_session(
    hours: TradingHours, interval: str, date: str, opens: str | None
) -> None:
    found = opens_of_days(hours, Interval.parse(interval), np.array([at(date) // 86_400]))
    assert found.tolist() == [NO_OPEN if opens is None else at(opens)]


def test_no_dates_have_no_opens() -> None:
    assert not len(opens_of_days(NEW_YORK, Interval.parse("1d"), np.empty(0, np.int64)))


def test_nobody_knows_which_days_two_of_them_are() -> None:
    with pytest.raises(IntervalError, match="nobody knows which day such bars begin with"):
        require_known_groups(Interval.parse("2d"))
    require_known_groups(Interval.parse("3M"))


def test_the_lake_is_asked_before_the_server(tmp_path: Path) -> None:
    store, asked = BarStore(tmp_path), []

    def ask(symbol: str) -> Mapping[str, str]:
        asked.append(symbol)
        return {"trading_hours": TOLD, "kind": "stock"}

    store.upsert(*SERIES, table(PLAIN[:5], trading_hours=TOLD))
    book = HoursBook(store, None, ask)
    assert (book.of(SERIES.symbol).hours, dict(book.of(SERIES.symbol).facts), asked) == (NEW_YORK, {}, [])
    assert book.stored(SERIES.symbol, "regular") == NEW_YORK
    for _ in range(2):
        known = book.of("NYSE:IBM")
        assert (known.hours, known.facts["kind"], asked) == (NEW_YORK, "stock", ["NYSE:IBM"])
    assert book.stored("NYSE:GE", "regular") is None


def test_hours_that_are_declared_are_taken(tmp_path: Path) -> None:
    book = HoursBook(BarStore(tmp_path), CURRENCIES, None)
    assert (book.of("FX:EURUSD").hours, book.stored("FX:EURUSD", "regular")) == (CURRENCIES, CURRENCIES)


def test_what_would_be_right_is_said_where_nobody_knows_the_hours(tmp_path: Path) -> None:
    right = "fetch bars of the symbol into the lake first, or say --hours 0930-1600@America/New_York"
    with pytest.raises(HoursError, match=f"NYSE:IBM: the lake has no trading hours of it .*{right}"):
        HoursBook(BarStore(tmp_path), None, None).of("NYSE:IBM")

    def ask(symbol: str) -> Mapping[str, str]:
        raise SymbolError(symbol, "no such symbol")

    with pytest.raises(HoursError, match=f"NYSE:IBM: its trading hours.* cannot be had: .*no such symbol; .*{right}"):
        HoursBook(BarStore(tmp_path), None, ask).of("NYSE:IBM")
