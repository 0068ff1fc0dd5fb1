from datetime import datetime, timezone
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tv_etl.lake.layout import MAX_SEGMENT_BYTES, is_period, is_soon_over, path_segment, period_range, period_runs
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.intervals import Interval

TIMES = st.datetimes(datetime(1, 1, 1), datetime(9998, 12, 31)).map(
    lambda moment: int(moment.replace(tzinfo=timezone.utc).timestamp())
)


@given(st.text(max_size=60))
@example("../../etc/passwd")
@example("..")
@example("A/B")
@example("CON")
@example("NASDAQ:AAPL=x%3A")
@example("\U0001f680:\U0001f680")
def test_a_symbol_is_one_segment_that_decodes_back_or_is_refused(symbol: str) -> None:
    try:
        segment = path_segment(symbol)
    except SymbolError as error:
        assert error.symbol == symbol
        return
    assert unquote(segment) == symbol
    assert segment.isascii()
    assert len(segment) <= MAX_SEGMENT_BYTES
    assert PurePosixPath("lake", segment).parent == PurePosixPath("lake")
    assert not set(segment) & set('/\\:*?"<>|=&') and segment not in (".", "..")


@pytest.mark.parametrize("symbol", ["", ".", "..", "A\x00B", "A\nB", "\x7f", "A\x85", "\ud800", "A" * 201, "é" * 34])
def test_what_cannot_be_a_directory_is_refused_by_name(symbol: str) -> None:
    with pytest.raises(SymbolError) as caught:
        path_segment(symbol)
    assert caught.value.symbol == symbol


def test_the_documented_example_is_encoded_so() -> None:
    assert path_segment("NASDAQ:AAPL") == "NASDAQ%3AAAPL"
    assert path_segment("NSE:M&M") == "NSE%3AM%26M"


@pytest.mark.parametrize(
    ("interval", "period"),
    [
        ("1s", "2026-11-22"), ("30s", "2026-11-22"), ("1m", "2026-11"), ("90s", "2026-11"), ("3m", "2026-11"),
        ("5m", "2026"), ("4h", "2026"), ("24h", "all"), ("1d", "all"), ("1w", "all"), ("1mo", "all"),
    ],
)  # fmt: skip
def test_the_period_follows_the_width(interval: str, period: str) -> None:
    time = int(datetime(2026, 11, 22, 23, 59, 59, tzinfo=timezone.utc).timestamp())
    assert period_runs(np.array([time]), Interval.parse(interval)) == [(period, 0, 1)]


def test_only_days_and_months_are_soon_over() -> None:
    tokens = ("1s", "1m", "3m", "5m", "1h", "1d", "1mo")
    assert [token for token in tokens if is_soon_over(Interval.parse(token))] == ["1s", "1m", "3m"]


@given(st.lists(TIMES, min_size=1, max_size=5), st.sampled_from(["1s", "1m", "5m", "1d"]))
def test_a_time_lies_in_the_range_of_its_period_alone(times: list[int], token: str) -> None:
    interval = Interval.parse(token)
    runs = period_runs(np.array(sorted(times)), interval)
    labels = [label for label, first, after in runs for _ in range(first, after)]
    assert labels == sorted(labels), "periods sort as their names do"
    assert len(runs) == len(set(labels))
    for time, label in zip(sorted(times), labels, strict=True):
        first, after = period_range(label, interval)
        assert is_period(label, interval)
        assert (first is None or first <= time) and (after is None or time < after)
        if after is not None:
            assert period_runs(np.array([after]), interval) != [(label, 0, 1)]


@pytest.mark.parametrize(
    ("text", "token"),
    [("2026-13", "1m"), ("2026", "1m"), ("2026-11", "1h"), ("2026", "1d"), ("all", "1m"), ("٢٠٢٦", "1h"), ("", "1d")],
)
def test_other_names_are_no_periods(text: str, token: str) -> None:
    assert not is_period(text, Interval.parse(token))
