"""What others have of a series is brought to its scale, and never takes the place of what the server sent."""

from pathlib import Path

import pytest

from tv_etl.collect.entry import enter_table
from tv_etl.lake.errors import NotJoinedError
from tv_etl.lake.store import BarStore
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SPLIT, Rows, at, enter, second, stored, table


@pytest.mark.parametrize(("begin", "end"), [(50, 120), (150, 300), (50, 300)])
@pytest.mark.parametrize("given", [PLAIN, SPLIT], ids=["same scale", "other scale"])
def test_a_table_from_elsewhere_is_brought_to_the_stored_scale(
    tmp_path: Path, begin: int, end: int, given: Rows
) -> None:
    store = BarStore(tmp_path, clock=lambda: 5.0)
    store.upsert(*SERIES, table(PLAIN[100:200]))
    enter_table(store, SERIES, table(given[begin:end]), provenance="chart.csv")
    assert stored(store) == PLAIN[min(begin, 100) : max(end, 200)]
    record = store.record(*SERIES)
    assert record.readjustments == ()
    scaled = f"× 4 (volume × 0.25) before {at(end - 1):%Y-%m-%d %H:%M}Z" if given is SPLIT else ""
    parts = [(first, last) for first, last in ((begin, 100), (200, end)) if first < last]
    assert [(each.start, each.provenance, each.entered_at) for each in record.imported] == [
        (second(first), "chart.csv", 5.0) for first, _ in parts
    ]
    assert {each.scaled[:20] for each in record.imported} == {scaled[:20]}


def test_a_bar_that_the_server_sent_is_not_replaced(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[100:200]))
    other = [*PLAIN[:150], (PLAIN[150][0], *(price + 0.01 for price in PLAIN[150][1:5]), 7.0), *PLAIN[151:250]]
    commit = enter_table(store, SERIES, table(other), provenance="chart.csv")
    assert (stored(store), commit.changed, commit.added) == (PLAIN[:250], 0, 150)
    changed = [(*row[:5], 9.0) for row in PLAIN[190:250]]
    commit = enter_table(store, SERIES, table(changed), provenance="better.csv")
    assert (commit.changed, stored(store)[200:]) == (50, changed[10:]), "imported ones are"
    assert [(each.start, each.end, each.provenance) for each in commit.record.imported] == [
        (second(0), second(100), "chart.csv"),
        (second(200), second(249) + 1, "better.csv"),
    ]


def test_what_the_server_sends_takes_the_place_of_what_was_imported(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[200:300]))
    enter_table(store, SERIES, table(PLAIN[:250]), provenance="chart.csv")
    holes = [row for number, row in enumerate(PLAIN[100:300]) if number not in (20, 21, 60)]
    store.upsert(*SERIES, table(holes, asked_from=second(100), asked_until=second(300)))
    record = store.record(*SERIES)
    assert stored(store) == PLAIN[:300]
    assert store.withdrawn(*SERIES).num_rows == 0, "the server never had them"
    assert [(each.start, each.end) for each in record.imported] == [
        (second(first), second(last)) for first, last in ((0, 100), (120, 122), (160, 161))
    ]


def test_imported_bars_do_not_reach_across_an_open_seam(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for rows in (PLAIN[:100], PLAIN[500:600]):
        enter(store, store.update_of(SERIES, table(rows)))
    with pytest.raises(NotJoinedError, match=r"there is a seam at .*; resolve it first with tv-etl seam"):
        enter_table(store, SERIES, table(PLAIN[50:550]), provenance="chart.csv")
    for begin, end in ((50, 200), (550, 700)):
        enter_table(store, SERIES, table(PLAIN[begin:end]), provenance="chart.csv")
    assert stored(store) == [*PLAIN[:200], *PLAIN[500:700]]
    seam = store.record(*SERIES).open_seam
    assert seam is not None
    assert seam.at == second(500), "bars of one side say nothing of it"
