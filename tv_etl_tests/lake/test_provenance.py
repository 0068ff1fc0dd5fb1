"""Where each bar came from is known after any sequence of imports and answers."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.provenance import Imported, are_imported, clipped_provenance, joined_provenance

TIMES = st.sets(st.integers(0, 40), min_size=1, max_size=15).map(sorted)
STEPS = st.lists(st.tuples(st.sampled_from(["", "a.csv", "b.csv"]), TIMES), max_size=8)


@given(STEPS)
def test_each_bar_is_of_the_last_that_brought_it(steps: list[tuple[str, list[int]]]) -> None:
    known: tuple[Imported, ...] = ()
    brought: dict[int, str] = {}
    for name, minutes in steps:
        times = 60 * np.array(minutes, np.int64)
        begins, ends = int(times[0]), int(times[-1]) + 1
        fresh = (Imported(begins, ends, name, 1.0),) if name else ()
        stored = np.array(sorted(time for time in brought if begins <= time < ends), np.int64)
        known = joined_provenance(known, fresh, stored, times)
        brought |= dict.fromkeys(times.tolist(), name)
    every = np.array(sorted(brought), np.int64)
    assert are_imported(every, known).tolist() == [bool(brought[time]) for time in every.tolist()]
    for time in every.tolist():
        assert [each.provenance for each in known if each.start <= time < each.end] == [
            name for name in [brought[time]] if name
        ]
    assert all(one.end <= other.start for one, other in pairwise(known))
    assert len(known) <= len(every)


def test_spans_that_go_on_are_one() -> None:
    nothing = np.empty(0, np.int64)
    first = joined_provenance((), [Imported(0, 100, "a", 1.0)], nothing, np.array([0, 60]))
    assert first == (Imported(0, 61, "a", 1.0),)
    more = joined_provenance(first, [Imported(60, 181, "a", 1.0)], np.array([60]), np.array([60, 120, 180]))
    assert more == (Imported(0, 181, "a", 1.0),)
    other = joined_provenance(more, [Imported(60, 181, "a", 2.0)], np.array([60, 120, 180]), np.array([60, 120, 180]))
    assert other == (Imported(0, 60, "a", 1.0), Imported(60, 181, "a", 2.0)), "imported at another time"


def test_what_is_cut_off_has_no_provenance() -> None:
    spans = [Imported(0, 100, "a"), Imported(200, 300, "b")]
    assert clipped_provenance(spans, 50) == (Imported(50, 100, "a"), Imported(200, 300, "b"))
    assert clipped_provenance(spans, 250) == (Imported(250, 300, "b"),)
    assert clipped_provenance(spans, 300) == ()
