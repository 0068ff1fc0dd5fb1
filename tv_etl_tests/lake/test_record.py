"""The record of a series: what is written is read back, and what cannot be read is named."""

import json
import math

import numpy as np
import pytest

from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.readjustment import Readjustment
from tv_etl.lake.record import FoundReadjustment, Period, Refusal, Removal, Rename, SeriesRecord, Window
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import TradingHours

AAPL = Series.of("NASDAQ:AAPL", "1m")
PATH = "series.json"
MINUTE = Interval.parse("1m")
HOURS = TradingHours("0930-1600", "America/New_York")
OPEN = 1_795_012_200  # Wednesday, 2026-11-18 09:30 in New York
RECORD = SeriesRecord(
    AAPL,
    facts={"source": "tradingview", "session": "regular", "trading_hours": '{"session": "0930-1600"}'},
    asked=((-62_135_596_800, 1_700_000_000), (1_790_000_000, 1_790_000_060)),
    window=Window(5_000, 1_780_000_000),
    readjustments=(FoundReadjustment(1_790_000_000.5, Readjustment(0.25, 4.0, 1_780_000_000, 4)),),
    revisions=3,
    quarantined=1,
    renames=(Rename("NASDAQ:OLDN", "NASDAQ:AAPL", 1_790_000_000.25),),
    refusal=Refusal("SymbolError: unknown", 1_790_000_000.5, 1_790_086_400.0),
    removals=(Removal(1_780_000_000.25, 7, "tv-etl on host"), Removal(1_785_000_000.0, None, "tv-etl on host")),
    periods={"2026-11": Period(10, 1, 2, 3, 1, 3, 12, 2, 1, 0)},
)


def minutes(*offsets: int) -> Bars:
    times = OPEN + 60 * np.array(offsets, np.int64)
    return Bars(times, np.ones((5, len(offsets))), np.ones(len(offsets), np.bool_))


def test_what_is_written_is_read_back() -> None:
    assert SeriesRecord.decode(RECORD.encode(), PATH, AAPL) == RECORD
    assert SeriesRecord.decode(SeriesRecord(AAPL).encode(), PATH, AAPL) == SeriesRecord(AAPL)


def test_a_record_of_facts_alone_is_read() -> None:
    content = {"schema_version": 1, "symbol": "NASDAQ:AAPL", "interval": "1m", "facts": {"source": "tradingview"}}
    assert SeriesRecord.decode(json.dumps(content).encode(), PATH, AAPL) == SeriesRecord(
        AAPL, {"source": "tradingview"}, logged_from=math.inf
    )


def test_a_new_name_is_one_that_differs() -> None:
    names = [
        SeriesRecord(AAPL, facts).renamed_to
        for facts in ({}, {"resolved_as": "NASDAQ:AAPL"}, {"resolved_as": "NASDAQ:NEWN"})
    ]
    assert names == ["", "", "NASDAQ:NEWN"]


@pytest.mark.parametrize(
    "change",
    [{"asked": [[1]]}, {"asked": 5}, {"window": {"bars": 1}}, {"periods": {"2026-11": {"rows": 1}}}, {"facts": []},
     {"readjustments": [{"ratio": 1.0}]}, {"symbol": "NASDAQ:MSFT"}, {"renames": [["NASDAQ:OLDN"]]}],
)  # fmt: skip
def test_a_record_that_is_none_is_damage(change: dict[str, object]) -> None:
    content = json.loads(RECORD.encode()) | change
    with pytest.raises(DamagedFileError, match=r"series\.json"):
        SeriesRecord.decode(json.dumps(content).encode(), PATH, AAPL)


def test_a_later_version_is_refused_whatever_it_holds() -> None:
    with pytest.raises(NewerFormatError, match="schema version 3, known is 2"):
        SeriesRecord.decode(b'{"schema_version": 3, "symbol": "?", "interval": "?"}', PATH, AAPL)


def test_the_hours_of_a_day_are_the_regular_sessions() -> None:
    hours = json.dumps({
        "session": "0400-2000", "timezone": "America/New_York", "subsession_id": "extended",
        "subsessions": [{"id": "regular", "session": "0930-1600"}, {"id": "extended", "session": "0400-2000"}],
    })  # fmt: skip
    facts = {"trading_hours": hours, "session": "extended"}
    minutes, days = (SeriesRecord(Series.of("NASDAQ:AAPL", each), facts) for each in ("1m", "1d"))
    assert minutes.hours is not None
    assert minutes.hours.session == "0400-2000"
    assert minutes.regular_hours is not None
    assert minutes.regular_hours.session == "0930-1600"
    assert days.hours == minutes.regular_hours


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"session": "whenever"}', "trading hours 'whenever': it is not known what the letter 'w' in it means"),
        ('{"session": "0930-1600Q1600-1610"}', "trading hours '0930-1600Q1600-1610': it is not known what the letter"),
        ('{"session": "0930-1600", "timezone": "Mars/Olympus"}', "trading hours 'Mars/Olympus': not an IANA time zone"),
        ("[]", "trading hours '[]': not a description of a symbol"),
        ("{", "trading hours '{': not a description of a symbol"),
        ("7", "trading hours '7': not a description of a symbol"),
    ],
)
def test_hours_that_nobody_can_read_are_a_problem_that_is_told(text: str, problem: str) -> None:
    record = SeriesRecord(AAPL, {"trading_hours": text})
    assert record.hours is None and record.hours_problem.startswith(problem)
    assert record.regular_hours is None and record.regular_hours_problem == record.hours_problem


def test_hours_that_were_never_told_are_no_problem() -> None:
    for facts in ({}, {"trading_hours": ""}):
        record = SeriesRecord(AAPL, facts)
        assert (record.hours, record.hours_problem) == (None, "")
    assert SeriesRecord(AAPL, {"trading_hours": '{"session": "0930-1600"}'}).hours_problem == ""


def test_of_two_sessions_one_may_be_unreadable() -> None:
    hours = json.dumps({
        "session": "0930-1600", "timezone": "America/New_York",
        "subsessions": [{"id": "regular", "session": "0930-1600"}, {"id": "extended", "session": "0400-2000X"}],
    })  # fmt: skip
    record = SeriesRecord(AAPL, {"trading_hours": hours, "session": "extended"})
    assert record.hours is None and "'0400-2000X'" in record.hours_problem
    assert record.regular_hours is not None and record.regular_hours_problem == ""


def test_a_period_is_judged_by_its_hours() -> None:
    span = (OPEN, OPEN + 390 * 60)
    whole = Period.of(minutes(*range(390)), 7, MINUTE, HOURS, span)
    assert (whole.rows, whole.bytes, whole.expected, whole.missing) == (390, 7, 390, 0)
    holes = Period.of(minutes(*range(10), *range(12, 389)), 7, MINUTE, HOURS, span)
    assert (holes.missing, holes.gaps, holes.sessions) == (3, 2, 0)
    days = Period.of(minutes(0, 1440 * 2), 7, MINUTE, HOURS, (OPEN, OPEN + 1440 * 2 * 60 + 1))
    assert (days.expected, days.missing, days.gaps, days.sessions) == (781, 779, 1, 1)
    november = (OPEN - 20 * 86_400, OPEN + 10 * 86_400)
    for bars, found in ((minutes(*range(10), *range(12, 389)), holes), (minutes(0, 1440 * 2), days)):
        judged = Period.of(bars, 7, MINUTE, HOURS, (found.start, found.end), november)
        assert judged == found, "by what was computed once for the whole of its period"
    assert Period.of(minutes(0), 7, MINUTE, None, span).expected is None
    assert Period.of(minutes(0), 7, Interval.parse("2d"), HOURS, span).expected is None
