"""Bars enter a series only where they join it, wherever they come from."""

from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.collect.ask import OVERLAP_BARS, Ask, ask, newest
from tv_etl.collect.entry import enter_answer, enter_renamed, enter_table
from tv_etl.lake.errors import NotJoinedError
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl.tradingview.errors import ProtocolError
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import (
    PLAIN,
    SERIES,
    SETTINGS,
    SPLIT,
    Rows,
    ServedMarket,
    at,
    second,
    stored,
    table,
)

# Bars of another instrument at the same times.
OTHER: Rows = [
    (row[0], *(price + 300 + 17 * number % 29 for price in row[1:5]), row[5]) for number, row in enumerate(PLAIN)
]


def asked_for(store: BarStore, bars: int) -> Ask:
    found = store.look(SERIES, lambda stored: ask(stored, newest(SETTINGS, bars), 0.0))
    assert found is not None
    return found


def test_an_answer_that_joins_is_stored_and_shown(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    asked = asked_for(store, 200)
    commit = enter_answer(store, asked, ServedMarket(PLAIN).answer(asked.request), newest=48)
    assert isinstance(commit, Commit)
    assert (commit.added, stored(store)) == (200, PLAIN[-200:])
    assert commit.newest.times.tolist() == [row[0] for row in PLAIN[-48:]]


def test_an_answer_that_does_not_join_is_not_stored(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[100:900]))
    asked = asked_for(store, 50)
    further = enter_answer(store, asked, ServedMarket(SPLIT).answer(asked.request))
    assert isinstance(further, Ask)
    assert further.request.start == at(899 - OVERLAP_BARS), "back to the stored bars before it"
    further = enter_answer(store, further, ServedMarket(SPLIT).answer(further.request))
    assert isinstance(further, Ask)
    assert further.request.start == at(100), "those differ: all that is stored has to be compared"
    assert stored(store) == PLAIN[100:900]


def test_an_answer_with_rows_that_were_no_bars_is_not_stored(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    asked = asked_for(store, 10)
    answer = table(PLAIN[-10:])
    damaged = answer.replace_schema_metadata({**answer.schema.metadata, b"fetch.rejected": b"1"})
    with pytest.raises(ProtocolError, match="1 rows of the answer were not bars"):
        enter_answer(store, asked, damaged)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (PLAIN[:90], r"would have to overlap those, which are of 2026-11-\d\d \d\d:\d\dZ to "),
        (PLAIN[300:400], "would have to overlap those"),
        (OTHER[50:150], "differ, and by no one ratio"),
    ],
    ids=["older", "newer", "another instrument"],
)
def test_a_table_from_elsewhere_that_does_not_join_is_refused(tmp_path: Path, rows: Rows, reason: str) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[100:200]))
    with pytest.raises(NotJoinedError, match=f"^NASDAQ:SPLT 1m: .* do not join the stored ones; .*{reason}"):
        enter_table(store, SERIES, table(rows), provenance="other.csv")
    assert stored(store) == PLAIN[100:200]


def test_where_a_table_comes_from_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="provenance is empty: say where the bars came from"):
        enter_table(BarStore(tmp_path), SERIES, table(PLAIN[:5]), provenance="")


def test_a_series_goes_on_under_its_new_name(tmp_path: Path) -> None:
    store, new = BarStore(tmp_path), Series.of("NASDAQ:NEW", "1m")
    broken = (second(150), 100.0, 1.0, 99.0, 100.0, 5.0)
    rows = [*PLAIN[100:150], broken, *PLAIN[151:200]]
    facts = {"asked_from": second(100), "asked_until": second(200), "currency": "USD"}
    store.upsert(*SERIES, table(rows, **facts))
    store.upsert(*new, table(PLAIN[180:300], asked_from=second(180), asked_until=second(300)))
    enter_renamed(store, SERIES, new)
    assert stored(store, new) == [*PLAIN[100:150], *PLAIN[151:300]]
    record = store.record(*new)
    assert (record.asked, record.facts["currency"], record.quarantined) == (((second(100), second(300)),), "USD", 1)
    assert len(stored(store)) == 99, "the old one stays"
    halved = Series.of("NASDAQ:HALF", "1m")
    store.upsert(*halved, table(SPLIT[150:300]))
    with pytest.raises(NotJoinedError):
        enter_renamed(store, halved, new)


def test_a_table_without_bars_brings_its_facts(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    empty = table([], asked_from=second(200), asked_until=second(300))
    assert isinstance(empty, pa.Table)
    enter_table(store, SERIES, empty, provenance="chart.csv")
    assert store.series() == []
    enter_table(store, SERIES, table(PLAIN[100:200]), provenance="chart.csv")
    enter_table(store, SERIES, empty, provenance="chart.csv")
    assert store.record(*SERIES).asked == ((second(200), second(300)),)
