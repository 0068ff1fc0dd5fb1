"""An answer joins what is stored only where a bar that both have proves it."""

from datetime import datetime
from pathlib import Path

import pytest

from tv_etl.collect.ask import OVERLAP_BARS, Ask, ask, refetch
from tv_etl.collect.join import ask_again, joins_from
from tv_etl.lake.bars import Bars
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SETTINGS, SPLIT, Rows, at, table

ANCHORED_ANEW = [(row[0] + 30, *row[1:]) for row in PLAIN]


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    """Bars 100 to 199 and 700 to 799."""
    store = BarStore(tmp_path)
    for first, after in ((100, 200), (700, 800)):
        store.upsert(*SERIES, table(PLAIN[first:after]))
    return store


def bars(rows: Rows) -> Bars:
    return Bars.from_stored(table(rows))


@pytest.mark.parametrize(
    ("rows", "asked_from", "expected"),
    [
        (PLAIN[150:], 150, None),  # agrees at its oldest bar
        (PLAIN[50:], 50, None),  # nothing older is stored
        (SPLIT[50:], 50, None),
        (SPLIT[100:], 100, None),
        (SPLIT[150:], 150, 100),  # differs: how far back does it?
        (PLAIN[650:], 650, 199 - OVERLAP_BARS),  # its oldest bar is not stored, and older ones are
        (PLAIN[850:], 850, 799 - OVERLAP_BARS),
        (PLAIN[850:], 790, None),  # the server has nothing older of what it was asked for
        (SPLIT[750:], 100, None),
        (SPLIT[750:], None, 100),
        (ANCHORED_ANEW[750:], 750, 100 - OVERLAP_BARS),  # it has none of the stored bars, and would not further back
        (ANCHORED_ANEW[750:], 95, None),
        (ANCHORED_ANEW[798:800], 799, 100 - OVERLAP_BARS),  # though but one stored bar lies beside it
        ([], 150, None),
    ],
)
def test_an_answer_that_does_not_join_has_to_reach_further_back(
    store: BarStore, rows: Rows, asked_from: int | None, expected: int | None
) -> None:
    since = None if asked_from is None else at(asked_from)
    found = store.look(SERIES, lambda stored: joins_from(stored, bars(rows), since))
    assert found == (None if expected is None else at(expected))


def test_all_that_comes_first_joins(tmp_path: Path) -> None:
    assert BarStore(tmp_path).look(SERIES, lambda stored: joins_from(stored, bars(PLAIN), at(0))) is None


def again(store: BarStore, asked: Ask, rows: Rows) -> tuple[datetime | None, SeriesRecord] | None:
    found = store.look(SERIES, lambda stored: ask_again(stored, asked, store.update_of(SERIES, table(rows))))
    return None if found is None else (found.request.start, found.seen)


def asked_from(store: BarStore, start: int) -> Ask:
    found = store.look(SERIES, lambda stored: ask(stored, refetch(SETTINGS, at(start)), 0.0))
    assert found is not None
    return found


def test_an_answer_from_before_anothers_commit_is_asked_for_again_where_it_differs(store: BarStore) -> None:
    asked = asked_from(store, 100)
    assert again(store, asked, SPLIT[100:]) is None, "nobody came between"
    store.upsert(*SERIES, table(SPLIT[100:900]))
    late = again(store, asked, PLAIN[100:850])
    assert late == (at(100), store.record(*SERIES)), "the stored bars may be newer than the answer"
    assert again(store, asked, SPLIT[100:850]) is None, "it says the same"
    assert again(store, asked_from(store, 100), PLAIN[100:]) is None, "now it was asked for after that"


def test_more_is_asked_for_where_it_may_tell_the_scale(store: BarStore) -> None:
    """The oldest bar agrees, and all others are of prices that have nothing to do with the stored ones."""
    odd = [(row[0], *(price * (1.5 + number % 3) for price in row[1:5]), row[5]) for number, row in enumerate(PLAIN)]
    rows = [PLAIN[780], *odd[781:800]]
    found = again(store, asked_from(store, 780), rows)
    assert found is not None
    assert found[0] == at(100)
    assert again(store, asked_from(store, 100), rows) is None, "there is no more: it has to be entered as it is"
    revised = [*PLAIN[780:790], odd[790], *PLAIN[791:800]]
    assert again(store, asked_from(store, 780), revised) is None, "a revision leaves no doubt"
