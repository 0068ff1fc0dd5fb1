"""What is accepted as a cron expression is one for Dagster as well."""

import pytest
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.watchlist.cron import CronError, check_cron, most_ticks_a_day

numbers = st.integers(0, 62).map(str)
names = st.sampled_from(["mon", "Fri", "jan", "DEC", "x", "", "-1"])
words = st.one_of(numbers, names, st.just("*"))
parts = st.one_of(
    words,
    st.tuples(numbers, numbers).map("-".join),
    st.tuples(st.one_of(st.just("*"), st.tuples(numbers, numbers).map("-".join)), numbers).map("/".join),
)
fields = st.lists(parts, min_size=1, max_size=2).map(",".join)


@given(st.lists(fields, min_size=4, max_size=6).map(" ".join))
def test_dagster_can_follow_what_is_accepted(text: str) -> None:
    try:
        check_cron(text)
    except CronError:
        return
    assert is_valid_cron_string(text)


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "*/5 * * * *",
        "0,30 9-16 * * mon-fri",
        "5 4 1 JAN,jul *",
        "@daily",
        "0 0 29 2 *",
        "0 22 * * 1-5",
        "7/15 * * * 7",
    ],
)
def test_usual_expressions_are_accepted(text: str) -> None:
    assert check_cron(text) == text
    assert is_valid_cron_string(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected five fields"),
        ("* * * *", "expected five fields"),
        ("* * * * * *", "expected five fields"),
        ("60 * * * *", "'60' is not a valid minute: expected 0 to 59"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of the month"),
        ("* * * 13 *", "'13' is not a valid month"),
        ("* * * * fr", "'fr' is not a valid day of the week"),
        ("30-10 * * * *", "the minute range ends before it begins"),
        ("*/0 * * * *", "a step must be at least 1"),
        ("1- * * * *", "'1-' is not a valid minute: expected e.g."),
        ("0 0 31 4,6 *", "none of these months has a day 31"),
        ("@often", "expected five fields"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(CronError, match=words.replace("*", r"\*")):
        check_cron(text)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("20,50 * * * *", 48),
        ("1-59/5 * * * *", 288),
        ("*/10,0,30 9-16 * * mon-fri", 48),
        ("40 */6 1 * *", 4),
        ("@hourly", 24),
        ("@weekly", 1),
    ],
)
def test_ticks_of_a_day_are_counted(text: str, ticks: int) -> None:
    assert most_ticks_a_day(text) == ticks
