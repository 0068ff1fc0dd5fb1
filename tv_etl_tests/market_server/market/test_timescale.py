import json

import numpy as np
import pytest

from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.timescale import BarsTexts, encode_marks, joined, mark_weights
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.samples import recorded_marks
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure

DAY, MINUTE = Interval.parse("1D"), Interval.parse("1")
SOURCE = Market(7).source_of(listings()["NASDAQ:AAPL"])


@pytest.mark.parametrize("name", recorded_marks())
def test_marks_weigh_what_the_recorded_ones_do(name: str) -> None:
    marks = np.array(recorded_marks()[name])
    assert mark_weights(marks[:, 1]).tolist() == marks[1:, 0].tolist()


def test_marks_show_the_wall_clock_of_the_charts_time_zone() -> None:
    times = np.array([FRIDAY_NOON], np.int64)
    encoded = encode_marks(SOURCE, MINUTE, "Asia/Kolkata", times, 3, int(FRIDAY_NOON) - 60)
    assert json.loads(b"[" + encoded + b"]") == [[22, int(FRIDAY_NOON) + 19_800, 3]]


def test_daily_marks_show_the_trading_day() -> None:
    source = Market(7).find("FX:EURUSD")
    assert source is not None
    opened = source.bars(DAY, FRIDAY_NOON, count=1).times
    encoded = encode_marks(source, DAY, "Etc/UTC", opened, 0, None)
    assert json.loads(b"[" + encoded + b"]") == [[10, int(FRIDAY_NOON) // 86_400 * 86_400, 0]]


def test_texts_hold_the_bars_the_source_has() -> None:
    before = int(SOURCE.bars(DAY, FRIDAY_NOON, count=1).rows[0, 0])
    text = BarsTexts().closed_bars(SOURCE, DAY, "Etc/UTC", before=before, now=FRIDAY_NOON, count=4, end_index=-2)
    points = json.loads(bytes(joined(text.points)))
    assert [point["i"] for point in points] == [-6, -5, -4, -3]
    assert [point["v"] for point in points] == SOURCE.bars(DAY, FRIDAY_NOON, count=5).rows[:4].tolist()
    assert json.loads(bytes(joined(text.changes))) == [point["v"][0] for point in points]
    assert [mark[2] for mark in json.loads(bytes(joined(text.marks)))] == [-6, -5, -4, -3]


def test_the_same_bars_are_encoded_once() -> None:
    texts, before = BarsTexts(), int(FRIDAY_NOON)
    first = texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before, now=FRIDAY_NOON, count=50)
    assert texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before, now=FRIDAY_NOON, count=50) is first
    assert texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before, now=FRIDAY_NOON, count=51) is not first


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tv_etl.market_server.market.timescale._MAX_CACHED_BARS", 100)
    texts, before = BarsTexts(), int(FRIDAY_NOON)
    first = texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before, now=FRIDAY_NOON, count=60)
    texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before - 60, now=FRIDAY_NOON, count=60)
    assert texts.closed_bars(SOURCE, MINUTE, "Etc/UTC", before=before, now=FRIDAY_NOON, count=60) is not first


def test_a_start_cuts_the_older_bars_off() -> None:
    start = int(FRIDAY_NOON) - 600
    text = BarsTexts().closed_bars(
        SOURCE, MINUTE, "Etc/UTC", before=int(FRIDAY_NOON), now=FRIDAY_NOON, count=500, start=start
    )
    assert text.rows[:, 0].tolist() == [start + 60.0 * n for n in range(10)]


def test_empty_parts_leave_no_commas() -> None:
    assert bytes(joined(b"", b"1", b"", b"2")) == b"[1,2]"
    assert bytes(joined(b"")) == b"[]"


def test_a_split_makes_new_texts_of_old_bars() -> None:
    source = Market(7).find("NASDAQ:SPLT")
    assert source is not None
    texts, before = BarsTexts(), 1_794_000_000
    old, new = (
        texts.closed_bars(source, DAY, "Etc/UTC", before=before, now=now, count=5) for now in (1.7945e9, 1.796e9)
    )
    assert np.allclose(old.rows[:, 4] / new.rows[:, 4], 4, atol=0.01)


def test_texts_without_bars_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tv_etl.market_server.market.timescale._MAX_CACHED_BARS", 1_000)
    texts = BarsTexts()
    for before in range(1, 101):
        texts.closed_bars(SOURCE, DAY, "Etc/UTC", before=before, now=FRIDAY_NOON, count=5)
    assert len(texts._texts) <= 20
