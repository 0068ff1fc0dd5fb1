"""Columns are found by their names, and whoever writes them so is known by these."""

from pathlib import Path

import pytest

from tv_etl.imports.errors import FormError
from tv_etl.imports.forms import forms_of

PATH = Path("a.csv")


def names(text: str) -> list[str]:
    return text.split(",")


@pytest.mark.parametrize(
    ("columns", "form", "may_form", "adjustment"),
    [
        ("time,open,high,low,close,Volume,RSI", "a chart's export", True, "splits"),
        ("symbol,interval,timestamp,open,high,low,close,volume", "tv-etl", False, "splits"),
        ("timestamp,open,high,low,close,volume,symbol,interval", "tvkit", True, "splits"),
        ("datetime,symbol,open,high,low,close,volume", "tvDatafeed", True, "splits"),
        ("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", "yfinance", True, ""),
        ("Date,Open,High,Low,Close,Adj Close,Volume", "yfinance", True, "splits"),
        ("Datetime,Open,High,Low,Close,Adj Close,Volume", "yfinance", True, "splits"),
        ("date,open,high,low,close,volume", "freqtrade", False, "splits"),
    ],
)
def test_a_form_is_known_by_its_columns(columns: str, form: str, may_form: bool, adjustment: str) -> None:
    (found,) = forms_of(PATH, names(columns), {})
    assert (found.name, found.may_form, found.adjustment) == (form, may_form, adjustment)
    places = {field: names(columns)[place].lower() for field, place in found.places.items()}
    assert all(name == field or field == "time" for field, name in places.items())
    assert found.is_labelled == ("symbol" in columns)


def test_columns_can_be_named() -> None:
    (found,) = forms_of(PATH, names("t,o,open,high,low,last"), {"time": "t", "close": "last"})
    assert (found.name, found.adjustment, found.may_form) == ("named columns", "", False)
    assert found.places == {"time": 0, "open": 2, "high": 3, "low": 4, "close": 5}


def test_the_first_of_many_volumes_is_a_charts_own() -> None:
    (found,) = forms_of(PATH, names("time,open,high,low,close,Plot,Volume,Volume,Plot"), {})
    assert found.places["volume"] == 6


@pytest.mark.parametrize("are_levels", [True, False])
def test_series_side_by_side_are_told_by_their_ticker(are_levels: bool) -> None:
    fields, tickers = names("Open,High,Low,Close,Open,High,Low,Close"), ["A"] * 4 + ["B"] * 4
    if are_levels:
        found = forms_of(PATH, ["Date", *fields], {}, ["", *tickers])
    else:
        found = forms_of(PATH, ["Date", *(f"('{one}', '{two}')" for one, two in zip(fields, tickers, strict=True))], {})
    assert [(each.ticker, each.places["time"], each.places["open"]) for each in found] == [("A", 0, 1), ("B", 0, 5)]


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ("time,open,high,close", {}, r"no column is named low: --column low=NAME says which of 'time', 'open'"),
        ("open,high,low,close", {}, r"no column is named time: --column time=NAME"),
        ("time,open,high,low,close,close", {}, r"two columns are named 'close'"),
        ("time,open,high,low,close", {"close": "last"}, r"it has no column 'last'; its columns are 'time', 'open'"),
    ],
)
def test_columns_that_are_missing_or_twice_are_told(columns: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(FormError, match=message):
        forms_of(PATH, names(columns), given)


def test_of_hundreds_of_columns_some_are_told() -> None:
    with pytest.raises(FormError, match="'19' and 280 more"):
        forms_of(PATH, [str(number) for number in range(300)], {})
