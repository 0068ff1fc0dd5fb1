"""What servers write into Retry-After."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.retry_after import MAX_RETRY_AFTER_S, read_retry_after

pytestmark = pytest.mark.pure

DATE = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Sun, 22 Nov 2026 10:02:00 GMT", 120.0),
        ("Sunday, 22-Nov-26 10:02:00 GMT", 120.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Mon, 22 Nov 2027 10:00:00 GMT", MAX_RETRY_AFTER_S),
        ("99999999999999999999", MAX_RETRY_AFTER_S),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
    ],
)
def test_seconds_and_dates_are_read(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, DATE) == seconds


def test_a_date_needs_the_answers_own_date() -> None:
    assert read_retry_after("Sun, 22 Nov 2026 10:02:00 GMT") is None


@given(st.text(), st.text())
def test_no_header_can_break_it(text: str, date: str) -> None:
    seconds = read_retry_after(text, date)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S
