"""An answer that reaches across a seam resolves it only if it has bars of both sides."""

from pathlib import Path

import pytest

from tv_etl.lake.bars import Bars
from tv_etl.lake.crossing import reached_across
from tv_etl.lake.store import BarStore
from tv_etl_tests.collect.served_market import PLAIN, SERIES, Rows, at, enter, second, stored, table

# Another instrument at the same times.
OTHER: Rows = [(row[0], *(price + 300 + 17 * n % 29 for price in row[1:5]), row[5]) for n, row in enumerate(PLAIN)]


def answer(store: BarStore, rows: Rows, asked: int | None = None) -> None:
    span = {} if asked is None else {"asked_from": second(asked), "asked_until": int(rows[-1][0]) + 1}
    enter(store, store.update_of(SERIES, table(rows, **span)))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    """Bars 0 to 99, a seam at 200, and bars of another instrument up to 299."""
    store = BarStore(tmp_path)
    answer(store, PLAIN[:100])
    answer(store, OTHER[200:300])
    assert [seam.at for seam in store.record(*SERIES).seams] == [second(200)]
    return store


def test_bars_of_both_sides_resolve_it(store: BarStore) -> None:
    answer(store, PLAIN[50:400])
    record = store.record(*SERIES)
    assert (record.open_seam, [seam.resolved for seam in record.seams]) == (None, ["served anew across it"])
    assert stored(store) == PLAIN[:400]


def test_without_a_bar_of_the_older_side_it_moves_to_where_the_answer_begins(store: BarStore) -> None:
    answer(store, OTHER[150:400])
    seam = store.record(*SERIES).open_seam
    assert seam is not None
    assert (seam.at, seam.older, seam.newer) == (
        second(150),
        (second(99), PLAIN[99][4]),
        (second(150), OTHER[150][4]),
    )
    assert stored(store) == [*PLAIN[:100], *OTHER[150:400]]


def test_a_bar_of_the_older_side_that_differs_proves_nothing(store: BarStore) -> None:
    answer(store, [OTHER[80], *OTHER[120:400]], asked=80)
    seam = store.record(*SERIES).open_seam
    assert seam is not None
    assert seam.at == second(80)
    assert stored(store) == [*PLAIN[:80], OTHER[80], *OTHER[120:400]], "what was in its time has left"


def test_what_is_between_two_seams_and_not_served_leaves(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    answer(store, PLAIN[:100])
    answer(store, OTHER[200:250])
    answer(store, PLAIN[300:400])
    assert [seam.at for seam in store.record(*SERIES).seams] == [second(200), second(300)]
    answer(store, [*PLAIN[50:100], *PLAIN[300:500]], asked=50)
    assert store.record(*SERIES).open_seam is None
    assert stored(store) == [*PLAIN[:100], *PLAIN[300:500]]
    log = store.withdrawn(*SERIES)
    assert [moment.timestamp() for moment in log["timestamp"].to_pylist()] == [row[0] for row in OTHER[200:250]]
    assert set(log["has_left"].to_pylist()) == {True}
    assert at(200) in log["timestamp"].to_pylist()


@pytest.mark.parametrize(
    ("first", "last", "reaches"), [(199, 200, True), (200, 300, False), (100, 199, False), (150, 250, True)]
)
def test_a_seam_is_reached_across_by_a_bar_before_it_and_the_one_that_it_begins_with(
    store: BarStore, first: int, last: int, reaches: bool
) -> None:
    given = Bars.from_stored(table(PLAIN[first : last + 1]))
    assert bool(reached_across(store.record(*SERIES).seams, given)) is reaches
