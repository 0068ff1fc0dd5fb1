"""One commit counts every bar that it was given once, and finds the scale of what is stored by its own facts."""

from pathlib import Path

import pytest

from tv_etl.lake.readjustment import Unproven
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit, find_scale
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SPLIT, Rows, enter, table


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[100:200]))
    return store


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (PLAIN[150:250], (50, 0, 50, 0)),
        (SPLIT[50:250], (100, 0, 100, 0)),
        ([*PLAIN[150:199], (PLAIN[199][0], *PLAIN[199][1:5], 1.0)], (0, 1, 49, 0)),
        ([(row[0], *(price + 40 for price in row[1:5]), 5.0) for row in PLAIN[150:250]], (50, 0, 0, 50)),
    ],
    ids=["joined", "re-adjusted", "revised", "another instrument"],
)
def test_every_bar_given_is_counted_once(store: BarStore, rows: Rows, counts: tuple[int, int, int, int]) -> None:
    update = store.update_of(SERIES, table(rows))
    commit = enter(store, update)
    assert isinstance(commit, Commit)
    replaced = 0 if commit.seam is None else commit.seam.replaced
    assert (commit.added, commit.changed, commit.unchanged, replaced) == counts
    assert sum(counts) == len(rows)
    assert commit.rows == store.read(*SERIES).num_rows


def test_the_scale_is_judged_by_the_series_own_facts(store: BarStore) -> None:
    def scale(rows: Rows, **facts: str) -> object:
        update = store.update_of(SERIES, table(rows, **facts))
        return store.look(SERIES, lambda stored: find_scale(stored, update.closed, update.facts))

    moved = [(row[0], *(price - 7.0 for price in row[1:5]), row[5]) for row in PLAIN[150:]]
    assert scale(PLAIN[150:]) is None
    assert isinstance(scale(PLAIN[300:]), Unproven)
    assert getattr(scale(SPLIT[150:]), "ratio", None) == 0.25
    assert isinstance(scale(SPLIT[150:], adjustment="dividends"), Unproven), "a small dividend may have come with it"
    assert getattr(scale(moved, backadjustment="true"), "shift", None) == -7.0
